//! The raw AEAD: the provider alone, over 16 KiB chunks, in place, on so many threads.
//!
//! Chapter 15. The fastest that any sealing over this provider could be: no key derivation, no files,
//! no checks beyond the tag.

use std::thread;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use split_custody_kernels::CHUNK_BYTES;

use crate::error::WeightsError;
use crate::ids::{Threads, fill_random};

pub(super) struct Floor {
    key: LessSafeKey,
    bytes: Vec<u8>,
    tags: Vec<[u8; 16]>,
    share: usize,
}

impl Floor {
    pub fn new(bytes: usize, threads: Threads) -> Result<Self, WeightsError> {
        let mut key = [0; 32];
        fill_random(&mut key)?;
        let key = LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM, &key).expect("an AES-256 key has 32 bytes"),
        );
        let chunks = bytes.div_ceil(CHUNK_BYTES);
        let share = chunks.div_ceil(threads.0.get()).max(1);
        Ok(Self {
            key,
            bytes: vec![1; bytes],
            tags: vec![[0; 16]; chunks],
            share,
        })
    }

    pub fn seal(&mut self) {
        let key = self.key.clone();
        self.each(|index, chunk, tag| {
            let sealed = key.seal_in_place_separate_tag(nonce(index), Aad::empty(), chunk);
            tag.copy_from_slice(
                sealed
                    .expect("a chunk is far below the cipher's bound")
                    .as_ref(),
            );
        });
    }

    pub fn open(&mut self) {
        let key = self.key.clone();
        self.each(|index, chunk, tag| {
            let opened = key.open_in_place_separate_tag(
                nonce(index),
                Aad::empty(),
                (*tag).into(),
                chunk,
                0..,
            );
            opened.expect("it was sealed a moment ago");
        });
    }

    fn each(&mut self, work: impl Fn(u64, &mut [u8], &mut [u8; 16]) + Sync) {
        let shares = self
            .bytes
            .chunks_mut(self.share * CHUNK_BYTES)
            .zip(self.tags.chunks_mut(self.share));
        thread::scope(|scope| {
            for (first, (bytes, tags)) in (0..).step_by(self.share).zip(shares) {
                let work = &work;
                scope.spawn(move || {
                    for (index, (chunk, tag)) in
                        (first..).zip(bytes.chunks_mut(CHUNK_BYTES).zip(tags))
                    {
                        work(index, chunk, tag);
                    }
                });
            }
        });
    }
}

fn nonce(index: u64) -> Nonce {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
