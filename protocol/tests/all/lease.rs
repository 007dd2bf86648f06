//! Stories of chapter 50. First term 6 s, term 10 s, margin 0.5 s; renewals are asked after a third.

use crate::pair::bench::renewal;
use crate::pair::owner::{Owner, revoke, the_device};
use crate::pair::{Carried, Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{CustodianAnswer, DeviceEffect, Report, StopCause};
use split_custody_protocol::ids::{Budget, ChannelId, Counter, CustodianId, LeaseId};
use split_custody_protocol::lease::LeaseStanding;
use split_custody_protocol::role::{DeviceInput, Rejection};
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::lease::{Renew, Renewal, RenewalAnswer};
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_protocol::wire::message::{Message, MessageType};

fn lease_of(pair: &Pair, id: u8) -> LeaseId {
    held(pair, id).0
}

fn counter_of(pair: &Pair, id: u8) -> u64 {
    held(pair, id).1
}

fn end_of(pair: &Pair, id: u8) -> Instant {
    held(pair, id).2
}

fn budget_of(pair: &Pair, id: u8) -> Budget {
    held(pair, id).3
}

fn held(pair: &Pair, id: u8) -> (LeaseId, u64, Instant, Budget) {
    let (_, held) = pair
        .device
        .leases()
        .find(|(custodian, _)| custodian.value() == id)
        .expect("a lease of this custodian");
    (held.lease, held.counter.value(), held.end(), held.budget())
}

fn renew(pair: &Pair, id: u8, counter: u64) -> Message {
    Message::Renew(Renew { lease: lease_of(pair, id), counter: Counter::new(counter), used: 0 })
}

/// What a custodian answers to a renewal on a second channel of the device's leaf.
fn answer_to(pair: &mut Pair, id: u8, message: Message) -> Renewal {
    let channel = pair.beside(id);
    match pair.say(channel, message).as_slice() {
        [Message::Renewal(renewal)] => *renewal,
        other => panic!("one renewal, not {other:?}"),
    }
}

fn refusal_of(pair: &mut Pair, id: u8, message: Message) -> Vec<Violation> {
    let channel = pair.beside(id);
    let answers = pair.say(channel, message);
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]), "{answers:?}");
    pair.refusals(id)
}

/// The device serves, with this budget for each term.
fn serving_with_budget(uses: u64) -> Pair {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.budget = Budget::new(uses);
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    pair
}

fn known_with(change: impl FnOnce(&mut Manifest)) -> Result<(), Violation> {
    let mut owner = Owner::new(3, 2, 0);
    change(&mut owner.manifest);
    let suite = &mut crate::pair::owner::suite(Principal::Owner);
    let signed = owner.signed_manifest();
    KnownManifest::verify(suite, &Principal::Owner.verify_key(), &signed).map(drop)
}

#[test]
fn lea_1_a_term_counts_from_before_the_request_left() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Appraise, Reply::Hold));
    let asked_at = pair.now;
    pair.acquire();
    pair.stall(1_000);
    pair.resume(1);
    assert_eq!(end_of(&pair, 1), asked_at.after(Span::from_millis(6_000 - 500)));
}

#[test]
fn lea_1_a_delayed_answer_starts_no_later_term() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Park));
    pair.wait(2_000);
    let asked_at = pair.now;
    pair.stall(1_500);
    pair.deliver();
    assert_eq!(end_of(&pair, 1), asked_at.after(Span::from_millis(10_000 - 500)));
}

#[test]
fn lea_2_a_use_without_budget_on_k_leases_is_refused() {
    let mut pair = serving_with_budget(1);
    pair.device.admit(pair.now).expect("the first use");
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
    assert_eq!(pair.custody(), "Serving", "no budget blocks uses and nothing more");
}

#[test]
fn lea_2_a_use_before_the_model_is_loaded_is_refused() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Load, Reply::Hold));
    pair.acquire();
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
}

#[test]
fn lea_2_the_kth_latest_end_decides() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.acquire();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.wait(5_499);
    assert!(pair.device.admit(pair.now).is_ok());
    pair.wait(1);
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
}

#[test]
fn lea_3_output_leaves_while_k_count() {
    let mut pair = Pair::serving();
    let admission = pair.device.admit(pair.now).expect("a use");
    assert_eq!(pair.device.release_output(pair.now, &admission), Ok(()));
}

#[test]
fn lea_3_output_after_the_leases_ended_is_kept() {
    let mut pair = Pair::serving();
    let admission = pair.device.admit(pair.now).expect("a use");
    pair.stall(5_500);
    let late = pair.device.release_output(pair.now, &admission);
    assert_eq!(late, Err(Violation::OutputAfterLease));
}

#[test]
fn lea_4_a_use_is_charged_once_to_every_counting_lease() {
    let mut pair = serving_with_budget(5);
    let admission = pair.device.admit(pair.now).expect("a use");
    pair.device.release_output(pair.now, &admission).expect("its output");
    let left = [1, 2, 3].map(|id| budget_of(&pair, id).value());
    assert_eq!(left, [4, 4, 4]);
}

#[test]
fn lea_4_a_lease_without_budget_is_not_charged_below_zero() {
    let mut pair = serving_with_budget(1);
    pair.device.admit(pair.now).expect("a use");
    let _ = pair.device.admit(pair.now);
    assert_eq!(budget_of(&pair, 1), Budget::new(0));
}

#[test]
fn lea_5_with_fewer_than_k_the_device_blocks_and_erases() {
    let mut pair = Pair::serving();
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.stall(5_500);
    pair.device_input(DeviceInput::Timeout);
    assert_eq!(pair.custody(), "Erasing");
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
    pair.device_resume();
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::LeaseLost }));
}

#[test]
fn lea_5_a_late_renewal_does_not_undo_a_loss() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Park));
    pair.network.push((From::Custodian(2), MessageType::Renewal, Fate::Park));
    pair.network.push((From::Custodian(3), MessageType::Renewal, Fate::Park));
    pair.wait(2_000);
    pair.stall(3_500);
    pair.deliver();
    assert_eq!(pair.custody(), "Idle");
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
}

#[test]
fn lea_5_a_loss_between_two_inputs_is_noticed_by_a_use() {
    let mut pair = Pair::serving();
    pair.stall(5_500);
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
    assert_eq!(pair.custody(), "Erasing");
}

#[test]
fn lea_6_a_lease_lapses_a_margin_after_its_term() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Hold));
    pair.acquire();
    pair.stall(700);
    pair.resume(1);
    let committed = pair.now;
    let lapse = pair.node(1).machine.ledger().iter().next().expect("a lease").1.lapse();
    assert_eq!(lapse, committed.after(Span::from_millis(6_000 + 500)));
}

#[test]
fn lea_6_a_grant_that_nobody_received_is_counted() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(1);
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
    assert_eq!(pair.node(1).machine.ledger().iter().count(), 1);
}

#[test]
fn lea_7_a_renewal_answer_that_nobody_awaits_is_refused() {
    let mut pair = Pair::serving();
    let unasked = Renewal { lease: lease_of(&pair, 1), ..renewal(1, 1, RenewalAnswer::Renewed) };
    let refused = pair.device_receives(1, &Message::Renewal(unasked));
    assert_eq!(refused, Err(Rejection::Violation(Violation::RenewalUnanswered)));
}

#[test]
fn lea_7_an_answer_with_another_counter_is_refused() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.wait(2_000);
    let other = Renewal { lease: lease_of(&pair, 1), ..renewal(1, 2, RenewalAnswer::Renewed) };
    let refused = pair.device_receives(1, &Message::Renewal(other));
    assert_eq!(refused, Err(Rejection::Violation(Violation::RenewalUnanswered)));
}

#[test]
fn lea_7_an_answer_for_another_lease_is_refused() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.wait(2_000);
    let other = renewal(9, 1, RenewalAnswer::Renewed);
    let refused = pair.device_receives(1, &Message::Renewal(other));
    assert_eq!(refused, Err(Rejection::Violation(Violation::RenewalUnanswered)));
}

#[test]
fn lea_7_a_retry_repeats_the_bytes_and_keeps_the_first_t0() {
    let mut pair = Pair::serving();
    // Lost; then as it is; and what renewal 2 brings is lost too.
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Change(|m| m)));
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.wait(2_000);
    let first_sent = pair.now;
    pair.device.admit(pair.now).expect("a use in between, which the bytes do not report");
    pair.wait(3_334);
    let lease = lease_of(&pair, 1);
    let asks_first = |m: &Message| matches!(m, Message::Renew(r) if r.lease == lease && r.counter == Counter::new(1));
    let frames: Vec<&Carried> =
        pair.sent.iter().filter(|carried| asks_first(&carried.message())).collect();
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[0].frame, frames[1].frame);
    assert_eq!(counter_of(&pair, 1), 1);
    assert_eq!(end_of(&pair, 1), first_sent.after(Span::from_millis(10_000 - 500)));
}

#[test]
fn lea_7_a_retry_gets_the_stored_answer_and_no_second_commit() {
    let mut pair = Pair::serving();
    pair.wait(2_000);
    let first = pair.sent_by(From::Custodian(1), MessageType::Renewal);
    let again = renew(&pair, 1, 1);
    let answer = answer_to(&mut pair, 1, again);
    assert_eq!(first, [Message::Renewal(answer)]);
    assert_eq!(pair.node(1).count(Kind::CommitRenewal), 1);
}

#[test]
fn lea_7_a_retry_while_the_first_is_written_adds_no_commit() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    let (first, again) = (renew(&pair, 1, 1), renew(&pair, 1, 1));
    pair.custodian_receives(1, &first).expect("a good renewal");
    pair.custodian_receives(1, &again).expect("the same");
    assert_eq!(pair.node(1).count(Kind::CommitRenewal), 1);
}

#[test]
fn lea_7_a_reconnected_device_asks_again_at_once() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Drop));
    pair.wait(2_000);
    let channel = pair.beside(1);
    let opened = DeviceInput::ChannelOpened {
        channel: ChannelId::new(channel),
        custodian: CustodianId::new(1),
        own_leaf: Principal::Device.leaf(1),
        peer_leaf: Principal::Custodian(1).leaf(0),
    };
    pair.device_input(opened);
    let asked = pair.sent_by(From::Device, MessageType::Renew);
    let of_one =
        asked.iter().filter(|m| matches!(m, Message::Renew(r) if r.lease == lease_of(&pair, 1)));
    assert_eq!(of_one.count(), 2);
}

#[test]
fn lea_8_a_renewal_under_another_leaf_is_refused() {
    let mut pair = Pair::serving();
    let stolen = renew(&pair, 1, 1);
    let answers = pair.tell(1, stolen);
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]));
    assert_eq!(pair.refusals(1), [Violation::LeaseOfAnotherChannel]);
}

#[test]
fn lea_8_a_renewal_of_an_unknown_lease_is_refused_alike() {
    let mut pair = Pair::serving();
    let unknown = Renew { lease: LeaseId::new([9; 16]), counter: Counter::new(1), used: 0 };
    let refused = refusal_of(&mut pair, 1, Message::Renew(unknown));
    assert_eq!(refused, [Violation::LeaseOfAnotherChannel]);
}

#[test]
fn lea_8_an_answer_under_another_custodian_leaf_is_refused() {
    let mut pair = Pair::serving();
    let channel = ChannelId::new(99);
    pair.device_input(DeviceInput::ChannelOpened {
        channel,
        custodian: CustodianId::new(1),
        own_leaf: Principal::Device.leaf(1),
        peer_leaf: Principal::Stranger.leaf(1),
    });
    let forged = Renewal { lease: lease_of(&pair, 1), ..renewal(1, 1, RenewalAnswer::Renewed) };
    let frame = Message::Renewal(forged).to_frame();
    pair.device_input(DeviceInput::Received { channel, frame });
    assert_eq!(pair.device_rejections, [Rejection::Violation(Violation::LeaseOfAnotherChannel)]);
}

#[test]
fn lea_9_a_revoked_lease_is_not_renewed() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Notice, Fate::Drop));
    let asked = renew(&pair, 1, 1);
    pair.order(1, &revoke(the_device(), 0));
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Ended);
}

#[test]
fn lea_10_no_renewal_goes_past_max_age_since_the_challenge() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.max_age = Span::from_millis(3_000);
    let mut short = Pair::of(owner);
    short.acquire();
    short.stall(2_999);
    let in_time = renew(&short, 1, 1);
    assert_eq!(answer_to(&mut short, 1, in_time).answer, RenewalAnswer::Renewed);
    short.stall(1);
    let late = renew(&short, 1, 2);
    assert_eq!(answer_to(&mut short, 1, late).answer, RenewalAnswer::Ended);
}

#[test]
fn lea_10_a_lease_whose_age_a_new_generation_cannot_know_is_not_renewed() {
    let mut pair = Pair::serving();
    let asked = renew(&pair, 1, 1);
    pair.restart(1);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Serving");
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Ended);
}

#[test]
fn lea_11_a_lapsed_lease_is_not_renewed() {
    let mut pair = Pair::serving();
    let asked = renew(&pair, 1, 1);
    pair.stall(6_500);
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Ended);
}

#[test]
fn lea_11_a_lease_is_renewed_in_its_last_moment() {
    let mut pair = Pair::serving();
    let asked = renew(&pair, 1, 1);
    pair.stall(6_499);
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Renewed);
}

#[test]
fn lea_11_what_was_answered_ended_stays_ended() {
    let mut pair = Pair::new();
    pair.acquire();
    let asked = renew(&pair, 1, 1);
    pair.stall(6_500);
    answer_to(&mut pair, 1, asked.clone());
    let standing = pair.node(1).machine.ledger().iter().next().expect("a lease").1.standing();
    assert_eq!(standing, LeaseStanding::Ended);
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Ended);
}

#[test]
fn lea_11_a_renewal_written_while_its_lease_ended_is_not_answered() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    let asked = renew(&pair, 1, 1);
    pair.custodian_receives(1, &asked).expect("a good renewal");
    pair.stall(6_500);
    assert_eq!(answer_to(&mut pair, 1, asked).answer, RenewalAnswer::Ended);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal).len(), 1, "`ended` alone");
}

#[test]
fn lea_12_a_first_term_below_four_margins_and_the_window_is_refused() {
    let short = known_with(|m| m.policy.first = Span::from_millis(2_999));
    assert_eq!(short, Err(Violation::TermsTooShort));
}

#[test]
fn lea_12_a_term_below_four_margins_and_the_window_is_refused() {
    let short = known_with(|m| m.policy.term = Span::from_millis(2_999));
    assert_eq!(short, Err(Violation::TermsTooShort));
}

#[test]
fn lea_12_a_term_of_exactly_that_is_accepted() {
    assert_eq!(known_with(|m| m.policy.first = Span::from_millis(3_000)), Ok(()));
}

#[test]
fn lea_12_a_term_above_ttl_max_is_refused() {
    let long = known_with(|m| m.policy.term = Span::from_millis(12_001));
    assert_eq!(long, Err(Violation::TermsTooShort));
}

#[test]
fn lea_12_a_challenge_of_more_than_a_minute_is_refused() {
    let long = known_with(|m| m.policy.challenge_max = Span::from_millis(60_001));
    assert_eq!(long, Err(Violation::TermsTooShort));
}

#[test]
fn lea_13_a_renewal_sets_the_budget_and_does_not_add() {
    let mut pair = serving_with_budget(5);
    pair.device.admit(pair.now).expect("a use");
    pair.device.admit(pair.now).expect("a use");
    assert_eq!(budget_of(&pair, 1), Budget::new(3));
    pair.wait(2_000);
    assert_eq!((counter_of(&pair, 1), budget_of(&pair, 1)), (1, Budget::new(5)));
}

#[test]
fn lea_13_a_renewal_reports_the_uses_of_the_term() {
    let mut pair = serving_with_budget(5);
    pair.device.admit(pair.now).expect("a use");
    pair.device.admit(pair.now).expect("a use");
    pair.wait(2_000);
    let asked = pair.sent_by(From::Device, MessageType::Renew);
    assert!(matches!(&asked[0], Message::Renew(Renew { used: 2, .. })));
}

#[test]
fn lea_14_a_superseded_lease_is_not_renewed() {
    let mut pair = Pair::serving();
    let older = renew(&pair, 1, 1);
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    assert_eq!(answer_to(&mut pair, 1, older).answer, RenewalAnswer::Ended);
    let newer = renew(&pair, 1, 1);
    assert_eq!(answer_to(&mut pair, 1, newer).answer, RenewalAnswer::Renewed);
}

#[test]
fn lea_14_a_superseded_lease_counts_until_it_lapses() {
    let mut pair = Pair::serving();
    let older = lease_of(&pair, 1);
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    let now = pair.now;
    let lease = pair.node(1).machine.ledger().get(&older).expect("still noted").clone();
    assert_eq!((lease.standing(), lease.state_name(now)), (LeaseStanding::Superseded, "Ending"));
    assert_eq!(lease.lapse(), now.after(Span::from_millis(6_500)));
}

#[test]
fn lea_15_a_counter_too_high_is_refused() {
    let mut pair = Pair::serving();
    let skipped = renew(&pair, 1, 2);
    assert_eq!(refusal_of(&mut pair, 1, skipped), [Violation::RenewalOutOfOrder]);
}

#[test]
fn lea_15_the_counter_of_the_grant_is_refused() {
    let mut pair = Pair::serving();
    let zero = renew(&pair, 1, 0);
    assert_eq!(refusal_of(&mut pair, 1, zero), [Violation::RenewalOutOfOrder]);
}

#[test]
fn lea_15_a_counter_before_the_last_is_refused() {
    let mut pair = Pair::serving();
    let old = renew(&pair, 1, 1);
    pair.wait(6_000);
    assert_eq!(counter_of(&pair, 1), 2);
    assert_eq!(refusal_of(&mut pair, 1, old), [Violation::RenewalOutOfOrder]);
}

#[test]
fn rel_11_a_renewal_above_ttl_max_is_refused() {
    let mut pair = Pair::serving();
    pair.network.push((
        From::Custodian(1),
        MessageType::Renewal,
        Fate::Change(|m| {
            let Message::Renewal(renewal) = m else { panic!("not a renewal") };
            Message::Renewal(Renewal { term: Span::from_millis(12_001), ..renewal })
        }),
    ));
    pair.wait(2_000);
    assert_eq!(pair.device_rejections, [Rejection::Violation(Violation::TermsOutOfBounds)]);
    assert_eq!(counter_of(&pair, 1), 0);
}

#[test]
fn aud_2_an_unknown_renewal_is_read_again_and_not_written_again() {
    let mut pair = Pair::serving();
    let unknown = Reply::WrittenAnd(CustodianAnswer::Unknown);
    pair.node(1).script.push((Kind::CommitRenewal, unknown));
    pair.wait(2_000);
    assert_eq!(pair.node(1).count(Kind::CommitRenewal), 1);
    assert_eq!(pair.node(1).count(Kind::Reread), 1);
    assert_eq!(counter_of(&pair, 1), 1);
}

#[test]
fn lea_11_what_ended_counts_until_its_term_is_over() {
    let mut pair = Pair::serving();
    pair.network.push((
        From::Custodian(1),
        MessageType::Renewal,
        Fate::Change(|m| {
            let Message::Renewal(renewal) = m else { panic!("not a renewal") };
            Message::Renewal(Renewal { answer: RenewalAnswer::Ended, ..renewal })
        }),
    ));
    pair.wait(2_000);
    assert_eq!(pair.device.counting(pair.now), 3);
    pair.wait(3_500);
    assert_eq!((pair.device.counting(pair.now), pair.custody()), (2, "Serving"));
    let load = |effect: &&DeviceEffect| matches!(effect, DeviceEffect::Load { .. });
    assert_eq!(pair.asked.iter().filter(load).count(), 1);
}
