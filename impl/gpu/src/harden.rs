//! What a device process does to itself before it holds a secret.
//!
//! Chapter 70. When [`harden`] returns, each measure worked or the report says why not; the caller
//! prints it. It does not defend against root: `memfd_secret` pages do, as far as reading goes.

use std::fmt;
use std::io;

use crate::sys;

/// Makes this process undumpable, without core files, and lets it lock as much as it may.
///
/// Call it first thing: the kernel forgets nothing that was readable before.
pub fn harden() -> Hardening {
    Hardening {
        undumpable: Measure::of(sys::refuse_dumps()),
        no_core_files: Measure::of(sys::refuse_core_files()),
        lock_limit: Measure::of(sys::raise_lock_limit()),
    }
}

/// What worked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hardening {
    /// Other processes of this user may neither attach nor read `/proc/<pid>/mem`.
    pub undumpable: Measure,
    /// The kernel writes no core file of this process.
    pub no_core_files: Measure,
    /// The limit of locked memory is at its maximum.
    pub lock_limit: Measure,
}

impl fmt::Display for Hardening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { undumpable, no_core_files, lock_limit } = self;
        write!(
            f,
            "undumpable: {undumpable}; core files off: {no_core_files}; lock limit: {lock_limit}"
        )
    }
}

/// The outcome of one measure.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Measure {
    /// It holds.
    InForce,
    /// The kernel refused it.
    Refused(String),
}

impl Measure {
    fn of(result: io::Result<()>) -> Self {
        match result {
            Ok(()) => Self::InForce,
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InForce => f.write_str("in force"),
            Self::Refused(why) => write!(f, "refused ({why})"),
        }
    }
}
