//! The guarded calls: what each would take out, and the refusal.

use std::ffi::{CStr, c_int, c_uint, c_ulonglong, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::guard::{anything, touches, trip};

/// A call that this library answers.
pub struct Guarded {
    name: &'static CStr,
    here: fn() -> usize,
    real: AtomicUsize,
}

impl Guarded {
    /// Our function.
    pub fn here(&self) -> *mut c_void {
        (self.here)() as *mut c_void
    }

    /// The driver's, for what goes on.
    pub fn remember(&self, real: *mut c_void) {
        if real != self.here() {
            self.real.store(real as usize, Ordering::Release);
        }
    }
}

/// The guarded call of this name.
pub fn guarded(name: &CStr) -> Option<&'static Guarded> {
    CALLS.iter().find(|call| call.name == name)
}

/// The guarded call of this name, whatever its version.
pub fn guarded_unversioned(name: &[u8]) -> Option<&'static Guarded> {
    CALLS.iter().find(|call| {
        let rest = call.name.to_bytes().strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"_v"))
    })
}

/// The driver's function of this name, in the library that is loaded.
pub fn find(name: &CStr) -> Option<usize> {
    if let Some(known) = guarded(name).map(|call| call.real.load(Ordering::Acquire))
        && known != 0
    {
        return Some(known);
    }
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
    // SAFETY: asks for a library that the process has already loaded, and for a symbol of it.
    let found = unsafe {
        let driver = libc::dlopen(c"libcuda.so.1".as_ptr(), flags);
        if driver.is_null() {
            return None;
        }
        crate::find::driver_symbol(driver, name)
    };
    (found != 0).then_some(found)
}

/// Refuses and trips where `hit` says so, else calls the driver.
macro_rules! guarded {
    ($($name:ident($($arg:ident: $type:ty),*) $hit:expr;)*) => {
        $(
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn $name($($arg: $type),*) -> u32 {
                const NAME: &CStr = match CStr::from_bytes_with_nul(
                    concat!(stringify!($name), "\0").as_bytes(),
                ) {
                    Ok(name) => name,
                    Err(_) => panic!("a name without a zero byte"),
                };
                // SAFETY: descriptions are the caller's, as `cuda.h` asks.
                #[allow(unused_unsafe)]
                let hit: bool = unsafe { $hit };
                if hit {
                    trip(NAME); // before anything else happens [RST-2]
                    return NOT_PERMITTED;
                }
                let Some(real) = find(NAME) else { return NOT_FOUND };
                // SAFETY: the driver's function of this type, with the caller's arguments.
                unsafe {
                    let real: unsafe extern "C" fn($($type),*) -> u32 = std::mem::transmute(real);
                    real($($arg),*)
                }
            }
        )*
        static CALLS: [Guarded; COUNT] = [$(
            Guarded {
                name: match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                    Ok(name) => name,
                    Err(_) => panic!("a name without a zero byte"),
                },
                here: || $name as *const () as usize,
                real: AtomicUsize::new(0),
            },
        )*];
        const COUNT: usize = [$(stringify!($name)),*].len();
    };
}

type P = *mut c_void;

/// From guarded memory to anywhere that is not guarded: out.
fn out(to: u64, from: u64, bytes: usize) -> bool {
    touches(from, bytes as u64) && !touches(to, bytes as u64)
}

/// One side of a copy of rows: the base, and how far the rows reach.
unsafe fn rows(
    copy: *const u64,
    base: usize,
    at: [usize; 2],
    pitch: usize,
    end: usize,
) -> (u64, u64) {
    // SAFETY: the caller knows the layout of the description.
    let word = |i: usize| unsafe { *copy.add(i) };
    let (x, y) = (word(at[0]), word(at[1]));
    let start = word(base).saturating_add(x).saturating_add(y.saturating_mul(word(pitch)));
    let reach = word(end + 1).saturating_mul(word(pitch).max(1)).saturating_add(word(end));
    (start, reach)
}

/// `CUDA_MEMCPY2D`: sides of 7 words, then width and height.
unsafe fn out_2d(copy: P) -> bool {
    let copy = copy.cast::<u64>();
    // SAFETY: words 0 to 15 of the caller's description.
    let (from, to) = unsafe { (rows(copy, 4, [0, 1], 6, 14), rows(copy, 11, [7, 8], 13, 14)) };
    // SAFETY: as above; words 2 and 9 are the kinds of memory, 1 is the host's.
    let of_host = |i: usize| unsafe { *copy.add(i) as u32 == 1 };
    !of_host(2) && touches(from.0, from.1) && (of_host(9) || !touches(to.0, to.1))
}

/// `CUDA_MEMCPY3D`: sides of 11 words, then width, height and depth. Whatever begins in guarded memory
/// and has another target is out.
unsafe fn out_3d(copy: P) -> bool {
    let copy = copy.cast::<u64>();
    // SAFETY: words of the caller's description: 4 and 15 are the kinds, 6 and 17 device addresses.
    let word = |i: usize| unsafe { *copy.add(i) };
    let of_host = |i: usize| word(i) as u32 == 1;
    let reach = word(22).max(1).saturating_mul(word(23).max(1)).saturating_mul(word(24).max(1));
    let begins = word(6).saturating_add(word(0));
    !of_host(4) && touches(begins, reach) && (of_host(15) || !touches(word(17), 1))
}

unsafe fn out_batch(to: *const u64, from: *const u64, bytes: *const usize, count: usize) -> bool {
    // SAFETY: the caller gives `count` of each.
    (0..count).any(|i| unsafe { out(*to.add(i), *from.add(i), *bytes.add(i)) })
}

/// What a memory-copy node of a graph would copy.
unsafe fn out_node(copy: P) -> bool {
    // SAFETY: null, or the caller's `CUDA_MEMCPY3D`.
    !copy.is_null() && unsafe { out_3d(copy) }
}

/// A location given by value.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Location {
    kind: c_int,
    id: c_int,
}

guarded! {
    cuMemcpy(to: u64, from: u64, bytes: usize) out(to, from, bytes);
    cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: P) out(to, from, bytes);
    cuMemcpyDtoH_v2(to: P, from: u64, bytes: usize) touches(from, bytes as u64);
    cuMemcpyDtoHAsync_v2(to: P, from: u64, bytes: usize, stream: P) touches(from, bytes as u64);
    cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) out(to, from, bytes);
    cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: P) out(to, from, bytes);
    cuMemcpyDtoA_v2(array: P, at: usize, from: u64, bytes: usize) touches(from, bytes as u64);
    cuMemcpyPeer(to: u64, there: P, from: u64, here: P, bytes: usize) out(to, from, bytes);
    cuMemcpyPeerAsync(to: u64, there: P, from: u64, here: P, bytes: usize, stream: P) out(to, from, bytes);
    cuMemcpy2D_v2(copy: P) out_2d(copy);
    cuMemcpy2DUnaligned_v2(copy: P) out_2d(copy);
    cuMemcpy2DAsync_v2(copy: P, stream: P) out_2d(copy);
    cuMemcpy3D_v2(copy: P) out_3d(copy);
    cuMemcpy3DAsync_v2(copy: P, stream: P) out_3d(copy);
    cuMemcpy3DPeer(copy: P) out_3d(copy);
    cuMemcpy3DPeerAsync(copy: P, stream: P) out_3d(copy);
    cuMemcpyBatchAsync_v2(to: *const u64, from: *const u64, bytes: *const usize, count: usize, attributes: P, which: P, attribute_count: usize, stream: P) out_batch(to, from, bytes, count);
    cuMemcpy3DBatchAsync_v2(count: usize, copies: P, flags: c_ulonglong, stream: P) anything();
    cuGraphAddMemcpyNode(node: P, graph: P, after: P, count: usize, copy: P, context: P) out_node(copy);
    cuGraphExecMemcpyNodeSetParams(graph: P, node: P, copy: P, context: P) out_node(copy);
    cuGraphMemcpyNodeSetParams(node: P, copy: P) out_node(copy);
    cuGraphAddNode_v2(node: P, graph: P, after: P, edges: P, count: usize, params: P) anything();
    cuIpcGetMemHandle(handle: P, at: u64) touches(at, 1);
    cuMemExportToShareableHandle(to: P, handle: u64, kind: c_uint, flags: c_ulonglong) anything();
    cuMemGetHandleForAddressRange(to: P, at: u64, bytes: usize, kind: c_uint, flags: c_ulonglong) touches(at, bytes as u64);
    cuMemRetainAllocationHandle(handle: P, at: u64) touches(at, 1);
    cuMemPoolExportPointer(to: P, at: u64) touches(at, 1);
    cuMulticastBindAddr(handle: u64, offset: usize, at: u64, bytes: usize, flags: c_ulonglong) touches(at, bytes as u64);
    cuPointerGetAttribute(value: P, what: c_uint, at: u64) HANDS_OUT.contains(&what) && touches(at, 1);
    cuMemPrefetchAsync_v2(at: u64, bytes: usize, location: Location, flags: c_uint, stream: P) touches(at, bytes as u64);
    cuTexObjectCreate(to: P, resource: P, texture: P, view: P) anything();
    cuMemAllocManaged(at: P, bytes: usize, flags: c_uint) anything();
    cuCoredumpSetAttribute(what: c_uint, value: P, bytes: P) anything();
    cuCoredumpSetAttributeGlobal(what: c_uint, value: P, bytes: P) anything();
}

/// Attributes that make a way for others: a host pointer, tokens, handles.
const HANDS_OUT: [c_uint; 3] = [4, 5, 13];
/// `CUDA_ERROR_NOT_PERMITTED`.
const NOT_PERMITTED: u32 = 800;
/// `CUDA_ERROR_NOT_FOUND`.
const NOT_FOUND: u32 = 500;
