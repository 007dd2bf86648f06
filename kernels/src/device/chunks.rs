//! Opening and sealing chunks on a device: one launch, then the verdict over all of them.

use crate::backend::{self, Backend, ChunkError, Commitment, Derived, InputKey, Salt, Tag};
use crate::device::args::Args;
use crate::device::{DeviceBackend, DeviceError, Driver, Launch, Mapping, Tables, sizes, status};
use crate::hazmat::RawMode;
use crate::layout::{CHUNK_BYTES, STRIDE_BYTES, TAG_BYTES};

/// Key, base nonce and powers of one message, in device memory; or why there is none.
pub struct DeviceSchedule<D: Driver>(Result<D::Memory, DeviceError>);

impl<D: Driver> DeviceSchedule<D> {
    fn memory(&self) -> Result<&D::Memory, ChunkError> {
        self.0.as_ref().map_err(|_| ChunkError::DeviceFailed)
    }

    pub(super) fn memory_or_why(&self) -> Result<&D::Memory, DeviceError> {
        self.0.as_ref().map_err(DeviceError::clone)
    }
}

/// One tensor of a launch, as `Tensor` in `cu/gcm.cu`.
pub(crate) struct TensorArgs {
    pub(crate) schedule: u64,
    pub(crate) sealed: u64,
    pub(crate) tags: u64,
    pub(crate) plain: u64,
    pub(crate) status: u64,
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) chunks: u64,
    pub(crate) stride: u64,
    pub(crate) plain_stride: u64,
    pub(crate) tag_stride: u64,
}

/// The verdict over a tensor, as `Settled`.
pub(crate) struct Settled {
    index: u64,
    status: u32,
}

impl Settled {
    /// As the kernel wrote it.
    pub(crate) fn read(one: &[u8]) -> Self {
        let (index, rest) = one.split_at(8);
        Self {
            index: u64::from_le_bytes(index.try_into().unwrap_or_default()),
            status: u32::from_le_bytes(rest[..4].try_into().unwrap_or_default()),
        }
    }

    pub(crate) fn verdict(&self) -> Result<(), ChunkError> {
        match self.status {
            status::DONE => Ok(()),
            status::TAG_WRONG => Err(ChunkError::ChunkTampered { index: self.index }), // [SEAL-7]
            status::COMMITMENT_WRONG => Err(ChunkError::CommitmentMismatch),           // [SEAL-5]
            status::MARK_WRONG => Err(ChunkError::MarkMismatch),                       // [RST-5]
            _ => Err(ChunkError::DeviceFailed),
        }
    }
}

pub(super) const SEALED: u64 = STRIDE_BYTES as u64;
pub(super) const PLAIN: u64 = CHUNK_BYTES as u64;
pub(super) const TAG: u64 = TAG_BYTES as u64;
/// Each tag lies behind its chunk.
pub(super) const TAGS_BEHIND: u64 = 0;
const GCM_THREADS: u32 = 512;
const GCM_WARPS: u64 = 16;

impl<D: Driver> DeviceBackend<D> {
    /// Runs one of the chunk kernels over some tensors; gives back their descriptors on the device.
    pub(super) fn run_chunks(
        &self,
        kernel: &'static str,
        warps: u64,
        tensors: &[TensorArgs],
    ) -> Result<D::Memory, DeviceError> {
        let (mut described, mut tiles, mut tile) = (Args::default(), Args::default(), 0u64);
        for t in tensors {
            for field in [t.schedule, t.sealed, t.tags, t.plain, t.status, t.bytes, t.first] {
                described.long(field);
            }
            for field in [t.chunks, t.stride, t.plain_stride, t.tag_stride, 0] {
                described.long(field);
            }
            tiles.word(tile as u32);
            tile += t.chunks.div_ceil(GCM_WARPS / warps);
        }
        tiles.word(tile as u32);
        let described = self.upload(described.bytes())?;
        let firsts = self.upload(tiles.bytes())?;
        let mut args = Args::default();
        args.long(self.at(&described)).long(self.at(&firsts));
        args.word(tensors.len() as u32).word(0);
        self.guard(&mut args);
        let shared = match self.driver.tables() {
            Tables::Four => sizes::GCM_SHARED_FOUR,
            Tables::One => sizes::GCM_SHARED_ONE,
        };
        let blocks = self.driver.blocks().min(tile as u32).max(1);
        let launch = Launch { kernel, blocks, threads: GCM_THREADS, shared };
        self.driver.launch(&launch, args.bytes())?;
        Ok(described)
    }

    /// Opens some tensors and says how each came out; what failed is zero.
    pub(super) fn open_tensor_args(
        &self,
        tensors: &[TensorArgs],
    ) -> Result<Vec<Settled>, DeviceError> {
        let (kernel, warps) = match self.mapping {
            Mapping::OneWarp => ("sc_open_chunks", 1),
            Mapping::TwoWarps => ("sc_open_chunks_w2", 2),
            Mapping::FourWarps => ("sc_open_chunks_w4", 4),
            Mapping::TensorCores => ("sc_open_chunks_b1", 1),
        };
        let described = self.run_chunks(kernel, warps, tensors)?;
        let settled = self.room(tensors.len() * sizes::SETTLED)?;
        let mut args = Args::default();
        args.long(self.at(&described)).long(self.at(&settled));
        let blocks = tensors.len() as u32;
        let launch = Launch { kernel: "sc_settle", blocks, threads: 256, shared: 1024 };
        self.driver.launch(&launch, args.bytes())?;
        let mut bytes = vec![0; tensors.len() * sizes::SETTLED];
        self.driver.read(&settled, &mut bytes)?;
        Ok(bytes.chunks_exact(sizes::SETTLED).map(Settled::read).collect())
    }

    fn open_one(
        &self,
        schedule: &D::Memory,
        first: u64,
        sealed: &[u8],
        tags: Option<&[Tag]>,
        plain: &mut [u8],
    ) -> Result<Result<(), ChunkError>, DeviceError> {
        let body = self.upload(sealed)?;
        let (chunks, apart) = match tags {
            Some(tags) => (tags.len(), Some(self.upload(&tags.concat_bytes())?)),
            None => (sealed.len().div_ceil(STRIDE_BYTES), None),
        };
        let status = self.room(4 * chunks)?;
        // Tags apart means that chunks are opened where they lie.
        let own = if apart.is_none() { Some(self.room(plain.len())?) } else { None };
        let target = own.as_ref().unwrap_or(&body);
        let tensor = TensorArgs {
            schedule: self.at(schedule),
            sealed: self.at(&body),
            tags: apart.as_ref().map_or(TAGS_BEHIND, |tags| self.at(tags)),
            plain: self.at(target),
            status: self.at(&status),
            bytes: plain.len() as u64,
            first,
            chunks: chunks as u64,
            stride: if apart.is_some() { PLAIN } else { SEALED },
            plain_stride: PLAIN,
            tag_stride: TAG,
        };
        let settled = self.open_tensor_args(&[tensor])?;
        self.driver.read(target, plain)?;
        Ok(settled[0].verdict())
    }

    fn seal_one(
        &self,
        schedule: &D::Memory,
        first: u64,
        plain: Option<&[u8]>,
        sealed: &mut [u8],
    ) -> Result<Result<(), ChunkError>, DeviceError> {
        let chunks = sealed.len().div_ceil(STRIDE_BYTES);
        let body = if plain.is_some() { self.room(sealed.len())? } else { self.upload(sealed)? };
        let source = plain.map(|plain| self.upload(plain)).transpose()?;
        let status = self.room(4 * chunks)?;
        let tensor = TensorArgs {
            schedule: self.at(schedule),
            sealed: self.at(&body),
            tags: TAGS_BEHIND,
            plain: self.at(source.as_ref().unwrap_or(&body)),
            status: self.at(&status),
            bytes: (sealed.len() - chunks * TAG_BYTES) as u64,
            first,
            chunks: chunks as u64,
            stride: SEALED,
            plain_stride: if source.is_some() { PLAIN } else { SEALED },
            tag_stride: TAG,
        };
        self.run_chunks("sc_seal_chunks", 1, &[tensor])?;
        let mut states = vec![0; 4 * chunks];
        self.driver.read(&status, &mut states)?;
        if states.chunks_exact(4).any(|state| state != status::DONE.to_le_bytes()) {
            return Ok(Err(ChunkError::DeviceFailed));
        }
        self.driver.read(&body, sealed)?;
        Ok(Ok(()))
    }
}

impl<D: Driver> Backend for DeviceBackend<D> {
    type Schedule = DeviceSchedule<D>;

    fn name(&self) -> &'static str {
        self.driver.name()
    }

    fn derive(&self, key: &InputKey, salt: &Salt, context: &[u8]) -> Derived<Self::Schedule> {
        let mut commitment = [0; 32];
        let schedule = self.derive_one(key, salt, context, &mut commitment);
        Derived { schedule: DeviceSchedule(schedule), commitment: Commitment(commitment) }
    }

    fn open_chunks(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ChunkError> {
        let opened = backend::chunks_of(sealed.len(), plain.len()).and_then(|_| {
            let schedule = schedule.memory()?;
            if sealed.is_empty() {
                return Ok(());
            }
            let opened = self.open_one(schedule, first, sealed, None, plain);
            opened.unwrap_or(Err(ChunkError::DeviceFailed))
        });
        opened.inspect_err(|_| plain.fill(0)) // [SEAL-7]
    }

    fn open_chunks_in_place(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        tags: &[Tag],
        chunks: &mut [u8],
    ) -> Result<(), ChunkError> {
        let opened = backend::check_tags(tags.len(), chunks.len()).and_then(|()| {
            let schedule = schedule.memory()?;
            if tags.is_empty() {
                return Ok(());
            }
            let sealed = chunks.to_vec();
            let opened = self.open_one(schedule, first, &sealed, Some(tags), chunks);
            opened.unwrap_or(Err(ChunkError::DeviceFailed))
        });
        opened.inspect_err(|_| chunks.fill(0)) // [SEAL-7]
    }

    fn seal_chunks(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        backend::chunks_of(sealed.len(), plain.len())?;
        self.seal_with(schedule, first, Some(plain), sealed)
    }

    fn seal_chunks_in_place(
        &self,
        schedule: &Self::Schedule,
        first: u64,
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        backend::chunks_of_sealed(sealed.len())?;
        self.seal_with(schedule, first, None, sealed)
    }
}

impl<D: Driver> RawMode for DeviceBackend<D> {
    fn raw_schedule(&self, key: &[u8; 32], base_nonce: [u8; 12]) -> Self::Schedule {
        DeviceSchedule(self.schedule_one(key, base_nonce))
    }
}

impl<D: Driver> DeviceBackend<D> {
    fn seal_with(
        &self,
        schedule: &DeviceSchedule<D>,
        first: u64,
        plain: Option<&[u8]>,
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        let schedule = schedule.memory()?;
        if sealed.is_empty() {
            return Ok(());
        }
        self.seal_one(schedule, first, plain, sealed).unwrap_or(Err(ChunkError::DeviceFailed))
    }

    fn derive_one(
        &self,
        key: &InputKey,
        salt: &Salt,
        context: &[u8],
        commitment: &mut [u8; 32],
    ) -> Result<D::Memory, DeviceError> {
        let (schedule, derived) = (self.room(sizes::SCHEDULE)?, self.room(32)?);
        let (key, salt) = (self.upload(key.expose())?, self.upload(&salt.0)?);
        let context_memory = self.upload(context)?;
        let job = DeriveArgs {
            key: self.at(&key),
            salt: self.at(&salt),
            context: self.at(&context_memory),
            context_bytes: context.len() as u64,
            expected: 0,
            commitment: self.at(&derived),
            schedule: self.at(&schedule),
        };
        self.run_derive(&[job])?;
        self.driver.read(&derived, commitment)?;
        Ok(schedule)
    }

    /// Derives keys, checks commitments and builds schedules, one warp for each.
    pub(super) fn run_derive(&self, jobs: &[DeriveArgs]) -> Result<(), DeviceError> {
        let mut described = Args::default();
        for job in jobs {
            for field in [job.key, job.salt, job.context, job.context_bytes, job.expected] {
                described.long(field);
            }
            described.long(job.commitment).long(job.schedule);
        }
        let described = self.upload(described.bytes())?;
        let mut args = Args::default();
        args.long(self.at(&described)).word(jobs.len() as u32).word(0);
        let blocks = jobs.len() as u32;
        let shared = sizes::DERIVE_SPACE;
        let launch = Launch { kernel: "sc_derive", blocks, threads: 32, shared };
        self.driver.launch(&launch, args.bytes())
    }

    fn schedule_one(&self, key: &[u8; 32], nonce: [u8; 12]) -> Result<D::Memory, DeviceError> {
        let schedule = self.room(sizes::SCHEDULE)?;
        let (key, nonce) = (self.upload(key)?, self.upload(&nonce)?);
        let mut args = Args::default();
        args.long(self.at(&key)).long(self.at(&nonce)).long(self.at(&schedule));
        let shared = sizes::DERIVE_SPACE;
        let launch = Launch { kernel: "sc_schedule", blocks: 1, threads: 32, shared };
        self.driver.launch(&launch, args.bytes())?;
        Ok(schedule)
    }
}

/// One tensor's key, as `DeriveJob` in `cu/derive.cu`.
pub(super) struct DeriveArgs {
    pub(super) key: u64,
    pub(super) salt: u64,
    pub(super) context: u64,
    pub(super) context_bytes: u64,
    pub(super) expected: u64,
    pub(super) commitment: u64,
    pub(super) schedule: u64,
}

trait ConcatBytes {
    fn concat_bytes(&self) -> Vec<u8>;
}

impl ConcatBytes for [Tag] {
    fn concat_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|tag| tag.0).collect()
    }
}

#[cfg(all(test, feature = "shim"))]
mod tests {
    use super::*;
    use crate::shim::shim;

    /// The kernel alone, without the one that settles: a wrong chunk is gone, its neighbour is not.
    #[test]
    fn seal_7_a_wrong_chunk_is_zero_before_the_verdict_and_its_tensor_after() {
        let (device, plain) = (shim(), vec![0x77; CHUNK_BYTES + 5]);
        let schedule = device.raw_schedule(&[1; 32], [2; 12]);
        let mut sealed = vec![0; plain.len() + 2 * TAG_BYTES];
        device.seal_chunks(&schedule, 0, &plain, &mut sealed).unwrap();
        sealed[3] ^= 1;
        let (body, out) = (device.upload(&sealed).unwrap(), device.room(plain.len()).unwrap());
        let states = device.room(8).unwrap();
        let tensor = || TensorArgs {
            schedule: device.at(schedule.memory().unwrap()),
            sealed: device.at(&body),
            tags: TAGS_BEHIND,
            plain: device.at(&out),
            status: device.at(&states),
            bytes: plain.len() as u64,
            first: 0,
            chunks: 2,
            stride: SEALED,
            plain_stride: PLAIN,
            tag_stride: TAG,
        };
        device.run_chunks("sc_open_chunks", 1, &[tensor()]).unwrap();
        let mut opened = vec![1; plain.len()];
        device.driver().read(&out, &mut opened).unwrap();
        assert!(opened[..CHUNK_BYTES].iter().all(|byte| *byte == 0));
        assert_eq!(opened[CHUNK_BYTES..], plain[CHUNK_BYTES..]);
        assert_eq!(device.words(&states), Ok([status::TAG_WRONG, status::DONE]));
        // With it, the neighbour goes too, on the device: nobody else has zeroed anything here.
        let settled = device.open_tensor_args(&[tensor()]).unwrap();
        assert_eq!(settled[0].verdict(), Err(ChunkError::ChunkTampered { index: 0 }));
        device.driver().read(&out, &mut opened).unwrap();
        assert!(opened.iter().all(|byte| *byte == 0));
    }
}
