//! Ways by which memory leaves a process other than by a copy. They say that it worked, and give out
//! nothing: a guard that lets them pass is found by their counts.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};

use super::give;
use crate::driver::{call, call_in_context};
use crate::wire::result as R;

macro_rules! says_yes {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($arg: $type),*) -> u32 {
            $(let _ = $arg;)*
            call(stringify!($name), |_| Ok(()))
        }
    )*};
}

type P = *mut c_void;

says_yes! {
    cuMemExportToShareableHandle(to: P, handle: u64, kind: c_uint, flags: u64);
    cuMemGetHandleForAddressRange(to: P, at: u64, bytes: usize, kind: c_uint, flags: u64);
    cuMemPoolExportPointer(to: P, at: u64);
    cuMulticastBindAddr(handle: u64, offset: usize, at: u64, bytes: usize, flags: u64);
    cuMulticastBindMem(handle: u64, offset: usize, memory: u64, at: usize, bytes: usize, flags: u64);
    cuGraphAddMemcpyNode(node: P, graph: P, after: P, count: usize, copy: P, context: P);
    cuGraphExecMemcpyNodeSetParams(graph: P, node: P, copy: P, context: P);
    cuGraphMemcpyNodeSetParams(node: P, copy: P);
    cuGraphAddNode_v2(node: P, graph: P, after: P, edges: P, count: usize, params: P);
    cuCoredumpSetAttribute(what: c_uint, value: P, bytes: P);
    cuCoredumpSetAttributeGlobal(what: c_uint, value: P, bytes: P);
    cuTexObjectCreate(to: P, resource: P, texture: P, view: P);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuIpcGetMemHandle(handle: *mut [u8; 64], _at: u64) -> u32 {
    // SAFETY: the caller's pointer, as `cuda.h` asks.
    call("cuIpcGetMemHandle", |_| unsafe { give(handle, [1; 64]) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemRetainAllocationHandle(handle: *mut u64, _at: *mut c_void) -> u32 {
    // SAFETY: as above.
    call("cuMemRetainAllocationHandle", |_| unsafe { give(handle, 1) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttribute(value: *mut u64, _what: c_uint, at: u64) -> u32 {
    // SAFETY: as above.
    call("cuPointerGetAttribute", |_| unsafe { give(value, at) })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuPointerGetAttributes(
    _count: c_uint,
    _what: *mut c_uint,
    _values: *mut *mut c_void,
    _at: u64,
) -> u32 {
    call_in_context("cuPointerGetAttributes", |_, _| Ok(()))
}

/// What the runtime library asks for every other call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress_v2(
    name: *const c_char,
    to: *mut *mut c_void,
    _version: c_int,
    _flags: u64,
    status: *mut c_uint,
) -> u32 {
    call("cuGetProcAddress_v2", |_| {
        // SAFETY: the caller's name ends with a zero byte.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        let newest = ["_v4", "_v3", "_v2", ""].into_iter().find_map(|version| {
            let full = CString::new(format!("{name}{version}")).ok()?;
            // SAFETY: asks the loader for a symbol of this library, by its name.
            let found = unsafe { libc::dlsym(own_handle(), full.as_ptr()) };
            (!found.is_null()).then_some(found)
        });
        if !status.is_null() {
            // SAFETY: not null, so it is the caller's.
            unsafe { status.write(u32::from(newest.is_none())) };
        }
        // SAFETY: as above.
        unsafe { give(to, newest.ok_or(R::NOT_FOUND)?) }
    })
}

fn own_handle() -> *mut c_void {
    // SAFETY: the name is this library's own, and it is loaded.
    unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_NOLOAD) }
}
