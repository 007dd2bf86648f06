//! Stories of chapter 40.

use crate::pair::bench::{Bench, device_suite, terms};
use crate::pair::owner::{Owner, list};
use crate::pair::{Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::{DEK, Principal, dek_commitment, false_share};
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Report, StopCause};
use split_custody_protocol::ids::{CustodianId, ShareIndex, WeightsVersion};
use split_custody_protocol::quorum::Tally;
use split_custody_protocol::role::DeviceInput;
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::grant::Grant;
use split_custody_protocol::wire::manifest::CustodianEntry;
use split_custody_protocol::wire::message::{Message, MessageType};

fn known(owner: &Owner) -> Result<KnownManifest, Violation> {
    let suite = &mut crate::pair::owner::suite(Principal::Owner);
    KnownManifest::verify(suite, &Principal::Owner.verify_key(), &owner.signed_manifest())
}

fn with_custodians(change: impl FnOnce(&mut Vec<CustodianEntry>)) -> Result<(), Violation> {
    let mut owner = Owner::new(3, 2, 0);
    let mut entries = owner.manifest.custodians.as_slice().to_vec();
    change(&mut entries);
    owner.manifest.custodians = list(entries);
    known(&owner).map(drop)
}

fn with_numbers(n: u8, k: u8, f: u8) -> Result<(), Violation> {
    let mut owner = Owner::new(3, 2, 0);
    (owner.manifest.n, owner.manifest.k, owner.manifest.f) = (n, k, f);
    known(&owner).map(drop)
}

#[test]
fn qrm_1_no_evidence_is_made_with_fewer_than_k_ready() {
    let mut pair = Pair::new();
    pair.unreachable.extend([2, 3]);
    pair.acquire();
    let collected = |effect: &DeviceEffect| matches!(effect, DeviceEffect::CollectEvidence { .. });
    assert!(!pair.asked.iter().any(collected));
    assert!(pair.device_reports.contains(&Report::NotAcquired { valid: 0, needed: 2 }));
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn qrm_1_exactly_k_ready_are_enough() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.acquire();
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn qrm_2_a_share_that_does_not_match_names_the_liar() {
    let mut pair = Pair::new();
    pair.node(1).share = false_share(1);
    pair.acquire();
    assert_eq!(pair.failures(1), [Some(Violation::ShareDiffers)]);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn qrm_3_a_key_that_does_not_match_is_not_used() {
    let mut owner = Owner::new(3, 2, 0);
    let weights = owner.manifest.weights;
    owner.manifest.dek = dek_commitment(DEK, weights, WeightsVersion::new(2));
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.failures(2), [Some(Violation::DekDiffers)]);
    assert!(!pair.asked.iter().any(|effect| matches!(effect, DeviceEffect::Load { .. })));
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn qrm_8_shares_that_made_no_key_are_erased_with_the_attempt() {
    let mut owner = Owner::new(3, 2, 0);
    let weights = owner.manifest.weights;
    owner.manifest.dek = dek_commitment(DEK, weights, WeightsVersion::new(2));
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.failures(3), [Some(Violation::DekDiffers)], "a third share was tried as well");
    let erased = pair.asked.iter().filter_map(|effect| match effect {
        DeviceEffect::Erase { secrets } => Some(secrets.shares.len()),
        _ => None,
    });
    assert_eq!(erased.collect::<Vec<_>>(), [3]);
}

#[test]
fn qrm_4_a_share_of_another_session_is_not_combined() {
    let bench = Bench::new();
    let mut tally = Tally::new(Digest::new([5; 32]), 2);
    let other = bench.checked(1, Digest::new([6; 32]), terms());
    let added = tally.add(&other, &bench.ready(1), &bench.manifest, &mut device_suite());
    assert_eq!(added, Err(Violation::SharesOfTwoSessions));
    assert_eq!(tally.count(), 0);
}

#[test]
fn qrm_4_a_share_of_another_set_is_not_combined() {
    let bench = Bench::new();
    let session = Digest::new([5; 32]);
    let granted = bench.checked(1, session, terms());
    let mut redealt = Owner::new(3, 2, 0);
    redealt.manifest.set = split_custody_protocol::ids::ShareSetId::new([9; 16]);
    let mut tally = Tally::new(session, 2);
    let manifest = redealt.known_manifest();
    let added = tally.add(&granted, &bench.ready(1), &manifest, &mut device_suite());
    assert_eq!(added, Err(Violation::SharesOfTwoSessions));
}

#[test]
fn qrm_4_one_custodian_twice_is_one_share() {
    let bench = Bench::new();
    let session = Digest::new([5; 32]);
    let granted = bench.checked(1, session, terms());
    let mut tally = Tally::new(session, 2);
    let suite = &mut device_suite();
    tally.add(&granted, &bench.ready(1), &bench.manifest, suite).expect("a good share");
    tally.add(&granted, &bench.ready(1), &bench.manifest, suite).expect("the same again");
    assert_eq!(tally.count(), 1);
}

#[test]
fn qrm_5_a_grant_that_is_forged_closes_one_exchange_and_names_it() {
    let mut pair = Pair::new();
    pair.network.push((
        From::Custodian(2),
        MessageType::Grant,
        Fate::Change(|m| {
            let Message::Grant(grant) = m else { panic!("not a grant") };
            let payload = grant.statement.payload_bytes().to_vec();
            let kind = split_custody_protocol::wire::signed::ObjectKind::Grant;
            let statement = crate::pair::owner::sign(Principal::Stranger, kind, payload);
            Message::Grant(Grant { statement, ..grant })
        }),
    ));
    pair.acquire();
    assert_eq!(pair.failures(1), []);
    assert_eq!(pair.failures(2), [Some(Violation::GrantForged)]);
    assert_eq!(pair.failures(3), []);
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn qrm_5_with_too_few_left_the_attempt_ends_at_once() {
    let mut pair = Pair::new();
    pair.unreachable.insert(3);
    pair.node(1).share = false_share(1);
    pair.acquire();
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::NotAcquired { valid: 0, needed: 2 }));
}

#[test]
fn qrm_5_custodians_that_stay_silent_are_given_up_in_time() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(1), MessageType::Grant, Fate::Drop));
    pair.network.push((From::Custodian(2), MessageType::Grant, Fate::Drop));
    pair.acquire();
    assert_eq!(pair.custody(), "Requesting");
    pair.wait(5_000);
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::NotAcquired { valid: 1, needed: 2 }));
}

#[test]
fn qrm_6_a_grant_after_the_first_k_adds_its_lease_and_stays_sealed() {
    let mut pair = Pair::new();
    pair.node(3).share = false_share(3); // would be noticed, were it opened
    pair.network.push((From::Custodian(3), MessageType::Grant, Fate::Park));
    pair.acquire();
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
    pair.deliver();
    assert_eq!(pair.device.counting(pair.now), 3);
    let erased = pair.asked.iter().filter_map(|effect| match effect {
        DeviceEffect::Erase { secrets } => Some((secrets.keys.len(), secrets.shares.len())),
        _ => None,
    });
    assert_eq!(erased.collect::<Vec<_>>(), [(3, 2)], "three keys, and two shares ever opened");
}

#[test]
fn qrm_6_a_late_grant_that_is_forged_adds_nothing() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(3), MessageType::Grant, Fate::Park));
    pair.acquire();
    let mut late = pair.parked.remove(0);
    let Message::Grant(grant) = late.message() else { panic!("not a grant") };
    let payload = grant.statement.payload_bytes().to_vec();
    let kind = split_custody_protocol::wire::signed::ObjectKind::Grant;
    let statement = crate::pair::owner::sign(Principal::Custodian(2), kind, payload);
    late.frame = Message::Grant(Grant { statement, ..grant }).to_frame();
    pair.parked.push(late);
    pair.deliver();
    assert_eq!(pair.failures(3), [Some(Violation::GrantForged)]);
    assert_eq!(pair.device.counting(pair.now), 2);
}

#[test]
fn qrm_7_a_threshold_of_none_is_refused() {
    assert_eq!(with_numbers(3, 0, 0), Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_a_threshold_above_n_is_refused() {
    assert_eq!(with_numbers(3, 4, 0), Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_as_many_liars_as_shares_are_refused() {
    assert_eq!(with_numbers(3, 2, 2), Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_fewer_custodians_than_n_are_refused() {
    assert_eq!(with_numbers(4, 2, 0), Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_one_share_index_twice_is_refused() {
    let twice = with_custodians(|entries| entries[1].index = entries[0].index);
    assert_eq!(twice, Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_one_custodian_twice_is_refused() {
    let twice = with_custodians(|entries| entries[1].id = entries[0].id);
    assert_eq!(twice, Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_a_custodian_of_id_zero_is_refused() {
    let zero = with_custodians(|entries| entries[0].id = CustodianId::new(0));
    assert_eq!(zero, Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_a_share_at_zero_is_refused() {
    let zero = with_custodians(|entries| entries[0].index = ShareIndex::new(0));
    assert_eq!(zero, Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_custodians_out_of_order_are_refused() {
    assert_eq!(with_custodians(|entries| entries.reverse()), Err(Violation::ParametersInvalid));
}

#[test]
fn qrm_7_one_of_one_is_accepted() {
    assert_eq!(known(&Owner::new(1, 1, 0)).map(|known| known.threshold()), Ok(1));
}

#[test]
fn qrm_1_evidence_that_cannot_be_made_ends_the_attempt() {
    let mut pair = Pair::new();
    let failed = Reply::Answer(DeviceAnswer::EvidenceFailed);
    pair.script.push((Kind::CollectEvidence, failed));
    pair.acquire();
    assert_eq!(pair.custody(), "Idle");
    assert_eq!(pair.sent_by(From::Device, MessageType::Request), []);
}

#[test]
fn qrm_3_weights_that_do_not_open_leave_nothing_behind() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Load, Reply::Answer(DeviceAnswer::LoadFailed)));
    pair.acquire();
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::LoadFailed }));
    let dek = |effect: &DeviceEffect| matches!(effect, DeviceEffect::Erase { secrets } if secrets.dek == Some(DEK));
    assert!(pair.asked.iter().any(dek));
}

#[test]
fn qrm_3_a_model_given_up_is_erased() {
    let mut pair = Pair::serving();
    pair.device_input(DeviceInput::Release);
    assert_eq!(pair.custody(), "Idle");
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Released }));
    assert_eq!(pair.device.admit(pair.now), Err(Violation::TooFewLeases));
}
