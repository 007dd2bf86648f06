//! Counts what a piece of code allocates.
//!
//! Chapter 10, for [WIRE-1]: bytes from outside must not make a decoder allocate far beyond their
//! own length. [`peak`] gives the most heap bytes that were held at once by its own thread.
//! It does not see the stack, nor what other threads allocate.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a closure gave, and the most bytes it held on the heap at once.
pub fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = work();
    (result, usize::try_from(MOST.get() - before).unwrap_or(0))
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    // Constant initial values and no destructors: touching them allocates nothing.
    static HELD: Cell<i64> = const { Cell::new(0) };
    static MOST: Cell<i64> = const { Cell::new(0) };
}

fn count(bytes: i64) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

// SAFETY: every call goes to `System` with the caller's own arguments; counting touches no memory
// that is handed out. `realloc` is the default, which is a new block, a copy and a free: its peak
// holds both, as the worst case of any allocator does.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: `block` came from `System.alloc` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_1_peak_counts_what_is_held_at_once() {
        let (_, peak) = peak(|| {
            drop(vec![0u8; 1000]);
            drop(vec![0u8; 300]);
        });
        assert_eq!(peak, 1000);
    }
}
