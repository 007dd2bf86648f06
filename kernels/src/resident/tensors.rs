//! Opening tensors: keys derived, chunks opened, verdicts over whole tensors.

use crate::backend::ChunkError;
use crate::device::args::Args;
use crate::device::chunks::{Settled, TensorArgs};
use crate::device::{DeviceError, Launch, Tables, sizes, status};
use crate::layout::{CHUNK_BYTES, STRIDE_BYTES, TAG_BYTES};
use crate::resident::desk::Desk;
use crate::resident::memory::{Public, Secret};
use crate::resident::ring::Slot;

/// Bytes of a tensor's schedule in guarded memory.
pub const SCHEDULE_BYTES: usize = sizes::SCHEDULE;

/// The mark of the incarnation: where it lies, and what every launch expects there. [RST-5]
#[derive(Clone, Copy, Debug)]
pub struct Marked<'a> {
    /// Where it was planted, 32 bytes.
    pub place: Secret,
    /// What must lie there.
    pub expected: &'a [u8; 32],
}

impl Marked<'_> {
    pub(super) fn enter(&self, args: &mut Args) {
        args.long(self.place.address()).raw(self.expected);
    }
}

/// The key of one tensor.
pub struct DeriveJob<'a> {
    /// The DEK.
    pub key: Secret,
    /// The salt of its message.
    pub salt: &'a [u8; 24],
    /// What the manifest says of key, salt and context.
    pub commitment: &'a [u8; 32],
    /// The context.
    pub context: &'a [u8],
    /// Where its schedule goes.
    pub schedule: Secret,
}

/// Where plaintext goes.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// Weights: guarded memory.
    Weights(Secret),
    /// Tensor 0, the header with names and shapes, which the measured code has to read.
    Header(Public),
}

impl Target {
    fn address(&self) -> u64 {
        match self {
            Self::Weights(place) => place.address(),
            Self::Header(place) => place.address(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Weights(place) => place.bytes(),
            Self::Header(place) => place.bytes(),
        }
    }
}

/// A run of chunks of one tensor.
#[derive(Clone, Copy, Debug)]
pub struct OpenJob {
    /// The tensor's schedule.
    pub schedule: Secret,
    /// The chunks as sealed, tags behind them.
    pub sealed: Public,
    /// Where the plaintext of these chunks goes.
    pub plain: Target,
    /// A word for each chunk of the run.
    pub status: Public,
    /// The number of the first chunk.
    pub first: u64,
}

/// What a settled tensor is.
pub type Verdict = Result<(), ChunkError>;

impl OpenJob {
    fn args(&self) -> Result<TensorArgs, DeviceError> {
        let chunks = self.sealed.bytes().div_ceil(STRIDE_BYTES);
        let plain = self.sealed.bytes().checked_sub(chunks * TAG_BYTES);
        let fits = plain == Some(self.plain.bytes()) && self.status.bytes() == 4 * chunks;
        if !fits || self.schedule.bytes() != SCHEDULE_BYTES {
            let (bytes, room) = (self.sealed.bytes(), self.plain.bytes());
            return Err(DeviceError::OutOfBounds { bytes, room });
        }
        Ok(TensorArgs {
            schedule: self.schedule.address(),
            sealed: self.sealed.address(),
            tags: 0,
            plain: self.plain.address(),
            status: self.status.address(),
            bytes: self.plain.bytes() as u64,
            first: self.first,
            chunks: chunks as u64,
            stride: STRIDE_BYTES as u64,
            plain_stride: CHUNK_BYTES as u64,
            tag_stride: TAG_BYTES as u64,
        })
    }
}

impl Desk {
    /// Derives keys, checks commitments, builds schedules. A schedule whose commitment is wrong opens
    /// nothing, and its tensor says so when it is settled. [SEAL-5]
    pub fn derive(&mut self, jobs: &[DeriveJob<'_>]) -> Result<(), DeviceError> {
        for jobs in jobs.chunks(DERIVE_AT_ONCE) {
            self.clear()?;
            let mut described = Args::default();
            for job in jobs {
                let (salt, context) = (self.put(job.salt)?, self.put(job.context)?);
                let expected = self.put(job.commitment)?;
                described.long(job.key.part(0, 32)?.address()).long(salt.address());
                described.long(context.address()).long(job.context.len() as u64);
                described.long(expected.address()).long(0);
                described.long(job.schedule.part(0, SCHEDULE_BYTES)?.address());
            }
            let described = self.put(described.bytes())?;
            let mut args = Args::default();
            args.long(described.address()).word(jobs.len() as u32).word(0);
            let (kernel, shared) = ("sc_derive", sizes::DERIVE_SPACE);
            let launch = Launch { kernel, blocks: jobs.len() as u32, threads: 32, shared };
            self.launch(&launch, &args)?;
        }
        self.clear()
    }

    /// Opens one run at once, for tensor 0. [SEAL-4]
    pub fn open_now(&mut self, job: OpenJob, marked: &Marked<'_>) -> Result<(), DeviceError> {
        let described = describe(&[job])?;
        let (tensors, tiles) =
            (self.put(described.tensors.bytes())?, self.put(described.tiles.bytes())?);
        let (launch, args) = described.launch(&self.stream, tensors, tiles, marked);
        self.launch(&launch, &args)
    }

    /// The verdict over whole tensors: all of it, or zeros. [SEAL-7] [SEAL-9]
    pub fn settle(&mut self, jobs: &[OpenJob]) -> Result<Vec<Verdict>, DeviceError> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        for jobs in jobs.chunks(SETTLE_AT_ONCE) {
            let mut tensors = Args::default();
            for job in jobs {
                // The sealed bytes are gone by now: their place counts for nothing here.
                write_tensor(&mut tensors, &job.settle_args());
            }
            let tensors = self.put(tensors.bytes())?;
            let settled = self.room(jobs.len() * sizes::SETTLED)?;
            let mut args = Args::default();
            args.long(tensors.address()).long(settled.address());
            let (kernel, blocks) = ("sc_settle", jobs.len() as u32);
            let launch = Launch { kernel, blocks, threads: 256, shared: 1024 };
            self.launch(&launch, &args)?;
            let mut bytes = vec![0; settled.bytes()];
            self.fetch(settled, &mut bytes)?;
            verdicts
                .extend(bytes.chunks_exact(sizes::SETTLED).map(|one| Settled::read(one).verdict()));
        }
        Ok(verdicts)
    }
}

impl OpenJob {
    /// For a whole tensor: `status` has a word for each of its chunks.
    fn settle_args(&self) -> TensorArgs {
        TensorArgs {
            schedule: self.schedule.address(),
            sealed: 0,
            tags: 0,
            plain: self.plain.address(),
            status: self.status.address(),
            bytes: self.plain.bytes() as u64,
            first: 0,
            chunks: (self.status.bytes() / 4) as u64,
            stride: STRIDE_BYTES as u64,
            plain_stride: CHUNK_BYTES as u64,
            tag_stride: TAG_BYTES as u64,
        }
    }
}

impl Slot {
    /// Opens what was copied into the slot, when it has arrived. The grid is persistent: as many
    /// blocks as multiprocessors, each taking tile after tile.
    pub fn open(&mut self, jobs: &[OpenJob], marked: &Marked<'_>) -> Result<(), DeviceError> {
        let described = describe(jobs)?;
        let tensors = self.put(described.tensors.bytes())?;
        let tiles = self.put(described.tiles.bytes())?;
        self.send()?;
        let (launch, args) = described.launch(self.opening(), tensors, tiles, marked);
        self.opening().context().launch(self.opening(), &launch, args.bytes())?;
        self.opened()
    }
}

struct Described {
    tensors: Args,
    tiles: Args,
    count: u32,
    last: u32,
}

fn describe(jobs: &[OpenJob]) -> Result<Described, DeviceError> {
    let (mut tensors, mut tiles, mut tile) = (Args::default(), Args::default(), 0u64);
    for job in jobs {
        let args = job.args()?;
        write_tensor(&mut tensors, &args);
        tiles.word(tile as u32);
        tile += args.chunks.div_ceil(GCM_WARPS);
    }
    tiles.word(tile as u32);
    Ok(Described { tensors, tiles, count: jobs.len() as u32, last: tile as u32 })
}

impl Described {
    fn launch(
        &self,
        stream: &super::Stream,
        tensors: Public,
        tiles: Public,
        marked: &Marked<'_>,
    ) -> (Launch, Args) {
        let mut args = Args::default();
        args.long(tensors.address()).long(tiles.address()).word(self.count).word(0);
        marked.enter(&mut args);
        let blocks = stream.context().blocks().min(self.last).max(1);
        let shared = stream.context().tables().shared();
        (Launch { kernel: "sc_open_chunks", blocks, threads: GCM_THREADS, shared }, args)
    }
}

fn write_tensor(to: &mut Args, t: &TensorArgs) {
    for field in [t.schedule, t.sealed, t.tags, t.plain, t.status, t.bytes, t.first] {
        to.long(field);
    }
    for field in [t.chunks, t.stride, t.plain_stride, t.tag_stride, 0] {
        to.long(field);
    }
}

impl Tables {
    /// Shared memory of the kernels that open and seal.
    pub(super) fn shared(self) -> u32 {
        match self {
            Self::Four => sizes::GCM_SHARED_FOUR,
            Self::One => sizes::GCM_SHARED_ONE,
        }
    }
}

/// What a status word means for a tensor whose kernel has not run: nothing good.
const _: () = assert!(status::DONE != 0);
const GCM_THREADS: u32 = 512;
const GCM_WARPS: u64 = 16;
/// BOUND: what fits a desk of 4 MiB with contexts of two KiB.
const DERIVE_AT_ONCE: usize = 512;
const SETTLE_AT_ONCE: usize = 1024;
