//! The handshake over real GPU Evidence: the shipped machine, the real appraiser, real bytes.
//!
//! A recorded report answers the nonce that its collector chose, and no hash can be made to yield
//! it. So the machine runs over [`Bridged`], which differs from the real suite in one value: what
//! `H("gpu", ..)` gives. It stands here, in a test; the product has no such way. The CPU half is
//! made by a test's own CPU verifier over the real S.

use split_custody_keys::{ByteSuite, SigningKey};
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{Act, CustodianEffect, Verdict};
use split_custody_protocol::handshake::{
    Appraised, Verifier as Machine, VerifierContext, VerifierInput,
};
use split_custody_protocol::ids::*;
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::*;
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::ObjectKind;
use split_custody_protocol::wire::evidence::{Entry, Evidence, EvidenceKind, Request};
use split_custody_protocol::wire::hello::{Hello, VERSION};
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest};
use split_custody_protocol::wire::message::{Message, Received};

use super::files::Set;
use super::owner::{CPU_IMAGE, Owner, UEID, gpu_half, list, now};
use crate::RejectReason;
use crate::nvidia::{
    Appraiser, KnownPolicy, Policy, Provider, Reason, Revocations, Verifier, device_id, platform_id,
};

/// The real suite but for the nonce of a GPU report.
struct Bridged {
    real: ByteSuite,
    nonce: Digest,
}

impl Suite for Bridged {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        if label == Label::Gpu { self.nonce } else { self.real.hash(label, fields) }
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        self.real.same(a, b)
    }

    fn fresh(&mut self, slot: u64) -> Nonce {
        self.real.fresh(slot)
    }

    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey) {
        self.real.generate(suite, slot)
    }

    fn verify(&mut self, key: &VerifyKey, m: &[u8], s: &Signature) -> Result<(), BadSignature> {
        self.real.verify(key, m, s)
    }

    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        self.real.validate_key(suite, key)
    }

    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        self.real.open_share(suite, secret, context, sealed)
    }

    fn check_share(&mut self, s: ShareHandle, p: SharePlace, c: &Digest) -> Result<(), Differs> {
        self.real.check_share(s, p, c)
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        self.real.combine(shares)
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.real.check_dek(dek, weights, version, commitment)
    }
}

/// One custodian's handshake with a device that replays recorded reports.
struct Story {
    owner: Owner,
    set: Set,
    policy: Policy,
    revocations: Option<Revocations>,
    manifest: Manifest,
    deployment: Deployment,
    device: DeviceId,
    /// A harm to the Evidence after it was made.
    harm: fn(&mut Evidence),
}

/// How it ended.
#[derive(Debug)]
enum Ending {
    Proved(Box<Appraised>),
    /// The appraiser rejected; the machine then refuses without a word about why.
    Rejected(RejectReason, Violation),
    /// The appraiser read Evidence that the machine refuses.
    Refused(Violation),
}

impl Story {
    /// Everything fits.
    fn new() -> Self {
        let owner = Owner::new();
        let set = Set::full();
        let accepted = set.outcome().unwrap();
        let device = device_id(accepted.identities(), &platform_id(&UEID));
        let policy = owner.policy();
        let admitted = [*owner.known_policy(&policy).digest(), CPU_IMAGE]
            .into_iter()
            .chain(accepted.states())
            .collect();
        Self {
            manifest: manifest(&owner, admitted),
            deployment: deployment(&owner, device),
            revocations: Some(owner.revocations()),
            policy,
            device,
            set,
            owner,
            harm: |_| (),
        }
    }

    /// Another appraisal policy, which the manifest admits too: it alone decides then.
    fn with_policy(change: impl FnOnce(&mut Policy)) -> Ending {
        let mut story = Self::new();
        change(&mut story.policy);
        let mut admitted = story.manifest.policy.measurements.as_slice().to_vec();
        admitted.push(*story.owner.known_policy(&story.policy).digest());
        story.manifest.policy.measurements = list(admitted);
        story.run()
    }

    fn run(self) -> Ending {
        let public = self.owner.key.public();
        let suite = &mut Bridged { real: ByteSuite::new(), nonce: self.set.nonce };
        let signed = self.owner.key.sign_object(ObjectKind::Manifest, &self.manifest).unwrap();
        let manifest = KnownManifest::verify(suite, &public, &signed).unwrap();
        let signed = self.owner.key.sign_object(ObjectKind::Deployment, &self.deployment).unwrap();
        let deployment = KnownDeployment::verify(suite, &public, &signed).unwrap();
        let context = VerifierContext {
            custodian: CUSTODIAN,
            generation: Generation::new(1),
            manifest: &manifest,
            deployment: &deployment,
            chain: &[DEVICE_LEAF, ISSUER],
            floor: manifest.version,
        };
        let mut machine = Machine::new(ChannelId::new(1), DEVICE_LEAF, CUSTODIAN_LEAF);
        let hello = Hello {
            versions: list(vec![VERSION]),
            suites: list(vec![SuiteId::HPKE_X25519]),
            deployment: manifest.deployment,
            weights: manifest.weights,
            version: manifest.version,
            device: self.device,
        };
        let hello_frame = Message::Hello(hello.clone()).to_frame();
        let received = Received { body: &hello, frame: &hello_frame };
        let at = Instant::from_millis(1_000);
        machine.handle(at, VerifierInput::Hello(received), &context, suite).unwrap();
        let step = machine.handle(at, VerifierInput::Exported(EXPORTER), &context, suite).unwrap();
        let [Act::Send(challenge)] = step.acts.as_slice() else { panic!("a challenge") };
        let request = self.request(suite, &manifest, &hello_frame, challenge);
        let frame = Message::Request(request.clone()).to_frame();
        let received = Received { body: &request, frame: &frame };
        let step = machine.handle(at, VerifierInput::Request(received), &context, suite).unwrap();
        let [Act::Ask(CustodianEffect::Appraise { evidence })] = step.acts.as_slice() else {
            panic!("an appraisal")
        };
        match self.appraise(evidence) {
            Err(reason) => {
                let refused = machine.handle(at, VerifierInput::Rejected, &context, suite);
                Ending::Rejected(reason, refused.unwrap_err())
            }
            Ok(verdict) => {
                let input = VerifierInput::Appraised(&verdict);
                match machine.handle(at, input, &context, suite) {
                    Ok(step) => Ending::Proved(Box::new(step.proof.unwrap())),
                    Err(violation) => Ending::Refused(violation),
                }
            }
        }
    }

    /// What measured code makes of the challenge.
    fn request(
        &self,
        suite: &mut Bridged,
        manifest: &KnownManifest,
        hello: &[u8],
        challenge: &[u8],
    ) -> Request {
        let (_, device_key) = suite.generate(SuiteId::HPKE_X25519, 1);
        let th1 = transcript::th1(suite, hello, challenge);
        let entry = EntryInput {
            exporter: &EXPORTER,
            device_leaf: &DEVICE_LEAF,
            custodian_leaf: &CUSTODIAN_LEAF,
            th1: &th1,
            suite: SuiteId::HPKE_X25519,
            device_key: &device_key,
        };
        let digest = transcript::entry(suite, &entry);
        let entries = vec![Entry { custodian: CUSTODIAN, digest }];
        let (device, incarnation) = (self.device, Incarnation::new([0x1c; 32]));
        let session =
            transcript::session(suite, manifest.digest(), &device, &incarnation, &entries);
        let data = transcript::cpu_data(suite, &session, &gpu_half(&self.set));
        let mut evidence = self.owner.evidence(&self.set, data);
        (self.harm)(&mut evidence);
        let (manifest, entries) = (*manifest.digest(), list(entries));
        Request { manifest, device, incarnation, entries, device_key, evidence }
    }

    fn appraise(&self, evidence: &Evidence) -> Result<Verdict, RejectReason> {
        let policy: KnownPolicy = self.owner.known_policy(&self.policy);
        let rims = self.set.rims.clone();
        let appraiser = Appraiser::new(Verifier::new(Provider::Ring), policy, rims);
        let revocations = self.revocations.as_ref().map(|r| self.owner.known_revocations(r));
        appraiser.appraise(evidence, revocations.as_ref(), now())
    }
}

fn manifest(owner: &Owner, admitted: Vec<Digest>) -> Manifest {
    use split_custody_protocol::wire::manifest::Policy as Floor;
    let span = Span::from_millis;
    let digest = Digest::new([1; 32]);
    Manifest {
        deployment: DEPLOYMENT,
        weights: WeightsId::new([2; 16]),
        version: WeightsVersion::new(1),
        container: ContainerId::new([3; 16]),
        dek: digest,
        set: ShareSetId::new([4; 16]),
        k: 1,
        n: 1,
        f: 0,
        custodians: list(vec![CustodianEntry {
            id: CUSTODIAN,
            grant_key: owner.key.public(),
            suites: list(vec![SuiteId::HPKE_X25519]),
            index: ShareIndex::new(1),
            commitment: digest,
            kek: digest,
        }]),
        table: digest,
        root: digest,
        ttl_max: span(60_000),
        policy: Floor {
            version: PolicyVersion::new(1),
            kinds: list(vec![EvidenceKind::NVIDIA_CC]),
            measurements: list(admitted),
            modes: list(vec![1]),
            first: span(10_000),
            term: span(10_000),
            budget: Budget::UNLIMITED,
            max_age: span(3_600_000),
            gather: span(1_000),
            margin: span(100),
            challenge_max: span(30_000),
        },
        earlier: list(vec![]),
    }
}

fn deployment(owner: &Owner, device: DeviceId) -> Deployment {
    Deployment {
        deployment: DEPLOYMENT,
        version: 1,
        operators: list(vec![owner.key.public()]),
        m_revoke: 1,
        m_change: 1,
        devices: list(vec![device]),
        issuers: list(vec![ISSUER]),
    }
}

fn refused(ending: Ending) -> Violation {
    match ending {
        Ending::Refused(violation) => violation,
        other => panic!("refused by the machine, not {other:?}"),
    }
}

/// The reason of the appraiser; the machine says one thing, whatever it is. [HS-21]
fn rejected(ending: Ending) -> Reason {
    match ending {
        Ending::Rejected(RejectReason::Nvidia(finding), Violation::ClaimsRefused) => finding.reason,
        other => panic!("rejected by the appraiser, not {other:?}"),
    }
}

#[test]
fn hs_16_real_evidence_is_proved_under_a_policy_that_fits() {
    let story = Story::new();
    let device = story.device;
    match story.run() {
        Ending::Proved(appraised) => assert_eq!(appraised.device(), &device),
        other => panic!("proved, not {other:?}"),
    }
}

#[test]
fn hs_16_kind_that_the_manifest_does_not_name_is_refused() {
    let mut story = Story::new();
    story.manifest.policy.kinds = list(vec![EvidenceKind::SOFTWARE]);
    assert_eq!(refused(story.run()), Violation::ClaimsRefused);
}

#[test]
fn hs_16_each_measurement_that_the_manifest_lacks_is_refused() {
    for missing in 0..3 {
        let mut story = Story::new();
        let mut admitted = story.manifest.policy.measurements.as_slice().to_vec();
        assert_eq!(admitted.len(), 3);
        admitted.remove(missing);
        story.manifest.policy.measurements = list(admitted);
        assert_eq!(refused(story.run()), Violation::ClaimsRefused, "measurement {missing}");
    }
}

#[test]
fn hs_16_mode_that_the_manifest_does_not_name_is_refused() {
    let mut story = Story::new();
    story.manifest.policy.modes = list(vec![2]);
    assert_eq!(refused(story.run()), Violation::ClaimsRefused);
}

#[test]
fn hs_27_each_field_of_the_appraisal_policy_alone_refuses() {
    use super::files::time;
    use super::owner::text;
    let key = SigningKey::generate().unwrap().public();
    let other = Digest::new([9; 32]);
    let told = |change: &dyn Fn(&mut Policy)| rejected(Story::with_policy(|p| change(p)));
    let not_now = Reason::PolicyNotNow;
    assert_eq!(told(&|p| p.not_before = time("2024-06-02")), not_now);
    assert_eq!(told(&|p| p.not_after = time("2024-05-02")), not_now);
    assert_eq!(told(&|p| p.chips = list(vec![text("GB100")])), Reason::ChipNotListed);
    assert_eq!(told(&|p| p.devices = list(vec![text("NVIDIA")])), Reason::DeviceNotListed);
    assert_eq!(told(&|p| p.drivers = list(vec![text("550.90.07")])), Reason::DriverNotListed);
    assert_eq!(told(&|p| p.driver_floor = text("550.90.07")), Reason::DriverBelowFloor);
    assert_eq!(told(&|p| p.vbios = list(vec![text("96.00.9F.00.01")])), Reason::VbiosNotListed);
    assert_eq!(told(&|p| p.vbios_floor = text("96.00.9F.00.01")), Reason::VbiosBelowFloor);
    assert_eq!(told(&|p| p.rims = list(vec![other, other])), Reason::RimNotPinned);
    assert_eq!(told(&|p| p.rims_as_of = list(vec![time("2023-01-01")])), Reason::RimExpired);
    assert_eq!(told(&|p| p.modes = list(vec![2])), Reason::ModeNotAdmitted);
    assert_eq!(told(&|p| p.gpus = 8), Reason::SetSize);
    assert_eq!(told(&|p| p.revocations_floor = 99), Reason::RevocationsOld);
    assert_eq!(told(&|p| p.token_issuers = list(vec![key])), Reason::TokenSignature);
    assert_eq!(told(&|p| p.token_measurements = list(vec![other])), Reason::TokenMeasurement);
}

#[test]
fn hs_27_policy_that_the_manifest_does_not_name_is_refused() {
    let mut story = Story::new();
    // It admits the same and is another: an older one, say, that the owner gave up.
    story.policy.version = 2;
    assert_eq!(refused(story.run()), Violation::ClaimsRefused);
}

#[test]
fn hs_27_without_a_snapshot_the_handshake_refuses() {
    let mut story = Story::new();
    story.revocations = None;
    assert_eq!(rejected(story.run()), Reason::RevocationsAbsent);
}

#[test]
fn hs_11_report_with_another_nonce_is_refused() {
    let mut story = Story::new();
    // The session now asks for another nonce than the recorded one.
    story.set.nonce = Digest::new([5; 32]);
    assert_eq!(refused(story.run()), Violation::ReportNonceDiffers);
}

#[test]
fn hs_12_gpu_half_that_the_token_does_not_cover_is_refused() {
    let mut story = Story::new();
    // One line end more after the chain: the same GPU, other bytes.
    story.harm = |evidence| {
        let mut set = Set::full();
        set.gpus[0].1.push(b'\n');
        evidence.gpu = Bytes::new(gpu_half(&set)).unwrap();
    };
    assert_eq!(refused(story.run()), Violation::ReportDataDiffers);
}

#[test]
fn hs_13_real_gpu_under_another_id_is_refused() {
    let mut story = Story::new();
    story.device = DeviceId::new([6; 32]);
    story.deployment.devices = list(vec![story.device]);
    // Hello and S name an enrolled device, Evidence another one.
    assert_eq!(refused(story.run()), Violation::DeviceIdDiffers);
}

#[test]
fn hs_22_halves_that_are_no_evidence_are_rejected() {
    let mut story = Story::new();
    story.harm = |evidence| evidence.gpu = Bytes::new(vec![0xa0; 100]).unwrap();
    assert_eq!(rejected(story.run()), Reason::EvidenceMalformed);
    let mut story = Story::new();
    story.harm = |evidence| evidence.gpu = Bytes::new(vec![0; 500_000]).unwrap();
    assert_eq!(rejected(story.run()), Reason::EvidenceMalformed);
    let mut story = Story::new();
    story.harm = |evidence| evidence.cpu = Bytes::new(vec![0xa0; 100]).unwrap();
    assert_eq!(rejected(story.run()), Reason::TokenMalformed);
}

const CUSTODIAN: CustodianId = CustodianId::new(1);
const DEPLOYMENT: DeploymentId = DeploymentId::new([8; 16]);
const DEVICE_LEAF: LeafKey = LeafKey::new([0xd1; 32]);
const CUSTODIAN_LEAF: LeafKey = LeafKey::new([0xc1; 32]);
const ISSUER: LeafKey = LeafKey::new([0x15; 32]);
const EXPORTER: Exporter = Exporter::new([0xee; 32]);
