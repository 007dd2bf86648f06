//! Opening a sealed file elsewhere: what a device with memory of its own needs from the file.
//!
//! Chapter 15. The device derives, opens and settles; this reads ciphertext, says what each message
//! is, and is the only one to make a [`Loaded`] of it: when every tensor opened and the root over the
//! tags that were sent to the device agrees. [SEAL-9]
//! It sees no plaintext but the header's.

use std::ops::Range;

use ring::digest;
use split_custody_kernels::{ChunkError, Layout, STRIDE_BYTES, Tag};
use zeroize::Zeroizing;

use crate::context::Context;
use crate::error::{Place, SealedRule, WeightsError};
use crate::header::Header;
use crate::open::{Loaded, Reader};
use crate::storage::ReadAt;

/// One message of the file, as the table and the header have it.
#[derive(Clone, Debug)]
pub struct SealedMessage {
    /// Its shape.
    pub layout: Layout,
    /// Its salt.
    pub salt: [u8; 24],
    /// What its key, salt and context must commit to. [SEAL-5]
    pub commitment: [u8; 32],
    /// What its bytes are bound to. [SEAL-2]
    pub context: Vec<u8>,
}

/// SHA-256 over the tags of one message, in order, as its chunks go by.
pub struct TagDigest {
    hash: digest::Context,
    tags: Vec<Tag>,
}

impl Default for TagDigest {
    fn default() -> Self {
        Self { hash: digest::Context::new(&digest::SHA256), tags: Vec::new() }
    }
}

/// The tags of a run of chunks as sealed, in order.
pub fn tags_of(sealed: &[u8]) -> impl Iterator<Item = &[u8; 16]> {
    sealed.chunks(STRIDE_BYTES).filter_map(<[u8]>::last_chunk)
}

impl TagDigest {
    /// Takes the tags of a run of chunks as sealed.
    pub fn absorb(&mut self, sealed: &[u8]) {
        self.absorb_tags(tags_of(sealed));
    }

    /// The same, of tags that [`tags_of`] gave on another thread.
    pub fn absorb_tags<'t>(&mut self, tags: impl IntoIterator<Item = &'t [u8; 16]>) {
        for tag in tags {
            self.hash.update(tag);
            self.tags.push(Tag(*tag));
        }
    }

    /// The digest, when the whole message went by.
    pub fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(self.hash.finish().as_ref());
        out
    }
}

impl<S: ReadAt> Reader<S> {
    /// Tensor 0, which no header describes. [SEAL-4]
    pub fn header_message(&self) -> SealedMessage {
        let (ids, count) = (self.table().ids(), self.layouts().len() as u32);
        let length = self.layouts()[0].plaintext_len();
        self.sealed_message(0, &Context::of_header(&ids, count, length))
    }

    /// Tensor `index` of the opened header.
    pub fn message(&self, header: &Header, index: u32) -> Result<SealedMessage, WeightsError> {
        let tensor = index.checked_sub(1).and_then(|i| header.contents().tensors.get(i as usize));
        let layout = self.layouts().get(index as usize);
        let (Some(tensor), Some(layout)) = (tensor, layout) else {
            return Err(WeightsError::NoSuchTensor { path: self.path().into(), index });
        };
        let (name, dtype, shape) = (&tensor.name, &tensor.dtype, &tensor.shape);
        let (count, length) = (self.layouts().len() as u32, layout.plaintext_len());
        let ids = self.table().ids();
        let context = Context { ids: &ids, index, count, name, dtype, shape, length };
        Ok(self.sealed_message(index, &context))
    }

    /// Reads chunks of a message as sealed, tags behind them.
    pub fn read_run(
        &self,
        index: u32,
        chunks: Range<u64>,
        out: &mut [u8],
    ) -> Result<(), WeightsError> {
        let range = self.layouts()[index as usize].ciphertext_range(&chunks);
        let begin = self.table().data_offset + self.table().tensors[index as usize].offset;
        self.read_at(begin + range.start, out)
    }

    /// The header, from tensor 0 as the device opened it. [SEAL-4]
    pub fn header_opened(
        &self,
        plain: Zeroizing<Vec<u8>>,
        tags: &TagDigest,
    ) -> Result<Header, WeightsError> {
        let header = Header::check(plain, &tags.tags, &self.layouts()[1..]);
        header.ok_or_else(|| self.refuse(Place::Sealed(0), SealedRule::HeaderDisagrees)) // [SEAL-4]
    }

    /// A device's load is whole: it opened every tensor, and these are the digests of their tags, in
    /// order and without the header's. [SEAL-9]
    pub fn whole(&self, header: &Header, tags: Vec<[u8; 32]>) -> Result<Loaded, WeightsError> {
        let tensors = &self.layouts()[1..];
        if tags.len() != tensors.len() {
            return Err(self.refuse(Place::File, SealedRule::RootDiffers));
        }
        self.check_root(header, tags)?;
        Ok(Loaded::new(tensors))
    }

    /// A device's verdict as an error of this file, with tensor, chunk and byte.
    pub fn refused(&self, error: ChunkError, index: u32) -> WeightsError {
        self.chunk_error(error, index)
    }

    fn sealed_message(&self, index: u32, context: &Context<'_>) -> SealedMessage {
        // From the table, not from the file: the file may have changed since it was compared.
        let sealed = &self.table().tensors[index as usize];
        SealedMessage {
            layout: self.layouts()[index as usize],
            salt: sealed.salt,
            commitment: sealed.commitment,
            context: context.encode(),
        }
    }
}
