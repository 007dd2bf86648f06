//! The custodian's side of the handshake on one connection.

use alloc::vec::Vec;
use core::mem;

use super::appraisal::{Appraised, Appraiser, expected_reports};
use crate::effect::{Act, CustodianEffect, Verdict};
use crate::error::Violation;
use crate::ids::{ChannelId, CustodianId, Generation};
use crate::require::require;
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{Digest, Exporter, LeafKey, Suite, SuiteId};
use crate::time::{Instant, Rebase, Span};
use crate::transcript::{self, EntryInput};
use crate::wire::challenge::Challenge;
use crate::wire::evidence::{Entry, Request};
use crate::wire::hello::{Hello, VERSION};
use crate::wire::message::{Message, Received};

/// One connection's exchange, from the custodian.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Verifier {
    channel: ChannelId,
    device_leaf: LeafKey,
    custodian_leaf: LeafKey,
    /// What was issued stays to tell a second use from a first. [HS-6]
    issued: Option<Issued>,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one per connection, and soon the large one")]
enum State {
    AwaitHello,
    AwaitExporter {
        hello: Vec<u8>,
        suite: SuiteId,
    },
    AwaitRequest,
    Appraising(Appraiser),
    /// The challenge was used and its proof handed on.
    Proved,
    Closed,
}

/// A challenge, and everything that its one use is compared with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Issued {
    at: Instant,
    suite: SuiteId,
    exporter: Exporter,
    th1: Digest,
}

/// What happens to a [`Verifier`].
#[derive(Clone, Debug)]
pub enum VerifierInput<'a> {
    Hello(Received<'a, Hello>),
    Exported(Exporter),
    ExportFailed,
    Request(Received<'a, Request>),
    Appraised(&'a Verdict),
    Rejected,
    Timeout,
}

/// What a verifier compares with.
#[derive(Clone, Copy, Debug)]
pub struct VerifierContext<'a> {
    pub custodian: CustodianId,
    pub generation: Generation,
    pub manifest: &'a KnownManifest,
    pub deployment: &'a KnownDeployment,
    /// SPKI digests of the chain that the peer presented.
    pub chain: &'a [LeafKey],
    /// Oldest weights version that may still be released.
    pub floor: crate::ids::WeightsVersion,
}

/// What came of an input.
#[derive(Debug, Default)]
pub struct VerifierStep {
    pub acts: Vec<Act<CustodianEffect>>,
    pub proof: Option<Appraised>,
}

impl Verifier {
    pub const fn new(channel: ChannelId, device_leaf: LeafKey, custodian_leaf: LeafKey) -> Self {
        Self { channel, device_leaf, custodian_leaf, issued: None, state: State::AwaitHello }
    }

    /// Takes one input. On any error the exchange is closed and its challenge burnt. [HS-6]
    pub fn handle(
        &mut self,
        now: Instant,
        input: VerifierInput<'_>,
        context: &VerifierContext<'_>,
        suite: &mut impl Suite,
    ) -> Result<VerifierStep, Violation> {
        use VerifierInput as I;
        let state = mem::replace(&mut self.state, State::Closed);
        match (state, input) {
            (State::AwaitHello, I::Hello(hello)) => self.on_hello(hello, context, suite),
            (State::AwaitExporter { hello, suite: chosen }, I::Exported(exporter)) => {
                Ok(self.on_exported(now, &hello, chosen, exporter, context, suite))
            }
            (State::AwaitExporter { .. }, I::ExportFailed) => Ok(VerifierStep::default()), // [HS-2]
            (state, I::Request(request)) => {
                // A second request meets a spent challenge, whatever became of the first.
                require!(HS_6, matches!(state, State::AwaitRequest));
                self.on_request(now, request, context, suite)
            }
            (State::AwaitRequest, I::Timeout) => Err(Violation::ChallengeDead), // [HS-7]
            (State::Appraising(appraiser), I::Appraised(verdict)) => {
                let proof =
                    appraiser.conclude(verdict, context.manifest, context.deployment, suite)?;
                self.state = State::Proved;
                Ok(VerifierStep { acts: Vec::new(), proof: Some(proof) })
            }
            (State::Appraising(_), I::Rejected) => Err(Violation::ClaimsRefused), // [HS-16]
            _ => Err(Violation::Unexpected),
        }
    }

    fn on_hello(
        &mut self,
        hello: Received<'_, Hello>,
        context: &VerifierContext<'_>,
        suite: &mut impl Suite,
    ) -> Result<VerifierStep, Violation> {
        let asked = hello.body;
        require!(HS_19, issuer_is_enrolled(context));
        require!(HS_4, manifest_is_known(asked, context));
        // [HS-5] Only a claim; refusing early keeps strangers from costing an appraisal.
        require!(HS_5, context.deployment.devices.iter().any(|device| *device == asked.device));
        let chosen = choose_suite(asked, context).ok_or(Violation::NothingInCommon)?; // [HS-3]
        let export = CustodianEffect::Export {
            channel: self.channel,
            context: transcript::exporter_context(suite, hello.frame),
        };
        self.state = State::AwaitExporter { hello: hello.frame.to_vec(), suite: chosen };
        Ok(VerifierStep { acts: alloc::vec![Act::Ask(export)], proof: None })
    }

    fn on_exported(
        &mut self,
        now: Instant,
        hello: &[u8],
        chosen: SuiteId,
        exporter: Exporter,
        context: &VerifierContext<'_>,
        suite: &mut impl Suite,
    ) -> VerifierStep {
        let challenge = Message::Challenge(Challenge {
            custodian: context.custodian,
            generation: context.generation,
            nonce: suite.fresh(self.channel.value()),
            version: VERSION,
            suite: chosen,
        })
        .to_frame();
        let th1 = transcript::th1(suite, hello, &challenge);
        self.issued = Some(Issued { at: now, suite: chosen, exporter, th1 });
        self.state = State::AwaitRequest;
        VerifierStep { acts: alloc::vec![Act::Send(challenge)], proof: None }
    }

    fn on_request(
        &mut self,
        now: Instant,
        request: Received<'_, Request>,
        context: &VerifierContext<'_>,
        suite: &mut impl Suite,
    ) -> Result<VerifierStep, Violation> {
        let issued = self.issued.as_ref().ok_or(Violation::ChallengeSpent)?; // [HS-6]
        let asked = request.body;
        let dead = issued.at.after(context.manifest.policy.challenge_max);
        require!(HS_7, now < dead);
        require!(
            HS_20,
            suite.same(asked.manifest.as_bytes(), context.manifest.digest().as_bytes())
        );
        require!(HS_9, entries_in_order(asked.entries.as_slice(), context.manifest));
        let own = transcript::entry(
            suite,
            &EntryInput {
                exporter: &issued.exporter,
                device_leaf: &self.device_leaf,
                custodian_leaf: &self.custodian_leaf,
                th1: &issued.th1,
                suite: issued.suite,
                device_key: &asked.device_key,
            },
        );
        let listed = asked.entries.iter().find(|entry| entry.custodian == context.custodian);
        require!(
            HS_10,
            listed.is_some_and(|entry| {
                suite.same(entry.digest.as_bytes(), own.as_bytes()).is_ok()
            })
        );
        require!(HS_15, suite.validate_key(issued.suite, &asked.device_key));
        let session = transcript::session(
            suite,
            context.manifest.digest(),
            &asked.device,
            &asked.incarnation,
            asked.entries.as_slice(),
        );
        let (gpu_nonce, cpu_data) =
            expected_reports(suite, &session, asked.evidence.gpu.as_bytes());
        let claims = Appraised {
            channel: self.channel,
            session,
            th2: transcript::th2(suite, &issued.th1, request.frame),
            suite: issued.suite,
            device: asked.device,
            incarnation: asked.incarnation,
            device_key: asked.device_key.clone(),
            device_leaf: self.device_leaf,
            custodian_leaf: self.custodian_leaf,
            challenged: issued.at,
        };
        let kind = asked.evidence.kind;
        self.state = State::Appraising(Appraiser { claims, kind, gpu_nonce, cpu_data });
        let appraise = CustodianEffect::Appraise { evidence: asked.evidence.clone() };
        Ok(VerifierStep { acts: alloc::vec![Act::Ask(appraise)], proof: None })
    }

    /// An error on the connection spends its challenge, whatever message made it. [HS-6]
    pub fn burn(&mut self) {
        if matches!(self.state, State::AwaitRequest) {
            self.state = State::Closed;
        }
    }

    /// When the challenge dies, while it is unused. [HS-7]
    pub fn poll_timeout(&self, challenge_max: Span) -> Option<Instant> {
        match (&self.state, &self.issued) {
            (State::AwaitRequest, Some(issued)) => Some(issued.at.after(challenge_max)),
            _ => None,
        }
    }

    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// The state's name in the table of chapter 20.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::AwaitHello => "AwaitHello",
            State::AwaitExporter { .. } => "AwaitExporter",
            State::AwaitRequest => "AwaitRequest",
            State::Appraising(_) => "Appraising",
            State::Proved => "Proved",
            State::Closed => "Closed",
        }
    }
}

fn issuer_is_enrolled(context: &VerifierContext<'_>) -> bool {
    context.deployment.issuers.iter().any(|issuer| context.chain.contains(issuer))
}

fn manifest_is_known(asked: &Hello, context: &VerifierContext<'_>) -> bool {
    asked.deployment == context.manifest.deployment
        && asked.weights == context.manifest.weights
        && asked.version == context.manifest.version
        && asked.version >= context.floor
}

/// The first suite that the device offers, the manifest allows here and this version runs.
fn choose_suite(asked: &Hello, context: &VerifierContext<'_>) -> Option<SuiteId> {
    let allowed = &context.manifest.custodian(context.custodian)?.suites;
    if !asked.versions.iter().any(|version| *version == VERSION) {
        return None;
    }
    asked
        .suites
        .iter()
        .copied()
        .find(|offer| offer.is_implemented() && allowed.iter().any(|suite| suite == offer))
}

/// Strictly ascending, and custodians of this manifest every one. [HS-9]
fn entries_in_order(entries: &[Entry], manifest: &KnownManifest) -> bool {
    let ascending = entries.windows(2).all(|pair| match pair {
        [a, b] => a.custodian < b.custodian,
        _ => true,
    });
    ascending && entries.iter().all(|entry| manifest.custodian(entry.custodian).is_some())
}

impl Rebase for Verifier {
    fn rebase(&mut self, by: Span, floor: Instant) {
        if let Some(issued) = &mut self.issued {
            issued.at.rebase(by, floor);
        }
        if let State::Appraising(appraiser) = &mut self.state {
            appraiser.rebase(by, floor);
        }
    }
}
