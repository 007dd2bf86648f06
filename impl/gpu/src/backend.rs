//! What a device process asks of its accelerator.
//!
//! Chapter 70. The order of [RST-3] is enforced by each backend: an operation out of order is an
//! error and changes nothing. It does not tell the backends apart: one test body runs over all.

use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use split_custody_weights::{SealedTable, Threads};

use crate::error::GpuError;
use crate::incarnation::Incarnation;
use crate::loader::Progress;
use crate::mac::SignedNonce;

/// One accelerator. Every operation may be called from any thread.
pub trait GpuDevice: Send + Sync {
    /// The name that a report prints.
    fn name(&self) -> &'static str;

    /// Erases every key, and stops a load that is running. [RST-3] [RST-10]
    fn zeroise(&self) -> Result<(), GpuError>;

    /// Overwrites all device memory and verifies that it is zero. [RST-3]
    fn scrub(&self) -> Result<Scrubbed, GpuError>;

    /// Plants a fresh mark and names the incarnation that begins. [RST-4]
    fn plant(&self) -> Result<Incarnation, GpuError>;

    /// Puts a key into device memory. The caller erases its own copy.
    fn store_key(&self, key: &[u8]) -> Result<KeySlot, GpuError>;

    /// Erases one key.
    fn erase_key(&self, slot: KeySlot) -> Result<(), GpuError>;

    /// Opens a sealed file into device memory, whole or not at all. [RST-5] [SEAL-9]
    fn load(&self, load: &Load<'_>) -> Result<Vec<TensorInfo>, GpuError>;

    /// Zeroes the loaded model and verifies it.
    fn erase_model(&self) -> Result<Scrubbed, GpuError>;

    /// A keyed checksum of a tensor slice: a request under a lease. [RST-5]
    fn compute(&self, slice: &TensorSlice, key: &[u8; 32]) -> Result<[u8; 32], GpuError>;

    /// A MAC of every tensor under the owner's nonce: equal, without reading back. [RST-5]
    fn prove(&self, nonce: &SignedNonce) -> Result<Vec<TensorProof>, GpuError>;

    /// Verifies that no key and no plaintext is in device memory.
    fn verify_zero(&self) -> Result<Scrubbed, GpuError>;
}

/// What to load, and how.
pub struct Load<'a> {
    /// The sealed file.
    pub sealed: &'a Path,
    /// What the manifest says about it.
    pub table: &'a SealedTable,
    /// Where the DEK lies in device memory.
    pub dek: KeySlot,
    /// How many threads may work.
    pub threads: Threads,
    /// Set when the load is to be given up: a lease ended. It fails soon then. [LEA-5]
    pub cancel: &'a AtomicBool,
    /// Called from those threads as tensors appear.
    pub progress: &'a (dyn Fn(Progress) + Sync),
}

/// A key in device memory. A slot that was erased is never given out again under the same value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeySlot(pub(crate) u64);

/// How much memory was found to be zero, byte by byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scrubbed {
    /// Verified bytes.
    pub bytes: u64,
}

/// A tensor on the device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TensorInfo {
    /// Its name in the original file.
    pub name: String,
    /// Its dtype.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Its bytes.
    pub length: u64,
}

/// A part of a tensor, in bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TensorSlice {
    /// The tensor's name.
    pub tensor: String,
    /// Which bytes of it.
    pub range: Range<u64>,
}

/// What the owner compares with [`tensor_mac`](crate::tensor_mac) over the source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TensorProof {
    /// The tensor's name.
    pub name: String,
    /// HMAC-SHA-256 over name, dtype, shape and plaintext under the nonce.
    pub mac: [u8; 32],
}
