//! What a test asks of the fake driver itself: faults, counts, a new beginning.

use std::ffi::{CStr, c_char};

use crate::driver::driver;

/// Adds faults; 0 if they are written right.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_cuda_fail(faults: *const c_char) -> u32 {
    // SAFETY: a test gives a text that ends with a zero byte.
    let text = unsafe { CStr::from_ptr(faults) }.to_string_lossy();
    u32::from(!driver().faults.add(&text))
}

/// No faults from now on.
#[unsafe(no_mangle)]
pub extern "C" fn fake_cuda_heal() {
    driver().faults.clear();
}

/// How often a call was made, or a kernel run (`kernel/NAME`); `bytes-out` is what was copied out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_cuda_count(name: *const c_char) -> u64 {
    // SAFETY: as above.
    driver().faults.calls(&unsafe { CStr::from_ptr(name) }.to_string_lossy())
}

/// Forgets everything, the GPU too: what a new process finds. Nothing of before may be used again.
#[unsafe(no_mangle)]
pub extern "C" fn fake_cuda_start_over() {
    driver().start_over();
}
