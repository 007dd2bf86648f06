//! Stories that a hostile review told, over all chapters.

mod pair;

use pair::owner::Owner;
use pair::{Kind, Pair, Reply};
use split_custody_protocol::effect::{DeviceEffect, Report};
use split_custody_protocol::time::Span;

/// Grants may come later than their own first term, and are still awaited.
fn awaiting_late_grants() -> Pair {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.challenge_max = Span::from_millis(20_000);
    let mut pair = Pair::of(owner);
    for id in 1..=3 {
        pair.node(id).script.push((Kind::Appraise, Reply::Hold));
    }
    pair.acquire();
    pair
}

fn loads(pair: &Pair) -> usize {
    pair.asked.iter().filter(|effect| matches!(effect, DeviceEffect::Load { .. })).count()
}

fn erases_a_dek(effect: &DeviceEffect) -> bool {
    matches!(effect, DeviceEffect::Erase { secrets } if secrets.dek.is_some())
}

#[test]
fn lea_2_grants_after_their_own_terms_load_nothing() {
    let mut pair = awaiting_late_grants();
    pair.stall(5_500);
    pair.resume(1);
    pair.resume(2);
    assert_eq!((pair.custody(), loads(&pair)), ("Idle", 0));
    assert!(pair.asked.iter().any(erases_a_dek), "what was combined is erased");
    assert!(pair.device_reports.contains(&Report::NotAcquired { valid: 2, needed: 2 }));
}

#[test]
fn lea_2_grants_a_moment_before_their_terms_end_load() {
    let mut pair = awaiting_late_grants();
    pair.stall(5_499);
    pair.resume(1);
    pair.resume(2);
    assert_eq!((pair.custody(), loads(&pair)), ("Serving", 1));
}

#[test]
fn qrm_6_a_grant_after_its_own_term_counts_nothing_and_rings_no_alarm() {
    let mut pair = awaiting_late_grants();
    pair.resume(1);
    pair.resume(2);
    pair.wait(6_000);
    pair.resume(3);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
    assert!(pair.device.poll_timeout().is_some_and(|at| at > pair.now));
}

#[test]
fn lea_5_an_alarm_of_a_lease_that_is_over_does_not_ring_for_ever() {
    let mut pair = Pair::serving();
    pair.unreachable.insert(3);
    pair.drop_channels_of(3);
    pair.wait(2_000);
    pair.stall(4_000);
    pair.wait(1);
    assert!(pair.device.poll_timeout().is_some_and(|at| at > pair.now));
}
