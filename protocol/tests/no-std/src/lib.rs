//! The protocol as a static library, with `core` and `alloc` and nothing else.
//!
//! It is built and never run: that it links is what it shows.
#![no_std]

extern crate alloc;

use core::alloc::{GlobalAlloc, Layout};
use core::panic::PanicInfo;

use split_custody_protocol::reset::{Guard, GuardInput, OnHostRead};
use split_custody_protocol::wire::Message;

/// Gives nothing: whoever embeds the protocol brings an allocator.
struct None;

// SAFETY: a null pointer is the allowed answer of an allocator that has no memory left.
unsafe impl GlobalAlloc for None {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: None = None;

#[panic_handler]
fn on_panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

/// Decodes a frame and tells its type; 0 where there is none.
///
/// # Safety
/// `bytes` points to `length` readable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn split_custody_type_of(bytes: *const u8, length: usize) -> u16 {
    // SAFETY: the caller's promise.
    let frame = unsafe { core::slice::from_raw_parts(bytes, length) };
    Message::from_frame(frame).map_or(0, |message| message.kind() as u16)
}

/// Takes one step of the smallest machine.
#[unsafe(no_mangle)]
pub extern "C" fn split_custody_power_on() -> bool {
    Guard::new(OnHostRead::Reset).handle(GuardInput::PoweredOn).is_ok()
}
