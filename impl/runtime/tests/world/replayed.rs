//! The end of a test: its processes' logs, as enabled actions of the model's world.

use std::thread;

use split_custody_model_check::replay::replay;
use split_custody_runtime::record::read_log;
use split_custody_runtime::trace_types::Entry;

use super::{Log, UNLOGGED, World};

/// Whether a world's logs were replayed, or said not to be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Finished {
    No,
    Yes,
}

impl World {
    /// Stops every process and replays all logs; an event that is not one of the model, or that is
    /// left over, fails.
    pub async fn finish(mut self) {
        // A turn is written down in one go, so whatever a log holds now, its causes are in another.
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        for task in std::mem::take(&mut self.tasks) {
            let ended = task.await;
            assert!(ended.as_ref().is_err_and(|end| end.is_cancelled()), "{ended:?}");
        }
        self.finished = Finished::Yes;
        match self.log {
            Log::Kept => self.replay(),
            Log::Off(test) => {
                let reason = UNLOGGED.iter().find(|(name, _)| *name == test);
                let (_, reason) = reason.unwrap_or_else(|| panic!("no reason for `{test}`"));
                println!("not replayed: {reason}");
            }
        }
    }

    fn replay(&self) {
        let roles = ["device", "custodian-1", "custodian-2", "custodian-3"];
        let logs: Vec<Vec<Entry>> = roles
            .iter()
            .map(|role| read_log(&self.folder.path().join(format!("{role}.jsonl"))))
            .collect::<Result<_, _>>()
            .expect("every process keeps a log");
        assert!(logs.iter().all(|log| !log.is_empty()), "a process logged nothing");
        let replayed = replay(&logs, &self.setup).unwrap_or_else(|parted| panic!("{parted}"));
        let written: usize = logs.iter().map(Vec::len).sum();
        assert_eq!(replayed.events, written);
        // All of them serve, so there was a release to compare.
        assert!(replayed.frames >= 10, "only {} frames", replayed.frames);
        println!("{written} events, {} frames", replayed.frames);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let is_failing = thread::panicking();
        assert!(self.finished == Finished::Yes || is_failing, "`World::finish` was not called");
    }
}
