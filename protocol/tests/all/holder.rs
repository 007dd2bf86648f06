//! Tables of the device's counting, on a bench: each bound of chapter 50 from both sides.
//!
//! The margin is 0.5 s; a first term of 6 s that was asked for at 0 ends at 5.5 s.

use crate::pair::bench::{Bench, leaf, renewal, terms};
use split_custody_model_check::symbolic::{Principal, incarnation};
use split_custody_protocol::Violation;
use split_custody_protocol::ids::{Attempt, Budget, CustodianId};
use split_custody_protocol::lease::{Admission, Holder, RenewalCheck};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::grant::Terms;
use split_custody_protocol::wire::lease::{Renewal, RenewalAnswer};

const AT: fn(u64) -> Instant = Instant::from_millis;
const TTL_MAX: Span = Span::from_millis(12_000);

fn holder(threshold: usize) -> Holder {
    Holder::new(threshold, Span::from_millis(500))
}

/// A lease of this custodian, asked for at `sent`.
fn add(holder: &mut Holder, custodian: u8, now: u64, sent: u64, terms: Terms) {
    let bench = Bench::new();
    let checked = bench.checked(custodian, Digest::new([8; 32]), terms);
    holder.add(AT(now), &checked, &bench.ready(custodian), AT(sent));
}

fn first(millis: u64) -> Terms {
    Terms { first: Span::from_millis(millis), ..terms() }
}

fn uses(millis: u64, budget: u64) -> Terms {
    Terms { budget: Budget::new(budget), ..first(millis) }
}

fn admit(holder: &mut Holder, now: u64) -> Result<Admission, Violation> {
    holder.admit(AT(now), incarnation(1), Attempt::new(1))
}

fn answered(holder: &mut Holder, now: u64, answer: &Renewal) -> Result<RenewalCheck, Violation> {
    let leaves = (leaf(), Principal::Custodian(1).leaf(0));
    holder.on_renewal(AT(now), CustodianId::new(1), answer, leaves, TTL_MAX)
}

/// Who is asked at this instant.
fn due(holder: &mut Holder, now: u64) -> Vec<u8> {
    holder.due(AT(now)).into_iter().map(|(custodian, _)| custodian.value()).collect()
}

#[test]
fn lea_2_a_lease_at_its_very_end_admits_nothing() {
    let mut holder = holder(2);
    add(&mut holder, 1, 0, 0, first(6_000));
    add(&mut holder, 2, 0, 0, first(12_000));
    add(&mut holder, 3, 0, 0, uses(12_000, 1));
    assert!(admit(&mut holder, 5_499).is_ok(), "which spends the budget of the third");
    assert!(admit(&mut holder, 5_499).is_ok());
    assert_eq!(holder.counting(AT(5_500)), 2);
    assert_eq!(admit(&mut holder, 5_500), Err(Violation::TooFewLeases));
}

#[test]
fn lea_4_a_lease_at_its_very_end_is_not_charged() {
    let mut holder = holder(1);
    add(&mut holder, 1, 0, 0, uses(6_000, 5));
    let charged = |holder: &mut Holder, now| {
        holder.charge(AT(now), 1);
        holder.leases().map(|(_, held)| (held.budget().value(), held.used())).collect::<Vec<_>>()
    };
    assert_eq!(charged(&mut holder, 5_499), [(4, 1)]);
    assert_eq!(charged(&mut holder, 5_500), [(4, 1)]);
}

#[test]
fn lea_2_the_kth_latest_end_is_found_whatever_the_order_of_the_ends() {
    for ends in [[12_000, 6_000, 9_000], [6_000, 12_000, 9_000], [9_000, 12_000, 6_000]] {
        let mut holder = holder(2);
        for (custodian, end) in (1..).zip(ends) {
            add(&mut holder, custodian, 0, 0, first(end));
        }
        assert_eq!(holder.until(), Some((AT(8_500), AT(8_500))), "{ends:?}");
        assert_eq!(holder.counting(AT(8_499)), 2);
        assert_eq!(holder.counting(AT(8_500)), 1);
    }
}

#[test]
fn lea_5_a_grant_that_brings_k_is_noticed_with_it() {
    let mut holder = holder(2);
    add(&mut holder, 1, 0, 0, first(6_000));
    assert!(!holder.is_counting());
    add(&mut holder, 2, 0, 0, first(6_000));
    assert!(holder.is_counting());
}

#[test]
fn lea_5_a_renewal_that_brings_k_is_noticed_with_it() {
    let mut holder = holder(2);
    add(&mut holder, 1, 0, 0, first(6_000));
    assert_eq!(due(&mut holder, 2_000), [1]);
    // The second comes when the first is over, and the first is renewed late.
    add(&mut holder, 2, 6_000, 6_000, first(6_000));
    assert!(!holder.is_counting());
    assert!(answered(&mut holder, 6_100, &renewal(1, 1, RenewalAnswer::Renewed)).is_ok());
    assert!(holder.is_counting());
}

#[test]
fn lea_5_a_use_that_finds_too_few_makes_the_loss_final() {
    let mut holder = holder(1);
    add(&mut holder, 1, 0, 0, first(6_000));
    assert_eq!(due(&mut holder, 2_000), [1]);
    assert_eq!(admit(&mut holder, 5_500), Err(Violation::TooFewLeases));
    assert!(answered(&mut holder, 5_600, &renewal(1, 1, RenewalAnswer::Renewed)).is_ok());
    assert_eq!(holder.counting(AT(5_600)), 1, "the lease itself counts again");
    assert_eq!(holder.may_leave(AT(5_600)), Err(Violation::OutputAfterLease));
    assert_eq!(admit(&mut holder, 5_600), Err(Violation::TooFewLeases));
}

#[test]
fn lea_7_nothing_is_asked_before_it_is_due_nor_at_the_end_of_a_lease() {
    let mut holder = holder(1);
    add(&mut holder, 1, 0, 0, first(6_000));
    let mut late = holder.clone();
    assert_eq!(due(&mut holder, 1_999), [0; 0]);
    assert_eq!(due(&mut holder, 2_000), [1]);
    assert_eq!(due(&mut holder, 5_332), [0; 0], "a third of the term after the first asking");
    assert_eq!(due(&mut holder, 5_333), [1]);
    assert_eq!(due(&mut late, 5_500), [0; 0]);
    assert_eq!(due(&mut late, 5_501), [0; 0], "nor after it");
}

#[test]
fn lea_7_a_renewal_sets_when_its_term_began_and_when_the_next_is_asked() {
    let mut holder = holder(1);
    add(&mut holder, 1, 0, 0, first(6_000));
    assert_eq!(due(&mut holder, 2_000), [1]);
    let term = Span::from_millis(6_000);
    let shorter = Renewal { term, ..renewal(1, 1, RenewalAnswer::Renewed) };
    assert!(answered(&mut holder, 2_100, &shorter).is_ok());
    let (_, held) = holder.leases().next().expect("a lease");
    assert_eq!((held.since(), held.end()), (AT(2_000), AT(7_500)));
    assert_eq!(holder.poll_timeout(), Some(AT(4_000)));
    assert_eq!(due(&mut holder, 4_000), [1]);
    assert_eq!(holder.poll_timeout(), Some(AT(6_000)), "a third of the new term");
}

#[test]
fn lea_7_the_first_that_is_due_wakes_the_machine_and_a_noticed_loss_does_not() {
    let mut holder = holder(1);
    add(&mut holder, 1, 0, 0, first(9_000));
    add(&mut holder, 2, 0, 0, first(6_000));
    assert_eq!(holder.poll_timeout(), Some(AT(2_000)));
    holder.settle(AT(8_500));
    assert_eq!(due(&mut holder, 8_500), [0; 0]);
    assert!(holder.is_lost());
    assert_eq!(holder.poll_timeout(), None);
}

#[test]
fn qrm_6_a_grant_that_comes_at_its_very_end_asks_for_nothing() {
    let (mut last, mut over) = (holder(2), holder(2));
    add(&mut last, 1, 5_499, 0, first(6_000));
    add(&mut over, 1, 5_500, 0, first(6_000));
    assert_eq!(last.poll_timeout(), Some(AT(2_000)), "at once, and late");
    assert_eq!(over.poll_timeout(), None);
}
