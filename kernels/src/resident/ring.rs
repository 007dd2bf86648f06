//! The staging ring: pinned memory, the same on the device, and streams, so that some slots are filled
//! while another travels and others are opened.
//!
//! A slot's chunks keep fewer multiprocessors busy than a GPU has, and a chunk takes the same time
//! whether it is alone or not. So slots are opened on several streams, in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::device::DeviceError;
use crate::resident::context::Context;
use crate::resident::memory::{Open, Pinned, Public};
use crate::resident::stream::{Event, Stream};

/// Some slots, taken in turn. Whoever takes one may fill it on another thread.
pub struct Ring {
    /// Those that nobody has taken, the longest sent first.
    idle: VecDeque<Slot>,
    made: usize,
    bytes: usize,
    context: Arc<Context>,
    travelling: Arc<Stream>,
    opening: Vec<Arc<Stream>>,
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
    /// A ring whose slots will have room for so many bytes each.
    pub fn new(context: &Arc<Context>, bytes: usize) -> Result<Self, DeviceError> {
        Ok(Self {
            idle: VecDeque::new(),
            made: 0,
            bytes,
            context: context.clone(),
            travelling: Arc::new(Stream::new(context)?),
            opening: (0..OPENING)
                .map(|_| Stream::new(context).map(Arc::new))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Has at least so many slots from now on.
    pub fn grow(&mut self, slots: usize) -> Result<(), DeviceError> {
        while self.made < slots {
            let slot = Slot {
                pinned: Pinned::allocate(&self.context, self.bytes + TAIL)?,
                open: Open::allocate(&self.context, self.bytes + TAIL)?,
                used: 0,
                arrived: Event::new(&self.context)?,
                opened: Event::new(&self.context)?,
                travelling: self.travelling.clone(),
                opening: self.opening[self.made % OPENING].clone(),
            };
            self.idle.push_back(slot);
            self.made += 1;
        }
        Ok(())
    }

    /// How many bytes fit a slot.
    pub fn slot_bytes(&self) -> usize {
        self.bytes
    }

    /// The next slot, when what was in it has been opened; none while others have them all.
    pub fn take(&mut self) -> Result<Option<Slot>, DeviceError> {
        let Some(mut slot) = self.idle.pop_front() else { return Ok(None) };
        slot.opened.finish()?;
        slot.used = 0;
        Ok(Some(slot))
    }

    /// Takes a slot back, sent or not. One that is dropped instead is missing from now on.
    pub fn give(&mut self, slot: Slot) {
        self.idle.push_back(slot);
    }

    /// Waits for everything.
    pub fn finish(&self) -> Result<(), DeviceError> {
        self.travelling.finish()?;
        self.opening.iter().try_for_each(|stream| stream.finish())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // Nothing may be under way when pinned memory goes. An error means that the context has ended.
        let _ = self.travelling.finish();
        let _ = self.opening.finish();
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

/// Streams that slots are opened on.
const OPENING: usize = 4;
const ALIGN: usize = 256;
/// Room for the description of what is in a slot.
const TAIL: usize = 256 << 10;
