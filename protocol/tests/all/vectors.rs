//! The shipped codec and transcripts against the vectors of the specification.

use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use split_custody_protocol::DecodeError;
use split_custody_protocol::ids::{
    Budget, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
    ShareSetId, WeightsId, WeightsVersion,
};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, Bytes, DekHandle, DeviceId, DeviceSecret, Differs, Digest,
    Exporter, Incarnation, InvalidKey, Label, LeafKey, Nonce, NotOpened, SealedShare, ShareHandle,
    SharePlace, Signature, Suite, SuiteId, VerifyKey,
};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::evidence::Entry;
use split_custody_protocol::wire::grant::{GrantStatement, Terms};
use split_custody_protocol::wire::manifest::{Deployment, Manifest};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Acknowledgement, Approvals, DeadStatement, Order, Verb};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::{Activation, ProvisionStatement};

const WIRE: &str = include_str!("../../../spec/vectors/wire.json");
const TRANSCRIPT: &str = include_str!("../../../spec/vectors/transcript.json");

/// The one primitive that the vectors of transcripts need.
struct Sha;

impl Suite for Sha {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        let mut state = Sha256::new();
        for part in [label.text().as_bytes()].iter().chain(fields) {
            state.update(u32::try_from(part.len()).expect("a short field").to_be_bytes());
            state.update(part);
        }
        Digest::new(state.finalize().into())
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        if a == b { Ok(()) } else { Err(Differs) }
    }

    fn fresh(&mut self, _: u64) -> Nonce {
        unimplemented!("vectors draw nothing")
    }

    fn generate(&mut self, _: SuiteId, _: u64) -> (DeviceSecret, AgreementKey) {
        unimplemented!("vectors draw nothing")
    }

    fn verify(&mut self, _: &VerifyKey, _: &[u8], _: &Signature) -> Result<(), BadSignature> {
        Err(BadSignature)
    }

    fn validate_key(&mut self, _: SuiteId, _: &AgreementKey) -> Result<(), InvalidKey> {
        Err(InvalidKey)
    }

    fn open_share(
        &mut self,
        _: SuiteId,
        _: DeviceSecret,
        _: &Digest,
        _: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        Err(NotOpened)
    }

    fn check_share(&mut self, _: ShareHandle, _: SharePlace, _: &Digest) -> Result<(), Differs> {
        Err(Differs)
    }

    fn combine(&mut self, _: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        Err(NotOpened)
    }

    fn check_dek(
        &mut self,
        _: DekHandle,
        _: WeightsId,
        _: WeightsVersion,
        _: &Digest,
    ) -> Result<(), Differs> {
        Err(Differs)
    }
}

fn cases(file: &str) -> Vec<Json> {
    serde_json::from_str(file).expect("a list of cases")
}

fn case(file: &str, name: &str) -> Json {
    let found = cases(file).into_iter().find(|case| case["name"] == name);
    found.unwrap_or_else(|| panic!("no case `{name}`"))
}

fn unhex(value: &Json) -> Vec<u8> {
    let text = value.as_str().expect("a string of hex");
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn array<const N: usize>(value: &Json) -> [u8; N] {
    unhex(value).try_into().expect("as many bytes as its type has")
}

fn number(value: &Json) -> u64 {
    value.as_u64().expect("an unsigned number")
}

fn byte(value: &Json) -> u8 {
    u8::try_from(number(value)).expect("one byte")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a refusal's reason is to this codec, which tells fewer of them apart.
fn error_for(name: &str, reason: &str) -> DecodeError {
    match (name, reason) {
        // The header has to be empty, whatever stands in it.
        ("header_unprotected", _) => DecodeError::Malformed,
        (_, reason) => error_for_reason(reason),
    }
}

fn error_for_reason(reason: &str) -> DecodeError {
    match reason {
        "non-minimal-integer"
        | "duplicate-key"
        | "unordered-keys"
        | "trailing-bytes"
        | "unknown-key" => DecodeError::NotCanonical,
        "wrong-version" => DecodeError::UnknownVersion,
        "unknown-type" => DecodeError::UnknownType,
        _ => DecodeError::Malformed,
    }
}

#[test]
fn wire_2_every_accepted_vector_is_decoded_field_by_field() {
    let accepted: Vec<Json> =
        cases(WIRE).into_iter().filter(|case| !case["expect"]["accept"].is_null()).collect();
    assert_eq!(accepted.len(), 19, "one for each message of the registry");
    for case in accepted {
        let frame = unhex(&case["input"]);
        let message = Message::from_frame(&frame).unwrap_or_else(|error| panic!("{error} {case}"));
        let expect = &case["expect"]["accept"];
        assert_eq!(json!(message.kind() as u16), expect["type"], "{}", case["name"]);
        assert_eq!(fields(&message), expect["fields"], "{}", case["name"]);
        assert_eq!(message.to_frame(), frame, "{}", case["name"]);
    }
}

#[test]
fn wire_2_every_hostile_vector_is_refused_for_its_kind() {
    let refused: Vec<Json> =
        cases(WIRE).into_iter().filter(|case| case["expect"]["at"] == "frame").collect();
    assert!(refused.len() > 25, "{}", refused.len());
    let wrong = refused.iter().filter_map(|case| {
        let reason = case["expect"]["refuse"].as_str().expect("a reason");
        let did = Message::from_frame(&unhex(&case["input"])).err();
        let name = case["name"].as_str().expect("a name");
        (did != Some(error_for(name, reason))).then(|| format!("{}: {did:?}", case["name"]))
    });
    assert_eq!(wrong.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn wire_1_a_payload_that_is_no_order_is_refused_after_its_signature() {
    let case = case(WIRE, "unknown_verb");
    assert_eq!(case["expect"]["at"], "payload");
    let message = Message::from_frame(&unhex(&case["input"])).expect("a well-formed frame");
    let Message::Submit(submit) = message else { panic!("{message:?}") };
    let order = submit.approvals.as_slice()[0].payload::<Order>();
    assert_eq!(order, Err(DecodeError::Malformed));
}

#[test]
fn wire_6_the_hashes_of_one_exchange_agree_with_the_reference() {
    let case = case(TRANSCRIPT, "one_exchange");
    let (input, suite) = (&case["input"], &mut Sha);
    let (hello, challenge) = (unhex(&input["hello"]), unhex(&input["challenge"]));
    let request = unhex(&input["request"]);
    let manifest = Digest::new(array(&input["manifest"]));
    let device = DeviceId::new(array(&input["device"]));
    let device_key = AgreementKey::new(unhex(&input["device-key"])).expect("a key");
    let suite_id = SuiteId::new(u16::try_from(number(&input["suite"])).expect("a suite"));
    let custodian = CustodianId::new(byte(&input["custodian"]));
    let incarnation = Incarnation::new(array(&case["expect"]["incarnation"]));

    let th1 = transcript::th1(suite, &hello, &challenge);
    let entry = transcript::entry(
        suite,
        &EntryInput {
            exporter: &Exporter::new(array(&input["exporter"])),
            device_leaf: &LeafKey::new(array(&input["device-leaf"])),
            custodian_leaf: &LeafKey::new(array(&input["custodian-leaf"])),
            th1: &th1,
            suite: suite_id,
            device_key: &device_key,
        },
    );
    let other = Entry {
        custodian: CustodianId::new(byte(&input["other-entry"]["custodian"])),
        digest: Digest::new(array(&input["other-entry"]["digest"])),
    };
    let entries = [Entry { custodian, digest: entry }, other];
    let session = transcript::session(suite, &manifest, &device, &incarnation, &entries);
    let th2 = transcript::th2(suite, &th1, &request);
    let terms = &input["terms"];
    let key_digest = transcript::device_key(suite, &device_key);
    let statement = GrantStatement {
        session,
        th2,
        suite: suite_id,
        custodian,
        generation: Generation::new(number(&input["generation"])),
        lease: LeaseId::new(array(&input["lease"])),
        set: ShareSetId::new(array(&input["share-set"])),
        index: ShareIndex::new(byte(&input["index"])),
        manifest,
        device_key: key_digest,
        incarnation,
        terms: Terms {
            first: Span::from_millis(number(&terms["first"])),
            term: Span::from_millis(number(&terms["term"])),
            budget: Budget::new(number(&terms["budget"])),
            max_age: Span::from_millis(number(&terms["max-age"])),
        },
        epoch: Epoch::new(number(&input["epoch"])),
        policy: PolicyVersion::new(number(&input["policy-version"])),
        index_in_log: LogIndex::new(number(&input["log-index"])),
        sealed: Digest::new([0; 32]),
    };
    let auth = transcript::auth(suite, &statement);
    let ctx = transcript::grant_context(suite, &auth, statement.index_in_log);
    let gpu = unhex(&input["gpu-evidence"]);
    let computed = json!({
        "exporter-context": transcript::exporter_context(suite, &hello).to_string(),
        "th1": th1.to_string(),
        "e": entry.to_string(),
        "S": session.to_string(),
        "gpu": transcript::gpu_nonce(suite, &session).to_string(),
        "cpu": transcript::cpu_data(suite, &session, &gpu).to_string(),
        "th2": th2.to_string(),
        "device-key-digest": key_digest.to_string(),
        "auth": auth.to_string(),
        "ctx": ctx.to_string(),
        "incarnation": incarnation.to_string(),
    });
    assert_eq!(computed, case["expect"]);
}

#[test]
fn wire_5_the_other_hashes_agree_with_the_reference() {
    let case = case(TRANSCRIPT, "other_hashes");
    let (input, expect, suite) = (&case["input"], &case["expect"], &mut Sha);
    let weights = WeightsId::new(array(&input["weights"]));
    let version = WeightsVersion::new(number(&input["version"]));
    let set = ShareSetId::new(array(&input["share-set"]));
    let custodian = CustodianId::new(byte(&input["custodian"]));
    let index = ShareIndex::new(byte(&input["index"]));
    let sealed = Bytes::new(unhex(&input["sealed"])).expect("a sealed share");
    let kek = suite.hash(Label::Kek, &[&unhex(&input["kek"])]);
    let manifest = suite.hash(Label::Manifest, &[&unhex(&input["manifest"])]);
    let policy = number(&input["policy-version"]).to_be_bytes();
    let context = transcript::provision_context(suite, &manifest, &set, custodian, index, &kek);
    let computed = json!({
        "manifest-digest": manifest.to_string(),
        "kek-digest": kek.to_string(),
        "order-digest": suite.hash(Label::Order, &[&unhex(&input["order"])]).to_string(),
        "sealed-digest": transcript::sealed(suite, &sealed).to_string(),
        "weights-subject": transcript::weights_subject(suite, weights, version).to_string(),
        "policy-subject": suite.hash(Label::Policy, &[&policy]).to_string(),
        "everything-subject": suite.hash(Label::Everything, &[set.as_bytes()]).to_string(),
        "audit-leaf": suite.hash(Label::Leaf, &[&unhex(&input["leaf"])]).to_string(),
        "provision-context": context.to_string(),
    });
    for (name, value) in computed.as_object().expect("an object") {
        assert_eq!(value, &expect[name], "{name}");
    }
}

#[test]
fn wire_4_the_signed_bytes_agree_with_the_reference() {
    let case = case(TRANSCRIPT, "other_hashes");
    let message = Signed::message_over(ObjectKind::Order, &unhex(&case["input"]["order"]));
    assert_eq!(hex(&message), case["expect"]["order-sig-structure"]);
}

fn text(value: impl ToString) -> Json {
    json!(value.to_string())
}

fn texts<T: ToString>(values: &[T]) -> Json {
    values.iter().map(|value| json!(value.to_string())).collect()
}

fn object(name: &str, payload: Json) -> Json {
    json!({ "object": name, "payload": payload })
}

/// A message as the vectors write it.
fn fields(message: &Message) -> Json {
    match message {
        Message::Hello(m) => json!({
            "versions": m.versions.as_slice(), "suites": suites(m.suites.as_slice()),
            "deployment": text(m.deployment), "weights": text(m.weights),
            "weights-version": m.version.value(), "device": text(m.device),
        }),
        Message::Challenge(m) => json!({
            "custodian": m.custodian.value(), "generation": m.generation.value(),
            "nonce": text(m.nonce), "version": m.version, "suite": m.suite.value(),
        }),
        Message::Request(m) => json!({
            "manifest": text(m.manifest), "device": text(m.device),
            "incarnation": text(m.incarnation), "device-key": hex(m.device_key.as_bytes()),
            "entries": m.entries.iter().map(|entry| json!({
                "custodian": entry.custodian.value(), "digest": text(entry.digest),
            })).collect::<Vec<_>>(),
            "evidence": {
                "kind": m.evidence.kind.value(), "gpu": hex(m.evidence.gpu.as_bytes()),
                "cpu": hex(m.evidence.cpu.as_bytes()),
            },
        }),
        Message::Grant(m) => json!({
            "statement": object("grant", grant(&m.statement)), "sealed": hex(m.sealed.as_bytes()),
        }),
        Message::Refused(m) => json!({ "correlation": text(m.correlation) }),
        Message::Renew(m) => json!({
            "lease": text(m.lease), "counter": m.counter.value(), "used": m.used,
        }),
        Message::Renewal(m) => json!({
            "lease": text(m.lease), "counter": m.counter.value(), "answer": m.answer as u8 + 1,
            "term": m.term.as_millis(), "budget": m.budget.value(),
        }),
        Message::Submit(m) => json!({ "approvals": orders(&m.approvals) }),
        Message::Notice(m) => json!({ "approvals": orders(&m.approvals) }),
        Message::Acknowledged(m) => {
            let said: Acknowledgement = m.statement.payload().expect("an acknowledgement");
            json!({ "statement": object("acknowledgement", json!({
                "order": text(said.order), "custodian": said.custodian.value(),
                "generation": said.generation.value(), "manifest": text(said.manifest),
                "epoch": said.epoch.value(),
            })) })
        }
        Message::AwaitDead(m) => json!({ "order": text(m.order) }),
        Message::Dead(m) => {
            let said: DeadStatement = m.statement.payload().expect("a statement");
            json!({ "statement": object("dead", json!({
                "order": text(said.order), "custodian": said.custodian.value(),
                "generation": said.generation.value(),
            })) })
        }
        Message::Superseded(m) => json!({ "order": text(m.order) }),
        Message::Query(m) => json!({ "deployment": text(m.deployment) }),
        Message::Status(m) => json!({
            "custodian": m.custodian.value(), "generation": m.generation.value(),
            "epoch": m.epoch.value(), "standing": m.standing as u8 + 1, "nonce": text(m.nonce),
            "manifest": text(m.manifest), "orders": texts(m.orders.as_slice()),
        }),
        Message::Activate(m) => json!({ "approvals": activations(&m.approvals) }),
        Message::Activated(m) => json!({
            "custodian": m.custodian.value(), "generation": m.generation.value(),
            "epoch": m.epoch.value(),
        }),
        Message::Provision(m) => json!({
            "statement": object("provision", provision(&m.statement)),
            "manifest": object("manifest", manifest(&m.manifest)),
            "deployment": object("deployment", deployment(&m.deployment)),
            "sealed": hex(m.sealed.as_bytes()),
        }),
        Message::Provisioned(m) => json!({
            "custodian": m.custodian.value(), "manifest": text(m.manifest),
        }),
    }
}

fn suites(ids: &[SuiteId]) -> Vec<u16> {
    ids.iter().map(|id| id.value()).collect()
}

fn terms(terms: &Terms) -> Json {
    json!({
        "first": terms.first.as_millis(), "term": terms.term.as_millis(),
        "budget": terms.budget.value(), "max-age": terms.max_age.as_millis(),
    })
}

fn grant(signed: &Signed) -> Json {
    let said: GrantStatement = signed.payload().expect("a grant statement");
    json!({
        "session": text(said.session), "th2": text(said.th2), "suite": said.suite.value(),
        "custodian": said.custodian.value(), "generation": said.generation.value(),
        "lease": text(said.lease), "share-set": text(said.set), "index": said.index.value(),
        "manifest": text(said.manifest), "device-key": text(said.device_key),
        "incarnation": text(said.incarnation), "terms": terms(&said.terms),
        "epoch": said.epoch.value(), "policy-version": said.policy.value(),
        "log-index": said.index_in_log.value(), "sealed": text(said.sealed),
    })
}

fn orders(approvals: &Approvals) -> Vec<Json> {
    let order = |signed: &Signed| {
        let said: Order = signed.payload().expect("an order");
        let verb = match said.verb {
            Verb::Revoke => 1,
            Verb::Admit => 2,
        };
        object(
            "order",
            json!({
                "deployment": text(said.deployment), "verb": verb, "serial": said.serial.value(),
                "subject": { "kind": said.subject.kind as u8 + 1, "value": text(said.subject.value) },
            }),
        )
    };
    approvals.iter().map(order).collect()
}

fn activations(approvals: &Approvals) -> Vec<Json> {
    let activation = |signed: &Signed| {
        let said: Activation = signed.payload().expect("an activation");
        object(
            "activation",
            json!({
                "deployment": text(said.deployment), "custodian": said.custodian.value(),
                "share-set": text(said.set), "manifest": text(said.manifest),
                "nonce": text(said.nonce), "orders": texts(said.orders.as_slice()),
            }),
        )
    };
    approvals.iter().map(activation).collect()
}

fn provision(signed: &Signed) -> Json {
    let said: ProvisionStatement = signed.payload().expect("a provision statement");
    json!({
        "manifest": text(said.manifest), "share-set": text(said.set),
        "custodian": said.custodian.value(), "index": said.index.value(), "kek": text(said.kek),
        "sealed": text(said.sealed), "version-floor": said.floor.value(),
    })
}

fn manifest(signed: &Signed) -> Json {
    let said: Manifest = signed.payload().expect("a manifest");
    let policy = &said.policy;
    json!({
        "deployment": text(said.deployment), "weights": text(said.weights),
        "version": said.version.value(), "container": text(said.container),
        "dek-commitment": text(said.dek), "share-set": text(said.set), "k": said.k, "n": said.n,
        "f": said.f, "table": text(said.table), "root": text(said.root),
        "ttl-max": said.ttl_max.as_millis(),
        "custodians": said.custodians.iter().map(|entry| json!({
            "id": entry.id.value(), "grant-key": text(entry.grant_key),
            "suites": suites(entry.suites.as_slice()), "index": entry.index.value(),
            "share-commitment": text(entry.commitment), "kek": text(entry.kek),
        })).collect::<Vec<_>>(),
        "policy": {
            "version": policy.version.value(),
            "kinds": policy.kinds.iter().map(|kind| kind.value()).collect::<Vec<_>>(),
            "measurements": texts(policy.measurements.as_slice()),
            "modes": policy.modes.as_slice(), "first": policy.first.as_millis(),
            "term": policy.term.as_millis(), "budget": policy.budget.value(),
            "max-age": policy.max_age.as_millis(), "gather": policy.gather.as_millis(),
            "margin": policy.margin.as_millis(),
            "challenge-max": policy.challenge_max.as_millis(),
        },
        "earlier-sets": said.earlier.iter().map(|set| json!({
            "share-set": text(set.set), "n": set.n, "k": set.k, "f": set.f,
            "manifest": text(set.manifest),
        })).collect::<Vec<_>>(),
    })
}

fn deployment(signed: &Signed) -> Json {
    let said: Deployment = signed.payload().expect("a deployment");
    json!({
        "deployment": text(said.deployment), "version": said.version,
        "operators": texts(said.operators.as_slice()), "m-revoke": said.m_revoke,
        "m-change": said.m_change, "devices": texts(said.devices.as_slice()),
        "issuers": texts(said.issuers.as_slice()),
    })
}
