//! Keys in software: the suite over real bytes, a custodian's keys, the owner's dealing.
//!
//! Chapters 15, 30 and 40. [`ByteSuite`] is what machines compute with on a device and in a
//! custodian; [`SoftCustody`] executes a custodian's key effects; [`OwnerKey`], [`OperatorKey`] and
//! [`Dealing`] are what people outside sign and deal with; [`selftest`] compares every primitive in
//! use with published vectors.
//!
//! When a secret is erased here its bytes are overwritten: they lie in one region of
//! [`SecretMemory`], behind handles that are never used twice. What it does not do: hide secrets
//! from the host it runs on (that is the device's isolation), or keep the private half of an ES256
//! key out of `ring`'s own memory, which offers no erasure.

#![forbid(unsafe_code)]

mod custody;
pub mod dealing;
mod error;
mod es256;
mod files;
pub mod gf256;
mod hash;
mod memory;
mod owner;
pub mod p256kw;
mod prefix;
mod sealed;
pub mod selftest;
pub mod shamir;
mod soft;
mod suite;

pub use custody::{Custody, Release, Released};
pub use dealing::{Dealing, Dek, Recipient, SealedFor};
pub use error::{DealError, HsmError, KeyError, KeyFileError};
pub use es256::{SigningKey, verify};
pub use files::{read_kek_public, read_verify_key, write_kek_public, write_new, write_verify_key};
pub use hash::{
    hash, hash_label, manifest_digest, order_digest, provision_context, sealed_digest, share_digest,
};
pub use memory::{Heap, SecretMemory};
pub use owner::{OperatorKey, OwnerKey};
pub use prefix::{dek_prefix, share_prefix};
pub use sealed::{KekPublic, KekSecret};
pub use soft::{Outage, SoftCustody};
pub use suite::ByteSuite;
