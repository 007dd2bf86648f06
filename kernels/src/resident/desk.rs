//! A stream with room for what operations need beside secrets: arguments, ciphertext, verdicts.

use std::sync::Arc;

use crate::device::args::Args;
use crate::device::{DeviceError, Launch};
use crate::resident::context::Context;
use crate::resident::memory::{Open, Pinned, Public};
use crate::resident::stream::Stream;

/// One operation after the other. Nothing secret passes through it.
pub struct Desk {
    pub(super) stream: Stream,
    open: Open,
    pinned: Pinned,
    used: usize,
}

impl Desk {
    /// A desk with room for so many bytes per operation.
    pub fn new(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            stream: Stream::new(context)?,
            open: Open::allocate(context, bytes)?,
            pinned: Pinned::allocate(context, bytes)?,
            used: 0,
        })
    }

    /// The stream on which it works.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Room for the next operation. Waits for the last one, whose places are void.
    pub fn clear(&mut self) -> Result<(), DeviceError> {
        self.stream.finish()?;
        self.used = 0;
        Ok(())
    }

    /// Copies in.
    pub fn put(&mut self, bytes: &[u8]) -> Result<Public, DeviceError> {
        let (place, at) = self.take(bytes.len())?;
        self.pinned.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        self.stream.write(place, &self.pinned, at)?;
        Ok(place)
    }

    /// Room for what a kernel says; zero, which is no pass.
    pub fn room(&mut self, bytes: usize) -> Result<Public, DeviceError> {
        let (place, _) = self.take(bytes)?;
        self.stream.zero_public(place)?;
        Ok(place)
    }

    /// Waits, and copies out. There is no such call for a [`Secret`](super::Secret).
    pub fn fetch(&mut self, place: Public, out: &mut [u8]) -> Result<(), DeviceError> {
        if out.len() > place.bytes() {
            return Err(DeviceError::OutOfBounds { bytes: out.len(), room: place.bytes() });
        }
        self.stream.finish()?;
        if out.is_empty() {
            return Ok(());
        }
        self.stream.context().bind()?;
        // SAFETY: both places have so many bytes, and the call ends when the copy has.
        let copied = unsafe {
            let (to, from) = (out.as_mut_ptr().cast(), place.address());
            cudarc::driver::sys::cuMemcpyDtoH_v2(to, from, out.len())
        };
        super::context::check("cuMemcpyDtoH", copied)
    }

    /// Waits, and gives the status words of a kernel.
    pub(super) fn words(&mut self, place: Public) -> Result<Vec<u32>, DeviceError> {
        let mut bytes = vec![0; place.bytes()];
        self.fetch(place, &mut bytes)?;
        let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Ok(bytes.chunks_exact(4).map(word).collect())
    }

    /// One warp.
    pub(super) fn one(&self, kernel: &'static str, args: &Args) -> Result<(), DeviceError> {
        let shared = super::operations::shared_of(kernel);
        let launch = Launch { kernel, blocks: 1, threads: 32, shared };
        self.launch(&launch, args)
    }

    pub(super) fn launch(&self, launch: &Launch, args: &Args) -> Result<(), DeviceError> {
        self.stream.context().launch(&self.stream, launch, args.bytes())
    }

    fn take(&mut self, bytes: usize) -> Result<(Public, usize), DeviceError> {
        let at = self.used.next_multiple_of(ALIGN);
        let place = self.open.whole().part(at, bytes)?;
        self.used = at + bytes;
        Ok((place, at))
    }
}

/// As kernels want their blocks.
const ALIGN: usize = 256;
