//! Sealing: what the owner signed, and the proof that it was checked.
//!
//! Chapter 15. A [`KnownManifest`] or [`KnownDeployment`] exists only where the owner's signature
//! verified over the bytes received and every bound of PROTOCOL section 0 holds.
//! It does not open files: `impl/weights` does.

mod known;

pub use known::{KnownDeployment, KnownManifest};
