//! Stories of what comes to a device elsewhere or out of turn: on a second channel, about an exchange
//! that is over, for an attempt that ended.

use crate::pair::bench::{Bench, leaf};
use crate::pair::owner::{
    Owner, admit, approvals, certificate, list, operator, revoke, the_device, the_weights,
};
use crate::pair::{Carried, Fate, From, Kind, Pair, Reply, suite_of};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::effect::{DeviceEffect, Report, StopCause};
use split_custody_protocol::handshake::{Attester, AttesterInput, VerifierInput};
use split_custody_protocol::ids::{ChannelId, CorrelationId, CustodianId, WeightsVersion};
use split_custody_protocol::lease::Gate;
use split_custody_protocol::role::{DeviceInput, Rejection};
use split_custody_protocol::suite::{LeafKey, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::grant::Refused;
use split_custody_protocol::wire::lease::Renewal;
use split_custody_protocol::wire::message::{Message, MessageType, Received};
use split_custody_protocol::wire::order::{Notice, Order};
use split_custody_protocol::{Misuse, Violation};

use std::sync::Arc;

/// Before every channel of the network, so that whoever takes the first that fits takes this one.
const SECOND: ChannelId = ChannelId::new(0);

/// The device serves under leases of custodians 2 and 3, and custodian 1 has not granted yet.
fn awaiting_1() -> Pair {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Appraise, Reply::Hold));
    pair.acquire();
    assert_eq!((pair.custody(), exchange(&pair, 1)), ("Serving", "AwaitGrant"));
    pair
}

fn exchange(pair: &Pair, id: u8) -> &'static str {
    let mut states = pair.device.exchange_states();
    states.find(|(custodian, _)| custodian.value() == id).expect("an exchange").1
}

/// One input of the device, and whether it wants anything; nothing of that is executed.
fn alone(pair: &mut Pair, input: DeviceInput) -> (Result<(), Rejection>, usize) {
    let suite = &mut suite_of(Principal::Device, pair.life);
    let result = pair.device.handle(pair.now, input, suite);
    let mut wanted = 0;
    while pair.device.poll_output().is_some() {
        wanted += 1;
    }
    (result, wanted)
}

/// A second channel that the device takes for one to this custodian.
fn open_second(pair: &mut Pair, id: u8, peer_leaf: LeafKey) {
    let (custodian, own_leaf) = (CustodianId::new(id), Principal::Device.leaf(pair.life));
    let opened = DeviceInput::ChannelOpened { channel: SECOND, custodian, own_leaf, peer_leaf };
    assert_eq!(alone(pair, opened).0, Ok(()));
}

fn own_leaf_of(id: u8) -> LeafKey {
    Principal::Custodian(id).leaf(0)
}

fn on_second(pair: &mut Pair, frame: Vec<u8>) -> Result<(), Rejection> {
    let suite = &mut suite_of(Principal::Device, pair.life);
    pair.device.handle(pair.now, DeviceInput::Received { channel: SECOND, frame }, suite)
}

fn refused() -> Message {
    Message::Refused(Refused { correlation: CorrelationId::new([7; CorrelationId::SIZE]) })
}

fn notice(order: &Order) -> Message {
    Message::Notice(Notice { approvals: approvals(order, &[operator(1)]) })
}

fn counter_of(pair: &Pair, id: u8) -> u64 {
    let mut leases = pair.device.leases();
    leases.find(|(of, _)| of.value() == id).expect("a lease").1.counter.value()
}

fn parked(pair: &mut Pair) -> Carried {
    pair.parked.pop().expect("one frame")
}

fn unexpected() -> Result<(), Rejection> {
    Err(Rejection::Violation(Violation::Unexpected))
}

#[test]
fn qrm_5_a_second_channel_that_closes_ends_no_exchange() {
    let mut pair = awaiting_1();
    open_second(&mut pair, 1, own_leaf_of(1));
    assert_eq!(alone(&mut pair, DeviceInput::ChannelClosed { channel: SECOND }), (Ok(()), 0));
    assert_eq!(exchange(&pair, 1), "AwaitGrant");
    pair.resume(1);
    assert_eq!(pair.device.counting(pair.now), 3);
}

#[test]
fn qrm_5_a_second_channel_that_opens_before_there_is_a_lease_is_kept() {
    let mut pair = awaiting_1();
    let (custodian, own_leaf) = (CustodianId::new(1), Principal::Device.leaf(1));
    let peer_leaf = own_leaf_of(1);
    let opened = DeviceInput::ChannelOpened { channel: SECOND, custodian, own_leaf, peer_leaf };
    assert_eq!(alone(&mut pair, opened), (Ok(()), 0));
}

#[test]
fn qrm_5_a_dial_that_fails_ends_no_exchange_that_has_a_channel() {
    let mut pair = awaiting_1();
    pair.device_input(DeviceInput::ChannelFailed { custodian: CustodianId::new(1) });
    assert_eq!(exchange(&pair, 1), "AwaitGrant");
    pair.resume(1);
    assert_eq!(pair.device.counting(pair.now), 3);
}

#[test]
fn qrm_5_a_refusal_on_a_second_channel_ends_no_exchange() {
    let mut pair = awaiting_1();
    open_second(&mut pair, 1, own_leaf_of(1));
    assert_eq!(on_second(&mut pair, refused().to_frame()), Ok(()));
    assert_eq!(exchange(&pair, 1), "AwaitGrant");
}

#[test]
fn qrm_5_a_refusal_of_the_exchange_ends_it_and_one_of_a_renewal_does_not_again() {
    let mut pair = awaiting_1();
    assert_eq!(pair.device_receives(1, &refused()), Ok(()));
    assert_eq!((exchange(&pair, 1), pair.failures(1)), ("Closed", vec![None]));
    assert_eq!(pair.device_receives(2, &refused()), Ok(()));
    assert_eq!(pair.failures(2), [], "its exchange was answered long ago");
    assert_eq!(pair.device.counting(pair.now), 2);
}

#[test]
fn hs_17_a_challenge_on_a_second_channel_is_refused() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(1), MessageType::Challenge, Fate::Park));
    pair.acquire();
    assert_eq!(exchange(&pair, 1), "AwaitChallenge");
    open_second(&mut pair, 1, own_leaf_of(1));
    let challenge = parked(&mut pair).frame;
    assert_eq!(on_second(&mut pair, challenge), unexpected());
    assert_eq!(exchange(&pair, 1), "Closed");
}

#[test]
fn rel_8_a_good_grant_on_a_second_channel_is_refused() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(1), MessageType::Grant, Fate::Park));
    pair.acquire();
    open_second(&mut pair, 1, own_leaf_of(1));
    let grant = parked(&mut pair).frame;
    assert_eq!(on_second(&mut pair, grant), unexpected());
    assert_eq!(pair.device.leases().count(), 2);
}

#[test]
fn hs_2_an_exporter_of_a_channel_that_closed_is_for_nobody() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Export, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(1);
    pair.break_channel(channel);
    let failures = pair.failures(1);
    pair.device_resume();
    assert_eq!((pair.device_rejections.as_slice(), pair.failures(1)), ([].as_slice(), failures));
}

#[test]
fn hs_17_a_challenge_in_a_suite_that_is_named_and_not_implemented_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    let mut custodians = owner.manifest.custodians.as_slice().to_vec();
    custodians[0].suites = list(vec![SuiteId::HPKE_X25519, SuiteId::new(0x7777)]);
    owner.manifest.custodians = list(custodians);
    let mut pair = Pair::of(owner);
    let change = |message| {
        let Message::Challenge(mut challenge) = message else { panic!("not a challenge") };
        challenge.suite = SuiteId::new(0x7777);
        Message::Challenge(challenge)
    };
    pair.network.push((From::Custodian(1), MessageType::Challenge, Fate::Change(change)));
    pair.acquire();
    assert_eq!(pair.failures(1), [Some(Violation::ChallengeNotOurs)]);
}

#[test]
fn hs_17_a_challenge_of_a_custodian_that_the_manifest_does_not_name_is_refused() {
    let mut pair = Pair::of(Owner::new(5, 3, 0));
    pair.acquire();
    let challenge = pair.sent_by(From::Custodian(5), MessageType::Challenge).remove(0);
    let answered_under = |owner: Owner| {
        let (five, suite) = (CustodianId::new(5), &mut suite_of(Principal::Device, 1));
        let (manifest, device) = (Owner::new(5, 3, 0).known_manifest(), Bench::new().device);
        let mut attester = Attester::new(five);
        let (device_leaf, custodian_leaf) = (leaf(), own_leaf_of(5));
        let opened = AttesterInput::ChannelOpened { channel: SECOND, device_leaf, custodian_leaf };
        attester.handle(opened, &manifest, device, 1, suite).expect("a channel");
        let exporter = AttesterInput::Exported(Bench::new().exporter());
        attester.handle(exporter, &manifest, device, 1, suite).expect("an exporter");
        let Message::Challenge(body) = &challenge else { panic!("not a challenge") };
        let frame = challenge.to_frame();
        let received = AttesterInput::Challenge(Received { body, frame: &frame });
        attester.handle(received, &owner.known_manifest(), device, 1, suite).map(drop)
    };
    assert_eq!(answered_under(Owner::new(5, 3, 0)), Ok(()));
    assert_eq!(answered_under(Owner::new(3, 2, 0)), Err(Violation::ChallengeNotOurs));
}

#[test]
fn hs_4_a_hello_below_the_floor_is_refused() {
    let bench = Bench::new();
    let said = |floor| {
        let (body, frame) = bench.hello();
        let mut context = bench.context();
        context.floor = WeightsVersion::new(floor);
        let hello = VerifierInput::Hello(Received { body: &body, frame: &frame });
        let suite = &mut crate::pair::bench::custodian_suite();
        bench.verifier().handle(bench.now, hello, &context, suite).map(drop)
    };
    assert_eq!((said(1), said(2)), (Ok(()), Err(Violation::ManifestUnknown)));
}

#[test]
fn lea_5_a_late_renewal_that_would_bring_k_again_does_not_undo_a_loss() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.acquire();
    pair.network.push((From::Custodian(2), MessageType::Renewal, Fate::Park));
    pair.wait(2_000);
    assert_eq!((counter_of(&pair, 1), counter_of(&pair, 2)), (1, 0));
    // Lease 2 is over, and nobody looked at the clock until its renewal comes.
    pair.stall(3_500);
    assert_eq!(pair.device.counting(pair.now), 1);
    pair.deliver();
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::LeaseLost }));
}

/// A liar's renewal, of a term that is over when it comes, takes what the running term had left.
#[test]
fn lea_5_a_renewal_that_ends_a_lease_stops_the_device_at_once() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.acquire();
    pair.network.push((From::Custodian(1), MessageType::Renewal, Fate::Park));
    pair.wait(2_000);
    pair.stall(3_000);
    let Message::Renewal(honest) = parked(&mut pair).message() else { panic!("a renewal") };
    let short = Renewal { term: Span::from_millis(3_000), ..honest };
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
    assert_eq!(pair.device_receives(1, &Message::Renewal(short)), Ok(()));
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::LeaseLost }));
}

#[test]
fn lea_8_a_lease_is_renewed_on_a_new_channel_between_its_own_leaves() {
    let mut pair = Pair::serving();
    pair.drop_channels_of(2);
    pair.wait(2_100);
    assert_eq!([1, 2, 3].map(|id| counter_of(&pair, id)), [1, 1, 1]);
}

#[test]
fn lea_8_a_renewal_is_not_asked_on_a_channel_under_another_leaf() {
    let mut pair = awaiting_1();
    open_second(&mut pair, 1, Principal::Stranger.leaf(1));
    pair.resume(1);
    pair.wait(2_000);
    assert_eq!(counter_of(&pair, 1), 1);
}

#[test]
fn lea_8_a_renewal_is_not_asked_on_a_channel_to_another_custodian() {
    let mut pair = awaiting_1();
    open_second(&mut pair, 2, own_leaf_of(1));
    pair.resume(1);
    pair.wait(2_000);
    assert_eq!(counter_of(&pair, 1), 1);
}

#[test]
fn qrm_6_a_grant_while_the_model_is_erased_adds_no_lease() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(3), MessageType::Grant, Fate::Park));
    pair.acquire();
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.device_input(DeviceInput::Release);
    pair.deliver();
    assert_eq!((pair.custody(), pair.device.leases().count()), ("Erasing", 2));
}

/// Custodian 3 answers this long after it was asked; what is told of its lease.
fn told_of_a_grant_after(millis: u64) -> (usize, bool) {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.challenge_max = Span::from_millis(20_000);
    let mut pair = Pair::of(owner);
    (1..=3).for_each(|id| pair.node(id).script.push((Kind::Appraise, Reply::Hold)));
    pair.acquire();
    pair.resume(1);
    pair.resume(2);
    pair.wait(millis);
    pair.resume(3);
    let of_3 = |report: &&Report| matches!(report, Report::LeaseCounts { custodian, .. } if custodian.value() == 3);
    let wakes = pair.device.poll_timeout().is_some_and(|at| at > pair.now);
    (pair.device_reports.iter().filter(of_3).count(), wakes)
}

#[test]
fn qrm_6_a_lease_is_said_to_count_only_where_it_does() {
    assert_eq!(told_of_a_grant_after(5_499).0, 1);
    assert_eq!(told_of_a_grant_after(5_500), (0, true));
    assert_eq!(told_of_a_grant_after(5_600), (0, true));
}

#[test]
fn rst_10_a_second_acquisition_is_misuse_and_leaves_no_key_behind() {
    let mut pair = Pair::serving();
    let before = pair.device.clone();
    pair.acquire();
    assert_eq!(pair.device_rejections, [Rejection::Misuse(Misuse::WrongState)]);
    assert_eq!(pair.device, before);
}

#[test]
fn rst_10_what_a_load_answers_after_a_stop_is_discarded() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Load, Reply::Hold));
    pair.acquire();
    pair.script.push((Kind::Erase, Reply::Hold));
    pair.device_input(DeviceInput::Release);
    pair.device_resume();
    assert_eq!((pair.custody(), pair.device_rejections.as_slice()), ("Erasing", [].as_slice()));
}

/// What a device that is told of a revocation has asked to erase since.
fn erased_by_notice(pair: &mut Pair) -> Vec<(usize, bool)> {
    let asked = pair.asked.len();
    assert_eq!(pair.device_receives(1, &notice(&revoke(the_weights(), 0))), Ok(()));
    let erased = |effect: &DeviceEffect| match effect {
        DeviceEffect::Erase { secrets } => Some((secrets.keys.len(), secrets.dek.is_some())),
        _ => None,
    };
    pair.asked[asked..].iter().filter_map(erased).collect()
}

#[test]
fn rev_12_a_notice_ends_an_attempt_in_every_state_and_erases_what_it_has() {
    let mut gathering = Pair::new();
    gathering.script.push((Kind::Export, Reply::Hold));
    gathering.acquire();
    assert_eq!(
        (gathering.custody(), erased_by_notice(&mut gathering)),
        ("Gathering", vec![(2, false)])
    );
    let mut requesting = Pair::new();
    (1..=3).for_each(|id| requesting.node(id).script.push((Kind::Appraise, Reply::Hold)));
    requesting.acquire();
    assert_eq!(
        (requesting.custody(), erased_by_notice(&mut requesting)),
        ("Requesting", vec![(3, false)])
    );
    let mut serving = Pair::serving();
    assert_eq!((serving.custody(), erased_by_notice(&mut serving)), ("Serving", vec![(0, true)]));
    let mut erasing = Pair::serving();
    erasing.script.push((Kind::Erase, Reply::Hold));
    erasing.device_input(DeviceInput::Release);
    assert_eq!((erasing.custody(), erased_by_notice(&mut erasing)), ("Erasing", vec![]));
    for pair in [gathering, requesting, serving] {
        assert_eq!((pair.custody(), pair.device_rejections.as_slice()), ("Idle", [].as_slice()));
    }
}

#[test]
fn rev_12_an_admission_that_skips_serials_is_refused_and_shields_nothing() {
    let mut pair = Pair::serving();
    let skipped = pair.device_receives(1, &notice(&admit(the_device(), 9)));
    assert_eq!(skipped, Err(Rejection::Violation(Violation::SerialOutOfRule)));
    assert_eq!(pair.device_receives(1, &notice(&revoke(the_device(), 3))), Ok(()));
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Revoked }));
}

#[test]
fn rev_12_an_order_is_applied_once_however_often_it_is_heard() {
    let mut pair = Pair::serving();
    let order = notice(&revoke(certificate(&Principal::Stranger.leaf(1)), 0));
    assert_eq!(pair.device_receives(1, &order), Ok(()));
    assert_eq!(pair.device_receives(2, &order), Ok(()));
    let applied = |report: &&Report| matches!(report, Report::Applied { .. });
    assert_eq!(pair.device_reports.iter().filter(applied).count(), 1);
}

#[test]
fn lea_16_a_hold_keeps_output_in_as_it_keeps_uses_out() {
    let pair = Pair::serving();
    let gate = Arc::new(Gate::new());
    gate.publish(pair.device.standing().as_ref());
    let admission = gate.admit(|| pair.now).expect("it serves");
    assert!(gate.may_leave(|| pair.now, &admission));
    let hold = gate.hold();
    assert!(!gate.may_leave(|| pair.now, &admission));
    drop(hold);
    assert!(gate.may_leave(|| pair.now, &admission));
    let withdrawn = gate.may_leave(
        || {
            gate.publish(None);
            pair.now
        },
        &admission,
    );
    assert!(!withdrawn, "the standing went while the clock was read");
}

#[test]
fn lea_3_the_gate_of_one_life_lets_out_nothing_that_another_admitted() {
    let (one, mut other) = (Pair::serving(), Pair::new());
    other.device_input(DeviceInput::Tampered);
    other.acquire();
    let gate = Gate::new();
    gate.publish(one.device.standing().as_ref());
    let earlier = gate.admit(|| one.now).expect("it serves");
    gate.publish(other.device.standing().as_ref());
    let later = gate.admit(|| other.now).expect("it serves");
    assert_eq!(earlier.attempt(), later.attempt(), "the number tells nothing");
    assert!(gate.may_leave(|| other.now, &later));
    assert!(!gate.may_leave(|| other.now, &earlier));
}
