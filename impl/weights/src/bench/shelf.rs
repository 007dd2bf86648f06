//! Memory that many threads write by position: a file's stand-in.
//!
//! Chapter 15. Segments of 1 MiB, each under its own lock; a write takes those that it touches.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::storage::WriteAt;

pub(super) struct Shelf {
    segments: Vec<Mutex<Box<[u8]>>>,
}

impl Shelf {
    pub fn new(size: u64) -> Self {
        let size = size as usize;
        let lengths = (0..size).step_by(SEGMENT).map(|at| SEGMENT.min(size - at));
        // Touched before the clock starts: page faults are not the sealer's.
        Self { segments: lengths.map(|length| Mutex::new(vec![1; length].into())).collect() }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        let segments = self
            .segments
            .into_iter()
            .map(|s| s.into_inner().unwrap_or_else(PoisonError::into_inner));
        segments.collect::<Vec<_>>().concat()
    }
}

impl WriteAt for Shelf {
    fn write_all_at(&self, mut bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset as usize;
        while !bytes.is_empty() {
            let segment = self.segments.get(at / SEGMENT).ok_or(io::ErrorKind::StorageFull)?;
            let mut segment = segment.lock().unwrap_or_else(PoisonError::into_inner);
            let room = segment.get_mut(at % SEGMENT..).ok_or(io::ErrorKind::StorageFull)?;
            let (now, rest) = bytes.split_at(room.len().min(bytes.len()));
            room[..now.len()].copy_from_slice(now);
            at += now.len();
            bytes = rest;
        }
        Ok(())
    }
}

const SEGMENT: usize = 1 << 20;
