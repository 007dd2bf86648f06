//! What is made to fail, and how: `NAME[:N]=KIND`, several separated by commas.
//!
//! NAME is a call (`cuMemsetD8Async`), or `kernel/NAME` when that kernel is run. N is which call from
//! now on, 1 where it is not named; `*` is every one. KIND is a result's number; `drop`, which
//! says success and does nothing; `hang`, which never returns; `die`, which takes the GPU away.

use std::collections::BTreeMap;

use crate::wire::result as R;

/// What a call is to do instead of its work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Give this result.
    Fail(u32),
    /// Say that it was done.
    Drop,
    /// Never return.
    Hang,
    /// The GPU goes away first.
    Die,
}

struct Fault {
    name: String,
    /// How many calls it still lets pass; `None` is every one.
    after: Option<u64>,
    kind: Kind,
}

/// Faults to come, and how often each call was made.
#[derive(Default)]
pub struct Faults {
    faults: Vec<Fault>,
    calls: BTreeMap<String, u64>,
}

impl Faults {
    /// Those of the environment.
    pub fn of_environment() -> Self {
        let mut faults = Self::default();
        if let Ok(text) = std::env::var("FAKE_CUDA_FAULTS") {
            assert!(faults.add(&text), "FAKE_CUDA_FAULTS: not faults: {text}");
        }
        faults
    }

    /// Adds some; false if they are not written as above.
    pub fn add(&mut self, text: &str) -> bool {
        text.split(',').filter(|one| !one.is_empty()).all(|one| {
            let Some((place, kind)) = one.split_once('=') else { return false };
            let (name, which) = place.split_once(':').unwrap_or((place, "1"));
            let kind = match (kind, kind.parse()) {
                (_, Ok(number)) => Kind::Fail(number),
                ("drop", _) => Kind::Drop,
                ("hang", _) => Kind::Hang,
                ("die", _) => Kind::Die,
                _ => return false,
            };
            let after = match (which, which.parse::<u64>()) {
                ("*", _) => None,
                (_, Ok(number)) if number > 0 => Some(number - 1),
                _ => return false,
            };
            self.faults.push(Fault { name: name.into(), after, kind });
            true
        })
    }

    /// No more of them; the counts stay.
    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// How often a call was made.
    pub fn calls(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or(0)
    }

    /// Adds to a count that is no call's.
    pub fn count(&mut self, name: &str, by: u64) {
        *self.calls.entry(name.into()).or_default() += by;
    }

    /// Counts a call, and says what it is to do instead.
    pub fn meet(&mut self, name: &str) -> Option<Kind> {
        self.count(name, 1);
        let mut met = None;
        self.faults.retain_mut(|fault| {
            if fault.name != name || met.is_some() {
                return true;
            }
            match &mut fault.after {
                Some(0) => {
                    met = Some(fault.kind);
                    false
                }
                Some(after) => {
                    *after -= 1;
                    true
                }
                None => {
                    met = Some(fault.kind);
                    true
                }
            }
        });
        met
    }
}

/// Ends a call as a fault says; `Ok` if it is to go on.
pub fn carry_out(kind: Option<Kind>, die: impl FnOnce()) -> Result<(), u32> {
    match kind {
        None => Ok(()),
        Some(Kind::Fail(result)) => Err(result),
        Some(Kind::Drop) => Err(R::SUCCESS),
        Some(Kind::Die) => {
            die();
            Ok(())
        }
        Some(Kind::Hang) => loop {
            std::thread::park();
        },
    }
}
