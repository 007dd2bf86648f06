//! What foreign code in this process could try: every call of the driver by which memory leaves a GPU,
//! made upon guarded memory, as code would make it that found the call through the loader.
//!
//! For tests and the demo. What comes back of it is dropped; an [`Attempt`] says only whether anything
//! did. Whoever may ask for it can trip the device, and nothing else.

use std::ffi::{CString, c_void};

use crate::cuda::device::CudaDevice;
use crate::cuda::life::lock;
use crate::error::GpuError;

/// How an attempt went.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The result of the call; 800 is `CUDA_ERROR_NOT_PERMITTED`.
    pub result: u32,
    /// Whether bytes came out.
    pub yielded: bool,
}

impl Attempt {
    /// Whether the guard answered, and nothing came out.
    pub fn is_refused(&self) -> bool {
        self.result == 800 && !self.yielded
    }
}

/// Every call that is tried. `GetProcAddress` is a copy that was found through the driver itself.
pub const CALLS: [&str; 35] = [
    "cuMemcpy",
    "cuMemcpyAsync",
    "cuMemcpyDtoH_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoD_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemcpyDtoA_v2",
    "cuMemcpyPeer",
    "cuMemcpyPeerAsync",
    "cuMemcpy2D_v2",
    "cuMemcpy2DUnaligned_v2",
    "cuMemcpy2DAsync_v2",
    "cuMemcpy3D_v2",
    "cuMemcpy3DAsync_v2",
    "cuMemcpy3DPeer",
    "cuMemcpy3DPeerAsync",
    "cuMemcpyBatchAsync_v2",
    "cuMemcpy3DBatchAsync_v2",
    "cuGraphAddMemcpyNode",
    "cuGraphExecMemcpyNodeSetParams",
    "cuGraphMemcpyNodeSetParams",
    "cuGraphAddNode_v2",
    "cuIpcGetMemHandle",
    "cuMemExportToShareableHandle",
    "cuMemGetHandleForAddressRange",
    "cuMemRetainAllocationHandle",
    "cuMemPoolExportPointer",
    "cuMulticastBindAddr",
    "cuPointerGetAttribute",
    "cuMemPrefetchAsync_v2",
    "cuTexObjectCreate",
    "cuMemAllocManaged",
    "cuCoredumpSetAttribute",
    "cuCoredumpSetAttributeGlobal",
    "GetProcAddress",
];

impl CudaDevice {
    /// Tries one call upon the mark, which is secret and not zero in a clean incarnation.
    pub fn danger_attempt(&self, call: &str) -> Result<Attempt, GpuError> {
        let at = {
            let hold = lock(&self.0.hold);
            let hold = hold.as_ref().ok_or(GpuError::Tainted)?;
            hold.keys.mark()?.danger_address()
        };
        let driver = driver().ok_or(GpuError::NoModel)?;
        Ok(attempt(driver, call, at))
    }
}

/// A description of a copy, as words: `CUDA_MEMCPY2D`.
fn copy_2d(at: u64, to: u64) -> [u64; 16] {
    [0, 0, 2, 0, at, 0, BYTES, 0, 0, 1, to, 0, 0, BYTES, BYTES, 1]
}

/// `CUDA_MEMCPY3D`.
fn copy_3d(at: u64, to: u64) -> [u64; 25] {
    let from = [0, 0, 0, 0, 2, 0, at, 0, 0, BYTES, 1];
    let into = [0, 0, 0, 0, 1, to, 0, 0, 0, BYTES, 1];
    let mut words = [0; 25];
    words[..11].copy_from_slice(&from);
    words[11..22].copy_from_slice(&into);
    words[22..].copy_from_slice(&[BYTES, 1, 1]);
    words
}

fn attempt(driver: *mut c_void, call: &str, at: u64) -> Attempt {
    let mut out = [0u64; 16];
    let to = out.as_mut_ptr() as u64;
    let (flat, deep) = (copy_2d(at, to), copy_3d(at, to));
    let (flat, deep) = (flat.as_ptr() as u64, deep.as_ptr() as u64);
    let (one_to, one_from, one_bytes) = ([to], [at], [BYTES]);
    let (tos, froms, sizes) =
        (one_to.as_ptr() as u64, one_from.as_ptr() as u64, one_bytes.as_ptr() as u64);
    let args: [u64; 8] = match call {
        "cuMemcpyDtoA_v2" => [1, 0, at, BYTES, 0, 0, 0, 0],
        "cuMemcpyPeer" | "cuMemcpyPeerAsync" => [to, 0, at, 0, BYTES, 0, 0, 0],
        "cuMemcpy2D_v2" | "cuMemcpy2DUnaligned_v2" | "cuMemcpy2DAsync_v2" => {
            [flat, 0, 0, 0, 0, 0, 0, 0]
        }
        "cuMemcpy3D_v2" | "cuMemcpy3DAsync_v2" | "cuMemcpy3DPeer" | "cuMemcpy3DPeerAsync" => {
            [deep, 0, 0, 0, 0, 0, 0, 0]
        }
        "cuMemcpyBatchAsync_v2" => [tos, froms, sizes, 1, 0, 0, 0, 0],
        "cuGraphAddMemcpyNode" => [to, 0, 0, 0, deep, 0, 0, 0],
        "cuGraphExecMemcpyNodeSetParams" => [0, 0, deep, 0, 0, 0, 0, 0],
        "cuGraphMemcpyNodeSetParams" => [0, deep, 0, 0, 0, 0, 0, 0],
        "cuMulticastBindAddr" => [1, 0, at, BYTES, 0, 0, 0, 0],
        "cuPointerGetAttribute" => [to, 4, at, 0, 0, 0, 0, 0],
        "cuMemPrefetchAsync_v2" => [at, BYTES, 0, 0, 0, 0, 0, 0],
        "cuMemAllocManaged" => [to, BYTES, 1, 0, 0, 0, 0, 0],
        _ => [to, at, BYTES, 0, 0, 0, 0, 0],
    };
    let found = match call {
        "GetProcAddress" => found_by_the_driver(driver),
        name => find(driver, name),
    };
    let Some(found) = found else { return Attempt { result: 500, yielded: false } };
    // SAFETY: each call takes integers and pointers only, so on the ABIs that this is built for (System
    // V on x86-64, AAPCS64) it can be called with more words than it reads. What pointers point to are
    // locals, with room for what the call writes.
    let result = unsafe {
        type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64) -> u32;
        let run: Any = std::mem::transmute(found);
        let [a, b, c, d, e, f, g, h] = args;
        let result = run(a, b, c, d, e, f, g, h);
        if let Some(finish) = find(driver, "cuCtxSynchronize") {
            let finish: unsafe extern "C" fn() -> u32 = std::mem::transmute(finish);
            finish();
        }
        result
    };
    let yielded = std::hint::black_box(&out).iter().any(|word| *word != 0);
    out.fill(0);
    std::hint::black_box(&out);
    Attempt { result, yielded }
}

/// The driver's library, as whoever links with it has it.
fn driver() -> Option<*mut c_void> {
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: asks for a library that is loaded already.
    let driver = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), flags) };
    (!driver.is_null()).then_some(driver)
}

fn find(driver: *mut c_void, name: &str) -> Option<*mut c_void> {
    let name = CString::new(name).ok()?;
    // SAFETY: asks a loaded library for a symbol.
    let found = unsafe { libc::dlsym(driver, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}

/// `cuMemcpyDtoH`, as the runtime library finds it.
fn found_by_the_driver(driver: *mut c_void) -> Option<*mut c_void> {
    let ask = find(driver, "cuGetProcAddress_v2")?;
    let (mut found, mut status) = (std::ptr::null_mut::<c_void>(), 0u32);
    // SAFETY: the driver's function of this type; pointers are to locals.
    let result = unsafe {
        type Ask = unsafe extern "C" fn(
            *const std::ffi::c_char,
            *mut *mut c_void,
            std::ffi::c_int,
            u64,
            *mut u32,
        ) -> u32;
        let ask: Ask = std::mem::transmute(ask);
        ask(c"cuMemcpyDtoH".as_ptr(), &mut found, 13_000, 0, &mut status)
    };
    (result == 0 && !found.is_null()).then_some(found)
}

/// A mark's length.
const BYTES: u64 = 32;
