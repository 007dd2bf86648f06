//! `nvidia_chain`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::nvidia_chain;

fuzz_target!(|data: &[u8]| nvidia_chain::run(data));
