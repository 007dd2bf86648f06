//! The key area: one piece of guarded memory, cut into the mark, slots for keys, and room to work.

use std::sync::Arc;

use split_custody_kernels::device::DeviceError;
use split_custody_kernels::resident::{Context, Guarded, Secret};

use crate::backend::KeySlot;
use crate::error::GpuError;
use crate::sim::{KEY_BYTES_MAX, KEY_SLOTS};

/// Keys and the mark in guarded memory.
pub(super) struct KeyArea {
    memory: Guarded,
    /// Which key lies in which slot, and how long it is; slot 0 is the mark's.
    slots: Vec<Option<(KeySlot, usize)>>,
}

impl KeyArea {
    pub(super) fn create(context: &Arc<Context>) -> Result<Self, DeviceError> {
        let memory = Guarded::create(context, BYTES)?;
        Ok(Self { memory, slots: vec![None; KEY_SLOTS + 1] })
    }

    /// A free slot for a key of this length. A number is never given twice: `next` goes on.
    pub(super) fn take(
        &mut self,
        length: usize,
        next: &mut u64,
    ) -> Result<(KeySlot, Secret), GpuError> {
        if length == 0 || length > KEY_BYTES_MAX {
            return Err(GpuError::KeyLength { length });
        }
        let free = (1..self.slots.len()).find(|i| self.slots[*i].is_none());
        let index = free.ok_or(GpuError::SlotsFull)?;
        *next += 1;
        let slot = KeySlot(*next);
        self.slots[index] = Some((slot, length));
        Ok((slot, self.memory.part(index * KEY_BYTES_MAX, length)?))
    }

    /// Where a key lies.
    pub(super) fn place(&self, slot: KeySlot) -> Result<Secret, GpuError> {
        let (index, length) = self.find(slot)?;
        Ok(self.memory.part(index * KEY_BYTES_MAX, length)?)
    }

    /// Its slot, which the caller zeroes; its handle stands for nothing from now on.
    pub(super) fn give_up(&mut self, slot: KeySlot) -> Result<Secret, GpuError> {
        let (index, _) = self.find(slot)?;
        self.slots[index] = None;
        Ok(self.memory.part(index * KEY_BYTES_MAX, KEY_BYTES_MAX)?)
    }

    /// Handles given out before find nothing.
    pub(super) fn forget(&mut self) {
        self.slots.fill(None);
    }

    pub(super) fn mark(&self) -> Result<Secret, GpuError> {
        Ok(self.memory.part(0, 32)?)
    }

    pub(super) fn whole(&self) -> Secret {
        self.memory.whole()
    }

    /// Everything but the mark's slot.
    pub(super) fn but_the_mark(&self) -> Result<Secret, GpuError> {
        Ok(self.memory.part(KEY_BYTES_MAX, self.memory.bytes() - KEY_BYTES_MAX)?)
    }

    pub(super) fn agreed(&self) -> Result<Secret, GpuError> {
        Ok(self.memory.part(WORK, 32)?)
    }

    pub(super) fn gathered(&self) -> Result<Secret, GpuError> {
        Ok(self.memory.part(WORK + 256, 32 * 255)?)
    }

    pub(super) fn samples(&self) -> Result<Secret, GpuError> {
        Ok(self.memory.part(WORK + SAMPLES, 32 << 10)?)
    }

    pub(super) fn into_memory(self) -> Guarded {
        self.memory
    }

    fn find(&self, slot: KeySlot) -> Result<(usize, usize), GpuError> {
        let holds = |(index, entry): (usize, &Option<(KeySlot, usize)>)| {
            entry.filter(|(key, _)| *key == slot).map(|(_, length)| (index, length))
        };
        self.slots.iter().enumerate().find_map(holds).ok_or(GpuError::NoSuchKey)
    }
}

/// Behind the slots.
const WORK: usize = (KEY_SLOTS + 1) * KEY_BYTES_MAX;
const SAMPLES: usize = 16 << 10;
const BYTES: usize = WORK + SAMPLES + (32 << 10);
