//! Where plaintext goes: memory that the caller owns.
//!
//! Chapter 15. Plaintext is made in the caller's memory and nowhere else: ciphertext is read into it
//! and opened where it lies. On failure it is zeroed. [SEAL-7]
//! A destination may hold ciphertext for a moment; a reader of it must wait for [`crate::Loaded`].

use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::pool::RUN_CHUNKS;

/// Every range that a [`Destination`] is asked for begins at a multiple of this, within its tensor,
/// and is at most this long.
pub const RUN_BYTES: u64 = RUN_CHUNKS * split_custody_kernels::CHUNK_BYTES as u64;

/// Memory for tensors, given out slice by slice to many threads.
///
/// Ranges that are asked for at the same time never overlap. After an error the same ranges are asked
/// for once more, and zeroed.
pub trait Destination: Sync {
    /// Calls `fill` once with the memory for `range` of the tensor at `index`, exactly that long.
    fn with_slice(
        &self,
        index: u32,
        range: Range<u64>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<()>;
}

/// Takes one tensor's plaintext, piece by piece and in order.
pub trait Sink {
    /// Takes the bytes from `offset` on. They are zeroed after the call.
    fn chunk(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A destination of plain slices, one for each tensor after the header.
pub struct Buffers<'a> {
    tensors: Vec<Vec<Mutex<&'a mut [u8]>>>,
}

impl<'a> Buffers<'a> {
    /// Takes the slices of tensors 1, 2, … in order, each as long as its tensor.
    pub fn new(slices: impl IntoIterator<Item = &'a mut [u8]>) -> Self {
        let split = |s: &'a mut [u8]| s.chunks_mut(RUN_BYTES as usize).map(Mutex::new).collect();
        Self { tensors: slices.into_iter().map(split).collect() }
    }
}

impl Destination for Buffers<'_> {
    fn with_slice(
        &self,
        index: u32,
        range: Range<u64>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<()> {
        let tensor = (index as usize).checked_sub(1).and_then(|i| self.tensors.get(i));
        let slice =
            tensor.and_then(|runs| runs.get(usize::try_from(range.start / RUN_BYTES).ok()?));
        let slice = slice.ok_or(io::ErrorKind::InvalidInput)?;
        fill(&mut slice.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}
