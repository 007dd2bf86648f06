//! Bodies of the fuzz targets: plain functions over bytes, run by libFuzzer and by stable tests.
//!
//! All chapters. Each target has one module with `run(bytes)` and an oracle that panics when its
//! property does not hold; every oracle takes what it judges as an argument, so that
//! `tests/oracles.rs` can show that it fails. When `run` returns, the property held for that input.
//! They generate nothing at random: the same bytes make the same run.

pub mod allocation;
pub mod custodian_machine;
pub mod device_machine;
pub mod fixtures;
pub mod nvidia;
pub mod nvidia_chain;
pub mod nvidia_report;
pub mod nvidia_rim;
pub mod rig;
pub mod safetensors_header;
pub mod sealed_open;
pub mod software_evidence;
pub mod watch;
pub mod wire_decode;
pub mod wire_mutate;
