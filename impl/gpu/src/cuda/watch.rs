//! The line to the interposer, where one is loaded: it is told which memory is guarded, and calls back
//! when foreign code in this process tries to read it.
//!
//! The interposer is another library, so all that is shared is a table of four functions under one
//! name. Where nobody has it, there is nobody to tell.

use std::ffi::{CStr, c_char, c_void};
use std::sync::Weak;

use split_custody_kernels::resident::Secret;

use crate::cuda::life::Inner;
use crate::cuda::trip::Reason;

/// What the interposer offers; `impl/gpu/interposer` has the other side.
#[repr(C)]
struct Table {
    version: u64,
    guard: unsafe extern "C" fn(at: u64, bytes: u64),
    unguard: unsafe extern "C" fn(at: u64),
    on_read: unsafe extern "C" fn(call: Option<OnRead>, with: *mut c_void),
}

type OnRead = unsafe extern "C" fn(with: *mut c_void, call: *const c_char);

/// Whether an interposer is loaded.
pub(super) fn is_loaded() -> bool {
    table().is_some()
}

/// From now on a read of this memory calls back.
pub(super) fn guard(place: Secret) {
    if let Some(table) = table() {
        // SAFETY: a function of the interposer, which takes any range.
        unsafe { (table.guard)(place.danger_address(), place.bytes() as u64) };
    }
}

/// This memory is gone.
pub(super) fn unguard(place: Secret) {
    if let Some(table) = table() {
        // SAFETY: as above.
        unsafe { (table.unguard)(place.danger_address()) };
    }
}

/// Has reads trip this device. It stays registered for as long as the process lives: the last device
/// that was opened is called.
pub(super) fn call_back(device: Weak<Inner>) {
    if let Some(table) = table() {
        let device = Box::into_raw(Box::new(device)).cast();
        // SAFETY: the pointer stays valid for ever: it is leaked on purpose, once per device.
        unsafe { (table.on_read)(Some(on_read), device) };
    }
}

/// # Safety
/// `with` came from [`call_back`]; `call` ends with a zero byte.
unsafe extern "C" fn on_read(with: *mut c_void, call: *const c_char) {
    // SAFETY: a leaked box of this type.
    let device = unsafe { &*with.cast::<Weak<Inner>>() };
    // SAFETY: a name that the interposer holds.
    let call = unsafe { CStr::from_ptr(call) }.to_string_lossy().into_owned();
    if let Some(device) = device.upgrade() {
        device.trip(Reason::ForeignRead { call });
    }
}

fn table() -> Option<&'static Table> {
    // SAFETY: asks the loader for a symbol; the interposer is never unloaded.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"split_custody_interposer".as_ptr()) };
    // SAFETY: whoever exports this name exports such a table.
    let table = unsafe { found.cast::<Table>().as_ref() }?;
    (table.version == VERSION).then_some(table)
}

const VERSION: u64 = 1;
