//! Each oracle can fail: given something deliberately wrong, it panics and says why.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arbitrary::Unstructured;
use split_custody_attest::appraise;
use split_custody_fuzz_bodies::fixtures::{self, Which};
use split_custody_fuzz_bodies::sealed_open::{self, KeyIs, Opened, Outcome, Plan, Through};
use split_custody_fuzz_bodies::watch::{CustodianWatch, DeviceWatch};
use split_custody_fuzz_bodies::wire_mutate::{Flaw, Kind};
use split_custody_fuzz_bodies::{
    nvidia, nvidia_chain, nvidia_report, nvidia_rim, safetensors_header, software_evidence,
    wire_decode, wire_mutate,
};
use split_custody_protocol::ids::{Budget, Counter, CustodianId, Epoch, LeaseId};
use split_custody_protocol::suite::Signature;
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::grant::{Grant, GrantStatement};
use split_custody_protocol::wire::lease::{Renew, Renewal, RenewalAnswer};
use split_custody_protocol::wire::order::{Acknowledged, Acknowledgement};
use split_custody_protocol::wire::standing::Activated;
use split_custody_protocol::wire::{Message, Signed, encode};

/// What an oracle said when it failed; it has to.
fn fails(oracle: impl FnOnce()) -> String {
    let failure = catch_unwind(AssertUnwindSafe(oracle)).expect_err("the oracle did not fail");
    let text = failure.downcast_ref::<String>().cloned();
    text.or_else(|| failure.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
}

fn activated() -> Vec<u8> {
    let done = Activated {
        custodian: CustodianId::new(1),
        generation: Default::default(),
        epoch: Default::default(),
    };
    Message::Activated(done).to_frame()
}

#[test]
fn wire_2_decoder_that_ignores_trailing_bytes_is_caught() {
    let frame = [activated(), vec![0]].concat();
    let lax = |input: &[u8]| wire_decode::whole_message(&input[..input.len() - 1]);
    let said = fails(|| wire_decode::check("message", &frame, false, lax));
    assert!(said.contains("WIRE-2"), "{said}");
}

#[test]
fn wire_3_decoder_that_disagrees_with_the_reference_is_caught() {
    let said = fails(|| wire_decode::check("message", &activated(), true, |_| None));
    assert!(said.contains("the reference disagrees"), "{said}");
}

#[test]
fn wire_1_decoder_that_trusts_a_claimed_length_is_caught() {
    let greedy = |_: &[u8]| {
        std::hint::black_box(Vec::<u8>::with_capacity(1 << 20));
        None
    };
    let said = fails(|| wire_decode::check("message", &[0x9a, 0, 16, 0, 0], false, greedy));
    assert!(said.contains("WIRE-1"), "{said}");
}

#[test]
fn wire_2_decoder_that_takes_flaws_is_caught_for_every_kind() {
    let bytes: Vec<u8> = (0..=255).collect();
    let (tree, _) = wire_mutate::plan(&mut Unstructured::new(&bytes)).unwrap();
    let whole = std::cell::RefCell::new(None::<Vec<u8>>);
    for kind in [
        Kind::Wide,
        Kind::SwappedKeys,
        Kind::DuplicateKey,
        Kind::UnknownKey,
        Kind::MissingKey,
        Kind::Indefinite,
        Kind::Trailing,
        Kind::Tagged,
        Kind::Cut,
    ] {
        whole.replace(None);
        // It takes everything for the first message that it saw.
        let lax = |input: &[u8]| {
            whole.borrow_mut().get_or_insert_with(|| input.to_vec());
            whole.borrow().clone()
        };
        let said = fails(|| wire_mutate::check(&tree, Flaw { kind, site: 0, place: 0 }, lax));
        assert!(said.contains(&format!("{kind:?}")), "{said}");
    }
}

fn plan() -> Plan {
    Plan {
        file: Which::One,
        table: Which::One,
        key: KeyIs::Right,
        through: Through::Memory,
        harms: Vec::new(),
    }
}

#[test]
fn seal_9_reader_that_opens_another_file_is_caught() {
    let plan = Plan { file: Which::Other, ..plan() };
    let opened = |_: &Plan, _: &[u8], _: &_| Opened { outcome: Outcome::Opened, memory: vec![] };
    let said = fails(|| sealed_open::check(&plan, opened));
    assert!(said.contains("opened"), "{said}");
}

#[test]
fn seal_7_reader_that_leaves_plaintext_after_an_error_is_caught() {
    let plan = Plan { key: KeyIs::Wrong, ..plan() };
    let memory = || vec![vec![0, 1]];
    let leaky = |_: &Plan, _: &[u8], _: &_| Opened { outcome: Outcome::Refused, memory: memory() };
    let said = fails(|| sealed_open::check(&plan, leaky));
    assert!(said.contains("SEAL-7"), "{said}");
}

#[test]
fn seal_2_reader_that_gives_other_plaintext_is_caught() {
    let zeros = || fixtures::LENGTHS.map(|length| vec![0; length]).to_vec();
    let wrong = |_: &Plan, _: &[u8], _: &_| Opened { outcome: Outcome::Opened, memory: zeros() };
    let said = fails(|| sealed_open::check(&plan(), wrong));
    assert!(said.contains("other plaintext"), "{said}");
    let refused = |_: &Plan, _: &[u8], _: &_| Opened { outcome: Outcome::Refused, memory: vec![] };
    let said = fails(|| sealed_open::check(&plan(), refused));
    assert!(said.contains("unharmed"), "{said}");
}

#[test]
fn seal_10_parser_that_is_laxer_is_caught() {
    let lax = |_: &[u8]| Some(Vec::new());
    let said = fails(|| safetensors_header::check(b"no file", lax, safetensors_header::stock));
    assert!(said.contains("SEAL-10"), "{said}");
}

#[test]
fn hs_13_appraiser_that_verifies_nothing_is_caught() {
    let (one, other) = (fixtures::evidence(Which::One), fixtures::evidence(Which::Other));
    let mut spliced = one.clone();
    spliced.cpu = other.cpu.clone();
    software_evidence::check(&spliced, appraise);
    // It believes whatever device the GPU half belongs to.
    let lax = |evidence: &_| {
        let whole = if evidence == other { other } else { one };
        appraise(whole)
    };
    let said = fails(|| software_evidence::check(&spliced, lax));
    assert!(said.contains("did not sign"), "{said}");
}

#[test]
fn hs_22_report_parser_that_leaves_something_out_is_caught() {
    let report = nvidia::genuine().report.as_slice();
    let lax = |report: &[u8]| Some(report[..report.len() - 1].to_vec());
    let said = fails(|| nvidia_report::check(report, lax, |_| true));
    assert!(said.contains("HS-22"), "{said}");
    let greedy = |_: &[u8]| {
        std::hint::black_box(Vec::<u8>::with_capacity(1 << 20));
        None
    };
    let said = fails(|| nvidia_report::check(report, greedy, |_| true));
    assert!(said.contains("held"), "{said}");
}

#[test]
fn hs_23_verifier_that_takes_any_report_or_none_is_caught() {
    let genuine = nvidia::genuine().report.as_slice();
    let mut changed = genuine.to_vec();
    changed[100] ^= 1;
    let said = fails(|| nvidia_report::check(&changed, |_| None, |_| true));
    assert!(said.contains("did not sign"), "{said}");
    let said = fails(|| nvidia_report::check(genuine, |_| None, |_| false));
    assert!(said.contains("genuine"), "{said}");
    nvidia_report::check(genuine, |_| None, nvidia_report::accepts);
}

#[test]
fn hs_23_verifier_that_takes_another_chain_or_none_is_caught() {
    let genuine = nvidia::genuine().chain.as_slice();
    let of = |chain: &[u8]| Some((Vec::new(), format!("{}", chain.len())));
    let said = fails(|| nvidia_chain::check(b"another", of));
    assert!(said.contains("did not sign"), "{said}");
    let said = fails(|| nvidia_chain::check(genuine, |_| None));
    assert!(said.contains("genuine"), "{said}");
    nvidia_chain::check(genuine, nvidia_chain::accepted);
}

#[test]
fn hs_25_verifier_that_reads_what_nobody_signed_is_caught() {
    let genuine = nvidia::genuine().rims[0].as_slice();
    let said_of = |rim: &[u8]| {
        let lax = || nvidia_rim::verified(genuine).map(|(_, p, g)| ("999.99".into(), p, g));
        nvidia_rim::verified(rim).or_else(lax)
    };
    let said = fails(|| nvidia_rim::check(b"<wrapped/>", said_of));
    assert!(said.contains("nobody signed"), "{said}");
    let said = fails(|| nvidia_rim::check(genuine, |_| None));
    assert!(said.contains("genuine"), "{said}");
    nvidia_rim::check(genuine, nvidia_rim::verified);
}

const LEASE: LeaseId = LeaseId::new([7; 16]);

fn signed(payload: Vec<u8>) -> Signed {
    Signed::new(payload, Signature::new([1; 64]))
}

fn grant() -> Vec<u8> {
    let statement = statement();
    let sealed = split_custody_protocol::suite::Bytes::new(vec![1]).unwrap();
    Message::Grant(Grant { statement: signed(encode(&statement)), sealed }).to_frame()
}

fn statement() -> GrantStatement {
    use split_custody_protocol::ids::*;
    use split_custody_protocol::suite::*;
    use split_custody_protocol::wire::grant::Terms;
    let digest = Digest::new([0; 32]);
    let span = Span::from_millis(1);
    GrantStatement {
        session: digest,
        th2: digest,
        suite: SuiteId::HPKE_X25519,
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        lease: LEASE,
        set: ShareSetId::new([0; 16]),
        index: ShareIndex::new(1),
        manifest: digest,
        device_key: digest,
        incarnation: Incarnation::new([0; 32]),
        terms: Terms { first: span, term: span, budget: Budget::UNLIMITED, max_age: span },
        epoch: Epoch::new(0),
        policy: PolicyVersion::new(1),
        index_in_log: LogIndex::new(3),
        sealed: digest,
    }
}

#[test]
fn rel_5_grant_without_its_commit_is_caught() {
    let said = fails(|| CustodianWatch::default().sent(&grant()));
    assert!(said.contains("REL-5"), "{said}");
}

#[test]
fn aud_1_renewal_without_its_commit_is_caught() {
    let renewal = Message::Renewal(Renewal {
        lease: LEASE,
        counter: Counter::new(1),
        answer: RenewalAnswer::Renewed,
        term: Span::from_millis(5),
        budget: Budget::UNLIMITED,
    });
    let said = fails(|| CustodianWatch::default().sent(&renewal.to_frame()));
    assert!(said.contains("AUD-1"), "{said}");
}

#[test]
fn rev_4_acknowledgement_without_its_anchor_is_caught() {
    let digest = split_custody_protocol::suite::Digest::new([0; 32]);
    let said = Acknowledgement {
        order: digest,
        custodian: CustodianId::new(1),
        generation: Default::default(),
        manifest: digest,
        epoch: Epoch::new(1),
    };
    let frame = Message::Acknowledged(Acknowledged { statement: signed(encode(&said)) }).to_frame();
    let said = fails(|| CustodianWatch::default().sent(&frame));
    assert!(said.contains("REV-4"), "{said}");
}

#[test]
fn rev_14_epoch_that_falls_is_caught() {
    let mut watch = CustodianWatch::default();
    watch.stands_at(Epoch::new(2));
    let said = fails(|| watch.stands_at(Epoch::new(1)));
    assert!(said.contains("REV-14"), "{said}");
}

#[test]
fn wire_2_frame_that_does_not_decode_is_caught() {
    let said = fails(|| CustodianWatch::default().sent(b"no frame"));
    assert!(said.contains("WIRE-2"), "{said}");
}

#[test]
fn rst_10_word_or_use_of_a_tainted_device_is_caught() {
    let mut watch = DeviceWatch::default();
    watch.tainted();
    let said = fails(|| drop(watch.sent(&activated())));
    assert!(said.contains("RST-10"), "{said}");
    let said = fails(|| watch.admitted(2, 3));
    assert!(said.contains("RST-5"), "{said}");
}

#[test]
fn lea_2_use_without_k_leases_or_a_model_is_caught() {
    let mut watch = DeviceWatch::default();
    let said = fails(|| watch.admitted(2, 3));
    assert!(said.contains("not loaded"), "{said}");
    watch.loaded();
    watch.admitted(2, 2);
    let said = fails(|| watch.admitted(2, 1));
    assert!(said.contains("LEA-2"), "{said}");
}

#[test]
fn lea_7_renewal_asked_for_in_other_bytes_is_caught() {
    let renew =
        |used| Message::Renew(Renew { lease: LEASE, counter: Counter::new(1), used }).to_frame();
    let mut watch = DeviceWatch::default();
    watch.sent(&renew(0));
    watch.sent(&renew(0));
    let said = fails(|| drop(watch.sent(&renew(1))));
    assert!(said.contains("LEA-7"), "{said}");
}

#[test]
fn rel_7_lease_that_nobody_granted_is_caught() {
    let mut watch = DeviceWatch::default();
    watch.granted(1, LEASE);
    watch.holds(1, LEASE);
    let said = fails(|| watch.holds(2, LEASE));
    assert!(said.contains("REL-7"), "{said}");
}
