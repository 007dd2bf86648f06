//! Code: the prebuilt cubins, whose kernels the GPU's process has as text for the CPU.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::{give, handle};
use crate::driver::{Function, call, call_in_context};
use crate::queue::Work;
use crate::wire::{Call, result as R};

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut *mut c_void, image: *const u8) -> u32 {
    call_in_context("cuModuleLoadData", |driver, _| {
        // SAFETY: the caller gives a whole image.
        let image = unsafe { whole_image(image) }.ok_or(R::INVALID_IMAGE)?;
        let number = driver.number();
        driver.modules.insert(number, image);
        // SAFETY: the caller's pointer, as `cuda.h` asks.
        unsafe { give(module, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: *mut c_void) -> u32 {
    call("cuModuleUnload", |driver| {
        driver.modules.remove(&(module as u64)).map(drop).ok_or(R::INVALID_HANDLE)
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut *mut c_void,
    module: *mut c_void,
    name: *const c_char,
) -> u32 {
    call_in_context("cuModuleGetFunction", |driver, _| {
        // SAFETY: the caller's name ends with a zero byte.
        let name = unsafe { CStr::from_ptr(name) };
        let image = driver.modules.get(&(module as u64)).ok_or(R::INVALID_HANDLE)?;
        // In the code that was loaded, and in the text that stands for it.
        let section = [b".text.", name.to_bytes_with_nul()].concat();
        if !image.windows(section.len()).any(|window| window == section) {
            return Err(R::NOT_FOUND);
        }
        let args = driver.ask(Call::Arguments, &[], name.to_bytes_with_nul(), &mut [])? as usize;
        if args == 0 {
            return Err(R::NOT_FOUND);
        }
        let number = driver.number();
        let name = name.to_string_lossy().into_owned();
        driver.functions.insert(number, Function { name, args });
        // SAFETY: as above.
        unsafe { give(function, handle(number)) }
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuFuncSetAttribute(function: *mut c_void, _what: c_uint, _value: c_int) -> u32 {
    call("cuFuncSetAttribute", |driver| {
        let known = driver.functions.contains_key(&(function as u64));
        if known { Ok(()) } else { Err(R::INVALID_HANDLE) }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *mut c_void,
    grid_x: c_uint,
    grid_y: c_uint,
    grid_z: c_uint,
    block_x: c_uint,
    block_y: c_uint,
    block_z: c_uint,
    shared: c_uint,
    stream: *mut c_void,
    params: *mut *mut c_void,
    _extra: *mut *mut c_void,
) -> u32 {
    call_in_context("cuLaunchKernel", |driver, context| {
        let Function { name, args } =
            driver.functions.get(&(function as u64)).cloned().ok_or(R::INVALID_HANDLE)?;
        let flat = [grid_y, grid_z, block_y, block_z] == [1; 4];
        if params.is_null() || grid_x == 0 || !flat {
            return Err(R::INVALID_VALUE);
        }
        // SAFETY: our kernels take one struct, whose length the GPU's process knows.
        let args = unsafe { std::slice::from_raw_parts((*params).cast::<u8>(), args) }.to_vec();
        let shape = [grid_x.into(), block_x.into(), shared.into()];
        driver.put(context, stream as u64, Work::Launch { name, shape, args })
    })
}

/// A copy of an image: a cubin is an ELF file for machine 190 that ends with its headers.
///
/// # Safety
/// `at` is null or the first byte of a whole image.
unsafe fn whole_image(at: *const u8) -> Option<Vec<u8>> {
    if at.is_null() {
        return None;
    }
    // SAFETY: an image is longer than the head of an ELF file.
    let head = unsafe { std::slice::from_raw_parts(at, 64) };
    if !head.starts_with(b"\x7fELF") || head[18..20] != 190u16.to_le_bytes() {
        return None;
    }
    let long = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    let half = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
    let programs = long(32) + half(54) * half(56);
    let sections = long(40) + half(58) * half(60);
    let length = usize::try_from(programs.max(sections)).ok()?;
    // SAFETY: its headers say that it is so long.
    Some(unsafe { std::slice::from_raw_parts(at, length) }.to_vec())
}
