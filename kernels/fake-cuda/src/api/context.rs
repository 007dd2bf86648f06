//! The GPU and contexts on it.

use std::ffi::{c_char, c_int, c_uint, c_void};

use super::{give, handle};
use crate::driver::{CURRENT, Context, Driver, call};
use crate::wire::{Call, result as R};

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: c_uint) -> u32 {
    call("cuInit", |driver| {
        if devices() == 0 {
            return Err(R::NO_DEVICE);
        }
        driver.connect()
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> u32 {
    // SAFETY: the caller's pointer, as `cuda.h` asks.
    call("cuDriverGetVersion", |_| unsafe { give(version, 13_000) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> u32 {
    // SAFETY: as above.
    call("cuDeviceGetCount", |_| unsafe { give(count, devices()) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    call("cuDeviceGet", |_| {
        if ordinal < 0 || ordinal >= devices() {
            return Err(R::INVALID_DEVICE);
        }
        // SAFETY: as above.
        unsafe { give(device, ordinal) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, _device: c_int) -> u32 {
    call("cuDeviceGetName", |_| {
        let text = b"fake GPU (the kernels on this CPU, for tests only)\0";
        if name.is_null() || length < text.len() as c_int {
            return Err(R::INVALID_VALUE);
        }
        // SAFETY: there is room for `length` bytes, and the text has fewer.
        unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), name, text.len()) };
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(
    value: *mut c_int,
    what: c_uint,
    _device: c_int,
) -> u32 {
    call("cuDeviceGetAttribute", |_| {
        let (major, minor) = capability();
        let found = match what {
            16 => 2, // multiprocessors: a launch of more than two tiles has blocks that loop
            75 => major,
            76 => minor,
            97 => 227 << 10, // shared memory of a block, opted in
            102 => 1,        // virtual memory management
            115 => 0,        // memory pools
            _ => 0,
        };
        // SAFETY: as above.
        unsafe { give(value, found) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) -> u32 {
    call("cuDeviceTotalMem_v2", |driver| {
        let (_, all) = info(driver)?;
        // SAFETY: as above.
        unsafe { give(bytes, all) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> u32 {
    call("cuMemGetInfo_v2", |driver| {
        driver.current()?;
        let (left, all) = info(driver)?;
        // SAFETY: as above.
        unsafe { give(free, left).and_then(|()| give(total, all)) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxCreate_v4(
    context: *mut *mut c_void,
    _params: *mut c_void,
    _flags: c_uint,
    _device: c_int,
) -> u32 {
    call("cuCtxCreate_v4", |driver| {
        let number = begin(driver)?;
        CURRENT.set(number);
        // SAFETY: as above.
        unsafe { give(context, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxDestroy_v2(context: *mut c_void) -> u32 {
    call("cuCtxDestroy_v2", |driver| end(driver, context as u64))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> u32 {
    call("cuCtxSetCurrent", |driver| {
        let number = context as u64;
        if number != 0 && !driver.contexts.contains_key(&number) {
            return Err(R::INVALID_CONTEXT);
        }
        CURRENT.set(number);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut *mut c_void) -> u32 {
    // SAFETY: as above.
    call("cuCtxGetCurrent", |_| unsafe { give(context, handle(CURRENT.get())) })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> u32 {
    call("cuCtxSynchronize", |driver| {
        let context = driver.current()?;
        driver.finish(context)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(
    context: *mut *mut c_void,
    _device: c_int,
) -> u32 {
    call("cuDevicePrimaryCtxRetain", |driver| {
        let number = match driver.primary {
            Some(number) => number,
            None => begin(driver)?,
        };
        driver.primary = Some(number);
        // SAFETY: as above.
        unsafe { give(context, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(_device: c_int) -> u32 {
    // It stays, as the primary context of a process that may use it again.
    call("cuDevicePrimaryCtxRelease_v2", |_| Ok(()))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxReset_v2(_device: c_int) -> u32 {
    call("cuDevicePrimaryCtxReset_v2", |driver| match driver.primary.take() {
        Some(number) => end(driver, number),
        None => Ok(()),
    })
}

fn begin(driver: &mut Driver) -> Result<u64, u32> {
    if !driver.initialised {
        return Err(R::NOT_INITIALIZED);
    }
    info(driver)?; // a GPU that is gone gives no contexts
    let number = driver.number();
    driver.contexts.insert(number, Context::default());
    driver.queues.streams.insert((number, 0), Default::default());
    Ok(number)
}

fn end(driver: &mut Driver, number: u64) -> Result<(), u32> {
    driver.contexts.remove(&number).ok_or(R::INVALID_CONTEXT)?;
    driver.queues.streams.retain(|(context, _), _| *context != number);
    if CURRENT.get() == number {
        CURRENT.set(0);
    }
    driver.ask(Call::EndContext, &[number], &[], &mut []).map(drop)
}

fn info(driver: &mut Driver) -> Result<(usize, usize), u32> {
    let pages = driver.ask(Call::Info, &[], &[], &mut [])?;
    Ok(((pages >> 32) as usize * 4096, (pages & 0xffff_ffff) as usize * 4096))
}

fn devices() -> c_int {
    std::env::var("FAKE_CUDA_DEVICES").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn capability() -> (c_int, c_int) {
    let text = std::env::var("FAKE_CUDA_CAPABILITY").unwrap_or_default();
    let parts = text.split_once('.').and_then(|(a, b)| a.parse().ok().zip(b.parse().ok()));
    parts.unwrap_or((9, 0))
}
