//! Many tensors in one call: each opens, or is zero and says why, and none harms another.
//!
//! Chapter 15. A device sets up all keys in one launch and opens all chunks in another, which is what
//! makes models of many small tensors fast. The caller checks the root over the tags. [SEAL-9]

use crate::backend::{Backend, ChunkError, Commitment, InputKey, Salt};
use crate::layout::{HEADER_BYTES, Layout};
use crate::message::Opener;
use crate::portable::Portable;

/// One whole message, and where its plaintext goes.
pub struct SealedTensor<'a> {
    /// What the message is bound to.
    pub context: &'a [u8],
    /// Salt and commitment.
    pub header: &'a [u8; HEADER_BYTES],
    /// Chunks and tags, without the header.
    pub sealed: &'a [u8],
    /// As long as the plaintext.
    pub plain: &'a mut [u8],
}

impl SealedTensor<'_> {
    /// Salt and commitment apart.
    pub(crate) fn split_header(&self) -> (Salt, Commitment) {
        crate::message::split_header(self.header)
    }

    /// The length class, and whether the buffers fit it. [SEAL-6]
    pub(crate) fn layout(&self) -> Result<Layout, ChunkError> {
        let layout = Layout::of_ciphertext((HEADER_BYTES + self.sealed.len()) as u64)?;
        if layout.plaintext_len() == self.plain.len() as u64 {
            Ok(layout)
        } else {
            Err(ChunkError::BadLength)
        }
    }
}

/// A backend that opens many tensors at once.
pub trait OpenTensors: Backend {
    /// Opens each tensor whole. The plaintext of one that fails is zero.
    fn open_tensors(
        &self,
        key: &InputKey,
        tensors: &mut [SealedTensor<'_>],
    ) -> Vec<Result<(), ChunkError>>;
}

impl OpenTensors for Portable {
    fn open_tensors(
        &self,
        key: &InputKey,
        tensors: &mut [SealedTensor<'_>],
    ) -> Vec<Result<(), ChunkError>> {
        let open = |tensor: &mut SealedTensor<'_>| {
            let layout = tensor.layout()?;
            let opener = Opener::new(self, key, tensor.context, layout, tensor.header)?;
            opener.open_run(0..layout.chunks(), tensor.sealed, tensor.plain)
        };
        let settle = |tensor: &mut SealedTensor<'_>| {
            open(tensor).inspect_err(|_| tensor.plain.fill(0)) // [SEAL-7]
        };
        tensors.iter_mut().map(settle).collect()
    }
}
