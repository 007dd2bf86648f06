//! Every state and every input of every machine, against the tables of the chapters.
//!
//! A listed pair leads where the table says and wants what the table says. Every other pair is
//! refused, and leaves what the chapter says. Names here come from exhaustive matches, so a new
//! input of a machine that no table knows does not go unseen.

use std::collections::BTreeSet;

use crate::pair::bench::{self, Bench, CHANNEL, custodian_suite, device_suite, renewal, terms};
use crate::pair::{Fate, From, Pair};
use split_custody_model_check::symbolic::{incarnation, seal_share, true_share};
use split_custody_protocol::audit::{Standing, StandingInput};
use split_custody_protocol::effect::{Act, CustodianEffect, DeviceEffect, LeaseRecord};
use split_custody_protocol::handshake::{
    Attester, AttesterInput, ReadyEntry, Verifier, VerifierInput,
};
use split_custody_protocol::ids::{
    Counter, CustodianId, Epoch, Generation, LeaseId, LogIndex, Ticket,
};
use split_custody_protocol::lease::{
    Held, Holder, Ledger, RenewDecision, RenewInput, RenewalCheck,
};
use split_custody_protocol::quorum::{Combined, Custody, CustodyInput, Outcome, Tally};
use split_custody_protocol::release::{
    Coverage, Granter, GranterInput, GranterStep, Grantor, Life, PolicyInput, Serving, decide,
};
use split_custody_protocol::reset::{Guard, GuardInput, GuardStep, OnHostRead};
use split_custody_protocol::revocation::{Progress, ProgressInput};
use split_custody_protocol::suite::{Digest, Exporter, Signature};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::challenge::Challenge;
use split_custody_protocol::wire::lease::{Renew, RenewalAnswer};
use split_custody_protocol::wire::message::{Message, MessageType, Received};
use split_custody_protocol::{Violation, transcript};
use split_custody_spec::table;

/// What a machine did with an input.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Did {
    /// Went to this state and wants this.
    Go(&'static str, Vec<String>),
    /// Refused, and is in this state now.
    Refuse(&'static str),
}

/// Where a refusal leaves a machine.
#[derive(Clone, Copy)]
enum Refusal {
    Closes,
    Stays,
}

/// Every difference between a machine and its table, one line each.
fn differences(
    table: &table::Table<'_>,
    states: &[&str],
    inputs: &[&str],
    refusal: Refusal,
    mut step: impl FnMut(&str, &str) -> Did,
) -> Vec<String> {
    let mut found = Vec::new();
    let (in_table, known): (BTreeSet<_>, BTreeSet<_>) =
        (table.states().into_iter().collect(), states.iter().copied().collect());
    found.extend(in_table.difference(&known).map(|state| format!("no such state `{state}`")));
    let (in_table, known): (BTreeSet<_>, BTreeSet<_>) =
        (table.inputs().into_iter().collect(), inputs.iter().copied().collect());
    found.extend(in_table.difference(&known).map(|input| format!("no such input `{input}`")));
    for state in states {
        for input in inputs {
            let did = step(state, input);
            let expected = match (table.row(state, input), refusal) {
                (Some(row), _) => (true, row.next, row.outputs.join(", ")),
                (None, Refusal::Closes) => (false, "Closed", String::new()),
                (None, Refusal::Stays) => (false, *state, String::new()),
            };
            let actual = match &did {
                Did::Go(next, outputs) => (true, *next, outputs.join(", ")),
                Did::Refuse(next) => (false, *next, String::new()),
            };
            if actual != expected {
                found.push(format!("{state} | {input}: {actual:?}, the table says {expected:?}"));
            }
        }
    }
    found
}

fn compare(
    name: &str,
    states: &[&str],
    inputs: &[&str],
    refusal: Refusal,
    step: impl FnMut(&str, &str) -> Did,
) {
    let table = split_custody_spec::table(name);
    let found = differences(&table, states, inputs, refusal, step);
    assert!(found.is_empty(), "`{name}`:\n{}", found.join("\n"));
}

fn names(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

fn transmit(frame: &[u8]) -> String {
    let message = Message::from_frame(frame).expect("machines send well-formed frames");
    format!("Transmit {}", message.kind().name())
}

fn device_effect(effect: &DeviceEffect) -> &'static str {
    match effect {
        DeviceEffect::Export { .. } => "Export",
        DeviceEffect::CollectEvidence { .. } => "CollectEvidence",
        DeviceEffect::Load { .. } => "Load",
        DeviceEffect::Erase { .. } => "Erase",
        DeviceEffect::Zeroise => "Zeroise",
        DeviceEffect::Scrub => "Scrub",
        DeviceEffect::Plant => "Plant",
    }
}

fn custodian_effect(effect: &CustodianEffect) -> &'static str {
    match effect {
        CustodianEffect::Export { .. } => "Export",
        CustodianEffect::Appraise { .. } => "Appraise",
        CustodianEffect::Commit(_) => "Commit",
        CustodianEffect::Reread { .. } => "Reread",
        CustodianEffect::Release { .. } => "Release",
        CustodianEffect::Sign { .. } => "Sign",
        CustodianEffect::Anchor(_) => "Anchor",
        CustodianEffect::DestroyHandles => "DestroyHandles",
    }
}

/// The value of a list whose name, by an exhaustive match, is this one.
fn named<T: Clone>(values: &[T], name_of: fn(&T) -> &'static str, name: &str) -> T {
    let found = values.iter().find(|value| name_of(value) == name);
    found.unwrap_or_else(|| panic!("no value of the name `{name}`")).clone()
}

fn all_names<T>(values: &[T], name_of: fn(&T) -> &'static str) -> Vec<&'static str> {
    values.iter().map(name_of).collect()
}

#[test]
fn hs_17_the_attester_follows_its_table() {
    const STATES: [&str; 6] =
        ["AwaitChannel", "AwaitExporter", "AwaitChallenge", "Ready", "AwaitGrant", "Closed"];
    fn name(input: &AttesterInput<'_>) -> &'static str {
        match input {
            AttesterInput::ChannelOpened { .. } => "ChannelOpened",
            AttesterInput::Exported(_) => "Exported",
            AttesterInput::ExportFailed => "ExportFailed",
            AttesterInput::Challenge(_) => "Challenge",
            AttesterInput::Evidence { .. } => "Evidence",
            AttesterInput::Refused => "Refused",
            AttesterInput::ChannelClosed => "ChannelClosed",
        }
    }
    let bench = Bench::new();
    let body = Challenge {
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        nonce: split_custody_protocol::suite::Nonce::new([1; 32]),
        version: 1,
        suite: split_custody_protocol::suite::SuiteId::HPKE_X25519,
    };
    let frame = Message::Challenge(body.clone()).to_frame();
    let request = Message::Request(bench.request(&frame)).to_frame();
    let inputs = [
        AttesterInput::ChannelOpened {
            channel: CHANNEL,
            device_leaf: bench::leaf(),
            custodian_leaf: bench::peer_leaf(),
        },
        AttesterInput::Exported(Exporter::new([2; 32])),
        AttesterInput::Challenge(Received { body: &body, frame: &frame }),
        AttesterInput::Evidence { request },
        AttesterInput::ExportFailed,
        AttesterInput::Refused,
        AttesterInput::ChannelClosed,
    ];
    let handle = |attester: &mut Attester, input| {
        attester.handle(input, &bench.manifest, bench.device, 1, &mut device_suite())
    };
    compare("attester", &STATES, &all_names(&inputs, name), Refusal::Closes, |state, input| {
        let mut attester = Attester::new(CustodianId::new(1));
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        if state == "Closed" {
            attester.close();
        } else {
            // The first inputs of the list are the way to the last state.
            for input in inputs.iter().take(steps).cloned() {
                handle(&mut attester, input).expect("the way there");
            }
        }
        assert_eq!(attester.state_name(), state);
        match handle(&mut attester, named(&inputs, name, input)) {
            Err(violation) => {
                assert_eq!(violation, Violation::Unexpected);
                Did::Refuse(attester.state_name())
            }
            Ok(acts) => {
                let wants = acts.iter().map(|act| match act {
                    Act::Send(frame) => transmit(frame),
                    Act::Ask(effect) => device_effect(effect).to_owned(),
                });
                Did::Go(attester.state_name(), wants.collect())
            }
        }
    });
}

#[test]
fn hs_6_the_verifier_follows_its_table() {
    const STATES: [&str; 6] =
        ["AwaitHello", "AwaitExporter", "AwaitRequest", "Appraising", "Proved", "Closed"];
    fn name(input: &VerifierInput<'_>) -> &'static str {
        match input {
            VerifierInput::Hello(_) => "Hello",
            VerifierInput::Exported(_) => "Exported",
            VerifierInput::ExportFailed => "ExportFailed",
            VerifierInput::Request(_) => "Request",
            VerifierInput::Appraised(_) => "Appraised",
            VerifierInput::Rejected => "Rejected",
            VerifierInput::Timeout => "Timeout",
        }
    }
    let bench = Bench::new();
    let (hello, hello_frame) = bench.hello();
    let challenge = bench.challenged(&mut bench.verifier());
    let request = bench.request(&challenge);
    let request_frame = Message::Request(request.clone()).to_frame();
    let verdict = bench.requested(&mut bench.verifier()).expect("a good request");
    let inputs = [
        VerifierInput::Hello(Received { body: &hello, frame: &hello_frame }),
        VerifierInput::Exported(bench.exporter()),
        VerifierInput::Request(Received { body: &request, frame: &request_frame }),
        VerifierInput::Appraised(&verdict),
        VerifierInput::ExportFailed,
        VerifierInput::Rejected,
        VerifierInput::Timeout,
    ];
    let closed = || {
        let mut verifier = bench.verifier();
        bench.step(&mut verifier, VerifierInput::Rejected).expect_err("not in this state");
        verifier
    };
    compare("verifier", &STATES, &all_names(&inputs, name), Refusal::Closes, |state, input| {
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        let mut verifier: Verifier = if state == "Closed" { closed() } else { bench.verifier() };
        for input in inputs.iter().take(if state == "Closed" { 0 } else { steps }).cloned() {
            bench.step(&mut verifier, input).expect("the way there");
        }
        assert_eq!(verifier.state_name(), state);
        match bench.step(&mut verifier, named(&inputs, name, input)) {
            Err(Violation::Unexpected | Violation::ChallengeSpent) => {
                Did::Refuse(verifier.state_name())
            }
            // Its role answers every violation with `Refused`. [HS-21]
            Err(_) => Did::Go(verifier.state_name(), names(&["Transmit Refused"])),
            Ok(step) => {
                let wants = step.acts.iter().map(|act| match act {
                    Act::Send(frame) => transmit(frame),
                    Act::Ask(effect) => custodian_effect(effect).to_owned(),
                });
                assert_eq!(step.proof.is_some(), verifier.state_name() == "Proved");
                Did::Go(verifier.state_name(), wants.collect())
            }
        }
    });
}

#[test]
fn rel_5_the_granter_follows_its_table() {
    const STATES: [&str; 5] = ["Committing", "Releasing", "Retrying", "Granted", "Closed"];
    fn name(input: &GranterInput) -> &'static str {
        match input {
            GranterInput::Committed(_) => "Committed",
            GranterInput::Unknown(_) => "Unknown",
            GranterInput::Fenced => "Fenced",
            GranterInput::Released { .. } => "Released",
            GranterInput::HsmFailed => "HsmFailed",
            GranterInput::Cancelled => "Cancelled",
        }
    }
    let bench = Bench::new();
    let sealed = seal_share(true_share(1), &bench.device_key, &Digest::new([1; 32]));
    let committed = GranterInput::Committed(LogIndex::new(5));
    let released = GranterInput::Released { sealed, signature: Signature::new([1; 64]) };
    let inputs = [
        committed.clone(),
        GranterInput::Unknown(Ticket::new(1)),
        GranterInput::Fenced,
        released.clone(),
        GranterInput::HsmFailed,
        GranterInput::Cancelled,
    ];
    let way = |state: &str| match state {
        "Committing" => vec![],
        "Releasing" => vec![committed.clone()],
        "Retrying" => vec![committed.clone(), GranterInput::HsmFailed],
        "Granted" => vec![committed.clone(), released.clone()],
        _ => vec![GranterInput::Cancelled],
    };
    let begin = || {
        let policy = PolicyInput {
            manifest: &bench.manifest,
            serving: Serving::Yes,
            coverage: Coverage::Clear,
            life: Life::Latest,
        };
        let decided = decide(bench.proof().expect("a proof"), &policy).expect("a yes");
        let grantor = Grantor {
            custodian: CustodianId::new(1),
            generation: Generation::new(1),
            epoch: Epoch::new(0),
            manifest: &bench.manifest,
            chain: &bench.chain,
        };
        let lease = LeaseId::new([1; 16]);
        Granter::begin(decided, lease, &grantor, &mut custodian_suite()).expect("a release").0
    };
    compare("granter", &STATES, &all_names(&inputs, name), Refusal::Closes, |state, input| {
        let mut granter = begin();
        for input in way(state) {
            granter.handle(input, &mut custodian_suite()).expect("the way there");
        }
        assert_eq!(granter.state_name(), state);
        match granter.handle(named(&inputs, name, input), &mut custodian_suite()) {
            Err(violation) => {
                assert_eq!(violation, Violation::Unexpected);
                Did::Refuse(granter.state_name())
            }
            Ok(GranterStep::Ask(effect) | GranterStep::CommittedAndAsk(effect)) => {
                Did::Go(granter.state_name(), names(&[custodian_effect(&effect)]))
            }
            Ok(GranterStep::Send(frame)) => Did::Go(granter.state_name(), vec![transmit(&frame)]),
            Ok(GranterStep::Refuse) => Did::Go(granter.state_name(), names(&["Transmit Refused"])),
        }
    });
}

#[test]
fn rel_7_the_requester_follows_its_table() {
    // Its states are a device's: a grant is awaited, its lease counts, or the exchange is closed.
    let state_of = |pair: &Pair| {
        let counts = pair.device.leases().any(|(id, _)| id.value() == 1);
        match (counts, pair.failures(1).is_empty()) {
            (true, _) => "Checked",
            (false, true) => "AwaitGrant",
            (false, false) => "Closed",
        }
    };
    let mut awaiting = Pair::new();
    let parked = |id| (From::Custodian(id), MessageType::Grant, Fate::Park);
    awaiting.network.extend([parked(1), parked(2), parked(3)]);
    awaiting.acquire();
    let grant = awaiting.sent_by(From::Custodian(1), MessageType::Grant).remove(0);
    let correlation = split_custody_protocol::ids::CorrelationId::new([1; 16]);
    let refused = Message::Refused(split_custody_protocol::wire::grant::Refused { correlation });
    let message = |input: &str| if input == "Grant" { grant.clone() } else { refused.clone() };
    let way = |state: &str| match state {
        "Checked" => vec!["Grant"],
        "Closed" => vec!["Refused"],
        _ => vec![],
    };
    let states = ["AwaitGrant", "Checked", "Closed"];
    compare("requester", &states, &["Grant", "Refused"], Refusal::Stays, |state, input| {
        let mut pair = awaiting.clone();
        for input in way(state) {
            pair.device_receives(1, &message(input)).expect("the way there");
        }
        assert_eq!(state_of(&pair), state);
        let sent = pair.sent.len();
        let result = pair.device_receives(1, &message(input));
        assert_eq!(pair.sent.len(), sent);
        // A refusal in `Checked` answers a renewal; it is not this machine's and changes nothing.
        let refused = result.is_err() || state_of(&pair) == state;
        if refused { Did::Refuse(state_of(&pair)) } else { Did::Go(state_of(&pair), vec![]) }
    });
}

#[test]
fn qrm_1_custody_follows_its_table() {
    const STATES: [&str; 7] =
        ["Idle", "Gathering", "Attesting", "Requesting", "Loading", "Serving", "Erasing"];
    fn name(input: &CustodyInput) -> &'static str {
        match input {
            CustodyInput::Acquire { .. } => "Acquire",
            CustodyInput::EntriesComplete { .. } => "EntriesComplete",
            CustodyInput::TooFew => "TooFew",
            CustodyInput::EvidenceCollected { .. } => "EvidenceCollected",
            CustodyInput::EvidenceFailed => "EvidenceFailed",
            CustodyInput::Combined(_) => "Combined",
            CustodyInput::Loaded => "Loaded",
            CustodyInput::LoadFailed => "LoadFailed",
            CustodyInput::LeaseLost => "LeaseLost",
            CustodyInput::Revoked => "Revoked",
            CustodyInput::Erased => "Erased",
            CustodyInput::Tainted => "Tainted",
        }
    }
    let (now, session) = (Instant::from_millis(1), Digest::new([5; 32]));
    let inputs = [
        CustodyInput::Acquire { until: now },
        CustodyInput::EntriesComplete { session },
        CustodyInput::EvidenceCollected { sent: now, until: now, threshold: 2 },
        CustodyInput::Combined(combined(session)),
        CustodyInput::Loaded,
        CustodyInput::LeaseLost,
        CustodyInput::TooFew,
        CustodyInput::EvidenceFailed,
        CustodyInput::LoadFailed,
        CustodyInput::Revoked,
        CustodyInput::Erased,
        CustodyInput::Tainted,
    ];
    compare("custody", &STATES, &all_names(&inputs, name), Refusal::Stays, |state, input| {
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        let mut custody = Custody::default();
        for input in inputs.iter().take(steps).cloned() {
            custody.handle(input).expect("the way there");
        }
        assert_eq!(custody.state_name(), state);
        match custody.handle(named(&inputs, name, input)) {
            Err(_) => Did::Refuse(custody.state_name()),
            // What is wanted is its role's to ask; the stories of chapter 40 show it.
            Ok(()) => Did::Go(custody.state_name(), names(custody_wants(input))),
        }
    });
}

fn custody_wants(input: &str) -> &'static [&'static str] {
    match input {
        "Acquire" => &["Dial"],
        "EntriesComplete" => &["CollectEvidence"],
        "EvidenceCollected" => &["Transmit Request"],
        "Combined" => &["Load"],
        "LoadFailed" | "LeaseLost" | "Revoked" => &["Erase"],
        _ => &[],
    }
}

fn combined(session: Digest) -> Combined {
    let bench = Bench::new();
    let mut tally = Tally::new(session, 2);
    let mut add = |id| {
        let checked = bench.checked(id, session, terms());
        tally.add(&checked, &bench.ready(id), &bench.manifest, &mut device_suite())
    };
    add(1).expect("a good share");
    match add(2).expect("a good share") {
        Outcome::Combined(combined) => combined,
        Outcome::Waiting => panic!("two of two"),
    }
}

#[test]
fn rst_3_the_guard_follows_its_table() {
    const STATES: [&str; 5] = ["Tainted", "Zeroising", "Scrubbing", "Planting", "Clean"];
    fn name(input: &GuardInput) -> &'static str {
        match input {
            GuardInput::PoweredOn => "PoweredOn",
            GuardInput::HostRead => "HostRead",
            GuardInput::Tampered => "Tampered",
            GuardInput::Resumed => "Resumed",
            GuardInput::Zeroised => "Zeroised",
            GuardInput::Scrubbed => "Scrubbed",
            GuardInput::ScrubFailed => "ScrubFailed",
            GuardInput::Planted(_) => "Planted",
            GuardInput::PlantFailed => "PlantFailed",
        }
    }
    let inputs = [
        GuardInput::PoweredOn,
        GuardInput::Zeroised,
        GuardInput::Scrubbed,
        GuardInput::Planted(incarnation(1)),
        GuardInput::HostRead,
        GuardInput::Tampered,
        GuardInput::Resumed,
        GuardInput::ScrubFailed,
        GuardInput::PlantFailed,
    ];
    let step = |on_host_read, state: &str, input: &str| {
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        let mut guard = Guard::new(on_host_read);
        for input in &inputs[..steps] {
            guard.handle(*input).expect("the way there");
        }
        assert_eq!(guard.state_name(), state);
        match guard.handle(named(&inputs, name, input)) {
            Err(_) => Did::Refuse(guard.state_name()),
            Ok(GuardStep::Taint(effect) | GuardStep::Next(effect)) => {
                Did::Go(guard.state_name(), names(&[device_effect(&effect)]))
            }
            Ok(GuardStep::Stay | GuardStep::Clean(_) | GuardStep::Stuck) => {
                Did::Go(guard.state_name(), vec![])
            }
        }
    };
    let mut in_table: Vec<&str> =
        all_names(&inputs, name).into_iter().filter(|name| *name != "HostRead").collect();
    in_table.extend(["HostRead(Reset)", "HostRead(Block)"]);
    compare("guard", &STATES, &in_table, Refusal::Stays, |state, input| match input {
        "HostRead(Reset)" => step(OnHostRead::Reset, state, "HostRead"),
        "HostRead(Block)" => step(OnHostRead::Block, state, "HostRead"),
        other => {
            let did = step(OnHostRead::Reset, state, other);
            assert_eq!(did, step(OnHostRead::Block, state, other), "{state} | {other}");
            did
        }
    });
}

#[test]
fn rev_4_an_order_follows_its_table() {
    const STATES: [&str; 6] =
        ["Absent", "Draining", "Anchoring", "Destroying", "Acknowledging", "Acknowledged"];
    fn name(input: &ProgressInput) -> &'static str {
        match input {
            ProgressInput::Committed => "Committed",
            ProgressInput::Anchored => "Anchored",
            ProgressInput::Destroyed => "Destroyed",
            ProgressInput::Signed => "Signed",
        }
    }
    let inputs = [
        ProgressInput::Committed,
        ProgressInput::Anchored,
        ProgressInput::Destroyed,
        ProgressInput::Signed,
    ];
    let wants = |input: &str| match input {
        "Received" => names(&["Cancel", "DropAnswers", "Commit"]),
        "Committed" => names(&["Anchor"]),
        "Anchored" => names(&["DestroyHandles"]),
        "Destroyed" => names(&["Sign"]),
        _ => names(&["Transmit Acknowledged", "Transmit Notice"]),
    };
    let mut in_table = all_names(&inputs, name);
    in_table.push("Received");
    compare("order", &STATES, &in_table, Refusal::Stays, |state, input| {
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        // An absent order has no progress; to be received is to get one.
        let Some(steps) = steps.checked_sub(1) else {
            return match input {
                "Received" => Did::Go(Progress::default().state_name(), wants(input)),
                _ => Did::Refuse("Absent"),
            };
        };
        let mut progress = Progress::default();
        for input in &inputs[..steps] {
            progress.handle(*input).expect("the way there");
        }
        assert_eq!(progress.state_name(), state);
        if input == "Received" {
            return Did::Refuse(progress.state_name());
        }
        match progress.handle(named(&inputs, name, input)) {
            Err(_) => Did::Refuse(progress.state_name()),
            Ok(()) => Did::Go(progress.state_name(), wants(input)),
        }
    });
}

#[test]
fn aud_5_standing_follows_its_table() {
    const STATES: [&str; 4] = ["Unprovisioned", "Recovering", "Activating", "Serving"];
    fn name(input: &StandingInput) -> &'static str {
        match input {
            StandingInput::Provisioned => "Provisioned",
            StandingInput::Activate => "Activate",
            StandingInput::Anchored => "Anchored",
            StandingInput::Fenced => "Fenced",
        }
    }
    let inputs = [
        StandingInput::Provisioned,
        StandingInput::Activate,
        StandingInput::Anchored,
        StandingInput::Fenced,
    ];
    let wants = |input: &str| match input {
        "Provisioned" => names(&["Transmit Provisioned"]),
        "Activate" => names(&["Commit", "Anchor"]),
        "Anchored" => names(&["Transmit Activated"]),
        _ => vec![],
    };
    compare("standing", &STATES, &all_names(&inputs, name), Refusal::Stays, |state, input| {
        let steps = STATES.iter().position(|of| *of == state).expect("one of these");
        let mut standing = Standing::default();
        for input in &inputs[..steps] {
            standing.handle(*input).expect("the way there");
        }
        assert_eq!(standing.state_name(), state);
        match standing.handle(named(&inputs, name, input)) {
            Err(_) => Did::Refuse(standing.state_name()),
            Ok(()) => Did::Go(standing.state_name(), wants(input)),
        }
    });
}

/// A custodian's lease that was renewed once, at this instant.
struct Leased {
    ledger: Ledger,
    now: Instant,
}

const LEASE: LeaseId = LeaseId::new([1; 16]);
const MARGIN: Span = Span::from_millis(500);
const TTL_MAX: Span = Span::from_millis(12_000);

impl Leased {
    fn live() -> Self {
        let now = Instant::from_millis(1_000_000);
        let mut ledger = Ledger::default();
        ledger.insert(now, record(LEASE), now, MARGIN);
        let mut leased = Self { ledger, now };
        let renewed = leased.renew(1, Serving::Yes);
        let Ok(RenewDecision::Commit { counter, answer, lapse }) = renewed else {
            panic!("a first renewal, not {renewed:?}");
        };
        leased.ledger.renewed(&LEASE, counter, answer, lapse);
        leased
    }

    fn renew(&mut self, counter: u64, serving: Serving) -> Result<RenewDecision, Violation> {
        let input = RenewInput {
            now: self.now,
            device_leaf: bench::leaf(),
            custodian_leaf: bench::peer_leaf(),
            serving,
            coverage: Coverage::Clear,
        };
        let request = Renew { lease: LEASE, counter: Counter::new(counter), used: 0 };
        self.ledger.decide(&request, &input, TTL_MAX, MARGIN)
    }

    fn state(&self) -> &'static str {
        // What lapsed may be forgotten: then it is dead all the same.
        self.ledger.get(&LEASE).map_or("Dead", |lease| lease.state_name(self.now))
    }

    fn take(&mut self, input: &str) -> Did {
        let answered = match input {
            "Renew(next)" => Some(self.renew(2, Serving::Yes)),
            "Renew(last)" => Some(self.renew(1, Serving::Yes)),
            "Renew(denied)" => Some(self.renew(2, Serving::No)),
            "Superseded" => {
                let newer = record(LeaseId::new([2; 16]));
                self.ledger.insert(self.now, newer, self.now, MARGIN);
                None
            }
            "Revoked" => {
                self.ledger.revoke(|_| true);
                None
            }
            _ if self.state() == "Dead" => return Did::Refuse("Dead"), // it lapses once
            _ => {
                self.now = self.ledger.get(&LEASE).expect("the lease").lapse();
                None
            }
        };
        let said = |frame: &[u8]| match Message::from_frame(frame) {
            Ok(Message::Renewal(renewal)) => renewal.answer,
            other => panic!("a renewal, not {other:?}"),
        };
        let wants = match answered {
            None => vec![],
            Some(Err(_)) => return Did::Refuse(self.state()),
            Some(Ok(RenewDecision::Commit { answer, .. })) => {
                assert_eq!(said(&answer), RenewalAnswer::Renewed);
                names(&["Commit", "Transmit Renewal(renewed)"])
            }
            Some(Ok(RenewDecision::Repeat(_))) => names(&["Transmit Renewal(stored)"]),
            Some(Ok(RenewDecision::End(answer))) => {
                assert_eq!(said(&answer), RenewalAnswer::Ended);
                names(&["Transmit Renewal(ended)"])
            }
        };
        Did::Go(self.state(), wants)
    }
}

fn record(lease: LeaseId) -> LeaseRecord {
    LeaseRecord {
        lease,
        device: crate::pair::owner::enrolled(),
        incarnation: incarnation(1),
        manifest: Digest::new([1; 32]),
        device_leaf: bench::leaf(),
        custodian_leaf: bench::peer_leaf(),
        terms: terms(),
        chain: vec![],
    }
}

#[test]
fn lea_11_a_lease_at_its_custodian_follows_its_table() {
    // Every way into a state: what it does afterwards is the same.
    let ways = |state: &str| match state {
        "Live" => vec![vec![]],
        "Ending" => vec![vec!["Superseded"], vec!["Revoked"], vec!["Renew(denied)"]],
        _ => vec![vec!["Lapsed"], vec!["Superseded", "Lapsed"], vec!["Revoked", "Lapsed"]],
    };
    let inputs = ["Renew(next)", "Renew(last)", "Renew(denied)", "Superseded", "Revoked", "Lapsed"];
    compare(
        "lease-custodian",
        &["Live", "Ending", "Dead"],
        &inputs,
        Refusal::Stays,
        |state, input| {
            let mut did = ways(state).into_iter().map(|way| {
                let mut leased = Leased::live();
                for input in way {
                    leased.take(input);
                }
                assert_eq!(leased.state(), state);
                leased.take(input)
            });
            let first = did.next().expect("a way");
            assert!(did.all(|other| other == first), "{state} | {input}");
            first
        },
    );
}

/// A device's lease and its clock.
struct Holding {
    holder: Holder,
    entry: ReadyEntry,
    now: Instant,
}

impl Holding {
    fn counting() -> Self {
        let bench = Bench::new();
        let now = Instant::from_millis(1_000_000);
        let mut holder = Holder::new(1, MARGIN);
        let (checked, entry) = (bench.checked(1, Digest::new([5; 32]), terms()), bench.ready(1));
        holder.add(now, &checked, &entry, now);
        Self { holder, entry, now }
    }

    fn held(&self) -> &Held {
        self.holder.leases().next().expect("the lease").1
    }

    fn state(&self) -> &'static str {
        self.held().state_name(self.now)
    }

    fn take(&mut self, input: &str) -> Did {
        let answer = match input {
            "RenewSent" => {
                // Enough for a first asking and for a retry, and within the first term.
                self.now = self.now.after(Span::from_millis(2_000));
                let sent = self.holder.due(self.now);
                let asks = sent.iter().map(|(_, frame)| transmit(frame)).collect::<Vec<_>>();
                return match asks.is_empty() {
                    true => Did::Refuse(self.state()),
                    false => Did::Go(self.state(), asks),
                };
            }
            "TermOver" if self.state() == "Over" => return Did::Refuse("Over"), // it ends once
            "TermOver" => {
                self.now = self.held().end();
                return Did::Go(self.state(), vec![]);
            }
            "Renewed" => RenewalAnswer::Renewed,
            "Ended" => RenewalAnswer::Ended,
            _ => RenewalAnswer::Retry,
        };
        let leaves = (self.entry.device_leaf, self.entry.custodian_leaf);
        let answer = renewal(1, 1, answer);
        let id = CustodianId::new(1);
        match self.holder.on_renewal(self.now, id, &answer, leaves, TTL_MAX) {
            Err(violation) => {
                assert_eq!(violation, Violation::RenewalUnanswered);
                Did::Refuse(self.state())
            }
            Ok(RenewalCheck::Renewed(_) | RenewalCheck::Ended | RenewalCheck::Retry) => {
                Did::Go(self.state(), vec![])
            }
        }
    }
}

#[test]
fn lea_7_a_lease_on_its_device_follows_its_table() {
    let way = |state: &str| match state {
        "Counting" => vec![],
        "Renewing" => vec!["RenewSent"],
        "Ending" => vec!["RenewSent", "Ended"],
        _ => vec!["RenewSent", "TermOver"],
    };
    compare(
        "lease-device",
        &["Counting", "Renewing", "Ending", "Over"],
        &["RenewSent", "Renewed", "Ended", "Retry", "TermOver"],
        Refusal::Stays,
        |state, input| {
            let mut holding = Holding::counting();
            for input in way(state) {
                holding.take(input);
            }
            assert_eq!(holding.state(), state);
            if (state, input) == ("Renewing", "RenewSent") {
                // A retry comes after a third of the term; here that is past the first term.
                holding.holder.reconnected(holding.now, CustodianId::new(1));
            }
            holding.take(input)
        },
    );
}

#[test]
fn lea_7_an_answer_that_was_never_awaited_revives_no_lease() {
    let mut asked_nothing = Holding::counting();
    asked_nothing.take("TermOver");
    assert_eq!(asked_nothing.take("Renewed"), Did::Refuse("Over"));
    let mut ended = Holding::counting();
    ended.take("RenewSent");
    ended.take("Ended");
    ended.take("TermOver");
    assert_eq!(ended.take("Renewed"), Did::Refuse("Over"));
}

#[test]
fn every_table_is_compared() {
    let source = include_str!("tables.rs");
    let compared: Vec<&str> = table::NAMES
        .into_iter()
        .filter(|name| {
            let call = format!("\"{name}\",");
            source
                .lines()
                .any(|line| line.trim_start().starts_with("compare(\"") && line.contains(&call))
                || source.lines().any(|line| line.trim() == call)
        })
        .collect();
    assert_eq!(compared, table::NAMES);
}

/// A machine of one transition, and whatever its table says of it.
fn door(text: &str) -> Vec<String> {
    let tables = table::parse(text).expect("a well-formed table");
    differences(&tables[0], &["Open", "Shut"], &["Push", "Pull"], Refusal::Stays, |state, input| {
        match (state, input) {
            ("Open", "Push") => Did::Go("Shut", names(&["Click"])),
            ("Shut", _) => Did::Refuse("Shut"),
            _ => Did::Refuse("Open"),
        }
    })
}

const DOOR: &str = "<!-- table: door -->\n| State | Input | Next | Output |\n| - | - | - | - |\n";

#[test]
fn a_row_that_fits_is_no_difference() {
    assert_eq!(door(&format!("{DOOR}| Open | Push | Shut | Click |\n")), [""; 0]);
}

#[test]
fn a_row_too_many_is_a_difference() {
    let rows = "| Open | Push | Shut | Click |\n| Shut | Pull | Open | - |\n";
    assert_eq!(door(&format!("{DOOR}{rows}")).len(), 1);
}

#[test]
fn a_row_too_few_is_a_difference() {
    assert_eq!(door(&format!("{DOOR}| Shut | Pull | Shut | - |\n")).len(), 2);
}

#[test]
fn a_row_with_another_next_state_is_a_difference() {
    assert_eq!(door(&format!("{DOOR}| Open | Push | Open | Click |\n")).len(), 1);
}

#[test]
fn a_row_with_another_output_is_a_difference() {
    assert_eq!(door(&format!("{DOOR}| Open | Push | Shut | Bang |\n")).len(), 1);
}

#[test]
fn a_row_of_an_unknown_input_is_a_difference() {
    let rows = "| Open | Push | Shut | Click |\n| Open | Kick | Shut | - |\n";
    assert_eq!(door(&format!("{DOOR}{rows}")), ["no such input `Kick`"]);
}

#[test]
fn transcript_of_the_bench_is_the_protocols() {
    // The bench computes S with the protocol's own function; a verifier agrees with it.
    let bench = Bench::new();
    let challenge = bench.challenged(&mut bench.verifier());
    let request = bench.request(&challenge);
    let session = transcript::session(
        &mut device_suite(),
        &request.manifest,
        &request.device,
        &request.incarnation,
        request.entries.as_slice(),
    );
    assert_eq!(bench.proof().expect("a proof").session(), &session);
}
