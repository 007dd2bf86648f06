//! Raw mode: a key and a base nonce from elsewhere, without salt and without commitment.
//!
//! Chapter 15, appendix "raw mode" of the format. It exists so that AES-GCM vectors reach every
//! backend. It commits to nothing: no other crate of this workspace may use it outside its tests.

use crate::backend::Backend;

/// A backend that can be given a key and a base nonce as they are.
pub trait RawMode: Backend {
    /// Key and base nonce must both be uniformly random and never used again.
    fn raw_schedule(&self, key: &[u8; 32], base_nonce: [u8; 12]) -> Self::Schedule;
}
