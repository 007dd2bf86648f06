//! The fastest doubles are killed. Only a build that can leave rules out has this test:
//! `RUSTFLAGS="--cfg doubles" cargo test -p split-custody-model-check --features search`.
#![cfg(all(feature = "search", doubles))]

use split_custody_model_check::doubles::double;
use split_custody_model_check::harness::run_double;

fn steps(name: &str) -> usize {
    let result = run_double(&double(name).expect("a double"));
    assert_eq!(result.killed_by.first(), Some(&result.double.killed_by), "{name}");
    result.story.map_or(0, |story| story.len())
}

#[test]
fn hs_14_a_device_that_nobody_enrolled_is_noticed_in_two_steps() {
    assert_eq!(steps("device_not_enrolled"), 2);
}

#[test]
fn hs_10_an_unchecked_entry_is_noticed_in_six_steps() {
    assert_eq!(steps("own_entry_unchecked"), 6);
}

#[test]
fn rev_2_an_order_by_a_stranger_is_noticed_in_one_step() {
    assert_eq!(steps("order_by_stranger"), 1);
}
