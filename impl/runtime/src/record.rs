//! The recorder of the event log: one JSON line per turn, one file per process.
//!
//! All chapters. An entry is in the file before any of its outputs is executed, so whatever
//! another process saw of this one is in this one's log, also after a kill. Off, it costs one
//! branch per turn. It holds no secrets; see [`trace_types`](crate::trace_types).

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use split_custody_protocol::effect::Output;
use split_custody_protocol::time::Instant;

use crate::describe;
use crate::machine::Machine;
use crate::trace_types as trace;

/// Writes one process's events, or nothing.
#[derive(Debug, Default)]
pub struct Recorder {
    sink: Option<Sink>,
}

#[derive(Debug)]
struct Sink {
    role: String,
    sequence: u64,
    file: File,
    line: Vec<u8>,
}

impl Recorder {
    /// Writes nothing.
    pub const fn off() -> Self {
        Self { sink: None }
    }

    /// Appends to this file, which only its owner can read. `role` is `device` or `custodian-2`.
    pub fn to_file(path: &Path, role: &str) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let sink = Sink { role: role.to_owned(), sequence: 0, file, line: Vec::new() };
        Ok(Self { sink: Some(sink) })
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.sink.is_some()
    }

    /// The input as the log will have it; `None` while off, at no cost.
    pub(crate) fn input<M: Machine>(&self, input: &M::Input) -> Option<trace::Input> {
        self.sink.as_ref().map(|_| M::describe_input(input))
    }

    /// A call and its result as the log will have them; `None` while off.
    pub(crate) fn command(&self, name: &str, result: &dyn Debug) -> Option<trace::Input> {
        self.sink.as_ref()?;
        Some(trace::Input::Command { name: name.to_owned(), outcome: format!("{result:?}") })
    }

    /// Writes one turn and flushes it.
    pub(crate) fn turn<M: Machine>(
        &mut self,
        now: Instant,
        input: Option<trace::Input>,
        rejected: Option<&dyn Debug>,
        outputs: &[Output<M::Effect>],
    ) -> io::Result<()> {
        let (Some(sink), Some(input)) = (&mut self.sink, input) else { return Ok(()) };
        let outputs = outputs.iter().map(describe::output::<M>).collect();
        let rejected = rejected.map(|rejection| format!("{rejection:?}"));
        sink.write(now, input, rejected, outputs)
    }
}

impl Sink {
    fn write(
        &mut self,
        now: Instant,
        input: trace::Input,
        rejected: Option<String>,
        outputs: Vec<trace::Output>,
    ) -> io::Result<()> {
        let (role, sequence) = (self.role.clone(), self.sequence);
        let entry = trace::Entry { role, sequence, now: now.as_millis(), input, rejected, outputs };
        self.line.clear();
        serde_json::to_writer(&mut self.line, &entry)?;
        self.line.push(b'\n');
        // One write per line: a kill leaves whole lines.
        self.file.write_all(&self.line)?;
        self.sequence += 1;
        Ok(())
    }
}

/// Reads a log back; an unreadable line is an error that names it.
pub fn read_log(path: &Path) -> io::Result<Vec<trace::Entry>> {
    let text = std::fs::read_to_string(path)?;
    let parse = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|error| {
            let what = format!("`{}` line {}: {error}", path.display(), number + 1);
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    };
    text.lines().enumerate().map(parse).collect()
}
