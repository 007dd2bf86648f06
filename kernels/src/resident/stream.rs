//! Streams and events of a context.

use std::ptr;
use std::sync::Arc;

use cudarc::driver::sys;

use crate::device::DeviceError;
use crate::resident::context::{Context, check};
use crate::resident::memory::{Pinned, Public, Secret};

/// Work in order.
pub struct Stream {
    raw: sys::CUstream,
    context: Arc<Context>,
}

// SAFETY: a handle of the driver; every call makes its context current first.
unsafe impl Send for Stream {}
// SAFETY: as above; the driver locks its own queues.
unsafe impl Sync for Stream {}

impl Stream {
    /// A stream that waits for no other.
    pub fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        context.bind()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a local that the call fills; flag 1 is "non blocking".
        check("cuStreamCreate", unsafe { sys::cuStreamCreate(&mut raw, 1) })?;
        Ok(Self { raw, context: context.clone() })
    }

    /// Waits until all of it is done.
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: the stream lives as long as this value.
        check("cuStreamSynchronize", unsafe { sys::cuStreamSynchronize(self.raw) })
    }

    /// Does nothing more before the event happened.
    pub fn wait(&self, event: &Event) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: both live.
        check("cuStreamWaitEvent", unsafe { sys::cuStreamWaitEvent(self.raw, event.raw, 0) })
    }

    /// Copies from pinned memory, later: the pinned bytes must stay until then.
    pub fn write(&self, to: Public, from: &Pinned, offset: usize) -> Result<(), DeviceError> {
        let from = from.at(offset, to.bytes())?;
        self.copy_in(to.address(), from, to.bytes())
    }

    /// The same into guarded memory: a mark, or a key that came from elsewhere.
    pub fn write_secret(&self, to: Secret, from: &Pinned) -> Result<(), DeviceError> {
        let from = from.at(0, to.bytes())?;
        self.copy_in(to.address(), from, to.bytes())
    }

    fn copy_in(&self, to: u64, from: *const u8, bytes: usize) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        self.context.bind()?;
        // SAFETY: both places have so many bytes; pinned memory is given back only after its stream
        // was waited for.
        check("cuMemcpyHtoDAsync", unsafe {
            sys::cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, self.raw)
        })
    }

    /// Copies inside guarded memory.
    pub(super) fn copy_secret(&self, to: Secret, from: Secret) -> Result<(), DeviceError> {
        if to.bytes() != from.bytes() {
            return Err(DeviceError::OutOfBounds { bytes: from.bytes(), room: to.bytes() });
        }
        self.context.bind()?;
        // SAFETY: both places have so many bytes.
        check("cuMemcpyDtoDAsync", unsafe {
            sys::cuMemcpyDtoDAsync_v2(to.address(), from.address(), from.bytes(), self.raw)
        })
    }

    /// Overwrites guarded memory with zeros. [RST-3]
    pub fn zero(&self, place: Secret) -> Result<(), DeviceError> {
        self.fill_zero(place.address(), place.bytes())
    }

    /// The same for memory that is not guarded.
    pub(super) fn zero_public(&self, place: Public) -> Result<(), DeviceError> {
        self.fill_zero(place.address(), place.bytes())
    }

    fn fill_zero(&self, at: u64, bytes: usize) -> Result<(), DeviceError> {
        if bytes == 0 {
            return Ok(());
        }
        self.context.bind()?;
        // SAFETY: the place has so many bytes.
        check("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(at, 0, bytes, self.raw) })
    }

    pub(super) fn raw(&self) -> sys::CUstream {
        self.raw
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the stream is ours, and the driver ends it when its work is done.
            let _ = unsafe { sys::cuStreamDestroy_v2(self.raw) };
        }
    }
}

/// A point in a stream.
pub struct Event {
    raw: sys::CUevent,
    context: Arc<Context>,
}

// SAFETY: as for `Stream`.
unsafe impl Send for Event {}
// SAFETY: as for `Stream`.
unsafe impl Sync for Event {}

impl Event {
    /// An event that happened, as far as anybody knows.
    pub fn new(context: &Arc<Context>) -> Result<Self, DeviceError> {
        context.bind()?;
        let mut raw = ptr::null_mut();
        // SAFETY: the pointer is to a local that the call fills; flag 2 takes no times.
        check("cuEventCreate", unsafe { sys::cuEventCreate(&mut raw, 2) })?;
        Ok(Self { raw, context: context.clone() })
    }

    /// Happens when the stream has done what it was given so far.
    pub fn record(&self, stream: &Stream) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: both live.
        check("cuEventRecord", unsafe { sys::cuEventRecord(self.raw, stream.raw()) })
    }

    /// Waits until it happened.
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.context.bind()?;
        // SAFETY: the event lives as long as this value.
        check("cuEventSynchronize", unsafe { sys::cuEventSynchronize(self.raw) })
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: the event is ours.
            let _ = unsafe { sys::cuEventDestroy_v2(self.raw) };
        }
    }
}
