//! The simulated device: a backend without hardware, isolated by software only.
//!
//! Chapter 70. [`SimDevice`] embeds in a process of its own; the host reaches it through a
//! [`Window`], which stands for the bus and gives out no memory. Keys and plaintext lie in pages
//! that the kernel hides even from root, where it can ([`Backing`](crate::Backing) says).
//! It proves nothing to a stranger: Evidence of a simulated device has its own kind, and policy must
//! name it.

mod device;
mod memory;
mod window;

pub use device::{Resettable, SimConfig, SimDevice};
pub use memory::{KEY_BYTES_MAX, KEY_SLOTS};
pub use window::{Answer, Bus, HostPort, HostRead, OnHostRead, Window};
