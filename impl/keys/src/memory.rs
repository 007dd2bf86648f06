//! Where secrets lie: one region cut into slots of 32 bytes, each named by a handle.

use std::collections::BTreeMap;

use rand_core::{OsRng, TryRngCore};
use zeroize::{Zeroize, Zeroizing};

/// A region for secrets, fixed in place and size while it lives; erased when dropped.
///
/// A device may hand in memory that its host cannot read; [`Heap`] is ordinary memory.
pub trait SecretMemory: Send {
    fn bytes(&self) -> &[u8];
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// Ordinary memory, overwritten when dropped.
pub struct Heap(Zeroizing<Vec<u8>>);

impl Heap {
    /// Room for `slots` secrets.
    pub fn with_slots(slots: usize) -> Self {
        Self(Zeroizing::new(vec![0; slots.saturating_mul(SLOT)]))
    }
}

impl SecretMemory for Heap {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// Size of a slot: a private key, a share or a DEK.
pub(crate) const SLOT: usize = 32;

/// What a handle stands for; a handle of one kind never opens a slot of another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Key,
    Share,
    Dek,
}

/// Handles to slots.
pub(crate) struct Slots {
    memory: Box<dyn SecretMemory>,
    held: BTreeMap<(Kind, u64), usize>,
    free: Vec<usize>,
    last: u64,
}

impl Slots {
    pub(crate) fn new(memory: Box<dyn SecretMemory>) -> Self {
        let free = (0..memory.bytes().len() / SLOT).rev().collect();
        Self { memory, held: BTreeMap::new(), free, last: 0 }
    }

    /// A handle that was never given before, and stands for nothing.
    pub(crate) fn unused(&mut self) -> u64 {
        // Never reused, also not after erasure: a stale handle must not open a later secret.
        self.last += 1;
        self.last
    }

    /// Stores a secret; `None` when the region is full.
    pub(crate) fn insert(&mut self, kind: Kind, secret: &[u8; SLOT]) -> Option<u64> {
        let slot = self.free.pop()?;
        self.memory.bytes_mut().get_mut(slot * SLOT..(slot + 1) * SLOT)?.copy_from_slice(secret);
        let handle = self.unused();
        self.held.insert((kind, handle), slot);
        Some(handle)
    }

    pub(crate) fn secret(&self, kind: Kind, handle: u64) -> Option<&[u8; SLOT]> {
        let slot = *self.held.get(&(kind, handle))?;
        self.memory.bytes().get(slot * SLOT..(slot + 1) * SLOT)?.try_into().ok()
    }

    /// Overwrites a secret; its handle stands for nothing afterwards.
    pub(crate) fn erase(&mut self, kind: Kind, handle: u64) {
        if let Some(slot) = self.held.remove(&(kind, handle)) {
            if let Some(bytes) = self.memory.bytes_mut().get_mut(slot * SLOT..(slot + 1) * SLOT) {
                bytes.zeroize();
            }
            self.free.push(slot);
        }
    }

    /// Overwrites the whole region.
    pub(crate) fn erase_all(&mut self) {
        self.memory.bytes_mut().zeroize();
        self.free.extend(std::mem::take(&mut self.held).into_values());
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        self.erase_all();
    }
}

/// Fills `bytes` from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: there is no safe way on from there.
pub(crate) fn fill_random(bytes: &mut [u8]) {
    OsRng.try_fill_bytes(bytes).expect("the operating system gives random bytes");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(count: usize) -> Slots {
        Slots::new(Box::new(Heap::with_slots(count)))
    }

    #[test]
    fn rst_3_erased_secret_is_overwritten_and_its_handle_opens_nothing() {
        let mut slots = slots(2);
        let handle = slots.insert(Kind::Share, &[7; 32]).unwrap();
        slots.erase(Kind::Share, handle);
        assert_eq!(slots.secret(Kind::Share, handle), None);
        assert_eq!(slots.memory.bytes(), &[0; 64]);
    }

    #[test]
    fn rst_3_handles_are_never_reused() {
        let mut slots = slots(1);
        let first = slots.insert(Kind::Dek, &[7; 32]).unwrap();
        slots.erase_all();
        let second = slots.insert(Kind::Dek, &[8; 32]).unwrap();
        assert_ne!(first, second);
        assert_eq!(slots.secret(Kind::Dek, first), None);
    }

    #[test]
    fn handle_of_another_kind_opens_nothing() {
        let mut slots = slots(1);
        let handle = slots.insert(Kind::Share, &[7; 32]).unwrap();
        assert_eq!(slots.secret(Kind::Dek, handle), None);
    }

    #[test]
    fn wire_1_full_region_takes_no_more() {
        let mut slots = slots(1);
        assert!(slots.insert(Kind::Key, &[1; 32]).is_some());
        assert_eq!(slots.insert(Kind::Key, &[2; 32]), None);
    }
}
