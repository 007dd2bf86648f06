//! `prove`: check, mutants, cex, export, replay. Exit codes: 0 good, 1 a check failed, 2 usage.

#[cfg(doubles)]
#[path = "prove/doubles.rs"]
mod doubles;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};

use split_custody_model_check::doubles::{DOUBLES, Double, double};
use split_custody_model_check::explore::Explored;
use split_custody_model_check::harness::{self, Bound, Part};
use split_custody_model_check::paths;
use split_custody_model_check::progress::Progress;
use split_custody_model_check::replay::replay;
use split_custody_model_check::report;
use split_custody_model_check::slice::{Scope, slice, slices};
use split_custody_model_check::world::Setup;
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::trace::Entry;
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_protocol::wire::signed::Signed;

/// Proves the protocol's own machines in a hostile world, and shows that each proof can fail.
#[derive(Parser)]
#[command(name = "prove", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prove every property on every slice of a scope.
    Check {
        #[arg(long, value_enum, default_value_t = ScopeName::Smoke)]
        scope: ScopeName,
        /// Only properties whose id contains this.
        #[arg(long)]
        only: Option<String>,
        /// Only on slices whose name contains this.
        #[arg(long)]
        slice: Option<String>,
        /// Keep in this file what was proved, and go on from it after an interruption.
        #[arg(long, conflicts_with_all = ["only", "slice"])]
        resume: Option<PathBuf>,
        #[arg(long)]
        json: bool,
    },
    /// Search the smoke slices, the cheapest first, up to the first that a property or its pinned
    /// count fails on.
    Quick {
        /// Only slices of at most so many states; one of the intruder's counts fifty times.
        #[arg(long, default_value_t = usize::MAX)]
        below: usize,
    },
    /// Leave out each rule in turn: every broken double must be caught by its property.
    Mutants {
        /// Only this double.
        #[arg(long)]
        only: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Leave out any rules (`HS-11`) and fields (`EntryExporter`) together, and see what breaks.
    Without {
        #[arg(required = true)]
        names: Vec<String>,
        /// Only slices whose name contains this.
        #[arg(long)]
        slice: Option<String>,
        #[arg(long, value_enum, default_value_t = ScopeName::Smoke)]
        scope: ScopeName,
    },
    /// Leave out each rule and each field alone: what breaks, and what survives as it is listed.
    Singles {
        /// Only rules and fields whose name contains this.
        #[arg(long)]
        only: Option<String>,
        /// Only slices of at most so many states; one of the intruder's counts fifty times.
        #[arg(long, default_value_t = usize::MAX)]
        below: usize,
    },
    /// Tell the shortest counterexample of a broken double.
    Cex {
        double: String,
        /// Print a Mermaid sequence diagram instead.
        #[arg(long)]
        mermaid: bool,
    },
    /// Walk through a slice, or through a double, in a browser.
    Explore {
        /// A double; without one, all rules hold.
        double: Option<String>,
        /// The slice to walk through where no double is named.
        #[arg(long, default_value = "handshake-one")]
        slice: String,
        #[arg(long, default_value = "127.0.0.1:3000")]
        address: String,
    },
    /// Write the shortest counterexample of every double as a trace that can be replayed.
    Export {
        folder: PathBuf,
        /// Write paths on which every rule holds, that take every row of the state tables.
        #[arg(long)]
        paths: bool,
    },
    /// Write a page for each double, and the list of known attacks.
    Attacks {
        folder: PathBuf,
        /// Write nothing; fail where a page is old.
        #[arg(long)]
        check: bool,
    },
    /// Compare the intruder with its eager twin, with all rules and without some.
    Twins,
    /// Replay the event logs of one run (`*.jsonl` of a folder) against the world.
    Replay {
        folder: PathBuf,
        /// The manifest that the run used.
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long, value_enum, default_value_t = Reaction::Reset)]
        on_host_read: Reaction,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum ScopeName {
    Smoke,
    Review,
    Night,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Smoke => Self::Smoke,
            ScopeName::Review => Self::Review,
            ScopeName::Night => Self::Night,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum Reaction {
    Block,
    Reset,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Check { scope, only, slice, resume, json } => {
            let part = Part { only: only.as_deref(), slice: slice.as_deref() };
            check(scope, part, resume.as_deref(), json)
        }
        Task::Quick { below } => quick(below),
        task @ (Task::Mutants { .. }
        | Task::Cex { .. }
        | Task::Export { paths: false, .. }
        | Task::Attacks { .. }
        | Task::Without { .. }
        | Task::Singles { .. }
        | Task::Explore { double: Some(_), .. }
        | Task::Twins) => without_rules(&task),
        Task::Explore { double: None, slice, address } => explore(&slice, &address),
        Task::Export { paths: true, folder } => export_paths(&folder).map_err(Fault::Check),
        Task::Replay { folder, manifest, on_host_read } => {
            replay_folder(&folder, &manifest, on_host_read).map_err(Fault::Check)
        }
    };
    outcome.unwrap_or_else(|fault| {
        let (line, code) = match fault {
            Fault::Check(line) => (line, 1),
            Fault::Usage(line) => (line, 2),
        };
        eprintln!("error: {line}");
        ExitCode::from(code)
    })
}

/// Why a task was not done.
#[derive(Debug)]
enum Fault {
    /// A check failed, or an input is bad.
    Check(String),
    /// Nothing bears that name.
    Usage(String),
}

fn known_double(name: &str) -> Result<Double, Fault> {
    double(name).ok_or_else(|| {
        let names: Vec<&str> = DOUBLES.iter().map(|double| double.name).collect();
        Fault::Usage(format!("no double `{name}`; there are: {}", names.join(", ")))
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Prints without dying of a closed pipe.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn check(
    scope: ScopeName,
    part: Part<'_>,
    resume: Option<&Path>,
    json: bool,
) -> Result<ExitCode, Fault> {
    if cfg!(doubles) {
        return Err(Fault::Usage("a build that can leave rules out proves nothing".into()));
    }
    let started = Instant::now();
    let open = |path: &Path| {
        let fault = |error| Fault::Check(format!("{}: {error}", path.display()));
        Progress::open(path).map_err(fault)
    };
    let progress = resume.map(open).transpose()?;
    if let Some(progress) = progress.as_ref().filter(|progress| !progress.is_empty()) {
        eprintln!("{} slices were proved before by this build", progress.len());
    }
    let results = harness::check(scope.into(), part, threads(), progress.as_ref());
    if results.is_empty() {
        let (only, slice) = (part.only.unwrap_or_default(), part.slice.unwrap_or_default());
        return Err(Fault::Usage(format!(
            "no property of this scope has `{only}` in its id and a slice with `{slice}`"
        )));
    }
    let seconds = started.elapsed().as_secs_f64();
    if json {
        print(&format!("{}\n", report::check_json(&results, seconds)));
    } else {
        print(&report::check_text(&results, seconds));
    }
    Ok(verdict(harness::passed(&results)))
}

fn quick(below: usize) -> Result<ExitCode, Fault> {
    let (searched, broken) = harness::first_broken(below);
    if let Some((slice, why)) = broken {
        return Err(Fault::Check(format!("{slice}: {why}")));
    }
    if searched == 0 {
        return Err(Fault::Usage(format!("no slice costs {below} or less")));
    }
    print(&format!("{searched} slices: every property held, and every count is as pinned\n"));
    Ok(ExitCode::SUCCESS)
}

#[cfg(doubles)]
fn without_rules(task: &Task) -> Result<ExitCode, Fault> {
    doubles::run(task)
}

/// Doubles need machines that can leave rules out: this very package, built with `--cfg doubles`.
#[cfg(not(doubles))]
fn without_rules(task: &Task) -> Result<ExitCode, Fault> {
    use std::env;
    use std::process::Command;

    // Before anything is built for a name that nothing bears.
    if let Task::Cex { double, .. }
    | Task::Explore { double: Some(double), .. }
    | Task::Mutants { only: Some(double), .. } = task
    {
        known_double(double)?;
    }

    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let target = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("doubles")))
        .ok_or_else(|| Fault::Check("cannot tell where this binary lies".into()))?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--release", "--features", "search", "--bin", "prove"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(env::args_os().skip(1))
        .env("RUSTFLAGS", "--cfg doubles")
        .status()
        .map_err(|error| Fault::Check(format!("cannot run cargo to build the doubles: {error}")))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Paths of earlier times go: what is in the folder is what was found now.
fn export_paths(folder: &Path) -> Result<ExitCode, String> {
    let at = |path: &Path, error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
    for file in fs::read_dir(folder).map_err(|error| at(folder, error))? {
        let path = file.map_err(|error| at(folder, error))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            fs::remove_file(&path).map_err(|error| at(&path, error))?;
        }
    }
    let paths = paths::cover();
    for (number, path) in paths.iter().enumerate() {
        let file = folder.join(format!("{:02}-{}.json", number + 1, path.slice));
        fs::write(&file, path.to_json()).map_err(|error| at(&file, error))?;
    }
    let rows: BTreeSet<&String> = paths.iter().flat_map(|path| &path.rows).collect();
    print(&format!("{} paths, {} rows, in {}\n", paths.len(), rows.len(), folder.display()));
    Ok(ExitCode::SUCCESS)
}

/// The Explorer on a slice in which every rule holds, with everything watched that is claimed on it.
fn explore(name: &str, address: &str) -> Result<ExitCode, Fault> {
    let slice = slice(name).ok_or_else(|| {
        let names: Vec<&str> = slices().iter().map(|slice| slice.name).collect();
        Fault::Usage(format!("no slice `{name}`; there are: {}", names.join(", ")))
    })?;
    let search = harness::search(&slice, slice.config(harness::claimed(&slice)), Bound(usize::MAX));
    serve(Explored { search, watched: "every property that is claimed on this slice" }, address)
}

fn serve(explored: Explored, address: &str) -> Result<ExitCode, Fault> {
    // Asked first, since the Explorer panics where it cannot listen.
    let listener = TcpListener::bind(address)
        .map_err(|error| Fault::Usage(format!("cannot listen on `{address}`: {error}")))?;
    drop(listener);
    print(&format!("http://{address}/ until you end this process\n"));
    explored.serve(address);
    Ok(ExitCode::SUCCESS)
}

fn replay_folder(
    folder: &PathBuf,
    manifest: &PathBuf,
    reaction: Reaction,
) -> Result<ExitCode, String> {
    let at = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(manifest).map_err(|e| at(manifest, &e))?;
    let signed: Signed = decode(&bytes, Signed::CAP + 128).map_err(|e| at(manifest, &e))?;
    let body: Manifest = signed.payload().map_err(|e| at(manifest, &e))?;
    let on_host_read = match reaction {
        Reaction::Block => OnHostRead::Block,
        Reaction::Reset => OnHostRead::Reset,
    };
    let mut logs = Vec::new();
    for file in fs::read_dir(folder).map_err(|e| at(folder, &e))? {
        let path = file.map_err(|e| at(folder, &e))?.path();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|e| at(&path, &e))?;
        let line = |line| serde_json::from_str::<Entry>(line);
        let log: Result<Vec<Entry>, _> = text.lines().map(line).collect();
        logs.push(log.map_err(|e| at(&path, &e))?);
    }
    match replay(&logs, &Setup::of_manifest(&body, on_host_read)) {
        Ok(fits) => {
            print(&format!("{} events fit, {} distinct frames\n", fits.events, fits.frames));
            Ok(ExitCode::SUCCESS)
        }
        Err(mismatch) => Err(mismatch.to_string()),
    }
}
