//! Where model and implementation part.

use std::fmt;

/// The first thing that the two do not do alike, in words.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence(String);

impl Divergence {
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }

    /// Says where it happened, before what it is.
    #[must_use]
    pub fn at(self, place: &str) -> Self {
        Self(format!("{place}: {}", self.0))
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Divergence {}

/// Bytes for a message: all of few, the beginning of many.
pub(crate) fn brief(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{shown}{} ({} bytes)", if bytes.len() > 8 { ".." } else { "" }, bytes.len())
}
