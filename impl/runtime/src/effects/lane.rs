//! Threads for work that blocks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// A queue with this many threads behind it: with one, jobs run in order. Ends when dropped.
pub(super) struct Lane<J> {
    jobs: Sender<J>,
}

impl<J: Send + 'static> Lane<J> {
    /// Each thread calls `work` with the queue until the queue ends.
    pub(super) fn start<W>(name: &str, threads: usize, work: W) -> io::Result<Self>
    where
        W: Fn(&Queue<J>) -> Option<()> + Clone + Send + 'static,
    {
        let (jobs, queue) = channel();
        let queue = Queue(Arc::new(Mutex::new(queue)));
        for _ in 0..threads.max(1) {
            let (queue, work) = (queue.clone(), work.clone());
            let run = move || while turn(&queue, &work).is_some() {};
            thread::Builder::new().name(name.to_owned()).spawn(run)?;
        }
        Ok(Self { jobs })
    }

    pub(super) fn put(&self, job: J) {
        // INVARIANT: threads outlive the sender. A job that is dropped answers by its promise.
        let _ = self.jobs.send(job);
    }
}

/// A job that panics breaks its own promise and nothing else.
fn turn<J>(queue: &Queue<J>, work: &impl Fn(&Queue<J>) -> Option<()>) -> Option<()> {
    catch_unwind(AssertUnwindSafe(|| work(queue))).unwrap_or(Some(()))
}

/// The threads' end of a lane.
pub(super) struct Queue<J>(Arc<Mutex<Receiver<J>>>);

impl<J> Queue<J> {
    /// The next job; `None` when the lane ended.
    pub(super) fn next(&self) -> Option<J> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    }

    /// The next job, if there is one already.
    pub(super) fn ready(&self) -> Option<J> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).try_recv().ok()
    }
}

impl<J> Clone for Queue<J> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
