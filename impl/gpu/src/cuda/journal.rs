//! A line on disk from the trip until the scrub: who starts next knows that there is something to do.
//!
//! Chapter 70. It holds no secret and is believed by nobody else: without it the next life sweeps all
//! the same. It makes visible that a life ended between the two. [RST-3]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where the line is, if anywhere.
pub(super) struct Journal(Option<PathBuf>);

impl Journal {
    pub(super) fn new(path: Option<&Path>) -> Self {
        Self(path.map(Path::to_owned))
    }

    /// What an earlier life left.
    pub(super) fn unfinished(&self) -> Option<String> {
        let text = fs::read_to_string(self.0.as_deref()?).ok()?;
        Some(text.trim_end().to_owned())
    }

    /// Durable before the first byte is zeroed.
    pub(super) fn begin(&self, why: &str) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let mut file = File::create(path)?;
        writeln!(file, "tripped, not yet scrubbed: {why}")?;
        file.sync_data()
    }

    /// The scrub was verified.
    pub(super) fn end(&self) -> io::Result<()> {
        match self.0.as_deref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}
