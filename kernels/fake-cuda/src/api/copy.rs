//! Copies, in every shape in which the API has them.

use std::ffi::{c_int, c_uchar, c_uint, c_ulonglong, c_void};

use crate::driver::{Driver, call_in_context};
use crate::queue::Work;
use crate::wire::{Call, result as R};

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(at: u64, value: c_uchar, bytes: usize) -> u32 {
    call_in_context("cuMemsetD8_v2", |driver, context| {
        driver.finish(context)?;
        let args = [at, value.into(), bytes as u64];
        driver.ask(Call::Fill, &args, &[], &mut []).map(drop)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(
    at: u64,
    value: c_uchar,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    call_in_context("cuMemsetD8Async", |driver, context| {
        let work = Work::Fill { at, value, bytes: bytes as u64 };
        driver.put(context, stream as u64, work)
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> u32 {
    now("cuMemcpyHtoD_v2", to, from as u64, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyHtoDAsync_v2(
    to: u64,
    from: *const c_void,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    later("cuMemcpyHtoDAsync_v2", to, from as u64, bytes, stream)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> u32 {
    now("cuMemcpyDtoH_v2", to as u64, from, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoHAsync_v2(
    to: *mut c_void,
    from: u64,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    later("cuMemcpyDtoHAsync_v2", to as u64, from, bytes, stream)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> u32 {
    now("cuMemcpyDtoD_v2", to, from, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(
    to: u64,
    from: u64,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    later("cuMemcpyDtoDAsync_v2", to, from, bytes, stream)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpy(to: u64, from: u64, bytes: usize) -> u32 {
    now("cuMemcpy", to, from, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyAsync(to: u64, from: u64, bytes: usize, stream: *mut c_void) -> u32 {
    later("cuMemcpyAsync", to, from, bytes, stream)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyPeer(
    to: u64,
    _: *mut c_void,
    from: u64,
    _: *mut c_void,
    bytes: usize,
) -> u32 {
    now("cuMemcpyPeer", to, from, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyPeerAsync(
    to: u64,
    _: *mut c_void,
    from: u64,
    _: *mut c_void,
    bytes: usize,
    stream: *mut c_void,
) -> u32 {
    later("cuMemcpyPeerAsync", to, from, bytes, stream)
}

/// One side of `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side2 {
    x: usize,
    y: usize,
    kind: c_uint,
    host: u64,
    device: u64,
    array: u64,
    pitch: usize,
}

/// `CUDA_MEMCPY2D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy2 {
    from: Side2,
    to: Side2,
    width: usize,
    height: usize,
}

impl Side2 {
    fn row(&self, row: usize) -> u64 {
        let base = if self.kind == 1 { self.host } else { self.device };
        base + (self.x + (self.y + row) * self.pitch) as u64
    }
}

unsafe fn copy_2d(name: &str, copy: *const Copy2) -> u32 {
    // SAFETY: the caller gives a whole description.
    let copy = unsafe { *copy };
    call_in_context(name, |driver, context| {
        driver.finish(context)?;
        (0..copy.height)
            .try_for_each(|row| driver.shift(copy.to.row(row), copy.from.row(row), copy.width))
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2D_v2(copy: *const Copy2) -> u32 {
    // SAFETY: the caller's description, as `cuda.h` asks.
    unsafe { copy_2d("cuMemcpy2D_v2", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DUnaligned_v2(copy: *const Copy2) -> u32 {
    // SAFETY: as above.
    unsafe { copy_2d("cuMemcpy2DUnaligned_v2", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy2DAsync_v2(copy: *const Copy2, _: *mut c_void) -> u32 {
    // SAFETY: as above. Early is allowed too.
    unsafe { copy_2d("cuMemcpy2DAsync_v2", copy) }
}

/// One side of `CUDA_MEMCPY3D`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Side3 {
    x: usize,
    y: usize,
    z: usize,
    lod: usize,
    kind: c_uint,
    host: u64,
    device: u64,
    array: u64,
    context: u64,
    pitch: usize,
    height: usize,
}

/// `CUDA_MEMCPY3D`, and of the same layout `CUDA_MEMCPY3D_PEER`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Copy3 {
    from: Side3,
    to: Side3,
    width: usize,
    height: usize,
    depth: usize,
}

impl Side3 {
    fn row(&self, row: usize, slice: usize) -> u64 {
        let base = if self.kind == 1 { self.host } else { self.device };
        base + (self.x + (self.y + row + (self.z + slice) * self.height) * self.pitch) as u64
    }
}

unsafe fn copy_3d(name: &str, copy: *const Copy3) -> u32 {
    // SAFETY: the caller gives a whole description.
    let copy = unsafe { *copy };
    call_in_context(name, |driver, context| {
        driver.finish(context)?;
        for slice in 0..copy.depth {
            for row in 0..copy.height {
                let (to, from) = (copy.to.row(row, slice), copy.from.row(row, slice));
                driver.shift(to, from, copy.width)?;
            }
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3D_v2(copy: *const Copy3) -> u32 {
    // SAFETY: the caller's description, as `cuda.h` asks.
    unsafe { copy_3d("cuMemcpy3D_v2", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3DAsync_v2(copy: *const Copy3, _: *mut c_void) -> u32 {
    // SAFETY: as above.
    unsafe { copy_3d("cuMemcpy3DAsync_v2", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3DPeer(copy: *const Copy3) -> u32 {
    // SAFETY: as above.
    unsafe { copy_3d("cuMemcpy3DPeer", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpy3DPeerAsync(copy: *const Copy3, _: *mut c_void) -> u32 {
    // SAFETY: as above.
    unsafe { copy_3d("cuMemcpy3DPeerAsync", copy) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyBatchAsync_v2(
    to: *const u64,
    from: *const u64,
    bytes: *const usize,
    count: usize,
    _attributes: *mut c_void,
    _which: *mut usize,
    _attribute_count: usize,
    _stream: *mut c_void,
) -> u32 {
    call_in_context("cuMemcpyBatchAsync_v2", |driver, context| {
        driver.finish(context)?;
        (0..count).try_for_each(|i| {
            // SAFETY: the caller gives `count` of each.
            let (to, from, bytes) = unsafe { (*to.add(i), *from.add(i), *bytes.add(i)) };
            driver.shift(to, from, bytes)
        })
    })
}

/// `CUmemLocation`: what kind, and which.
#[repr(C)]
pub struct Location {
    kind: c_uint,
    id: c_int,
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemPrefetchAsync_v2(
    _at: u64,
    _bytes: usize,
    _location: Location,
    _flags: c_uint,
    _stream: *mut c_void,
) -> u32 {
    call_in_context("cuMemPrefetchAsync_v2", |_, _| Ok(()))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoA_v2(_array: *mut c_void, _at: usize, from: u64, bytes: usize) -> u32 {
    // There are no arrays; reading the source is what counts.
    call_in_context("cuMemcpyDtoA_v2", |driver, _| driver.read(&mut vec![0; bytes], from).map(drop))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpy3DBatchAsync_v2(
    _count: usize,
    _copies: *mut c_void,
    _flags: c_ulonglong,
    _stream: *mut c_void,
) -> u32 {
    call_in_context("cuMemcpy3DBatchAsync_v2", |_, _| Ok(()))
}

fn now(name: &str, to: u64, from: u64, bytes: usize) -> u32 {
    call_in_context(name, |driver, context| {
        driver.finish(context)?;
        driver.shift(to, from, bytes)
    })
}

fn later(name: &str, to: u64, from: u64, bytes: usize, stream: *mut c_void) -> u32 {
    call_in_context(name, |driver, context| {
        let work = match (driver.is_device(to), driver.is_device(from)) {
            (true, true) => Work::Copy { to, from, bytes: bytes as u64 },
            (true, false) => Work::Write { to, from: from as usize, bytes },
            (false, true) => Work::Read { to: to as usize, from, bytes },
            (false, false) => return Err(R::INVALID_VALUE),
        };
        driver.put(context, stream as u64, work)
    })
}

impl Driver {
    /// Copies at once, between whatever the addresses are.
    fn shift(&mut self, to: u64, from: u64, bytes: usize) -> Result<(), u32> {
        if bytes == 0 {
            return Ok(());
        }
        match (self.is_device(to), self.is_device(from)) {
            (true, true) => self.ask(Call::Copy, &[to, from, bytes as u64], &[], &mut []).map(drop),
            (true, false) => {
                // SAFETY: an address that is not the device's is the caller's memory.
                let from = unsafe { std::slice::from_raw_parts(from as *const u8, bytes) };
                self.ask(Call::Write, &[to], from, &mut []).map(drop)
            }
            (false, true) => {
                // SAFETY: as above.
                let to = unsafe { std::slice::from_raw_parts_mut(to as *mut u8, bytes) };
                self.read(to, from)
            }
            (false, false) => Err(R::INVALID_VALUE),
        }
    }

    /// Whether an address is one that the GPU gave.
    fn is_device(&self, address: u64) -> bool {
        let below = self.ranges.range(..=address).next_back();
        below.is_some_and(|(start, bytes)| address - start < *bytes)
    }
}
