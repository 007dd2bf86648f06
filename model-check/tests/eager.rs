//! The intruder and its twin: the same worlds come of both. `prove twins` compares them where rules
//! are left out too, so that forged messages are accepted.

use split_custody_model_check::intruder::twin::{compare, smallest};

fn twins(name: &str) {
    let slice = smallest().into_iter().find(|slice| slice.name == name).expect("a slice");
    let compared = compare(&slice);
    assert!(compared.agree(), "{compared:?}");
    assert!(compared.lazy.unique > 10, "{compared:?} is no world to compare in");
}

#[test]
fn hs_10_requests_to_a_custodian_are_all_found() {
    twins("intruder-one");
}

#[test]
fn hs_10_requests_under_the_devices_own_leaf_key_are_all_found() {
    twins("intruder-stolen-leaf");
}

#[test]
fn rel_7_challenges_and_grants_in_a_custodians_name_are_all_found() {
    twins("intruder-impostor");
}

#[test]
fn rel_8_grants_of_a_corrupt_custodian_are_all_found() {
    twins("intruder-corrupt");
}

#[test]
fn lea_8_renewals_and_orders_are_all_found() {
    twins("intruder-renewal");
}
