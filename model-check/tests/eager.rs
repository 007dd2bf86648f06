//! The intruder and its twin: the same worlds come of both, step by step, in the smallest worlds.

use std::collections::HashSet;

use split_custody_model_check::intruder::eager;
use split_custody_model_check::slice::{Slice, slice};
use split_custody_model_check::world::{Facts, World};

/// Every state that can be reached, and every step: (unique, generated).
fn walk(slice: &Slice) -> (usize, usize) {
    let config = slice.config(Facts::default());
    let initial = slice.initial(&config);
    let (mut seen, mut open, mut generated) = (HashSet::from([initial.clone()]), vec![initial], 1);
    while let Some(world) = open.pop() {
        for action in world.actions(&config) {
            let mut next: World = world.clone();
            next.step(&config, action);
            generated += 1;
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    (seen.len(), generated)
}

/// BOUND: one attempt, and as few messages as show one of each kind: the twin tries thousands each.
fn smallest(name: &str) -> Slice {
    let mut slice = slice(name).expect("a slice");
    slice.bounds.attempts = 1;
    slice.bounds.sends = slice.bounds.sends.min(2);
    slice.bounds.ticks = 0;
    slice
}

fn twins(name: &str) {
    let slice = smallest(name);
    let lazy = walk(&slice);
    let eager = eager::instead(|| walk(&slice));
    assert_eq!(lazy, eager, "{name}: unique and generated");
    assert!(lazy.0 > 30, "{name}: {lazy:?} is no world to compare in");
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
    let mut slice = smallest("intruder-corrupt");
    slice.bounds.intrusions = 0;
    let lazy = walk(&slice);
    assert_eq!(lazy, eager::instead(|| walk(&slice)), "unique and generated");
    assert!(lazy.0 > 30, "{lazy:?} is no world to compare in");
}

#[test]
fn lea_8_renewals_and_orders_are_all_found() {
    twins("intruder-lease");
}
