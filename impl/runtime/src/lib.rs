//! The runtime: what carries the machines of the protocol between clocks, sockets and disks.
//!
//! All chapters. One driver loop ([`driver`]) turns any machine; [`transport`] opens the channels,
//! [`relay`] is the node between them, [`effects`] answers what a machine asks, [`record`] writes
//! down what it took and gave. Nothing here decides who gets a key.

// The event types move to a crate without `std`.
extern crate alloc;

pub mod clock;
mod describe;
pub mod driver;
pub mod effects;
pub mod machine;
pub mod pki;
pub mod record;
pub mod relay;
mod roles;
pub mod suite;
pub use split_custody_protocol::trace as trace_types;
pub mod transport;
