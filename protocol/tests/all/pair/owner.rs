//! What the owner and the operators sign, with every field open to a story.

use split_custody_model_check::symbolic::{
    self, DEK, Hardware, Principal, SymbolicSuite, dek_commitment, device_id, measurement, place,
    public_key, seal_share, share_commitment, term, true_share,
};
use split_custody_protocol::ids::{
    Budget, ContainerId, CustodianId, DeploymentId, PolicyVersion, Serial, ShareIndex, ShareSetId,
    WeightsId, WeightsVersion,
};
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::{DeviceId, DeviceSecret, Digest, Label, Suite, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest, Policy};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Approvals, Order, Subject, SubjectKind, Submit, Verb};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::{
    Activate, Activation, Provision, ProvisionStatement, Status,
};

pub const SET: ShareSetId = ShareSetId::new([4; 16]);
pub const DEPLOYMENT: DeploymentId = DeploymentId::new([1; 16]);
pub const WEIGHTS: WeightsId = WeightsId::new([2; 16]);

/// The owner's two objects; a story changes a field before anything is signed.
#[derive(Clone, Debug)]
pub struct Owner {
    pub manifest: Manifest,
    pub deployment: Deployment,
    /// Oldest version of the weights in each provision.
    pub floor: u64,
}

impl Owner {
    /// n custodians, k shares, f liars; one operator; terms of ten seconds.
    pub fn new(n: u8, k: u8, f: u8) -> Self {
        Self { manifest: manifest(n, k, f), deployment: deployment(), floor: 1 }
    }

    pub fn signed_manifest(&self) -> Signed {
        sign(Principal::Owner, ObjectKind::Manifest, encode(&self.manifest))
    }

    pub fn signed_deployment(&self) -> Signed {
        sign(Principal::Owner, ObjectKind::Deployment, encode(&self.deployment))
    }

    pub fn known_manifest(&self) -> KnownManifest {
        KnownManifest::verify(
            &mut suite(Principal::Owner),
            &Principal::Owner.verify_key(),
            &self.signed_manifest(),
        )
        .expect("the owner's manifest is good")
    }

    pub fn known_deployment(&self) -> KnownDeployment {
        KnownDeployment::verify(
            &mut suite(Principal::Owner),
            &Principal::Owner.verify_key(),
            &self.signed_deployment(),
        )
        .expect("the owner's deployment is good")
    }

    pub fn manifest_digest(&self) -> Digest {
        suite(Principal::Owner).hash(Label::Manifest, &[&encode(&self.manifest)])
    }

    pub fn provision_statement(&self, id: u8) -> ProvisionStatement {
        ProvisionStatement {
            manifest: self.manifest_digest(),
            set: self.manifest.set,
            custodian: CustodianId::new(id),
            index: ShareIndex::new(id),
            kek: kek(id),
            sealed: transcript::sealed(&mut suite(Principal::Owner), &self.sealed(id)),
            floor: WeightsVersion::new(self.floor),
        }
    }

    fn sealed(&self, id: u8) -> split_custody_protocol::suite::SealedShare {
        let context = transcript::provision_context(
            &mut suite(Principal::Owner),
            &self.manifest_digest(),
            &self.manifest.set,
            CustodianId::new(id),
            ShareIndex::new(id),
            &kek(id),
        );
        let to = public_key(DeviceSecret::new(0x6b00 + u64::from(id)));
        seal_share(true_share(id), &to, &context)
    }

    pub fn provision(&self, id: u8) -> Message {
        self.provision_with(id, &self.provision_statement(id), Principal::Owner)
    }

    pub fn provision_with(
        &self,
        id: u8,
        statement: &ProvisionStatement,
        signer: Principal,
    ) -> Message {
        Message::Provision(Provision {
            statement: sign(signer, ObjectKind::Provision, encode(statement)),
            manifest: self.signed_manifest(),
            deployment: self.signed_deployment(),
            sealed: self.sealed(id),
        })
    }

    pub fn activation(&self, status: &Status) -> Activation {
        Activation {
            deployment: DEPLOYMENT,
            custodian: status.custodian,
            set: self.manifest.set,
            manifest: status.manifest,
            nonce: status.nonce,
            orders: status.orders.clone(),
        }
    }
}

/// Wraps an activation for the wire.
pub fn activate(activation: &Activation, signers: &[Principal]) -> Message {
    let sign = |signer: &Principal| sign(*signer, ObjectKind::Activation, encode(activation));
    Message::Activate(Activate { approvals: list(signers.iter().map(sign).collect()) })
}

/// The n-th operator; the first is the sole one of the default deployment.
pub fn operator(number: u8) -> Principal {
    match number {
        1 => Principal::Operator,
        other => Principal::Custodian(200 + other),
    }
}

pub fn revoke(subject: Subject, serial: u64) -> Order {
    Order { deployment: DEPLOYMENT, verb: Verb::Revoke, subject, serial: Serial::new(serial) }
}

pub fn admit(subject: Subject, serial: u64) -> Order {
    Order { deployment: DEPLOYMENT, verb: Verb::Admit, subject, serial: Serial::new(serial) }
}

pub fn approvals(order: &Order, signers: &[Principal]) -> Approvals {
    let sign = |signer: &Principal| sign(*signer, ObjectKind::Order, encode(order));
    list(signers.iter().map(sign).collect())
}

pub fn submit(order: &Order, signers: &[Principal]) -> Message {
    Message::Submit(Submit { approvals: approvals(order, signers) })
}

pub fn order_digest(order: &Order) -> Digest {
    suite(Principal::Operator).hash(Label::Order, &[&encode(order)])
}

/// The enrolled device.
pub fn enrolled() -> DeviceId {
    device_id(Hardware::Enrolled, Hardware::Enrolled)
}

pub fn the_device() -> Subject {
    Subject { kind: SubjectKind::Device, value: Digest::new(*enrolled().as_bytes()) }
}

pub fn the_weights() -> Subject {
    let mut suite = suite(Principal::Operator);
    let value = transcript::weights_subject(&mut suite, WEIGHTS, WeightsVersion::new(1));
    Subject { kind: SubjectKind::Weights, value }
}

pub fn the_policy() -> Subject {
    let value = suite(Principal::Operator).hash(Label::Policy, &[&1u64.to_be_bytes()]);
    Subject { kind: SubjectKind::Policy, value }
}

pub fn everything() -> Subject {
    let value = suite(Principal::Operator).hash(Label::Everything, &[DEPLOYMENT.as_bytes()]);
    Subject { kind: SubjectKind::Everything, value }
}

pub fn certificate(key: &split_custody_protocol::suite::LeafKey) -> Subject {
    Subject { kind: SubjectKind::Certificate, value: Digest::new(*key.as_bytes()) }
}

pub fn suite(principal: Principal) -> SymbolicSuite {
    SymbolicSuite::new(principal, 0, 2)
}

pub fn sign(signer: Principal, kind: ObjectKind, payload: Vec<u8>) -> Signed {
    let signature = signer.sign(&Signed::message_over(kind, &payload));
    Signed::new(payload, signature)
}

pub fn list<T, const MIN: usize, const MAX: usize>(items: Vec<T>) -> List<T, MIN, MAX> {
    List::new(items).expect("within the bounds of the list")
}

pub fn kek(id: u8) -> Digest {
    Digest::new(term("kek", &[&[id]]))
}

fn manifest(n: u8, k: u8, f: u8) -> Manifest {
    let custodian = |id| CustodianEntry {
        id: CustodianId::new(id),
        grant_key: Principal::Custodian(id).verify_key(),
        suites: list(vec![SuiteId::HPKE_X25519]),
        index: ShareIndex::new(id),
        commitment: share_commitment(true_share(id), &place(SET, id)),
        kek: kek(id),
    };
    Manifest {
        deployment: DEPLOYMENT,
        weights: WEIGHTS,
        version: WeightsVersion::new(1),
        container: ContainerId::new([3; 16]),
        dek: dek_commitment(DEK, WEIGHTS, WeightsVersion::new(1)),
        set: SET,
        k,
        n,
        f,
        custodians: list((1..=n).map(custodian).collect()),
        table: Digest::new(symbolic::term("table", &[])),
        root: Digest::new(symbolic::term("root", &[])),
        ttl_max: Span::from_millis(12_000),
        policy: policy(),
        earlier: list(vec![]),
    }
}

fn policy() -> Policy {
    Policy {
        version: PolicyVersion::new(1),
        kinds: list(vec![EvidenceKind::SOFTWARE]),
        measurements: list(vec![measurement()]),
        modes: list(vec![1]),
        first: Span::from_millis(6_000),
        term: Span::from_millis(10_000),
        budget: Budget::UNLIMITED,
        max_age: Span::from_millis(100_000),
        gather: Span::from_millis(1_000),
        margin: Span::from_millis(500),
        challenge_max: Span::from_millis(5_000),
    }
}

fn deployment() -> Deployment {
    Deployment {
        deployment: DEPLOYMENT,
        version: 1,
        operators: list(vec![Principal::Operator.verify_key()]),
        m_revoke: 1,
        m_change: 1,
        devices: list(vec![enrolled()]),
        issuers: list(vec![Principal::issuer()]),
    }
}
