//! What a relay may do to what it carries.

use std::time::Duration;

use split_custody_protocol::ids::CustodianId;

/// Decides over every piece that a relay carries. [`Faithful`] harms nothing.
pub trait Harm: Send + Sync + 'static {
    /// A device named this custodian; only `Cut` means something here.
    fn on_open(&self, custodian: CustodianId) -> Deed {
        let _ = custodian;
        Deed::Pass
    }

    /// `bytes` come after `before` others on this way; they may be changed in place.
    fn on_bytes(
        &self,
        custodian: CustodianId,
        direction: Direction,
        before: u64,
        bytes: &mut [u8],
    ) -> Deed;
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Direction {
    ToCustodian,
    ToDevice,
}

/// What happens to a piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    Pass,
    /// Passes, later; what comes after it waits too.
    Delay(Duration),
    /// Vanishes, while the connection stays.
    Drop,
    /// This many of its bytes pass, then the connection ends.
    CutAfter(usize),
    /// The connection ends.
    Cut,
}

/// Carries everything as it came.
#[derive(Clone, Copy, Debug)]
pub struct Faithful;

impl Harm for Faithful {
    fn on_bytes(&self, _: CustodianId, _: Direction, _: u64, _: &mut [u8]) -> Deed {
        Deed::Pass
    }
}
