//! The one way a rule is enforced, and the one place where a broken double can be made.
//!
//! `require!(HS_10, condition)` returns the rule's violation unless the condition holds. Under the
//! compiler flag `--cfg doubles`, which only the mutation run of the model checker sets, a named
//! rule can be skipped, and a named field left out of its transcript, on the current thread. No
//! Cargo feature and no run-time switch does that.

use crate::error::{Rule, Violation};

/// Something that holds or does not: `bool`, or a check's `Result`.
pub(crate) trait Condition {
    fn holds(self) -> bool;
}

impl Condition for bool {
    fn holds(self) -> bool {
        self
    }
}

impl<T, E> Condition for Result<T, E> {
    fn holds(self) -> bool {
        self.is_ok()
    }
}

/// Leaves the function with the rule's violation unless the condition holds.
macro_rules! require {
    ($rule:ident, $condition:expr) => {
        if !$crate::require::Condition::holds($condition) {
            $crate::require::enforce($crate::error::Rule::$rule)?;
        }
    };
}
pub(crate) use require;

/// Does what a rule demands; only a double leaves it out.
macro_rules! perform {
    ($rule:ident, $action:expr) => {
        if $crate::require::enforce($crate::error::Rule::$rule).is_err() {
            $action;
        }
    };
}
pub(crate) use perform;

/// A field of a transcript, as bytes; only a double leaves it out.
#[cfg(not(doubles))]
macro_rules! bound {
    ($field:ident, $bytes:expr) => {
        $bytes
    };
}
#[cfg(doubles)]
macro_rules! bound {
    ($field:ident, $bytes:expr) => {
        $crate::doubles::unless_left_out($crate::transcript::Field::$field, $bytes)
    };
}
pub(crate) use bound;

/// The violation of `rule`, or nothing where a double skips it.
pub(crate) fn enforce(rule: Rule) -> Result<(), Violation> {
    #[cfg(doubles)]
    if doubles::is_skipped(rule) {
        return Ok(());
    }
    Err(rule.violation())
}

/// Doubles: which rules this thread does not enforce, and which fields it does not bind.
#[cfg(doubles)]
pub mod doubles {
    extern crate std;

    use alloc::vec::Vec;
    use core::cell::RefCell;

    use super::Rule;
    use crate::transcript::Field;

    std::thread_local! {
        static SKIPPED: RefCell<Vec<Rule>> = const { RefCell::new(Vec::new()) };
        static LEFT_OUT: RefCell<Vec<Field>> = const { RefCell::new(Vec::new()) };
    }

    /// Replaces the set of fields that this thread does not bind.
    pub fn leave_out(fields: &[Field]) {
        LEFT_OUT.with_borrow_mut(|left_out| {
            if left_out.as_slice() != fields {
                left_out.clear();
                left_out.extend_from_slice(fields);
            }
        });
    }

    /// The fields that this thread does not bind now.
    pub fn left_out() -> Vec<Field> {
        LEFT_OUT.with_borrow(Vec::clone)
    }

    pub(crate) fn unless_left_out(field: Field, bytes: &[u8]) -> &[u8] {
        let is_left_out = LEFT_OUT.with_borrow(|left_out| left_out.contains(&field));
        if is_left_out { &[] } else { bytes }
    }

    /// Replaces the set of skipped rules of this thread.
    pub fn skip(rules: &[Rule]) {
        SKIPPED.with_borrow_mut(|skipped| {
            if skipped.as_slice() != rules {
                skipped.clear();
                skipped.extend_from_slice(rules);
            }
        });
    }

    /// The rules that this thread does not enforce now.
    pub fn skipped() -> Vec<Rule> {
        SKIPPED.with_borrow(Vec::clone)
    }

    pub(crate) fn is_skipped(rule: Rule) -> bool {
        SKIPPED.with_borrow(|skipped| skipped.contains(&rule))
    }
}
