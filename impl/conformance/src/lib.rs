//! The model's world and the implementation, side by side.
//!
//! All chapters. [`Lockstep`] makes one step in both: in the world of `model-check` over terms, and
//! in the shipped machines with the shipped suite, store, keys, attester and appraiser over bytes.
//! What they do must be the same under the [`Dictionary`]. [`network`] runs the drivers on a simulated
//! network and has their logs replayed. Nothing here decides about rules, and nothing ships.

pub mod cbor;
mod dictionary;
mod divergence;
pub mod harm;
mod keyring;
mod lockstep;
pub mod network;
mod owner;
mod saying;
mod system;

pub use dictionary::Dictionary;
pub use divergence::Divergence;
pub use lockstep::{Lockstep, Tally};
