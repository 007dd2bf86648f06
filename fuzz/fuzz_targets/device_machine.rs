//! `device_machine`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::device_machine;

fuzz_target!(|data: &[u8]| device_machine::run(data));
