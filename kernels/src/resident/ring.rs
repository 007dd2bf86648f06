//! The staging ring: pinned memory, the same on the device, and two streams, so that one slot is
//! filled while another travels and a third is opened.

use std::sync::Arc;

use crate::device::DeviceError;
use crate::resident::context::Context;
use crate::resident::memory::{Open, Pinned, Public};
use crate::resident::stream::{Event, Stream};

/// Some slots, taken in turn.
pub struct Ring {
    slots: Vec<Slot>,
    next: usize,
    travelling: Arc<Stream>,
    opening: Arc<Stream>,
}

/// One part of the ring.
pub struct Slot {
    pinned: Pinned,
    open: Open,
    used: usize,
    arrived: Event,
    opened: Event,
    travelling: Arc<Stream>,
    opening: Arc<Stream>,
}

impl Ring {
    /// So many slots with room for so many bytes each.
    pub fn new(context: &Arc<Context>, slots: usize, bytes: usize) -> Result<Self, DeviceError> {
        let travelling = Arc::new(Stream::new(context)?);
        let opening = Arc::new(Stream::new(context)?);
        let slot = |_| {
            Ok(Slot {
                pinned: Pinned::allocate(context, bytes + TAIL)?,
                open: Open::allocate(context, bytes + TAIL)?,
                used: 0,
                arrived: Event::new(context)?,
                opened: Event::new(context)?,
                travelling: travelling.clone(),
                opening: opening.clone(),
            })
        };
        let slots = (0..slots).map(slot).collect::<Result<_, DeviceError>>()?;
        Ok(Self { slots, next: 0, travelling, opening })
    }

    /// The next slot, when what was in it has been opened.
    pub fn slot(&mut self) -> Result<&mut Slot, DeviceError> {
        let at = self.next;
        self.next = (at + 1) % self.slots.len();
        let slot = &mut self.slots[at];
        slot.opened.finish()?;
        slot.used = 0;
        Ok(slot)
    }

    /// Waits for everything.
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.travelling.finish()?;
        self.opening.finish()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Nothing may be under way when pinned memory goes. An error means that the context has ended.
        let _ = self.finish();
    }
}

impl Slot {
    /// Room for bytes that the caller fills, and where they will be on the device.
    pub fn fill(&mut self, bytes: usize) -> Result<(&mut [u8], Public), DeviceError> {
        let (place, at) = self.take(bytes)?;
        Ok((&mut self.pinned.bytes_mut()[at..at + bytes], place))
    }

    /// How many more bytes fit, after alignment.
    pub fn room(&self) -> usize {
        (self.open.whole().bytes() - TAIL).saturating_sub(self.used.next_multiple_of(ALIGN))
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<Public, DeviceError> {
        let (place, at) = self.take(bytes.len())?;
        self.pinned.bytes_mut()[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(place)
    }

    /// Sends all that was filled, in one copy.
    pub(super) fn send(&mut self) -> Result<(), DeviceError> {
        let place = self.open.whole().part(0, self.used)?;
        self.travelling.write(place, &self.pinned, 0)?;
        self.arrived.record(&self.travelling)?;
        self.opening.wait(&self.arrived)
    }

    pub(super) fn opened(&mut self) -> Result<(), DeviceError> {
        self.opened.record(&self.opening)
    }

    pub(super) fn opening(&self) -> &Stream {
        &self.opening
    }

    fn take(&mut self, bytes: usize) -> Result<(Public, usize), DeviceError> {
        let at = self.used.next_multiple_of(ALIGN);
        let place = self.open.whole().part(at, bytes)?;
        self.used = at + bytes;
        Ok((place, at))
    }
}

const ALIGN: usize = 256;
/// Room for the description of what is in a slot.
const TAIL: usize = 256 << 10;
