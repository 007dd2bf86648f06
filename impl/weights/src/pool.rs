//! Runs of chunks, worked on by many threads and accounted for in order.
//!
//! Chapter 15. Runs are handed out in file order, and no further than a window beyond the oldest
//! that is unfinished, so memory stays bounded whatever a tensor's size. When [`Queue::drive`]
//! returns `Ok`, every run was worked on once, and the tags were hashed in order. [SEAL-9]
//! The error it returns is that of the earliest run that failed, on any number of threads.

use std::collections::BTreeMap;
use std::mem;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use ring::digest::{Context, SHA256};
use split_custody_kernels::{Layout, Tag};

use crate::error::WeightsError;
use crate::ids::Threads;

/// Chunks in a full run: 512 KiB of plaintext, which a core keeps in its own cache.
pub(crate) const RUN_CHUNKS: u64 = 32;

/// A piece of work: some chunks of one tensor.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    ordinal: u64,
    /// Position in the layouts that the queue was made from.
    pub tensor: usize,
    pub chunks: Range<u64>,
    last: bool,
}

/// The runs of some messages, in order.
#[derive(Clone)]
pub(crate) struct Runs<'a> {
    layouts: &'a [Layout],
    tensor: usize,
    chunk: u64,
    ordinal: u64,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let chunks = self.layouts.get(self.tensor)?.chunks();
        let end = chunks.min(self.chunk + RUN_CHUNKS);
        let last = end == chunks;
        let run = Run { ordinal: self.ordinal, tensor: self.tensor, chunks: self.chunk..end, last };
        self.ordinal += 1;
        (self.tensor, self.chunk) = if last { (self.tensor + 1, 0) } else { (self.tensor, end) };
        Some(run)
    }
}

/// SHA-256 over the tags of each message, by position.
pub(crate) type TagDigests = Vec<[u8; 32]>;

/// Work to hand out, and results to put in order.
pub(crate) struct Queue<'a> {
    layouts: &'a [Layout],
    state: Mutex<State<'a>>,
    moved: Condvar,
    window: u64,
    threads: usize,
}

struct State<'a> {
    runs: Runs<'a>,
    drained: u64,
    parked: BTreeMap<u64, (Run, Vec<Tag>)>,
    hash: Context,
    digests: TagDigests,
    failed: Option<(u64, WeightsError)>,
    stopped: bool,
}

impl<'a> Queue<'a> {
    /// All runs of `layouts`, for at most `threads` threads.
    pub fn new(layouts: &'a [Layout], threads: Threads) -> Self {
        let total: u64 = layouts.iter().map(|l| l.chunks().div_ceil(RUN_CHUNKS)).sum();
        let threads = threads.0.get().min(usize::try_from(total).unwrap_or(usize::MAX)).max(1);
        let state = State {
            runs: Runs { layouts, tensor: 0, chunk: 0, ordinal: 0 },
            drained: 0,
            parked: BTreeMap::new(),
            hash: Context::new(&SHA256),
            digests: Vec::with_capacity(layouts.len()),
            failed: None,
            stopped: false,
        };
        let window = 8 * threads as u64;
        Self { layouts, state: Mutex::new(state), moved: Condvar::new(), window, threads }
    }

    /// Works until every run is done or one has failed. Each thread makes its own worker.
    pub fn drive<W>(&self, worker: impl Fn() -> W + Sync) -> Result<TagDigests, WeightsError>
    where
        W: FnMut(&Run, &mut Vec<Tag>) -> Result<(), WeightsError>,
    {
        thread::scope(|scope| {
            for _ in 1..self.threads {
                scope.spawn(|| self.work(worker()));
            }
            self.work(worker());
        });
        let mut state = self.lock();
        match state.failed.take() {
            Some((_, error)) => Err(error),
            None => Ok(mem::take(&mut state.digests)),
        }
    }

    /// The runs that were handed out so far, for whoever must undo them.
    pub fn taken(&self) -> impl Iterator<Item = Run> + use<'a> {
        let taken = self.lock().runs.ordinal;
        Runs { layouts: self.layouts, tensor: 0, chunk: 0, ordinal: 0 }
            .take_while(move |r| r.ordinal < taken)
    }

    fn work(&self, mut worker: impl FnMut(&Run, &mut Vec<Tag>) -> Result<(), WeightsError>) {
        let _stop = StopOnPanic(self);
        while let Some(run) = self.take() {
            let mut tags = Vec::with_capacity(RUN_CHUNKS as usize);
            match worker(&run, &mut tags) {
                Ok(()) => self.done(run, tags),
                Err(error) => self.fail(&run, error),
            }
        }
    }

    fn take(&self) -> Option<Run> {
        let mut state = self.lock();
        // INVARIANT: whoever holds the oldest unfinished run is not waiting here, so the window moves.
        while !state.stopped && state.runs.ordinal - state.drained >= self.window {
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped { None } else { state.runs.next() }
    }

    fn done(&self, run: Run, tags: Vec<Tag>) {
        let mut state = self.lock();
        state.parked.insert(run.ordinal, (run, tags));
        while let Some((run, tags)) = {
            let next = state.drained;
            state.parked.remove(&next)
        } {
            state.drained += 1;
            tags.iter().for_each(|t| state.hash.update(&t.0));
            if run.last {
                let hash = mem::replace(&mut state.hash, Context::new(&SHA256));
                let mut digest = [0; 32];
                digest.copy_from_slice(hash.finish().as_ref());
                state.digests.push(digest);
            }
        }
        self.moved.notify_all();
    }

    fn fail(&self, run: &Run, error: WeightsError) {
        let mut state = self.lock();
        state.stopped = true;
        if state.failed.as_ref().is_none_or(|(ordinal, _)| run.ordinal < *ordinal) {
            state.failed = Some((run.ordinal, error));
        }
        self.moved.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that panics must not leave the others waiting for its run.
struct StopOnPanic<'q, 'a>(&'q Queue<'a>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.lock().stopped = true;
            self.0.moved.notify_all();
        }
    }
}
