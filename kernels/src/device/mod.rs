//! One backend for every machine that runs the kernels: the CPU shim and an NVIDIA GPU.
//!
//! Chapter 15. A [`Driver`] allocates, copies and launches; everything above it is the same for both,
//! so what the tests show of the shim's path holds for the GPU's, but for the driver itself. Lengths
//! and shapes are checked here, before anything leaves Rust.
//! It copies plaintext and secrets back to the host, because tests compare them there: a device in
//! use calls the kernels and keeps both where they are.

pub(crate) mod args;
mod batch;
pub mod bench;
pub(crate) mod chunks;
pub(crate) mod operations;

use crate::device::args::Args;
use crate::operations::{HOPS, SAMPLES_PER_BLOCK, SAMPLES_PER_WARP};

pub use chunks::DeviceSchedule;

/// What runs kernels. Memory is addressed by numbers that only kernels follow.
pub trait Driver: Send + Sync {
    /// Device memory; given back on drop, after it was overwritten.
    type Memory: Send + Sync;

    /// The name that a report prints.
    fn name(&self) -> &'static str;

    /// Which layout of AES tables the kernels were built with.
    fn tables(&self) -> Tables;

    /// How many blocks of threads a launch that loops should have.
    fn blocks(&self) -> u32;

    /// Allocates at least `bytes`, aligned to 256.
    fn allocate(&self, bytes: usize) -> Result<Self::Memory, DeviceError>;

    /// Where a kernel finds it.
    fn address(&self, memory: &Self::Memory) -> u64;

    /// Copies in, from the first byte.
    fn write(&self, memory: &mut Self::Memory, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies out, from the first byte.
    fn read(&self, memory: &Self::Memory, out: &mut [u8]) -> Result<(), DeviceError>;

    /// Runs one kernel to its end.
    fn launch(&self, launch: &Launch, args: &[u8]) -> Result<(), DeviceError>;
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// The kernel's name in `cu/`.
    pub kernel: &'static str,
    /// Blocks of threads.
    pub blocks: u32,
    /// Threads per block.
    pub threads: u32,
    /// Bytes of shared memory per block.
    pub shared: u32,
}

/// How the tables of AES lie in shared memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tables {
    /// Four tables, 195 KB with the rest: sm_90, sm_100.
    Four,
    /// One table and rotations, 99 KB with the rest: everything else.
    One,
}

/// How many warps work on one chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mapping {
    /// The one in use.
    OneWarp,
    /// For comparison.
    TwoWarps,
    /// For comparison.
    FourWarps,
    /// One warp, and the hash on one-bit tensor cores: for comparison, with four tables only.
    TensorCores,
}

/// What went wrong below the kernels.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The driver's library is not on this machine.
    #[error("no NVIDIA driver on this machine")]
    NoDriver,
    /// The driver is there and finds no GPU.
    #[error("no GPU on this machine")]
    NoGpu,
    /// No kernels were built for this GPU.
    #[error("no kernels for compute capability {major}.{minor}")]
    NoKernels {
        /// Of the compute capability.
        major: i32,
        /// Of the compute capability.
        minor: i32,
    },
    /// The GPU has not so much memory left.
    #[error("not enough device memory")]
    OutOfMemory,
    /// A copy does not fit its memory.
    #[error("copy of {bytes} bytes does not fit {room}")]
    OutOfBounds {
        /// Bytes to copy.
        bytes: usize,
        /// Bytes of the memory.
        room: usize,
    },
    /// The driver refused a call.
    #[error("driver call `{call}` failed: {reason}")]
    Driver {
        /// The call.
        call: &'static str,
        /// What the driver said.
        reason: String,
    },
    /// A kernel did not run to its end.
    #[error("kernel `{kernel}` failed: {reason}")]
    Kernel {
        /// Its name.
        kernel: &'static str,
        /// What the driver said.
        reason: String,
    },
    /// A kernel ended without a verdict.
    #[error("kernel `{kernel}` left status {status}")]
    NoVerdict {
        /// Its name.
        kernel: &'static str,
        /// The word it left.
        status: u32,
    },
}

/// A driver with the operations on top.
pub struct DeviceBackend<D: Driver> {
    driver: D,
    mapping: Mapping,
    mark: Option<Marked<D>>,
}

/// The mark of an incarnation in device memory, and what every launch expects to find. [RST-5]
struct Marked<D: Driver> {
    memory: D::Memory,
    expected: [u8; 32],
}

impl<D: Driver> DeviceBackend<D> {
    /// The backend over a driver.
    pub fn new(driver: D) -> Self {
        Self { driver, mapping: Mapping::OneWarp, mark: None }
    }

    /// The same with another mapping of chunks to warps.
    pub fn with_mapping(driver: D, mapping: Mapping) -> Self {
        Self { mapping, ..Self::new(driver) }
    }

    /// Plants a mark; from now on every opening and every MAC compares it. [RST-4] [RST-5]
    pub fn plant_mark(&mut self, mark: [u8; 32]) -> Result<(), DeviceError> {
        self.mark = Some(Marked { memory: self.upload(&mark)?, expected: mark });
        Ok(())
    }

    /// What a reset behind the driver's back does to the mark. For tests.
    pub fn insecure_lose_mark(&mut self) -> Result<(), DeviceError> {
        match &mut self.mark {
            Some(mark) => self.driver.write(&mut mark.memory, &[0; 32]),
            None => Ok(()),
        }
    }

    /// Ends the device's context: every later launch fails. The last resort. [RST-3]
    pub fn trap(&self) -> Result<(), DeviceError> {
        let launch = Launch { kernel: "sc_trap", blocks: 1, threads: 32, shared: 0 };
        self.driver.launch(&launch, Args::default().long(0).bytes())
    }

    /// Samples of jitter from every multiprocessor, at least `count`. [RST-4]
    pub fn collect_entropy(&self, count: u32) -> Result<Vec<u32>, DeviceError> {
        let blocks = count.div_ceil(SAMPLES_PER_BLOCK as u32);
        let mut bytes = vec![0; 4 * blocks as usize * SAMPLES_PER_BLOCK];
        let samples = self.room(bytes.len())?;
        let mut args = Args::default();
        args.long(self.at(&samples)).word(SAMPLES_PER_WARP).word(HOPS);
        let launch = Launch { kernel: "sc_collect_entropy", blocks, threads: 256, shared: 0 };
        self.driver.launch(&launch, args.bytes())?;
        self.driver.read(&samples, &mut bytes)?;
        let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        Ok(bytes.chunks_exact(4).map(word).collect())
    }

    /// The driver below.
    pub fn driver(&self) -> &D {
        &self.driver
    }

    fn upload(&self, bytes: &[u8]) -> Result<D::Memory, DeviceError> {
        let mut memory = self.driver.allocate(bytes.len())?;
        self.driver.write(&mut memory, bytes)?;
        Ok(memory)
    }

    fn room(&self, bytes: usize) -> Result<D::Memory, DeviceError> {
        self.driver.allocate(bytes)
    }

    fn at(&self, memory: &D::Memory) -> u64 {
        self.driver.address(memory)
    }

    fn words<const N: usize>(&self, memory: &D::Memory) -> Result<[u32; N], DeviceError> {
        let mut bytes = vec![0; 4 * N];
        self.driver.read(memory, &mut bytes)?;
        let mut words = [0; N];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Ok(words)
    }

    /// The guard of a launch: where the mark lies, and what it should be.
    fn guard(&self, args: &mut Args) {
        match &self.mark {
            Some(mark) => {
                args.long(self.at(&mark.memory));
                args.raw(&mark.expected);
            }
            None => {
                args.long(0);
                args.raw(&[0; 32]);
            }
        }
    }
}

/// The status words of `cu/common.cuh`.
pub(crate) mod status {
    pub const DONE: u32 = 1;
    pub const TAG_WRONG: u32 = 2;
    pub const COMMITMENT_WRONG: u32 = 3;
    pub const MARK_WRONG: u32 = 4;
    pub const KEY_INVALID: u32 = 5;
    pub const LENGTH_WRONG: u32 = 6;
    pub const WRAP_WRONG: u32 = 7;
    pub const INDEX_WRONG: u32 = 8;
    pub const STUCK: u32 = 9;
    pub const BIASED: u32 = 10;
    pub const TOO_FEW: u32 = 11;
    pub const NOT_ZERO: u32 = 12;
}

/// Bytes of structs of the kernels; a test compares them with the compiler's.
pub(crate) mod sizes {
    pub const SCHEDULE: usize = 2320;
    pub const DERIVE_SPACE: u32 = 1792;
    pub const SETTLED: usize = 16;
    pub const GCM_SHARED_FOUR: u32 = 199_424;
    pub const GCM_SHARED_ONE: u32 = 101_120;
    pub const X25519_SPACE: u32 = 516;
    pub const P256_SPACE: u32 = 2148;
    pub const HASH_SPACE_256: u32 = 1320;
    pub const HASH_SPACE_512: u32 = 1416;
    pub const WRAP_SPACE: u32 = 244;
    pub const AEAD_SPACE: u32 = 288;
    pub const HPKE_SPACE: u32 = 1968;
    /// The compiler's names beside our figures.
    #[cfg(feature = "shim")]
    pub const NAMED: [(&std::ffi::CStr, usize); 11] = [
        (c"Schedule", SCHEDULE),
        (c"DeriveSpace", DERIVE_SPACE as usize),
        (c"Settled", SETTLED),
        (c"GCM_SHARED", GCM_SHARED_FOUR as usize),
        (c"X25519Space", X25519_SPACE as usize),
        (c"P256Space", P256_SPACE as usize),
        (c"HashSpace<Sha256>", HASH_SPACE_256 as usize),
        (c"HashSpace<Sha512>", HASH_SPACE_512 as usize),
        (c"WrapSpace", WRAP_SPACE as usize),
        (c"AeadSpace", AEAD_SPACE as usize),
        (c"HpkeSpace", HPKE_SPACE as usize),
    ];
}
