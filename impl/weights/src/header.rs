//! The original header, opened: the only source of names, dtypes and shapes.
//!
//! Chapter 15. A [`Header`] comes out of tensor 0 under the right key, kept every rule of the format,
//! and fits the lengths of the tensors beside it. [SEAL-4]
//! It does not open the others.

use ring::digest;
use split_custody_kernels::{Layout, Tag};
use zeroize::Zeroizing;

use crate::container::{Contents, Tensor};

/// The original header, opened. Names, dtypes and shapes come from nowhere else. [SEAL-4]
pub struct Header {
    bytes: Zeroizing<Vec<u8>>,
    contents: Contents,
    tags: [u8; 32],
}

/// One tensor as the original header has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenedTensor {
    /// Its index in the table, from 1 on.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its dtype.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Bytes of plaintext.
    pub length: u64,
}

impl Header {
    /// The original header's bytes, without the length before them.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The tensors, in file order.
    pub fn tensors(&self) -> Vec<OpenedTensor> {
        let opened = |(index, t): (u32, &Tensor)| {
            let (name, dtype, shape) = (t.name.clone(), t.dtype.clone(), t.shape.clone());
            OpenedTensor { index, name, dtype, shape, length: t.length }
        };
        (1u32..).zip(&self.contents.tensors).map(opened).collect()
    }

    /// Takes the bytes of tensor 0; `None` if they do not describe the tensors of these layouts.
    pub(crate) fn check(
        bytes: Zeroizing<Vec<u8>>,
        tags: &[Tag],
        layouts: &[Layout],
    ) -> Option<Self> {
        let contents = Contents::parse(&bytes).ok()?;
        let lengths = contents.tensors.iter().map(|t| t.length);
        if !lengths.eq(layouts.iter().map(Layout::plaintext_len)) {
            return None; // [SEAL-4]
        }
        let mut digest = [0; 32];
        let tags: Vec<u8> = tags.iter().flat_map(|t| t.0).collect();
        digest.copy_from_slice(digest::digest(&digest::SHA256, &tags).as_ref());
        Some(Self { bytes, contents, tags: digest })
    }

    /// SHA-256 over the tags of tensor 0.
    pub(crate) fn tags(&self) -> &[u8; 32] {
        &self.tags
    }

    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }
}
