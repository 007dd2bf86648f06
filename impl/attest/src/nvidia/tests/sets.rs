//! Several GPUs: all of one machine, each once.

use base64ct::{Base64, Encoding};

use super::files::{Set, file, unhex};
use crate::nvidia::{Depth, Reason};

pub(super) fn base64(text: &str) -> Vec<u8> {
    Base64::decode_vec(text).unwrap()
}

/// The four GPUs of the vectors, in protected PCIe mode.
fn four() -> Set {
    let text = String::from_utf8(file("ppcie-590.12/multi_gpu_hopper.json")).unwrap();
    let devices: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let bytes = |value: &serde_json::Value| base64(value.as_str().unwrap());
    let gpus = devices
        .iter()
        .map(|device| (bytes(&device["evidence"]), bytes(&device["certificate"])))
        .collect();
    let nonce = unhex(devices[0]["nonce"].as_str().unwrap());
    Set {
        gpus,
        nonce: split_custody_protocol::suite::Digest::new(nonce.try_into().unwrap()),
        ..Set::full()
    }
    .rims(vec![])
}

/// What is told of a set, but for what is missing to all of them here: RIMs, and rules.
fn told(set: &Set) -> Vec<Reason> {
    let expected = [Reason::DriverRimAbsent, Reason::VbiosRimAbsent, Reason::ModeNotAdmitted];
    let mut reasons = set.reasons();
    reasons.retain(|reason| !expected.contains(reason));
    assert!(set.outcome().is_err());
    reasons
}

#[test]
fn hs_28_four_gpus_of_one_machine_hold_together() {
    assert_eq!(told(&four()), []);
    assert_eq!(four().reasons().iter().filter(|r| **r == Reason::ModeNotAdmitted).count(), 4);
}

#[test]
fn hs_28_single_file_is_the_first_of_the_set() {
    let text = String::from_utf8(file("ppcie-590.12/hopper_evidence.json")).unwrap();
    let [one]: [serde_json::Value; 1] = serde_json::from_str(&text).unwrap();
    assert_eq!(base64(one["evidence"].as_str().unwrap()), four().gpus[0].0);
}

#[test]
fn hs_28_gpu_that_stands_twice_is_rejected() {
    let mut set = four();
    set.gpus[1] = set.gpus[0].clone();
    assert_eq!(told(&set), [Reason::SetDuplicate]);
}

#[test]
fn hs_28_gpu_of_another_session_is_rejected() {
    let mut set = four();
    set.gpus[3] = Set::of_550().gpus[0].clone();
    let told = told(&set);
    for reason in [Reason::NonceDiffers, Reason::SetNonce, Reason::SetMode, Reason::SetSwitches] {
        assert!(told.contains(&reason), "{reason:?} of {told:?}");
    }
}

#[test]
fn hs_28_one_bad_gpu_among_good_ones_rejects_the_set() {
    for bad in 0..4 {
        let mut set = four();
        let last = set.gpus[bad].0.len() - 1;
        set.gpus[bad].0[last] ^= 1;
        assert_eq!(told(&set), [Reason::ReportSignature]);
        set.examine(Depth::Everything, None, |examination| {
            let (gpu, _) = examination
                .log
                .findings()
                .find(|(_, finding)| finding.reason == Reason::ReportSignature)
                .unwrap();
            assert_eq!(gpu.map(usize::from), Some(bad));
        });
    }
}

#[test]
fn hs_28_gpus_that_see_other_switches_are_rejected() {
    let mut set = four();
    let at = set.gpus[2].0.windows(4).position(|w| w == [22, 0, 144, 0]).unwrap() + 4;
    set.gpus[2].0[at] ^= 1;
    assert!(told(&set).contains(&Reason::SetSwitches));
    // All see the same three: a switch is missing.
    let mut set = four();
    for gpu in &mut set.gpus {
        let at = gpu.0.windows(4).position(|w| w == [22, 0, 144, 0]).unwrap() + 4;
        let first: Vec<u8> = gpu.0[at..at + 8].to_vec();
        for link in gpu.0[at..at + 144].chunks_mut(8) {
            link.copy_from_slice(&first);
        }
    }
    assert!(told(&set).contains(&Reason::SetSwitches));
}
