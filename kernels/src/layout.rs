//! Where the chunks of a message lie: the arithmetic of lengths and offsets.
//!
//! Chapter 15. A [`Layout`] exists only for a length that some message has, so whoever holds one has
//! passed the length check. It does not look at any byte.

use std::ops::Range;

use crate::backend::ChunkError;

/// Plaintext bytes of every chunk but the last.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Bytes of a chunk's tag.
pub const TAG_BYTES: usize = 16;
/// Bytes of a full chunk with its tag.
pub const STRIDE_BYTES: usize = CHUNK_BYTES + TAG_BYTES;
/// Bytes before the first chunk: salt and commitment.
pub const HEADER_BYTES: usize = 24 + 32;
/// The format's bound on the chunks of one message.
pub const CHUNKS_MAX: u64 = 1 << 38;

/// The shape of one message: `chunks - 1` full chunks, then one that is shorter and may be empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Layout {
    plaintext: u64,
}

impl Layout {
    /// The layout of a message that carries `plaintext` bytes.
    pub fn of_plaintext(plaintext: u64) -> Result<Self, ChunkError> {
        if plaintext / CHUNK < CHUNKS_MAX {
            Ok(Self { plaintext })
        } else {
            Err(ChunkError::BadLength)
        }
    }

    /// The layout of a message of `ciphertext` bytes, header included: the length class. [SEAL-6]
    pub fn of_ciphertext(ciphertext: u64) -> Result<Self, ChunkError> {
        let body = ciphertext.checked_sub(HEADER).ok_or(ChunkError::BadLength)?;
        let (full, last) = (body / STRIDE, body % STRIDE);
        // A last chunk of 0 bytes lacks its tag, so a message that ends on a full chunk is truncated.
        let last = last.checked_sub(TAG).ok_or(ChunkError::BadLength)?; // [SEAL-6] [SEAL-7]
        Self::of_plaintext(
            full.checked_mul(CHUNK)
                .and_then(|p| p.checked_add(last))
                .ok_or(ChunkError::BadLength)?,
        )
    }

    /// Bytes of plaintext.
    pub fn plaintext_len(&self) -> u64 {
        self.plaintext
    }

    /// Bytes of the message, header included.
    pub fn ciphertext_len(&self) -> u64 {
        HEADER + self.plaintext + self.chunks() * TAG
    }

    /// Number of chunks, never zero.
    pub fn chunks(&self) -> u64 {
        self.plaintext / CHUNK + 1
    }

    /// The plaintext bytes that a run of chunks carries.
    pub fn plaintext_range(&self, run: &Range<u64>) -> Range<u64> {
        self.plaintext.min(run.start.saturating_mul(CHUNK))
            ..self.plaintext.min(run.end.saturating_mul(CHUNK))
    }

    /// The bytes of the message in which a run of chunks lies.
    pub fn ciphertext_range(&self, run: &Range<u64>) -> Range<u64> {
        let (plain, chunks) = (self.plaintext_range(run), self.chunks());
        HEADER + plain.start + run.start.min(chunks) * TAG
            ..HEADER + plain.end + run.end.min(chunks) * TAG
    }

    /// Refuses a run that is not part of the message.
    pub(crate) fn check_run(&self, run: &Range<u64>) -> Result<(), ChunkError> {
        if run.start <= run.end && run.end <= self.chunks() {
            Ok(())
        } else {
            Err(ChunkError::BadLength)
        }
    }
}

const CHUNK: u64 = CHUNK_BYTES as u64;
const TAG: u64 = TAG_BYTES as u64;
const STRIDE: u64 = STRIDE_BYTES as u64;
const HEADER: u64 = HEADER_BYTES as u64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seal_6_lengths_on_both_sides_of_each_boundary() {
        for (ciphertext, plaintext) in [
            (0, None),
            (55, None),
            (56, None),
            (71, None),
            (72, Some(0)),
            (73, Some(1)),
            (56 + 16_399, Some(16_383)),
            (56 + 16_400, None),
            (56 + 16_400 + 15, None),
            (56 + 16_400 + 16, Some(16_384)),
            (56 + 16_400 + 17, Some(16_385)),
            (56 + 2 * 16_400, None),
            (u64::MAX, None),
        ] {
            let layout = Layout::of_ciphertext(ciphertext);
            assert_eq!(layout.ok().map(|l| l.plaintext_len()), plaintext, "length {ciphertext}");
            if let Ok(layout) = layout {
                assert_eq!(layout.ciphertext_len(), ciphertext);
            }
        }
    }

    #[test]
    fn seal_6_chunk_count_is_bounded() {
        assert!(Layout::of_plaintext(CHUNKS_MAX * CHUNK - 1).is_ok());
        assert_eq!(Layout::of_plaintext(CHUNKS_MAX * CHUNK), Err(ChunkError::BadLength));
    }

    #[test]
    fn runs_cover_the_message_without_gaps() {
        let layout = Layout::of_plaintext(2 * CHUNK + 5).expect("far below the bound");
        assert_eq!(layout.ciphertext_range(&(0..1)), 56..56 + 16_400);
        assert_eq!(layout.ciphertext_range(&(1..3)), 56 + 16_400..56 + 2 * 16_400 + 21);
        assert_eq!(layout.plaintext_range(&(1..3)), 16_384..2 * 16_384 + 5);
        assert_eq!(layout.ciphertext_range(&(0..3)).end, layout.ciphertext_len());
    }
}
