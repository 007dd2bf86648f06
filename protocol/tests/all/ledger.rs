//! Tables of the custodian's ledger: devices, lives, models and counters that differ one at a time.

use split_custody_protocol::Violation;
use split_custody_protocol::effect::LeaseRecord;
use split_custody_protocol::ids::{Budget, Counter, LeaseId};
use split_custody_protocol::lease::{LeaseStanding, Ledger, RenewDecision, RenewInput};
use split_custody_protocol::release::{Coverage, Serving};
use split_custody_protocol::suite::{DeviceId, Digest, Incarnation, LeafKey};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::grant::Terms;
use split_custody_protocol::wire::lease::{Renew, RenewalAnswer};
use split_custody_protocol::wire::message::Message;

const AT: fn(u64) -> Instant = Instant::from_millis;
const MARGIN: Span = Span::from_millis(1);
const TERM: Span = Span::from_millis(10);
/// Longer than any term.
const TTL_MAX: Span = Span::from_millis(15);

/// A lease of this device's life for this manifest.
fn record(lease: u8, device: u8, life: u8, manifest: u8) -> LeaseRecord {
    LeaseRecord {
        lease: id(lease),
        device: DeviceId::new([device; 32]),
        incarnation: Incarnation::new([life; 32]),
        manifest: Digest::new([manifest; 32]),
        device_leaf: LeafKey::new([3; 32]),
        custodian_leaf: LeafKey::new([4; 32]),
        terms: Terms {
            first: TERM,
            term: TERM,
            budget: Budget::new(1),
            max_age: Span::from_millis(100),
        },
        chain: vec![],
    }
}

fn id(lease: u8) -> LeaseId {
    LeaseId::new([lease; 16])
}

fn insert(ledger: &mut Ledger, record: LeaseRecord) {
    ledger.insert(AT(0), record, AT(0), MARGIN);
}

fn standing(ledger: &Ledger, lease: u8) -> LeaseStanding {
    ledger.get(&id(lease)).expect("it is noted").standing()
}

/// What becomes of a lease of device 1, life 1 and manifest 1 when this one is committed.
fn older_than(record: LeaseRecord) -> LeaseStanding {
    let mut ledger = Ledger::default();
    insert(&mut ledger, self::record(1, 1, 1, 1));
    insert(&mut ledger, record);
    standing(&ledger, 1)
}

#[test]
fn lea_14_a_newer_lease_of_the_same_life_and_model_replaces_the_older() {
    assert_eq!(older_than(record(2, 1, 1, 1)), LeaseStanding::Superseded);
}

#[test]
fn lea_14_a_lease_of_another_model_or_device_replaces_nothing() {
    assert_eq!(older_than(record(2, 1, 1, 9)), LeaseStanding::Live, "another model");
    assert_eq!(older_than(record(2, 9, 9, 1)), LeaseStanding::Live, "another device");
    assert_eq!(older_than(record(2, 9, 9, 9)), LeaseStanding::Live, "another of both");
}

#[test]
fn rst_6_a_new_life_ends_the_leases_of_every_model() {
    assert_eq!(older_than(record(2, 1, 9, 1)), LeaseStanding::Superseded);
    assert_eq!(older_than(record(2, 1, 9, 9)), LeaseStanding::Superseded, "another model");
}

#[test]
fn rst_6_a_lease_of_an_earlier_life_that_is_committed_late_ends_nothing() {
    let mut ledger = Ledger::default();
    insert(&mut ledger, record(1, 1, 1, 1));
    insert(&mut ledger, record(2, 1, 2, 1));
    insert(&mut ledger, record(3, 1, 1, 1));
    let standings = [1, 2, 3].map(|lease| standing(&ledger, lease));
    let (live, over) = (LeaseStanding::Live, LeaseStanding::Superseded);
    assert_eq!(standings, [over, live, over]);
}

#[test]
fn rev_6_what_was_revoked_stays_revoked() {
    let mut ledger = Ledger::default();
    insert(&mut ledger, record(1, 1, 1, 1));
    ledger.revoke(|_| true);
    insert(&mut ledger, record(2, 1, 1, 1));
    assert_eq!(standing(&ledger, 1), LeaseStanding::Revoked, "a newer lease replaces it");
    insert(&mut ledger, record(3, 1, 2, 1));
    assert_eq!(standing(&ledger, 1), LeaseStanding::Revoked, "a later life ends it");
}

#[test]
fn lea_14_a_superseded_lease_that_was_answered_stays_superseded() {
    let mut ledger = Ledger::default();
    insert(&mut ledger, record(1, 1, 1, 1));
    insert(&mut ledger, record(2, 1, 1, 1));
    assert_eq!(ended(decide(&mut ledger, 2, 1)), (RenewalAnswer::Ended, 1));
    assert_eq!(standing(&ledger, 1), LeaseStanding::Superseded);
}

/// What is decided at an instant about a renewal of lease 1 for this counter.
fn decide(ledger: &mut Ledger, now: u64, counter: u64) -> Result<RenewDecision, Violation> {
    let request = Renew { lease: id(1), counter: Counter::new(counter), used: 0 };
    let input = RenewInput {
        now: AT(now),
        device_leaf: LeafKey::new([3; 32]),
        custodian_leaf: LeafKey::new([4; 32]),
        serving: Serving::Yes,
        coverage: Coverage::Clear,
    };
    ledger.decide(&request, &input, TTL_MAX, MARGIN)
}

/// Lease 1, renewed once at 2.
fn renewed_once() -> Ledger {
    let mut ledger = Ledger::default();
    insert(&mut ledger, record(1, 1, 1, 1));
    let Ok(RenewDecision::Commit { counter, answer, lapse }) = decide(&mut ledger, 2, 1) else {
        panic!("a renewal that is committed");
    };
    assert_eq!(ledger.renewed(&id(1), counter, answer.clone(), lapse), Some(answer));
    ledger
}

#[test]
fn lea_6_a_renewal_is_held_alive_for_its_term_and_not_for_the_longest() {
    let lapse = renewed_once().get(&id(1)).expect("a lease").lapse();
    assert_eq!(lapse, AT(2 + 10 + 1));
}

/// The answer to a decision that ends a lease.
fn ended(decision: Result<RenewDecision, Violation>) -> (RenewalAnswer, u64) {
    let Ok(RenewDecision::End(frame)) = decision else { panic!("{decision:?}") };
    match Message::from_frame(&frame) {
        Ok(Message::Renewal(renewal)) => (renewal.answer, renewal.counter.value()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn lea_15_only_the_last_and_the_next_counter_are_answered() {
    let refused = Err(Violation::RenewalOutOfOrder);
    let live = |counter| decide(&mut renewed_once(), 3, counter);
    assert_eq!([0, 3, 5].map(live), [refused.clone(), refused.clone(), refused]);
    assert!(matches!(live(1), Ok(RenewDecision::Repeat(_))));
    assert!(matches!(live(2), Ok(RenewDecision::Commit { .. })));
}

#[test]
fn lea_15_a_lease_that_ended_answers_no_other_counter_either() {
    let refused = Err(Violation::RenewalOutOfOrder);
    let revoked = |counter| {
        let mut ledger = renewed_once();
        ledger.revoke(|_| true);
        decide(&mut ledger, 3, counter)
    };
    assert_eq!([0, 3, 5].map(revoked), [refused.clone(), refused.clone(), refused.clone()]);
    assert_eq!([1, 2].map(revoked).map(ended), [1, 2].map(|of| (RenewalAnswer::Ended, of)));
    let lapsed = |counter| decide(&mut renewed_once(), 13, counter);
    assert_eq!([0, 3].map(lapsed), [refused.clone(), refused.clone()]);
    assert_eq!([1, 2].map(lapsed).map(ended), [1, 2].map(|of| (RenewalAnswer::Ended, of)));
    // Never renewed: there is no last one, and 0 is the grant.
    let mut never = Ledger::default();
    insert(&mut never, record(1, 1, 1, 1));
    never.revoke(|_| true);
    assert_eq!(decide(&mut never, 3, 0), refused);
}
