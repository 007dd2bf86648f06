//! The calls, by what they are about. Contracts are those of `cuda.h`.

mod context;
mod control;
mod copy;
mod export;
mod memory;
mod module;
mod stream;

use std::ffi::c_void;

/// A handle is a number that no pointer is.
fn handle(number: u64) -> *mut c_void {
    number as *mut c_void
}

/// Writes a result where the caller wants it.
///
/// # Safety
/// `to` is null or writable.
unsafe fn give<T>(to: *mut T, value: T) -> Result<(), u32> {
    if to.is_null() {
        return Err(crate::wire::result::INVALID_VALUE);
    }
    // SAFETY: not null, so the caller says that it is writable.
    unsafe { to.write(value) };
    Ok(())
}
