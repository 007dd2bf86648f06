//! A device in use: keys and weights are made, used and erased in device memory, and never leave it.
//!
//! Chapters 15, 30, 40 and 70. There are two kinds of device memory. [`Guarded`] memory holds keys,
//! shares and weights; a [`Secret`] names a part of it, and no function of this module takes a
//! [`Secret`] to the host. [`Open`] memory holds what is public: ciphertext, public keys, MACs, status
//! words; a [`Public`] names a part of it, and [`Desk::fetch`] reads it. Which of the two a kernel
//! writes to is in the type of each operation.
//!
//! When an operation returns `Ok`, the kernel ran to its end and its status word said so. An error
//! leaves outputs zero. [`Gate`] is the handshake between uses and a trip. [RST-3]
//!
//! It does not say when to trip, hold leases, or read files: `split-custody-gpu` does. It cannot stop
//! code in this process that calls the driver itself: the interposer does what can be done.

mod context;
mod desk;
mod gate;
mod memory;
mod operations;
mod ring;
mod stream;
mod sweep;
mod tensors;

/// What the gate counts with; its test under `loom` has others.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, Ordering};
}

pub use context::{Context, Facts};
pub use desk::Desk;
pub use gate::{Gate, Permit};
pub use memory::{Guarded, Open, Pinned, Public, Secret};
pub use operations::{MacJob, ShareContext, Wrapped};
pub use ring::{Ring, Slot};
pub use stream::{Event, Stream};
pub use sweep::sweep;
pub use tensors::{DeriveJob, Marked, OpenJob, SCHEDULE_BYTES, Target, Verdict};
