//! The fastest slices, searched to the end: their counts are the model's fingerprint.
#![cfg(all(feature = "search", not(doubles)))]

use split_custody_model_check::harness::{Bound, prove};
use split_custody_model_check::slice::{Scope, slice, slices};

fn searched(name: &str) -> (usize, usize, bool) {
    let result = prove(&slice(name).expect("a slice"), Bound::of(Scope::Smoke));
    assert!(result.violated.is_empty(), "{name}: {:?}", result.violated);
    (result.found.unique, result.found.generated, result.found.exhaustive)
}

#[test]
fn aud_4_a_rolled_back_store_has_130_states() {
    assert_eq!(searched("rollback-one"), (130, 177, true));
}

#[test]
fn hs_10_one_custodian_and_one_hostile_channel_have_569_states() {
    assert_eq!(searched("handshake-one"), (569, 2_621, true));
}

#[test]
fn qrm_1_dials_that_fail_have_147_states() {
    assert_eq!(searched("quorum-cuts"), (147, 326, true));
}

#[test]
fn every_smoke_slice_is_pinned() {
    for slice in slices().into_iter().filter(|slice| slice.scope == Scope::Smoke) {
        assert!(slice.pinned().is_some(), "{}", slice.name);
    }
}
