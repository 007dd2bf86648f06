//! Which memory is guarded, and whom to call.

use std::ffi::{CStr, c_char, c_void};
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

type OnRead = unsafe extern "C" fn(with: *mut c_void, call: *const c_char);

/// What the device finds under the name `split_custody_interposer`.
#[repr(C)]
pub struct Table {
    version: u64,
    guard: unsafe extern "C" fn(at: u64, bytes: u64),
    unguard: unsafe extern "C" fn(at: u64),
    on_read: unsafe extern "C" fn(call: Option<OnRead>, with: *mut c_void),
}

#[unsafe(no_mangle)]
pub static split_custody_interposer: Table = Table { version: 1, guard, unguard, on_read };

/// One range; 0 bytes is none.
struct Range {
    at: AtomicU64,
    bytes: AtomicU64,
}

static RANGES: [Range; RANGES_MAX] =
    [const { Range { at: AtomicU64::new(0), bytes: AtomicU64::new(0) } }; RANGES_MAX];
/// Ranges that found no place: then every copy out is one of guarded memory.
static OVERFLOW: AtomicUsize = AtomicUsize::new(0);
static CALL: AtomicUsize = AtomicUsize::new(0);
static WITH: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

unsafe extern "C" fn guard(at: u64, bytes: u64) {
    for range in &RANGES {
        // The length is written last: a range is seen whole or not at all.
        if range.at.compare_exchange(0, at, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            range.bytes.store(bytes, Ordering::Release);
            return;
        }
    }
    OVERFLOW.fetch_add(1, Ordering::AcqRel);
}

unsafe extern "C" fn unguard(at: u64) {
    for range in &RANGES {
        if range.at.load(Ordering::Acquire) == at {
            range.bytes.store(0, Ordering::Release);
            range.at.store(0, Ordering::Release);
            return;
        }
    }
    // It was one that found no place.
    let one_less = |count: usize| count.checked_sub(1);
    let _ = OVERFLOW.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
}

unsafe extern "C" fn on_read(call: Option<OnRead>, with: *mut c_void) {
    WITH.store(with, Ordering::Release);
    CALL.store(call.map_or(0, |call| call as usize), Ordering::Release);
}

/// Whether any of these bytes is guarded.
pub fn touches(at: u64, bytes: u64) -> bool {
    if OVERFLOW.load(Ordering::Acquire) > 0 {
        return true;
    }
    let end = at.saturating_add(bytes.max(1));
    RANGES.iter().any(|range| {
        let (start, length) =
            (range.at.load(Ordering::Acquire), range.bytes.load(Ordering::Acquire));
        length > 0 && at < start.saturating_add(length) && start < end
    })
}

/// Whether anything is guarded at all.
pub fn anything() -> bool {
    OVERFLOW.load(Ordering::Acquire) > 0
        || RANGES.iter().any(|range| range.bytes.load(Ordering::Acquire) > 0)
}

/// Trips the device; returns when its memory is gone.
pub fn trip(call: &CStr) {
    let on_read = CALL.load(Ordering::Acquire);
    if on_read == 0 {
        return;
    }
    // SAFETY: stored by `on_read` as a function of this type, with what belongs to it.
    unsafe {
        let on_read: OnRead = std::mem::transmute(on_read);
        on_read(WITH.load(Ordering::Acquire), call.as_ptr());
    }
}

/// BOUND: a device guards two pieces of memory.
const RANGES_MAX: usize = 64;
