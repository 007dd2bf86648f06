//! What the owner and the device's maker made before anything runs.

use split_custody_attest::{Measurements, SoftwareAttester};
use split_custody_keys::{Dealing, Dek, OperatorKey, Recipient, SigningKey, SoftCustody};
use split_custody_protocol::ids::{Budget, ContainerId, CustodianId, PolicyVersion, ShareIndex};
use split_custody_protocol::suite::{DeviceId, Digest, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::codec;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest, Policy};

use super::{DEPLOYMENT, SET, VERSION, WEIGHTS};
use crate::support;

pub(super) fn attester() -> SoftwareAttester {
    let key = || SigningKey::generate().expect("a key");
    SoftwareAttester::new(key(), key(), measurements(), 1)
}

fn measurements() -> Measurements {
    Measurements { gpu: Digest::new([7; 32]), cpu: Digest::new([8; 32]) }
}

pub(super) fn custodian_id(place: usize) -> CustodianId {
    CustodianId::new(u8::try_from(place + 1).expect("few custodians"))
}

pub(super) fn recipients(custodies: &[SoftCustody]) -> Vec<Recipient> {
    let recipient = |(place, custody): (usize, &SoftCustody)| {
        let custodian = custodian_id(place);
        let index = ShareIndex::new(custodian.value());
        Recipient { custodian, index, kek: custody.kek_public() }
    };
    custodies.iter().enumerate().map(recipient).collect()
}

pub(super) fn manifest(dek: &Dek, dealing: &Dealing, custodies: &[SoftCustody]) -> Manifest {
    let commitments = dealing.commitments();
    let entry = |(commitment, custody): (&_, &SoftCustody)| entry(commitment, custody);
    let custodians = commitments.iter().zip(custodies).map(entry).collect();
    Manifest {
        deployment: DEPLOYMENT,
        weights: WEIGHTS,
        version: VERSION,
        container: ContainerId::new([4; 16]),
        dek: dek.commitment(WEIGHTS, VERSION),
        set: SET,
        k: 2,
        n: 3,
        f: 0,
        custodians: codec::List::new(custodians).expect("three"),
        table: Digest::new([5; 32]),
        root: Digest::new([6; 32]),
        ttl_max: Span::from_millis(5000),
        policy: policy(),
        earlier: codec::List::new(Vec::new()).expect("none"),
    }
}

fn entry(
    commitment: &split_custody_keys::dealing::Commitment,
    custody: &SoftCustody,
) -> CustodianEntry {
    CustodianEntry {
        id: commitment.custodian,
        grant_key: custody.grant_public(),
        suites: codec::List::new(vec![SuiteId::HPKE_X25519]).expect("one"),
        index: commitment.index,
        commitment: commitment.share,
        kek: commitment.kek,
    }
}

fn policy() -> Policy {
    let Measurements { gpu, cpu } = measurements();
    Policy {
        version: PolicyVersion::new(1),
        kinds: codec::List::new(vec![EvidenceKind::SOFTWARE]).expect("one"),
        measurements: codec::List::new(vec![gpu, cpu]).expect("two"),
        modes: codec::List::new(vec![1]).expect("one"),
        first: Span::from_millis(2000),
        term: Span::from_millis(3000),
        budget: Budget::UNLIMITED,
        max_age: Span::from_millis(60_000),
        gather: Span::from_millis(1000),
        margin: Span::from_millis(50),
        challenge_max: Span::from_millis(10_000),
    }
}

pub(super) fn deployment(
    operator: &OperatorKey,
    id: DeviceId,
    pki: &support::Deployment,
) -> Deployment {
    Deployment {
        deployment: DEPLOYMENT,
        version: 1,
        operators: codec::List::new(vec![operator.public()]).expect("one"),
        m_revoke: 1,
        m_change: 1,
        devices: codec::List::new(vec![id]).expect("one"),
        issuers: codec::List::new(vec![pki.node.spki().expect("a key")]).expect("one"),
    }
}
