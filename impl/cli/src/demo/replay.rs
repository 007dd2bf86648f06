//! The run's own event log, replayed against the model.

use std::path::Path;
use std::time::Instant;

#[cfg(feature = "demo")]
use split_custody_model_check::replay::replay as replay_in_world;
#[cfg(feature = "demo")]
use split_custody_model_check::world::Setup;
#[cfg(feature = "demo")]
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::trace::Entry;
#[cfg(feature = "demo")]
use split_custody_protocol::trace::{Input, Output};
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_runtime::record::read_log;

use super::report::Report;
use crate::args::HostReadArg;
use crate::failure::{Failure, io_at};

/// Replays what every process recorded, and shows that a log that was harmed does not fit.
pub fn replay(
    logs: &Path,
    manifest: &Manifest,
    on_host_read: HostReadArg,
    report: &mut Report,
) -> Result<(), Failure> {
    report.begin("replay");
    let start = Instant::now();
    let logs = read_all(logs)?;
    let events: usize = logs.iter().map(Vec::len).sum();
    compare(&logs, events, manifest, on_host_read, start, report);
    Ok(())
}

fn read_all(logs: &Path) -> Result<Vec<Vec<Entry>>, Failure> {
    let mut all = Vec::new();
    for file in std::fs::read_dir(logs).map_err(|e| io_at(logs, "list the folder", &e))? {
        let path = file.map_err(|e| io_at(logs, "list the folder", &e))?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            all.push(read_log(&path)?);
        }
    }
    Ok(all)
}

#[cfg(feature = "demo")]
fn compare(
    logs: &[Vec<Entry>],
    events: usize,
    manifest: &Manifest,
    on_host_read: HostReadArg,
    start: Instant,
    report: &mut Report,
) {
    let on_host_read = match on_host_read {
        HostReadArg::Block => OnHostRead::Block,
        HostReadArg::Reset => OnHostRead::Reset,
    };
    let setup = Setup::of_manifest(manifest, on_host_read);
    let replayed = replay_in_world(logs, &setup);
    let detail = match &replayed {
        Ok(fits) => format!("{} events, {} distinct frames", fits.events, fits.frames),
        Err(mismatch) => mismatch.to_string(),
    };
    report.timed("replay", start.elapsed(), &format!("{events} events against the model's world"));
    let name = "every recorded event is an enabled action of the model, with the same outputs";
    report.check("replay", name, replayed.is_ok(), detail);
    let missed: Vec<&str> = HARMS
        .iter()
        .filter(|(_, harm)| replay_in_world(&harmed(logs, *harm), &setup).is_ok())
        .map(|(name, _)| *name)
        .collect();
    let detail = match missed.as_slice() {
        [] => format!("{} harmed copies of the log, all refused", HARMS.len()),
        missed => format!("not noticed: {}", missed.join(", ")),
    };
    let name = "a log with an event dropped, repeated, moved or altered does not fit";
    report.check("replay-sees", name, missed.is_empty(), detail);
}

#[cfg(feature = "demo")]
type Harm = fn(&mut Vec<Entry>, usize);

/// Ways to harm the longest log, where a release hangs on it. Numbering is repaired, so that only what the
/// events say can give the harm away.
#[cfg(feature = "demo")]
const HARMS: [(&str, Harm); 5] = [
    ("dropped", |log, at| drop(log.remove(at))),
    ("repeated", |log, at| log.insert(at, log[at].clone())),
    ("moved", |log, at| {
        let event = log.remove(at);
        log.insert(0, event);
    }),
    ("altered", |log, at| {
        if let Input::Received { frame, .. } = &mut log[at].input {
            frame.digest.0[0] ^= 1;
        }
    }),
    ("said more", |log, at| log[at].outputs.push(Output::Dial { custodian: 1 })),
];

#[cfg(feature = "demo")]
fn harmed(logs: &[Vec<Entry>], harm: Harm) -> Vec<Vec<Entry>> {
    let mut logs = logs.to_vec();
    let Some(log) = logs.iter_mut().max_by_key(|log| log.len()) else { return logs };
    let received = |entry: &Entry| match &entry.input {
        Input::Received { frame, .. } => frame.message == "Challenge" || frame.message == "Grant",
        _ => false,
    };
    let Some(at) = log.iter().position(received) else { return logs };
    harm(log, at);
    let mut last = 0;
    for (number, entry) in log.iter_mut().enumerate() {
        last = entry.now.max(last);
        (entry.sequence, entry.now) = (number as u64, last);
    }
    logs
}

#[cfg(not(feature = "demo"))]
fn compare(
    _: &[Vec<Entry>],
    events: usize,
    _: &Manifest,
    _: HostReadArg,
    start: Instant,
    report: &mut Report,
) {
    let detail = format!("{events} events recorded; this build links no model");
    report.timed("replay", start.elapsed(), &detail);
    report.check("replay", "every recorded event is an enabled action of the model", false, detail);
}
