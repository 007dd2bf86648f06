//! The model's world and the implementation, side by side.
//!
//! All chapters. [`Lockstep`] makes one step in both: in the world of `model-check` over terms, and
//! in the shipped machines with the shipped suite, store, keys, attester and appraiser over bytes.
//! What they do must be the same under the [`Dictionary`]. It decides nothing about rules, and it
//! runs no sockets: the drivers are in the simulated network of `tests/network.rs`.

pub mod cbor;
mod dictionary;
mod divergence;
mod keyring;
mod lockstep;
mod owner;
mod saying;
mod system;

pub use dictionary::Dictionary;
pub use divergence::Divergence;
pub use lockstep::{Lockstep, Tally};
