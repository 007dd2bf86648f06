//! The file against the table, before any key is used.
//!
//! Chapter 15. When [`compare`] returns, the public header, the size, and every salt and commitment
//! are those of the table. [SEAL-8] Nothing in the file is parsed: the table has one public header,
//! and the bytes are that header or are not. [SEAL-3]
//! It does not look at chunks: their tags are checked when they are opened.

use std::path::Path;

use split_custody_kernels::HEADER_BYTES;

use crate::error::{Place, SealedRule, WeightsError};
use crate::manifest::{SealedTable, SealedTensor};
use crate::storage::ReadAt;

/// Compares every public byte of the file with the table. [SEAL-8]
pub(crate) fn compare(
    source: &impl ReadAt,
    path: &Path,
    table: &SealedTable,
) -> Result<(), WeightsError> {
    let io =
        |source| WeightsError::Io { path: path.into(), action: "read the sealed file", source };
    let refuse = |place, rule| WeightsError::Sealed { path: path.into(), place, rule };
    let (found, expected) = (source.size().map_err(io)?, table.file_len());
    let public = table.public_header();
    let mut start = vec![0; public.len().min(usize::try_from(found).unwrap_or(usize::MAX))];
    source.read_exact_at(&mut start, 0).map_err(io)?;
    if let Some(at) = start.iter().zip(&public).position(|(a, b)| a != b) {
        return Err(refuse(Place::Byte(at as u64), SealedRule::HeaderDiffers)); // [SEAL-3] [SEAL-8]
    }
    if found != expected {
        return Err(refuse(Place::File, SealedRule::SizeDiffers { expected, found })); // [SEAL-8]
    }
    for tensor in &table.tensors {
        let mut header = [0; HEADER_BYTES];
        source.read_exact_at(&mut header, table.data_offset + tensor.offset).map_err(io)?;
        check_header(tensor, &header).map_err(|rule| refuse(Place::Sealed(tensor.index), rule))?;
    }
    Ok(())
}

fn check_header(tensor: &SealedTensor, header: &[u8; HEADER_BYTES]) -> Result<(), SealedRule> {
    let (salt, commitment) = header.split_at(tensor.salt.len());
    if salt != tensor.salt {
        return Err(SealedRule::SaltDiffers); // [SEAL-8]
    }
    if commitment != tensor.commitment {
        return Err(SealedRule::CommitmentDiffers); // [SEAL-8]
    }
    Ok(())
}
