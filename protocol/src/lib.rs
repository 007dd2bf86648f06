//! Split custody of AI model weights: the protocol, as machines without I/O.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod effect;
pub mod error;
pub mod ids;
mod require;
pub mod suite;
pub mod time;
pub mod wire;

pub use error::{DecodeError, Misuse, Rule, Violation};
#[cfg(doubles)]
pub use require::doubles;
pub use suite::Suite;
