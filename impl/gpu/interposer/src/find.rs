//! How code finds the driver's calls: `dlsym` and `cuGetProcAddress`, answered here for guarded calls.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::calls;

type Dlsym = unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;

/// The C library's, which this one stands before.
fn real_dlsym() -> Dlsym {
    static FOUND: AtomicUsize = AtomicUsize::new(0);
    let mut found = FOUND.load(Ordering::Acquire);
    if found == 0 {
        // The version it has had on each architecture since the beginning, and the one since 2.34.
        let versions = [c"GLIBC_2.2.5", c"GLIBC_2.17", c"GLIBC_2.34"];
        let find = |version: &CStr| {
            // SAFETY: asks the loader for the next symbol of this name and version.
            unsafe { libc::dlvsym(libc::RTLD_NEXT, c"dlsym".as_ptr(), version.as_ptr()) as usize }
        };
        found = versions.into_iter().map(find).find(|found| *found != 0).unwrap_or(0);
        assert!(found != 0, "the C library has no dlsym");
        FOUND.store(found, Ordering::Release);
    }
    // SAFETY: the C library's function of this type.
    unsafe { std::mem::transmute(found) }
}

/// A symbol of a library, past our own answer.
///
/// # Safety
/// The handle is one that `dlopen` gave.
pub unsafe fn driver_symbol(driver: *mut c_void, name: &CStr) -> usize {
    // SAFETY: the caller says so; the name ends with a zero byte.
    unsafe { real_dlsym()(driver, name.as_ptr()) as usize }
}

/// Answers for guarded calls, and passes on everything else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void {
    // SAFETY: the caller's arguments, as `dlfcn.h` asks.
    let real = unsafe { real_dlsym()(handle, name) };
    if real.is_null() || name.is_null() {
        return real; // what the driver does not have, nobody gets
    }
    // SAFETY: as above.
    let name = unsafe { CStr::from_ptr(name) };
    match name.to_bytes() {
        b"cuGetProcAddress_v2" => return cuGetProcAddress_v2 as *mut c_void,
        b"cuGetProcAddress" => return cuGetProcAddress as *mut c_void,
        _ => {}
    }
    let guarded = calls::guarded(name);
    // Somebody may ask for the next one after ours, and then gets it: that is us, here.
    guarded.map_or(real, |guarded| {
        guarded.remember(real);
        guarded.here()
    })
}

/// The same for code that asks the driver itself, as the runtime library does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress_v2(
    name: *const c_char,
    to: *mut *mut c_void,
    version: c_int,
    flags: u64,
    status: *mut c_uint,
) -> u32 {
    type Ask =
        unsafe extern "C" fn(*const c_char, *mut *mut c_void, c_int, u64, *mut c_uint) -> u32;
    let Some(real) = calls::find(c"cuGetProcAddress_v2") else { return NOT_FOUND };
    // SAFETY: the driver's function of this type, with the caller's arguments.
    let result = unsafe {
        let ask: Ask = std::mem::transmute(real);
        ask(name, to, version, flags, status)
    };
    if result == 0 && !to.is_null() && !name.is_null() {
        // SAFETY: the driver wrote there, and the name is the caller's.
        unsafe { answer(name, to) };
    }
    result
}

/// The older form, of drivers before 12.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress(
    name: *const c_char,
    to: *mut *mut c_void,
    version: c_int,
    flags: u64,
) -> u32 {
    // SAFETY: the same arguments, and a status that nobody wants.
    unsafe { cuGetProcAddress_v2(name, to, version, flags, std::ptr::null_mut()) }
}

/// # Safety
/// `to` holds what the driver answered; `name` ends with a zero byte.
unsafe fn answer(name: *const c_char, to: *mut *mut c_void) {
    // SAFETY: the caller says so.
    let (name, real) = unsafe { (CStr::from_ptr(name).to_bytes(), *to) };
    if real.is_null() {
        return;
    }
    // The driver is asked without a version: whichever it chose, the guarded one is ours.
    if let Some(guarded) = calls::guarded_unversioned(name) {
        guarded.remember(real);
        // SAFETY: as above.
        unsafe { *to = guarded.here() };
    }
}

/// `CUDA_ERROR_NOT_FOUND`.
const NOT_FOUND: u32 = 500;
