//! Where a step met a hole: the only thing that the intruder learns from a machine.

use std::cell::RefCell;

use crate::term::{parts_of, term};

/// A value that the adversary has not chosen yet.
pub type Hole = [u8; 32];

/// The hole of a number.
pub fn hole(number: u8) -> Hole {
    term("hole", &[&[number]])
}

/// Whether these bytes are a hole, and not something made of one.
pub fn is_hole(bytes: &[u8]) -> bool {
    parts_of(bytes).is_some_and(|term| term.constructor == "hole")
}

/// What a step wants of a hole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Need {
    /// To be this value.
    Value(Hole, [u8; 32]),
    /// To be a report of this half.
    Report(Hole, &'static str),
}

thread_local! {
    static LISTENING: RefCell<Option<Option<Need>>> = const { RefCell::new(None) };
}

/// Runs a step and says at which hole it first stopped.
pub fn listen<T>(step: impl FnOnce() -> T) -> (T, Option<Need>) {
    LISTENING.set(Some(None));
    let result = step();
    (result, LISTENING.take().flatten())
}

/// Looks at something while nobody listens.
pub fn silently<T>(look: impl FnOnce() -> T) -> T {
    let listening = LISTENING.take();
    let seen = look();
    LISTENING.set(listening);
    seen
}

/// Two values differed.
pub(crate) fn differed(a: &[u8], b: &[u8]) {
    LISTENING.with_borrow_mut(|listening| {
        let Some(need @ None) = listening else { return };
        *need = unified(a, b).flatten();
    });
}

/// What makes two values the same: nothing, where they are; the first hole that has to become
/// something; `None` where no choice of holes does. Constructors are free, so parts decide.
fn unified(a: &[u8], b: &[u8]) -> Option<Option<Need>> {
    if a == b {
        return Some(None);
    }
    let (x, y) = (<[u8; 32]>::try_from(a).ok()?, <[u8; 32]>::try_from(b).ok()?);
    if is_hole(&x) {
        return Some(Some(Need::Value(x, y)));
    }
    if is_hole(&y) {
        return Some(Some(Need::Value(y, x)));
    }
    let (a, b) = (parts_of(&x)?, parts_of(&y)?);
    if a.constructor != b.constructor || a.parts.len() != b.parts.len() {
        return None;
    }
    let mut first = None;
    for (a, b) in a.parts.iter().zip(&b.parts) {
        first = first.or(unified(a, b)?);
    }
    Some(first)
}

/// A report was looked at that no hardware made.
pub(crate) fn unreadable(half: &'static str, bytes: &[u8]) {
    LISTENING.with_borrow_mut(|listening| {
        let Some(need @ None) = listening else { return };
        if let Ok(bytes) = <[u8; 32]>::try_from(bytes)
            && is_hole(&bytes)
        {
            *need = Some(Need::Report(bytes, half));
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_hole_that_a_step_meets_is_heard() {
        let (a, b) = (hole(1), hole(2));
        let ((), need) = listen(|| {
            differed(&[3; 32], &[4; 32]);
            differed(&[3; 32], &a);
            differed(&b, &[5; 32]);
        });
        assert_eq!(need, Some(Need::Value(a, [3; 32])));
    }

    #[test]
    fn a_hole_within_a_term_is_found_where_all_else_can_be_the_same() {
        let of = |a: &[u8], b: &[u8]| term("pair", &[a, b]);
        let (place, value) = (hole(1), [5; 32]);
        let heard = |a: [u8; 32], b: [u8; 32]| listen(|| differed(&a, &b)).1;
        let filled = Need::Value(place, value);
        assert_eq!(heard(of(&[3; 32], &place), of(&[3; 32], &value)), Some(filled));
        assert_eq!(heard(of(&[3; 32], &place), of(&[4; 32], &value)), None, "the rest differs");
        assert_eq!(heard(of(&[3; 32], &place), term("other", &[&[3; 32], &value])), None);
    }

    #[test]
    fn nobody_listens_outside_a_step() {
        differed(&hole(1), &[3; 32]);
        assert_eq!(listen(|| ()).1, None);
        assert_eq!(listen(|| unreadable("gpu", &hole(3))).1, Some(Need::Report(hole(3), "gpu")));
    }
}
