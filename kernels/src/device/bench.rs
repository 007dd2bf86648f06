//! One opening, prepared once and launched again and again: for figures, not for use.

use std::time::{Duration, Instant};

use crate::backend::{Backend, ChunkError, InputKey, Salt};
use crate::device::chunks::{DeviceSchedule, PLAIN, SEALED, TAG, TAGS_BEHIND, TensorArgs};
use crate::device::{DeviceBackend, DeviceError, Driver};
use crate::layout::{CHUNK_BYTES, STRIDE_BYTES};

/// Tensors of one size, sealed on the device, all under one launch.
pub struct OpenBench<'b, D: Driver> {
    backend: &'b DeviceBackend<D>,
    tensors: Vec<Sealed<D>>,
    bytes: usize,
}

struct Sealed<D: Driver> {
    schedule: DeviceSchedule<D>,
    sealed: D::Memory,
    plain: D::Memory,
    status: D::Memory,
}

impl<'b, D: Driver> OpenBench<'b, D> {
    /// Seals `count` tensors of `bytes` each. The plaintext is whatever memory held.
    pub fn new(
        backend: &'b DeviceBackend<D>,
        count: usize,
        bytes: usize,
    ) -> Result<Self, DeviceError> {
        let chunks = bytes / CHUNK_BYTES + 1;
        let seal = |number: usize| {
            let mut salt = [0; 24];
            salt[..8].copy_from_slice(&number.to_le_bytes());
            let derived = backend.derive(&InputKey::new([0x5A; 32]), &Salt(salt), b"bench");
            Ok(Sealed {
                schedule: derived.schedule,
                sealed: backend.room(chunks * STRIDE_BYTES)?,
                plain: backend.room(bytes)?,
                status: backend.room(4 * chunks)?,
            })
        };
        let tensors = (0..count).map(seal).collect::<Result<_, _>>()?;
        let bench = Self { backend, tensors, bytes };
        backend.run_chunks("sc_seal_chunks", 1, &bench.described()?)?;
        Ok(bench)
    }

    /// Opens all of them once; how long launch and verdict took.
    pub fn open(&self) -> Result<Result<Duration, ChunkError>, DeviceError> {
        let described = self.described()?;
        let begun = Instant::now();
        let settled = self.backend.open_tensor_args(&described)?;
        let took = begun.elapsed();
        Ok(settled.iter().try_for_each(|settled| settled.verdict()).map(|()| took))
    }

    /// Bytes of plaintext that one opening gives.
    pub fn bytes(&self) -> u64 {
        (self.bytes * self.tensors.len()) as u64
    }

    fn described(&self) -> Result<Vec<TensorArgs>, DeviceError> {
        let at = |memory: &D::Memory| self.backend.at(memory);
        let describe = |tensor: &Sealed<D>| {
            Ok(TensorArgs {
                schedule: at(tensor.schedule.memory_or_why()?),
                sealed: at(&tensor.sealed),
                tags: TAGS_BEHIND,
                plain: at(&tensor.plain),
                status: at(&tensor.status),
                bytes: self.bytes as u64,
                first: 0,
                chunks: (self.bytes / CHUNK_BYTES + 1) as u64,
                stride: SEALED,
                plain_stride: PLAIN,
                tag_stride: TAG,
            })
        };
        self.tensors.iter().map(describe).collect()
    }
}
