//! Lease: a key that was released is used only while k custodians let it be.
//!
//! Chapter 50. A [`Holder`] counts each custodian's term from before the request was first sent,
//! less the clock margin; a [`Ledger`] counts it from the commit, plus the margin. So when a
//! custodian says that a lease is dead, no honest device counts it. [LEA-1] [LEA-6]
//! Using and releasing output are checked here; erasing is chapter 40's and 70's.

// A target without 64-bit atomics asks its machine for every use.
#[cfg(target_has_atomic = "64")]
mod gate;
mod holder;
mod ledger;

#[cfg(target_has_atomic = "64")]
pub use gate::{Gate, Hold, Standing};
pub use holder::{Admission, Held, Holder, RenewalCheck};
pub use ledger::{Lease, LeaseStanding, Ledger, RenewDecision, RenewInput};
