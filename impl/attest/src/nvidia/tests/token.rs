//! The CPU half: one token, one encoding, one issuer, and a key that is there.

use split_custody_keys::SigningKey;
use split_custody_protocol::suite::{Digest, VerifyKey};
use split_custody_protocol::wire::encode;

use super::files::{Set, time};
use super::owner::{CPU_IMAGE, NOW, Owner, UEID, evidence, gpu_half, list, now};
use crate::RejectReason;
use crate::nvidia::{
    Appraiser, CpuHalf, Policy, Provider, Reason, Token, Verifier, device_id, platform_id,
};

const DATA: Digest = Digest::new([0xda; 32]);

/// Why a CPU half is rejected beside good GPU Evidence.
fn rejected(owner: &Owner, policy: &Policy, cpu: Vec<u8>) -> Option<Reason> {
    let set = Set::full();
    let known = owner.known_policy(policy);
    let appraiser = Appraiser::new(Verifier::new(Provider::Ring), known, set.rims.clone());
    let revocations = owner.known_revocations(&owner.revocations());
    let evidence = evidence(gpu_half(&set), cpu);
    match appraiser.appraise(&evidence, Some(&revocations), now()) {
        Ok(_) => None,
        Err(RejectReason::Nvidia(finding)) => Some(finding.reason),
        Err(other) => panic!("{other}"),
    }
}

fn with_token(change: impl FnOnce(&mut Token)) -> Option<Reason> {
    let owner = Owner::new();
    let mut token = owner.token(DATA);
    change(&mut token);
    let half = owner.cpu_half(&token.encode(), &token.report_data);
    rejected(&owner, &owner.policy(), encode(&half))
}

#[test]
fn hs_29_token_that_fits_is_accepted() {
    assert_eq!(with_token(|_| ()), None);
    assert_eq!(with_token(|token| token.debug = 2), None);
    assert_eq!(with_token(|token| token.ueid = [9; 33]), None);
}

#[test]
fn hs_29_token_out_of_its_time_is_rejected() {
    assert_eq!(NOW, "2024-06-01");
    let late = |token: &mut Token| token.issued = time("2024-06-01T00:00:01Z");
    assert_eq!(with_token(late), Some(Reason::TokenNotNow));
    assert_eq!(with_token(|token| token.expires = now()), Some(Reason::TokenNotNow));
    assert_eq!(with_token(|token| token.issued = now()), None);
}

#[test]
fn hs_29_token_of_a_debugged_cpu_is_rejected() {
    for debug in [0, 1, 5, 255] {
        assert_eq!(with_token(|token| token.debug = debug), Some(Reason::TokenDebug));
    }
}

#[test]
fn hs_29_unlisted_measurement_among_listed_ones_is_rejected() {
    let more = |token: &mut Token| token.measurements.push(Digest::new([1; 32]));
    assert_eq!(with_token(more), Some(Reason::TokenMeasurement));
    assert_eq!(with_token(|token| token.measurements.push(CPU_IMAGE)), None);
    let none = |token: &mut Token| token.measurements.clear();
    assert_eq!(with_token(none), Some(Reason::TokenMalformed));
}

#[test]
fn hs_29_token_of_an_unlisted_issuer_is_rejected() {
    let owner = Owner::new();
    let half = owner.cpu_half(&owner.token(DATA).encode(), &DATA);
    let mut policy = owner.policy();
    policy.token_issuers = list(vec![owner.confirmed.public(), owner.key.public()]);
    assert_eq!(rejected(&owner, &policy, encode(&half)), Some(Reason::TokenSignature));
    policy.token_issuers = list(vec![owner.key.public(), owner.issuer.public()]);
    assert_eq!(rejected(&owner, &policy, encode(&half)), None);
    policy.token_measurements = list(vec![Digest::new([2; 32])]);
    assert_eq!(rejected(&owner, &policy, encode(&half)), Some(Reason::TokenMeasurement));
}

#[test]
fn hs_29_token_without_the_confirmed_key_is_rejected() {
    let owner = Owner::new();
    let thief = Owner { confirmed: SigningKey::generate().unwrap(), ..Owner::new() };
    let stolen = owner.cpu_half(&owner.token(DATA).encode(), &DATA);
    let proof = thief.confirmed.sign(&CpuHalf::proof_message(&DATA)).unwrap();
    let half = CpuHalf { proof, ..stolen.clone() };
    assert_eq!(rejected(&owner, &owner.policy(), encode(&half)), Some(Reason::TokenProof));
    let of_another_session = owner.confirmed.sign(&CpuHalf::proof_message(&UEID32)).unwrap();
    let half = CpuHalf { proof: of_another_session, ..stolen };
    assert_eq!(rejected(&owner, &owner.policy(), encode(&half)), Some(Reason::TokenProof));
}

#[test]
fn hs_29_key_that_is_no_point_confirms_nothing() {
    let change = |token: &mut Token| {
        let mut point = *token.confirmed.as_bytes();
        point[64] ^= 1;
        token.confirmed = VerifyKey::new(point);
    };
    assert_eq!(with_token(change), Some(Reason::TokenProof));
}

#[test]
fn hs_29_token_in_another_encoding_is_rejected_though_signed() {
    let owner = Owner::new();
    let good = owner.token(DATA).encode();
    assert_eq!(Token::decode(&good), Some(owner.token(DATA)));
    let mut others: Vec<Vec<u8>> = (0..good.len()).map(|length| good[..length].to_vec()).collect();
    others.push([good.as_slice(), &[0]].concat());
    // Another key type, curve, profile or content format, and any key under another number.
    for at in 0..good.len() {
        let mut other = good.clone();
        other[at] ^= 1;
        if let Some(token) = Token::decode(&other) {
            assert_eq!(token.encode(), other);
        } else {
            others.push(other);
        }
    }
    assert!(others.len() > good.len() + 40);
    for other in others.iter().filter(|other| !other.is_empty()).step_by(9) {
        let half = owner.cpu_half(other, &DATA);
        let reason = rejected(&owner, &owner.policy(), encode(&half));
        assert_eq!(reason, Some(Reason::TokenMalformed));
    }
}

#[test]
fn hs_29_half_with_a_flipped_bit_is_rejected() {
    let owner = Owner::new();
    let good = encode(&owner.cpu_half(&owner.token(DATA).encode(), &DATA));
    assert_eq!(rejected(&owner, &owner.policy(), good.clone()), None);
    for byte in (0..good.len()).step_by(7) {
        let mut bytes = good.clone();
        bytes[byte] ^= 1 << (byte % 8);
        assert!(rejected(&owner, &owner.policy(), bytes).is_some(), "byte {byte}");
    }
    for length in (1..good.len()).step_by(13) {
        assert!(rejected(&owner, &owner.policy(), good[..length].to_vec()).is_some());
    }
}

#[test]
fn hs_13_device_id_is_the_formula_for_one_gpu() {
    let accepted = Set::full().outcome().unwrap();
    let spki = accepted.identities().next().unwrap().to_vec();
    assert_eq!(spki.len(), 120);
    let platform = platform_id(&UEID);
    let reference = split_custody_spec::reference::device_id(&spki, platform.as_bytes());
    assert_eq!(device_id([spki.as_slice()], &platform).as_bytes(), &reference);
}

#[test]
fn hs_13_device_id_follows_every_gpu_and_the_cpu_and_no_order() {
    let (one, other) = ([1; 120].as_slice(), [2; 120].as_slice());
    let platform = platform_id(&UEID);
    let both = device_id([one, other], &platform);
    assert_eq!(both, device_id([other, one], &platform));
    assert_ne!(both, device_id([one], &platform));
    assert_ne!(both, device_id([one, one], &platform));
    assert_ne!(both, device_id([one, other], &platform_id(&[2; 33])));
}

const UEID32: Digest = Digest::new([1; 32]);
