//! Feeding the GPU: threads fill slots from the file, and one sends them in order as they are full.
//!
//! A PCIe 5 slot takes more bytes in a second than one core copies, so as many slots are being filled as
//! there are threads, each by one of them, while [`SPARE`] more travel and are opened.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use split_custody_kernels::resident::{Marked, OpenJob, Public, Ring, Slot};
use split_custody_kernels::{STRIDE_BYTES, TAG_BYTES};
use split_custody_weights::{Reader, TagDigest, Threads, tags_of};

use crate::backend::Load;
use crate::cuda::load::Plan;
use crate::error::GpuError;
use crate::loader::Progress;

/// From the file to the GPU.
pub(super) struct Feed<'a> {
    pub(super) filling: Filling<'a>,
    pub(super) load: &'a Load<'a>,
    pub(super) marked: &'a Marked<'a>,
}

/// What the threads that fill slots share.
pub(super) struct Filling<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) reader: &'a Reader,
    pub(super) words: Public,
}

/// Where the time of a load went.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LoadReport {
    /// Before the first slot: header, memory zeroed and seen to be zero, keys derived, pinned memory.
    pub prepared: Duration,
    /// From the first slot to the last verdict of the GPU.
    pub fed: Duration,
    /// Of that, how long nothing was sent since no slot was full,
    pub file: Duration,
    /// and how long nothing was asked for since the GPU had every slot.
    pub gpu: Duration,
    /// Verdicts over whole tensors, root, schedules erased, mark compared.
    pub settled: Duration,
}

/// Runs something, and adds how long it took.
fn timed<T>(total: &mut Duration, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = run();
    *total += begun.elapsed();
    done
}

/// What a slot takes: runs of chunks of tensors, in order.
type Batch = Vec<(usize, Range<u64>)>;

/// A slot to be filled, with its number in the order of the file.
struct Empty {
    number: usize,
    slot: Slot,
    batch: Batch,
}

/// A slot that was filled, and what is in it.
struct Full {
    number: usize,
    slot: Slot,
    runs: Vec<Run>,
}

/// A run of chunks in a slot.
struct Run {
    job: OpenJob,
    tags: Vec<[u8; 16]>,
    /// Whether it is the end of its tensor.
    last: bool,
}

impl Feed<'_> {
    /// Sends everything, slot by slot; gives the digest of each tensor's tags.
    pub(super) fn run(
        &self,
        ring: &mut Ring,
        report: &mut LoadReport,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Vec<[u8; 32]>, GpuError> {
        let batches = self.filling.batches(ring.slot_bytes());
        let Threads(threads) = self.load.threads;
        let threads = threads.get().min(batches.len()).min(THREADS_MAX);
        ring.grow((threads + SPARE).min(batches.len()))?;
        let (empty, asked) = channel();
        let (filled, full) = channel();
        let (asked, filling) = (&Mutex::new(asked), &self.filling);
        thread::scope(|scope| {
            for _ in 0..threads {
                let filled = filled.clone();
                scope.spawn(move || filling.serve(asked, &filled));
            }
            // However this ends, `empty` goes with it, and then the threads end.
            self.send_all(ring, batches, threads, (empty, &full), report, is_stopped)
        })
    }

    fn send_all(
        &self,
        ring: &mut Ring,
        batches: Vec<Batch>,
        threads: usize,
        (empty, full): (Sender<Empty>, &Receiver<Result<Full, GpuError>>),
        report: &mut LoadReport,
        is_stopped: impl Fn() -> bool,
    ) -> Result<Vec<[u8; 32]>, GpuError> {
        let (count, mut batches) = (batches.len(), batches.into_iter().enumerate());
        let (mut early, mut filling) = (BTreeMap::new(), 0);
        let mut sent = Sent::new(self.filling.plan);
        for next in 0..count {
            if is_stopped() {
                return Err(GpuError::Interrupted); // [LEA-5] [RST-3]
            }
            while filling < threads
                && batches.len() > 0
                && let Some(slot) = timed(&mut report.gpu, || ring.take())?
                && let Some((number, batch)) = batches.next()
            {
                // INVARIANT: the threads take what they are given until `empty` goes.
                empty.send(Empty { number, slot, batch }).expect("a thread that fills");
                filling += 1;
            }
            while !early.contains_key(&next) {
                // INVARIANT: the slot of `next` was given out, and threads answer for each.
                let full = timed(&mut report.file, || full.recv());
                let full = full.expect("a thread that fills")?;
                filling -= 1;
                early.insert(full.number, full);
            }
            if let Some(Full { mut slot, runs, .. }) = early.remove(&next) {
                let jobs: Vec<OpenJob> = runs.iter().map(|run| run.job).collect();
                slot.open(&jobs, self.marked)?;
                ring.give(slot);
                runs.iter().for_each(|run| sent.absorb(run));
                (self.load.progress)(Progress { opened: sent.opened, total: sent.total });
            }
        }
        Ok(sent.digests)
    }
}

/// What was sent so far.
struct Sent {
    opened: u64,
    total: u64,
    digests: Vec<[u8; 32]>,
    digest: TagDigest,
}

impl Sent {
    fn new(plan: &Plan<'_>) -> Self {
        let total = plan.regions.iter().map(|region| region.length as u64).sum();
        Self { opened: 0, total, digests: Vec::new(), digest: TagDigest::default() }
    }

    fn absorb(&mut self, run: &Run) {
        self.digest.absorb_tags(&run.tags);
        self.opened += (run.job.sealed.bytes() - TAG_BYTES * run.tags.len()) as u64;
        if run.last {
            self.digests.push(std::mem::take(&mut self.digest).finish());
        }
    }
}

impl Filling<'_> {
    /// Fills slots until no more come.
    fn serve(&self, asked: &Mutex<Receiver<Empty>>, filled: &Sender<Result<Full, GpuError>>) {
        let next = || asked.lock().unwrap_or_else(PoisonError::into_inner).recv();
        while let Ok(empty) = next() {
            if filled.send(self.fill(empty)).is_err() {
                return;
            }
        }
    }

    fn fill(&self, Empty { number, mut slot, batch }: Empty) -> Result<Full, GpuError> {
        let fill = |(tensor, chunks): (usize, Range<u64>)| {
            let (pinned, sealed) = slot.fill(self.plan.sealed_bytes(tensor, &chunks))?;
            let read = self.reader.read_run(tensor as u32 + 1, chunks.clone(), pinned);
            read.map_err(GpuError::NotLoaded)?;
            Ok(Run {
                tags: tags_of(pinned).copied().collect(),
                last: chunks.end == self.plan.all(tensor),
                job: self.plan.run_job(tensor, chunks, sealed, self.words)?,
            })
        };
        let runs = batch.into_iter().map(fill).collect::<Result<_, GpuError>>()?;
        Ok(Full { number, slot, runs })
    }

    /// All of the file, in its order, as slots of so many bytes take it.
    fn batches(&self, slot_bytes: usize) -> Vec<Batch> {
        let (mut batches, mut batch, mut room) = (Vec::new(), Batch::new(), slot_bytes);
        for tensor in 0..self.plan.tensors() {
            let (mut at, all) = (0, self.plan.all(tensor));
            while at < all {
                let fits = ((room / STRIDE_BYTES) as u64).min(all - at);
                if fits == 0 || batch.len() == RUNS_MAX {
                    batches.push(std::mem::take(&mut batch));
                    room = slot_bytes;
                    continue;
                }
                let run = (tensor, at..at + fits);
                room = room.saturating_sub(self.aligned(&run));
                batch.push(run);
                at += fits;
            }
        }
        batches.push(batch);
        batches.retain(|batch| !batch.is_empty());
        batches
    }

    fn aligned(&self, (tensor, chunks): &(usize, Range<u64>)) -> usize {
        self.plan.sealed_bytes(*tensor, chunks).next_multiple_of(256)
    }
}

/// Slots that travel or are opened while all threads fill others.
const SPARE: usize = 6;
/// BOUND: pinned memory: 22 slots at most.
const THREADS_MAX: usize = 16;
/// BOUND: descriptions of runs fit behind a slot.
const RUNS_MAX: usize = 1024;
