//! What a device holds and where in the order of reset it is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use split_custody_kernels::device::DeviceError;
use split_custody_kernels::operations::OperationError;
use split_custody_kernels::resident::{Context, Desk, Gate, Marked, Ring, sweep};

use crate::cuda::device::CudaConfig;
use crate::cuda::feed::LoadReport;
use crate::cuda::journal::Journal;
use crate::cuda::keys::KeyArea;
use crate::cuda::trip::{Reason, TripReport};
use crate::cuda::watch;
use crate::cuda::weights::Weights;
use crate::error::GpuError;
use crate::hash::label;
use crate::incarnation::Mark;

/// One device of this process.
pub(super) struct Inner {
    pub(super) config: CudaConfig,
    /// Closed unless the incarnation is clean.
    pub(super) gate: Gate,
    pub(super) life: Mutex<Life>,
    pub(super) hold: Mutex<Option<Hold>>,
    /// The context alone, for ending it while somebody holds the rest.
    pub(super) context: Mutex<Option<Arc<Context>>>,
    pub(super) stop: AtomicBool,
    pub(super) tripping: Mutex<()>,
    pub(super) journal: Journal,
    pub(super) hooks: Mutex<Vec<Box<dyn FnMut() + Send>>>,
    pub(super) on_trip: Mutex<Vec<OnTrip>>,
    pub(super) last_trip: Mutex<Option<TripReport>>,
    pub(super) last_load: Mutex<Option<LoadReport>>,
    pub(super) lease: Mutex<Lease>,
    pub(super) swept: AtomicU64,
    stranded: AtomicBool,
    next_slot: Mutex<u64>,
}

/// Whom a trip is told to.
pub(super) type OnTrip = Box<dyn Fn(&TripReport) + Send>;
/// Says whether a use is admitted now.
pub(super) type Lease = Box<dyn Fn() -> bool + Send>;

/// What lies in device memory, and the desk beside it. The context goes last.
pub(super) struct Hold {
    pub(super) weights: Option<Weights>,
    pub(super) keys: KeyArea,
    /// What ciphertext travels through, kept from load to load.
    pub(super) ring: Option<Ring>,
    pub(super) desk: Desk,
    pub(super) context: Arc<Context>,
}

/// Where in the order of reset the device is. [RST-3]
pub(super) enum Life {
    Tainted,
    Zeroised,
    Scrubbed,
    Clean(Arc<Mark>),
}

impl Inner {
    pub(super) fn new(config: CudaConfig, context: Arc<Context>) -> Self {
        Self {
            journal: Journal::new(config.journal.as_deref()),
            config,
            gate: Gate::tripped(),
            life: Mutex::new(Life::Tainted),
            hold: Mutex::new(None),
            context: Mutex::new(Some(context)),
            stop: AtomicBool::new(false),
            tripping: Mutex::new(()),
            hooks: Mutex::default(),
            on_trip: Mutex::default(),
            last_trip: Mutex::new(None),
            last_load: Mutex::new(None),
            lease: Mutex::new(Box::new(|| false)),
            swept: AtomicU64::new(0),
            stranded: AtomicBool::new(false),
            next_slot: Mutex::new(0),
        }
    }

    /// No clean incarnation, and loads end.
    pub(super) fn taint(&self) {
        *lock(&self.life) = Life::Tainted;
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Memory is left that this process cannot reach.
    pub(super) fn strand(&self) {
        self.stranded.store(true, Ordering::SeqCst);
    }

    /// The mark of a clean incarnation.
    pub(super) fn mark(&self) -> Result<Arc<Mark>, GpuError> {
        match &*lock(&self.life) {
            Life::Clean(mark) => Ok(mark.clone()),
            _ => Err(GpuError::Tainted), // [RST-1]
        }
    }

    /// Runs an operation of a clean incarnation. A mark that differs trips. [RST-5]
    pub(super) fn clean<T>(
        &self,
        run: impl FnOnce(&mut Hold, &Mark) -> Result<T, GpuError>,
    ) -> Result<T, GpuError> {
        let permit = self.gate.enter().ok_or(GpuError::Tainted)?; // [RST-1]
        let mut hold = lock(&self.hold);
        let mark = self.mark()?;
        let done = run(hold.as_mut().ok_or(GpuError::Tainted)?, &mark);
        drop((hold, permit));
        self.noticed(done)
    }

    /// A driver that failed is not relied on, and a mark that differs is tampering: the device trips,
    /// and the caller has its error.
    pub(super) fn noticed<T>(&self, done: Result<T, GpuError>) -> Result<T, GpuError> {
        if let Err(GpuError::Device(OperationError::Device(error))) = &done
            && !matches!(error, DeviceError::OutOfMemory | DeviceError::OutOfBounds { .. })
        {
            self.trip(Reason::Driver { why: error.to_string() });
        }
        if matches!(done, Err(GpuError::Tamper)) {
            self.trip(Reason::Mark); // [RST-2]
        }
        done
    }

    /// What there is, or a new beginning: another context, all free memory swept, room for keys.
    pub(super) fn begin<'h>(&self, hold: &'h mut Option<Hold>) -> Result<&'h mut Hold, GpuError> {
        if self.stranded.load(Ordering::SeqCst) {
            return Err(GpuError::Stranded);
        }
        if hold.is_none() {
            let mut context = lock(&self.context);
            let context = match &*context {
                Some(context) => context.clone(),
                None => context.insert(Context::open()?).clone(),
            };
            let mut desk = Desk::new(&context, DESK_BYTES)?;
            self.swept.store(sweep(&context, &mut desk)?, Ordering::SeqCst); // [RST-14]
            let keys = KeyArea::create(&context)?;
            watch::guard(keys.whole());
            *hold = Some(Hold { weights: None, keys, ring: None, desk, context });
        }
        hold.as_mut().ok_or(GpuError::Tainted)
    }

    /// After a failure of the driver: nothing in the context can be relied on, so it ends.
    pub(super) fn start_over(&self, hold: &mut Option<Hold>) {
        if let Some(hold) = hold.take()
            && hold.revoke().is_err()
        {
            self.strand();
        }
        lock(&self.context).take();
    }

    pub(super) fn next_slot(&self) -> MutexGuard<'_, u64> {
        lock(&self.next_slot)
    }
}

impl Hold {
    /// Overwrites keys and mark. Handles find nothing afterwards. [RST-3]
    pub(super) fn zero_keys(&mut self) -> Result<(), GpuError> {
        self.keys.forget();
        self.desk.stream().zero(self.keys.whole())?;
        Ok(self.desk.stream().finish()?)
    }

    /// Overwrites the memory of weights; no model is there from now on.
    pub(super) fn zero_weights(&mut self) -> Result<(), GpuError> {
        if let Some(weights) = &mut self.weights {
            weights.model = None;
            self.desk.stream().zero(weights.memory.whole())?;
        }
        Ok(self.desk.stream().finish()?)
    }

    /// Sees that all of it is zero; says how many bytes. [RST-3]
    pub(super) fn verify_all(&mut self) -> Result<u64, GpuError> {
        let keys = self.keys.whole();
        self.desk.verify_zero(keys)?;
        Ok(keys.bytes() as u64 + self.verify_weights()?)
    }

    pub(super) fn verify_weights(&mut self) -> Result<u64, GpuError> {
        let Some(weights) = &self.weights else { return Ok(0) };
        let whole = weights.memory.whole();
        self.desk.verify_zero(whole)?;
        Ok(whole.bytes() as u64)
    }

    /// Compares the planted mark, without reading it: the device hashes it. [RST-5]
    pub(super) fn check_mark(&mut self, mark: &Mark) -> Result<(), GpuError> {
        let mut prefix = Vec::new();
        crate::hash::Framed::update_framed(&mut prefix, label::INCARNATION);
        prefix.extend_from_slice(&(Mark::BYTES as u32).to_be_bytes());
        let place = self.keys.mark()?;
        match self.desk.check_digest(&prefix, place, &mark.incarnation().0) {
            Err(OperationError::CommitmentWrong) => Err(GpuError::Tamper),
            done => Ok(done?),
        }
    }

    /// What every launch compares. [RST-5]
    pub(super) fn marked<'m>(&self, mark: &'m Mark) -> Result<Marked<'m>, GpuError> {
        Ok(Marked { place: self.keys.mark()?, expected: mark.expose() })
    }

    /// Refuses access, unmaps, gives back.
    pub(super) fn revoke(self) -> Result<(), GpuError> {
        let Self { weights, keys, ring, desk, context } = self;
        let mut done = Ok(());
        let all = weights.map(|weights| weights.memory).into_iter().chain([keys.into_memory()]);
        for memory in all {
            watch::unguard(memory.whole());
            done = done.and(memory.revoke());
        }
        drop((ring, desk, context));
        Ok(done?)
    }
}

/// A panic while one of these was held leaves them in a state that the next check refuses.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Room for the arguments of one operation.
const DESK_BYTES: usize = 4 << 20;
