//! Stories of chapter 60.

use crate::pair::node::anchored;
use crate::pair::owner::{
    Owner, admit, approvals, certificate, everything, list, operator, order_digest, revoke, sign,
    submit, the_device, the_policy, the_weights,
};
use crate::pair::{Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{
    CustodianAnswer, CustodianEffect, DeviceAnswer, Report, StopCause,
};
use split_custody_protocol::ids::{Counter, CustodianId, DeploymentId, Epoch};
use split_custody_protocol::lease::LeaseStanding;
use split_custody_protocol::revocation::{AckSet, NotEffective, effective, required};
use split_custody_protocol::role::Rejection;
use split_custody_protocol::sealing::KnownDeployment;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::lease::{Renew, RenewalAnswer};
use split_custody_protocol::wire::manifest::EarlierSet;
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::{
    Acknowledgement, AwaitDead, DeadStatement, Notice, Order, Submit,
};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};

/// Three operators; two revoke, two change.
fn three_operators() -> Owner {
    let mut owner = Owner::new(3, 2, 0);
    let keys = (1..=3).map(|number| operator(number).verify_key()).collect();
    owner.deployment.operators = list(keys);
    owner.deployment.m_revoke = 2;
    owner.deployment.m_change = 2;
    owner
}

/// A custodian under three operators, not activated.
fn under_three() -> Pair {
    let mut pair = Pair::unprovisioned(three_operators());
    pair.provision(1);
    pair
}

fn notice(order: &Order) -> Message {
    Message::Notice(Notice { approvals: approvals(order, &[operator(1)]) })
}

fn acknowledgement(answers: &[Message]) -> Acknowledgement {
    match answers {
        [Message::Acknowledged(acknowledged)] => {
            acknowledged.statement.payload().expect("an acknowledgement")
        }
        other => panic!("one acknowledgement, not {other:?}"),
    }
}

fn ack_of(pair: &Pair, id: u8, order: Digest, signer: u8) -> Signed {
    let said = Acknowledgement {
        order,
        custodian: CustodianId::new(id),
        generation: split_custody_protocol::ids::Generation::new(1),
        manifest: pair.owner.manifest_digest(),
        epoch: Epoch::new(1),
    };
    sign(Principal::Custodian(signer), ObjectKind::Acknowledgement, encode(&said))
}

#[test]
fn rev_1_an_order_of_another_deployment_is_refused() {
    let mut pair = Pair::new();
    let foreign = Order { deployment: DeploymentId::new([9; 16]), ..revoke(the_device(), 0) };
    pair.order(1, &foreign);
    assert_eq!(pair.refusals(1), [Violation::OrderOfAnotherDeployment]);
}

#[test]
fn rev_2_an_order_by_nobody_is_refused() {
    let mut pair = Pair::new();
    pair.tell(1, submit(&revoke(the_device(), 0), &[Principal::Stranger]));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn rev_2_one_of_two_operators_is_too_few() {
    let mut pair = under_three();
    pair.tell(1, submit(&revoke(the_device(), 0), &[operator(1)]));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn rev_2_one_operator_twice_is_one_operator() {
    let mut pair = under_three();
    pair.tell(1, submit(&revoke(the_device(), 0), &[operator(1), operator(1)]));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn rev_2_two_halves_of_two_orders_are_refused() {
    let mut pair = under_three();
    let one = approvals(&revoke(the_device(), 0), &[operator(1)]);
    let other = approvals(&revoke(everything(), 0), &[operator(2)]);
    let mixed = vec![one.as_slice()[0].clone(), other.as_slice()[0].clone()];
    pair.tell(1, Message::Submit(Submit { approvals: list(mixed) }));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn rev_2_a_signature_for_an_activation_is_no_signature_for_an_order() {
    let mut pair = Pair::new();
    let order = encode(&revoke(the_device(), 0));
    let confused = sign(operator(1), ObjectKind::Activation, order);
    pair.tell(1, Message::Submit(Submit { approvals: list(vec![confused]) }));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn rev_2_two_of_three_operators_are_enough() {
    let mut pair = under_three();
    let answers = pair.tell(1, submit(&revoke(the_device(), 0), &[operator(3), operator(1)]));
    assert_eq!(acknowledgement(&answers).order, order_digest(&revoke(the_device(), 0)));
}

#[test]
fn rev_2_thresholds_that_need_not_meet_are_refused() {
    let mut owner = three_operators();
    owner.deployment.m_revoke = 1;
    let suite = &mut crate::pair::owner::suite(Principal::Owner);
    let signed = owner.signed_deployment();
    let known = KnownDeployment::verify(suite, &Principal::Owner.verify_key(), &signed);
    assert_eq!(known.err(), Some(Violation::TooFewOperators));
}

#[test]
fn rev_3_a_revocation_above_the_highest_admission_is_refused() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 1));
    assert_eq!(pair.refusals(1), [Violation::SerialOutOfRule]);
}

#[test]
fn rev_3_the_highest_number_cannot_be_used_up() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), u64::MAX));
    assert_eq!(pair.refusals(1), [Violation::SerialOutOfRule]);
}

#[test]
fn rev_3_an_admission_takes_the_next_serial() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.order(1, &admit(the_device(), 2));
    assert_eq!(pair.refusals(1), [Violation::SerialOutOfRule]);
    let answers = pair.order(1, &admit(the_device(), 1));
    assert_eq!(acknowledgement(&answers).epoch, Epoch::new(2));
}

#[test]
fn rev_3_a_revoked_and_admitted_device_is_granted_again() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.order(1, &admit(the_device(), 1));
    pair.acquire();
    assert_eq!(pair.refusals(1), []);
}

#[test]
fn rev_3_at_equal_serials_the_revocation_wins() {
    let mut pair = Pair::new();
    pair.order(1, &admit(the_device(), 1));
    pair.order(1, &revoke(the_device(), 1));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rev_3_weights_are_never_admitted_again() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_weights(), 0));
    pair.order(1, &admit(the_weights(), 1));
    assert_eq!(pair.refusals(1), [Violation::SerialOutOfRule]);
}

#[test]
fn rev_3_a_certificate_is_never_admitted_again() {
    let mut pair = Pair::new();
    let leaf = certificate(&Principal::Device.leaf(1));
    pair.order(1, &revoke(leaf, 0));
    pair.order(1, &admit(leaf, 1));
    assert_eq!(pair.refusals(1), [Violation::SerialOutOfRule]);
}

#[test]
fn rev_4_an_acknowledgement_waits_for_the_store_and_then_for_the_anchor() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.node(1).script.push((Kind::Anchor, Reply::Hold));
    let channel = pair.outsider(1);
    let early = pair.say(channel, submit(&revoke(the_device(), 0), &[operator(1)]));
    assert_eq!((early, pair.node(1).count(Kind::Anchor)), (vec![], 1), "one of the activation");
    pair.resume(1);
    assert_eq!(pair.node(1).machine.order_state(), Some("Anchoring"));
    assert_eq!(pair.mail.get(&channel), None);
    pair.resume(1);
    assert_eq!(pair.mail[&channel].len(), 1);
    assert_eq!(anchored(pair.node(1)), [order_digest(&revoke(the_device(), 0))]);
}

#[test]
fn rev_4_an_order_that_the_store_fenced_is_not_acknowledged() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Answer(CustodianAnswer::Fenced)));
    let answers = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(answers, []);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering");
}

#[test]
fn rev_4_the_same_order_again_is_acknowledged_without_a_second_write() {
    let mut pair = Pair::new();
    let first = pair.order(1, &revoke(the_device(), 0));
    let again = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(acknowledgement(&first), acknowledgement(&again));
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 1);
}

#[test]
fn rev_4_whoever_submits_an_order_that_is_being_applied_hears_the_same() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    let order = submit(&revoke(the_device(), 0), &[operator(1)]);
    pair.say(one, order.clone());
    pair.say(two, order);
    pair.resume(1);
    assert_eq!(pair.mail[&one], pair.mail[&two]);
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 1);
}

#[test]
fn rev_5_a_committed_unsent_grant_is_cancelled() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, Reply::Hold));
    pair.acquire();
    pair.order(1, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
    assert_eq!(pair.custodian_rejections, [], "the late answer is discarded");
}

#[test]
fn rev_5_a_grant_that_waits_for_its_commit_is_cancelled() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Hold));
    pair.acquire();
    pair.order(1, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(pair.node(1).count(Kind::Release), 0);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
}

#[test]
fn rev_5_a_grant_that_waits_for_a_second_try_is_cancelled() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, Reply::Answer(CustodianAnswer::HsmFailed)));
    pair.node(1).script.push((Kind::Release, Reply::Hold));
    pair.acquire();
    pair.order(1, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(pair.node(1).count(Kind::Release), 2);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
}

#[test]
fn rev_5_a_grant_that_the_order_does_not_cover_goes_on() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, Reply::Hold));
    pair.acquire();
    pair.order(1, &revoke(certificate(&Principal::Stranger.leaf(1)), 0));
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant).len(), 1);
}

#[test]
fn rev_6_a_stored_answer_is_dropped() {
    let mut pair = Pair::serving();
    let (_, held) = pair.device.leases().next().expect("a lease");
    let first = Renew { lease: held.lease, counter: Counter::new(1), used: 0 };
    pair.network.push((From::Custodian(1), MessageType::Notice, Fate::Drop));
    pair.wait(2_000);
    pair.order(1, &revoke(the_device(), 0));
    let channel = pair.beside(1);
    let answers = pair.say(channel, Message::Renew(first));
    let [Message::Renewal(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.answer, RenewalAnswer::Ended);
}

#[test]
fn rev_6_a_renewal_that_is_being_written_is_not_answered() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    pair.network.push((From::Custodian(1), MessageType::Notice, Fate::Drop));
    pair.wait(2_000);
    pair.order(1, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal), []);
}

#[test]
fn rev_7_an_acknowledgement_waits_for_the_handles() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::DestroyHandles, Reply::Hold));
    let channel = pair.outsider(1);
    let early = pair.say(channel, submit(&revoke(the_device(), 0), &[operator(1)]));
    assert_eq!(early, []);
    pair.resume(1);
    assert_eq!(pair.mail[&channel].len(), 1);
}

#[test]
fn rev_7_handles_that_are_not_destroyed_mean_no_acknowledgement() {
    let mut pair = Pair::new();
    let failed = Reply::Answer(CustodianAnswer::HsmFailed);
    pair.node(1).script.push((Kind::DestroyHandles, failed));
    assert_eq!(pair.order(1, &revoke(the_device(), 0)), []);
    let again = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(acknowledgement(&again).epoch, Epoch::new(1));
}

#[test]
fn rev_8_n_minus_k_plus_one_plus_f_are_required() {
    assert_eq!(required(&Owner::new(3, 2, 0).known_manifest()), 2);
    assert_eq!(required(&Owner::new(3, 2, 1).known_manifest()), 3);
    assert_eq!(required(&Owner::new(5, 3, 1).known_manifest()), 4);
}

#[test]
fn rev_8_too_few_acknowledgements_are_not_effective() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    let answers = pair.order(1, &order);
    let [Message::Acknowledged(ack)] = answers.as_slice() else { panic!("{answers:?}") };
    let manifest = pair.owner.known_manifest();
    let mut acks = AckSet::new(order_digest(&order));
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    acks.add(&manifest, &ack.statement, suite).expect("a good acknowledgement");
    acks.add(&manifest, &ack.statement, suite).expect("the same again");
    assert_eq!(effective(&manifest, &acks), Err(NotEffective { have: 1, need: 2 }));
    let said = effective(&manifest, &acks).expect_err("one of two").to_string();
    assert_eq!(said, "not effective: have 1 of 2");
}

#[test]
fn rev_8_enough_acknowledgements_are_effective() {
    let pair = Pair::new();
    let order = order_digest(&revoke(the_device(), 0));
    let manifest = pair.owner.known_manifest();
    let mut acks = AckSet::new(order);
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    acks.add(&manifest, &ack_of(&pair, 1, order, 1), suite).expect("a good one");
    acks.add(&manifest, &ack_of(&pair, 3, order, 3), suite).expect("a good one");
    assert_eq!(effective(&manifest, &acks).map(|e| e.acknowledged()), Ok(2));
}

#[test]
fn rev_8_with_an_earlier_share_set_nothing_is_called_effective() {
    let mut owner = Owner::new(3, 2, 0);
    let set = split_custody_protocol::ids::ShareSetId::new([8; 16]);
    let earlier = EarlierSet { set, n: 3, k: 2, f: 0, manifest: Digest::new([8; 32]) };
    owner.manifest.earlier = list(vec![earlier]);
    let manifest = owner.known_manifest();
    let pair = Pair::of(owner);
    let order = order_digest(&revoke(the_device(), 0));
    let mut acks = AckSet::new(order);
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    acks.add(&manifest, &ack_of(&pair, 1, order, 1), suite).expect("a good one");
    acks.add(&manifest, &ack_of(&pair, 2, order, 2), suite).expect("a good one");
    acks.add(&manifest, &ack_of(&pair, 3, order, 3), suite).expect("a good one");
    assert_eq!(effective(&manifest, &acks), Err(NotEffective { have: 3, need: 2 }));
}

/// What one acknowledgement counts for.
fn counted(ack: &Signed, order: Digest) -> Result<CustodianId, Violation> {
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    AckSet::new(order).add(&Owner::new(3, 2, 0).known_manifest(), ack, suite)
}

#[test]
fn rev_9_an_acknowledgement_signed_by_another_custodian_does_not_count() {
    let order = order_digest(&revoke(the_device(), 0));
    let forged = ack_of(&Pair::new(), 1, order, 2);
    assert_eq!(counted(&forged, order), Err(Violation::AcknowledgementForged));
}

#[test]
fn rev_9_an_acknowledgement_of_no_custodian_does_not_count() {
    let order = order_digest(&revoke(the_device(), 0));
    let foreign = ack_of(&Pair::new(), 9, order, 9);
    assert_eq!(counted(&foreign, order), Err(Violation::AcknowledgementForged));
}

#[test]
fn rev_9_an_acknowledgement_of_another_order_does_not_count() {
    let order = order_digest(&revoke(the_device(), 0));
    let other = ack_of(&Pair::new(), 1, order_digest(&revoke(everything(), 0)), 1);
    assert_eq!(counted(&other, order), Err(Violation::AcknowledgementForged));
}

#[test]
fn rev_9_an_acknowledgement_under_another_manifest_does_not_count() {
    let order = order_digest(&revoke(the_device(), 0));
    let elsewhere = ack_of(&Pair::of(Owner::new(3, 3, 0)), 1, order, 1);
    assert_eq!(counted(&elsewhere, order), Err(Violation::AcknowledgementForged));
}

#[test]
fn rev_9_an_acknowledgement_passed_off_as_dead_does_not_count() {
    let order = order_digest(&revoke(the_device(), 0));
    let said = DeadStatement {
        order,
        custodian: CustodianId::new(1),
        generation: split_custody_protocol::ids::Generation::new(1),
    };
    let confused = sign(Principal::Custodian(1), ObjectKind::Acknowledgement, encode(&said));
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    let manifest = Owner::new(3, 2, 0).known_manifest();
    let added = AckSet::new(order).add_dead(&manifest, &confused, suite);
    assert_eq!(added, Err(Violation::AcknowledgementForged));
}

#[test]
fn rev_10_dead_is_signed_when_the_last_lease_has_lapsed() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let channel = pair.outsider(1);
    let wait = Message::AwaitDead(AwaitDead { order: order_digest(&order) });
    assert_eq!(pair.say(channel, wait), []);
    pair.wait(6_499);
    assert_eq!(pair.mail.get(&channel), None);
    pair.wait(1);
    assert!(matches!(pair.mail[&channel].as_slice(), [Message::Dead(_)]));
}

#[test]
fn rev_10_without_leases_dead_is_signed_at_once() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let answers = pair.tell(1, Message::AwaitDead(AwaitDead { order: order_digest(&order) }));
    let [Message::Dead(dead)] = answers.as_slice() else { panic!("{answers:?}") };
    let manifest = pair.owner.known_manifest();
    let suite = &mut crate::pair::owner::suite(Principal::Stranger);
    let counted = AckSet::new(order_digest(&order)).add_dead(&manifest, &dead.statement, suite);
    assert_eq!(counted, Ok(CustodianId::new(1)));
}

#[test]
fn rev_10_a_new_generation_counts_every_lease_from_its_own_start() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    pair.stall(6_000);
    pair.restart(1);
    let channel = pair.outsider(1);
    pair.say(channel, Message::AwaitDead(AwaitDead { order: order_digest(&order) }));
    pair.wait(12_000 + 499);
    assert_eq!(pair.mail.get(&channel), None);
    pair.wait(1);
    assert!(matches!(pair.mail[&channel].as_slice(), [Message::Dead(_)]));
}

#[test]
fn rev_8_dead_is_not_said_of_an_order_that_is_not_anchored() {
    let mut pair = Pair::new();
    let unknown = AwaitDead { order: order_digest(&revoke(the_device(), 0)) };
    let answers = pair.tell(1, Message::AwaitDead(unknown));
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]));
    assert_eq!(pair.refusals(1), [Violation::NotEffective]);
}

#[test]
fn rev_11_a_notice_leaves_before_the_acknowledgement() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    pair.order(1, &revoke(the_device(), 0));
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Notice).len(), 1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Acknowledged), []);
}

#[test]
fn rev_12_a_covered_device_stops_and_erases() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.order(1, &revoke(the_device(), 0));
    assert_eq!(pair.custody(), "Erasing");
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
    pair.device_answer(DeviceAnswer::Erased);
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Revoked }));
}

#[test]
fn rev_12_an_attempt_under_way_ends() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    pair.device_receives(1, &notice(&revoke(the_policy(), 0))).expect("a good notice");
    assert_eq!(pair.custody(), "Idle");
    pair.device_resume();
    assert_eq!(pair.sent_by(From::Device, MessageType::Request), [], "the answer is discarded");
}

#[test]
fn rev_12_a_forged_notice_stops_nothing() {
    let mut pair = Pair::serving();
    let forged = Notice { approvals: approvals(&revoke(the_device(), 0), &[Principal::Stranger]) };
    let refused = pair.device_receives(1, &Message::Notice(forged));
    assert_eq!(refused, Err(Rejection::Violation(Violation::TooFewOperators)));
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn rev_12_a_notice_about_somebody_else_stops_nothing() {
    let mut pair = Pair::serving();
    let other = revoke(certificate(&Principal::Stranger.leaf(1)), 0);
    pair.device_receives(1, &notice(&other)).expect("a good notice");
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn rev_13_an_overridden_order_is_superseded() {
    let mut pair = Pair::new();
    pair.order(1, &admit(the_device(), 1));
    let older = revoke(the_device(), 0);
    let answers = pair.order(1, &older);
    let [Message::Superseded(superseded)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(superseded.order, order_digest(&older));
}

#[test]
fn rev_13_an_order_that_is_held_and_overridden_is_not_acknowledged_again() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.order(1, &admit(the_device(), 1));
    let answers = pair.order(1, &revoke(the_device(), 0));
    assert!(matches!(answers.as_slice(), [Message::Superseded(_)]), "{answers:?}");
}

#[test]
fn rev_13_an_order_overridden_while_it_waited_is_not_acknowledged() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).script.push((Kind::CommitOrder, Reply::Hold));
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    pair.order(1, &revoke(the_policy(), 0));
    pair.say(one, submit(&admit(the_device(), 1), &[operator(1)]));
    pair.say(two, submit(&revoke(the_device(), 0), &[operator(1)]));
    pair.resume(1);
    assert!(matches!(pair.mail[&one].as_slice(), [Message::Acknowledged(_)]));
    assert!(matches!(pair.mail[&two].as_slice(), [Message::Superseded(_)]));
}

#[test]
fn rev_14_the_epoch_counts_applied_orders_and_nothing_else() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.order(1, &revoke(the_device(), 0));
    pair.order(1, &revoke(the_policy(), 0));
    pair.order(1, &revoke(the_policy(), 5));
    assert_eq!(pair.node(1).machine.epoch(), Epoch::new(2));
}

#[test]
fn aud_2_an_unknown_order_is_read_again_and_not_written_again() {
    let mut pair = Pair::new();
    let unknown = Reply::WrittenAnd(CustodianAnswer::Unknown);
    pair.node(1).script.push((Kind::CommitOrder, unknown));
    let answers = pair.order(1, &revoke(the_device(), 0));
    assert_eq!(acknowledgement(&answers).epoch, Epoch::new(1));
    let wrote = |effect: &&CustodianEffect| crate::pair::node::kind_of(effect) == Kind::CommitOrder;
    assert_eq!(pair.node(1).asked.iter().filter(wrote).count(), 1);
}

#[test]
fn rev_10_a_covered_lease_keeps_its_lapse() {
    let mut pair = Pair::serving();
    pair.order(1, &revoke(the_device(), 0));
    let now = pair.now;
    let lease = pair.node(1).machine.ledger().iter().next().expect("a lease").1.clone();
    assert_eq!(lease.standing(), LeaseStanding::Revoked);
    assert_eq!(lease.lapse(), now.after(Span::from_millis(6_500)));
}
