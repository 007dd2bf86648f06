//! The portable backend: `ring` on any CPU.
//!
//! Chapter 15. It uses the AES and carry-less multiply instructions that the CPU has, one chunk at a
//! time, and works in place; the calls with two buffers copy each chunk while it is in cache.
//! It starts no threads: the caller runs it on as many as it likes.

mod operations;

use std::hint::black_box;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA512, KeyType, Prk};
use zeroize::{Zeroize, Zeroizing};

use crate::backend::{self, Backend, ChunkError, Commitment, Derived, InputKey, Salt, Tag};
use crate::hazmat::RawMode;
use crate::layout::{CHUNK_BYTES, STRIDE_BYTES, TAG_BYTES};

/// The backend that runs everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl Backend for Portable {
    type Schedule = Schedule;

    fn name(&self) -> &'static str {
        "portable"
    }

    fn derive(&self, key: &InputKey, salt: &Salt, context: &[u8]) -> Derived<Schedule> {
        let info: [&[u8]; 3] = [INFO, &salt.0, context];
        let mut okm = Zeroizing::new([0; OKM_BYTES]);
        Prk::new_less_safe(HKDF_SHA512, key.expose())
            .expand(&info, Okm)
            .and_then(|expanded| expanded.fill(&mut okm[..]))
            .expect("76 bytes are below the 255 blocks that HKDF gives");
        let (mut key, mut nonce, mut commitment) = (Zeroizing::new([0; 32]), [0; 12], [0; 32]);
        key.copy_from_slice(&okm[..32]);
        nonce.copy_from_slice(&okm[32..44]);
        commitment.copy_from_slice(&okm[44..]);
        Derived { schedule: self.raw_schedule(&key, nonce), commitment: Commitment(commitment) }
    }

    fn open_chunks(
        &self,
        s: &Schedule,
        first: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ChunkError> {
        let opened = backend::chunks_of(sealed.len(), plain.len()).and_then(|_| {
            let pairs = sealed.chunks(STRIDE_BYTES).zip(Bodies(plain));
            pairs.zip(first..).try_for_each(|((sealed, plain), index)| {
                let (body, tag) = sealed.split_last_chunk().ok_or(ChunkError::BadLength)?;
                plain.copy_from_slice(body);
                s.open(index, Tag(*tag), plain)
            })
        });
        opened.inspect_err(|_| plain.zeroize()) // [SEAL-7]
    }

    fn open_chunks_in_place(
        &self,
        s: &Schedule,
        first: u64,
        tags: &[Tag],
        chunks: &mut [u8],
    ) -> Result<(), ChunkError> {
        let opened = backend::check_tags(tags.len(), chunks.len()).and_then(|()| {
            let pairs = tags.iter().zip(Bodies(chunks));
            pairs.zip(first..).try_for_each(|((tag, chunk), index)| s.open(index, *tag, chunk))
        });
        opened.inspect_err(|_| chunks.zeroize()) // [SEAL-7]
    }

    fn seal_chunks(
        &self,
        s: &Schedule,
        first: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        backend::chunks_of(sealed.len(), plain.len())?;
        let mut rest = plain;
        for (sealed, index) in sealed.chunks_mut(STRIDE_BYTES).zip(first..) {
            let (body, tag) = sealed.split_last_chunk_mut().ok_or(ChunkError::BadLength)?;
            let (chunk, after) = rest.split_at_checked(body.len()).ok_or(ChunkError::BadLength)?;
            body.copy_from_slice(chunk);
            *tag = s.seal(index, body)?.0;
            rest = after;
        }
        Ok(())
    }

    fn seal_chunks_in_place(
        &self,
        s: &Schedule,
        first: u64,
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        backend::chunks_of_sealed(sealed.len())?;
        for (sealed, index) in sealed.chunks_mut(STRIDE_BYTES).zip(first..) {
            let (body, tag) = sealed.split_last_chunk_mut().ok_or(ChunkError::BadLength)?;
            *tag = s.seal(index, body)?.0;
        }
        Ok(())
    }
}

impl RawMode for Portable {
    fn raw_schedule(&self, key: &[u8; 32], base_nonce: [u8; 12]) -> Schedule {
        Schedule { key: Box::new(expand(key)), base_nonce }
    }
}

/// The AES-256-GCM key and the base nonce of one message.
pub struct Schedule {
    key: Box<LessSafeKey>,
    base_nonce: [u8; 12],
}

impl Schedule {
    fn open(&self, index: u64, tag: Tag, chunk: &mut [u8]) -> Result<(), ChunkError> {
        self.key
            .open_in_place_separate_tag(self.nonce(index), Aad::empty(), tag.0.into(), chunk, 0..)
            .map(|_| ())
            .map_err(|_| ChunkError::ChunkTampered { index }) // [SEAL-7]
    }

    fn seal(&self, index: u64, chunk: &mut [u8]) -> Result<Tag, ChunkError> {
        let tag = self.key.seal_in_place_separate_tag(self.nonce(index), Aad::empty(), chunk);
        let tag = tag.map_err(|_| ChunkError::BadLength)?;
        tag.as_ref().try_into().map(Tag).map_err(|_| ChunkError::BadLength)
    }

    fn nonce(&self, index: u64) -> Nonce {
        let mut nonce = self.base_nonce;
        for (byte, counter) in nonce[4..].iter_mut().zip(index.to_be_bytes()) {
            *byte ^= counter;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        self.base_nonce.zeroize();
        // `ring` erases nothing, so a key of zeros is laid over the old one. The barrier keeps the
        // write, which nothing reads.
        *self.key = expand(&[0; 32]);
        black_box(&mut *self.key);
    }
}

/// The bodies of a plain buffer: full chunks, then what is left, then empty ones without end.
struct Bodies<'a>(&'a mut [u8]);

impl<'a> Iterator for Bodies<'a> {
    type Item = &'a mut [u8];

    fn next(&mut self) -> Option<&'a mut [u8]> {
        let rest = std::mem::take(&mut self.0);
        let (body, rest) = rest.split_at_mut(rest.len().min(CHUNK_BYTES));
        self.0 = rest;
        Some(body)
    }
}

struct Okm;

impl KeyType for Okm {
    fn len(&self) -> usize {
        OKM_BYTES
    }
}

fn expand(key: &[u8; 32]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("an AES-256 key has 32 bytes"))
}

const INFO: &[u8] = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0";
const OKM_BYTES: usize = 32 + 12 + 32;
const _: () = assert!(TAG_BYTES == 16);
