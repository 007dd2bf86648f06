//! A CUDA driver for tests: `libcuda.so.1` without a GPU.
//!
//! Device memory and kernels (the CPU shim's) live in another process, `fake-gpu`, so a test can scan
//! the memory of the process that uses the driver, and can see what a GPU would have kept. Nothing is
//! zeroed for anybody: not new memory, not freed memory, not what a dead client left.
//!
//! It is strict where drivers are lenient: work on a stream is done as late as the API allows, so a
//! buffer that is used again too early shows; a context that a kernel ended stays ended; memory made
//! with `cuMemCreate` outlives its context.
//!
//! | variable | means |
//! | --- | --- |
//! | `FAKE_CUDA_GPU` | socket of a `fake-gpu` that stays; else each process starts its own |
//! | `FAKE_CUDA_MEMORY_MB` | device memory, 64 where it is not set |
//! | `FAKE_CUDA_DEVICES` | how many GPUs are found, 1 |
//! | `FAKE_CUDA_CAPABILITY` | compute capability, `9.0` |
//! | `FAKE_CUDA_STUCK` | the jitter is none |
//! | `FAKE_CUDA_FAULTS` | what fails: [`fault`] |
//!
//! Never install it where a program could take it for a driver.

#![allow(clippy::missing_safety_doc)] // `cuda.h` is the contract of every call here.
#![allow(non_snake_case)]

mod api;
mod driver;
mod fault;
mod queue;
#[allow(dead_code)] // The GPU's process uses the other half.
mod wire;
