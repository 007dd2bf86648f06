//! The specification as data: chapters, requirement ids, state tables, and a slow reference.
//!
//! The chapters in this folder are normative; this crate only reads them. Tests of other crates
//! compare their machines with [`mod@table`] and their encodings with [`mod@reference`] and
//! [`mod@agreement`]; the trace test
//! asks [`trace`] whether every requirement of [`ids`] is enforced and tested somewhere.
//! Nothing that ships depends on this crate.

pub mod agreement;
pub mod ids;
pub mod reference;
pub mod table;
pub mod trace;

pub use table::table;

/// A chapter: its file name and its text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Chapter {
    pub file: &'static str,
    pub text: &'static str,
}

macro_rules! chapters {
    ($($file:literal)*) => {
        &[$(Chapter { file: $file, text: include_str!(concat!("../", $file)) }),*]
    };
}

/// Every chapter, in the order in which a stranger should read them.
pub const CHAPTERS: &[Chapter] = chapters![
    "00-terms.md"
    "01-threat-model.md"
    "10-wire.md"
    "15-sealing.md"
    "20-handshake.md"
    "30-release.md"
    "35-hsm.md"
    "40-quorum.md"
    "50-lease.md"
    "60-revocation.md"
    "70-reset.md"
    "80-audit.md"
];

/// The schema of everything that crosses a boundary.
pub const CDDL: &str = include_str!("../wire.cddl");

/// The requirements that code does not enforce, or does not enforce yet, with reasons.
pub const EXCEPTIONS: &str = include_str!("../exceptions.toml");
