//! Everything that is on stage while the demo runs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::DeviceId;
use tokio::runtime::Runtime;

use super::gpu;
use super::process::Process;
use super::source::Source;
use crate::args::{DemoArgs, GpuArg};
use crate::arguments;
use crate::control::{DeviceAsk, ask};
use crate::failure::Failure;
use crate::layout::Household;
use crate::operator::Operators;
use crate::seal::SealedModel;

/// Roles, files and what the owner knows.
pub struct Stage<'a> {
    pub args: &'a DemoArgs,
    pub runtime: Runtime,
    pub household: Household,
    pub source: Source,
    pub sealed: SealedModel,
    pub sealed_path: PathBuf,
    pub operators: Operators,
    pub device_id: DeviceId,
    pub custodians: Vec<Custodian>,
    pub node: Process,
    pub device: Process,
    pub socket: PathBuf,
    /// Where event logs and stderr of the processes go.
    pub logs: PathBuf,
    /// How often a device was started.
    pub starts: u8,
}

/// A custodian on stage.
pub struct Custodian {
    pub id: CustodianId,
    pub address: SocketAddr,
    pub process: Process,
    /// Killed before the release.
    pub killed: bool,
}

impl Stage<'_> {
    /// Asks the device over its control socket.
    pub fn ask(&self, question: &DeviceAsk) -> Result<Value, Failure> {
        ask(&self.control(), question)
    }

    pub fn control(&self) -> PathBuf {
        self.household.device(1).path("control.sock")
    }

    pub fn load(&self) -> Result<Value, Failure> {
        self.ask(&DeviceAsk::Load { model: self.sealed_path.clone() })
    }

    pub fn status(&self) -> Result<Value, Failure> {
        self.ask(&DeviceAsk::Status)
    }

    /// Where every custodian is, the killed ones too.
    pub fn addresses(&self) -> Vec<(CustodianId, SocketAddr)> {
        self.custodians.iter().map(|c| (c.id, c.address)).collect()
    }

    pub fn alive(&self) -> impl Iterator<Item = &Custodian> {
        self.custodians.iter().filter(|custodian| !custodian.killed)
    }

    pub fn ttl_max(&self) -> Duration {
        Duration::from_millis(self.sealed.manifest.ttl_max.as_millis())
    }

    /// Ends the device's process and starts it anew, which forgets everything.
    pub fn restart_device(&mut self) -> Result<(), Failure> {
        self.device.end();
        self.starts += 1;
        let (args, source) = (self.args, self.source.len());
        self.device = device(args, source, &self.household, &self.socket, &self.logs, self.starts)?;
        Ok(())
    }
}

/// The PKCS#11 module of a run: the one that is named, or the installed SoftHSM2; `None` for keys in
/// software.
pub fn hsm_module(args: &DemoArgs) -> Result<Option<PathBuf>, Failure> {
    let module = match args.hsm.split_once(':') {
        Some((_, module)) => PathBuf::from(module),
        None if args.hsm == "pkcs11" => split_custody_pkcs11::find_softhsm().ok_or_else(|| {
            let line = "--hsm pkcs11: SoftHSM2 is not installed (Debian: apt-get install softhsm2)";
            Failure::Missing(line.into())
        })?,
        None => return Ok(None),
    };
    match std::fs::canonicalize(&module) {
        Ok(module) if module.is_file() => Ok(Some(module)),
        _ => {
            let line = format!("--hsm pkcs11: `{}`: no such module", module.display());
            Err(Failure::Missing(line))
        }
    }
}

/// Starts the device's process, for the given time.
pub fn device(
    args: &DemoArgs,
    model: u64,
    household: &Household,
    socket: &Path,
    logs: &Path,
    starts: u8,
) -> Result<Process, Failure> {
    let name = if starts == 1 { "device".to_owned() } else { format!("device-{starts}") };
    let reaction = format!("{:?}", args.on_host_read).to_lowercase();
    // Secret pages are slow to come by, so the first scrub pays for them and no load does.
    let reserve = (model >> 20) + 8;
    let mut arguments = arguments![
        "device",
        "--dir",
        household.device(1).0,
        "--node",
        socket,
        "--gpu",
        format!("{:?}", args.gpu).to_lowercase(),
        "--on-host-read",
        reaction,
        "--reserve-mb",
        reserve.to_string(),
    ]
    .to_vec();
    arguments.extend(log(args, logs, &name));
    Process::start_with(&name, logs, &arguments, |command| {
        if args.gpu == GpuArg::Cuda
            && let Some(interposer) = gpu::interposer()
        {
            command.env("LD_PRELOAD", interposer);
        }
    })
}

/// Where a role keeps its event log, if it shall.
pub fn log(args: &DemoArgs, logs: &Path, name: &str) -> Vec<OsString> {
    if args.quiet {
        return Vec::new();
    }
    arguments!["--log", logs.join(format!("{name}.jsonl"))].to_vec()
}

/// Asks again and again until it is so, or gives up.
pub fn wait_until(
    what: &str,
    patience: Duration,
    mut is_so: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let start = Instant::now();
    while !is_so()? {
        if start.elapsed() > patience {
            return Err(Failure::refused(format!("waited in vain until {what}")));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
