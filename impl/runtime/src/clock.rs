//! The one clock that machines are told about: monotonic, counting suspend, in milliseconds.
//!
//! Chapter 50. An instant read here is never below one read before it, and a night spent suspended
//! is a night on it, so a lease cannot outlive its term in a sleeping machine. [LEA-1]
//! Wall time is not here; it belongs to appraisal.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use split_custody_protocol::time::{Instant, Span};
use tokio::sync::watch;

/// Reads time and waits for it.
pub trait Clock: Clone + Send + Sync + 'static {
    fn now(&self) -> Instant;

    /// Returns when `now` is at or after `at`.
    fn wait_until(&self, at: Instant) -> impl Future<Output = ()> + Send;
}

/// `CLOCK_BOOTTIME`.
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Instant {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid `timespec` that outlives the call.
        let code = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
        // A kernel without this clock gives no lease any meaning.
        assert_eq!(code, 0, "the kernel has CLOCK_BOOTTIME");
        let millis = |value: i64| u64::try_from(value).unwrap_or(0);
        Instant::from_millis(millis(time.tv_sec) * 1000 + millis(time.tv_nsec) / 1_000_000)
    }

    async fn wait_until(&self, at: Instant) {
        loop {
            let left = at.since(self.now());
            if left == Span::ZERO {
                return;
            }
            // The timer underneath stops in suspend; a short leg notices the time that passed.
            tokio::time::sleep(Duration::from_millis(left.as_millis()).min(LONGEST_LEG)).await;
        }
    }
}

/// A clock that a test moves; it stands still otherwise.
#[derive(Clone, Debug)]
pub struct ManualClock {
    time: Arc<watch::Sender<Instant>>,
}

impl ManualClock {
    pub fn starting_at(at: Instant) -> Self {
        Self { time: Arc::new(watch::Sender::new(at)) }
    }

    pub fn advance(&self, by: Span) {
        self.time.send_modify(|now| *now = now.after(by));
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        *self.time.borrow()
    }

    async fn wait_until(&self, at: Instant) {
        // INVARIANT: `self` holds the sender, so the wait ends only when the time has come.
        let _ = self.time.subscribe().wait_for(|now| *now >= at).await;
    }
}

const LONGEST_LEG: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lea_1_boot_clock_does_not_go_back() {
        let (first, second) = (BootClock.now(), BootClock.now());
        assert!(first > Instant::from_millis(0) && second >= first);
    }

    #[tokio::test]
    async fn lea_1_manual_clock_wakes_those_who_wait() {
        let clock = ManualClock::starting_at(Instant::from_millis(10));
        let waiter = clock.clone();
        let waiting =
            tokio::spawn(async move { waiter.wait_until(Instant::from_millis(30)).await });
        clock.advance(Span::from_millis(20));
        tokio::time::timeout(Duration::from_secs(5), waiting).await.expect("in time").expect("ran");
    }
}
