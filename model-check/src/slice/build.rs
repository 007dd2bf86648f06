//! How a slice is put together.

use super::{Scope, Slice, Start};
use crate::world::{Bounds, Lie, Setup, Switch};

pub(super) const fn one() -> Setup {
    Setup::smallest(1, 1, 0)
}

/// Clocks that agree need no margin, and terms can be as short as three ticks.
pub(super) const fn exact(n: u8, k: u8, f: u8) -> Setup {
    Setup { first: 3, term: 3, ttl_max: 3, margin: 0, ..Setup::smallest(n, k, f) }
}

pub(super) fn begin(name: &'static str, setup: Setup, bounds: Bounds) -> Slice {
    let (scope, start, lie) = (Scope::Smoke, Start::Clean, None);
    Slice { name, scope, setup, bounds, liars: &[], start, lie, says: "", drops: "" }
}

impl Slice {
    pub(super) fn says(self, says: &'static str) -> Self {
        Self { says, ..self }
    }

    pub(super) fn drops(self, drops: &'static str) -> Self {
        Self { drops, ..self }
    }

    pub(super) fn lies(self, lie: Lie) -> Self {
        Self { lie: Some(lie), ..self }
    }

    pub(super) fn serving(self) -> Self {
        Self { start: Start::Serving, ..self }
    }

    pub(super) fn liars(self, liars: &'static [u8]) -> Self {
        Self { liars, ..self }
    }

    pub(super) fn review(self) -> Self {
        Self { scope: Scope::Review, ..self }
    }

    pub(super) fn night(self) -> Self {
        Self { scope: Scope::Night, ..self }
    }
}

pub(super) const ON: Switch = Switch::On;
pub(super) const OFF: Switch = Switch::Off;

pub(super) const UNTIMED: &str = "time, crashes, resets, revocation";
