//! Stories of what crosses at a custodian: an input that comes while another thing is under way.

use crate::pair::node::anchored;
use crate::pair::owner::{
    Owner, activate, admit, certificate, operator, order_digest, revoke, submit, the_device,
};
use crate::pair::{Fate, From, Kind, Pair, Reply, Shown, suite_of};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::effect::{CustodianAnswer, Report};
use split_custody_protocol::ids::ChannelId;
use split_custody_protocol::lease::LeaseStanding;
use split_custody_protocol::role::{CustodianInput, DeviceInput, Rejection};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::lease::RenewalAnswer;
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::{AwaitDead, Order};
use split_custody_protocol::{Misuse, Violation};

/// Some order that is not about the device.
fn another() -> Order {
    revoke(certificate(&Principal::Stranger.leaf(1)), 0)
}

fn await_dead(order: &Order) -> Message {
    Message::AwaitDead(AwaitDead { order: order_digest(order) })
}

/// Custodian 1 answers the next effect of a kind when the story resumes it.
fn hold(pair: &mut Pair, kind: Kind) {
    pair.node(1).script.push((kind, Reply::Hold));
}

fn answer(pair: &mut Pair, kind: Kind, answer: CustodianAnswer) {
    pair.node(1).script.push((kind, Reply::Answer(answer)));
}

/// An order over a channel of its own, which stays open.
fn submitted(pair: &mut Pair, order: &Order) -> u64 {
    let channel = pair.outsider(1);
    let answers = pair.say(channel, submit(order, &[operator(1)]));
    assert_eq!(answers, []);
    channel
}

fn heard(pair: &Pair, channel: u64) -> Vec<MessageType> {
    pair.mail.get(&channel).into_iter().flatten().map(Message::kind).collect()
}

/// The standing of the first lease that custodian 1 noted.
fn lease_standing(pair: &mut Pair) -> LeaseStanding {
    pair.node(1).machine.ledger().iter().next().expect("a lease").1.standing()
}

#[test]
fn hs_2_a_custodian_without_an_exporter_closes_the_exchange() {
    let mut pair = Pair::new();
    answer(&mut pair, Kind::Export, CustodianAnswer::ExportFailed);
    pair.acquire();
    let channel = pair.channel(1);
    let states = pair.node(1).machine.connection_states();
    let of = states.filter(|(of, _, _)| of.value() == channel).map(|(_, state, _)| state);
    assert_eq!(of.collect::<Vec<_>>(), ["Closed"]);
    assert_eq!(pair.custodian_rejections, []);
}

#[test]
fn hs_7_a_challenge_dies_alone_and_the_first_to_die_wakes_the_custodian() {
    let mut pair = Pair::serving();
    let hello = pair.sent_by(From::Device, MessageType::Hello).remove(0);
    let first = pair.outsider(1);
    assert!(matches!(pair.say(first, hello.clone()).as_slice(), [Message::Challenge(_)]));
    let dies = pair.now.after(Span::from_millis(5_000));
    pair.stall(1_000);
    let second = pair.outsider(1);
    assert!(matches!(pair.say(second, hello).as_slice(), [Message::Challenge(_)]));
    assert_eq!(pair.node(1).machine.poll_timeout(), Some(dies));
    pair.now = dies;
    pair.custodian_input(1, CustodianInput::Timeout);
    let states: Vec<_> = pair.node(1).machine.connection_states().collect();
    let of = |channel| states.iter().find(|(of, _, _)| of.value() == channel).map(|(_, s, _)| *s);
    assert_eq!((of(first), of(second)), (Some("Closed"), Some("AwaitRequest")));
}

#[test]
fn wire_3_a_channel_of_bytes_that_do_not_decode_is_closed() {
    let mut pair = Pair::new();
    let channel = pair.outsider(1);
    assert!(matches!(pair.say_bytes(channel, vec![0xff]).as_slice(), [Message::Refused(_)]));
    assert!(!pair.is_open(1, channel));
}

#[test]
fn rev_5_a_revocation_cancels_the_release_that_it_covers_and_nothing_else() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::Release);
    pair.acquire();
    hold(&mut pair, Kind::CommitOrder);
    let other = submitted(&mut pair, &another());
    let order = submitted(&mut pair, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(pair.custodian_rejections, [], "the share's answer is for nobody");
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
    pair.resume(1);
    assert_eq!(heard(&pair, other), [MessageType::Acknowledged], "the order goes on");
    assert_eq!(heard(&pair, order), [MessageType::Acknowledged]);
}

#[test]
fn rev_5_a_covered_release_whose_peer_left_is_forgotten_in_silence() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::CommitGrant);
    pair.acquire();
    let channel = pair.channel(1);
    pair.break_channel(channel);
    assert!(pair.is_open(1, channel), "its commit is still to be noted");
    pair.order(1, &revoke(the_device(), 0));
    assert!(!pair.is_open(1, channel));
    assert_eq!(pair.refusals(1), []);
    pair.resume(1);
    assert_eq!(pair.custodian_rejections, []);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
}

#[test]
fn rev_5_a_grant_that_left_before_the_order_stays_granted() {
    let mut pair = Pair::serving();
    pair.network.push((From::Custodian(1), MessageType::Notice, Fate::Drop));
    let channel = pair.channel(1);
    pair.order(1, &revoke(the_device(), 0));
    let states: Vec<_> = pair.node(1).machine.connection_states().collect();
    assert!(states.contains(&(ChannelId::new(channel), "Proved", Some("Granted"))), "{states:?}");
    assert_eq!(pair.refusals(1), []);
}

#[test]
fn rev_6_an_order_revokes_the_leases_that_it_covers_and_no_others() {
    let mut pair = Pair::serving();
    pair.order(1, &another());
    assert_eq!(lease_standing(&mut pair), LeaseStanding::Live);
    pair.order(1, &revoke(the_device(), 0));
    assert_eq!(lease_standing(&mut pair), LeaseStanding::Revoked);
}

#[test]
fn rev_6_a_renewal_that_is_cancelled_makes_no_lease_longer() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitRenewal);
    pair.network.push((From::Custodian(1), MessageType::Notice, Fate::Drop));
    pair.wait(2_000);
    let lapse =
        |pair: &mut Pair| pair.node(1).machine.ledger().iter().next().expect("a lease").1.lapse();
    let before = lapse(&mut pair);
    pair.order(1, &revoke(the_device(), 0));
    pair.resume(1);
    assert_eq!(lapse(&mut pair), before, "no device counts a term that was never told");
    assert_eq!(pair.custodian_rejections, []);
    let renewed =
        |(id, report): &(u8, Report)| *id == 1 && matches!(report, Report::Renewed { .. });
    assert!(!pair.custodian_reports.iter().any(renewed));
}

#[test]
fn rev_6_a_revocation_cancels_the_renewal_that_it_covers_and_nothing_else() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitRenewal);
    pair.wait(2_000);
    hold(&mut pair, Kind::CommitOrder);
    let other = submitted(&mut pair, &another());
    let order = submitted(&mut pair, &revoke(the_device(), 0));
    pair.resume(1);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal), []);
    assert_eq!(heard(&pair, other), [MessageType::Acknowledged]);
    assert_eq!(heard(&pair, order), [MessageType::Acknowledged]);
}

#[test]
fn rev_6_a_renewal_that_no_order_covers_is_answered() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitRenewal);
    pair.wait(2_000);
    pair.order(1, &another());
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal).len(), 1);
}

#[test]
fn lea_7_a_renewal_is_written_while_something_else_is() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitOrder);
    submitted(&mut pair, &another());
    pair.wait(2_000);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal).len(), 1);
}

#[test]
fn aud_1_a_renewal_that_the_store_did_not_take_is_asked_for_again() {
    let mut pair = Pair::serving();
    answer(&mut pair, Kind::CommitRenewal, CustodianAnswer::Fenced);
    pair.wait(2_000);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal), []);
    assert_eq!(pair.custodian_rejections, []);
    pair.wait(3_400);
    // The retry, and the next one, which was due by then.
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal).len(), 2);
}

#[test]
fn lea_6_a_renewal_of_a_peer_that_left_counts_and_is_not_sent() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitRenewal);
    pair.wait(2_000);
    let channel = pair.channel(1);
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal), []);
    let lease = pair.node(1).machine.ledger().iter().next().expect("a lease").1.clone();
    assert_eq!(lease.counter().value(), 1);
}

#[test]
fn rst_11_an_earlier_life_is_refused_while_a_later_one_is_written() {
    let mut pair = Pair::serving();
    let (fork, life) = (pair.device.clone(), pair.life);
    pair.device_input(DeviceInput::HostRead);
    hold(&mut pair, Kind::CommitGrant);
    pair.acquire();
    assert_eq!(pair.refusals(1), []);
    (pair.device, pair.life) = (fork, life);
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::IncarnationSuperseded]);
}

#[test]
fn rel_6_a_revoked_leaf_is_refused_where_the_chain_does_not_list_it() {
    let mut pair = Pair::new();
    pair.leaf_in_chain = Shown::No;
    pair.order(1, &revoke(certificate(&Principal::Device.leaf(1)), 0));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn lea_9_a_lease_is_covered_by_its_leaf_where_the_chain_does_not_list_it() {
    let mut pair = Pair::new();
    pair.leaf_in_chain = Shown::No;
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    pair.order(1, &revoke(certificate(&Principal::Device.leaf(1)), 0));
    assert_eq!(lease_standing(&mut pair), LeaseStanding::Revoked);
}

#[test]
fn rev_4_a_signature_that_answers_a_write_acknowledges_nothing() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::CommitOrder);
    let channel = submitted(&mut pair, &revoke(the_device(), 0));
    let (ticket, _) = pair.node(1).held.remove(0);
    let answer = CustodianAnswer::Signed(Principal::Custodian(1).sign(b"anything"));
    pair.custodian_input(1, CustodianInput::Done { ticket, answer });
    assert_eq!(pair.custodian_rejections, [(1, Rejection::Misuse(Misuse::WrongState))]);
    assert_eq!(heard(&pair, channel), []);
    assert_eq!(anchored(pair.node(1)), []);
}

#[test]
fn rev_4_an_admission_goes_on_while_one_of_two_still_waits() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::CommitOrder);
    submitted(&mut pair, &another());
    let one = submitted(&mut pair, &admit(the_device(), 1));
    let two = submitted(&mut pair, &admit(the_device(), 1));
    pair.break_channel(one);
    pair.resume(1);
    assert_eq!(heard(&pair, two), [MessageType::Acknowledged]);
}

#[test]
fn rev_4_nothing_is_said_to_a_submitter_that_left() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::Sign);
    let channel = submitted(&mut pair, &revoke(the_device(), 0));
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Acknowledged), []);
}

#[test]
fn rev_4_an_acknowledged_order_is_answered_beside_one_of_another_subject() {
    let mut pair = Pair::new();
    let first = pair.order(1, &revoke(the_device(), 0));
    hold(&mut pair, Kind::CommitOrder);
    submitted(&mut pair, &another());
    assert_eq!(pair.order(1, &revoke(the_device(), 0)), first);
}

#[test]
fn rev_4_an_admission_that_is_held_is_acknowledged_again() {
    let mut pair = Pair::new();
    let first = pair.order(1, &admit(the_device(), 1));
    assert!(matches!(first.as_slice(), [Message::Acknowledged(_)]), "{first:?}");
    assert_eq!(pair.order(1, &admit(the_device(), 1)), first);
}

#[test]
fn rev_11_a_revocation_is_pushed_once_however_often_it_is_submitted() {
    let mut pair = Pair::serving();
    answer(&mut pair, Kind::CommitOrder, CustodianAnswer::Fenced);
    pair.order(1, &another());
    pair.order(1, &another());
    assert_eq!(pair.node(1).count(Kind::CommitOrder), 2);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Notice).len(), 1);
}

#[test]
fn rev_11_an_admission_is_pushed_once_it_is_durable() {
    let mut pair = Pair::serving();
    hold(&mut pair, Kind::CommitOrder);
    submitted(&mut pair, &admit(the_device(), 1));
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Notice), []);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Notice).len(), 1);
}

#[test]
fn rev_10_nothing_is_signed_or_kept_for_a_peer_that_left() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let (machine, signed) = (pair.node(1).machine.clone(), pair.node(1).count(Kind::Sign));
    let channel = pair.outsider(1);
    assert_eq!(pair.say(channel, await_dead(&order)), []);
    pair.break_channel(channel);
    assert_eq!(pair.node(1).machine, machine);
    pair.wait(20_000);
    assert_eq!(pair.node(1).count(Kind::Sign), signed);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Dead), []);
}

#[test]
fn rev_10_who_stays_hears_what_another_did_not_wait_for() {
    let mut pair = Pair::serving();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let signed = pair.node(1).count(Kind::Sign);
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    pair.say(one, await_dead(&order));
    pair.say(two, await_dead(&order));
    pair.break_channel(one);
    pair.wait(20_000);
    assert_eq!(heard(&pair, two), [MessageType::Dead]);
    pair.break_channel(two);
    // What was signed is kept for whoever asks later.
    assert!(matches!(pair.tell(1, await_dead(&order)).as_slice(), [Message::Dead(_)]));
    assert_eq!(pair.node(1).count(Kind::Sign), signed + 1);
}

#[test]
fn rev_10_while_it_is_signed_no_second_signature_is_asked_for() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let signed = pair.node(1).count(Kind::Sign);
    hold(&mut pair, Kind::Sign);
    let (one, two) = (pair.outsider(1), pair.outsider(1));
    pair.say(one, await_dead(&order));
    pair.say(two, await_dead(&order));
    pair.custodian_input(1, CustodianInput::Timeout);
    assert_eq!(pair.node(1).count(Kind::Sign), signed + 1);
    pair.resume(1);
    assert_eq!(
        (heard(&pair, one), heard(&pair, two)),
        (vec![MessageType::Dead], vec![MessageType::Dead])
    );
}

#[test]
fn rev_10_two_orders_of_one_subject_are_signed_once_each() {
    let mut pair = Pair::new();
    let (first, second) = (revoke(the_device(), 0), revoke(the_device(), 1));
    for order in [&first, &admit(the_device(), 1), &second] {
        let answers = pair.order(1, order);
        assert!(matches!(answers.as_slice(), [Message::Acknowledged(_)]), "{answers:?}");
    }
    let signed = pair.node(1).count(Kind::Sign);
    hold(&mut pair, Kind::Sign);
    let channel = pair.outsider(1);
    pair.say(channel, await_dead(&first));
    assert!(matches!(pair.tell(1, await_dead(&second)).as_slice(), [Message::Dead(_)]));
    assert_eq!(pair.node(1).count(Kind::Sign), signed + 2);
}

#[test]
fn rev_10_an_order_in_force_without_any_anchor_has_no_dead_leases() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.provision(1);
    hold(&mut pair, Kind::CommitOrder);
    let order = revoke(the_device(), 0);
    submitted(&mut pair, &order);
    assert!(matches!(pair.tell(1, await_dead(&order)).as_slice(), [Message::Refused(_)]));
    assert_eq!(pair.refusals(1), [Violation::NotEffective]);
}

#[test]
fn rev_10_a_key_that_fails_closes_every_channel_that_waits() {
    let mut pair = Pair::new();
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    answer(&mut pair, Kind::Sign, CustodianAnswer::HsmFailed);
    let channel = pair.outsider(1);
    assert_eq!(pair.say(channel, await_dead(&order)), []);
    assert!(!pair.is_open(1, channel));
}

/// The store came back without the lease; its device may count it all the same.
#[test]
fn rev_10_a_new_generation_waits_for_leases_that_its_store_forgot() {
    let mut pair = Pair::serving();
    let mut recovered = pair.node(1).recovered();
    recovered.leases.clear();
    let now = pair.now;
    pair.node(1).restart(now, recovered);
    pair.drop_channels_of(1);
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let channel = pair.outsider(1);
    assert_eq!(pair.say(channel, await_dead(&order)), []);
    pair.wait(12_499);
    assert_eq!(heard(&pair, channel), []);
    pair.wait(1);
    assert_eq!(heard(&pair, channel), [MessageType::Dead], "ttl-max and a margin after its start");
}

#[test]
fn aud_1_a_provision_that_the_store_did_not_take_closes_the_channel() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    answer(&mut pair, Kind::CommitProvision, CustodianAnswer::Fenced);
    let (channel, provision) = (pair.outsider(1), pair.owner.provision(1));
    assert_eq!(pair.say(channel, provision), []);
    assert!(!pair.is_open(1, channel));
    assert!(matches!(pair.provision(1).as_slice(), [Message::Provisioned(_)]), "it may come again");
}

#[test]
fn aud_1_nothing_is_said_to_an_owner_that_left() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    hold(&mut pair, Kind::CommitProvision);
    let (channel, provision) = (pair.outsider(1), pair.owner.provision(1));
    pair.say(channel, provision);
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Provisioned), []);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering");
}

/// Somebody who activates custodian 1, over a channel that stays open.
fn activating(pair: &mut Pair) -> u64 {
    let status = pair.status(1);
    let activation = pair.owner.activation(&status);
    let channel = pair.outsider(1);
    pair.say(channel, activate(&activation, &[operator(1)]));
    channel
}

#[test]
fn aud_5_an_activation_whose_operator_left_stands_and_is_not_said() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.provision(1);
    hold(&mut pair, Kind::CommitActivation);
    let channel = activating(&mut pair);
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Activated), []);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Serving");
}

#[test]
fn aud_5_a_custodian_whose_activation_failed_is_recovering_and_may_be_asked_again() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.provision(1);
    answer(&mut pair, Kind::CommitActivation, CustodianAnswer::Fenced);
    activating(&mut pair);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering");
    answer(&mut pair, Kind::Anchor, CustodianAnswer::HsmFailed);
    activating(&mut pair);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering", "no anchor moved");
    activating(&mut pair);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Serving");
}

#[test]
fn lea_8_a_frame_on_a_channel_that_closed_is_misuse() {
    let mut pair = Pair::new();
    let channel = pair.outsider(1);
    pair.break_channel(channel);
    let frame = await_dead(&another()).to_frame();
    let input = CustodianInput::Received { channel: ChannelId::new(channel), frame };
    let (now, suite) = (pair.now, &mut suite_of(Principal::Custodian(1), 0));
    let unknown = pair.node(1).machine.handle(now, input, suite);
    assert_eq!(unknown, Err(Rejection::Misuse(Misuse::UnknownChannel)));
}

#[test]
fn hs_6_each_connection_gets_a_challenge_of_its_own() {
    let mut pair = Pair::serving();
    let hello = pair.sent_by(From::Device, MessageType::Hello).remove(0);
    let nonce = |pair: &mut Pair| match pair.tell(1, hello.clone()).as_slice() {
        [Message::Challenge(challenge)] => challenge.nonce,
        other => panic!("a challenge, not {other:?}"),
    };
    assert_ne!(nonce(&mut pair), nonce(&mut pair));
}

#[test]
fn rev_5_an_answer_counts_once() {
    let mut pair = Pair::new();
    hold(&mut pair, Kind::CommitOrder);
    submitted(&mut pair, &revoke(the_device(), 0));
    let ticket = pair.node(1).held[0].0;
    pair.resume(1);
    assert_eq!(pair.custodian_rejections, []);
    let answer = CustodianAnswer::HandlesDestroyed;
    pair.custodian_input(1, CustodianInput::Done { ticket, answer });
    assert_eq!(pair.custodian_rejections, [(1, Rejection::Misuse(Misuse::UnknownTicket))]);
}

#[test]
fn rev_10_a_lease_that_was_read_back_counts_as_committed_at_the_start() {
    let mut pair = Pair::serving();
    pair.stall(700);
    pair.restart(1);
    let lapse = pair.now.after(Span::from_millis(12_000 + 500));
    let lease = pair.node(1).machine.ledger().iter().next().expect("it was read back").1.clone();
    assert_eq!(lease.lapse(), lapse, "ttl-max and a margin");
}

#[test]
fn lea_10_claims_grow_old_from_the_challenge_and_not_from_the_request() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.max_age = Span::from_millis(2_000);
    let mut pair = Pair::of(owner);
    pair.network.push((From::Device, MessageType::Request, Fate::Park));
    pair.acquire();
    pair.stall(1_000);
    pair.deliver();
    assert_eq!(pair.device.counting(pair.now), 3);
    pair.wait(1_000);
    let answers = pair.sent_by(From::Custodian(1), MessageType::Renewal);
    let [Message::Renewal(answer)] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(answer.answer, RenewalAnswer::Ended);
}
