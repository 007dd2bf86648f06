//! The trip: what happens when somebody tries to read device memory.
//!
//! Chapter 70. Uses are blocked first, so nothing new touches what is being wiped; then keys, then
//! weights are overwritten and seen to be zero; then the memory is unmapped and given back; then the
//! context ends, and with it whatever else there was. A step that fails ends the context by a trap
//! first. [RST-2] [RST-3] [RST-13] It does not begin a new life: the device machine does.

use std::fmt;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::cuda::life::{Hold, Inner, lock};
use crate::error::GpuError;

/// Why a device tripped.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Reason {
    /// Somebody asked this layer for guarded memory.
    Read,
    /// Foreign code in this process called the driver; the interposer saw it.
    ForeignRead {
        /// The call.
        call: String,
    },
    /// The mark was not in place.
    Mark,
    /// The driver failed: memory may be lost, or not be erased by the next call.
    Driver {
        /// What it said.
        why: String,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("a read was asked for"),
            Self::ForeignRead { call } => write!(f, "foreign code called `{call}`"),
            Self::Mark => f.write_str("the mark was not in place"),
            Self::Driver { why } => write!(f, "the driver failed: {why}"),
        }
    }
}

/// One step of a trip.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// No use begins, and those under way have ended.
    Block,
    /// Keys and the mark are overwritten.
    ZeroKeys,
    /// Weights are overwritten.
    ZeroWeights,
    /// Both were seen to be zero.
    Verify,
    /// The memory is unmapped and given back.
    Unmap,
    /// After a failed step: the context was ended from inside.
    Trap,
    /// The context is gone.
    Reset,
}

/// How a step went.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// Which.
    pub step: Step,
    /// How long it took.
    pub took: Duration,
    /// Why it failed.
    pub failed: Option<String>,
}

/// How a trip went.
#[derive(Clone, Debug)]
pub struct TripReport {
    /// Why it began.
    pub reason: Reason,
    /// What was done, in order.
    pub steps: Vec<StepReport>,
    /// From the attempt until the memory was unmapped and the context gone.
    pub took: Duration,
    /// Whether every byte was seen to be zero. If not, the next life's sweep is what erases it.
    pub scrubbed: bool,
}

impl TripReport {
    fn run<T>(&mut self, step: Step, run: impl FnOnce() -> Result<T, GpuError>) -> Option<T> {
        let begun = Instant::now();
        let done = run();
        let failed = done.as_ref().err().map(|error| crate::error::chain(error));
        self.steps.push(StepReport { step, took: begun.elapsed(), failed });
        done.ok()
    }

    /// Whether a step failed.
    pub fn failed(&self) -> bool {
        self.steps.iter().any(|step| step.failed.is_some())
    }
}

impl Inner {
    /// Trips, unless somebody did before. Returns when it is over, for whoever began it and for whoever
    /// came second: no caller goes on while memory is still there. [RST-13]
    pub(super) fn trip(&self, reason: Reason) {
        let first = self.gate.trip();
        let _one = lock(&self.tripping);
        if first {
            self.trip_first(reason);
        }
    }

    fn trip_first(&self, reason: Reason) {
        let begun = Instant::now();
        let watchdog = Watchdog::begin(self.config.deadline * 4);
        let mut report =
            TripReport { reason, steps: Vec::new(), took: Duration::ZERO, scrubbed: false };
        self.taint();
        // The wipe does not wait for a disk that fails; the next life sweeps without the line too.
        let _ = self.journal.begin(&report.reason.to_string());
        report.run(Step::Block, || self.quiet(self.config.deadline));
        match self.take_hold(self.config.deadline) {
            Some(Some(mut hold)) => {
                self.wipe(&mut hold, &mut report);
                self.take_down(Some(hold), &mut report);
            }
            // There is no memory: nothing was opened, or an earlier failure took it.
            Some(None) => report.scrubbed = true,
            // A use holds it and does not end: its context is ended under it.
            None => self.take_down(None, &mut report),
        }
        lock(&self.hooks).iter_mut().for_each(|erase| erase()); // [RST-10]
        report.took = begun.elapsed();
        drop(watchdog);
        for tell in lock(&self.on_trip).iter() {
            tell(&report);
        }
        *lock(&self.last_trip) = Some(report);
    }

    /// Waits until every use has ended.
    fn quiet(&self, deadline: Duration) -> Result<(), GpuError> {
        let begun = Instant::now();
        while !self.gate.is_quiet() {
            if begun.elapsed() > deadline {
                return Err(GpuError::InUse);
            }
            thread::sleep(Duration::from_micros(20));
        }
        Ok(())
    }

    /// Takes what there is; `None` if whoever holds it does not let go.
    fn take_hold(&self, deadline: Duration) -> Option<Option<Hold>> {
        let begun = Instant::now();
        loop {
            if let Ok(mut hold) = self.hold.try_lock() {
                return Some(hold.take());
            }
            if begun.elapsed() > deadline {
                return None;
            }
            thread::sleep(Duration::from_micros(20));
        }
    }

    fn wipe(&self, hold: &mut Hold, report: &mut TripReport) {
        let zeroed = report.run(Step::ZeroKeys, || hold.zero_keys()).is_some()
            & report.run(Step::ZeroWeights, || hold.zero_weights()).is_some();
        let verified = report.run(Step::Verify, || hold.verify_all()).is_some();
        report.scrubbed = zeroed && verified;
    }

    fn take_down(&self, hold: Option<Hold>, report: &mut TripReport) {
        if let Some(hold) = hold
            && report.run(Step::Unmap, || hold.revoke()).is_none()
        {
            // It can be neither mapped nor given back: it is erased when this process has ended.
            self.strand();
        }
        if report.failed() {
            report.run(Step::Trap, || match &*lock(&self.context) {
                Some(context) => Ok(context.trap()?),
                None => Ok(()),
            });
        }
        report.run(Step::Reset, || {
            lock(&self.context).take();
            Ok(())
        });
    }
}

/// Ends the process if a trip does not come to its end: with the process goes the context.
struct Watchdog(#[allow(dead_code)] mpsc::Sender<()>);

impl Watchdog {
    fn begin(patience: Duration) -> Self {
        let (alive, ended) = mpsc::channel::<()>();
        let watch = move || {
            if ended.recv_timeout(patience) == Err(mpsc::RecvTimeoutError::Timeout) {
                eprintln!("device: the trip did not end in {patience:?}: the process ends");
                std::process::abort();
            }
        };
        // Without a thread there is no watchdog; the trip goes on all the same.
        let _ = thread::Builder::new().name("trip-watchdog".into()).spawn(watch);
        Self(alive)
    }
}
