//! `sealed_open`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::sealed_open;

fuzz_target!(|data: &[u8]| sealed_open::run(data));
