//! The owner's rules: what fits is accepted, and each field alone refuses.

use split_custody_keys::SigningKey;
use split_custody_protocol::suite::{Digest, LeafKey};
use split_custody_protocol::wire::{ObjectKind, encode};

use super::files::{Set, VBIOS_5E01, file, time};
use super::owner::{Owner, list, sha256, text};
use crate::nvidia::{
    Depth, KnownPolicy, KnownRevocations, Place, Policy, Reason, Revocations, Rules,
};

#[test]
fn hs_27_policy_that_fits_accepts() {
    let owner = Owner::new();
    let outcome = owner.outcome(&Set::full(), &owner.policy(), Some(&owner.revocations()));
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// One field changed; it may take another digest and that of the VBIOS' RIM.
type Change = fn(&mut Policy, Digest, Digest);

#[test]
fn hs_27_each_field_of_the_policy_alone_refuses() {
    let owner = Owner::new();
    let other = Digest::new([7; 32]);
    let vbios = sha256(&file(VBIOS_5E01));
    let cases: [(Change, Reason); 13] = [
        (|p, _, _| p.not_before = time("2024-06-02"), Reason::PolicyNotNow),
        (|p, _, _| p.not_after = time("2024-06-01"), Reason::PolicyNotNow),
        (|p, _, _| p.chips = list(vec![text("GB100")]), Reason::ChipNotListed),
        (
            |p, _, _| p.devices = list(vec![text("NVIDIA:GH100:48B02DB73E52137F")]),
            Reason::DeviceNotListed,
        ),
        (|p, _, _| p.drivers = list(vec![text("545.01")]), Reason::DriverNotListed),
        (|p, _, _| p.driver_floor = text("545.01"), Reason::DriverBelowFloor),
        (|p, _, _| p.vbios = list(vec![text("96.00.5E.00.02")]), Reason::VbiosNotListed),
        (|p, _, _| p.vbios_floor = text("96.00.5E.00.02"), Reason::VbiosBelowFloor),
        (|p, other, vbios| p.rims = list(vec![other, vbios]), Reason::RimNotPinned),
        (|p, _, _| p.rims_as_of = list(vec![time("2025-07-01")]), Reason::RimExpired),
        (|p, _, _| p.modes = list(vec![2]), Reason::ModeNotAdmitted),
        (|p, _, _| p.gpus = 2, Reason::SetSize),
        (|p, _, _| p.revocations_floor = 4, Reason::RevocationsOld),
    ];
    for (change, reason) in cases {
        assert_eq!(owner.refuses(|policy| change(policy, other, vbios)), reason);
    }
}

#[test]
fn hs_25_signed_rim_of_the_right_version_that_is_not_pinned_is_rejected() {
    let owner = Owner::new();
    let driver = sha256(&file(super::files::DRIVER_545));
    let other = file("rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml");
    let reason = owner.refuses(|policy| policy.rims = list(vec![driver, sha256(&other)]));
    assert_eq!(reason, Reason::RimNotPinned);
}

#[test]
fn hs_30_owner_can_vouch_for_rims_that_expired_since() {
    let owner = Owner::new();
    let set = Set::full().at("2026-11-23");
    let fresh = Revocations { expires: time("2026-12-01"), ..owner.revocations() };
    let mut policy = owner.policy();
    let without = owner.outcome(&set, &policy, Some(&fresh)).unwrap_err();
    assert_eq!(without.reason, Reason::RimExpired);
    policy.rims_as_of = list(vec![time("2024-06-01")]);
    assert!(owner.outcome(&set, &policy, Some(&fresh)).is_ok());
}

#[test]
fn hs_27_policy_of_anyone_else_is_rejected() {
    let (owner, other) = (Owner::new(), SigningKey::generate().unwrap());
    let signed = owner.sign_policy(&owner.policy());
    let verify = |bytes: &[u8]| KnownPolicy::verify(&owner.key.public(), bytes);
    assert!(verify(&signed).is_ok());
    assert_eq!(KnownPolicy::verify(&other.public(), &signed), Err(Reason::PolicySignature));
    let as_another = owner.key.sign_object(ObjectKind::Revocations, &owner.policy()).unwrap();
    assert_eq!(verify(&encode(&as_another)), Err(Reason::PolicySignature));
    let no_policy = owner.key.sign_object(ObjectKind::AppraisalPolicy, &7u64).unwrap();
    assert_eq!(verify(&encode(&no_policy)), Err(Reason::PolicyMalformed));
    for length in 0..signed.len() {
        assert!(verify(&signed[..length]).is_err(), "{length}");
    }
    for bit in 0..signed.len() * 8 {
        let mut changed = signed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&changed).is_err(), "{bit}");
    }
}

#[test]
fn hs_27_two_policies_have_two_digests() {
    let owner = Owner::new();
    let next = Policy { version: 2, ..owner.policy() };
    let digest = |policy| *owner.known_policy(policy).digest();
    assert_ne!(digest(&owner.policy()), digest(&next));
}

#[test]
fn hs_27_without_a_snapshot_nothing_is_accepted() {
    let owner = Owner::new();
    let outcome = owner.outcome(&Set::full(), &owner.policy(), None);
    assert_eq!(outcome.unwrap_err().reason, Reason::RevocationsAbsent);
}

#[test]
fn hs_27_snapshot_out_of_its_time_is_rejected() {
    let owner = Owner::new();
    let outcome = |issued, expires| {
        let snapshot =
            Revocations { issued: time(issued), expires: time(expires), ..owner.revocations() };
        owner.outcome(&Set::full(), &owner.policy(), Some(&snapshot)).map_err(|f| f.reason)
    };
    assert!(outcome("2024-06-01", "2024-06-01T00:00:01Z").is_ok());
    assert_eq!(outcome("2024-05-01", "2024-06-01").unwrap_err(), Reason::RevocationsStale);
    let early = outcome("2024-06-01T00:00:01Z", "2024-07-01");
    assert_eq!(early.unwrap_err(), Reason::RevocationsStale);
}

#[test]
fn hs_27_snapshot_of_anyone_else_is_rejected() {
    let (owner, other) = (Owner::new(), Owner::new());
    let signed = other.sign_revocations(&owner.revocations());
    let refused = KnownRevocations::verify(&owner.key.public(), &signed);
    assert_eq!(refused, Err(Reason::RevocationsSignature));
    let refused = KnownRevocations::verify(&owner.key.public(), b"snapshot");
    assert_eq!(refused, Err(Reason::RevocationsMalformed));
}

#[test]
fn hs_27_every_revoked_certificate_rejects() {
    let owner = Owner::new();
    let keys: Vec<LeafKey> = Set::full().examine(Depth::Everything, None, |examination| {
        let chain = examination.gpus[0].chain.as_ref().unwrap().keys().to_vec();
        let rim = examination.rims[0].as_ref().unwrap().keys().to_vec();
        chain.into_iter().chain(rim).collect()
    });
    assert_eq!(keys.len(), 5 + 4);
    for (at, key) in keys.into_iter().enumerate() {
        let snapshot = Revocations { keys: list(vec![key]), ..owner.revocations() };
        let (policy, snapshot) =
            (owner.known_policy(&owner.policy()), owner.known_revocations(&snapshot));
        let rules = Rules { policy: &policy, revocations: Some(&snapshot) };
        let findings = Set::full().findings_under(Some(rules));
        assert!(Set::full().outcome_under(Some(rules)).is_err());
        let at = u8::try_from(at).unwrap();
        let place = if at < 5 { Place::Certificate(at) } else { Place::RimCertificate(0, at - 5) };
        assert!(findings.contains(&(Reason::CertificateRevoked, place)), "{findings:?}");
    }
}

#[test]
fn hs_16_protected_pcie_is_admitted_by_name_only() {
    let owner = Owner::new();
    let mut policy = owner.policy();
    policy.modes = list(vec![1, 2]);
    assert!(owner.outcome(&Set::full(), &policy, Some(&owner.revocations())).is_ok());
}
