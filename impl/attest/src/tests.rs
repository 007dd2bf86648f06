//! What is accepted, and one story per reason for rejecting.

use std::fs;

use proptest::prelude::*;
use split_custody_keys::{SigningKey, hash_label};
use split_custody_protocol::suite::{Bytes, Digest, Label};
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::{ObjectKind, Signed, decode, encode};

use crate::software::{CpuReport, GpuReport};
use crate::{
    CollectError, Half, Measurements, RejectReason, SoftwareAttester, appraise, device_id,
    platform_id,
};

const SESSION: Digest = Digest::new([0x51; 32]);
const MEASUREMENTS: Measurements =
    Measurements { gpu: Digest::new([0xa1; 32]), cpu: Digest::new([0xa2; 32]) };
const MODE: u8 = 1;

fn gpu_nonce(session: &Digest) -> Digest {
    hash_label(Label::Gpu, &[session.as_bytes()])
}

fn attester() -> SoftwareAttester {
    let key = || SigningKey::generate().unwrap();
    SoftwareAttester::new(key(), key(), MEASUREMENTS, MODE)
}

fn evidence(attester: &SoftwareAttester) -> Evidence {
    attester.collect(&SESSION, &gpu_nonce(&SESSION)).unwrap()
}

/// The Evidence with another GPU half.
fn with_gpu(evidence: &Evidence, gpu: Vec<u8>) -> Evidence {
    Evidence { gpu: Bytes::new(gpu).unwrap(), ..evidence.clone() }
}

/// The Evidence with another CPU half.
fn with_cpu(evidence: &Evidence, cpu: Vec<u8>) -> Evidence {
    Evidence { cpu: Bytes::new(cpu).unwrap(), ..evidence.clone() }
}

fn gpu_report(key: &SigningKey) -> GpuReport {
    let nonce = gpu_nonce(&SESSION);
    GpuReport { nonce, measurement: MEASUREMENTS.gpu, mode: MODE, key: key.public() }
}

fn cpu_report(key: &SigningKey) -> CpuReport {
    let platform = platform_id(&key.public());
    CpuReport { data: SESSION, measurement: MEASUREMENTS.cpu, platform, key: key.public() }
}

#[test]
fn hs_11_verdict_carries_what_the_session_asks_for() {
    let attester = attester();
    let evidence = evidence(&attester);

    let verdict = appraise(&evidence).unwrap();

    assert_eq!(verdict.report_nonce, gpu_nonce(&SESSION));
    let covered = hash_label(Label::Evidence, &[evidence.gpu.as_bytes()]);
    let data = hash_label(Label::Cpu, &[SESSION.as_bytes(), covered.as_bytes()]);
    assert_eq!(verdict.report_data, data);
    assert_eq!(verdict.device, attester.device_id());
    assert_eq!(verdict.measurements, MEASUREMENTS.as_list());
    assert_eq!(verdict.mode, MODE);
}

#[test]
fn hs_11_nonce_of_another_session_is_not_signed() {
    let other = gpu_nonce(&Digest::new([0x52; 32]));
    let refused = attester().collect(&SESSION, &other).map(|_| ());
    assert_eq!(refused, Err(CollectError::NonceOfAnotherSession));
}

#[test]
fn hs_12_gpu_half_of_another_attester_is_not_covered_by_the_report_data() {
    let (ours, theirs) = (attester(), attester());
    let spliced = with_gpu(&evidence(&ours), evidence(&theirs).gpu.as_bytes().to_vec());
    let verdict = appraise(&spliced).unwrap();
    let covered = hash_label(Label::Evidence, &[spliced.gpu.as_bytes()]);
    let wanted = hash_label(Label::Cpu, &[SESSION.as_bytes(), covered.as_bytes()]);
    assert_ne!(verdict.report_data, wanted);
}

#[test]
fn hs_14_halves_of_two_devices_name_a_third() {
    let (one, other) = (attester(), attester());
    let spliced = with_gpu(&evidence(&one), evidence(&other).gpu.as_bytes().to_vec());
    let device = appraise(&spliced).unwrap().device;
    assert_ne!(device, one.device_id());
    assert_ne!(device, other.device_id());
}

#[test]
fn hs_16_unknown_kind_is_rejected() {
    for kind in [EvidenceKind::NVIDIA_CC, EvidenceKind::new(0), EvidenceKind::new(0xffff)] {
        let evidence = Evidence { kind, ..evidence(&attester()) };
        assert_eq!(appraise(&evidence), Err(RejectReason::KindUnknown(kind.value())));
    }
}

#[test]
fn hs_13_platform_id_of_another_key_is_rejected() {
    let (thief, victim) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let report = CpuReport { platform: platform_id(&victim.public()), ..cpu_report(&thief) };
    let forged = encode(&thief.sign_object(ObjectKind::SoftwareCpu, &report).unwrap());
    let evidence = with_cpu(&evidence(&attester()), forged);
    assert_eq!(appraise(&evidence), Err(RejectReason::PlatformIdDiffers));
}

#[test]
fn wire_4_half_signed_by_another_key_than_it_names_is_rejected() {
    let (thief, victim) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let good = evidence(&attester());

    let report = gpu_report(&victim);
    let gpu = encode(&thief.sign_object(ObjectKind::SoftwareGpu, &report).unwrap());
    let rejected = appraise(&with_gpu(&good, gpu));
    assert_eq!(rejected, Err(RejectReason::SignatureInvalid(Half::Gpu)));

    let report = cpu_report(&victim);
    let cpu = encode(&thief.sign_object(ObjectKind::SoftwareCpu, &report).unwrap());
    let rejected = appraise(&with_cpu(&good, cpu));
    assert_eq!(rejected, Err(RejectReason::SignatureInvalid(Half::Cpu)));
}

#[test]
fn wire_4_signature_for_another_kind_of_object_is_rejected() {
    let key = SigningKey::generate().unwrap();
    let gpu = encode(&key.sign_object(ObjectKind::SoftwareCpu, &gpu_report(&key)).unwrap());
    let rejected = appraise(&with_gpu(&evidence(&attester()), gpu));
    assert_eq!(rejected, Err(RejectReason::SignatureInvalid(Half::Gpu)));
}

#[test]
fn wire_4_key_that_is_no_point_is_rejected() {
    let key = SigningKey::generate().unwrap();
    let mut point = *key.public().as_bytes();
    point[64] ^= 1;
    let no_point = split_custody_protocol::suite::VerifyKey::new(point);
    let report = GpuReport { key: no_point, ..gpu_report(&key) };
    let gpu = encode(&key.sign_object(ObjectKind::SoftwareGpu, &report).unwrap());
    let rejected = appraise(&with_gpu(&evidence(&attester()), gpu));
    assert_eq!(rejected, Err(RejectReason::SignatureInvalid(Half::Gpu)));
}

#[test]
fn wire_2_payload_in_a_second_encoding_is_rejected_though_signed() {
    let key = SigningKey::generate().unwrap();
    // The mode as two bytes where one does: the same value, another encoding.
    let canonical = encode(&gpu_report(&key));
    let at = canonical.windows(3).position(|window| window == [0x03, MODE, 0x04]).unwrap();
    let mut payload = canonical[..=at].to_vec();
    payload.extend([0x18, MODE]);
    payload.extend(&canonical[at + 2..]);
    let message = Signed::message_over(ObjectKind::SoftwareGpu, &payload);
    let signature = key.sign(&message).unwrap();
    let gpu = encode(&Signed::new(payload, signature));
    let rejected = appraise(&with_gpu(&evidence(&attester()), gpu)).unwrap_err();
    assert_eq!(rejected.code(), "gpu-report-malformed");
}

#[test]
fn wire_2_bytes_after_a_half_are_rejected() {
    let good = evidence(&attester());
    let longer = |bytes: &[u8]| [bytes, &[0]].concat();
    let rejected = appraise(&with_gpu(&good, longer(good.gpu.as_bytes()))).unwrap_err();
    assert_eq!(rejected.code(), "gpu-envelope-malformed");
    let rejected = appraise(&with_cpu(&good, longer(good.cpu.as_bytes()))).unwrap_err();
    assert_eq!(rejected.code(), "cpu-envelope-malformed");
}

#[test]
fn wire_1_half_above_its_cap_is_rejected() {
    let rejected = appraise(&with_gpu(&evidence(&attester()), vec![0; 500_000])).unwrap_err();
    assert_eq!(rejected.code(), "gpu-envelope-malformed");
}

#[test]
fn wire_1_halves_truncated_at_every_length_are_rejected() {
    let good = evidence(&attester());
    for length in 1..good.gpu.as_bytes().len() {
        let cut = with_gpu(&good, good.gpu.as_bytes()[..length].to_vec());
        assert!(appraise(&cut).is_err(), "GPU half cut to {length}");
    }
    for length in 1..good.cpu.as_bytes().len() {
        let cut = with_cpu(&good, good.cpu.as_bytes()[..length].to_vec());
        assert!(appraise(&cut).is_err(), "CPU half cut to {length}");
    }
}

#[test]
fn hs_13_every_flipped_bit_is_rejected() {
    let attester = attester();
    let encoded = encode(&evidence(&attester));
    for bit in 0..encoded.len() * 8 {
        let mut bytes = encoded.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let Ok(flipped) = decode::<Evidence>(&bytes, bytes.len()) else { continue };
        assert!(appraise(&flipped).is_err(), "bit {bit}");
    }
}

#[test]
fn hs_14_device_id_depends_on_both_keys() {
    let key = || SigningKey::generate().unwrap().public();
    let (gpu, cpu) = (key(), key());
    assert_ne!(device_id(&gpu, &cpu), device_id(&key(), &cpu));
    assert_ne!(device_id(&gpu, &cpu), device_id(&gpu, &key()));
    assert_ne!(device_id(&gpu, &cpu), device_id(&cpu, &gpu));
}

#[test]
fn hs_13_device_id_agrees_with_the_reference() {
    let key = || SigningKey::generate().unwrap().public();
    let (gpu, cpu) = (key(), key());
    let platform = split_custody_spec::reference::h("platform", &[cpu.as_bytes()]);
    let reference = split_custody_spec::reference::device_id(gpu.as_bytes(), &platform);
    assert_eq!(device_id(&gpu, &cpu).as_bytes(), &reference);
}

#[test]
fn hs_16_measurements_follow_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let [one, other] = ["one", "other"].map(|name| folder.path().join(name));
    fs::write(&one, b"image").unwrap();
    fs::write(&other, b"image, patched").unwrap();
    let (one, other) =
        (Measurements::of_image(&one).unwrap(), Measurements::of_image(&other).unwrap());
    assert_ne!(one.cpu, other.cpu);
    assert_ne!(one.gpu, other.gpu);
    assert_ne!(one.gpu, one.cpu);
    assert!(Measurements::of_running_image().is_ok());
}

proptest! {
    /// Several bytes changed anywhere: rejected, or a device that nobody enrolled.
    #[test]
    fn hs_14_changed_bytes_never_speak_for_the_device(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..6),
    ) {
        let attester = attester();
        let good = encode(&evidence(&attester));
        let mut bytes = good.clone();
        for (place, change) in changes {
            bytes[place.index(good.len())] ^= change;
        }
        if bytes != good && let Ok(changed) = decode::<Evidence>(&bytes, bytes.len()) {
            let device = appraise(&changed).map(|verdict| verdict.device);
            prop_assert_ne!(device, Ok(attester.device_id()));
        }
    }

    #[test]
    fn wire_1_arbitrary_halves_never_panic(
        gpu in prop::collection::vec(any::<u8>(), 1..300),
        cpu in prop::collection::vec(any::<u8>(), 1..300),
    ) {
        let evidence = Evidence {
            kind: EvidenceKind::SOFTWARE,
            gpu: Bytes::new(gpu).unwrap(),
            cpu: Bytes::new(cpu).unwrap(),
        };
        prop_assert!(appraise(&evidence).is_err());
    }
}
