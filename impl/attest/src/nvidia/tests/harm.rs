//! Real Evidence with one harm: bits, lengths, fields, files. All of it is rejected, none panics.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::files::{DRIVER_545, Set, VBIOS_5E01, file, hex_file};
use crate::nvidia::{Place, Reason, Report};

fn report() -> Vec<u8> {
    Set::full().gpus[0].0.clone()
}

fn rejected(report: Vec<u8>) -> Reason {
    Set::full().report(report).outcome().unwrap_err().reason
}

/// The opaque data of a report changed, with its length.
fn with_opaque(mut report: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let signature = report.split_off(report.len() - 96);
    let mut opaque = report.split_off(OPAQUE);
    change(&mut opaque);
    report.truncate(OPAQUE - 2);
    report.extend(u16::try_from(opaque.len()).unwrap().to_le_bytes());
    [report, opaque, signature].concat()
}

fn field(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&kind.to_le_bytes(), &length.to_le_bytes(), value].concat()
}

#[test]
fn hs_23_every_flipped_bit_of_the_head_is_rejected() {
    let good = report();
    for bit in 0..45 * 8 {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        rejected(bytes);
    }
}

#[test]
fn hs_23_flipped_bits_anywhere_are_rejected() {
    let good = report();
    // One bit of every 11th byte, and every bit of the last field and of lengths.
    let sampled = (0..good.len()).step_by(11).map(|byte| byte * 8 + byte % 8);
    let tail = (good.len() - 100..good.len() - 90).flat_map(|byte| byte * 8..byte * 8 + 8);
    for bit in sampled.chain(tail).chain((OPAQUE - 2) * 8..(OPAQUE + 4) * 8) {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        rejected(bytes);
    }
}

#[test]
fn hs_22_report_cut_at_every_length_is_rejected() {
    let good = report();
    for length in 0..good.len() {
        let reason = Report::parse(&good[..length]).unwrap_err().reason;
        assert!(
            matches!(reason, Reason::ReportTruncated | Reason::ReportBlock),
            "{length}: {reason:?}"
        );
    }
}

#[test]
fn hs_22_bytes_after_the_report_are_rejected() {
    for more in [1, 96, 4096] {
        let longer = [report(), vec![0; more]].concat();
        assert_eq!(rejected(longer), Reason::ReportTrailing);
    }
    assert_eq!(rejected([report(), vec![0; 4144]].concat()), Reason::ReportTooLong);
}

#[test]
fn hs_22_head_of_another_shape_is_rejected() {
    for (at, byte, reason) in [
        (0, 0x12, Reason::ReportVersion),
        (1, 0xe1, Reason::ReportRequest),
        (2, 0, Reason::ReportRequest),
        (3, 1, Reason::ReportRequest),
        (36, 1, Reason::ReportRequest),
        (37, 0x12, Reason::ReportVersion),
        (38, 0x61, Reason::ReportResponse),
        (39, 1, Reason::ReportResponse),
        (40, 1, Reason::ReportResponse),
        (41, 63, Reason::ReportNotGpu),
        (42, 0xc1, Reason::ReportNotGpu),
        (45, 2, Reason::ReportBlock),
        (46, 0, Reason::ReportBlock),
        (47, 50, Reason::ReportBlock),
        (49, 0x81, Reason::ReportBlock),
        (50, 47, Reason::ReportBlock),
    ] {
        let mut bytes = report();
        bytes[at] = byte;
        assert_eq!(rejected(bytes), reason, "byte {at}");
    }
}

#[test]
fn hs_22_field_that_occurs_twice_is_rejected() {
    for kind in [3, 6, 12, 99] {
        let value = [0x39, 0x39, 0x2e, 0x39, 0];
        let doubled = with_opaque(report(), |opaque| {
            opaque.extend([field(kind, &value), field(kind, &value)].concat());
        });
        assert_eq!(rejected(doubled), Reason::OpaqueDuplicate);
    }
}

#[test]
fn hs_22_field_longer_than_the_rest_is_rejected() {
    let longer = with_opaque(report(), |opaque| opaque.extend([99, 0, 1, 0]));
    assert_eq!(rejected(longer), Reason::OpaqueTruncated);
    let cut = with_opaque(report(), |opaque| opaque.extend([99, 0, 1]));
    assert_eq!(rejected(cut), Reason::OpaqueTruncated);
}

#[test]
fn hs_22_fields_of_impossible_values_are_rejected() {
    for (kind, value, reason) in [
        (20, &[1; 47][..], Reason::OpaqueMalformed),
        (22, &[1; 143], Reason::OpaqueMalformed),
        (34, &[1], Reason::OpaqueMalformed),
        (34, &[2, 0], Reason::OpaqueVersion),
        // Version 1 brings the flag, and the flag comes with nothing else.
        (34, &[1, 0], Reason::OpaqueVersion),
        (36, &[0, 0], Reason::OpaqueVersion),
        (36, &[0], Reason::OpaqueMalformed),
    ] {
        let bytes = with_opaque(report(), |opaque| opaque.extend(field(kind, value)));
        assert_eq!(rejected(bytes), reason, "field {kind}");
    }
}

#[test]
fn hs_22_versions_of_impossible_text_are_rejected() {
    let at = |report: &[u8], needle: &[u8]| {
        report.windows(needle.len()).position(|window| window == needle).unwrap()
    };
    let driver = at(&report(), b"545.00\0");
    for (offset, byte) in [(0, b'x'), (0, b'.'), (4, b'.'), (5, 0xff), (5, b'.'), (6, b'0'), (0, 0)]
    {
        let mut bytes = report();
        bytes[driver + offset] = byte;
        assert_eq!(Report::parse(&bytes).unwrap_err().place, Place::Field(3), "{offset}");
    }
    let vbios = at(&report(), &[6, 0, 8, 0]) + 4;
    let mut bytes = report();
    bytes[vbios + 7] = 1;
    assert_eq!(Report::parse(&bytes).unwrap_err().place, Place::Field(6));
}

#[test]
fn hs_22_report_without_driver_or_vbios_is_rejected() {
    let bytes = with_opaque(report(), |opaque| opaque.clear());
    assert_eq!(rejected(bytes), Reason::OpaqueAbsent);
}

#[test]
fn hs_16_mode_that_fields_contradict_is_rejected() {
    for fields in [
        vec![field(21, &[0xaa])],
        vec![field(21, &[0])],
        vec![field(21, &[0x55, 0x55])],
        vec![field(22, &[1; 144])],
        vec![field(34, &[1, 0]), field(36, &[1, 0])],
        vec![field(34, &[1, 0]), field(36, &[2, 0])],
        vec![field(34, &[1, 0]), field(36, &[2, 0]), field(21, &[0x55])],
        vec![field(34, &[1, 0]), field(36, &[0, 0]), field(21, &[0xaa])],
        vec![field(34, &[1, 0]), field(36, &[2, 0]), field(21, &[0xaa])],
    ] {
        let bytes = with_opaque(report(), |opaque| opaque.extend(fields.concat()));
        let reasons = Set::full().report(bytes).reasons();
        assert!(reasons.contains(&Reason::ModeContradictory), "{reasons:?}");
    }
}

#[test]
fn hs_16_field_that_nobody_knows_is_carried() {
    let bytes = with_opaque(report(), |opaque| opaque.extend(field(777, b"later")));
    let report = Report::parse(&bytes).unwrap();
    assert!(report.opaque().fields().contains(&(777, b"later".as_slice())));
}

#[test]
fn hs_11_another_nonce_is_rejected() {
    let mut set = Set::full();
    set.nonce = Set::of_550().nonce;
    assert_eq!(set.reasons(), [Reason::NonceDiffers]);
    assert_eq!(set.outcome().unwrap_err().reason, Reason::NonceDiffers);
}

#[test]
fn hs_23_chain_of_another_gpu_is_rejected() {
    let set = Set::full().chain(file("hopper-550.90.07/hopperCertChain.txt"));
    assert_eq!(set.outcome().unwrap_err().reason, Reason::ReportSignature);
}

#[test]
fn hs_23_report_of_another_firmware_of_the_same_gpu_is_rejected() {
    let set = Set::new(
        "hopper-580.159.03/hopperAttestationReport.txt",
        "hopper-570.124.03/hopperCertChainExpired.txt",
        &[],
        "5bb22e377702d4e1e8215a903ba094826b9ac7f731dee1fe8102958bf2840aca",
    );
    let reasons = set.reasons();
    assert_eq!(reasons[..2], [Reason::ReportSignature, Reason::FwidDiffers]);
}

#[test]
fn hs_24_firmware_id_that_is_left_out_is_rejected() {
    let good = hex_file("hopper-550.90.07/hopperAttestationReport.txt");
    let without = with_opaque(good, |opaque| {
        let at = opaque.windows(4).position(|w| w == [20, 0, 48, 0]).unwrap();
        opaque.drain(at..at + 52);
    });
    let reasons = Set::of_550().report(without).reasons();
    // Whoever cuts it out cannot sign; the rule holds for whoever can.
    assert_eq!(reasons[..2], [Reason::ReportSignature, Reason::FwidAbsent]);
}

#[test]
fn hs_24_firmware_id_of_another_is_rejected() {
    let mut report = hex_file("hopper-550.90.07/hopperAttestationReport.txt");
    let at = report.windows(4).position(|w| w == [20, 0, 48, 0]).unwrap();
    report[at + 4] ^= 1;
    assert!(Set::of_550().report(report).reasons().contains(&Reason::FwidDiffers));
}

#[test]
fn hs_23_chain_with_a_flipped_bit_is_rejected() {
    let good = file("full-match-545.00/gpuAkCertChain.txt");
    for byte in (0..good.len()).step_by(29) {
        let mut chain = good.clone();
        chain[byte] ^= 1 << (byte % 7);
        assert!(Set::full().chain(chain).outcome().is_err(), "byte {byte}");
    }
}

#[test]
fn hs_23_chain_cut_at_every_length_is_rejected() {
    let good = file("full-match-545.00/gpuAkCertChain.txt");
    for length in 0..good.len() {
        assert!(Set::full().chain(good[..length].to_vec()).outcome().is_err(), "{length}");
    }
}

#[test]
fn hs_23_chain_in_another_order_or_with_more_is_rejected() {
    let text = String::from_utf8(file("full-match-545.00/gpuAkCertChain.txt")).unwrap();
    let end = "-----END CERTIFICATE-----";
    let certs: Vec<String> =
        text.split_inclusive(end).map(|cert| cert.trim().to_owned() + "\n").collect();
    assert_eq!(certs.len(), 5);
    for other in 0..5 {
        for (one, at) in [(0, other), (4, other), (2, other)] {
            let mut certs = certs.clone();
            certs.swap(one, at);
            let holds = Set::full().chain(certs.concat().into()).outcome().is_ok();
            assert_eq!(holds, one == at, "{one} and {at}");
        }
        let twice = certs.iter().chain([&certs[other]]).map(String::as_str).collect::<String>();
        let reason = Set::full().chain(twice.into()).outcome().unwrap_err().reason;
        assert!(matches!(reason, Reason::ChainLength | Reason::ChainTooLong));
    }
    for more in ["x", " ", "\r\n", "\0", "-----BEGIN CERTIFICATE-----\n"] {
        let chain = Set::full().chain((text.clone() + more).into());
        assert!(chain.outcome().is_err(), "{more:?}");
    }
    // A file may end its last line.
    assert!(Set::full().chain((text + "\n").into()).outcome().is_ok());
}

#[test]
fn hs_25_rims_exchanged_or_given_twice() {
    let [driver, vbios] = [file(DRIVER_545), file(VBIOS_5E01)];
    // Their order says nothing: the signed version does.
    assert!(Set::full().rims(vec![vbios.clone(), driver.clone()]).outcome().is_ok());
    let twice = Set::full().rims(vec![driver.clone(), driver.clone(), vbios.clone()]);
    assert_eq!(twice.outcome().unwrap_err().reason, Reason::RimTwice);
    let alone = Set::full().rims(vec![driver]);
    assert_eq!(alone.outcome().unwrap_err().reason, Reason::VbiosRimAbsent);
    let alone = Set::full().rims(vec![vbios]);
    assert_eq!(alone.outcome().unwrap_err().reason, Reason::DriverRimAbsent);
}

#[test]
fn wire_1_ten_megabytes_of_anything_are_rejected_at_once() {
    let began = Instant::now();
    for byte in [0, b'<', b'a', 0x11, 0x30, b'-', 0xff] {
        let garbage = vec![byte; 10_000_000];
        assert_eq!(rejected(garbage.clone()), Reason::ReportTooLong);
        let chain = Set::full().chain(garbage.clone()).outcome().unwrap_err();
        assert_eq!(chain.reason, Reason::ChainTooLong);
        let rim = Set::full().rims(vec![garbage, file(VBIOS_5E01)]).outcome().unwrap_err();
        assert_eq!(rim.reason, Reason::RimTooLong);
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn hs_28_no_gpu_and_too_many_are_rejected() {
    let mut set = Set::full();
    set.gpus.clear();
    assert_eq!(set.outcome().unwrap_err().reason, Reason::SetSize);
    let one = Set::full().gpus[0].clone();
    set.gpus = vec![one; 17];
    assert_eq!(set.outcome().unwrap_err().reason, Reason::SetSize);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn hs_22_arbitrary_bytes_never_pass_nor_panic(
        report in prop::collection::vec(any::<u8>(), 0..6000),
        chain in prop::collection::vec(any::<u8>(), 0..2000),
        rim in "[ -~\n]{0,2000}",
    ) {
        let set = Set::full().report(report).chain(chain).rims(vec![rim.into_bytes()]);
        prop_assert!(set.outcome().is_err());
    }

    #[test]
    fn hs_23_changed_bytes_of_a_report_never_pass(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..5),
    ) {
        let mut bytes = report();
        for (place, change) in changes {
            let at = place.index(bytes.len());
            bytes[at] ^= change;
        }
        if bytes != report() {
            prop_assert!(Set::full().report(bytes).outcome().is_err());
        }
    }
}

/// Where the opaque data begins.
const OPAQUE: usize = 3599;
