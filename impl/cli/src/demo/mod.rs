//! `custody demo`: the whole path on one machine, each role in its own process.
//!
//! All chapters. The process that runs this is owner and operators; it starts custodians, node and
//! device, gives them work, breaks things, and compares what it sees with what it knows. It ends
//! well only if every check passed.

mod attacks;
mod audit;
mod gpu;
#[cfg(feature = "demo")]
mod mask;
mod outage;
mod prepare;
mod process;
mod release;
mod replay;
mod report;
mod revocation;
mod scan;
mod source;
mod stage;
mod uses;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::args::{DemoArgs, GpuArg};
use crate::failure::{Failure, io_at};
use crate::seal::check_parameters;

pub use process::Process;
use report::Report;
pub use stage::Stage;

pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    refuse(args)?;
    let folder = Folder::new(args.keep.as_deref())?;
    let mut report = Report::new(args.json);
    let played = play(args, folder.path(), &mut report);
    if let Err(failure @ (Failure::Usage(_) | Failure::Missing(_))) = played {
        return Err(failure);
    }
    if let Err(failure) = played {
        report.abort(&failure);
    }
    report.finish()
}

/// Everything on stage and nothing played, for a measurement; it says nothing.
pub fn staged<'a>(args: &'a DemoArgs, folder: &Path) -> Result<Stage<'a>, Failure> {
    prepare::prepare(args, folder, &mut Report::new(true))
}

/// The acts, in order; an error ends the play, and every process with it.
fn play(args: &DemoArgs, folder: &Path, report: &mut Report) -> Result<(), Failure> {
    let mut stage = prepare::prepare(args, folder, report)?;
    release::first(&mut stage, report)?;
    uses::requests(&mut stage, report)?;
    scan::memory(&mut stage, report)?;
    outage::survive(&mut stage, report)?;
    attacks::host_read(&mut stage, report)?;
    gpu::attempts(&mut stage, report)?;
    revocation::revoke(&mut stage, report)?;
    audit::verify(&mut stage, report)?;
    let (logs, manifest) = (stage.logs.clone(), stage.sealed.manifest.clone());
    drop(stage); // every process has written its last event
    replay::replay(&logs, &manifest, args.on_host_read, report)
}

/// What this build or PROTOCOL section 0 does not allow.
fn refuse(args: &DemoArgs) -> Result<(), Failure> {
    match args.hsm.split_once(':').map_or(args.hsm.as_str(), |(kind, _)| kind) {
        "soft" if args.hsm == "soft" => {}
        "pkcs11" => {
            stage::hsm_module(args)?;
        }
        _ => {
            let line = format!("--hsm {}: expected soft or pkcs11[:MODULE]", args.hsm);
            return Err(Failure::Usage(line));
        }
    }
    if args.gpu == GpuArg::Cuda {
        gpu::is_there()?;
    }
    if args.kill > args.custodians {
        let (kill, n) = (args.kill, args.custodians);
        return Err(Failure::Usage(format!("--kill {kill}: there are only {n} custodians")));
    }
    check_parameters(args.custodians, args.threshold, args.faulty)
}

/// Where a run's files lie: gone afterwards, unless they are to be kept.
enum Folder {
    Kept(PathBuf),
    Gone(TempDir),
}

impl Folder {
    fn new(keep: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = keep else {
            let folder = tempfile::Builder::new().prefix("custody-").tempdir();
            return Ok(Self::Gone(
                folder.map_err(|e| io_at(&std::env::temp_dir(), "create a folder in it", &e))?,
            ));
        };
        fs::create_dir(path).map_err(|e| io_at(path, "create the folder", &e))?;
        let path = fs::canonicalize(path).map_err(|e| io_at(path, "find the folder", &e))?;
        Ok(Self::Kept(path))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Gone(folder) => folder.path(),
        }
    }
}
