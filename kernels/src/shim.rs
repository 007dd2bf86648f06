//! The driver of the CPU shim: the kernels' own text, compiled by g++. For tests and the self-test.
//!
//! It runs every launch to its end on the calling thread. It is slow, its lookups go through the
//! CPU's caches, and it erases nothing that a fiber's stack held: no secret that matters belongs here.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, c_char, c_uint, c_void};

use crate::device::{DeviceBackend, DeviceError, Driver, Launch, Tables, sizes};

/// The shim as a backend, with the tables of a large GPU.
pub fn shim() -> DeviceBackend<Shim> {
    DeviceBackend::new(Shim { calls: &FOUR })
}

/// The shim with the tables of a small GPU.
pub fn shim_one_table() -> DeviceBackend<Shim> {
    DeviceBackend::new(Shim { calls: &ONE })
}

/// The driver.
#[derive(Clone, Copy)]
pub struct Shim {
    calls: &'static Calls,
}

impl Shim {
    /// With the tables of a large GPU.
    pub const FOUR: Self = Self { calls: &FOUR };
    /// With the tables of a small GPU.
    pub const ONE: Self = Self { calls: &ONE };

    /// Compares our sizes of the kernels' structs with the compiler's; names those that differ.
    pub fn sizes_that_differ(&self) -> Vec<String> {
        let ours = sizes::NAMED.into_iter().map(|(name, size)| match (name, self.calls.tables) {
            (name, Tables::One) if name == c"GCM_SHARED" => (name, sizes::GCM_SHARED_ONE as usize),
            _ => (name, size),
        });
        // SAFETY: the name ends with a zero byte and is only read.
        let theirs = |name: &CStr| unsafe { (self.calls.size)(name.as_ptr()) };
        let differ = ours.filter(|(name, size)| theirs(name) != *size);
        differ.map(|(name, size)| format!("{name:?}: {size}, not {}", theirs(name))).collect()
    }
}

/// Memory of the shim, fenced on both sides.
pub struct ShimMemory {
    at: *mut c_void,
    bytes: usize,
    free: unsafe extern "C" fn(*mut c_void) -> bool,
}

// SAFETY: the memory belongs to this value alone, and every call that follows the pointer holds a
// reference to it; the shim's table of areas has a lock.
unsafe impl Send for ShimMemory {}
// SAFETY: as above; shared references only read, and kernels that write are launched by the owner.
unsafe impl Sync for ShimMemory {}

impl Drop for ShimMemory {
    fn drop(&mut self) {
        // SAFETY: `at` came from `alloc` with this many bytes and was not freed; nobody reads it now.
        let fenced = unsafe {
            std::ptr::write_bytes(self.at.cast::<u8>(), 0, self.bytes);
            (self.free)(self.at)
        };
        // A broken fence is a bug in a kernel, found by the launch before; here it must not be lost.
        assert!(fenced || std::thread::panicking(), "a kernel wrote outside of device memory");
    }
}

impl Driver for Shim {
    type Memory = ShimMemory;

    fn name(&self) -> &'static str {
        match self.calls.tables {
            Tables::Four => "shim",
            Tables::One => "shim-one-table",
        }
    }

    fn tables(&self) -> Tables {
        self.calls.tables
    }

    /// Two, so that every launch of more than one tile has a block that loops and one that does not.
    fn blocks(&self) -> u32 {
        2
    }

    fn allocate(&self, bytes: usize) -> Result<ShimMemory, DeviceError> {
        let bytes = bytes.max(1);
        // SAFETY: it takes any size, and gives null or that many bytes.
        let at = unsafe { (self.calls.alloc)(bytes) };
        if at.is_null() {
            let reason = "out of memory".into();
            return Err(DeviceError::Driver { call: "alloc", reason });
        }
        Ok(ShimMemory { at, bytes, free: self.calls.free })
    }

    fn address(&self, memory: &ShimMemory) -> u64 {
        memory.at as u64
    }

    fn write(&self, memory: &mut ShimMemory, bytes: &[u8]) -> Result<(), DeviceError> {
        check_fits(bytes.len(), memory.bytes)?;
        // SAFETY: both are that long, and memory of the shim is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), memory.at.cast(), bytes.len()) };
        Ok(())
    }

    fn read(&self, memory: &ShimMemory, out: &mut [u8]) -> Result<(), DeviceError> {
        check_fits(out.len(), memory.bytes)?;
        // SAFETY: both are that long, initialised by `alloc`, and do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(memory.at.cast(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    fn launch(&self, launch: &Launch, args: &[u8]) -> Result<(), DeviceError> {
        let kernel = launch.kernel;
        let fail = |reason: &str| Err(DeviceError::Kernel { kernel, reason: reason.into() });
        let Ok(name) = CString::new(kernel) else {
            return fail("no such kernel");
        };
        if launch.threads == 0 || launch.threads > 1024 || launch.shared > 227 << 10 {
            return fail("the launch has a shape that no GPU has");
        }
        // SAFETY: the shim compares name, number of threads and size of the arguments with the
        // kernel's, runs it to its end, and keeps no pointer. What the arguments point to is memory
        // of this driver with the lengths that stand beside it. The answer is null or a text that
        // lives until the next launch of this thread.
        let answer = unsafe {
            let (shared, args_at) = (launch.shared as usize, args.as_ptr().cast());
            let launch = (launch.blocks, launch.threads);
            let why =
                (self.calls.launch)(name.as_ptr(), launch.0, launch.1, shared, args_at, args.len());
            (!why.is_null()).then(|| CStr::from_ptr(why).to_string_lossy().into_owned())
        };
        answer.map_or(Ok(()), |why| fail(&why))
    }
}

fn check_fits(bytes: usize, room: usize) -> Result<(), DeviceError> {
    if bytes <= room { Ok(()) } else { Err(DeviceError::OutOfBounds { bytes, room }) }
}

struct Calls {
    tables: Tables,
    alloc: unsafe extern "C" fn(usize) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void) -> bool,
    launch: unsafe extern "C" fn(
        *const c_char,
        c_uint,
        c_uint,
        usize,
        *const c_void,
        usize,
    ) -> *const c_char,
    size: unsafe extern "C" fn(*const c_char) -> usize,
}

macro_rules! calls {
    ($name:ident, $tables:expr, $alloc:ident, $free:ident, $launch:ident, $size:ident) => {
        static $name: Calls =
            Calls { tables: $tables, alloc: $alloc, free: $free, launch: $launch, size: $size };
        unsafe extern "C" {
            fn $alloc(size: usize) -> *mut c_void;
            fn $free(memory: *mut c_void) -> bool;
            fn $launch(
                name: *const c_char,
                blocks: c_uint,
                threads: c_uint,
                shared: usize,
                args: *const c_void,
                args_size: usize,
            ) -> *const c_char;
            fn $size(name: *const c_char) -> usize;
        }
    };
}

calls!(FOUR, Tables::Four, sc_shim_alloc, sc_shim_free, sc_shim_launch, sc_shim_size);
calls!(
    ONE,
    Tables::One,
    sc_shim_one_table_alloc,
    sc_shim_one_table_free,
    sc_shim_one_table_launch,
    sc_shim_one_table_size
);
