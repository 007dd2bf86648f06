//! Stories of chapter 20.

use crate::pair::bench::Bench;
use crate::pair::owner::{Owner, list};
use crate::pair::{Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::{Hardware, Principal, device_id, read_report, report};
use split_custody_protocol::effect::{CustodianAnswer, DeviceAnswer, Report};
use split_custody_protocol::handshake::VerifierInput;
use split_custody_protocol::ids::{CustodianId, Epoch, Generation, WeightsId, WeightsVersion};
use split_custody_protocol::role::Rejection;
use split_custody_protocol::suite::{AgreementKey, Digest, SuiteId};
use split_custody_protocol::wire::challenge::Challenge;
use split_custody_protocol::wire::evidence::{EvidenceKind, Request};
use split_custody_protocol::wire::hello::Hello;
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::standing::Activated;
use split_custody_protocol::{DecodeError, Violation};

/// The first Hello goes to custodian 1.
fn with_hello(change: fn(Message) -> Message) -> Pair {
    let mut pair = Pair::new();
    pair.network.push((From::Device, MessageType::Hello, Fate::Change(change)));
    pair.acquire();
    pair
}

/// The first Request goes to custodian 1.
fn with_request(change: fn(Message) -> Message) -> Pair {
    let mut pair = Pair::new();
    pair.network.push((From::Device, MessageType::Request, Fate::Change(change)));
    pair.acquire();
    pair
}

/// The first Challenge comes from custodian 1.
fn with_challenge(change: fn(Message) -> Message) -> Pair {
    let mut pair = Pair::new();
    let rule = (From::Custodian(1), MessageType::Challenge, Fate::Change(change));
    pair.network.push(rule);
    pair.acquire();
    pair
}

fn hello(message: Message, change: impl FnOnce(&mut Hello)) -> Message {
    let Message::Hello(mut hello) = message else { panic!("not a hello") };
    change(&mut hello);
    Message::Hello(hello)
}

fn request(message: Message, change: impl FnOnce(&mut Request)) -> Message {
    let Message::Request(mut request) = message else { panic!("not a request") };
    change(&mut request);
    Message::Request(request)
}

fn challenge(message: Message, change: impl FnOnce(&mut Challenge)) -> Message {
    let Message::Challenge(mut challenge) = message else { panic!("not a challenge") };
    change(&mut challenge);
    Message::Challenge(challenge)
}

#[test]
fn hs_2_a_device_without_an_exporter_closes_that_exchange_only() {
    let mut pair = Pair::new();
    pair.script.push((Kind::Export, Reply::Answer(DeviceAnswer::ExportFailed)));
    pair.acquire();
    assert_eq!(pair.sent_by(From::Device, MessageType::Hello).len(), 2);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn hs_2_a_custodian_without_an_exporter_sends_no_challenge() {
    let mut pair = Pair::new();
    let failed = Reply::Answer(CustodianAnswer::ExportFailed);
    pair.node(1).script.push((Kind::Export, failed));
    pair.acquire();
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Challenge), []);
}

#[test]
fn hs_3_a_hello_without_a_common_suite_is_refused() {
    let pair = with_hello(|m| hello(m, |h| h.suites = list(vec![SuiteId::new(0x7777)])));
    assert_eq!(pair.refusals(1), [Violation::NothingInCommon]);
}

#[test]
fn hs_3_a_hello_without_a_common_version_is_refused() {
    let pair = with_hello(|m| hello(m, |h| h.versions = list(vec![2, 3])));
    assert_eq!(pair.refusals(1), [Violation::NothingInCommon]);
}

#[test]
fn hs_4_a_hello_for_unknown_weights_is_refused() {
    let pair = with_hello(|m| hello(m, |h| h.weights = WeightsId::new([9; 16])));
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_hello_for_another_version_is_refused() {
    let pair = with_hello(|m| hello(m, |h| h.version = WeightsVersion::new(2)));
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_hello_to_an_unprovisioned_custodian_is_refused() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    let (body, _) = Bench::new().hello();
    let answers = pair.tell(1, Message::Hello(body));
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]));
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_below_its_own_floor_is_refused() {
    let mut owner = Owner::new(3, 2, 0);
    owner.floor = 2;
    let mut pair = Pair::unprovisioned(owner);
    pair.provision(1);
    assert_eq!(pair.refusals(1), [Violation::ManifestUnknown]);
}

#[test]
fn hs_5_a_hello_of_an_unknown_device_is_refused() {
    let pair = with_hello(|m| {
        hello(m, |h| h.device = device_id(Hardware::Adversary, Hardware::Adversary))
    });
    assert_eq!(pair.refusals(1), [Violation::DeviceUnknown]);
}

#[test]
fn hs_6_a_second_request_meets_a_spent_challenge() {
    let mut pair = Pair::serving();
    let again = pair.sent_by(From::Device, MessageType::Request).remove(0);
    let refused = pair.custodian_receives(1, &again);
    assert_eq!(refused, Err(Rejection::Violation(Violation::ChallengeSpent)));
}

#[test]
fn hs_6_a_request_without_a_challenge_is_refused() {
    let mut pair = Pair::serving();
    let request = pair.sent_by(From::Device, MessageType::Request).remove(0);
    let channel = pair.beside(1);
    pair.say(channel, request);
    assert_eq!(pair.refusals(1), [Violation::ChallengeSpent]);
}

#[test]
fn hs_6_an_error_on_the_connection_burns_the_challenge() {
    let mut pair = Pair::new();
    pair.network.push((From::Device, MessageType::Request, Fate::Park));
    pair.acquire();
    let nonsense = Activated {
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        epoch: Epoch::new(0),
    };
    let unexpected = pair.custodian_receives(1, &Message::Activated(nonsense));
    assert_eq!(unexpected, Err(Rejection::Violation(Violation::Unexpected)));
    pair.deliver();
    assert_eq!(pair.refusals(1), [Violation::Unexpected, Violation::ChallengeSpent]);
}

#[test]
fn hs_7_a_dead_challenge_is_refused() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    pair.stall(5_000);
    pair.device_resume();
    assert_eq!(pair.refusals(1), [Violation::ChallengeDead]);
}

#[test]
fn hs_7_a_challenge_in_its_last_moment_is_accepted() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    pair.stall(4_999);
    pair.device_resume();
    assert_eq!(pair.refusals(1), []);
    assert_eq!(pair.custody(), "Serving");
}

#[test]
fn hs_7_an_unused_challenge_dies_by_itself() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    pair.wait(5_000);
    assert_eq!(pair.refusals(1), [Violation::ChallengeDead]);
}

#[test]
fn hs_8_each_custodian_and_attempt_gets_its_own_device_key() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Appraise, Reply::Answer(CustodianAnswer::Rejected)));
    pair.node(2).script.push((Kind::Appraise, Reply::Answer(CustodianAnswer::Rejected)));
    pair.acquire();
    assert_eq!(pair.custody(), "Idle");
    pair.acquire();
    let requests = pair.sent_by(From::Device, MessageType::Request);
    let keys: std::collections::BTreeSet<AgreementKey> = requests
        .into_iter()
        .map(|message| match message {
            Message::Request(request) => request.device_key,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(keys.len(), 6, "three custodians, two attempts");
}

#[test]
fn hs_9_entries_out_of_order_are_refused() {
    let pair = with_request(|m| {
        request(m, |r| {
            let mut entries = r.entries.as_slice().to_vec();
            entries.reverse();
            r.entries = list(entries);
        })
    });
    assert_eq!(pair.refusals(1), [Violation::EntriesOutOfOrder]);
}

#[test]
fn hs_9_an_entry_twice_is_refused() {
    let pair = with_request(|m| {
        request(m, |r| {
            let mut entries = r.entries.as_slice().to_vec();
            entries.insert(0, entries[0]);
            r.entries = list(entries);
        })
    });
    assert_eq!(pair.refusals(1), [Violation::EntriesOutOfOrder]);
}

#[test]
fn hs_9_an_entry_of_no_custodian_of_the_manifest_is_refused() {
    let pair = with_request(|m| {
        request(m, |r| {
            let mut entries = r.entries.as_slice().to_vec();
            entries[2].custodian = CustodianId::new(9);
            r.entries = list(entries);
        })
    });
    assert_eq!(pair.refusals(1), [Violation::EntriesOutOfOrder]);
}

#[test]
fn hs_10_a_request_without_the_own_entry_is_refused() {
    let pair =
        with_request(|m| request(m, |r| r.entries = list(r.entries.as_slice()[1..].to_vec())));
    assert_eq!(pair.refusals(1), [Violation::OwnEntryDiffers]);
}

#[test]
fn hs_10_a_foreign_entry_under_the_own_id_is_refused() {
    let pair = with_request(|m| {
        request(m, |r| {
            let mut entries = r.entries.as_slice().to_vec();
            entries[0].digest = entries[1].digest;
            r.entries = list(entries);
        })
    });
    assert_eq!(pair.refusals(1), [Violation::OwnEntryDiffers]);
}

#[test]
fn hs_10_a_swapped_device_key_is_refused() {
    let pair = with_request(|m| {
        request(m, |r| r.device_key = AgreementKey::new(vec![7; 32]).expect("32 bytes"))
    });
    assert_eq!(pair.refusals(1), [Violation::OwnEntryDiffers]);
}

#[test]
fn hs_10_a_request_of_another_custodians_exchange_is_refused() {
    let mut pair = Pair::new();
    pair.network.push((From::Device, MessageType::Request, Fate::Drop));
    pair.acquire();
    let for_two = pair.sent_by(From::Device, MessageType::Request).remove(1);
    let refused = pair.custodian_receives(1, &for_two);
    assert_eq!(refused, Err(Rejection::Violation(Violation::OwnEntryDiffers)));
}

#[test]
fn hs_11_a_gpu_report_of_another_session_is_refused() {
    let mut pair = Pair::new();
    pair.reports = |evidence| {
        let gpu = report("gpu", Hardware::Enrolled, &Digest::new([9; 32]));
        *evidence = crate::pair::evidence(gpu, evidence.cpu.as_bytes().to_vec());
    };
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ReportNonceDiffers]);
}

#[test]
fn hs_12_a_cpu_report_of_another_session_is_refused() {
    let mut pair = Pair::new();
    pair.reports = |evidence| {
        let cpu = report("cpu", Hardware::Enrolled, &Digest::new([9; 32]));
        *evidence = crate::pair::evidence(evidence.gpu.as_bytes().to_vec(), cpu);
    };
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ReportDataDiffers]);
}

#[test]
fn hs_12_a_gpu_report_of_another_gpu_is_not_covered_by_the_cpu() {
    let mut pair = Pair::new();
    pair.reports = |evidence| {
        let (_, nonce) = read_report("gpu", evidence.gpu.as_bytes()).expect("an honest report");
        let gpu = report("gpu", Hardware::Adversary, &nonce);
        *evidence = crate::pair::evidence(gpu, evidence.cpu.as_bytes().to_vec());
    };
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ReportDataDiffers]);
}

#[test]
fn hs_13_evidence_with_a_foreign_half_is_refused() {
    let mut pair = Pair::new();
    pair.reports = |evidence| {
        let (_, data) = read_report("cpu", evidence.cpu.as_bytes()).expect("an honest report");
        let cpu = report("cpu", Hardware::Adversary, &data);
        *evidence = crate::pair::evidence(evidence.gpu.as_bytes().to_vec(), cpu);
    };
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::DeviceIdDiffers]);
}

#[test]
fn hs_14_a_genuine_device_that_is_not_enrolled_is_refused() {
    // It names an enrolled device in Hello and itself in everything that Evidence covers.
    let mut bench = Bench::new();
    bench.device = device_id(Hardware::Adversary, Hardware::Adversary);
    assert_eq!(bench.proof().err(), Some(Violation::DeviceNotEnrolled));
}

#[test]
fn hs_15_an_invalid_device_key_is_refused() {
    let mut bench = Bench::new();
    bench.device_key = AgreementKey::new(vec![0; 32]).expect("32 bytes");
    assert_eq!(bench.proof().err(), Some(Violation::DeviceKeyInvalid));
}

#[test]
fn hs_16_a_kind_that_policy_does_not_name_is_refused() {
    let mut pair = Pair::new();
    pair.reports = |evidence| evidence.kind = EvidenceKind::NVIDIA_CC;
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ClaimsRefused]);
}

#[test]
fn hs_16_a_mode_that_policy_does_not_name_is_refused() {
    let mut pair = Pair::new();
    pair.node(1).appraiser = |verdict| verdict.mode = 2;
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ClaimsRefused]);
}

#[test]
fn hs_16_one_unknown_measurement_among_known_ones_is_refused() {
    let mut pair = Pair::new();
    pair.node(1).appraiser = |verdict| verdict.measurements.push(Digest::new([9; 32]));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ClaimsRefused]);
}

#[test]
fn hs_16_evidence_without_a_measurement_is_refused() {
    let mut pair = Pair::new();
    pair.node(1).appraiser = |verdict| verdict.measurements.clear();
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ClaimsRefused]);
}

#[test]
fn hs_16_what_the_appraiser_rejects_is_refused() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Appraise, Reply::Answer(CustodianAnswer::Rejected)));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::ClaimsRefused]);
}

#[test]
fn hs_17_a_challenge_of_another_custodian_closes_the_exchange() {
    let pair = with_challenge(|m| challenge(m, |c| c.custodian = CustodianId::new(2)));
    assert_eq!(pair.failures(1), [Some(Violation::ChallengeNotOurs)]);
}

#[test]
fn hs_17_a_version_that_was_not_offered_closes_the_exchange() {
    let pair = with_challenge(|m| challenge(m, |c| c.version = 2));
    assert_eq!(pair.failures(1), [Some(Violation::ChallengeNotOurs)]);
}

#[test]
fn hs_17_a_suite_that_was_not_offered_closes_the_exchange() {
    let pair = with_challenge(|m| challenge(m, |c| c.suite = SuiteId::P256_X963_KW));
    assert_eq!(pair.failures(1), [Some(Violation::ChallengeNotOurs)]);
}

#[test]
fn hs_18_a_silent_custodian_is_left_out_and_never_added() {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(3), MessageType::Challenge, Fate::Park));
    pair.acquire();
    assert_eq!(pair.custody(), "Gathering");
    pair.wait(1_000);
    pair.deliver();
    let asked = pair.sent_by(From::Device, MessageType::Request);
    let Message::Request(first) = &asked[0] else { panic!("{asked:?}") };
    let ids: Vec<u8> = first.entries.iter().map(|entry| entry.custodian.value()).collect();
    assert_eq!((ids, asked.len()), (vec![1, 2], 2));
    assert_eq!(pair.failures(3), [None, Some(Violation::Unexpected)]);
}

#[test]
fn hs_18_who_leaves_while_evidence_is_made_stays_listed() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(3);
    pair.break_channel(channel);
    pair.device_resume();
    assert_eq!(pair.refusals(1), []);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn hs_19_a_chain_without_an_enrolled_issuer_is_refused() {
    let mut pair = Pair::new();
    pair.chain = vec![Principal::Stranger.leaf(9)];
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::IssuerUnknown]);
}

#[test]
fn hs_20_a_request_for_another_manifest_is_refused() {
    let pair = with_request(|m| request(m, |r| r.manifest = Digest::new([9; 32])));
    assert_eq!(pair.refusals(1), [Violation::ManifestDiffers]);
}

#[test]
fn hs_21_every_refusal_is_the_same_but_for_its_correlation() {
    let mut pair = Pair::new();
    pair.node(1).appraiser = |verdict| verdict.mode = 2;
    pair.node(2).appraiser = |verdict| verdict.device = Bench::new().claimed;
    pair.node(2).script.push((Kind::CommitGrant, Reply::Answer(CustodianAnswer::Fenced)));
    pair.acquire();
    let refused = |id| match pair.sent_by(From::Custodian(id), MessageType::Refused).as_slice() {
        [Message::Refused(refused)] => refused.correlation,
        other => panic!("one refusal, not {other:?}"),
    };
    assert_ne!(pair.refusals(1), pair.refusals(2), "for two reasons");
    assert_ne!(refused(1), refused(2), "named at random");
}

#[test]
fn hs_21_the_log_joins_a_refusal_with_its_reason() {
    let mut pair = Pair::new();
    pair.node(1).appraiser = |verdict| verdict.mode = 2;
    pair.acquire();
    let sent = pair.sent_by(From::Custodian(1), MessageType::Refused);
    let [Message::Refused(refused)] = sent.as_slice() else { panic!("{sent:?}") };
    let logged = pair.custodian_reports.iter().find_map(|(_, report)| match report {
        Report::Refused { correlation, violation, .. } => Some((*correlation, *violation)),
        _ => None,
    });
    let Some((Some(correlation), violation)) = logged else { panic!("{logged:?}") };
    assert_eq!(violation, Violation::ClaimsRefused);
    assert_eq!(correlation.as_bytes()[..16], refused.correlation.as_bytes()[..]);
}

#[test]
fn hs_21_bytes_that_do_not_decode_are_refused_alike() {
    let mut pair = Pair::new();
    let channel = pair.outsider(1);
    let answers = pair.say_bytes(channel, vec![0xff]);
    assert!(matches!(answers.as_slice(), [Message::Refused(_)]));
    assert_eq!(pair.refusals(1), [Violation::Undecodable(DecodeError::Malformed)]);
}

#[test]
fn hs_6_an_answer_after_the_connection_closed_changes_nothing() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Appraise, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(1);
    pair.break_channel(channel);
    pair.resume(1);
    assert_eq!(pair.node(1).leases().len(), 0);
    assert_eq!(pair.custodian_rejections, []);
}

#[test]
fn hs_6_a_verifier_that_proved_takes_nothing_more() {
    let bench = Bench::new();
    let mut verifier = bench.verifier();
    let verdict = bench.requested(&mut verifier).expect("a good request");
    bench.step(&mut verifier, VerifierInput::Appraised(&verdict)).expect("a good verdict");
    let again = bench.step(&mut verifier, VerifierInput::Appraised(&verdict));
    assert_eq!(again.err(), Some(Violation::Unexpected));
}
