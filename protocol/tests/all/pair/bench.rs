//! Single machines on a bench, driven by hand: what a whole `Pair` cannot be made to do.

use split_custody_model_check::symbolic::{
    Hardware, Principal, SymbolicSuite, exporter, incarnation, measurement, report, seal_share,
    true_share,
};
use split_custody_protocol::effect::{Act, CustodianEffect, Verdict};
use split_custody_protocol::handshake::{
    Appraised, ReadyEntry, Verifier, VerifierContext, VerifierInput, VerifierStep,
};
use split_custody_protocol::ids::{
    Budget, ChannelId, Counter, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion,
    ShareIndex, WeightsVersion,
};
use split_custody_protocol::release::{Checked, Expected, check_grant};
use split_custody_protocol::sealing::{KnownDeployment, KnownManifest};
use split_custody_protocol::suite::{
    AgreementKey, DeviceId, Digest, Exporter, LeafKey, Suite, SuiteId,
};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::{Entry, Request};
use split_custody_protocol::wire::grant::{Grant, GrantStatement, Terms};
use split_custody_protocol::wire::hello::Hello;
use split_custody_protocol::wire::message::{Message, Received};
use split_custody_protocol::wire::signed::ObjectKind;
use split_custody_protocol::{Violation, wire};

use super::owner::{self, Owner, SET, enrolled, list};

/// One verifier of custodian 1 and everything that its peer would know.
pub struct Bench {
    pub manifest: KnownManifest,
    pub deployment: KnownDeployment,
    pub chain: Vec<LeafKey>,
    /// Named in Hello.
    pub claimed: DeviceId,
    /// Named in the Request, in S and by the Evidence.
    pub device: DeviceId,
    pub device_key: AgreementKey,
    pub now: Instant,
}

pub const CHANNEL: ChannelId = ChannelId::new(7);

impl Bench {
    pub fn new() -> Self {
        Self::of(&Owner::new(3, 2, 0))
    }

    pub fn of(owner: &Owner) -> Self {
        let (_, device_key) = device_suite().generate(SuiteId::HPKE_X25519, 1);
        Self {
            manifest: owner.known_manifest(),
            deployment: owner.known_deployment(),
            chain: vec![leaf(), Principal::issuer()],
            claimed: enrolled(),
            device: enrolled(),
            device_key,
            now: Instant::from_millis(1_000_000),
        }
    }

    pub fn verifier(&self) -> Verifier {
        Verifier::new(CHANNEL, leaf(), peer_leaf())
    }

    pub fn context(&self) -> VerifierContext<'_> {
        VerifierContext {
            custodian: CustodianId::new(1),
            generation: Generation::new(1),
            manifest: &self.manifest,
            deployment: &self.deployment,
            chain: &self.chain,
            floor: WeightsVersion::new(1),
        }
    }

    pub fn hello(&self) -> (Hello, Vec<u8>) {
        let hello = Hello {
            versions: list(vec![1]),
            suites: list(vec![SuiteId::HPKE_X25519]),
            deployment: self.manifest.deployment,
            weights: self.manifest.weights,
            version: self.manifest.version,
            device: self.claimed,
        };
        let frame = Message::Hello(hello.clone()).to_frame();
        (hello, frame)
    }

    pub fn step(
        &self,
        verifier: &mut Verifier,
        input: VerifierInput<'_>,
    ) -> Result<VerifierStep, Violation> {
        verifier.handle(self.now, input, &self.context(), &mut custodian_suite())
    }

    pub fn exporter(&self) -> Exporter {
        let (_, frame) = self.hello();
        exporter(CHANNEL.value(), &transcript::exporter_context(&mut device_suite(), &frame))
    }

    /// Through Hello and Challenge; the challenge's frame.
    pub fn challenged(&self, verifier: &mut Verifier) -> Vec<u8> {
        let (body, frame) = self.hello();
        let hello = VerifierInput::Hello(Received { body: &body, frame: &frame });
        self.step(verifier, hello).expect("a good hello");
        let exported = self.step(verifier, VerifierInput::Exported(self.exporter()));
        match exported.expect("an export").acts.as_slice() {
            [Act::Send(challenge)] => challenge.clone(),
            other => panic!("a challenge and nothing else, not {other:?}"),
        }
    }

    /// The honest request to a challenge, for this bench's device and key.
    pub fn request(&self, challenge: &[u8]) -> Request {
        let suite = &mut device_suite();
        let own = self.entry(challenge);
        let entries = vec![Entry { custodian: CustodianId::new(1), digest: own }];
        let session = transcript::session(
            suite,
            self.manifest.digest(),
            &self.device,
            &incarnation(1),
            &entries,
        );
        let gpu = report("gpu", Hardware::Enrolled, &transcript::gpu_nonce(suite, &session));
        let data = transcript::cpu_data(suite, &session, &gpu);
        Request {
            manifest: *self.manifest.digest(),
            device: self.device,
            incarnation: incarnation(1),
            entries: list(entries),
            device_key: self.device_key.clone(),
            evidence: super::evidence(gpu, report("cpu", Hardware::Enrolled, &data)),
        }
    }

    fn entry(&self, challenge: &[u8]) -> Digest {
        let suite = &mut device_suite();
        let (_, hello) = self.hello();
        let th1 = transcript::th1(suite, &hello, challenge);
        transcript::entry(
            suite,
            &EntryInput {
                exporter: &self.exporter(),
                device_leaf: &leaf(),
                custodian_leaf: &peer_leaf(),
                th1: &th1,
                suite: SuiteId::HPKE_X25519,
                device_key: &self.device_key,
            },
        )
    }

    /// Through Request; the verdict that an appraiser would reach.
    pub fn requested(&self, verifier: &mut Verifier) -> Result<Verdict, Violation> {
        let challenge = self.challenged(verifier);
        let body = self.request(&challenge);
        let frame = Message::Request(body.clone()).to_frame();
        let received = Received { body: &body, frame: &frame };
        let step = self.step(verifier, VerifierInput::Request(received))?;
        let [Act::Ask(CustodianEffect::Appraise { evidence })] = step.acts.as_slice() else {
            panic!("an appraisal and nothing else, not {:?}", step.acts);
        };
        let value = |bytes: &[u8]| Digest::new(bytes[1..33].try_into().expect("a report's value"));
        Ok(Verdict {
            report_nonce: value(evidence.gpu.as_bytes()),
            report_data: value(evidence.cpu.as_bytes()),
            device: self.device,
            measurements: vec![measurement()],
            mode: 1,
        })
    }

    /// A whole good handshake.
    pub fn proof(&self) -> Result<Appraised, Violation> {
        let mut verifier = self.verifier();
        let verdict = self.requested(&mut verifier)?;
        let step = self.step(&mut verifier, VerifierInput::Appraised(&verdict))?;
        Ok(step.proof.expect("an appraised request has a proof"))
    }

    /// What the device keeps of an exchange with a custodian.
    pub fn ready(&self, custodian: u8) -> ReadyEntry {
        let suite = &mut device_suite();
        let (secret, device_key) = suite.generate(SuiteId::HPKE_X25519, u64::from(custodian));
        ReadyEntry {
            channel: ChannelId::new(u64::from(custodian)),
            device_leaf: leaf(),
            custodian_leaf: Principal::Custodian(custodian).leaf(0),
            suite: SuiteId::HPKE_X25519,
            th1: Digest::new([1; 32]),
            secret,
            device_key,
            entry: Digest::new([2; 32]),
        }
    }

    /// A good grant of a custodian over a session, checked.
    pub fn checked(&self, custodian: u8, session: Digest, terms: Terms) -> Checked {
        let suite = &mut device_suite();
        let (id, entry) = (CustodianId::new(custodian), self.ready(custodian));
        let th2 = Digest::new([3; 32]);
        let mut statement = GrantStatement {
            session,
            th2,
            suite: entry.suite,
            custodian: id,
            generation: Generation::new(1),
            lease: LeaseId::new([custodian; 16]),
            set: SET,
            index: ShareIndex::new(custodian),
            manifest: *self.manifest.digest(),
            device_key: transcript::device_key(suite, &entry.device_key),
            incarnation: incarnation(1),
            terms,
            epoch: Epoch::new(0),
            policy: PolicyVersion::new(1),
            index_in_log: LogIndex::new(1),
            sealed: Digest::new([0; 32]),
        };
        let auth = transcript::auth(suite, &statement);
        let context = transcript::grant_context(suite, &auth, statement.index_in_log);
        let sealed = seal_share(true_share(custodian), &entry.device_key, &context);
        statement.sealed = transcript::sealed(suite, &sealed);
        let signer = Principal::Custodian(custodian);
        let statement = owner::sign(signer, ObjectKind::Grant, encode(&statement));
        let expected = Expected {
            custodian: id,
            manifest: &self.manifest,
            entry: &entry,
            session: &session,
            incarnation: &incarnation(1),
            th2: &th2,
        };
        check_grant(&Grant { statement, sealed }, &expected, suite).expect("a good grant")
    }
}

/// The terms of the owner's policy.
pub fn terms() -> Terms {
    Terms {
        first: Span::from_millis(6_000),
        term: Span::from_millis(10_000),
        budget: Budget::UNLIMITED,
        max_age: Span::from_millis(100_000),
    }
}

pub fn leaf() -> LeafKey {
    Principal::Device.leaf(1)
}

pub fn peer_leaf() -> LeafKey {
    Principal::Custodian(1).leaf(0)
}

pub fn device_suite() -> SymbolicSuite {
    super::suite_of(Principal::Device, 1)
}

pub fn custodian_suite() -> SymbolicSuite {
    super::suite_of(Principal::Custodian(1), 0)
}

/// A renewal of a bench lease.
pub fn renewal(
    custodian: u8,
    counter: u64,
    answer: wire::lease::RenewalAnswer,
) -> wire::lease::Renewal {
    wire::lease::Renewal {
        lease: LeaseId::new([custodian; 16]),
        counter: Counter::new(counter),
        answer,
        term: terms().term,
        budget: terms().budget,
    }
}
