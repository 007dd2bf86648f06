//! The sealed table: what the signed manifest says about a sealed file.
//!
//! Chapter 15. A table that passed its check has exactly one public header and one file length, so a
//! file is compared with it byte by byte and nothing in the file is parsed. [SEAL-3] [SEAL-8]
//! Who signed the table is not known here.

use std::fmt::Write;

use split_custody_kernels::{HEADER_BYTES, Layout};

use crate::container::{HEADER_MAX, PREFIX, TENSOR_BYTES_MAX, TENSORS_MAX};
use crate::error::{Place, TableRule, WeightsError};
use crate::ids::Ids;

/// One sealed tensor. Index 0 is the original header. [SEAL-4]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedTensor {
    /// Its index, which is also its public name.
    pub index: u32,
    /// Where its message begins in the data section.
    pub offset: u64,
    /// Bytes of its message, salt and commitment included.
    pub length: u64,
    /// The salt of its message. [SEAL-1]
    pub salt: [u8; 24],
    /// The commitment to key, salt and context. [SEAL-5]
    pub commitment: [u8; 32],
}

impl SealedTensor {
    /// The first bytes of its message.
    pub(crate) fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..24].copy_from_slice(&self.salt);
        header[24..].copy_from_slice(&self.commitment);
        header
    }
}

/// All that a manifest says about a sealed file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedTable {
    /// The container's id.
    pub container: [u8; 16],
    /// The id of the weights.
    pub weights: [u8; 16],
    /// The version of the weights.
    pub version: u64,
    /// Where the data section begins in the file.
    pub data_offset: u64,
    /// The tensors, in order; tensor 0 is the original header.
    pub tensors: Vec<SealedTensor>,
    /// The Merkle root over commitments and tags. [SEAL-9]
    pub root: [u8; 32],
}

impl SealedTable {
    /// The ids that every context carries.
    pub fn ids(&self) -> Ids {
        Ids { container: self.container, weights: self.weights, version: self.version }
    }

    /// Bytes of the sealed file.
    pub fn file_len(&self) -> u64 {
        let data = self.tensors.last().map_or(0, |t| t.offset.saturating_add(t.length));
        self.data_offset.saturating_add(data)
    }

    /// Checks that the table describes a sealed file, and gives the layout of each message. [SEAL-6]
    pub(crate) fn check(&self) -> Result<Vec<Layout>, WeightsError> {
        let refuse = |place, rule| WeightsError::Table { place, rule };
        if self.tensors.is_empty() || self.tensors.len() > TENSORS_MAX {
            return Err(refuse(Place::File, TableRule::CountOutOfBounds));
        }
        let (mut layouts, mut offset) = (Vec::with_capacity(self.tensors.len()), 0u64);
        for (index, tensor) in (0u32..).zip(&self.tensors) {
            let layout =
                tensor.check(index, offset).map_err(|rule| refuse(Place::Sealed(index), rule))?;
            layouts.push(layout);
            // Below 2^20 tensors of little over 2^40 bytes, so it fits.
            offset += tensor.length;
        }
        if self.public_header().len() as u64 != self.data_offset {
            return Err(refuse(Place::File, TableRule::DataOffsetDiffers));
        }
        Ok(layouts)
    }

    /// The public header that the sealed file must begin with. [SEAL-3]
    pub(crate) fn public_header(&self) -> Vec<u8> {
        public_header(&self.ids(), self.tensors.iter().map(|t| t.length))
    }
}

impl SealedTensor {
    fn check(&self, index: u32, offset: u64) -> Result<Layout, TableRule> {
        if self.index != index {
            return Err(TableRule::IndexOutOfOrder);
        }
        if self.offset != offset {
            return Err(TableRule::OffsetNotContiguous);
        }
        let layout = Layout::of_ciphertext(self.length).map_err(|_| TableRule::BadLength)?; // [SEAL-6]
        let most = if index == 0 { HEADER_MAX } else { TENSOR_BYTES_MAX };
        if layout.plaintext_len() > most {
            return Err(TableRule::TensorTooLong);
        }
        Ok(layout)
    }
}

/// Length, JSON and padding of a sealed file: the same bytes for the same ids and lengths. [SEAL-3]
pub(crate) fn public_header(ids: &Ids, lengths: impl Iterator<Item = u64>) -> Vec<u8> {
    let mut json = format!(
        r#"{{"__metadata__":{{"format":"{FORMAT}","container":"{}","weights":"{}","version":"{}"}}"#,
        hex(&ids.container),
        hex(&ids.weights),
        ids.version
    );
    let mut begin = 0;
    for (index, length) in (0u32..).zip(lengths) {
        let end = begin + length;
        write!(
            json,
            r#","{}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#,
            public_name(index)
        )
        .expect("a string takes what is written");
        begin = end;
    }
    json.push('}');
    // The format's own writers align the data section to eight bytes.
    let padded = json.len().next_multiple_of(8);
    let mut header = Vec::with_capacity(PREFIX as usize + padded);
    header.extend_from_slice(&(padded as u64).to_le_bytes());
    header.extend_from_slice(json.as_bytes());
    header.resize(PREFIX as usize + padded, b' ');
    header
}

/// `t00000`, `t00001`, …: at least five digits. [SEAL-3]
pub(crate) fn public_name(index: u32) -> String {
    format!("t{index:05}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) const FORMAT: &str = "split-custody/1";
