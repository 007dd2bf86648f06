//! The CUDA device: keys and weights in the memory of an NVIDIA GPU, and nowhere else.
//!
//! Chapter 70. [`CudaDevice`] makes its agreement keys on the GPU, opens and combines shares there, and
//! opens the weights there while the next ciphertext travels. No function gives any of it to the host.
//! When a read is attempted, it trips: uses are blocked, keys and weights overwritten and seen to be
//! zero, the memory unmapped, the context ended; what fails ends in a trap. [`TripReport`] says how it
//! went. The next life sweeps all free device memory before anything else.
//!
//! It is isolated by software. Who is root, or talks to the kernel's driver past this process, is
//! stopped by confidential-computing hardware alone: `docs/gpu.md` has the whole of it.
//!
//! ```text
//!   open --> Tainted --zeroise--> Zeroised --scrub--> Scrubbed --plant--> Clean
//!   Clean --trip--> Tripped: no context, no memory --zeroise--> Zeroised --scrub (sweeps)--> …
//! ```

#[allow(unsafe_code)]
pub mod abi;
mod consumer;
mod device;
mod environment;
mod feed;
mod journal;
mod keys;
mod life;
mod load;
#[allow(unsafe_code)]
pub mod probe;
mod secrets;
mod trip;
#[allow(unsafe_code)]
mod watch;
mod weights;

pub use consumer::{Borrowed, Loan, NotLent};
pub use device::{CudaConfig, CudaDevice};
pub use environment::Refused;
pub use feed::LoadReport;
pub use trip::{Reason, Step, StepReport, TripReport};
