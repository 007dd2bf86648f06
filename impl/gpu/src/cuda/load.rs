//! Loading: ciphertext flows from the file through pinned memory to the GPU, and is opened there while
//! the next chunks travel.
//!
//! Chapters 15 and 70. A tensor is ready when every chunk's status word says so and the root of the
//! manifest agrees; the load is complete only whole. On any error the memory that was opened into is
//! zeroed, seen to be zero, and given back. [RST-5] [SEAL-9]

use std::ops::Range;
use std::sync::atomic::Ordering;

use split_custody_kernels::resident::{
    DeriveJob, Desk, Guarded, Marked, Open, OpenJob, Public, Ring, SCHEDULE_BYTES, Secret, Slot,
    Target,
};
use split_custody_kernels::{CHUNK_BYTES, STRIDE_BYTES, TAG_BYTES};
use split_custody_weights::{Header, Reader, SealedMessage, TagDigest, Threads};
use zeroize::Zeroizing;

use crate::backend::{Load, TensorInfo};
use crate::cuda::life::{Hold, Inner};
use crate::cuda::watch;
use crate::cuda::weights::{Region, Weights, lay_out};
use crate::error::GpuError;
use crate::incarnation::Mark;
use crate::loader::{Progress, describe};

impl Inner {
    /// Opens a sealed file, whole or not at all.
    pub(super) fn load(&self, load: &Load<'_>) -> Result<Vec<TensorInfo>, GpuError> {
        self.clean(|hold, mark| {
            // INVARIANT: lowered before the mark is checked; a zeroise after the check raises it again.
            self.stop.store(false, Ordering::SeqCst);
            hold.check_mark(mark)?; // [RST-5]
            if self.gate.is_tripped() {
                return Err(GpuError::Interrupted);
            }
            if hold.weights.as_ref().is_some_and(|weights| weights.model.is_some()) {
                return Err(GpuError::Occupied);
            }
            let reader = Reader::open(load.sealed, load.table).map_err(GpuError::NotLoaded)?;
            let header = open_header(hold, mark, load, &reader)?;
            self.fill(hold, mark, load, &reader, &header)
        })
    }

    fn fill(
        &self,
        hold: &mut Hold,
        mark: &Mark,
        load: &Load<'_>,
        reader: &Reader,
        header: &Header,
    ) -> Result<Vec<TensorInfo>, GpuError> {
        let tensors: Vec<TensorInfo> = header.tensors().into_iter().map(describe).collect();
        let needed = tensors.iter().fold(0u64, |sum, t| sum.saturating_add(t.length));
        let too_much = |limit| GpuError::OutOfMemory { needed, limit };
        let placed = lay_out(&tensors).filter(|(_, bytes)| *bytes as u64 <= self.config.limit);
        let (regions, bytes) = placed.ok_or_else(|| too_much(self.config.limit))?;
        let room = bytes + SCHEDULE_BYTES * tensors.len();
        make_room(hold, room).map_err(|free| too_much(free.unwrap_or(0)))?;
        let loaded = self.open_all(hold, mark, load, (reader, header), &regions);
        if loaded.is_err() {
            // What was opened goes now, and nobody sees it before. [SEAL-9]
            hold.zero_weights()?;
            hold.verify_weights()?;
        } else if let Some(weights) = &mut hold.weights {
            weights.model = Some(regions);
        }
        loaded.map(|()| tensors)
    }

    fn open_all(
        &self,
        hold: &mut Hold,
        mark: &Mark,
        load: &Load<'_>,
        (reader, header): (&Reader, &Header),
        regions: &[Region],
    ) -> Result<(), GpuError> {
        // What is opened into was found to be zero. [RST-5]
        hold.zero_weights()?;
        hold.verify_weights()?;
        let marked = hold.marked(mark)?;
        let dek = dek(hold, load)?;
        let Hold { weights, desk, context, .. } = hold;
        let weights = weights.as_ref().ok_or(GpuError::NoModel)?;
        let plan = Plan::new((reader, header), weights, regions)?;
        plan.derive(desk, dek)?; // [SEAL-5]
        let words = Open::allocate(context, 4 * plan.chunks().max(1))?;
        let slot_bytes = slot_bytes(context.free_memory()?);
        let mut ring = Ring::new(context, SLOTS, slot_bytes)?;
        let mut way = Way { plan: &plan, load, marked: &marked, words: words.whole(), reader };
        let tags = way.run(&mut ring, || self.is_stopped(load))?;
        ring.finish()?;
        if self.is_stopped(load) {
            return Err(GpuError::Interrupted);
        }
        desk.clear()?;
        let jobs = plan.jobs(words.whole())?;
        for (index, verdict) in (1u32..).zip(desk.settle(&jobs)?) {
            verdict.map_err(|error| not_opened(reader, error, index))?; // [SEAL-7]
        }
        reader.whole(header, tags).map_err(GpuError::NotLoaded)?; // [SEAL-9]
        // The schedules have done their work.
        desk.stream().zero(plan.schedules)?;
        desk.stream().finish()?;
        hold.check_mark(mark) // Memory may have been lost meanwhile. [RST-5]
    }

    fn is_stopped(&self, load: &Load<'_>) -> bool {
        self.stop.load(Ordering::SeqCst)
            || self.gate.is_tripped()
            || load.cancel.load(Ordering::SeqCst)
    }
}

/// Guarded memory of at least this size; on an error, how many bytes are free.
fn make_room(hold: &mut Hold, bytes: usize) -> Result<(), Option<u64>> {
    if hold.weights.as_ref().is_some_and(|weights| weights.memory.bytes() >= bytes) {
        return Ok(());
    }
    if let Some(small) = hold.weights.take() {
        watch::unguard(small.memory.whole());
    }
    let memory =
        Guarded::create(&hold.context, bytes).map_err(|_| hold.context.free_memory().ok())?;
    watch::guard(memory.whole());
    hold.weights = Some(Weights { memory, model: None });
    Ok(())
}

fn not_opened(reader: &Reader, error: split_custody_kernels::ChunkError, index: u32) -> GpuError {
    match error {
        split_custody_kernels::ChunkError::MarkMismatch => GpuError::Tamper, // [RST-2]
        error => GpuError::NotLoaded(reader.refused(error, index)),
    }
}

fn dek(hold: &Hold, load: &Load<'_>) -> Result<Secret, GpuError> {
    let dek = hold.keys.place(load.dek)?;
    if dek.bytes() == 32 { Ok(dek) } else { Err(GpuError::KeyLength { length: dek.bytes() }) }
}

/// Opens tensor 0, the only one that this process reads: names and shapes are in it. [SEAL-4]
fn open_header(
    hold: &mut Hold,
    mark: &Mark,
    load: &Load<'_>,
    reader: &Reader,
) -> Result<Header, GpuError> {
    let (message, dek) = (reader.header_message(), dek(hold, load)?);
    let chunks = message.layout.chunks();
    let sealed_range = message.layout.ciphertext_range(&(0..chunks));
    let mut sealed = vec![0; (sealed_range.end - sealed_range.start) as usize];
    reader.read_run(0, 0..chunks, &mut sealed).map_err(GpuError::NotLoaded)?;
    let mut tags = TagDigest::default();
    tags.absorb(&sealed);
    let place = Guarded::create(&hold.context, SCHEDULE_BYTES)?;
    let schedule = place.part(0, SCHEDULE_BYTES)?;
    let mut desk = Desk::new(&hold.context, 2 * sealed.len() + (64 << 10))?;
    desk.derive(&[job(&message, dek, schedule)])?; // [SEAL-5]
    let plain = desk.room(message.layout.plaintext_len() as usize)?;
    let (status, sealed) = (desk.room(4 * chunks as usize)?, desk.put(&sealed)?);
    let open = OpenJob { schedule, sealed, plain: Target::Header(plain), status, first: 0 };
    let marked = hold.marked(mark)?;
    desk.open_now(open, &marked)?;
    let verdict = desk.settle(&[open])?.pop().unwrap_or(Ok(()));
    desk.stream().zero(place.whole())?;
    verdict.map_err(|error| not_opened(reader, error, 0))?; // [SEAL-7]
    let mut bytes = Zeroizing::new(vec![0; plain.bytes()]);
    desk.fetch(plain, &mut bytes)?;
    reader.header_opened(bytes, &tags).map_err(GpuError::NotLoaded)
}

fn job(message: &SealedMessage, key: Secret, schedule: Secret) -> DeriveJob<'_> {
    let SealedMessage { salt, commitment, context, .. } = message;
    DeriveJob { key, salt, commitment, context, schedule }
}

/// Every tensor: its message, its place, its schedule, its status words.
struct Plan<'a> {
    messages: Vec<SealedMessage>,
    places: Vec<Secret>,
    schedules: Secret,
    /// The first status word of each tensor, and of all of them.
    firsts: Vec<usize>,
    regions: &'a [Region],
}

impl<'a> Plan<'a> {
    fn new(
        (reader, header): (&Reader, &Header),
        weights: &Weights,
        regions: &'a [Region],
    ) -> Result<Self, GpuError> {
        let count = regions.len();
        let messages = (1..=count as u32).map(|index| reader.message(header, index));
        let messages = messages.collect::<Result<Vec<_>, _>>().map_err(GpuError::NotLoaded)?;
        let places = regions.iter().map(|region| weights.place(region));
        let end = regions.last().map_or(0, |r| (r.offset + r.length).next_multiple_of(256));
        let mut firsts = vec![0];
        for message in &messages {
            firsts.push(firsts[firsts.len() - 1] + message.layout.chunks() as usize);
        }
        Ok(Self {
            places: places.collect::<Result<_, _>>()?,
            schedules: weights.memory.part(end, SCHEDULE_BYTES * count)?,
            messages,
            firsts,
            regions,
        })
    }

    fn chunks(&self) -> usize {
        self.firsts[self.firsts.len() - 1]
    }

    fn schedule(&self, tensor: usize) -> Result<Secret, GpuError> {
        Ok(self.schedules.part(SCHEDULE_BYTES * tensor, SCHEDULE_BYTES)?)
    }

    fn derive(&self, desk: &mut Desk, dek: Secret) -> Result<(), GpuError> {
        let jobs = (0..self.messages.len())
            .map(|tensor| Ok(job(&self.messages[tensor], dek, self.schedule(tensor)?)));
        Ok(desk.derive(&jobs.collect::<Result<Vec<_>, GpuError>>()?)?)
    }

    /// Whole tensors, for the verdicts.
    fn jobs(&self, words: Public) -> Result<Vec<OpenJob>, GpuError> {
        let whole = |tensor: usize| self.run_job(tensor, 0..self.all(tensor), words, words);
        (0..self.messages.len()).map(whole).collect()
    }

    fn all(&self, tensor: usize) -> u64 {
        self.messages[tensor].layout.chunks()
    }

    fn run_job(
        &self,
        tensor: usize,
        chunks: Range<u64>,
        sealed: Public,
        words: Public,
    ) -> Result<OpenJob, GpuError> {
        let plain = self.messages[tensor].layout.plaintext_range(&chunks);
        let (at, count) = (plain.start as usize, (chunks.end - chunks.start) as usize);
        let first_word = 4 * (self.firsts[tensor] + chunks.start as usize);
        Ok(OpenJob {
            schedule: self.schedule(tensor)?,
            sealed,
            plain: Target::Weights(self.places[tensor].part(at, plain.end as usize - at)?),
            status: words.part(first_word, 4 * count)?,
            first: chunks.start,
        })
    }
}

/// From the file to the GPU.
struct Way<'a> {
    plan: &'a Plan<'a>,
    load: &'a Load<'a>,
    marked: &'a Marked<'a>,
    words: Public,
    reader: &'a Reader,
}

/// What a slot takes: runs of chunks of tensors, in order.
type Batch = Vec<(usize, Range<u64>)>;

impl Way<'_> {
    /// Sends everything, slot by slot; gives the digest of each tensor's tags.
    fn run(
        &mut self,
        ring: &mut Ring,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Vec<[u8; 32]>, GpuError> {
        let total = self.plan.regions.iter().map(|region| region.length as u64).sum();
        let (mut digests, mut digest) = (Vec::new(), TagDigest::default());
        let (mut opened, mut next) = (0, (0, 0));
        while next.0 < self.plan.messages.len() {
            if is_stopped() {
                return Err(GpuError::Interrupted); // [LEA-5] [RST-3]
            }
            let slot = ring.slot()?;
            let batch = self.batch(slot, &mut next);
            let mut jobs = Vec::with_capacity(batch.len());
            for (tensor, chunks) in batch {
                let bytes = self.sealed_bytes(tensor, &chunks);
                let (pinned, sealed) = slot.fill(bytes)?;
                self.read(tensor, chunks.clone(), pinned)?;
                digest.absorb(pinned);
                if chunks.end == self.plan.all(tensor) {
                    digests.push(std::mem::take(&mut digest).finish());
                }
                let job = self.plan.run_job(tensor, chunks.clone(), sealed, self.words)?;
                opened += bytes as u64 - TAG_BYTES as u64 * (chunks.end - chunks.start);
                jobs.push(job);
            }
            slot.open(&jobs, self.marked)?;
            (self.load.progress)(Progress { opened, total });
        }
        Ok(digests)
    }

    /// As much as fits the slot, from `next` on.
    fn batch(&self, slot: &Slot, next: &mut (usize, u64)) -> Batch {
        let (mut batch, mut room) = (Batch::new(), slot.room());
        while next.0 < self.plan.messages.len() && batch.len() < RUNS_MAX {
            let left = self.plan.all(next.0) - next.1;
            let fits = ((room / STRIDE_BYTES) as u64).min(left);
            if fits == 0 {
                break;
            }
            let chunks = next.1..next.1 + fits;
            room = room.saturating_sub(self.sealed_bytes(next.0, &chunks).next_multiple_of(256));
            batch.push((next.0, chunks));
            *next = if fits == left { (next.0 + 1, 0) } else { (next.0, next.1 + fits) };
        }
        batch
    }

    fn sealed_bytes(&self, tensor: usize, chunks: &Range<u64>) -> usize {
        let range = self.plan.messages[tensor].layout.ciphertext_range(chunks);
        (range.end - range.start) as usize
    }

    /// Reads a run, with several threads where it is long.
    fn read(&self, tensor: usize, chunks: Range<u64>, out: &mut [u8]) -> Result<(), GpuError> {
        let Threads(threads) = self.load.threads;
        let index = tensor as u32 + 1;
        let each = (chunks.end - chunks.start).div_ceil(threads.get() as u64).max(CHUNKS_ALONE);
        let read = |chunks: Range<u64>, out: &mut [u8]| self.reader.read_run(index, chunks, out);
        std::thread::scope(|scope| {
            let (mut rest, mut at, mut reading) = (out, chunks.start, Vec::new());
            while at < chunks.end {
                let part = at..chunks.end.min(at + each);
                let (here, after) = rest.split_at_mut(self.sealed_bytes(tensor, &part));
                (rest, at) = (after, part.end);
                if at == chunks.end {
                    read(part, here)?;
                } else {
                    reading.push(scope.spawn(move || read(part, here)));
                }
            }
            // INVARIANT: reading does not panic.
            reading.into_iter().try_for_each(|thread| thread.join().expect("a read ends"))
        })
        .map_err(GpuError::NotLoaded)
    }
}

/// Slots of 8 MiB, less where the GPU has little memory.
fn slot_bytes(free: u64) -> usize {
    const LEAST: u64 = 4 * STRIDE_BYTES as u64;
    usize::try_from((free / 64).clamp(LEAST, 8 << 20)).unwrap_or(LEAST as usize)
}

const SLOTS: usize = 4;
/// BOUND: descriptions of runs fit behind a slot.
const RUNS_MAX: usize = 1024;
/// Chunks that one thread reads alone: a MiB.
const CHUNKS_ALONE: u64 = (1 << 20) / CHUNK_BYTES as u64;
