//! Device memory: an area of key slots and an area of tensors.
//!
//! Chapter 70. Slot 0 holds the mark. Tensors lie one after the other, each at a multiple of
//! [`ALIGN`]. It does not know incarnations or which operation may run: [`SimDevice`](super::SimDevice)
//! does, and holds the locks.

use crate::backend::{KeySlot, Scrubbed, TensorInfo};
use crate::error::GpuError;
use crate::incarnation::Mark;
use crate::sys::{Backing, Pages};

/// Where keys and the mark lie.
pub(crate) struct KeyArea {
    pages: Pages,
    /// Which key lies in which slot, and how long it is; slot 0 is the mark's.
    slots: Vec<Option<(KeySlot, usize)>>,
    next: u64,
}

impl KeyArea {
    pub(crate) fn map() -> Result<Self, GpuError> {
        let pages = Pages::map((KEY_SLOTS + 1) * KEY_BYTES_MAX).map_err(GpuError::Memory)?;
        Ok(Self { pages, slots: vec![None; KEY_SLOTS + 1], next: 0 })
    }

    pub(crate) fn backing(&self) -> &Backing {
        self.pages.backing()
    }

    pub(crate) fn store(&mut self, key: &[u8]) -> Result<KeySlot, GpuError> {
        if key.is_empty() || key.len() > KEY_BYTES_MAX {
            return Err(GpuError::KeyLength { length: key.len() });
        }
        let free = (1..self.slots.len()).find(|i| self.slots[*i].is_none());
        let index = free.ok_or(GpuError::SlotsFull)?;
        // Never reused: an old handle must not reach a new key.
        self.next += 1;
        let slot = KeySlot(self.next);
        self.slot_mut(index)[..key.len()].copy_from_slice(key);
        self.slots[index] = Some((slot, key.len()));
        Ok(slot)
    }

    pub(crate) fn key(&self, slot: KeySlot) -> Result<&[u8], GpuError> {
        let (index, length) = self.find(slot)?;
        Ok(&self.pages.bytes()[index * KEY_BYTES_MAX..][..length])
    }

    pub(crate) fn erase(&mut self, slot: KeySlot) -> Result<(), GpuError> {
        let (index, _) = self.find(slot)?;
        self.slot_mut(index).fill(0);
        self.slots[index] = None;
        Ok(())
    }

    pub(crate) fn plant(&mut self, mark: &Mark) {
        self.slot_mut(MARK_SLOT)[..Mark::BYTES].copy_from_slice(mark.expose());
    }

    pub(crate) fn mark(&self) -> &[u8] {
        &self.pages.bytes()[..Mark::BYTES]
    }

    /// Keys and mark; handles given out before find nothing.
    pub(crate) fn zero(&mut self) {
        self.pages.bytes_mut().fill(0);
        self.slots.fill(None);
    }

    /// As after a reset: the contents are gone, and whoever holds handles was not told.
    pub(crate) fn lose(&mut self) {
        self.pages.bytes_mut().fill(0);
    }

    /// The mark is no key and stays out of this.
    pub(crate) fn verify_zero(&self) -> Result<Scrubbed, GpuError> {
        verify_zero(&self.pages.bytes()[KEY_BYTES_MAX..])
    }

    pub(crate) fn verify_all_zero(&self) -> Result<Scrubbed, GpuError> {
        verify_zero(self.pages.bytes())
    }

    fn find(&self, slot: KeySlot) -> Result<(usize, usize), GpuError> {
        let holds = |(index, entry): (usize, &Option<(KeySlot, usize)>)| {
            entry.filter(|(key, _)| *key == slot).map(|(_, length)| (index, length))
        };
        self.slots.iter().enumerate().find_map(holds).ok_or(GpuError::NoSuchKey)
    }

    fn slot_mut(&mut self, index: usize) -> &mut [u8] {
        &mut self.pages.bytes_mut()[index * KEY_BYTES_MAX..][..KEY_BYTES_MAX]
    }
}

/// Where plaintext lies.
pub(crate) struct TensorArea {
    pages: Pages,
    limit: u64,
    model: Option<Vec<Region>>,
}

/// One tensor and its place.
pub(crate) struct Region {
    pub(crate) tensor: TensorInfo,
    offset: usize,
    length: usize,
}

impl TensorArea {
    pub(crate) fn map(reserve: u64, limit: u64) -> Result<Self, GpuError> {
        let pages = map_pages(reserve, limit)?;
        Ok(Self { pages, limit, model: None })
    }

    pub(crate) fn backing(&self) -> &Backing {
        self.pages.backing()
    }

    pub(crate) fn is_occupied(&self) -> bool {
        self.model.is_some()
    }

    /// Makes room, gives `open` one slice per tensor, and keeps the model if it succeeds. On an error
    /// the whole area is zero. [SEAL-9]
    pub(crate) fn fill<E>(
        &mut self,
        tensors: Vec<TensorInfo>,
        open: impl FnOnce(Vec<&mut [u8]>) -> Result<(), E>,
    ) -> Result<Result<(), E>, GpuError> {
        let regions = self.lay_out(tensors)?;
        // A panic in `open` unwinds through this guard, and the area is zeroed then too.
        let mut area = ZeroUnlessKept { pages: &mut self.pages, kept: false };
        let opened = open(split(area.pages.bytes_mut(), &regions));
        area.kept = opened.is_ok();
        drop(area);
        if opened.is_ok() {
            self.model = Some(regions);
        } else {
            verify_zero(self.pages.bytes())?;
        }
        Ok(opened)
    }

    pub(crate) fn regions(&self) -> Result<&[Region], GpuError> {
        self.model.as_deref().ok_or(GpuError::NoModel)
    }

    pub(crate) fn bytes(&self, region: &Region) -> &[u8] {
        &self.pages.bytes()[region.offset..][..region.length]
    }

    /// Overwrites every page and verifies it. [RST-3]
    pub(crate) fn scrub(&mut self) -> Result<Scrubbed, GpuError> {
        self.model = None;
        self.pages.bytes_mut().fill(0);
        self.verify_zero()
    }

    /// As after a reset: the contents are gone, and whoever loaded them was not told.
    pub(crate) fn lose(&mut self) {
        self.pages.bytes_mut().fill(0);
    }

    pub(crate) fn verify_zero(&self) -> Result<Scrubbed, GpuError> {
        verify_zero(self.pages.bytes())
    }

    fn lay_out(&mut self, tensors: Vec<TensorInfo>) -> Result<Vec<Region>, GpuError> {
        let needed = tensors
            .iter()
            .try_fold(0u64, |sum, t| sum.checked_add(t.length.checked_next_multiple_of(ALIGN)?));
        let needed = needed.filter(|needed| *needed <= self.limit);
        let needed = needed.ok_or_else(|| GpuError::OutOfMemory {
            needed: tensors.iter().fold(0, |sum, t| sum.saturating_add(t.length)),
            limit: self.limit,
        })?;
        if needed > self.pages.bytes().len() as u64 {
            self.pages = map_pages(needed, self.limit)?;
        }
        // Grown or not, what is opened into was found to be zero. [RST-5]
        self.verify_zero()?;
        let mut offset = 0;
        let region = |tensor: TensorInfo| {
            let length = usize::try_from(tensor.length).expect("the sum fits the mapping");
            let region = Region { tensor, offset, length };
            offset += length.next_multiple_of(ALIGN as usize);
            region
        };
        Ok(tensors.into_iter().map(region).collect())
    }
}

/// Zeroes the pages when it goes, unless what is in them became whole.
struct ZeroUnlessKept<'a> {
    pages: &'a mut Pages,
    kept: bool,
}

impl Drop for ZeroUnlessKept<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.pages.bytes_mut().fill(0);
        }
    }
}

/// One slice per region; regions ascend and do not overlap.
fn split<'a>(mut rest: &'a mut [u8], regions: &[Region]) -> Vec<&'a mut [u8]> {
    let mut taken = 0;
    let mut slices = Vec::with_capacity(regions.len());
    for region in regions {
        let (_, from) = rest.split_at_mut(region.offset - taken);
        let (slice, after) = from.split_at_mut(region.length);
        slices.push(slice);
        taken = region.offset + region.length;
        rest = after;
    }
    slices
}

fn map_pages(bytes: u64, limit: u64) -> Result<Pages, GpuError> {
    let too_much = GpuError::OutOfMemory { needed: bytes, limit };
    if bytes > limit {
        return Err(too_much);
    }
    let bytes = usize::try_from(bytes).map_err(|_| too_much)?;
    Pages::map(bytes).map_err(GpuError::Memory)
}

fn verify_zero(bytes: &[u8]) -> Result<Scrubbed, GpuError> {
    for (index, block) in bytes.chunks(VERIFY_BYTES).enumerate() {
        // No early exit inside a block: the compiler turns this into wide instructions.
        if block.iter().fold(0, |any, byte| any | byte) != 0 {
            let within = block.iter().position(|byte| *byte != 0).unwrap_or(0);
            let offset = (index * VERIFY_BYTES + within) as u64;
            return Err(GpuError::NotZero { offset });
        }
    }
    Ok(Scrubbed { bytes: bytes.len() as u64 })
}

/// How many keys fit at once.
pub const KEY_SLOTS: usize = 1023;
/// The longest key.
pub const KEY_BYTES_MAX: usize = 256;

const MARK_SLOT: usize = 0;
const ALIGN: u64 = 256;
const VERIFY_BYTES: usize = 64 * 1024;
