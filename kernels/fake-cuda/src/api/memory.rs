//! Memory of the device and of the host.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ffi::{c_int, c_uint, c_ulonglong, c_void};

use super::give;
use crate::driver::{Driver, call, call_in_context};
use crate::wire::{Call, result as R};

/// `CUmemAccessDesc`: where, and how.
#[repr(C)]
pub struct Access {
    location: [c_int; 2],
    flags: c_uint,
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> u32 {
    call_in_context("cuMemAlloc_v2", |driver, context| {
        if bytes == 0 {
            return Err(R::INVALID_VALUE);
        }
        let at = driver.ask(Call::Allocate, &[context, bytes as u64], &[], &mut [])?;
        driver.ranges.insert(at, bytes as u64);
        // SAFETY: the caller's pointer, as `cuda.h` asks.
        unsafe { give(address, at) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> u32 {
    call_in_context("cuMemFree_v2", |driver, context| {
        driver.finish(context)?;
        driver.ranges.remove(&address);
        one(driver, Call::Free, &[address])
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocManaged(address: *mut u64, bytes: usize, _flags: c_uint) -> u32 {
    call_in_context("cuMemAllocManaged", |driver, context| {
        let at = driver.ask(Call::Allocate, &[context, bytes as u64], &[], &mut [])?;
        driver.ranges.insert(at, bytes as u64);
        // SAFETY: as above.
        unsafe { give(address, at) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAddressReserve(
    address: *mut u64,
    bytes: usize,
    _alignment: usize,
    _hint: u64,
    _flags: c_ulonglong,
) -> u32 {
    call_in_context("cuMemAddressReserve", |driver, _| {
        let at = driver.ask(Call::Reserve, &[bytes as u64], &[], &mut [])?;
        // SAFETY: as above.
        unsafe { give(address, at) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAddressFree(address: u64, bytes: usize) -> u32 {
    call("cuMemAddressFree", |driver| one(driver, Call::Unreserve, &[address, bytes as u64]))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAllocationGranularity(
    bytes: *mut usize,
    _properties: *const c_void,
    _option: c_uint,
) -> u32 {
    // SAFETY: as above.
    call("cuMemGetAllocationGranularity", |_| unsafe { give(bytes, 2 << 20) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemCreate(
    handle: *mut u64,
    bytes: usize,
    properties: *const c_uint,
    _flags: c_ulonglong,
) -> u32 {
    call_in_context("cuMemCreate", |driver, _| {
        // SAFETY: the caller's properties begin with the type and the handle types.
        let shareable = !properties.is_null() && unsafe { *properties.add(1) } != 0;
        if shareable {
            return Err(R::NOT_SUPPORTED);
        }
        let made = driver.ask(Call::Create, &[bytes as u64], &[], &mut [])?;
        // SAFETY: as above.
        unsafe { give(handle, made) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemRelease(handle: u64) -> u32 {
    call("cuMemRelease", |driver| one(driver, Call::Release, &[handle]))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemMap(
    address: u64,
    bytes: usize,
    _offset: usize,
    handle: u64,
    _flags: c_ulonglong,
) -> u32 {
    call("cuMemMap", |driver| {
        one(driver, Call::Map, &[address, bytes as u64, handle])?;
        driver.ranges.insert(address, bytes as u64);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemUnmap(address: u64, bytes: usize) -> u32 {
    call("cuMemUnmap", |driver| {
        one(driver, Call::Unmap, &[address, bytes as u64])?;
        driver.ranges.remove(&address);
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemSetAccess(
    address: u64,
    bytes: usize,
    access: *const Access,
    count: usize,
) -> u32 {
    call("cuMemSetAccess", |driver| {
        if count != 1 || access.is_null() {
            return Err(R::INVALID_VALUE);
        }
        // SAFETY: the caller says that there is one.
        let open = unsafe { (*access).flags } == 3;
        one(driver, Call::Protect, &[address, bytes as u64, open.into()])
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(
    pointer: *mut *mut c_void,
    bytes: usize,
    _flags: c_uint,
) -> u32 {
    call_in_context("cuMemHostAlloc", |_, _| {
        // The length lies before what is given out.
        let layout = host_layout(bytes)?;
        // SAFETY: the layout has a length.
        let base = unsafe { alloc_zeroed(layout) };
        if base.is_null() {
            return Err(R::OUT_OF_MEMORY);
        }
        // SAFETY: there is room for the length and the memory; the pointer is the caller's.
        unsafe {
            base.cast::<usize>().write(bytes);
            give(pointer, base.add(HOST_HEAD).cast())
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> u32 {
    call("cuMemFreeHost", |driver| {
        if let Ok(context) = driver.current() {
            driver.finish(context)?;
        }
        // SAFETY: the caller gives back what `cuMemHostAlloc` gave.
        unsafe {
            let base = pointer.cast::<u8>().sub(HOST_HEAD);
            dealloc(base, host_layout(base.cast::<usize>().read())?);
        }
        Ok(())
    })
}

fn host_layout(bytes: usize) -> Result<Layout, u32> {
    Layout::from_size_align(bytes + HOST_HEAD, HOST_HEAD).map_err(|_| R::INVALID_VALUE)
}

fn one(driver: &mut Driver, call: Call, args: &[u64]) -> Result<(), u32> {
    driver.ask(call, args, &[], &mut []).map(drop)
}

const HOST_HEAD: usize = 4096;
