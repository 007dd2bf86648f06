//! The custodian: one machine that owns every connection of its process.
//!
//! Chapters 20 to 80, custodian side. A grant leaves only while it serves, nothing it knows covers
//! the release, and lease and leaf are durable; an acknowledgement leaves only when nothing that
//! its order covers can still leave. It holds no key: its driver's HSM does.

mod exchange;
mod operate;
mod renew;

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use super::names::ManifestNames;
use super::{Draw, Rejection};
use crate::audit::{Knows, Standing};
use crate::effect::{
    Anchor, CustodianAnswer, CustodianEffect, LeaseRecord, Outbox, Output, Report,
};
use crate::error::{Misuse, Violation};
use crate::handshake::{Verifier, VerifierContext, VerifierInput};
use crate::ids::{
    ChannelId, CorrelationId, Counter, CustodianId, DeploymentId, Epoch, Generation, LeaseId,
    Ticket, WeightsVersion,
};
use crate::lease::Ledger;
use crate::release::{Coverage, Granter};
use crate::revocation::{KnownOrder, OrderSet, Progress};
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{Digest, LeafKey, Nonce, Suite, VerifyKey};
use crate::time::{Instant, Rebase, Span};
use crate::wire::grant::Refused;
use crate::wire::message::{Message, Received};
use crate::wire::order::Subject;

/// What a custodian is configured with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CustodianConfig {
    pub id: CustodianId,
    pub deployment: DeploymentId,
    pub owner: VerifyKey,
    /// Of the key that signs its grants.
    pub grant_key: VerifyKey,
    /// `H("kek", key)` of the key that shares are sealed to.
    pub kek: Digest,
}

/// What its store held when this generation began; the store has already counted it up. [AUD-3]
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Recovered {
    pub generation: Generation,
    pub epoch: Epoch,
    /// Encoded approvals of each order.
    pub orders: Vec<Vec<u8>>,
    /// The encoded provision.
    pub provision: Option<Vec<u8>>,
    /// The manifest that was activated.
    pub active: Option<Digest>,
    pub leases: Vec<LeaseRecord>,
    pub anchor: Option<Anchor>,
}

/// What happens to a custodian.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CustodianInput {
    /// Once, first.
    Booted,
    ChannelOpened {
        channel: ChannelId,
        own_leaf: LeafKey,
        peer_leaf: LeafKey,
        /// SPKI digests of every certificate that the peer presented.
        chain: Vec<LeafKey>,
    },
    ChannelClosed {
        channel: ChannelId,
    },
    Received {
        channel: ChannelId,
        frame: Vec<u8>,
    },
    Done {
        ticket: Ticket,
        answer: CustodianAnswer,
    },
    Timeout,
}

/// The custodian's machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Custodian {
    config: CustodianConfig,
    generation: Generation,
    epoch: Epoch,
    booted: Instant,
    recovered: Option<Recovered>,
    standing: Standing,
    activation: Nonce,
    known: Option<Known>,
    orders: OrderSet,
    applying: Option<Applying>,
    queued: VecDeque<Queued>,
    /// Orders whose commit is known to be durable. [REV-4]
    confirmed: BTreeSet<Digest>,
    /// What this generation said of each order, for whoever submits it again.
    acknowledged: BTreeMap<Digest, Vec<u8>>,
    connections: BTreeMap<ChannelId, Connection>,
    ledger: Ledger,
    leases_made: u64,
    refusals: u64,
    awaiting_dead: BTreeMap<Digest, AwaitingDead>,
    anchor: Option<Anchor>,
    out: Outbox<CustodianEffect, Work>,
}

/// What this custodian was provisioned with.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Known {
    manifest: KnownManifest,
    deployment: KnownDeployment,
    floor: WeightsVersion,
    names: ManifestNames,
}

/// One connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Connection {
    own_leaf: LeafKey,
    peer_leaf: LeafKey,
    chain: Vec<LeafKey>,
    verifier: Verifier,
    granter: Option<Granter>,
    presence: Presence,
}

/// Whether a peer is still there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Presence {
    Here,
    /// Its release was being committed when it left: the outcome still has to be noted.
    Gone,
}

/// An order and who waits for its acknowledgement.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Queued {
    order: KnownOrder,
    waiting: BTreeSet<ChannelId>,
}

/// The order that is being applied; one at a time.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Applying {
    queued: Queued,
    progress: Progress,
    /// The encoded acknowledgement, once it is being signed.
    payload: Vec<u8>,
}

/// The peers that wait to hear that an order's leases are dead.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct AwaitingDead {
    subject: Subject,
    waiting: BTreeSet<ChannelId>,
    saying: Saying,
}

/// What this generation has said of an order's leases.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Saying {
    Nothing,
    Signing,
    /// The signed frame, for whoever asks again.
    Said(Vec<u8>),
}

/// What an open question is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Work {
    Handshake(ChannelId),
    Release(ChannelId),
    Renewal {
        channel: ChannelId,
        lease: LeaseId,
        counter: Counter,
        answer: Vec<u8>,
        lapse: Instant,
    },
    Order,
    Dead {
        order: Digest,
        payload: Vec<u8>,
    },
    Provision {
        channel: ChannelId,
        known: alloc::boxed::Box<Known>,
    },
    Activate {
        channel: ChannelId,
    },
}

impl Custodian {
    pub fn new(config: CustodianConfig, recovered: Recovered) -> Self {
        Self {
            config,
            generation: recovered.generation,
            epoch: recovered.epoch,
            booted: Instant::default(),
            anchor: recovered.anchor.clone(),
            recovered: Some(recovered),
            standing: Standing::default(),
            activation: Nonce::new([0; 32]),
            known: None,
            orders: OrderSet::default(),
            applying: None,
            queued: VecDeque::new(),
            confirmed: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            connections: BTreeMap::new(),
            ledger: Ledger::default(),
            leases_made: 0,
            refusals: 0,
            awaiting_dead: BTreeMap::new(),
            out: Outbox::new(),
        }
    }

    /// Takes one input; then poll outputs until `None`.
    pub fn handle(
        &mut self,
        now: Instant,
        input: CustodianInput,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        use CustodianInput as I;
        match input {
            I::Booted => self.on_booted(now, suite),
            I::ChannelOpened { channel, own_leaf, peer_leaf, chain } => {
                let verifier = Verifier::new(channel, peer_leaf, own_leaf);
                let presence = Presence::Here;
                let connection =
                    Connection { own_leaf, peer_leaf, chain, verifier, granter: None, presence };
                match self.connections.insert(channel, connection) {
                    None => Ok(()),
                    Some(_) => Err(Misuse::UnknownChannel.into()),
                }
            }
            I::ChannelClosed { channel } => {
                self.on_channel_closed(channel);
                Ok(())
            }
            I::Received { channel, frame } => self.on_received(now, channel, &frame, suite),
            I::Done { ticket, answer } => self.on_done(now, ticket, answer, suite),
            I::Timeout => self.on_timeout(now, suite),
        }
    }

    /// What to do next; nothing is repeated.
    pub fn poll_output(&mut self) -> Option<Output<CustodianEffect>> {
        self.out.poll()
    }

    /// When to come back with `Timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let known = self.known.as_ref()?;
        let challenge_max = known.manifest.policy.challenge_max;
        let challenges = self
            .connections
            .values()
            .filter_map(|connection| connection.verifier.poll_timeout(challenge_max));
        challenges.chain(self.deaths().into_values()).min()
    }

    fn on_channel_closed(&mut self, channel: ChannelId) {
        let committing = |c: &Connection| {
            c.granter.as_ref().is_some_and(|granter| granter.state_name() == "Committing")
        };
        match self.connections.get_mut(&channel) {
            // The lease may be durable: it is noted, and its grant never leaves. [RST-6]
            Some(connection) if committing(connection) => connection.presence = Presence::Gone,
            _ => {
                self.connections.remove(&channel);
                self.out.cancel(|work| match work {
                    Work::Handshake(of) | Work::Release(of) => *of == channel,
                    _ => false,
                });
            }
        }
        self.forget_waiting(channel);
        self.forget_submitter(channel);
    }

    fn on_received(
        &mut self,
        now: Instant,
        channel: ChannelId,
        frame: &[u8],
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        if !self.connections.contains_key(&channel) {
            return Err(Misuse::UnknownChannel.into());
        }
        let message = match Message::from_frame(frame) {
            Ok(message) => message,
            Err(error) => {
                let rejection = self.refuse(channel, error.into(), suite);
                self.out.close(channel);
                return Err(rejection);
            }
        };
        match &message {
            Message::Hello(body) => {
                let hello = VerifierInput::Hello(Received { body, frame });
                self.handshake(now, channel, hello, suite)
            }
            Message::Request(body) => {
                let request = VerifierInput::Request(Received { body, frame });
                self.handshake(now, channel, request, suite)
            }
            Message::Renew(renew) => self.on_renew(now, channel, renew, suite),
            Message::Submit(submit) => self.on_submit(channel, &submit.approvals, suite),
            Message::AwaitDead(wait) => self.on_await_dead(now, channel, wait.order, suite),
            Message::Query(query) => self.on_query(channel, query, suite),
            Message::Activate(activate) => self.on_activate(channel, &activate.approvals, suite),
            Message::Provision(provision) => self.on_provision(channel, provision, frame, suite),
            _ => Err(self.refuse(channel, Violation::Unexpected, suite)),
        }
    }

    fn on_done(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: CustodianAnswer,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        // The answer of a cancelled question is discarded. [REV-5]
        let Some(work) = self.out.answered(ticket)? else {
            return Ok(());
        };
        match work {
            Work::Handshake(channel) => self.on_handshake_done(now, channel, &answer, suite),
            Work::Release(channel) => self.on_release_done(now, channel, ticket, answer, suite),
            Work::Order => self.on_order_done(ticket, answer, suite),
            Work::Renewal { channel, lease, counter, answer: frame, lapse } => {
                self.on_renewal_done(ticket, answer, channel, (lease, counter), frame, lapse)
            }
            Work::Dead { order, payload } => self.on_dead_signed(order, payload, answer),
            Work::Provision { channel, known } => {
                self.on_provisioned(ticket, channel, known, answer)
            }
            Work::Activate { channel } => self.on_activation_done(ticket, channel, answer),
        }
    }

    fn on_timeout(&mut self, now: Instant, suite: &mut impl Suite) -> Result<(), Rejection> {
        let Some(known) = &self.known else {
            return Ok(());
        };
        let challenge_max = known.manifest.policy.challenge_max;
        let dead: Vec<ChannelId> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                connection.verifier.poll_timeout(challenge_max).is_some_and(|at| now >= at)
            })
            .map(|(channel, _)| *channel)
            .collect();
        for channel in dead {
            // Each closes its own exchange; the others go on. [HS-7]
            let _ = self.handshake(now, channel, VerifierInput::Timeout, suite);
        }
        self.settle_dead(now);
        Ok(())
    }

    /// The peer hears one uniform `refused`; the operator's log hears why. [HS-21]
    fn refuse(
        &mut self,
        channel: ChannelId,
        violation: Violation,
        suite: &mut impl Suite,
    ) -> Rejection {
        if let Some(connection) = self.connections.get_mut(&channel) {
            connection.verifier.burn(); // [HS-6]
        }
        self.refusals += 1;
        let drawn = suite.fresh(Draw::Correlation.slot(self.refusals));
        let mut correlation = [0; CorrelationId::SIZE];
        for (place, byte) in correlation.iter_mut().zip(drawn.as_bytes()) {
            *place = *byte;
        }
        let refused = Refused { correlation: CorrelationId::new(correlation) };
        self.out.transmit(channel, Message::Refused(refused).to_frame());
        self.out.report(Report::Refused { channel, violation, correlation: Some(drawn) });
        violation.into()
    }

    fn knows<'a>(&'a self, known: &'a Known, orders: &'a BTreeSet<Digest>) -> Knows<'a> {
        Knows {
            custodian: self.config.id,
            generation: self.generation,
            epoch: self.epoch,
            manifest: &known.manifest,
            nonce: &self.activation,
            orders,
            anchor: self.anchor.as_ref(),
        }
    }

    fn order_digests(&self) -> BTreeSet<Digest> {
        self.orders.digests().copied().collect()
    }

    /// Whether orders cover a lease, under any name that it was granted under. [LEA-9]
    fn coverage_of(&self, record: &LeaseRecord) -> Coverage {
        match &self.known {
            Some(known) => {
                let names = known.names.with(&record.device, &record.names());
                self.orders.coverage(&names)
            }
            None => Coverage::Revoked,
        }
    }

    pub const fn generation(&self) -> Generation {
        self.generation
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// What an activation of this generation must name. [AUD-5]
    pub const fn activation_nonce(&self) -> Nonce {
        self.activation
    }

    pub const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub const fn orders(&self) -> &OrderSet {
        &self.orders
    }

    /// The names of the states of each connection: its handshake's, and its release's where there
    /// is one.
    pub fn connection_states(
        &self,
    ) -> impl Iterator<Item = (ChannelId, &'static str, Option<&'static str>)> {
        self.connections.iter().map(|(channel, connection)| {
            let granter = connection.granter.as_ref().map(Granter::state_name);
            (*channel, connection.verifier.state_name(), granter)
        })
    }

    /// The name of the state of the order that is being applied.
    pub fn order_state(&self) -> Option<&'static str> {
        self.applying.as_ref().map(|applying| applying.progress.state_name())
    }
}

impl LeaseRecord {
    /// The certificates under whose keys the device came.
    fn names(&self) -> Vec<LeafKey> {
        let mut keys = self.chain.clone();
        keys.push(self.device_leaf);
        keys
    }
}

impl Known {
    fn context<'a>(&'a self, custodian: &Custodian, chain: &'a [LeafKey]) -> VerifierContext<'a> {
        VerifierContext {
            custodian: custodian.config.id,
            generation: custodian.generation,
            manifest: &self.manifest,
            deployment: &self.deployment,
            chain,
            floor: self.floor,
        }
    }
}

impl Rebase for Custodian {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.booted.rebase(by, floor);
        self.ledger.rebase(by, floor);
        for connection in self.connections.values_mut() {
            connection.verifier.rebase(by, floor);
            connection.granter.rebase(by, floor);
        }
        self.out.rebase_work(by, floor);
    }
}

impl Rebase for Work {
    fn rebase(&mut self, by: Span, floor: Instant) {
        if let Self::Renewal { lapse, .. } = self {
            lapse.rebase(by, floor);
        }
    }
}
