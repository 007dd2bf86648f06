//! Stories that a hostile review told, over all chapters.

use crate::pair::node::anchored;
use crate::pair::owner::{
    Owner, admit, approvals, certificate, operator, order_digest, revoke, submit, the_device,
    the_weights,
};
use crate::pair::{From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::effect::{CustodianAnswer, DeviceEffect, Output, Report, StopCause};
use split_custody_protocol::ids::{ChannelId, Counter, CustodianId, Epoch};
use split_custody_protocol::lease::LeaseStanding;
use split_custody_protocol::role::{CustodianInput, DeviceInput, Rejection};
use split_custody_protocol::suite::LeafKey;
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::lease::{Renew, RenewalAnswer};
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::{Acknowledgement, AwaitDead, Notice, Order};
use split_custody_protocol::{Misuse, Violation};

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

/// Some order that is not about the device.
fn another() -> Order {
    revoke(certificate(&Principal::Stranger.leaf(1)), 0)
}

fn acknowledgement(answers: &[Message]) -> Acknowledgement {
    match answers {
        [Message::Acknowledged(acknowledged)] => {
            acknowledged.statement.payload().expect("an acknowledgement")
        }
        other => panic!("one acknowledgement, not {other:?}"),
    }
}

#[test]
fn rev_4_an_order_that_was_not_written_is_written_before_it_is_acknowledged() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    pair.node(1).script.push((Kind::CommitOrder, Reply::Answer(CustodianAnswer::Fenced)));
    assert_eq!(pair.order(1, &order), []);
    pair.node(1).script.push((Kind::CommitOrder, Reply::Answer(CustodianAnswer::Fenced)));
    assert_eq!(pair.order(1, &order), [], "held, and still not durable");
    assert_eq!(anchored(pair.node(1)), []);
    let answers = pair.order(1, &order);
    assert_eq!(acknowledgement(&answers).epoch, Epoch::new(1));
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 3);
    pair.restart(1);
    assert!(pair.node(1).machine.orders().contains(&order_digest(&order)));
}

#[test]
fn rev_4_an_order_that_was_read_back_is_acknowledged_without_a_second_write() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.restart(1);
    let answers = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(acknowledgement(&answers).generation.value(), 2);
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 1);
}

#[test]
fn rev_4_the_same_order_again_costs_no_anchor_and_no_signature() {
    let mut pair = Pair::new();
    let first = pair.order(1, &revoke(the_device(), 0));
    let spent = [Kind::Anchor, Kind::Sign].map(|kind| pair.node(1).count(kind));
    let again = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(first, again);
    assert_eq!([Kind::Anchor, Kind::Sign].map(|kind| pair.node(1).count(kind)), spent);
}

#[test]
fn rev_4_an_order_that_waits_is_written_once_for_all_who_wait() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &another());
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    let order = submit(&revoke(the_device(), 0), &[operator(1)]);
    pair.say(one, order.clone());
    pair.say(one, order.clone());
    pair.say(two, order);
    pair.resume(1);
    assert_eq!(pair.mail[&one].len(), 1);
    assert_eq!(pair.mail[&one], pair.mail[&two]);
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 2);
}

#[test]
fn rev_4_a_revocation_that_nobody_waits_for_becomes_durable() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &another());
    let channel = pair.outsider(1);
    pair.say(channel, submit(&revoke(the_device(), 0), &[operator(1)]));
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(anchored(pair.node(1)).len(), 2);
}

#[test]
fn rev_4_an_admission_that_nobody_waits_for_is_dropped() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &another());
    let channel = pair.outsider(1);
    pair.say(channel, submit(&admit(the_device(), 1), &[operator(1)]));
    pair.break_channel(channel);
    pair.resume(1);
    assert!(!pair.node(1).machine.orders().contains(&order_digest(&admit(the_device(), 1))));
}

#[test]
fn rev_4_an_admission_is_in_force_only_when_it_is_durable() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &admit(the_device(), 1));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
    pair.resume(1);
    assert!(pair.node(1).machine.orders().contains(&order_digest(&admit(the_device(), 1))));
}

#[test]
fn rev_5_a_revocation_behind_a_slow_order_is_in_force_at_once() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &another());
    pair.order(1, &revoke(the_device(), 0));
    let lease = pair.node(1).machine.ledger().iter().next().expect("a lease").1.clone();
    assert_eq!(lease.standing(), LeaseStanding::Revoked);
    let channel = pair.beside(1);
    let renew = Renew { lease: lease.record().lease, counter: Counter::new(1), used: 0 };
    let answers = pair.say(channel, Message::Renew(renew));
    let [Message::Renewal(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.answer, RenewalAnswer::Ended);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Notice).len(), 2);
}

#[test]
fn rev_4_an_admission_submitted_twice_while_it_waits_is_applied_once() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &another());
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    pair.say(one, submit(&admit(the_device(), 1), &[operator(1)]));
    pair.say(two, submit(&admit(the_device(), 1), &[operator(1)]));
    pair.resume(1);
    assert_eq!(pair.mail[&one], pair.mail[&two]);
    assert_eq!(acknowledgement(&pair.mail[&one]).epoch, Epoch::new(3));
}

fn await_dead(order: &Order) -> Message {
    Message::AwaitDead(AwaitDead { order: order_digest(order) })
}

#[test]
fn rev_10_one_signature_says_dead_to_all_who_wait_and_who_ask_again() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let signed = pair.node(1).count(Kind::Sign);
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    pair.say(one, await_dead(&order));
    pair.say(one, await_dead(&order));
    pair.say(two, await_dead(&order));
    pair.wait(20_000);
    let again = pair.tell(1, await_dead(&order));
    assert_eq!((&pair.mail[&one], &pair.mail[&two]), (&again, &again));
    assert!(matches!(again.as_slice(), [Message::Dead(_)]), "{again:?}");
    assert_eq!(pair.node(1).count(Kind::Sign), signed + 1);
}

/// One of the issuers in the chain that the device presents.
fn issuer(number: u64) -> LeafKey {
    Principal::Custodian(100).leaf(number)
}

fn issued(number: u64) -> Order {
    revoke(certificate(&issuer(number)), 0)
}

#[test]
fn rev_10_a_channel_waits_for_eight_orders_and_no_more() {
    let mut pair = Pair::new();
    pair.chain.extend([0, 1, 2, 3, 4, 5, 6, 7, 8].map(issuer));
    pair.acquire();
    let channel = pair.outsider(1);
    let orders = [0, 1, 2, 3, 4, 5, 6, 7, 8].map(issued);
    orders.iter().for_each(|order| drop(pair.order(1, order)));
    orders[..8].iter().for_each(|order| drop(pair.say(channel, await_dead(order))));
    assert_eq!(pair.refusals(1), []);
    pair.say(channel, await_dead(&orders[8]));
    assert_eq!(pair.refusals(1), [Violation::Unexpected]);
}

#[test]
fn rev_10_a_key_that_fails_closes_and_who_waits_asks_again() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    pair.node(1).script.push((Kind::Sign, Reply::Answer(CustodianAnswer::HsmFailed)));
    assert_eq!(pair.tell(1, await_dead(&order)), []);
    assert!(matches!(pair.tell(1, await_dead(&order)).as_slice(), [Message::Dead(_)]));
}

#[test]
fn rev_12_output_of_a_use_admitted_before_a_revocation_is_kept() {
    let mut pair = Pair::serving();
    let admission = pair.device.admit(pair.now).expect("a use");
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.order(1, &revoke(the_device(), 0));
    assert_eq!(pair.custody(), "Erasing");
    let late = pair.device.release_output(pair.now, &admission);
    assert_eq!(late, Err(Violation::OutputAfterLease));
}

#[test]
fn lea_3_output_of_an_earlier_attempt_does_not_leave_under_a_later_one() {
    let mut pair = Pair::serving();
    let admission = pair.device.admit(pair.now).expect("a use");
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    let late = pair.device.release_output(pair.now, &admission);
    assert_eq!(late, Err(Violation::OutputAfterLease));
}

#[test]
fn rev_12_a_revocation_above_every_admission_that_the_device_heard_of_stops_it() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 3);
    let notice = Notice { approvals: approvals(&order, &[operator(1)]) };
    assert_eq!(pair.device_receives(1, &Message::Notice(notice)), Ok(()));
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Revoked }));
}

#[test]
fn rev_12_a_revocation_that_the_device_knows_to_be_lifted_does_not_stop_it() {
    let mut pair = Pair::serving();
    let notice =
        |order: &Order| Message::Notice(Notice { approvals: approvals(order, &[operator(1)]) });
    assert_eq!(pair.device_receives(1, &notice(&admit(the_device(), 1))), Ok(()));
    assert_eq!(pair.device_receives(1, &notice(&revoke(the_device(), 0))), Ok(()));
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn lea_8_a_channel_of_other_leaves_is_closed_and_not_dialled_again_at_once() {
    let mut pair = Pair::serving();
    pair.unreachable.insert(1);
    pair.drop_channels_of(1);
    pair.wait(2_000);
    let asked = pair.device.poll_timeout();
    let (channel, custodian) = (ChannelId::new(900), CustodianId::new(1));
    let (own_leaf, peer_leaf) = (Principal::Device.leaf(1), Principal::Stranger.leaf(1));
    let opened = DeviceInput::ChannelOpened { channel, custodian, own_leaf, peer_leaf };
    let suite = &mut crate::pair::suite_of(Principal::Device, 1);
    assert_eq!(pair.device.handle(pair.now, opened, suite), Ok(()));
    assert_eq!(pair.device.poll_output(), Some(Output::Close { channel }));
    assert_eq!(pair.device.poll_output(), None, "no dial, no renewal");
    assert_eq!(pair.device.poll_timeout(), asked);
}

#[test]
fn lea_15_a_lease_that_was_read_back_hears_ended_whatever_its_counter() {
    let mut pair = Pair::serving();
    let lease = pair.node(1).leases()[0].lease;
    pair.restart(1);
    let channel = pair.beside(1);
    let renew = Renew { lease, counter: Counter::new(5), used: 0 };
    let answers = pair.say(channel, Message::Renew(renew));
    let [Message::Renewal(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!((answer.answer, answer.counter), (RenewalAnswer::Ended, Counter::new(5)));
}

#[test]
fn hs_11_evidence_of_an_abandoned_attempt_is_discarded() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    let order = revoke(the_weights(), 0);
    let notice = Notice { approvals: approvals(&order, &[operator(1)]) };
    assert_eq!(pair.device_receives(1, &Message::Notice(notice)), Ok(()));
    assert_eq!(pair.custody(), "Idle");
    pair.device_resume();
    assert_eq!(pair.device_rejections, []);
}

#[test]
fn aud_1_a_second_provision_while_one_is_written_is_refused() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.node(1).script.push((Kind::CommitProvision, Reply::Hold));
    pair.provision(1);
    let answers = pair.provision(1);
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]), "{answers:?}");
    pair.resume(1);
    assert_eq!(pair.node(1).count(Kind::CommitProvision), 1);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering");
}

#[test]
fn aud_5_a_fenced_activation_closes_the_channel() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.provision(1);
    let status = pair.status(1);
    let activation = pair.owner.activation(&status);
    let channel = pair.outsider(1);
    pair.node(1).script.push((Kind::CommitActivation, Reply::Answer(CustodianAnswer::Fenced)));
    pair.say(channel, crate::pair::owner::activate(&activation, &[operator(1)]));
    let closed = CustodianInput::Received { channel: ChannelId::new(channel), frame: vec![] };
    let suite = &mut crate::pair::suite_of(Principal::Custodian(1), 0);
    let now = pair.now;
    let unknown = pair.node(1).machine.handle(now, closed, suite);
    assert_eq!(unknown, Err(Rejection::Misuse(Misuse::UnknownChannel)));
}
