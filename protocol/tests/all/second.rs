//! What one element and one mistake do not show: the second of a list, a value at its very bound, and
//! fields that differ where others agree. Mutations of the protocol found that nothing else did.

use std::collections::BTreeSet;

use crate::pair::owner::{
    Owner, admit, approvals, list, operator, order_digest, revoke, sign, suite, the_device,
};
use crate::pair::{Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::{Hardware, Principal, device_id};
use split_custody_protocol::audit::{Knows, Standing, recover};
use split_custody_protocol::effect::{Anchor, Report};
use split_custody_protocol::ids::{
    Budget, CorrelationId, CustodianId, DeploymentId, Epoch, Generation,
};
use split_custody_protocol::lease::Gate;
use split_custody_protocol::release::Coverage;
use split_custody_protocol::revocation::{Novelty, OrderSet, verify_order};
use split_custody_protocol::role::DeviceInput;
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::{Bytes, Digest, Nonce, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::grant::{Refused, Terms};
use split_custody_protocol::wire::message::{Message, MessageType, frame_of};
use split_custody_protocol::wire::order::{AwaitDead, Order};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::Query;
use split_custody_protocol::wire::{decode, encode};
use split_custody_protocol::{DecodeError, Violation};

/// What custodian 1 says to a provision of this owner.
fn provisioned(owner: Owner) -> Vec<Violation> {
    let mut pair = Pair::unprovisioned(owner);
    pair.provision(1);
    pair.refusals(1)
}

#[test]
fn hs_4_a_provision_whose_manifest_is_of_another_deployment_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.deployment = DeploymentId::new([9; 16]);
    assert_eq!(provisioned(owner), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_whose_deployment_is_another_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    owner.deployment.deployment = DeploymentId::new([9; 16]);
    assert_eq!(provisioned(owner), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_whose_manifest_names_another_kek_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    let mut custodians = owner.manifest.custodians.as_slice().to_vec();
    custodians[0].kek = Digest::new([9; 32]);
    owner.manifest.custodians = list(custodians);
    assert_eq!(provisioned(owner), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_whose_manifest_names_another_grant_key_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    let mut custodians = owner.manifest.custodians.as_slice().to_vec();
    custodians[0].grant_key = Principal::Stranger.verify_key();
    owner.manifest.custodians = list(custodians);
    assert_eq!(provisioned(owner), [Violation::ManifestUnknown]);
}

/// Serving under this owner, whose lists name more than the device needs.
fn serves(owner: Owner) {
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 3));
}

#[test]
fn hs_16_one_of_two_named_kinds_modes_and_measurements_is_enough() {
    let mut owner = Owner::new(3, 2, 0);
    let policy = &mut owner.manifest.policy;
    policy.kinds = list(vec![EvidenceKind::NVIDIA_CC, EvidenceKind::SOFTWARE]);
    policy.modes = list(vec![1, 7]);
    let found = policy.measurements.as_slice()[0];
    policy.measurements = list(vec![found, Digest::new([255; 32])]);
    serves(owner);
}

#[test]
fn hs_14_one_of_two_enrolled_devices_and_issuers_is_enough() {
    let mut owner = Owner::new(3, 2, 0);
    let enrolled = owner.deployment.devices.as_slice()[0];
    let other = device_id(Hardware::Adversary, Hardware::Adversary);
    owner.deployment.devices =
        list([enrolled, other].into_iter().collect::<BTreeSet<_>>().into_iter().collect());
    let issuer = owner.deployment.issuers.as_slice()[0];
    let stranger = Principal::Stranger.leaf(9);
    owner.deployment.issuers = list(vec![issuer, stranger]);
    serves(owner);
}

/// The first Hello goes to custodian 1, changed.
fn with_hello(owner: Owner, change: fn(Message) -> Message) -> Pair {
    let mut pair = Pair::of(owner);
    pair.network.push((From::Device, MessageType::Hello, Fate::Change(change)));
    pair.acquire();
    pair
}

#[test]
fn hs_3_one_common_version_among_two_is_enough() {
    let pair = with_hello(Owner::new(3, 2, 0), |message| {
        let Message::Hello(mut hello) = message else { panic!("not a hello") };
        hello.versions = list(vec![1, 9]);
        Message::Hello(hello)
    });
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Challenge).len(), 1);
    // It was changed on its way, which the transcript shows and nothing before it.
    assert_eq!(pair.refusals(1), [Violation::OwnEntryDiffers]);
}

#[test]
fn hs_3_a_suite_that_runs_and_that_the_manifest_does_not_name_is_refused() {
    let pair = with_hello(Owner::new(3, 2, 0), |message| {
        let Message::Hello(mut hello) = message else { panic!("not a hello") };
        hello.suites = list(vec![SuiteId::P256_X963_KW]);
        Message::Hello(hello)
    });
    assert_eq!(pair.refusals(1), [Violation::NothingInCommon]);
}

#[test]
fn hs_4_a_hello_of_another_deployment_is_refused() {
    let pair = with_hello(Owner::new(3, 2, 0), |message| {
        let Message::Hello(mut hello) = message else { panic!("not a hello") };
        hello.deployment = DeploymentId::new([9; 16]);
        Message::Hello(hello)
    });
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

/// What is said to a deployment of three operators with these thresholds.
fn thresholds(m_revoke: u8, m_change: u8) -> Option<Violation> {
    let mut owner = Owner::new(3, 2, 0);
    owner.deployment.operators = list((1..=3).map(|n| operator(n).verify_key()).collect());
    (owner.deployment.m_revoke, owner.deployment.m_change) = (m_revoke, m_change);
    let signed = owner.signed_deployment();
    let known = KnownDeployment::verify(
        &mut suite(Principal::Owner),
        &Principal::Owner.verify_key(),
        &signed,
    );
    known.err()
}

#[test]
fn rev_2_every_bound_of_the_thresholds_is_held() {
    assert_eq!(thresholds(1, 3), None);
    assert_eq!(thresholds(2, 2), None);
    assert_eq!(thresholds(3, 3), None);
    // Fewer must sign a change than a revocation; more must sign than there are.
    assert_eq!(thresholds(3, 1), Some(Violation::TooFewOperators));
    assert_eq!(thresholds(1, 4), Some(Violation::TooFewOperators));
    assert_eq!(thresholds(0, 3), Some(Violation::TooFewOperators));
}

/// What is said to a manifest with this much changed.
fn manifest(change: impl FnOnce(&mut Owner)) -> Option<Violation> {
    let mut owner = Owner::new(3, 2, 0);
    change(&mut owner);
    let suite = &mut suite(Principal::Owner);
    KnownManifest::verify(suite, &Principal::Owner.verify_key(), &owner.signed_manifest()).err()
}

#[test]
fn lea_9_terms_and_challenges_hold_up_to_their_very_bounds() {
    let challenge =
        |millis| manifest(|owner| owner.manifest.policy.challenge_max = Span::from_millis(millis));
    assert_eq!(challenge(60_000), None);
    assert_eq!(challenge(1), None);
    assert!(challenge(60_001).is_some() && challenge(0).is_some());
    let term = |millis| manifest(|owner| owner.manifest.policy.term = Span::from_millis(millis));
    // Twelve seconds are the most; four margins and the gather window the least.
    assert_eq!((term(12_000), term(3_000)), (None, None));
    assert!(term(12_001).is_some() && term(2_999).is_some());
}

#[test]
fn wire_1_a_length_is_refused_above_its_cap_and_not_at_it() {
    let too_long = |said| matches!(said, Err(DecodeError::TooLong { .. }));
    let bytes = encode(&Digest::new([1; 32]));
    assert!(decode::<Digest>(&bytes, bytes.len()).is_ok());
    assert!(too_long(decode::<Digest>(&bytes, bytes.len() - 1).map(drop)));
    // Frames of nothing but zeros, at the cap and above: only the longer one is too long.
    assert!(!too_long(Message::from_frame(&vec![0; Message::CAP]).map(drop)));
    assert!(too_long(Message::from_frame(&vec![0; Message::CAP + 1]).map(drop)));
    // A Hello with a tail, at the cap of its kind and above.
    let mut pair = Pair::new();
    pair.acquire();
    let frame = pair.sent_by(From::Device, MessageType::Hello).remove(0).to_frame();
    let padded = |length| {
        let mut frame = frame.clone();
        frame.resize(length, 0);
        Message::from_frame(&frame).map(drop)
    };
    let cap = MessageType::Hello.cap();
    assert!(!too_long(padded(cap)) && too_long(padded(cap + 1)));
}

#[test]
fn wire_2_what_is_outside_of_the_profile_is_malformed_before_it_is_decoded() {
    // An indefinite array, and one that nests: both would be skipped under an unknown key.
    for bytes in [vec![0x9f, 0xff], vec![0x9f; 4096]] {
        assert_eq!(decode::<Digest>(&bytes, 8192), Err(DecodeError::Malformed));
    }
    let nested: Vec<u8> =
        [0x5f].into_iter().chain(encode(&Digest::new([1; 32]))).chain([0xff]).collect();
    assert_eq!(decode::<Digest>(&nested, 8192), Err(DecodeError::Malformed));
}

#[test]
fn wire_4_a_signed_object_without_a_payload_is_refused() {
    let signed = sign(Principal::Owner, ObjectKind::Manifest, vec![]);
    let bytes = encode(&signed);
    assert_eq!(decode::<Signed>(&bytes, 8192), Err(DecodeError::Malformed));
}

#[test]
fn rel_12_suites_are_found_by_their_names_and_by_no_other() {
    let suites = [
        SuiteId::P256_X963_KW,
        SuiteId::P256_X963_KWP,
        SuiteId::P256_CBCD_KW,
        SuiteId::HPKE_X25519,
    ];
    for suite in suites {
        assert_eq!(SuiteId::from_name(suite.name()), Some(suite));
    }
    assert_eq!(SuiteId::from_name("unregistered"), None);
}

#[test]
fn wire_1_byte_strings_hold_from_one_byte_to_their_cap() {
    let length = |bytes: usize| Bytes::<4>::new(vec![7; bytes]).is_some();
    assert_eq!([0, 1, 4, 5].map(length), [false, true, true, false]);
}

#[test]
fn aud_4_a_store_stands_with_its_own_anchor_and_manifest_only() {
    let owner = Owner::new(3, 2, 0);
    let manifest = owner.known_manifest();
    let (one, other) = (Digest::new([1; 32]), Digest::new([2; 32]));
    let orders: BTreeSet<Digest> = [one].into();
    let nonce = Nonce::new([3; 32]);
    let standing = |active: Option<&Digest>, generation, epoch, listed: Vec<Digest>| {
        let anchor = Anchor {
            generation: Generation::new(generation),
            epoch: Epoch::new(epoch),
            orders: listed,
        };
        let knows = Knows {
            custodian: CustodianId::new(1),
            generation: Generation::new(4),
            epoch: Epoch::new(5),
            manifest: &manifest,
            nonce: &nonce,
            orders: &orders,
            anchor: Some(&anchor),
        };
        recover(active, &knows)
    };
    let own = Some(manifest.digest());
    assert_eq!(standing(own, 4, 5, vec![one]), Standing::Serving);
    assert_eq!(standing(own, 3, 4, vec![]), Standing::Serving);
    assert_eq!(standing(own, 5, 5, vec![one]), Standing::Recovering, "an older store");
    assert_eq!(standing(own, 4, 6, vec![one]), Standing::Recovering, "a lost epoch");
    assert_eq!(standing(own, 4, 5, vec![one, other]), Standing::Recovering, "a lost order");
    assert_eq!(standing(Some(&other), 4, 5, vec![one]), Standing::Recovering, "another manifest");
    assert_eq!(standing(None, 4, 5, vec![one]), Standing::Recovering, "never activated");
}

#[test]
fn lea_3_the_gate_lets_out_no_output_of_an_earlier_attempt_or_incarnation() {
    let mut pair = Pair::serving();
    let gate = Gate::new();
    gate.publish(pair.device.standing().as_ref());
    let earlier = gate.admit(|| pair.now).expect("it serves");
    assert!(gate.may_leave(|| pair.now, &earlier));
    // Another attempt in the same incarnation.
    pair.device_input(DeviceInput::Release);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    gate.publish(pair.device.standing().as_ref());
    assert!(!gate.may_leave(|| pair.now, &earlier));
    let later = gate.admit(|| pair.now).expect("it serves again");
    assert!(gate.may_leave(|| pair.now, &later));
    gate.publish(None);
    assert!(!gate.may_leave(|| pair.now, &later), "a gate that is shut");
}

/// Two of three count; of those, one has budget. A third has budget and is over.
#[test]
fn lea_2_an_ended_lease_with_budget_does_not_admit() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.budget = Budget::new(2);
    let mut pair = Pair::of(owner);
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
    // Custodian 1 never renews: its lease ends after 5.5 s, its budget untouched.
    pair.wait(5_700);
    assert_eq!(pair.device.counting(pair.now), 2);
    assert!(pair.device.admit(pair.now).is_ok() && pair.device.admit(pair.now).is_ok());
    assert_eq!(pair.device.admit(pair.now).err(), Some(Violation::TooFewLeases));
    // The next renewal gives budget to custodian 2's lease only.
    pair.node(3).script.push((Kind::CommitRenewal, Reply::Hold));
    pair.wait(3_400);
    assert_eq!(pair.device.counting(pair.now), 2);
    let budgets: Vec<bool> =
        pair.device.leases().map(|(_, held)| held.budget() != Budget::new(0)).collect();
    assert_eq!(budgets, [true, true, false]);
    assert_eq!(pair.device.admit(pair.now).err(), Some(Violation::TooFewLeases));
}

/// An operator's log tells each step that somebody may have to answer for.
#[test]
fn every_step_of_a_life_is_reported() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.acquire();
    pair.wait(2_100);
    pair.order(1, &revoke(the_device(), 0));
    let said = |found: fn(&Report) -> bool, reports: &[Report]| reports.iter().any(found);
    let device = pair.device_reports.clone();
    assert!(said(|r| matches!(r, Report::Serving { .. }), &device));
    assert!(said(|r| matches!(r, Report::ExchangeClosed { violation: None, .. }), &device));
    for counter in [0, 1] {
        let counts = |r: &Report| matches!(r, Report::LeaseCounts { counter: c, .. } if c.value() == counter);
        assert_eq!(device.iter().filter(|r| counts(r)).count(), 2, "counter {counter}");
    }
    assert!(said(|r| matches!(r, Report::Applied { .. }), &device), "a Notice was applied");
    let of_1: Vec<Report> =
        pair.custodian_reports.iter().filter(|(id, _)| *id == 1).map(|(_, r)| r.clone()).collect();
    assert!(said(|r| matches!(r, Report::Granted { .. }), &of_1));
    assert!(said(|r| matches!(r, Report::Renewed { .. }), &of_1));
    assert!(said(|r| matches!(r, Report::Applied { .. }), &of_1));
}

#[test]
fn rst_8_only_a_device_that_blocks_reports_a_blocked_read() {
    let blocked = |pair: &Pair| pair.device_reports.contains(&Report::ReadBlocked);
    let (mut resets, mut blocks) = (Pair::serving(), Pair::new().blocking());
    resets.device_input(DeviceInput::HostRead);
    blocks.device_input(DeviceInput::HostRead);
    assert!(!blocked(&resets) && blocked(&blocks));
}

#[test]
fn hs_4_a_query_for_another_deployment_is_refused() {
    let mut pair = Pair::new();
    let answers = pair.tell(1, Message::Query(Query { deployment: DeploymentId::new([9; 16]) }));
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]), "{answers:?}");
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

/// What is said to terms with one more entry in their map.
fn terms_with(extra: &[u8]) -> DecodeError {
    let span = Span::from_millis(9);
    let terms = Terms { first: span, term: span, budget: Budget::UNLIMITED, max_age: span };
    let mut bytes = encode(&terms);
    assert!(decode::<Terms>(&bytes, 256).is_ok());
    bytes[0] += 1;
    bytes.extend_from_slice(&[0x18, 99]);
    bytes.extend_from_slice(extra);
    decode::<Terms>(&bytes, 256).unwrap_err()
}

#[test]
fn wire_2_an_unknown_field_is_another_encoding_and_what_hides_in_it_is_not_read() {
    assert_eq!(terms_with(&[0]), DecodeError::NotCanonical);
    // Indefinite, and so refused before anything is skipped.
    assert_eq!(terms_with(&[0x9f, 0xff]), DecodeError::Malformed);
}

/// A renewed lease that a new, short one replaced: it counts nowhere, but has not lapsed.
#[test]
fn rev_10_dead_is_said_when_the_last_of_two_leases_has_lapsed() {
    let mut pair = Pair::serving();
    pair.wait(2_100); // renewed: the first lease lapses 12.5 s after the start
    pair.device_input(DeviceInput::Release);
    pair.acquire(); // the second lapses 8.6 s after the start
    assert_eq!(pair.custody(), "Serving");
    let order = revoke(the_device(), 0);
    pair.order(1, &order);
    let channel = pair.outsider(1);
    let wait = Message::AwaitDead(AwaitDead { order: order_digest(&order) });
    assert_eq!(pair.say(channel, wait), []);
    pair.wait(10_300);
    assert_eq!(pair.mail.get(&channel), None, "one lease has not lapsed");
    pair.wait(200);
    assert!(matches!(pair.mail[&channel].as_slice(), [Message::Dead(_)]));
}

#[test]
fn rev_3_every_judgement_of_an_order_that_is_held_or_overridden() {
    let known = Owner::new(3, 2, 0).known_deployment();
    let order = |order: &Order| {
        let signed = approvals(order, &[operator(1)]);
        verify_order(&signed, &known, &mut suite(Principal::Operator)).expect("well signed")
    };
    let (first, lifted) = (order(&revoke(the_device(), 0)), order(&admit(the_device(), 1)));
    let mut set = OrderSet::default();
    assert_eq!((set.len(), set.is_empty()), (0, true));
    assert_eq!(set.judge(&lifted), Ok(Novelty::New));
    set.insert(&first);
    assert_eq!((set.len(), set.is_empty()), (1, false));
    assert_eq!(set.judge(&first), Ok(Novelty::AlreadyHeld));
    set.insert(&lifted);
    assert_eq!((set.len(), set.judge(&lifted)), (2, Ok(Novelty::AlreadyHeld)));
    assert_eq!(set.judge(&first), Ok(Novelty::Superseded), "held and overridden");
    // Not held, and overridden before it came.
    let mut set = OrderSet::default();
    set.insert(&lifted);
    assert_eq!(set.judge(&first), Ok(Novelty::Superseded));
    assert_eq!(set.judge(&order(&revoke(the_device(), 1))), Ok(Novelty::New), "a tie");
    let wins = set.judge(&order(&revoke(the_device(), 2)));
    assert_eq!(wins, Err(Violation::SerialOutOfRule), "above every admission");
}

#[test]
fn rev_3_a_revocation_wins_a_tie_and_loses_to_a_higher_admission() {
    let known = Owner::new(3, 2, 0).known_deployment();
    let covered = |orders: &[Order]| {
        let mut set = OrderSet::default();
        for order in orders {
            let signed = approvals(order, &[operator(1)]);
            let order = verify_order(&signed, &known, &mut suite(Principal::Operator));
            set.insert(&order.expect("well signed"));
        }
        set.coverage(&[the_device()])
    };
    let (revoked, admitted) = (|n| revoke(the_device(), n), |n| admit(the_device(), n));
    assert_eq!(covered(&[]), Coverage::Clear);
    assert_eq!(covered(&[admitted(1)]), Coverage::Clear);
    assert_eq!(covered(&[revoked(0)]), Coverage::Revoked);
    assert_eq!(covered(&[revoked(0), admitted(1)]), Coverage::Clear);
    assert_eq!(covered(&[revoked(1), admitted(1)]), Coverage::Revoked);
    assert_eq!(covered(&[revoked(2), admitted(1)]), Coverage::Revoked);
}

#[test]
fn wire_2_a_frame_of_a_body_is_the_frame_of_its_message() {
    let refused = Refused { correlation: CorrelationId::new([7; CorrelationId::SIZE]) };
    assert_eq!(frame_of(refused), Message::Refused(refused).to_frame());
}
