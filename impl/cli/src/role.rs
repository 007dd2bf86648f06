//! What every long-running role does first, and how it says that it is ready.

use std::io::Write;
use std::path::Path;
use std::process;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use serde_json::Value;
use split_custody_runtime::record::Recorder;
use tokio::runtime::{Builder, Runtime};

use crate::args::RoleArgs;
use crate::failure::{Failure, io_at};

/// Ends with its parent, where it was told to; never outlives a demo that was killed.
pub fn begin(args: &RoleArgs) -> Result<Runtime, Failure> {
    if let Some(parent) = args.die_with {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died before the signal was set.
        if getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().unsigned_abs()) != Some(parent) {
            process::exit(1);
        }
    }
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// The event log, where one was asked for.
pub fn recorder(args: &RoleArgs, role: &str) -> Result<Recorder, Failure> {
    let to_file = |path: &Path| {
        Recorder::to_file(path, role).map_err(|e| io_at(path, "open the event log", &e))
    };
    args.log.as_deref().map_or_else(|| Ok(Recorder::off()), to_file)
}

/// Tells whoever started this process where to find it: one line on stdout.
pub fn ready(args: &RoleArgs, json: Value, text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let line = if args.json { json.to_string() } else { text.to_owned() };
    writeln!(out, "{line}")?;
    out.flush()?;
    Ok(())
}
