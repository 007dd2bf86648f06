//! The device: memory that a host cannot read, and the code that opens weights into it.
//!
//! Chapter 70. [`GpuDevice`] is what a device process asks of its accelerator, in the order of the
//! device machine: [`zeroise`](GpuDevice::zeroise), [`scrub`](GpuDevice::scrub),
//! [`plant`](GpuDevice::plant), [`load`](GpuDevice::load), [`compute`](GpuDevice::compute). [`sim`]
//! is the backend without hardware: its memory is `memfd_secret` pages where the kernel has them,
//! and its bus is a [`Window`](sim::Window) that answers every read with a refusal. `cuda` (a feature)
//! is the backend on an NVIDIA GPU.
//!
//! When a load returns, every tensor was opened whole, in memory that was scrubbed and verified in
//! this incarnation. [RST-5] [SEAL-9] When an operation fails, what it had opened is zeroed.
//!
//! It does not decide when to do any of this (the device machine does), check leases, or prove to
//! anyone else that it ran: a simulated device is isolated by software only, and says so.
//!
//! ```text
//!   Tainted --zeroise--> Zeroised --scrub--> Scrubbed --plant--> Clean --load, compute, prove-->
//!      ^----------------- a mark that does not match, from Clean -----/
//! ```

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod backend;
#[cfg(feature = "cuda")]
pub mod cuda;
mod error;
mod harden;
mod hash;
mod incarnation;
mod loader;
mod mac;
pub mod scan;
pub mod sim;
#[allow(unsafe_code)]
mod sys;

pub use backend::{GpuDevice, KeySlot, Load, Scrubbed, TensorInfo, TensorProof, TensorSlice};
pub use error::GpuError;
pub use harden::{Hardening, Measure, harden};
pub use incarnation::{Incarnation, Mark};
pub use loader::Progress;
pub use mac::{OwnerKey, SignedNonce, nonce_message, slice_checksum, tensor_mac};
pub use sys::Backing;
