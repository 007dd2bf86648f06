//! The simulated accelerator: the order of reset, and the mark before every use.
//!
//! Chapter 70. When an operation that needs a clean incarnation returns `Ok`, the mark in device
//! memory was the expected one under the same lock as the work. [RST-5]
//! It does not react to a tamper signal by itself, beyond refusing everything: the device machine
//! zeroises, scrubs and plants.
//!
//! ```text
//!   Tainted --zeroise--> Zeroised --scrub--> Scrubbed --plant--> Clean
//!   Clean --(mark differs)--> Tainted      any --zeroise--> Zeroised
//! ```

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use split_custody_weights::{Dek, Reader, WeightsError};
use zeroize::Zeroizing;

use crate::backend::{GpuDevice, KeySlot, Load, Scrubbed, TensorInfo, TensorProof, TensorSlice};
use crate::error::GpuError;
use crate::incarnation::{Incarnation, Mark};
use crate::loader::{self, Opening};
use crate::mac::{OwnerKey, SignedNonce, slice_checksum, tensor_mac};
use crate::sim::memory::{KeyArea, Region, TensorArea};
use crate::sim::window::Bus;
use crate::sys::Backing;

/// What a simulated device is made with.
#[derive(Clone, Copy, Debug)]
pub struct SimConfig {
    /// Device memory for tensors from the start; it grows up to the limit when a model needs more.
    /// Secret pages are slow to come by (the kernel takes each out of its map), so reserve what the
    /// model needs: then the first scrub pays for it, and no load.
    pub reserve: u64,
    /// The most that tensors may use.
    pub limit: u64,
    /// Who may ask for proofs.
    pub owner: OwnerKey,
}

/// A device in this process. Clones are handles to the same device.
#[derive(Clone)]
pub struct SimDevice {
    memory: Resettable,
    measured: Arc<Measured>,
}

/// Device memory as the bus reaches it: a host can make it be lost, and nothing else.
#[derive(Clone)]
pub struct Resettable(Arc<Memory>);

/// Where both areas are locked, tensors are locked first.
struct Memory {
    tensors: RwLock<TensorArea>,
    keys: Mutex<KeyArea>,
}

/// What the measured code keeps outside device memory.
struct Measured {
    owner: OwnerKey,
    life: Mutex<Life>,
    stop: AtomicBool,
    hooks: Mutex<Vec<Box<dyn FnMut() + Send>>>,
}

/// Where in the order of reset the device is. [RST-3]
enum Life {
    Tainted,
    Zeroised,
    Scrubbed,
    Clean(Mark),
}

impl SimDevice {
    /// A device that starts tainted. [RST-1]
    pub fn new(config: SimConfig) -> Result<Self, GpuError> {
        let memory = Memory {
            tensors: RwLock::new(TensorArea::map(config.reserve, config.limit)?),
            keys: Mutex::new(KeyArea::map()?),
        };
        let measured = Measured {
            owner: config.owner,
            life: Mutex::new(Life::Tainted),
            stop: AtomicBool::new(false),
            hooks: Mutex::default(),
        };
        Ok(Self { memory: Resettable(Arc::new(memory)), measured: Arc::new(measured) })
    }

    /// Where keys and tensors lie: the weaker of the two. The caller prints a fallback, and asks
    /// again after a load for which memory had to grow.
    pub fn backing(&self) -> Backing {
        let keys = self.keys().backing().clone();
        match keys {
            Backing::MemfdSecret => self.tensors().backing().clone(),
            Backing::Anonymous { .. } => keys,
        }
    }

    /// Has `erase` called at every zeroise, for keys that must live outside: the leaf key. It must
    /// not call this device. [RST-10]
    pub fn on_zeroise(&self, erase: impl FnMut() + Send + 'static) {
        lock(&self.measured.hooks).push(Box::new(erase));
    }

    /// Lets `read` see a key where it lies. It must not call this device.
    pub fn with_key<T>(&self, slot: KeySlot, read: impl FnOnce(&[u8]) -> T) -> Result<T, GpuError> {
        let keys = self.keys_if_marked()?; // [RST-5]
        Ok(read(keys.key(slot)?))
    }

    /// What the bus gets: it can make memory be lost, and cannot read it.
    pub fn resettable(&self) -> Resettable {
        self.memory.clone()
    }

    /// The name of the present incarnation.
    pub fn incarnation(&self) -> Result<Incarnation, GpuError> {
        match &*self.life() {
            Life::Clean(mark) => Ok(mark.incarnation()),
            _ => Err(GpuError::Tainted), // [RST-1]
        }
    }

    /// The tensors of the loaded model.
    pub fn tensors_loaded(&self) -> Result<Vec<TensorInfo>, GpuError> {
        let tensors = self.tensors();
        Ok(tensors.regions()?.iter().map(|r| r.tensor.clone()).collect())
    }

    /// Compares the mark; a mismatch taints. Callers hold the tensor lock, so that no reset falls
    /// between this and the work. [RST-5]
    fn check_mark(&self) -> Result<(), GpuError> {
        self.keys_if_marked().map(drop)
    }

    /// The keys, under the lock under which the mark was compared.
    fn keys_if_marked(&self) -> Result<MutexGuard<'_, KeyArea>, GpuError> {
        let mut life = self.life();
        let Life::Clean(mark) = &*life else {
            return Err(GpuError::Tainted); // [RST-1]
        };
        let keys = self.keys();
        if let Err(tamper) = mark.check(keys.mark()) {
            *life = Life::Tainted; // [RST-2]
            return Err(tamper);
        }
        Ok(keys)
    }

    fn dek(&self, slot: KeySlot) -> Result<Dek, GpuError> {
        let keys = self.keys();
        let bytes = keys.key(slot)?;
        let mut dek = Zeroizing::new([0; 32]);
        if bytes.len() != dek.len() {
            return Err(GpuError::KeyLength { length: bytes.len() });
        }
        dek.copy_from_slice(bytes);
        Ok(Dek::new(*dek))
    }

    fn open(&self, area: &mut TensorArea, load: &Load<'_>) -> Result<Vec<TensorInfo>, GpuError> {
        let reader = Reader::open(load.sealed, load.table).map_err(GpuError::NotLoaded)?;
        let dek = self.dek(load.dek)?;
        let header = reader.open_header(&dek).map_err(GpuError::NotLoaded)?;
        let tensors: Vec<_> = header.tensors().into_iter().map(loader::describe).collect();
        let opening = Opening {
            reader: &reader,
            header: &header,
            dek: &dek,
            threads: load.threads,
            stop: &self.measured.stop,
            cancel: load.cancel,
            progress: load.progress,
        };
        let open = |regions: Vec<&mut [u8]>| {
            loader::open_into(&opening, regions).map_err(|error| self.not_loaded(load, error))?;
            self.check_mark() // Keys may have been erased meanwhile. [RST-5]
        };
        area.fill(tensors.clone(), open)??;
        Ok(tensors)
    }

    fn not_loaded(&self, load: &Load<'_>, error: WeightsError) -> GpuError {
        if self.measured.stop.load(Ordering::SeqCst) || load.cancel.load(Ordering::SeqCst) {
            GpuError::Interrupted
        } else {
            GpuError::NotLoaded(error)
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        lock(&self.measured.life)
    }

    fn keys(&self) -> MutexGuard<'_, KeyArea> {
        lock(&self.memory.0.keys)
    }

    fn tensors(&self) -> RwLockReadGuard<'_, TensorArea> {
        // A panic under the write lock zeroed the area while it unwound; see `TensorArea::fill`.
        self.memory.0.tensors.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn tensors_mut(&self) -> RwLockWriteGuard<'_, TensorArea> {
        self.memory.0.tensors.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl GpuDevice for SimDevice {
    fn name(&self) -> &'static str {
        "sim"
    }

    fn zeroise(&self) -> Result<(), GpuError> {
        *self.life() = Life::Tainted;
        self.measured.stop.store(true, Ordering::SeqCst);
        self.keys().zero(); // [RST-3] before anything that could take time
        lock(&self.measured.hooks).iter_mut().for_each(|erase| erase()); // [RST-10]
        // A load holds this lock and a copy of the DEK; it sees `stop` and ends soon.
        let area = self.tensors_mut();
        self.keys().verify_all_zero()?;
        *self.life() = Life::Zeroised;
        drop(area);
        Ok(())
    }

    fn scrub(&self) -> Result<Scrubbed, GpuError> {
        let mut area = self.tensors_mut();
        let mut life = self.life();
        if !matches!(*life, Life::Zeroised | Life::Scrubbed) {
            return Err(out_of_order("scrub", "zeroise")); // [RST-3]
        }
        *life = Life::Zeroised;
        let mut keys = self.keys();
        keys.zero();
        let bytes = area.scrub()?.bytes + keys.verify_all_zero()?.bytes;
        *life = Life::Scrubbed;
        Ok(Scrubbed { bytes })
    }

    fn plant(&self) -> Result<Incarnation, GpuError> {
        let mut life = self.life();
        if !matches!(*life, Life::Scrubbed) {
            return Err(out_of_order("plant", "scrub")); // [RST-3]
        }
        let mark = Mark::draw()?; // [RST-4]
        self.keys().plant(&mark);
        let incarnation = mark.incarnation();
        *life = Life::Clean(mark);
        Ok(incarnation)
    }

    fn store_key(&self, key: &[u8]) -> Result<KeySlot, GpuError> {
        self.keys_if_marked()?.store(key) // [RST-5]
    }

    fn erase_key(&self, slot: KeySlot) -> Result<(), GpuError> {
        self.keys().erase(slot)
    }

    fn load(&self, load: &Load<'_>) -> Result<Vec<TensorInfo>, GpuError> {
        let mut area = self.tensors_mut();
        // INVARIANT: lowered before the mark is checked; a zeroise after the check raises it again.
        self.measured.stop.store(false, Ordering::SeqCst);
        self.check_mark()?; // [RST-5]
        if area.is_occupied() {
            return Err(GpuError::Occupied);
        }
        let opened = self.open(&mut area, load);
        loader::overwrite_stack();
        opened
    }

    fn erase_model(&self) -> Result<Scrubbed, GpuError> {
        self.tensors_mut().scrub()
    }

    fn compute(&self, slice: &TensorSlice, key: &[u8; 32]) -> Result<[u8; 32], GpuError> {
        let area = self.tensors();
        self.check_mark()?; // [RST-5]
        let region = find(area.regions()?, &slice.tensor)?;
        let bytes = cut(area.bytes(region), slice)?;
        Ok(slice_checksum(key, &slice.tensor, slice.range.start, bytes))
    }

    fn prove(&self, nonce: &SignedNonce) -> Result<Vec<TensorProof>, GpuError> {
        let area = self.tensors();
        self.check_mark()?; // [RST-5]
        self.measured.owner.verify(nonce, &self.incarnation()?)?;
        let prove = |region: &Region| TensorProof {
            name: region.tensor.name.clone(),
            mac: tensor_mac(&nonce.nonce, &region.tensor, area.bytes(region)),
        };
        Ok(area.regions()?.iter().map(prove).collect())
    }

    fn verify_zero(&self) -> Result<Scrubbed, GpuError> {
        let area = self.tensors();
        let bytes = area.verify_zero()?.bytes + self.keys().verify_zero()?.bytes;
        Ok(Scrubbed { bytes })
    }
}

impl Bus for Resettable {
    /// A running operation ends first.
    fn reset(&self) {
        let mut tensors = self.0.tensors.write().unwrap_or_else(PoisonError::into_inner);
        lock(&self.0.keys).lose();
        tensors.lose();
    }
}

fn find<'a>(regions: &'a [Region], name: &str) -> Result<&'a Region, GpuError> {
    let found = regions.iter().find(|region| region.tensor.name == name);
    found.ok_or_else(|| GpuError::NoSuchTensor { name: name.into() })
}

fn cut<'a>(bytes: &'a [u8], slice: &TensorSlice) -> Result<&'a [u8], GpuError> {
    let (start, end) = (slice.range.start, slice.range.end);
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let cut = range.and_then(|(start, end)| bytes.get(start..end));
    cut.ok_or(GpuError::OutOfRange { start, end, length: bytes.len() as u64 })
}

fn out_of_order(asked: &'static str, needed: &'static str) -> GpuError {
    GpuError::OutOfOrder { asked, needed }
}

/// A panic while one of these was held leaves them in a state that the next check refuses.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
