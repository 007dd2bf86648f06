//! What a backend does: derive, open chunks, seal chunks.
//!
//! Chapter 15. A backend works on contiguous buffers of chunks and says which rule failed. It checks
//! the shape of its buffers before it touches them, and zeroes its output on failure.
//! It does not know where a message ends: [`crate::Layout`] does, and [`crate::Opener`] joins the two.

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::layout::{CHUNK_BYTES, STRIDE_BYTES, TAG_BYTES};

/// One implementation of Cobblestone-256. Every backend passes `tests/vectors.rs`.
///
/// `first` is the number of the first chunk in the buffer. All chunks of a buffer are full, except
/// that the last may be short. *Sealed* buffers hold chunk and tag in turn (stride 16,400); *plain*
/// buffers hold plaintext without gaps (stride 16,384).
pub trait Backend: Sync {
    /// The key and base nonce of one message, wherever the backend keeps them. Erased on drop.
    type Schedule: Send + Sync;

    /// The name that a report prints.
    fn name(&self) -> &'static str;

    /// Derives key, base nonce and commitment of one message.
    fn derive(&self, key: &InputKey, salt: &Salt, context: &[u8]) -> Derived<Self::Schedule>;

    /// Opens the chunks of `sealed` into `plain`. On failure `plain` is zeroed. [SEAL-7]
    fn open_chunks(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ChunkError>;

    /// Opens chunks where they lie; `tags` holds one tag per chunk. On failure `chunks` is zeroed.
    fn open_chunks_in_place(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        tags: &[Tag],
        chunks: &mut [u8],
    ) -> Result<(), ChunkError>;

    /// Seals the chunks of `plain` into `sealed`.
    fn seal_chunks(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), ChunkError>;

    /// Seals chunks where they lie in a sealed buffer, and fills in the tags.
    fn seal_chunks_in_place(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        sealed: &mut [u8],
    ) -> Result<(), ChunkError>;
}

/// What [`Backend::derive`] gives: the schedule, and the commitment to key, salt and context.
pub struct Derived<S> {
    /// Key and base nonce.
    pub schedule: S,
    /// What the message must carry after its salt.
    pub commitment: Commitment,
}

/// The 32-byte input key of a message: uniformly random, zeroed on drop, never printed.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct InputKey([u8; 32]);

impl InputKey {
    /// Takes the key. The caller's copy is the caller's to erase.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, for a backend.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// 24 bytes that never repeat under one input key.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Salt(pub [u8; 24]);

/// The 32 bytes that commit a message to its key, salt and context. Public.
#[derive(Clone, Copy, Debug)]
pub struct Commitment(pub [u8; 32]);

impl Commitment {
    /// Compares in constant time. [SEAL-5]
    pub fn check(&self, received: &Commitment) -> Result<(), ChunkError> {
        if bool::from(self.0.ct_eq(&received.0)) {
            Ok(())
        } else {
            Err(ChunkError::CommitmentMismatch)
        }
    }
}

/// The AEAD tag of one chunk. Public; only a backend compares it.
#[derive(Clone, Copy, Debug)]
pub struct Tag(pub [u8; TAG_BYTES]);

/// Which rule of the format failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// Key, salt or context differ from the sealer's. [SEAL-5]
    #[error("commitment does not match key, salt and context")]
    CommitmentMismatch,
    /// No message has this length, or the buffers do not fit each other. [SEAL-6]
    #[error("length is truncated or malformed")]
    BadLength,
    /// The tag of a chunk is wrong. [SEAL-7]
    #[error("chunk {index} has a wrong tag")]
    ChunkTampered {
        /// The number of the chunk in its message.
        index: u64,
    },
    /// The mark in device memory is not that of this incarnation. [RST-5]
    #[error("mark in device memory is not the expected one")]
    MarkMismatch,
    /// A device did not do its work.
    #[error("device failed")]
    DeviceFailed,
}

/// Checks that a sealed and a plain buffer hold the same chunks, and gives their number.
pub(crate) fn chunks_of(sealed: usize, plain: usize) -> Result<usize, ChunkError> {
    let chunks = chunks_of_sealed(sealed)?;
    if plain.checked_add(chunks * TAG_BYTES) == Some(sealed) {
        Ok(chunks)
    } else {
        Err(ChunkError::BadLength)
    }
}

/// The number of chunks in a sealed buffer: whole strides, and perhaps a short chunk with its tag.
pub(crate) fn chunks_of_sealed(sealed: usize) -> Result<usize, ChunkError> {
    match sealed % STRIDE_BYTES {
        0 => Ok(sealed / STRIDE_BYTES),
        rest if rest >= TAG_BYTES => Ok(sealed / STRIDE_BYTES + 1),
        _ => Err(ChunkError::BadLength), // [SEAL-6]
    }
}

/// Checks that `tags` tags fit `plain` bytes: the last chunk may be short, or empty.
pub(crate) fn check_tags(tags: usize, plain: usize) -> Result<(), ChunkError> {
    let fits = tags
        .checked_mul(CHUNK_BYTES)
        .is_some_and(|most| plain <= most && (tags == 0 || plain >= most - CHUNK_BYTES));
    if fits { Ok(()) } else { Err(ChunkError::BadLength) }
}
