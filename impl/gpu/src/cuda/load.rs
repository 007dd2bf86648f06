//! Loading: ciphertext flows from the file through pinned memory to the GPU, and is opened there while
//! the next chunks travel.
//!
//! Chapters 15 and 70. A tensor is ready when every chunk's status word says so and the root of the
//! manifest agrees; the load is complete only whole. On any error the memory that was opened into is
//! zeroed, seen to be zero, and given back. [RST-5] [SEAL-9]

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::Instant;

use split_custody_kernels::STRIDE_BYTES;
use split_custody_kernels::resident::{
    DeriveJob, Desk, Guarded, Open, OpenJob, Public, Ring, SCHEDULE_BYTES, Secret, Target,
};
use split_custody_weights::{Header, Reader, SealedMessage, TagDigest};
use zeroize::Zeroizing;

use crate::backend::{Load, TensorInfo};
use crate::cuda::feed::{Feed, Filling, LoadReport};
use crate::cuda::life::{Hold, Inner, lock};
use crate::cuda::watch;
use crate::cuda::weights::{Region, Weights, lay_out};
use crate::error::GpuError;
use crate::incarnation::Mark;
use crate::loader::describe;

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
            let mut timing = Timing { begun: Instant::now(), report: LoadReport::default() };
            let header = open_header(hold, mark, load, &reader)?;
            let loaded = self.fill(hold, mark, load, (&reader, &header), &mut timing);
            *lock(&self.last_load) = Some(timing.ended());
            loaded
        })
    }

    fn fill(
        &self,
        hold: &mut Hold,
        mark: &Mark,
        load: &Load<'_>,
        (reader, header): (&Reader, &Header),
        timing: &mut Timing,
    ) -> Result<Vec<TensorInfo>, GpuError> {
        let tensors: Vec<TensorInfo> = header.tensors().into_iter().map(describe).collect();
        let needed = tensors.iter().fold(0u64, |sum, t| sum.saturating_add(t.length));
        let too_much = |limit| GpuError::OutOfMemory { needed, limit };
        let placed = lay_out(&tensors).filter(|(_, bytes)| *bytes as u64 <= self.config.limit);
        let (regions, bytes) = placed.ok_or_else(|| too_much(self.config.limit))?;
        let room = bytes + SCHEDULE_BYTES * tensors.len();
        make_room(hold, room).map_err(|free| too_much(free.unwrap_or(0)))?;
        let parts = (reader, header, regions.as_slice());
        let loaded = self.open_all(hold, mark, load, parts, timing);
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
        (reader, header, regions): (&Reader, &Header, &[Region]),
        timing: &mut Timing,
    ) -> Result<(), GpuError> {
        // What is opened into was found to be zero. [RST-5]
        hold.zero_weights()?;
        hold.verify_weights()?;
        let marked = hold.marked(mark)?;
        let dek = dek(hold, load)?;
        let Hold { weights, ring, desk, context, .. } = hold;
        let weights = weights.as_ref().ok_or(GpuError::NoModel)?;
        let plan = Plan::new((reader, header), weights, regions)?;
        plan.derive(desk, dek)?; // [SEAL-5]
        let words = Open::allocate(context, 4 * plan.chunks().max(1))?;
        // A ring that a load failed in is not used again.
        let mut used = match ring.take() {
            Some(used) => used,
            None => Ring::new(context, slot_bytes(context.free_memory()?))?,
        };
        let filling = Filling { plan: &plan, reader, words: words.whole() };
        let feed = Feed { filling, load, marked: &marked };
        timing.report.prepared = timing.begun.elapsed();
        let tags = feed.run(&mut used, &mut timing.report, || self.is_stopped(load))?;
        used.finish()?;
        timing.report.fed = timing.begun.elapsed().saturating_sub(timing.report.prepared);
        *ring = Some(used);
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

/// The time of a load, as it goes.
struct Timing {
    begun: Instant,
    report: LoadReport,
}

impl Timing {
    fn ended(self) -> LoadReport {
        let before = self.report.prepared + self.report.fed;
        LoadReport { settled: self.begun.elapsed().saturating_sub(before), ..self.report }
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
pub(super) struct Plan<'a> {
    messages: Vec<SealedMessage>,
    places: Vec<Secret>,
    schedules: Secret,
    /// The first status word of each tensor, and of all of them.
    firsts: Vec<usize>,
    pub(super) regions: &'a [Region],
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

    pub(super) fn tensors(&self) -> usize {
        self.messages.len()
    }

    /// Bytes of a run of chunks as sealed.
    pub(super) fn sealed_bytes(&self, tensor: usize, chunks: &Range<u64>) -> usize {
        let range = self.messages[tensor].layout.ciphertext_range(chunks);
        (range.end - range.start) as usize
    }

    /// How many chunks a tensor has.
    pub(super) fn all(&self, tensor: usize) -> u64 {
        self.messages[tensor].layout.chunks()
    }

    pub(super) fn run_job(
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

/// Slots of 8 MiB, less where the GPU has little memory.
fn slot_bytes(free: u64) -> usize {
    const LEAST: u64 = 4 * STRIDE_BYTES as u64;
    usize::try_from((free / 512).clamp(LEAST, 8 << 20)).unwrap_or(LEAST as usize)
}
