//! `safetensors_header`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::safetensors_header;

fuzz_target!(|data: &[u8]| safetensors_header::run(data));
