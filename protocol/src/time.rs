//! Time as an argument: instants on a caller's monotonic clock, and spans between them.
//!
//! Chapter 50 uses it most. Machines store instants of *one* clock that counts suspend; nobody
//! compares instants of two clocks, and nothing on the wire is an absolute time.
//! It does not read any clock.

use alloc::collections::BTreeMap;

/// A reading of a monotonic clock that counts suspend, in milliseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// `self + span`, saturating: an instant that never comes.
    #[must_use]
    pub const fn after(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// `self - span`, saturating: an instant long past.
    #[must_use]
    pub const fn before(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// The span from `earlier` to `self`; zero where `earlier` is later.
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in milliseconds, on the wire an unsigned integer.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    minicbor::Decode,
    minicbor::Encode,
)]
#[cbor(transparent)]
pub struct Span(#[n(0)] u64);

impl Span {
    pub const ZERO: Self = Self(0);

    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    pub const fn as_millis(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

/// Shifts every stored instant into the past, so that a clock can be held at one reading.
///
/// A model checker needs finitely many states and a machine holds absolute instants. Time there
/// passes by moving all stored instants back; an instant before the floor can no longer matter and
/// collapses onto it. A type that holds instants must visit all of them: one forgotten shows as a
/// state count that explodes.
pub trait Rebase {
    fn rebase(&mut self, by: Span, floor: Instant);
}

impl Rebase for Instant {
    fn rebase(&mut self, by: Span, floor: Instant) {
        if *self != Self(u64::MAX) {
            *self = self.before(by).max(floor);
        }
    }
}

impl<T: Rebase> Rebase for Option<T> {
    fn rebase(&mut self, by: Span, floor: Instant) {
        if let Some(inner) = self {
            inner.rebase(by, floor);
        }
    }
}

impl<K, T: Rebase> Rebase for BTreeMap<K, T> {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.values_mut().for_each(|item| item.rebase(by, floor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lea_1_an_instant_that_never_comes_is_not_moved() {
        let moved = |millis| {
            let mut at = Instant::from_millis(millis);
            at.rebase(Span::from_millis(3), Instant::from_millis(2));
            at.as_millis()
        };
        assert_eq!([u64::MAX, u64::MAX - 1, 9, 4].map(moved), [u64::MAX, u64::MAX - 4, 6, 2]);
    }

    #[test]
    fn lea_1_spans_saturate_instead_of_wrapping() {
        let now = Instant::from_millis(5);
        assert_eq!(now.before(Span::from_millis(9)), Instant::from_millis(0));
        assert_eq!(Instant::from_millis(1).since(now), Span::ZERO);
        assert_eq!(now.after(Span::from_millis(u64::MAX)).as_millis(), u64::MAX);
    }
}
