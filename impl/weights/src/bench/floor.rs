//! The raw AEAD: the provider alone, over 16 KiB chunks, on so many threads.
//!
//! Chapter 15. The fastest that any sealing over this provider could be: no key derivation, no files,
//! no checks beyond the tag. *In place* is the cipher alone. *Moved* leaves the source as it is and
//! puts the result into other memory, as sealing and opening must: the provider works in place only,
//! so each chunk is copied first.

use std::thread;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use split_custody_kernels::CHUNK_BYTES;

use crate::error::WeightsError;
use crate::ids::{Threads, fill_random};

pub(super) struct Floor {
    key: LessSafeKey,
    source: Vec<u8>,
    target: Vec<u8>,
    tags: Vec<[u8; 16]>,
    share: usize,
}

impl Floor {
    pub fn new(bytes: usize, threads: Threads) -> Result<Self, WeightsError> {
        let mut key = [0; 32];
        fill_random(&mut key)?;
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("an AES-256 key has 32 bytes");
        let chunks = bytes.div_ceil(CHUNK_BYTES);
        let share = chunks.div_ceil(threads.0.get()).max(1);
        let (source, target) = (vec![1; bytes], vec![2; bytes]);
        Ok(Self { key: LessSafeKey::new(key), source, target, tags: vec![[0; 16]; chunks], share })
    }

    /// Seals from source to target.
    pub fn seal_moved(&mut self) {
        self.each(|key, index, source, target, tag| {
            target.copy_from_slice(source);
            seal(key, index, target, tag);
        });
    }

    /// Opens from source to target, once what was sealed is made the source.
    pub fn open_moved(&mut self) {
        self.each(|key, index, source, target, tag| {
            target.copy_from_slice(source);
            open(key, index, target, tag);
        });
    }

    /// Makes the target the source of the next step.
    pub fn turn(&mut self) {
        std::mem::swap(&mut self.source, &mut self.target);
    }

    /// Seals the target where it lies.
    pub fn seal_in_place(&mut self) {
        self.each(|key, index, _, target, tag| seal(key, index, target, tag));
    }

    /// Opens the target where it lies.
    pub fn open_in_place(&mut self) {
        self.each(|key, index, _, target, tag| open(key, index, target, tag));
    }

    fn each(&mut self, work: impl Fn(&LessSafeKey, u64, &[u8], &mut [u8], &mut [u8; 16]) + Sync) {
        let (key, work, bytes) = (&self.key, &work, self.share * CHUNK_BYTES);
        let shares = self.source.chunks(bytes).zip(self.target.chunks_mut(bytes));
        let shares = shares.zip(self.tags.chunks_mut(self.share)).zip((0..).step_by(self.share));
        thread::scope(|scope| {
            for (((source, target), tags), first) in shares {
                scope.spawn(move || {
                    let chunks = source.chunks(CHUNK_BYTES).zip(target.chunks_mut(CHUNK_BYTES));
                    for (((source, target), tag), index) in chunks.zip(tags).zip(first..) {
                        work(key, index, source, target, tag);
                    }
                });
            }
        });
    }
}

fn seal(key: &LessSafeKey, index: u64, chunk: &mut [u8], tag: &mut [u8; 16]) {
    let sealed = key.seal_in_place_separate_tag(nonce(index), Aad::empty(), chunk);
    tag.copy_from_slice(sealed.expect("a chunk is far below the cipher's bound").as_ref());
}

fn open(key: &LessSafeKey, index: u64, chunk: &mut [u8], tag: &[u8; 16]) {
    let opened =
        key.open_in_place_separate_tag(nonce(index), Aad::empty(), Tag::from(*tag), chunk, 0..);
    opened.expect("it was sealed a moment ago");
}

fn nonce(index: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
