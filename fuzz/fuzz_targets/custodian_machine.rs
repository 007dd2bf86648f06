//! `custodian_machine`; see the body of the same name for what it is and what holds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use split_custody_fuzz_bodies::custodian_machine;

fuzz_target!(|data: &[u8]| custodian_machine::run(data));
