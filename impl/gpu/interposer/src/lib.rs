//! Stands between foreign code in a device's process and the CUDA driver: `LD_PRELOAD`.
//!
//! Chapter 70. A call that would take guarded memory out of the device (a copy, an export, a handle
//! for another process, a mapping, a dump) trips the device first, and is then refused with
//! `CUDA_ERROR_NOT_PERMITTED`; it never reaches the driver. Every other call goes on unchanged.
//! Code finds the driver's calls by linking, by `dlsym`, or by `cuGetProcAddress`: all three are
//! answered here.
//!
//! What it does not stop: kernels of foreign code (they may read what they can address), calls into
//! the kernel's driver past the library, code that finds the library's functions in memory, and root.
//! Confidential-computing hardware stops some of that; `docs/gpu.md` has the table.
//!
//! It holds no lock on any path: the table of ranges is an array of atomics, so a call that comes while
//! another trips waits for nobody but the trip itself.

#![allow(clippy::missing_safety_doc)] // `cuda.h` and `dlfcn.h` are the contracts here.
#![allow(non_snake_case)]

mod calls;
mod find;
mod guard;
