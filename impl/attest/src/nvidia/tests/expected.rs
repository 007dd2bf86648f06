//! The verdicts that the README of the vectors expects, one story each.

use super::files::{SHARED_NONCE, Set, file};
use crate::nvidia::Depth;
use crate::nvidia::{Mode, Place, Provider, Reason, Verifier};

#[test]
fn hs_26_full_match_is_accepted() {
    let accepted = Set::full().outcome().unwrap();
    assert_eq!(accepted.mode(), Mode::Single);
    assert_eq!(accepted.nonce(), &Set::full().nonce);
    assert_eq!(accepted.identities().count(), 1);
    assert_eq!(accepted.states().len(), 1);
}

#[test]
fn hs_26_full_match_is_accepted_by_every_provider() {
    for provider in Provider::ALL {
        let verifier = Verifier::new(*provider);
        for _ in 0..3 {
            let outcome =
                Set::full().examine_by(&verifier, Depth::FirstFailure, None, |e| e.outcome);
            assert!(outcome.is_ok(), "{}", provider.name());
        }
    }
}

#[test]
fn hs_26_full_match_compares_all_33_indices() {
    Set::full().examine(Depth::Everything, None, |examination| {
        let rims: Vec<_> = examination.rims.iter().flatten().collect();
        let counts: Vec<_> = rims.iter().map(|rim| rim.golden().len()).collect();
        assert_eq!(counts, [21, 12]);
    });
}

#[test]
fn hs_30_full_match_is_accepted_within_its_times_only() {
    for (at, accepted) in [
        ("2023-06-27T06:10:11Z", false),
        ("2023-06-27T06:10:12Z", true),
        ("2023-07-15", true),
        ("2025-06-20", true),
        ("2025-06-22T09:38:54Z", true),
        ("2025-06-22T09:38:55Z", false),
        ("2025-06-23", false),
        ("2026-11-23", false),
    ] {
        let set = Set::full().at(at);
        assert_eq!(set.outcome().is_ok(), accepted, "{at}");
        let mut reasons = set.reasons();
        reasons.dedup();
        let expected = if accepted { vec![] } else { vec![Reason::RimExpired] };
        assert_eq!(reasons, expected, "{at}");
    }
}

#[test]
fn hs_30_second_certificate_that_expired_is_told() {
    let set = Set::full().at("2026-11-12");
    assert!(set.findings().contains(&(Reason::RimExpired, Place::RimCertificate(0, 0))));
    let before_devices = Set::full().at("2020-10-16").findings();
    assert!(before_devices.contains(&(Reason::ChainValidity, Place::Certificate(0))));
}

#[test]
fn hs_23_chain_of_four_is_rejected() {
    let set = Set::full().chain(file("full-match-545.00/invalidCertChain.txt"));
    assert_eq!(set.outcome().unwrap_err().reason, Reason::ChainLength);
}

#[test]
fn hs_26_without_rims_signature_and_chain_hold_and_nothing_is_accepted() {
    let missing = [Reason::DriverRimAbsent, Reason::VbiosRimAbsent];
    assert_eq!(Set::of_550().reasons(), missing);
    assert!(Set::of_550().outcome().is_err());
    let folder = "hopper-570.124.03";
    let of_570 = Set::new(
        &format!("{folder}/hopperAttestationReportExpired.txt"),
        &format!("{folder}/hopperCertChainExpired.txt"),
        &[],
        SHARED_NONCE,
    );
    assert_eq!(of_570.reasons(), missing);
}

#[test]
fn hs_26_blackwell_report_and_chain_hold() {
    let set = Set::new(
        "blackwell-575.32/blackwellAttestationReport.txt",
        "blackwell-575.32/blackwellCertChain.txt",
        &[],
        SHARED_NONCE,
    );
    assert_eq!(set.reasons(), [Reason::DriverRimAbsent, Reason::VbiosRimAbsent]);
    set.examine(Depth::Everything, None, |examination| {
        assert_eq!(examination.gpus[0].chain.as_ref().unwrap().chip(), "GB100");
    });
}

#[test]
fn hs_25_rim_changed_after_signing_is_rejected_and_its_age_told() {
    let folder = "hopper-570.124.03";
    let set = Set::new(
        &format!("{folder}/hopperAttestationReportExpired.txt"),
        &format!("{folder}/hopperCertChainExpired.txt"),
        &[
            &format!("{folder}/NV_GPU_DRIVER_GH100_570.124.03_expired.xml"),
            &format!("{folder}/1010_0205_862_96005E0004_PROD.swidtag"),
        ],
        SHARED_NONCE,
    )
    .at("2025-02-01");
    let findings = set.findings();
    assert!(findings.contains(&(Reason::RimDigest, Place::Rim(0))), "{findings:?}");
    assert!(findings.contains(&(Reason::RimExpired, Place::RimCertificate(0, 0))));
}

#[test]
fn hs_26_index_9_alone_rejects() {
    for (folder, report, chain, vbios, nonce) in [
        (
            "hopper-570.124.03",
            "hopperAttestationReportExpired.txt",
            "hopperCertChainExpired.txt",
            "1010_0205_862_96005E0004_PROD.swidtag",
            SHARED_NONCE,
        ),
        (
            "hopper-580.159.03",
            "hopperAttestationReport.txt",
            "hopperCertChain.txt",
            "1010_0205_862_9600740020_PROD.swidtag",
            "5bb22e377702d4e1e8215a903ba094826b9ac7f731dee1fe8102958bf2840aca",
        ),
    ] {
        let path = |name: &str| format!("{folder}/{name}");
        let set = Set::new(&path(report), &path(chain), &[&path(vbios)], nonce);
        // The driver's RIM is not among the vectors; the VBIOS' values are compared all the same.
        let expected = [
            (Reason::DriverRimAbsent, Place::Whole),
            (Reason::MeasurementDiffers, Place::Measurement(9)),
        ];
        assert_eq!(set.findings(), expected, "{folder}");
        assert_eq!(set.outcome().unwrap_err().reason, Reason::DriverRimAbsent);
    }
}

#[test]
fn hs_25_driver_rim_that_is_in_order_verifies() {
    for (at, old) in [("2026-12-01", false), ("2027-01-01", true)] {
        let rims = vec![file("rims/NV_GPU_DRIVER_GH100_550.144.03.xml")];
        let findings = Set::of_550().rims(rims).at(at).findings();
        // It verifies, and is for another driver than the one that reports.
        assert!(findings.contains(&(Reason::RimForeign, Place::Rim(0))), "{findings:?}");
        let expired = findings.iter().any(|(reason, _)| *reason == Reason::RimExpired);
        assert_eq!(expired, old);
    }
}

#[test]
fn hs_25_rim_with_another_signature_is_rejected() {
    let rims = vec![file("rims/incorrect_signature_driver_rim.xml")];
    let findings = Set::of_550().rims(rims).at("2026-06-01").findings();
    assert!(findings.contains(&(Reason::RimSignature, Place::Rim(0))), "{findings:?}");
    assert!(!findings.iter().any(|(reason, _)| *reason == Reason::RimDigest));
}

#[test]
fn hs_25_rim_of_another_root_is_rejected() {
    let rims = vec![file("rims/incorrect_cert_chain_driver_rim.xml")];
    let findings = Set::of_550().rims(rims).at("2026-06-01").findings();
    assert_eq!(findings[0], (Reason::RimChainLength, Place::RimCertificate(0, 1)));
    let other = [Reason::RimDigest, Reason::RimSignature];
    assert!(!findings.iter().any(|(reason, _)| other.contains(reason)), "{findings:?}");
}

#[test]
fn hs_26_rim_of_the_right_version_with_other_values_is_rejected() {
    let mut set = Set::full();
    set.rims[1] = file("rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml");
    let set = set.at("2025-06-01");
    let differs = |index| (Reason::MeasurementDiffers, Place::Measurement(index));
    assert_eq!(set.findings(), [1, 2, 3, 9].map(differs));
    assert_eq!(set.outcome().unwrap_err().reason, Reason::MeasurementDiffers);
}

#[test]
fn hs_21_reasons_are_as_documented() {
    let page =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/evidence.md"));
    let page = page.unwrap();
    let mut codes = std::collections::BTreeSet::new();
    for reason in Reason::ALL {
        let row = format!("| `{}` | {} | {} |", reason.code(), reason.text(), reason.advice());
        assert!(page.contains(&row), "docs/evidence.md lacks: {row}");
        assert!(codes.insert(reason.code()));
    }
    assert_eq!(page.matches("\n| `").count(), Reason::ALL.len());
}

#[test]
fn hs_22_switch_report_is_no_gpu_report() {
    let text = String::from_utf8(file("switch/switch_evidence_ls10.json")).unwrap();
    let [switch]: [serde_json::Value; 1] = serde_json::from_str(&text).unwrap();
    let bytes = |name: &str| super::sets::base64(switch[name].as_str().unwrap());
    let set = Set::of_550().report(bytes("evidence"));
    assert_eq!(set.outcome().unwrap_err().reason, Reason::ReportNotGpu);
    let set = Set::of_550().chain(bytes("certificate"));
    assert_eq!(set.reasons()[0], Reason::ChainNotGpu);
    let rim = "switch/switchVBIOSRim_NV_SWITCH_BIOS_5612_0002_890_9610550001.xml";
    let mut set = Set::full();
    set.rims.push(file(rim));
    assert!(set.outcome().is_err());
}
