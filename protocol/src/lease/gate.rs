//! The gate: uses that a device admits without a turn of its machine.
//!
//! Chapter 50. After each turn a driver publishes the machine's [`Standing`]; any thread then asks the
//! [`Gate`] in tens of nanoseconds what the machine would have answered. The gate admits what
//! [`Holder::admit`](super::Holder::admit) admits under leases without a limit of uses, and nothing
//! else. It never refuses: where it does not admit, the machine has to be asked. [LEA-16]
//!
//! A reader neither waits nor locks nor allocates. There is one writer, the driver; everybody else
//! may only [`hold`](Gate::hold) the gate shut.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, Ordering, fence};

use super::holder::Admission;
use crate::ids::Attempt;
use crate::suite::Incarnation;
use crate::time::Instant;

/// What a machine lets pass until its next turn. Only a serving device with k counting leases has one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    pub(crate) incarnation: Incarnation,
    pub(crate) attempt: Attempt,
    /// The k-th latest end of the leases without a limit of uses. [LEA-2]
    pub(crate) admits_until: Instant,
    /// The k-th latest end of all leases. [LEA-3]
    pub(crate) leaves_until: Instant,
}

/// The last published standing, and the uses that it admitted.
///
/// ORDERING: a published standing is several words, so a version guards them: it is odd while they are
/// written. A reader takes the version (acquire), the words, the time, and the version again behind an
/// acquire fence. Unchanged and even, all words are of one standing, and that standing was published
/// when the clock was read: the use is admitted at that instant. The count of holds is read first
/// (acquire): zero after a hold was placed means that it was lifted, and lifting (release) comes after
/// the publication that follows from what it was placed for, which the reader therefore sees.
#[derive(Debug, Default)]
pub struct Gate {
    version: AtomicU64,
    admits_until: AtomicU64,
    leaves_until: AtomicU64,
    attempt: AtomicU64,
    incarnation: [AtomicU64; 4],
    holds: AtomicU64,
    uses: AtomicU64,
}

impl Gate {
    /// Shut: every use is for the machine to decide.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the standing; `None` shuts the gate. For the one driver of the machine, after each
    /// turn and before anything that the turn led to is executed. [LEA-16]
    pub fn publish(&self, standing: Option<&Standing>) {
        let odd = self.begin();
        let never = Instant::from_millis(0);
        let until = |of: fn(&Standing) -> Instant| standing.map_or(never, of).as_millis();
        self.admits_until.store(until(|s| s.admits_until), Ordering::Relaxed);
        self.leaves_until.store(until(|s| s.leaves_until), Ordering::Relaxed);
        if let Some(standing) = standing {
            self.attempt.store(standing.attempt.value(), Ordering::Relaxed);
            for (word, bytes) in self.incarnation.iter().zip(words(&standing.incarnation)) {
                word.store(bytes, Ordering::Relaxed);
            }
        }
        self.version.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// The version is odd from here on, and seen before any word that follows it.
    fn begin(&self) -> u64 {
        let odd = self.version.load(Ordering::Relaxed).wrapping_add(1);
        self.version.store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        odd
    }

    /// Admits a use and counts it, or leaves it to the machine. `now` reads the device's clock.
    ///
    /// [LEA-2] [LEA-4] [LEA-16]
    pub fn admit(&self, now: impl FnOnce() -> Instant) -> Option<Admission> {
        let seen = self.look(now)?;
        if seen.now >= seen.admits_until {
            return None;
        }
        self.uses.fetch_add(1, Ordering::Relaxed);
        Some(Admission::new(seen.incarnation, seen.attempt))
    }

    /// Whether the output of an admitted use may leave; where not, the machine has to be asked.
    ///
    /// [LEA-3] [LEA-16]
    pub fn may_leave(&self, now: impl FnOnce() -> Instant, admission: &Admission) -> bool {
        self.look(now).is_some_and(|seen| {
            seen.now < seen.leaves_until
                && seen.attempt == admission.attempt()
                && seen.incarnation == *admission.incarnation()
        })
    }

    /// Shuts the gate until the hold is dropped: for what is on its way to the machine. A use that is
    /// asked for after this returned is not admitted before the machine has handled it. [LEA-16]
    pub fn hold(self: &Arc<Self>) -> Hold {
        self.holds.fetch_add(1, Ordering::AcqRel);
        Hold(Arc::clone(self))
    }

    /// The uses that were admitted since the last call, to be charged before the next turn. [LEA-4]
    pub fn take_uses(&self) -> u64 {
        // The swap alone would take the cache line from readers in every turn.
        if self.uses.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        self.uses.swap(0, Ordering::AcqRel)
    }

    fn look(&self, now: impl FnOnce() -> Instant) -> Option<Seen> {
        if self.holds.load(Ordering::Acquire) != 0 {
            return None;
        }
        let version = self.version.load(Ordering::Acquire);
        let until = |word: &AtomicU64| Instant::from_millis(word.load(Ordering::Relaxed));
        let (admits_until, leaves_until) = (until(&self.admits_until), until(&self.leaves_until));
        let attempt = Attempt::new(self.attempt.load(Ordering::Relaxed));
        let incarnation = self.incarnation.each_ref().map(|word| word.load(Ordering::Relaxed));
        let now = now();
        fence(Ordering::Acquire);
        if version % 2 == 1 || self.version.load(Ordering::Relaxed) != version {
            return None;
        }
        Some(Seen {
            now,
            admits_until,
            leaves_until,
            attempt,
            incarnation: from_words(incarnation),
        })
    }
}

/// One standing as a reader saw it, at one instant.
struct Seen {
    now: Instant,
    admits_until: Instant,
    leaves_until: Instant,
    attempt: Attempt,
    incarnation: Incarnation,
}

/// Keeps a gate shut while it lives.
#[derive(Debug)]
pub struct Hold(Arc<Gate>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::Release);
    }
}

fn words(incarnation: &Incarnation) -> [u64; 4] {
    let (parts, _) = incarnation.as_bytes().as_chunks::<8>();
    core::array::from_fn(|at| parts.get(at).map_or(0, |part| u64::from_le_bytes(*part)))
}

fn from_words(words: [u64; 4]) -> Incarnation {
    let mut bytes = [0; 32];
    for (part, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
        *part = word.to_le_bytes();
    }
    Incarnation::new(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lea_16_a_standing_that_is_being_written_admits_nothing_and_lets_nothing_out() {
        let at = Instant::from_millis;
        let standing = Standing {
            incarnation: Incarnation::new([1; 32]),
            attempt: Attempt::new(1),
            admits_until: at(9),
            leaves_until: at(9),
        };
        let gate = Gate::new();
        gate.publish(Some(&standing));
        let admission = gate.admit(|| at(5)).expect("it counts");
        // What a reader meets that comes between two words of the next standing.
        gate.begin();
        assert_eq!(gate.admit(|| at(5)), None);
        assert!(!gate.may_leave(|| at(5), &admission));
        assert_eq!(gate.take_uses(), 1);
    }
}
