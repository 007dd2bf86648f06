//! The handshake between uses of guarded memory and the trip that ends them, without a lock.
//!
//! Chapter 70. After [`Gate::trip`] no use begins; once [`Gate::is_quiet`] says so, none is under way
//! either, and everything that a use wrote is seen by whoever asked. [RST-3] It does not wait:
//! a use may never end, and what follows then is the caller's decision.
//!
//! ```text
//!   open (n uses) --enter--> open (n + 1)      closed (n) --leave--> closed (n - 1)
//!   open (n) --trip--> closed (n)              closed (0) --reopen--> open (0)
//! ```

use super::sync::{AtomicU64, Ordering};

/// Counts uses under way, until it is tripped.
#[derive(Debug)]
pub struct Gate(AtomicU64);

/// One use under way; ends when it is dropped.
#[derive(Debug)]
pub struct Permit<'a>(&'a Gate);

impl Gate {
    /// A gate that is tripped: a device starts tainted. [RST-1]
    pub fn tripped() -> Self {
        Self(AtomicU64::new(TRIPPED))
    }

    /// Begins a use; `None` once tripped.
    pub fn enter(&self) -> Option<Permit<'_>> {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            if state & TRIPPED != 0 {
                return None;
            }
            // One step: a trip between the look and the count makes the exchange fail.
            match self.0.compare_exchange_weak(
                state,
                state + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Some(Permit(self)),
                Err(seen) => state = seen,
            }
        }
    }

    /// The use goes on without its permit, until [`end`](Self::end) is called for it.
    pub fn detach(permit: Permit<'_>) {
        std::mem::forget(permit);
    }

    /// Ends a use that was detached. Once for each.
    pub fn end(&self) {
        self.0.fetch_sub(1, Ordering::Release);
    }

    /// Lets no use begin from now on; true for the call that closed it.
    pub fn trip(&self) -> bool {
        self.0.fetch_or(TRIPPED, Ordering::AcqRel) & TRIPPED == 0
    }

    /// Whether it is tripped.
    pub fn is_tripped(&self) -> bool {
        self.0.load(Ordering::Acquire) & TRIPPED != 0
    }

    /// Whether it is tripped and every use has ended.
    pub fn is_quiet(&self) -> bool {
        self.0.load(Ordering::Acquire) == TRIPPED
    }

    /// Opens again after the scrub; false where it is not quiet.
    pub fn reopen(&self) -> bool {
        self.0.compare_exchange(TRIPPED, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // Release: what the use did happens before what follows a quiet gate.
        self.0.end();
    }
}

/// Above any count of uses.
const TRIPPED: u64 = 1 << 63;
