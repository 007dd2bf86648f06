//! Memory that many threads write by position: a file's stand-in.
//!
//! Chapter 15. Every byte is given out once, so slices never overlap; no lock is held while one is
//! filled. It does not notice bytes that nobody asked for.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use crate::storage::WriteAt;

pub(super) struct Shelf<'a> {
    /// What was not given out yet, by position.
    free: Mutex<BTreeMap<usize, &'a mut [u8]>>,
}

impl<'a> Shelf<'a> {
    pub fn new(memory: &'a mut [u8]) -> Self {
        Self { free: Mutex::new(BTreeMap::from([(0, memory)])) }
    }

    fn take(&self, range: Range<u64>) -> Option<&'a mut [u8]> {
        let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let (&begin, piece) = free.range(..=range.start).next_back()?;
        if range.is_empty() || range.end - begin > piece.len() {
            return None;
        }
        let (before, rest) = free.remove(&begin)?.split_at_mut(range.start - begin);
        let (taken, after) = rest.split_at_mut(range.len());
        let left = [(begin, before), (range.end, after)];
        free.extend(left.into_iter().filter(|(_, piece)| !piece.is_empty()));
        Some(taken)
    }
}

impl WriteAt for Shelf<'_> {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        let place = end.and_then(|end| self.take(offset..end));
        place.ok_or(io::ErrorKind::StorageFull)?.copy_from_slice(bytes);
        Ok(())
    }

    fn with_slice<T>(&self, range: Range<u64>, fill: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        self.take(range).map(fill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shelf_gives_every_byte_once() {
        let mut memory = [0; 10];
        let shelf = Shelf::new(&mut memory);
        assert_eq!(shelf.with_slice(4..7, |place| place.fill(1)), Some(()));
        assert_eq!(shelf.with_slice(6..8, |place| place.fill(2)), None);
        assert_eq!(shelf.with_slice(3..5, |place| place.fill(3)), None);
        assert_eq!(shelf.with_slice(7..11, |place| place.fill(4)), None);
        assert!(shelf.write_all_at(&[5; 3], 7).is_ok());
        assert!(shelf.write_all_at(&[6; 4], 0).is_ok());
        assert!(shelf.write_all_at(&[7], 0).is_err());
        assert_eq!(memory, [6, 6, 6, 6, 1, 1, 1, 5, 5, 5]);
    }
}
