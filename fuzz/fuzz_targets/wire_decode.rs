//! `wire_decode`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::wire_decode;

fuzz_target!(|data: &[u8]| wire_decode::run(data));
