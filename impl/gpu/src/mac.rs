//! Keyed checksums: what a use computes, and how the owner knows that tensors are equal.
//!
//! Chapter 70. Both sides call the same functions: the device over plaintext in its memory, the
//! owner over the source. Nothing is read back, and no digest of plaintext is published: a MAC under
//! a nonce that the owner signed for one incarnation tells others nothing. [SEAL-12]

use ring::{hmac, signature};

use crate::backend::TensorInfo;
use crate::error::GpuError;
use crate::hash::{Framed, label};
use crate::incarnation::Incarnation;

/// HMAC-SHA-256 under the request's key, over the slice and where it lies.
pub fn slice_checksum(key: &[u8; 32], tensor: &str, offset: u64, bytes: &[u8]) -> [u8; 32] {
    finish(key, &slice_prefix(tensor, offset, bytes.len() as u64), bytes)
}

/// What goes before the bytes of a slice. The length goes last, in eight bytes, because tensors may
/// pass 4 GiB.
pub(crate) fn slice_prefix(tensor: &str, offset: u64, length: u64) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.update_framed(label::USE);
    prefix.update_framed(tensor.as_bytes());
    prefix.update_integer(offset);
    prefix.update_integer(length);
    prefix
}

/// HMAC-SHA-256 under the owner's nonce, over name, dtype, shape and contents of a tensor.
pub fn tensor_mac(nonce: &[u8; 32], tensor: &TensorInfo, bytes: &[u8]) -> [u8; 32] {
    finish(nonce, &tensor_prefix(tensor, bytes.len() as u64), bytes)
}

/// What goes before the bytes of a tensor.
pub(crate) fn tensor_prefix(tensor: &TensorInfo, length: u64) -> Vec<u8> {
    let mut prefix = Vec::new();
    prefix.update_framed(label::PROOF);
    prefix.update_framed(tensor.name.as_bytes());
    prefix.update_framed(tensor.dtype.as_bytes());
    prefix.update_integer(tensor.shape.len() as u64);
    for dimension in &tensor.shape {
        prefix.update_integer(*dimension);
    }
    prefix.update_integer(length);
    prefix
}

/// The bytes that the owner signs (ES256) to ask for a proof.
pub fn nonce_message(nonce: &[u8; 32], incarnation: &Incarnation) -> Vec<u8> {
    let mut message = Vec::new();
    message.update_framed(label::PROOF_NONCE);
    message.update_framed(nonce);
    message.update_framed(&incarnation.0);
    message
}

/// A nonce that the owner chose and signed for one incarnation.
#[derive(Clone, Copy, Debug)]
pub struct SignedNonce {
    /// Fresh for each proof.
    pub nonce: [u8; 32],
    /// ES256 over [`nonce_message`], as r || s.
    pub signature: [u8; 64],
}

/// The owner's ECDSA P-256 key, uncompressed: a measured launch parameter.
#[derive(Clone, Copy, Debug)]
pub struct OwnerKey(pub [u8; 65]);

impl OwnerKey {
    /// Without this, whoever picks the nonce could test guesses of the plaintext.
    pub(crate) fn verify(
        &self,
        request: &SignedNonce,
        incarnation: &Incarnation,
    ) -> Result<(), GpuError> {
        let message = nonce_message(&request.nonce, incarnation);
        signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &self.0)
            .verify(&message, &request.signature)
            .map_err(|_| GpuError::BadSignature)
    }
}

fn finish(key: &[u8; 32], prefix: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    mac.update(prefix);
    mac.update(bytes);
    let mut out = [0; 32];
    out.copy_from_slice(mac.sign().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_5_checksums_tell_key_name_place_and_bytes_apart() {
        let base = slice_checksum(&[1; 32], "w", 0, b"abc");
        assert_eq!(base, slice_checksum(&[1; 32], "w", 0, b"abc"));
        assert_ne!(base, slice_checksum(&[2; 32], "w", 0, b"abc"));
        assert_ne!(base, slice_checksum(&[1; 32], "v", 0, b"abc"));
        assert_ne!(base, slice_checksum(&[1; 32], "w", 1, b"abc"));
        assert_ne!(base, slice_checksum(&[1; 32], "w", 0, b"abd"));
    }

    #[test]
    fn rst_5_proofs_tell_shapes_of_equal_bytes_apart() {
        let tensor = |shape: &[u64]| TensorInfo {
            name: "w".into(),
            dtype: "U8".into(),
            shape: shape.into(),
            length: 4,
        };
        let flat = tensor_mac(&[1; 32], &tensor(&[4]), b"abcd");
        assert_ne!(flat, tensor_mac(&[1; 32], &tensor(&[2, 2]), b"abcd"));
        assert_ne!(flat, tensor_mac(&[2; 32], &tensor(&[4]), b"abcd"));
    }
}
