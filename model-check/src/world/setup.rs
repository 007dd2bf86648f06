//! What the owner and the operators made before the story begins.

use std::cell::RefCell;
use std::rc::Rc;

use split_custody_protocol::ids::{
    Budget, ContainerId, CustodianId, DeploymentId, PolicyVersion, Serial, ShareIndex, ShareSetId,
    WeightsId, WeightsVersion,
};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{CustodianConfig, DeviceConfig};
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::{DeviceId, Digest, Label, Suite, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest, Policy};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Order, Subject, SubjectKind, Submit, Verb};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::{
    Activate, Activation, Provision, ProvisionStatement, Query, Status,
};

use crate::symbolic::{
    self, DEK, Hardware, Principal, SymbolicSuite, dek_commitment, device_id, measurement,
    seal_share, share_commitment, true_share,
};

/// The parameters of a world; times in ticks of a model check or milliseconds of a real run.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Setup {
    pub n: u8,
    pub k: u8,
    pub f: u8,
    pub first: u64,
    pub term: u64,
    pub ttl_max: u64,
    pub gather: u64,
    pub margin: u64,
    pub challenge_max: u64,
    pub max_age: u64,
    pub budget: u64,
    pub on_host_read: OnHostRead,
    /// The one suite of every custodian.
    pub suite: SuiteId,
    /// One more that the manifest allows, and the device likes less.
    pub second_suite: Option<SuiteId>,
    pub operators: Operators,
    pub fleet: Fleet,
}

/// Which devices are enrolled.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Fleet {
    /// The honest device alone; the adversary's genuine one is a stranger.
    One,
    /// The adversary's genuine device too, which runs what its owner likes and says so.
    Owned,
    /// A second honest device: the genuine parts that are the adversary's elsewhere.
    Two,
}

/// How many operators there are, and how many of them an order and an activation take. [REV-2]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Operators {
    pub all: u8,
    pub to_revoke: u8,
    pub to_change: u8,
}

impl Operators {
    pub const ONE: Self = Self { all: 1, to_revoke: 1, to_change: 1 };
    /// The smallest deployment in which no key decides alone.
    pub const TWO_OF_THREE: Self = Self { all: 3, to_revoke: 2, to_change: 2 };

    /// Operator `number` of them, from 0.
    pub const fn number(number: u8) -> Principal {
        match number {
            0 => Principal::Operator,
            number => Principal::OtherOperator(number),
        }
    }

    fn first(count: u8) -> Vec<Principal> {
        (0..count).map(Self::number).collect()
    }

    /// Who signs what the operators say: as many as it takes, and no more.
    pub fn who_order(self, verb: Verb) -> Vec<Principal> {
        Self::first(match verb {
            Verb::Revoke => self.to_revoke,
            Verb::Admit => self.to_change,
        })
    }
}

/// BOUND: a replayed manifest allows the same one suite to each of its custodians.
fn suite_of(manifest: &Manifest) -> SuiteId {
    let suites = manifest.custodians.as_slice().iter().flat_map(|entry| entry.suites.as_slice());
    suites.copied().next().unwrap_or(SuiteId::HPKE_X25519)
}

impl Setup {
    /// The parameters of a manifest, in milliseconds, for replaying a log of its custodians.
    pub fn of_manifest(manifest: &Manifest, on_host_read: OnHostRead) -> Self {
        let policy = &manifest.policy;
        Self {
            n: manifest.n,
            k: manifest.k,
            f: manifest.f,
            first: policy.first.as_millis(),
            term: policy.term.as_millis(),
            ttl_max: manifest.ttl_max.as_millis(),
            gather: policy.gather.as_millis(),
            margin: policy.margin.as_millis(),
            challenge_max: policy.challenge_max.as_millis(),
            max_age: policy.max_age.as_millis(),
            budget: policy.budget.value(),
            on_host_read,
            suite: suite_of(manifest),
            second_suite: None,
            operators: Operators::ONE,
            fleet: Fleet::One,
        }
    }

    /// The smallest timed setup: margin 1, gather 1, hence terms of 5.
    pub const fn smallest(n: u8, k: u8, f: u8) -> Self {
        Self {
            n,
            k,
            f,
            first: 5,
            term: 5,
            ttl_max: 5,
            gather: 1,
            margin: 1,
            challenge_max: 3,
            max_age: 8,
            budget: u64::MAX,
            on_host_read: OnHostRead::Reset,
            suite: SuiteId::HPKE_X25519,
            second_suite: None,
            operators: Operators::ONE,
            fleet: Fleet::One,
        }
    }

    /// What the manifest allows, and so what the device offers, the best first.
    pub fn suites(&self) -> Vec<SuiteId> {
        [Some(self.suite), self.second_suite].into_iter().flatten().collect()
    }

    /// The devices that the owner enrolled.
    pub fn devices(&self) -> Vec<DeviceId> {
        let mut parts = vec![Hardware::Enrolled];
        parts.extend((self.fleet != Fleet::One).then_some(Hardware::Adversary));
        parts.into_iter().map(|part| device_id(part, part)).collect()
    }

    /// Whether the implementation can be led through this world: it has one device, one operator
    /// and one suite.
    pub fn is_led(&self) -> bool {
        let one = self.operators == Operators::ONE && self.fleet == Fleet::One;
        one && self.second_suite.is_none()
    }

    /// Whether a custodian has to tell devices apart that are both honest.
    pub fn has_two(&self) -> bool {
        self.fleet == Fleet::Two
    }

    /// Whether a part runs code that policy does not name.
    pub fn runs_other_code(&self, part: Hardware) -> bool {
        let owned = self.fleet == Fleet::Owned && part == Hardware::Adversary;
        part == Hardware::Altered || owned
    }

    /// What a part measures.
    pub fn measured(&self, part: Hardware) -> Digest {
        symbolic::measured(if self.runs_other_code(part) { Hardware::Altered } else { part })
    }

    pub fn suite(&self, principal: Principal, life: u64) -> SymbolicSuite {
        SymbolicSuite::new(principal, life, usize::from(self.k))
    }

    pub fn device_config(&self) -> DeviceConfig {
        DeviceConfig {
            deployment: DEPLOYMENT,
            device: self.devices()[0],
            owner: Principal::Owner.verify_key(),
            on_host_read: self.on_host_read,
        }
    }

    pub fn custodian_config(&self, id: u8) -> CustodianConfig {
        CustodianConfig {
            id: CustodianId::new(id),
            deployment: DEPLOYMENT,
            owner: Principal::Owner.verify_key(),
            grant_key: Principal::Custodian(id).verify_key(),
            kek: kek(id),
        }
    }

    fn manifest_body(&self) -> Manifest {
        let custodian = |id| CustodianEntry {
            id: CustodianId::new(id),
            grant_key: Principal::Custodian(id).verify_key(),
            suites: list(self.suites()),
            index: ShareIndex::new(id),
            commitment: share_commitment(true_share(id), &symbolic::place(SET, id)),
            kek: kek(id),
        };
        Manifest {
            deployment: DEPLOYMENT,
            weights: WEIGHTS,
            version: WeightsVersion::new(1),
            container: ContainerId::new([3; 16]),
            dek: dek_commitment(DEK, WEIGHTS, WeightsVersion::new(1)),
            set: SET,
            k: self.k,
            n: self.n,
            f: self.f,
            custodians: list((1..=self.n).map(custodian).collect()),
            table: Digest::new(symbolic::term("table", &[])),
            root: Digest::new(symbolic::term("root", &[])),
            ttl_max: Span::from_millis(self.ttl_max),
            policy: Policy {
                version: PolicyVersion::new(1),
                kinds: list(vec![EvidenceKind::SOFTWARE]),
                measurements: list(vec![measurement()]),
                modes: list(vec![1]),
                first: Span::from_millis(self.first),
                term: Span::from_millis(self.term),
                budget: Budget::new(self.budget),
                max_age: Span::from_millis(self.max_age),
                gather: Span::from_millis(self.gather),
                margin: Span::from_millis(self.margin),
                challenge_max: Span::from_millis(self.challenge_max),
            },
            earlier: list(vec![]),
        }
    }

    pub fn manifest(&self) -> Signed {
        sign(Principal::Owner, ObjectKind::Manifest, encode(&self.manifest_body()))
    }

    pub fn deployment(&self) -> Signed {
        let operators = Operators::first(self.operators.all);
        let body = Deployment {
            deployment: DEPLOYMENT,
            version: 1,
            operators: list(operators.iter().map(|who| who.verify_key()).collect()),
            m_revoke: self.operators.to_revoke,
            m_change: self.operators.to_change,
            devices: list(self.devices()),
            issuers: list(vec![Principal::issuer()]),
        };
        sign(Principal::Owner, ObjectKind::Deployment, encode(&body))
    }

    /// The manifest as machines know it; verified once for each setup of a thread.
    pub fn known_manifest(&self) -> Rc<KnownManifest> {
        let known = VERIFIED.with_borrow(|verified| verified.clone());
        if let Some((_, manifest)) = known.filter(|(setup, _)| setup == self) {
            return manifest;
        }
        let mut suite = self.suite(Principal::Owner, 0);
        let owner = Principal::Owner.verify_key();
        let manifest = KnownManifest::verify(&mut suite, &owner, &self.manifest())
            .expect("the owner's manifest is good");
        let manifest = Rc::new(manifest);
        VERIFIED.set(Some((self.clone(), Rc::clone(&manifest))));
        manifest
    }

    pub fn known_deployment(&self) -> KnownDeployment {
        let mut suite = self.suite(Principal::Owner, 0);
        KnownDeployment::verify(&mut suite, &Principal::Owner.verify_key(), &self.deployment())
            .expect("the owner's deployment is good")
    }

    /// The frame that gives custodian `id` its share.
    pub fn provision(&self, id: u8) -> Vec<u8> {
        let mut suite = self.suite(Principal::Owner, 0);
        let manifest = self.manifest();
        let digest = suite.hash(Label::Manifest, &[manifest.payload_bytes()]);
        let (custodian, index) = (CustodianId::new(id), ShareIndex::new(id));
        let context =
            transcript::provision_context(&mut suite, &digest, &SET, custodian, index, &kek(id));
        let to = symbolic::public_key(kek_secret(id));
        let sealed = seal_share(true_share(id), &to, &context);
        let statement = ProvisionStatement {
            manifest: digest,
            set: SET,
            custodian,
            index,
            kek: kek(id),
            sealed: transcript::sealed(&mut suite, &sealed),
            floor: WeightsVersion::new(1),
        };
        Message::Provision(Provision {
            statement: sign(Principal::Owner, ObjectKind::Provision, encode(&statement)),
            manifest,
            deployment: self.deployment(),
            sealed,
        })
        .to_frame()
    }

    /// The frame with which an operator asks for a custodian's status.
    pub fn query(&self) -> Vec<u8> {
        Message::Query(Query { deployment: DEPLOYMENT }).to_frame()
    }

    /// The activation that answers a status.
    pub fn activate(&self, status: &Status) -> Vec<u8> {
        let activation = Activation {
            deployment: DEPLOYMENT,
            custodian: status.custodian,
            set: SET,
            manifest: status.manifest,
            nonce: status.nonce,
            orders: status.orders.clone(),
        };
        let signers = Operators::first(self.operators.to_change);
        let signed = signed_by(&signers, ObjectKind::Activation, &encode(&activation));
        Message::Activate(Activate { approvals: list(signed) }).to_frame()
    }

    /// An order about the enrolled device, signed by `signer`.
    pub fn order(&self, verb: Verb, serial: u64, signer: Principal) -> Vec<u8> {
        self.order_by(verb, serial, &[signer])
    }

    /// An order about the enrolled device, with an approval of each signer.
    pub fn order_by(&self, verb: Verb, serial: u64, signers: &[Principal]) -> Vec<u8> {
        let signed = signed_by(signers, ObjectKind::Order, &self.order_payload(verb, serial));
        Message::Submit(Submit { approvals: list(signed) }).to_frame()
    }

    /// An order about every device, with an approval of each signer.
    pub fn order_about_all(&self, verb: Verb, serial: u64, signers: &[Principal]) -> Vec<u8> {
        let value =
            self.suite(Principal::Owner, 0).hash(Label::Everything, &[DEPLOYMENT.as_bytes()]);
        let subject = Subject { kind: SubjectKind::Everything, value };
        let order = Order { deployment: DEPLOYMENT, verb, subject, serial: Serial::new(serial) };
        let signed = signed_by(signers, ObjectKind::Order, &encode(&order));
        Message::Submit(Submit { approvals: list(signed) }).to_frame()
    }

    /// What an approval of an order about the enrolled device is over.
    pub fn order_payload(&self, verb: Verb, serial: u64) -> Vec<u8> {
        let device = device_id(Hardware::Enrolled, Hardware::Enrolled);
        let subject = Subject { kind: SubjectKind::Device, value: Digest::new(*device.as_bytes()) };
        encode(&Order { deployment: DEPLOYMENT, verb, subject, serial: Serial::new(serial) })
    }

    /// The digest of a submitted order.
    pub fn order_digest(&self, submit: &[u8]) -> Digest {
        let Ok(Message::Submit(submit)) = Message::from_frame(submit) else {
            unreachable!("`order` makes a submit frame")
        };
        let payload = submit.approvals.as_slice()[0].payload_bytes().to_vec();
        self.suite(Principal::Operator, 0).hash(Label::Order, &[&payload])
    }
}

thread_local! {
    static VERIFIED: RefCell<Option<(Setup, Rc<KnownManifest>)>> = const { RefCell::new(None) };
}

/// The share set of every world: one per DEK in v1.
pub const SET: ShareSetId = ShareSetId::new([4; 16]);
pub const DEPLOYMENT: DeploymentId = DeploymentId::new([1; 16]);
const WEIGHTS: WeightsId = WeightsId::new([2; 16]);

fn kek_secret(id: u8) -> split_custody_protocol::suite::DeviceSecret {
    split_custody_protocol::suite::DeviceSecret::new(0x6b00 + u64::from(id))
}

fn kek(id: u8) -> Digest {
    Digest::new(symbolic::term("kek", &[&[id]]))
}

fn sign(signer: Principal, kind: ObjectKind, payload: Vec<u8>) -> Signed {
    let signature = signer.sign(&Signed::message_over(kind, &payload));
    Signed::new(payload, signature)
}

fn signed_by(signers: &[Principal], kind: ObjectKind, payload: &[u8]) -> Vec<Signed> {
    signers.iter().map(|signer| sign(*signer, kind, payload.to_vec())).collect()
}

fn list<T, const MIN: usize, const MAX: usize>(items: Vec<T>) -> List<T, MIN, MAX> {
    List::new(items).expect("within the bounds of the list")
}
