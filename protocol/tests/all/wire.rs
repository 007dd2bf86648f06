//! Stories of chapter 10: round trips of every message, one snapshot of each, and hostile lengths.

use proptest::collection::vec;
use proptest::prelude::*;
use split_custody_protocol::DecodeError;
use split_custody_protocol::ids::{
    Budget, CorrelationId, Counter, CustodianId, DeploymentId, Epoch, Generation, LeaseId,
    ShareIndex, ShareSetId, WeightsId, WeightsVersion,
};
use split_custody_protocol::suite::{
    AgreementKey, Bytes, DeviceId, Digest, Incarnation, Nonce, SealedShare, Signature, SuiteId,
};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::challenge::Challenge;
use split_custody_protocol::wire::codec::{self, List};
use split_custody_protocol::wire::evidence::{Entry, Evidence, EvidenceKind, Request};
use split_custody_protocol::wire::grant::{Grant, Refused};
use split_custody_protocol::wire::hello::Hello;
use split_custody_protocol::wire::lease::{Renew, Renewal, RenewalAnswer};
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::{
    Acknowledged, Approvals, AwaitDead, Dead, Notice, Order, Subject, SubjectKind, Submit,
    Superseded, Verb,
};
use split_custody_protocol::wire::signed::Signed;
use split_custody_protocol::wire::standing::{
    Activate, Activated, Provision, ProvisionStatement, Provisioned, Query, StandingCode, Status,
};
use split_custody_protocol::wire::{decode, encode};

fn list<T, const MIN: usize, const MAX: usize>(items: Vec<T>) -> List<T, MIN, MAX> {
    List::new(items).expect("within the bounds of the list")
}

fn bytes<const CAP: usize>(bytes: Vec<u8>) -> Bytes<CAP> {
    Bytes::new(bytes).expect("within the cap")
}

prop_compose! {
    fn digest()(raw in any::<[u8; 32]>()) -> Digest { Digest::new(raw) }
}

prop_compose! {
    fn custodian()(id in any::<u8>()) -> CustodianId { CustodianId::new(id) }
}

prop_compose! {
    fn generation()(value in any::<u64>()) -> Generation { Generation::new(value) }
}

prop_compose! {
    fn epoch()(value in any::<u64>()) -> Epoch { Epoch::new(value) }
}

prop_compose! {
    fn deployment()(raw in any::<[u8; 16]>()) -> DeploymentId { DeploymentId::new(raw) }
}

prop_compose! {
    fn lease()(raw in any::<[u8; 16]>()) -> LeaseId { LeaseId::new(raw) }
}

prop_compose! {
    fn suite_id()(value in any::<u16>()) -> SuiteId { SuiteId::new(value) }
}

prop_compose! {
    fn signed()(payload in vec(any::<u8>(), 1..200), low in any::<[u8; 32]>(),
                high in any::<[u8; 32]>()) -> Signed {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&low);
        signature[32..].copy_from_slice(&high);
        Signed::new(payload, Signature::new(signature))
    }
}

prop_compose! {
    fn approvals()(items in vec(signed(), 1..=16)) -> Approvals { list(items) }
}

prop_compose! {
    fn sealed()(raw in vec(any::<u8>(), 1..=512)) -> SealedShare { bytes(raw) }
}

prop_compose! {
    fn hello()(versions in vec(any::<u16>(), 1..=8), suites in vec(suite_id(), 1..=16),
               deployment in deployment(), weights in any::<[u8; 16]>(), version in any::<u64>(),
               device in any::<[u8; 32]>()) -> Hello {
        Hello {
            versions: list(versions),
            suites: list(suites),
            deployment,
            weights: WeightsId::new(weights),
            version: WeightsVersion::new(version),
            device: DeviceId::new(device),
        }
    }
}

prop_compose! {
    fn challenge()(custodian in custodian(), generation in generation(),
                   nonce in any::<[u8; 32]>(), version in any::<u16>(),
                   suite in suite_id()) -> Challenge {
        Challenge { custodian, generation, nonce: Nonce::new(nonce), version, suite }
    }
}

prop_compose! {
    fn entry()(custodian in custodian(), digest in digest()) -> Entry {
        Entry { custodian, digest }
    }
}

prop_compose! {
    fn evidence()(kind in any::<u16>(), gpu in vec(any::<u8>(), 1..400),
                  cpu in vec(any::<u8>(), 1..400)) -> Evidence {
        Evidence { kind: EvidenceKind::new(kind), gpu: bytes(gpu), cpu: bytes(cpu) }
    }
}

prop_compose! {
    fn request()(manifest in digest(), device in any::<[u8; 32]>(),
                 incarnation in any::<[u8; 32]>(), entries in vec(entry(), 1..12),
                 key in vec(any::<u8>(), 1..=133), evidence in evidence()) -> Request {
        Request {
            manifest,
            device: DeviceId::new(device),
            incarnation: Incarnation::new(incarnation),
            entries: list(entries),
            device_key: bytes(key),
            evidence,
        }
    }
}

prop_compose! {
    fn grant()(statement in signed(), sealed in sealed()) -> Grant { Grant { statement, sealed } }
}

prop_compose! {
    fn refused()(raw in any::<[u8; 16]>()) -> Refused {
        Refused { correlation: CorrelationId::new(raw) }
    }
}

prop_compose! {
    fn renew()(lease in lease(), counter in any::<u64>(), used in any::<u64>()) -> Renew {
        Renew { lease, counter: Counter::new(counter), used }
    }
}

fn answer() -> impl Strategy<Value = RenewalAnswer> {
    prop_oneof![
        Just(RenewalAnswer::Renewed),
        Just(RenewalAnswer::Ended),
        Just(RenewalAnswer::Retry)
    ]
}

prop_compose! {
    fn renewal()(lease in lease(), counter in any::<u64>(), answer in answer(),
                 term in any::<u64>(), budget in any::<u64>()) -> Renewal {
        Renewal {
            lease,
            counter: Counter::new(counter),
            answer,
            term: Span::from_millis(term),
            budget: Budget::new(budget),
        }
    }
}

fn standing() -> impl Strategy<Value = StandingCode> {
    prop_oneof![
        Just(StandingCode::Unprovisioned),
        Just(StandingCode::Recovering),
        Just(StandingCode::Serving)
    ]
}

prop_compose! {
    fn status()(custodian in custodian(), generation in generation(), epoch in epoch(),
                standing in standing(), nonce in any::<[u8; 32]>(), manifest in digest(),
                orders in vec(digest(), 0..20)) -> Status {
        Status {
            custodian,
            generation,
            epoch,
            standing,
            nonce: Nonce::new(nonce),
            manifest,
            orders: list(orders),
        }
    }
}

prop_compose! {
    fn activated()(custodian in custodian(), generation in generation(),
                   epoch in epoch()) -> Activated {
        Activated { custodian, generation, epoch }
    }
}

prop_compose! {
    fn provision()(statement in signed(), manifest in signed(), deployment in signed(),
                   sealed in sealed()) -> Provision {
        Provision { statement, manifest, deployment, sealed }
    }
}

prop_compose! {
    fn provisioned()(custodian in custodian(), manifest in digest()) -> Provisioned {
        Provisioned { custodian, manifest }
    }
}

prop_compose! {
    fn provision_statement()(manifest in digest(), set in any::<[u8; 16]>(),
                             custodian in custodian(), index in any::<u8>(), kek in digest(),
                             sealed in digest(), floor in any::<u64>()) -> ProvisionStatement {
        ProvisionStatement {
            manifest,
            set: ShareSetId::new(set),
            custodian,
            index: ShareIndex::new(index),
            kek,
            sealed,
            floor: WeightsVersion::new(floor),
        }
    }
}

/// The same encoding there and back; and no other bytes, one bit away, for the same value.
fn round_trip(message: Message, at: usize, mask: u8) -> Result<(), TestCaseError> {
    let frame = message.to_frame();
    prop_assert_eq!(Message::from_frame(&frame), Ok(message.clone()));
    let mut flipped = frame.clone();
    let at = at % flipped.len();
    flipped[at] ^= mask;
    prop_assert_ne!(Message::from_frame(&flipped), Ok(message.clone()));
    let cut = &frame[..at];
    prop_assert!(Message::from_frame(cut).is_err());
    let mut longer = frame;
    longer.push(mask);
    // Outside the profile, or inside it and after the value.
    let refused = Message::from_frame(&longer);
    let expected = [Err(DecodeError::NotCanonical), Err(DecodeError::Malformed)];
    prop_assert!(expected.contains(&refused));
    Ok(())
}

/// One property for each message: name of the test, then how its message is drawn.
macro_rules! round_trips {
    ($($name:ident: $strategy:expr;)*) => {
        proptest! {
            $(
                #[test]
                fn $name(body in $strategy, at in any::<usize>(), mask in 1..=255u8) {
                    round_trip(Message::from(body), at, mask)?;
                }
            )*
        }
    };
}

round_trips! {
    wire_2_hello_has_one_encoding: hello();
    wire_2_challenge_has_one_encoding: challenge();
    wire_2_request_has_one_encoding: request();
    wire_2_grant_has_one_encoding: grant();
    wire_2_refused_has_one_encoding: refused();
    wire_2_renew_has_one_encoding: renew();
    wire_2_renewal_has_one_encoding: renewal();
    wire_2_submit_has_one_encoding: approvals().prop_map(|approvals| Submit { approvals });
    wire_2_acknowledged_has_one_encoding: signed().prop_map(|statement| Acknowledged { statement });
    wire_2_await_dead_has_one_encoding: digest().prop_map(|order| AwaitDead { order });
    wire_2_dead_has_one_encoding: signed().prop_map(|statement| Dead { statement });
    wire_2_notice_has_one_encoding: approvals().prop_map(|approvals| Notice { approvals });
    wire_2_superseded_has_one_encoding: digest().prop_map(|order| Superseded { order });
    wire_2_query_has_one_encoding: deployment().prop_map(|deployment| Query { deployment });
    wire_2_status_has_one_encoding: status();
    wire_2_activate_has_one_encoding: approvals().prop_map(|approvals| Activate { approvals });
    wire_2_activated_has_one_encoding: activated();
    wire_2_provision_has_one_encoding: provision();
    wire_2_provisioned_has_one_encoding: provisioned();
}

proptest! {
    #[test]
    fn wire_1_arbitrary_bytes_never_panic(frame in vec(any::<u8>(), 0..600)) {
        if let Ok(message) = Message::from_frame(&frame) {
            prop_assert_eq!(message.to_frame(), frame);
        }
    }

    #[test]
    fn wire_1_arbitrary_bodies_of_known_types_never_panic(
        kind in 1..=20u8, body in vec(any::<u8>(), 0..600),
    ) {
        let mut frame = vec![0x83, 0x01];
        frame.extend(encode(&kind));
        frame.extend(body);
        if let Ok(message) = Message::from_frame(&frame) {
            prop_assert_eq!(message.to_frame(), frame);
        }
    }

    #[test]
    fn wire_2_a_signed_payload_has_one_encoding(
        statement in provision_statement(), at in any::<usize>(), mask in 1..=255u8,
    ) {
        let encoded = encode(&statement);
        prop_assert_eq!(decode(&encoded, Signed::CAP), Ok(statement));
        let mut flipped = encoded;
        let at = at % flipped.len();
        flipped[at] ^= mask;
        prop_assert_ne!(decode(&flipped, Signed::CAP), Ok(statement));
    }
}

fn sample_signed(payload: &[u8]) -> Signed {
    Signed::new(payload.to_vec(), Signature::new([0x55; 64]))
}

fn sample_order() -> Signed {
    let subject = Subject { kind: SubjectKind::Device, value: Digest::new([0x11; 32]) };
    let order = Order {
        deployment: DeploymentId::new([0x01; 16]),
        verb: Verb::Revoke,
        subject,
        serial: split_custody_protocol::ids::Serial::new(3),
    };
    sample_signed(&encode(&order))
}

/// One message of a type, with every byte chosen by hand.
fn sample(kind: MessageType) -> Message {
    let (custodian, generation, epoch) = (CustodianId::new(2), Generation::new(300), Epoch::new(7));
    let (order, manifest) = (Digest::new([0x0d; 32]), Digest::new([0x3a; 32]));
    let lease = LeaseId::new([0x1e; 16]);
    let deployment = DeploymentId::new([0x01; 16]);
    let statement = sample_signed(b"statement");
    match kind {
        MessageType::Hello => Message::Hello(Hello {
            versions: list(vec![1]),
            suites: list(vec![SuiteId::HPKE_X25519]),
            deployment,
            weights: WeightsId::new([0x02; 16]),
            version: WeightsVersion::new(7),
            device: DeviceId::new([0xde; 32]),
        }),
        MessageType::Challenge => Message::Challenge(Challenge {
            custodian,
            generation,
            nonce: Nonce::new([0x5a; 32]),
            version: 1,
            suite: SuiteId::HPKE_X25519,
        }),
        MessageType::Request => Message::Request(Request {
            manifest,
            device: DeviceId::new([0xde; 32]),
            incarnation: Incarnation::new([0x1c; 32]),
            entries: list(vec![Entry { custodian, digest: Digest::new([0xe1; 32]) }]),
            device_key: AgreementKey::new(vec![0x4e; 32]).expect("32 bytes"),
            evidence: Evidence {
                kind: EvidenceKind::SOFTWARE,
                gpu: bytes(vec![0x99; 8]),
                cpu: bytes(vec![0xcc; 8]),
            },
        }),
        MessageType::Grant => Message::Grant(Grant { statement, sealed: bytes(vec![0x5e; 80]) }),
        MessageType::Refused => {
            Message::Refused(Refused { correlation: CorrelationId::new([0xc0; 16]) })
        }
        MessageType::Renew => Message::Renew(Renew { lease, counter: Counter::new(4), used: 9 }),
        MessageType::Renewal => Message::Renewal(Renewal {
            lease,
            counter: Counter::new(4),
            answer: RenewalAnswer::Renewed,
            term: Span::from_millis(10_000),
            budget: Budget::UNLIMITED,
        }),
        MessageType::Submit => Message::Submit(Submit { approvals: list(vec![sample_order()]) }),
        MessageType::Acknowledged => Message::Acknowledged(Acknowledged { statement }),
        MessageType::AwaitDead => Message::AwaitDead(AwaitDead { order }),
        MessageType::Dead => Message::Dead(Dead { statement }),
        MessageType::Notice => Message::Notice(Notice { approvals: list(vec![sample_order()]) }),
        MessageType::Superseded => Message::Superseded(Superseded { order }),
        MessageType::Query => Message::Query(Query { deployment }),
        MessageType::Status => Message::Status(Status {
            custodian,
            generation,
            epoch,
            standing: StandingCode::Serving,
            nonce: Nonce::new([0x5a; 32]),
            manifest,
            orders: list(vec![order]),
        }),
        MessageType::Activate => {
            Message::Activate(Activate { approvals: list(vec![sample_signed(b"activation")]) })
        }
        MessageType::Activated => Message::Activated(Activated { custodian, generation, epoch }),
        MessageType::Provision => Message::Provision(Provision {
            statement,
            manifest: sample_signed(b"manifest"),
            deployment: sample_signed(b"deployment"),
            sealed: bytes(vec![0x5e; 80]),
        }),
        MessageType::Provisioned => Message::Provisioned(Provisioned { custodian, manifest }),
    }
}

/// The bytes of a sample, sixteen in a line.
fn dump(kind: MessageType) -> String {
    let line = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    sample(kind).to_frame().chunks(16).map(line).collect::<Vec<_>>().join("\n")
}

/// One snapshot for each message: name of the test, then its type.
macro_rules! snapshots {
    ($($name:ident: $kind:ident;)*) => {
        $(
            #[test]
            fn $name() {
                insta::assert_snapshot!(stringify!($kind), dump(MessageType::$kind));
            }
        )*

        #[test]
        fn wire_3_every_message_has_a_snapshot() {
            assert_eq!(MessageType::ALL, [$(MessageType::$kind,)*]);
        }
    };
}

snapshots! {
    wire_2_hello_has_these_bytes: Hello;
    wire_2_challenge_has_these_bytes: Challenge;
    wire_2_request_has_these_bytes: Request;
    wire_2_grant_has_these_bytes: Grant;
    wire_2_refused_has_these_bytes: Refused;
    wire_2_renew_has_these_bytes: Renew;
    wire_2_renewal_has_these_bytes: Renewal;
    wire_2_submit_has_these_bytes: Submit;
    wire_2_acknowledged_has_these_bytes: Acknowledged;
    wire_2_await_dead_has_these_bytes: AwaitDead;
    wire_2_dead_has_these_bytes: Dead;
    wire_2_notice_has_these_bytes: Notice;
    wire_2_superseded_has_these_bytes: Superseded;
    wire_2_query_has_these_bytes: Query;
    wire_2_status_has_these_bytes: Status;
    wire_2_activate_has_these_bytes: Activate;
    wire_2_activated_has_these_bytes: Activated;
    wire_2_provision_has_these_bytes: Provision;
    wire_2_provisioned_has_these_bytes: Provisioned;
}

#[test]
fn wire_1_a_frame_above_its_cap_is_refused_unread() {
    let frame = vec![0; Message::CAP + 1];
    let (length, cap) = (Message::CAP + 1, Message::CAP);
    assert_eq!(Message::from_frame(&frame), Err(DecodeError::TooLong { length, cap }));
}

#[test]
fn wire_1_a_frame_above_the_cap_of_its_type_is_refused() {
    let mut frame = sample(MessageType::Query).to_frame();
    frame.resize(4_097, 0);
    let refused = DecodeError::TooLong { length: 4_097, cap: 4_096 };
    assert_eq!(Message::from_frame(&frame), Err(refused));
}

#[test]
fn wire_1_a_device_key_above_its_cap_is_refused() {
    let good = sample(MessageType::Request).to_frame();
    let key = good.windows(32).position(|window| window == [0x4e; 32]).expect("the key") - 2;
    assert_eq!(good[key..key + 2], [0x58, 0x20]);
    let mut long = good[..key].to_vec();
    long.extend([0x58, 134]);
    long.extend([0x4e; 134]);
    long.extend(&good[key + 34..]);
    assert_eq!(Message::from_frame(&long), Err(DecodeError::Malformed));
}

#[test]
fn wire_1_an_empty_byte_string_is_refused() {
    assert_eq!(AgreementKey::new(vec![]), None);
    assert_eq!(decode::<AgreementKey>(&[0x40], 10), Err(DecodeError::Malformed));
}

#[test]
fn wire_1_a_list_above_its_cap_cannot_be_made() {
    assert!(List::<u8, 1, 2>::new(vec![1, 2, 3]).is_none());
    assert_eq!(decode::<List<u8, 1, 2>>(&[0x83, 1, 2, 3], 10), Err(DecodeError::Malformed));
}

#[test]
fn wire_1_an_empty_list_is_refused_where_one_is_required() {
    assert_eq!(decode::<List<u8, 1, 2>>(&[0x80], 10), Err(DecodeError::Malformed));
    assert!(decode::<List<u8, 0, 2>>(&[0x80], 10).is_ok());
}

#[test]
fn wire_1_a_payload_above_its_cap_is_refused() {
    let long = sample_signed(&vec![1; Signed::CAP + 1]);
    let bytes = encode(&long);
    assert_eq!(decode::<Signed>(&bytes, 100_000), Err(DecodeError::Malformed));
    let whole = encode(&sample_signed(&vec![1; Signed::CAP]));
    assert!(decode::<Signed>(&whole, 100_000).is_ok());
}

#[test]
fn wire_1_a_value_above_the_given_cap_is_refused_before_it_is_read() {
    let refused = codec::decode::<u64>(&[0x01, 0x02], 1);
    assert_eq!(refused, Err(DecodeError::TooLong { length: 2, cap: 1 }));
}

#[test]
fn wire_3_another_version_is_refused() {
    let mut frame = sample(MessageType::Query).to_frame();
    frame[1] = 2;
    assert_eq!(Message::from_frame(&frame), Err(DecodeError::UnknownVersion));
}

#[test]
fn wire_3_the_reserved_type_is_refused() {
    let mut frame = sample(MessageType::Query).to_frame();
    frame[2] = 20;
    assert_eq!(Message::from_frame(&frame), Err(DecodeError::UnknownType));
}

#[test]
fn wire_4_a_header_of_another_algorithm_is_refused() {
    let mut frame = sample(MessageType::Acknowledged).to_frame();
    let header = frame.windows(3).position(|window| window == Signed::PROTECTED);
    frame[header.expect("a protected header") + 2] = 0x27;
    assert_eq!(Message::from_frame(&frame), Err(DecodeError::Malformed));
}
