//! What a device does beside opening chunks: keys agreed, shares unwrapped and combined, memory erased.
//!
//! Chapters 20, 30, 40 and 70. One operation, one name, in every backend: `agree_p256` here is
//! `sc_agree_p256` in `cu/`. Bytes go in and come out as slices, so that one test body reaches every
//! backend. A device in use keeps its secrets in device memory and calls the kernels one after the
//! other: this trait is how they are tested, not how they are used.

use zeroize::Zeroizing;

use crate::device::DeviceError;

/// A secret of 32 bytes, erased on drop.
pub type Secret = Zeroizing<[u8; 32]>;

/// One implementation of every primitive that a release needs. Tested by `tests/operations.rs`.
pub trait Operations: Sync {
    /// The name that a report prints.
    fn name(&self) -> &'static str;

    /// The public half of an X25519 key.
    fn public_x25519(&self, secret: &[u8; 32]) -> Result<[u8; 32], OperationError>;

    /// X25519 (RFC 7748). A result of zero is refused. [HS-15]
    fn agree_x25519(&self, secret: &[u8; 32], peer: &[u8; 32]) -> Result<Secret, OperationError>;

    /// The public half of a P-256 key, uncompressed.
    fn public_p256(&self, secret: &[u8; 32]) -> Result<[u8; 65], OperationError>;

    /// ECDH on P-256; the peer's key is validated fully. [HS-15]
    fn agree_p256(&self, secret: &[u8; 32], peer: &[u8; 65]) -> Result<Secret, OperationError>;

    /// HKDF-SHA-256 (RFC 5869), extract and expand.
    fn hkdf_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError>;

    /// HKDF-SHA-512.
    fn hkdf_sha512(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError>;

    /// ANSI X9.63 with SHA-256; `salt` is not used.
    fn x963_sha256(&self, input: &Kdf<'_>, out: &mut [u8]) -> Result<(), OperationError>;

    /// AES-256 key unwrap (RFC 3394).
    fn unwrap_kw(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError>;

    /// AES-256 key unwrap with padding (RFC 5649).
    fn unwrap_kwp(
        &self,
        kek: &[u8; 32],
        wrapped: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, OperationError>;

    /// AES-256-GCM with a 96-bit nonce: for shares, not for weights.
    fn open_aead(&self, aead: &Aead<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError>;

    /// HPKE (RFC 9180), mode base, HKDF-SHA256 and AES-256-GCM, first message. [REL-4]
    fn open_hpke(&self, hpke: &Hpke<'_>) -> Result<Zeroizing<Vec<u8>>, OperationError>;

    /// Shamir's combination at zero over GF(256). [QRM-4]
    fn combine_shares(&self, shares: &[(u8, [u8; 32])]) -> Result<Secret, OperationError>;

    /// HMAC-SHA-256 of `prefix` and then a tensor.
    fn hmac_sha256(
        &self,
        key: &[u8],
        prefix: &[u8],
        message: &[u8],
    ) -> Result<[u8; 32], OperationError>;

    /// A seed from jitter and from 32 bytes of elsewhere, if the samples pass the health tests.
    fn condition_entropy(&self, samples: &[u32], seed: &[u8; 32])
    -> Result<Secret, OperationError>;

    /// Overwrites with zeros. [RST-3]
    fn zeroize(&self, bytes: &mut [u8]) -> Result<(), OperationError>;

    /// Says whether every byte is zero. [RST-3]
    fn verify_zero(&self, bytes: &[u8]) -> Result<(), OperationError>;
}

/// What goes into a key derivation.
#[derive(Clone, Copy, Debug)]
pub struct Kdf<'a> {
    /// The input keying material, or the agreed secret.
    pub secret: &'a [u8],
    /// May be empty.
    pub salt: &'a [u8],
    /// The context.
    pub info: &'a [u8],
}

/// A message of AES-256-GCM.
#[derive(Clone, Copy, Debug)]
pub struct Aead<'a> {
    /// The key.
    pub key: &'a [u8; 32],
    /// The nonce.
    pub nonce: &'a [u8; 12],
    /// What is authenticated and not encrypted.
    pub aad: &'a [u8],
    /// Ciphertext and tag.
    pub sealed: &'a [u8],
}

/// Which KEM an encapsulation belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kem {
    /// DHKEM(P-256, HKDF-SHA256).
    P256,
    /// DHKEM(X25519, HKDF-SHA256).
    X25519,
}

impl Kem {
    /// Its number in RFC 9180.
    pub fn id(self) -> u16 {
        match self {
            Self::P256 => 0x0010,
            Self::X25519 => 0x0020,
        }
    }
}

/// A message of HPKE.
#[derive(Clone, Copy, Debug)]
pub struct Hpke<'a> {
    /// The KEM.
    pub kem: Kem,
    /// The recipient's private key.
    pub secret: &'a [u8; 32],
    /// The encapsulation.
    pub enc: &'a [u8],
    /// The context of the grant.
    pub info: &'a [u8],
    /// Empty in this protocol.
    pub aad: &'a [u8],
    /// Ciphertext and tag.
    pub sealed: &'a [u8],
}

/// Which rule an operation found broken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// A public key is malformed, not on the curve or of low order, or a private key is out of range.
    #[error("key is not valid for its algorithm")]
    KeyInvalid,
    /// No input or output of this algorithm has this length.
    #[error("length is not one of this algorithm")]
    LengthWrong,
    /// The tag does not belong to key, nonce, data and ciphertext.
    #[error("tag is wrong")]
    TagWrong,
    /// The integrity check of a wrapped key failed.
    #[error("wrapped key does not open under this key")]
    WrapWrong,
    /// The digest of a secret is not the expected one. [QRM-2] [QRM-3]
    #[error("commitment is wrong")]
    CommitmentWrong,
    /// No shares, or a share index that is zero or repeated.
    #[error("share indices are zero, repeated or missing")]
    IndexWrong,
    /// The repetition count test failed.
    #[error("entropy source repeats one value")]
    SourceStuck,
    /// The adaptive proportion test failed.
    #[error("entropy source prefers one value")]
    SourceBiased,
    /// Fewer samples than a seed needs.
    #[error("too few samples for a seed")]
    TooFewSamples,
    /// A byte is not zero.
    #[error("memory is not zero")]
    NotZero,
    /// The mark in device memory is not that of this incarnation. [RST-5]
    #[error("mark in device memory is not the expected one")]
    MarkMismatch,
    /// The device did not do its work.
    #[error("device failed")]
    Device(#[source] DeviceError),
}

/// The least number of samples of a seed: at half a bit each, sixteen times what it holds.
pub const ENTROPY_SAMPLES_MIN: usize = 8192;

/// How jitter is collected: so many samples in a row by one lane of each warp, each over so many loads,
/// by blocks of eight warps.
pub(crate) const SAMPLES_PER_WARP: u32 = 32;
pub(crate) const HOPS: u32 = 4;
pub(crate) const SAMPLES_PER_BLOCK: usize = 8 * SAMPLES_PER_WARP as usize;
