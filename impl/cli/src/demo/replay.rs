//! The run's own event log, replayed against the model.

use std::path::Path;
use std::time::Instant;

use split_custody_runtime::record::read_log;

use super::report::Report;
use crate::failure::{Failure, io_at};

pub fn replay(logs: &Path, report: &mut Report) -> Result<(), Failure> {
    report.begin("replay");
    let start = Instant::now();
    let mut entries = Vec::new();
    for file in std::fs::read_dir(logs).map_err(|e| io_at(logs, "list the folder", &e))? {
        let path = file.map_err(|e| io_at(logs, "list the folder", &e))?.path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            entries.extend(read_log(&path)?);
        }
    }
    // TODO: hand `entries` to the replayer of split-custody-model-check. Until then: not shown.
    let detail = format!("{} events recorded; this build has no replayer", entries.len());
    report.timed("replay", start.elapsed(), &detail);
    report.check("replay", "every recorded event is an enabled action of the model", false, detail);
    Ok(())
}
