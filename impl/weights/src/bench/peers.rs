//! Libraries of the Python world, measured in the same run over the same file.
//!
//! Chapter 15. One interpreter for each library and number of threads, which waits between repeats; a
//! line in is one repeat, a line of JSON out its figures. What the libraries do is in `peers.py`. An
//! interpreter or a library that is missing is reported with its reason, and nothing else stops.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::Deserialize;

use crate::ids::Threads;

/// A library that stores tensors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Peer {
    /// Plain files: neither encrypted nor authenticated.
    Safetensors,
    /// Encrypted tensors and a signed header, in files of the same form.
    Cryptotensors,
}

impl Peer {
    pub const ALL: [Self; 2] = [Self::Safetensors, Self::Cryptotensors];

    /// The name of its package.
    pub fn package(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Cryptotensors => "cryptotensors",
        }
    }

    /// What its saving and its loading are called in a report.
    pub fn steps(self) -> [&'static str; 2] {
        match self {
            Self::Safetensors => ["safetensors: save, durable", "safetensors: load"],
            Self::Cryptotensors => {
                ["cryptotensors: encrypt and save, durable", "cryptotensors: load and decrypt"]
            }
        }
    }
}

/// What one step of a library took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Sample {
    /// Seconds.
    pub seconds: f64,
    /// Bytes by which resident memory grew.
    pub peak: u64,
}

/// A library that answered, and waits.
pub(super) struct Running {
    /// Which version.
    pub version: String,
    child: Child,
    asked: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Running {
    /// Starts `peer` over `source`. It has saved to `target` and loaded that once, as a warm-up; what
    /// it loaded was the same.
    pub fn start(
        peer: Peer,
        python: &Path,
        source: &Path,
        target: &Path,
        threads: Threads,
    ) -> Result<Self, String> {
        let mut command = Command::new(python);
        command.args(["-c", SCRIPT, peer.package()]).args([source, target]);
        command.env("RAYON_NUM_THREADS", threads.0.to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().map_err(|e| format!("cannot start `{}`: {e}", python.display()))?;
        let asked = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        let mut running = Self { version: String::new(), child, asked, answers };
        match running.answer()? {
            Answer::Ready { version } => running.version = version,
            Answer::Measured { .. } => return Err("it answered before it was asked".into()),
            Answer::Failed { failed } => return Err(failed),
        }
        Ok(running)
    }

    /// One repeat: saving, then loading.
    pub fn measure(&mut self) -> Result<[Sample; 2], String> {
        let asked = self.asked.as_mut().expect("it is closed when this is dropped");
        asked.write_all(b"again\n").map_err(|e| e.to_string())?;
        match self.answer()? {
            Answer::Measured { save, load } => Ok([save, load]),
            Answer::Ready { .. } => Err("it started twice".into()),
            Answer::Failed { failed } => Err(failed),
        }
    }

    fn answer(&mut self) -> Result<Answer, String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|e| e.to_string())?;
        if line.is_empty() {
            return Err("it ended without an answer".into());
        }
        serde_json::from_str(&line).map_err(|e| format!("it answered what is no figure: {e}"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It ends where its input ends.
        drop(self.asked.take());
        let _ = self.child.wait();
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Answer {
    Ready { version: String },
    Measured { save: Sample, load: Sample },
    Failed { failed: String },
}

const SCRIPT: &str = include_str!("peers.py");
