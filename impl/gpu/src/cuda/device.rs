//! The device as a process asks it: the order of reset, and the mark before every use.
//!
//! Chapter 70. What the simulated device does under locks, this does under the gate: an operation is
//! admitted, works, and ends before a trip goes on. [RST-5]

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use split_custody_kernels::resident::{Context, Facts, MacJob, Pinned};

use crate::backend::{GpuDevice, KeySlot, Load, Scrubbed, TensorInfo, TensorProof, TensorSlice};
use crate::cuda::environment;
use crate::cuda::feed::LoadReport;
use crate::cuda::life::{Hold, Inner, Life, lock};
use crate::cuda::trip::{Reason, TripReport};
use crate::cuda::watch;
use crate::error::GpuError;
use crate::incarnation::{Incarnation, Mark};
use crate::mac::{OwnerKey, SignedNonce, slice_prefix, tensor_prefix};
use crate::sim::Bus;

/// What a CUDA device is made with.
#[derive(Clone, Debug)]
pub struct CudaConfig {
    /// The most bytes that tensors may use.
    pub limit: u64,
    /// Who may ask for proofs.
    pub owner: OwnerKey,
    /// Where to note a trip until it is scrubbed.
    pub journal: Option<PathBuf>,
    /// How long a trip waits for uses to end. The process ends after four times as long.
    pub deadline: Duration,
}

impl CudaConfig {
    /// The usual patience, and no journal.
    pub fn new(owner: OwnerKey, limit: u64) -> Self {
        Self { limit, owner, journal: None, deadline: Duration::from_secs(2) }
    }
}

/// A device on the first GPU. Clones are handles to the same device.
#[derive(Clone)]
pub struct CudaDevice(pub(super) Arc<Inner>);

impl CudaDevice {
    /// Opens the first GPU, in a context of its own. The device starts tainted. [RST-1]
    ///
    /// Refuses an environment that would let others read device memory. [RST-12]
    pub fn open(config: CudaConfig) -> Result<Self, GpuError> {
        environment::check().map_err(GpuError::Refused)?; // [RST-12]
        let context = Context::open().map_err(GpuError::NoDevice)?;
        let inner = Arc::new(Inner::new(config, context));
        watch::call_back(Arc::downgrade(&inner));
        let device = Self(inner);
        // Too little memory is known now, not at the first scrub.
        device.0.begin(&mut lock(&device.0.hold)).map_err(|error| match error {
            GpuError::Device(split_custody_kernels::operations::OperationError::Device(error)) => {
                GpuError::NoDevice(error)
            }
            error => error,
        })?;
        Ok(device)
    }

    /// Whether there is a GPU that this can use, and what it says of itself. Nothing stays open.
    pub fn probe() -> Result<Facts, GpuError> {
        let context = Context::open().map_err(GpuError::NoDevice)?;
        Ok(context.facts().clone())
    }

    /// What the GPU says of itself.
    pub fn facts(&self) -> Option<Facts> {
        lock(&self.0.context).as_ref().map(|context| context.facts().clone())
    }

    /// Whether reads of foreign code in this process are seen.
    pub fn is_interposed(&self) -> bool {
        watch::is_loaded()
    }

    /// What an earlier life left between trip and scrub, if it did.
    pub fn unfinished(&self) -> Option<String> {
        self.0.journal.unfinished()
    }

    /// How much free device memory was zeroed and verified when the present context began.
    pub fn swept(&self) -> u64 {
        self.0.swept.load(Ordering::SeqCst)
    }

    /// Has `erase` called at every zeroise, for keys that must live outside: the leaf key. It must
    /// not call this device. [RST-10]
    pub fn on_zeroise(&self, erase: impl FnMut() + Send + 'static) {
        lock(&self.0.hooks).push(Box::new(erase));
    }

    /// Has `tell` called after every trip. It must not call this device. [RST-2]
    pub fn on_trip(&self, tell: impl Fn(&TripReport) + Send + 'static) {
        lock(&self.0.on_trip).push(Box::new(tell));
    }

    /// How the last trip went.
    pub fn last_trip(&self) -> Option<TripReport> {
        lock(&self.0.last_trip).clone()
    }

    /// Where the time of the last load went, whole or not.
    pub fn last_load(&self) -> Option<LoadReport> {
        *lock(&self.0.last_load)
    }

    /// There is no reading. Whoever asks trips the device, and gets nothing. [RST-2]
    pub fn read_to_host(&self, _tensor: &str, _out: &mut [u8]) -> GpuError {
        self.0.trip(Reason::Read);
        GpuError::ReadDenied
    }

    /// Trips: what the mark or a host read calls for. [RST-2]
    pub fn trip(&self, reason: Reason) {
        self.0.trip(reason);
    }

    /// The name of the present incarnation.
    pub fn incarnation(&self) -> Result<Incarnation, GpuError> {
        Ok(self.0.mark()?.incarnation())
    }

    /// The tensors of the loaded model.
    pub fn tensors_loaded(&self) -> Result<Vec<TensorInfo>, GpuError> {
        let hold = lock(&self.0.hold);
        let weights = hold.as_ref().and_then(|hold| hold.weights.as_ref());
        let regions = weights.ok_or(GpuError::NoModel)?.regions()?;
        Ok(regions.iter().map(|region| region.tensor.clone()).collect())
    }

    /// What a reset behind the driver's back does: memory is lost, and nobody is told. For tests.
    pub fn insecure_lose_memory(&self) -> Result<(), GpuError> {
        match &mut *lock(&self.0.hold) {
            Some(hold) => {
                hold.desk.stream().zero(hold.keys.whole())?;
                hold.zero_weights()
            }
            None => Ok(()),
        }
    }
}

impl GpuDevice for CudaDevice {
    fn name(&self) -> &'static str {
        "cuda"
    }

    fn zeroise(&self) -> Result<(), GpuError> {
        self.0.gate.trip();
        self.0.taint();
        // A load holds this; it sees `stop` and ends soon.
        let mut hold = self.0.hold.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = hold.as_mut() {
            let zeroed = held.zero_keys().and_then(|()| {
                let keys = held.keys.whole();
                Ok(held.desk.verify_zero(keys)?)
            });
            if zeroed.is_err() {
                // A driver that does not zero is not asked again: the context ends, and a new one
                // sweeps what the old one left, before anything else. [RST-3]
                self.0.start_over(&mut hold);
                self.0.begin(&mut hold)?;
            }
        }
        lock(&self.0.hooks).iter_mut().for_each(|erase| erase()); // [RST-10]
        *lock(&self.0.life) = Life::Zeroised;
        Ok(())
    }

    fn scrub(&self) -> Result<Scrubbed, GpuError> {
        let mut hold = lock(&self.0.hold);
        if !matches!(*lock(&self.0.life), Life::Zeroised | Life::Scrubbed) {
            return Err(out_of_order("scrub", "zeroise")); // [RST-3]
        }
        *lock(&self.0.life) = Life::Zeroised;
        let scrubbed = self.0.begin(&mut hold).and_then(|held| {
            held.zero_keys()?;
            held.zero_weights()?;
            held.verify_all()
        });
        if scrubbed.is_err() {
            self.0.start_over(&mut hold);
        }
        let bytes = scrubbed?;
        // The line may stay where its disk fails: it says less than is true, never more.
        let _ = self.0.journal.end();
        *lock(&self.0.life) = Life::Scrubbed;
        Ok(Scrubbed { bytes })
    }

    fn plant(&self) -> Result<Incarnation, GpuError> {
        let mut hold = lock(&self.0.hold);
        if !matches!(*lock(&self.0.life), Life::Scrubbed) {
            return Err(out_of_order("plant", "scrub")); // [RST-3]
        }
        let held = hold.as_mut().ok_or(out_of_order("plant", "scrub"))?;
        let mark = Mark::draw()?; // [RST-4]
        let place = held.keys.mark()?;
        write(held, place, mark.expose())?;
        held.check_mark(&mark)?;
        let incarnation = mark.incarnation();
        *lock(&self.0.life) = Life::Clean(Arc::new(mark));
        if !self.0.gate.reopen() {
            // Somebody still holds a permit of an earlier life.
            self.0.taint();
            return Err(GpuError::InUse);
        }
        Ok(incarnation)
    }

    fn store_key(&self, key: &[u8]) -> Result<KeySlot, GpuError> {
        self.0.clean(|hold, mark| {
            hold.check_mark(mark)?; // [RST-5]
            let (slot, place) = hold.keys.take(key.len(), &mut self.0.next_slot())?;
            write(hold, place, key)?;
            Ok(slot)
        })
    }

    fn erase_key(&self, slot: KeySlot) -> Result<(), GpuError> {
        let mut held = lock(&self.0.hold);
        let hold = held.as_mut().ok_or(GpuError::NoSuchKey)?;
        let place = hold.keys.give_up(slot)?;
        let stream = hold.desk.stream();
        let zeroed = stream.zero(place).and_then(|()| stream.finish());
        drop(held);
        self.0.noticed(zeroed.map_err(GpuError::from))
    }

    fn load(&self, load: &Load<'_>) -> Result<Vec<TensorInfo>, GpuError> {
        self.0.load(load)
    }

    fn erase_model(&self) -> Result<Scrubbed, GpuError> {
        let mut held = lock(&self.0.hold);
        let Some(hold) = held.as_mut() else { return Ok(Scrubbed { bytes: 0 }) };
        let zeroed = hold.zero_weights().and_then(|()| hold.verify_weights());
        drop(held);
        self.0.noticed(zeroed.map(|bytes| Scrubbed { bytes }))
    }

    fn compute(&self, slice: &TensorSlice, key: &[u8; 32]) -> Result<[u8; 32], GpuError> {
        self.0.clean(|hold, mark| {
            hold.check_mark(mark)?; // [RST-5]
            let message = hold.weights.as_ref().ok_or(GpuError::NoModel)?.slice(slice)?;
            let length = message.bytes() as u64;
            let prefix = slice_prefix(&slice.tensor, slice.range.start, length);
            let marked = hold.marked(mark)?;
            let macs = hold.desk.macs(&[MacJob { key: *key, prefix, message }], &marked)?;
            macs.first().copied().ok_or(GpuError::NoModel)
        })
    }

    fn prove(&self, nonce: &SignedNonce) -> Result<Vec<TensorProof>, GpuError> {
        self.0.clean(|hold, mark| {
            hold.check_mark(mark)?; // [RST-5]
            self.0.config.owner.verify(nonce, &mark.incarnation())?;
            let weights = hold.weights.as_ref().ok_or(GpuError::NoModel)?;
            let (marked, all) = (hold.marked(mark)?, weights.regions()?);
            let mut proofs = Vec::with_capacity(all.len());
            for regions in all.chunks(MACS_AT_ONCE) {
                let jobs = regions.iter().map(|region| {
                    let message = weights.place(region)?;
                    let prefix = tensor_prefix(&region.tensor, message.bytes() as u64);
                    Ok(MacJob { key: nonce.nonce, prefix, message })
                });
                let jobs = jobs.collect::<Result<Vec<_>, GpuError>>()?;
                let macs = hold.desk.macs(&jobs, &marked)?;
                let proofs_of = regions.iter().zip(macs);
                proofs.extend(
                    proofs_of.map(|(r, mac)| TensorProof { name: r.tensor.name.clone(), mac }),
                );
            }
            Ok(proofs)
        })
    }

    fn verify_zero(&self) -> Result<Scrubbed, GpuError> {
        let mut hold = lock(&self.0.hold);
        let Some(hold) = hold.as_mut() else { return Ok(Scrubbed { bytes: 0 }) };
        let keys = hold.keys.but_the_mark()?;
        let zero = hold.desk.verify_zero(keys).map(|()| keys.bytes() as u64);
        let not_zero = |error| match error {
            GpuError::Device(split_custody_kernels::operations::OperationError::NotZero) => {
                GpuError::NotZero { offset: 0 }
            }
            error => error,
        };
        let bytes = zero.map_err(GpuError::from).and_then(|k| Ok(k + hold.verify_weights()?));
        Ok(Scrubbed { bytes: bytes.map_err(not_zero)? })
    }
}

/// What a reset behind the driver's back does. The next use finds the mark gone. [RST-5]
impl Bus for CudaDevice {
    fn reset(&self) {
        // A GPU that cannot be reached has lost its memory too.
        let _ = self.insecure_lose_memory();
    }
}

/// Puts bytes of this process into guarded memory, and erases the way there.
fn write(
    hold: &mut Hold,
    place: split_custody_kernels::resident::Secret,
    bytes: &[u8],
) -> Result<(), GpuError> {
    let mut pinned = Pinned::allocate(&hold.context, bytes.len())?;
    pinned.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
    hold.desk.stream().write_secret(place, &pinned)?;
    Ok(hold.desk.stream().finish()?)
}

fn out_of_order(asked: &'static str, needed: &'static str) -> GpuError {
    GpuError::OutOfOrder { asked, needed }
}

/// BOUND: what fits a desk.
const MACS_AT_ONCE: usize = 1024;
