//! Streams, events, and what errors are called.

use std::ffi::{CStr, c_char, c_uint, c_void};

use super::{give, handle};
use crate::driver::{call, call_in_context};
use crate::queue::{Event, Work};
use crate::wire::result as R;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) -> u32 {
    call_in_context("cuStreamCreate", |driver, context| {
        let number = driver.number();
        driver.queues.streams.insert((context, number), Default::default());
        // SAFETY: the caller's pointer, as `cuda.h` asks.
        unsafe { give(stream, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: *mut c_void) -> u32 {
    call("cuStreamDestroy_v2", |driver| {
        let found = driver.queues.streams.keys().find(|(_, s)| *s == stream as u64).copied();
        let found = found.ok_or(R::INVALID_HANDLE)?;
        let finished = driver.finish_stream(found);
        driver.queues.streams.remove(&found);
        finished
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: *mut c_void) -> u32 {
    call_in_context("cuStreamSynchronize", |driver, context| {
        if stream.is_null() {
            return driver.finish(context);
        }
        driver.finish_stream((context, stream as u64))
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamQuery(stream: *mut c_void) -> u32 {
    call_in_context("cuStreamQuery", |driver, context| {
        let queue = driver.queues.streams.get(&(context, stream as u64));
        if queue.ok_or(R::INVALID_HANDLE)?.is_empty() { Ok(()) } else { Err(R::NOT_READY) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut *mut c_void, _flags: c_uint) -> u32 {
    call_in_context("cuEventCreate", |driver, _| {
        let number = driver.number();
        driver.queues.events.insert(number, Event::default());
        // SAFETY: as above.
        unsafe { give(event, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: *mut c_void) -> u32 {
    call("cuEventDestroy_v2", |driver| {
        driver.queues.events.remove(&(event as u64)).map(drop).ok_or(R::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: *mut c_void, stream: *mut c_void) -> u32 {
    call_in_context("cuEventRecord", |driver, context| {
        let number = driver.number();
        let at = (context, stream as u64);
        let event = event as u64;
        let state = driver.queues.events.get_mut(&event).ok_or(R::INVALID_HANDLE)?;
        (state.stream, state.recorded) = (Some(at), number);
        driver.put(context, at.1, Work::Record { event, number })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(
    stream: *mut c_void,
    event: *mut c_void,
    _flags: c_uint,
) -> u32 {
    call_in_context("cuStreamWaitEvent", |driver, context| {
        let event = event as u64;
        let number = driver.queues.events.get(&event).ok_or(R::INVALID_HANDLE)?.recorded;
        driver.put(context, stream as u64, Work::Wait { event, number })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: *mut c_void) -> u32 {
    call_in_context("cuEventSynchronize", |driver, _| {
        let event = event as u64;
        let number = driver.queues.events.get(&event).ok_or(R::INVALID_HANDLE)?.recorded;
        driver.finish_event(event, number)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(
    milliseconds: *mut f32,
    begin: *mut c_void,
    end: *mut c_void,
) -> u32 {
    call_in_context("cuEventElapsedTime_v2", |driver, _| {
        let when = |event: *mut c_void| driver.queues.events.get(&(event as u64))?.when;
        let (Some(begin), Some(end)) = (when(begin), when(end)) else {
            return Err(R::NOT_READY);
        };
        let took = end.saturating_duration_since(begin).as_secs_f32() * 1e3;
        // SAFETY: as above.
        unsafe { give(milliseconds, took) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(result: u32, text: *mut *const c_char) -> u32 {
    let said = match NAMES.iter().find(|(number, _)| *number == result) {
        Some((_, said)) => *said,
        None => c"an error that the fake driver has no words for",
    };
    // SAFETY: as above.
    unsafe { give(text, said.as_ptr()) }.err().unwrap_or(R::SUCCESS)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(result: u32, text: *mut *const c_char) -> u32 {
    // SAFETY: as above.
    unsafe { cuGetErrorString(result, text) }
}

const NAMES: [(u32, &CStr); 14] = [
    (R::SUCCESS, c"no error"),
    (R::INVALID_VALUE, c"invalid argument"),
    (R::OUT_OF_MEMORY, c"out of memory"),
    (R::NOT_INITIALIZED, c"initialization error"),
    (R::DEVICE_UNAVAILABLE, c"device is gone"),
    (R::NO_DEVICE, c"no CUDA-capable device is detected"),
    (R::INVALID_DEVICE, c"invalid device ordinal"),
    (R::INVALID_IMAGE, c"device kernel image is invalid"),
    (R::INVALID_CONTEXT, c"invalid device context"),
    (R::INVALID_HANDLE, c"invalid resource handle"),
    (R::NOT_FOUND, c"named symbol not found"),
    (R::NOT_READY, c"device not ready"),
    (R::ILLEGAL_ADDRESS, c"an illegal memory access was encountered"),
    (R::LAUNCH_FAILED, c"unspecified launch failure"),
];
