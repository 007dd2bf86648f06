//! Split custody of AI model weights: the protocol, as machines without I/O.
//!
//! A model owner's key is split over k of n custodians. A device that wants to serve the model
//! proves itself with fresh Evidence over mutual TLS; custodians release their shares sealed to the
//! attested device, under leases that end or are revoked. This crate is all of the rules and none
//! of the world: no clock, no randomness, no key bytes, no sockets. The same code runs in the
//! product, in the model checker and in the fuzzer; only the [`Suite`] and the driver differ.
//!
//! | chapter of `spec/` | module | what it proves |
//! | --- | --- | --- |
//! | 10 wire | [`wire`] | one encoding per value |
//! | 15 sealing | [`sealing`] | [`sealing::KnownManifest`]: the owner signed it |
//! | 20 handshake | [`handshake`] | [`handshake::Appraised`]: this device, key, channel, session |
//! | 30 release | [`release`] | [`release::Decided`], [`release::Checked`] |
//! | 40 quorum | [`quorum`] | [`quorum::Combined`]: k shares made the owner's DEK |
//! | 50 lease | [`lease`] | [`lease::Admission`]: k leases counted when the use began |
//! | 60 revocation | [`revocation`] | [`revocation::Effective`]: n-k+1+f acknowledged |
//! | 70 reset | [`reset`] | a clean incarnation |
//! | 80 audit | [`audit`] | a standing that may grant |
//!
//! [`role`] composes them into the two machines that a driver runs.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

pub mod audit;
pub mod effect;
pub mod error;
pub mod handshake;
pub mod ids;
pub mod lease;
pub mod quorum;
pub mod release;
mod require;
pub mod reset;
pub mod revocation;
pub mod role;
pub mod sealing;
pub mod suite;
pub mod time;
#[cfg(feature = "trace")]
pub mod trace;
pub mod transcript;
pub mod wire;

pub use error::{DecodeError, Misuse, Rule, Violation};
#[cfg(doubles)]
pub use require::doubles;
pub use suite::Suite;
