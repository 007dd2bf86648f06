//! Opens a sealed file into memory regions of the device, in parallel.
//!
//! Chapter 70. Ciphertext is read into the regions and opened where it lies: plaintext is in no other
//! memory. [`open_into`] returns only when every tensor opened and the root agreed [SEAL-9]; on an
//! error the caller zeroes the regions. It does not choose the regions or check the incarnation.

use std::hint::black_box;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use split_custody_weights::{
    Buffers, Dek, Destination, Header, OpenedTensor, Reader, Threads, WeightsError,
};

use crate::backend::TensorInfo;

/// How far a load is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Progress {
    /// Bytes of plaintext that are in place.
    pub opened: u64,
    /// Bytes of plaintext in all.
    pub total: u64,
}

/// What a load needs beside the regions.
pub(crate) struct Opening<'a> {
    pub(crate) reader: &'a Reader,
    pub(crate) header: &'a Header,
    pub(crate) dek: &'a Dek,
    pub(crate) threads: Threads,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) cancel: &'a AtomicBool,
    pub(crate) progress: &'a (dyn Fn(Progress) + Sync),
}

/// Opens every tensor into its region, in the order of the header.
pub(crate) fn open_into(
    opening: &Opening<'_>,
    regions: Vec<&mut [u8]>,
) -> Result<(), WeightsError> {
    let destination = Watched {
        total: regions.iter().map(|r| r.len() as u64).sum(),
        buffers: Buffers::new(regions),
        opened: AtomicU64::new(0),
        stop: opening.stop,
        cancel: opening.cancel,
        progress: opening.progress,
    };
    let Opening { reader, header, dek, threads, .. } = opening;
    reader.open_all(dek, header, *threads, &destination)?;
    Ok(())
}

/// The tensor as a report and a proof name it.
pub(crate) fn describe(tensor: OpenedTensor) -> TensorInfo {
    TensorInfo {
        name: tensor.name,
        dtype: tensor.dtype,
        shape: tensor.shape,
        length: tensor.length,
    }
}

/// Overwrites the stack below the caller, where key copies of returned calls may lie. As well as
/// safe code can: the memory scan in the tests is what shows that nothing is left.
#[inline(never)]
pub(crate) fn overwrite_stack() {
    black_box(&mut [0u8; STACK_BYTES]);
}

/// A destination that reports progress and stops when told.
struct Watched<'a, 'r> {
    buffers: Buffers<'r>,
    opened: AtomicU64,
    total: u64,
    stop: &'a AtomicBool,
    cancel: &'a AtomicBool,
    progress: &'a (dyn Fn(Progress) + Sync),
}

impl Destination for Watched<'_, '_> {
    fn with_slice(
        &self,
        index: u32,
        range: Range<u64>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<()> {
        // The keys are gone: open nothing more. The regions are zeroed by whoever owns them. [RST-3]
        if self.stop.load(Ordering::SeqCst) || self.cancel.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = range.end - range.start;
        self.buffers.with_slice(index, range, fill)?;
        // This is the zeroing after a panic, perhaps of `progress` itself: a second one would abort.
        if thread::panicking() {
            return Ok(());
        }
        // Relaxed: a figure for people, ordered with nothing.
        let opened = self.opened.fetch_add(length, Ordering::Relaxed) + length;
        (self.progress)(Progress { opened: opened.min(self.total), total: self.total });
        Ok(())
    }
}

const STACK_BYTES: usize = 64 * 1024;
