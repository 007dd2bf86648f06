//! One device, n custodians, one clock and a network that a story can interfere with.
//!
//! Effects are executed at once unless a script says otherwise; frames arrive in order unless a
//! rule says otherwise. Nothing here judges: stories do.

pub mod bench;
pub mod node;
pub mod owner;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use split_custody_model_check::symbolic::{
    self, Hardware, Principal, SymbolicSuite, incarnation, report,
};
use split_custody_protocol::effect::{CustodianEffect, DeviceAnswer, DeviceEffect, Output, Report};
use split_custody_protocol::ids::{ChannelId, CustodianId, Ticket};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{CustodianInput, Device, DeviceConfig, DeviceInput, Rejection};
use split_custody_protocol::suite::{Bytes, LeafKey};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::Order;
use split_custody_protocol::wire::standing::{Query, Status};
use split_custody_protocol::{Violation, transcript};

use node::Node;
use owner::{DEPLOYMENT, Owner, operator, submit};

/// What kind of effect a script waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Export,
    Appraise,
    CommitGrant,
    CommitRenewal,
    CommitOrder,
    CommitProvision,
    CommitActivation,
    Reread,
    Release,
    Sign,
    Anchor,
    DestroyHandles,
    CollectEvidence,
    Load,
    Erase,
    Zeroise,
    Scrub,
    Plant,
}

/// What happens to one effect.
#[derive(Clone, Debug)]
pub enum Reply<A> {
    /// This answer, and nothing is done.
    Answer(A),
    /// It is done, and this is the answer.
    WrittenAnd(A),
    /// It waits in `held`.
    Hold,
}

/// What happens to one frame.
#[derive(Clone, Copy)]
pub enum Fate {
    Drop,
    /// It waits in `parked`.
    Park,
    Change(fn(Message) -> Message),
}

/// Who sent a frame.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum From {
    Device,
    Custodian(u8),
}

/// A frame under way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Carried {
    pub from: From,
    pub channel: u64,
    pub frame: Vec<u8>,
}

impl Carried {
    pub fn message(&self) -> Message {
        Message::from_frame(&self.frame).expect("machines send well-formed frames")
    }
}

/// Whether a driver lists a peer's own leaf in the chain that it shows to its custodian.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Shown {
    Yes,
    No,
}

/// Who holds the other end of a custodian's channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Device,
    /// Frames to it are collected.
    Outsider,
}

/// One device, n custodians, one clock.
#[derive(Clone)]
pub struct Pair {
    pub now: Instant,
    pub owner: Owner,
    pub device: Device,
    pub nodes: BTreeMap<u8, Node>,
    /// Counts the device's lives.
    pub life: u64,
    /// Each is used once, for the next effect of its kind.
    pub script: Vec<(Kind, Reply<DeviceAnswer>)>,
    pub held: Vec<(Ticket, DeviceEffect)>,
    pub asked: Vec<DeviceEffect>,
    /// Each is used once, for the next frame of its sender and type.
    pub network: Vec<(From, MessageType, Fate)>,
    pub parked: Vec<Carried>,
    /// Every frame that left a machine.
    pub sent: Vec<Carried>,
    /// Custodians whom dials do not reach.
    pub unreachable: BTreeSet<u8>,
    /// What the device presents beside its leaf.
    pub chain: Vec<LeafKey>,
    /// What drivers of custodians leave out of a chain.
    pub leaf_in_chain: Shown,
    /// Replaces the device's own reports.
    pub reports: fn(&mut Evidence),
    pub device_reports: Vec<Report>,
    pub custodian_reports: Vec<(u8, Report)>,
    pub device_rejections: Vec<Rejection>,
    pub custodian_rejections: Vec<(u8, Rejection)>,
    pub mail: BTreeMap<u64, Vec<Message>>,
    channels: BTreeMap<u64, (u8, Peer)>,
    last_channel: u64,
    wire: VecDeque<Carried>,
}

impl Pair {
    /// Two of three: provisioned, activated, and a clean device that does not hold the model.
    pub fn new() -> Self {
        Self::of(Owner::new(3, 2, 0))
    }

    /// The same under other owner's objects.
    pub fn of(owner: Owner) -> Self {
        let mut pair = Self::unprovisioned(owner);
        for id in pair.nodes.keys().copied().collect::<Vec<_>>() {
            pair.provision(id);
            pair.activate(id);
        }
        pair.device_input(DeviceInput::PoweredOn);
        pair
    }

    /// The device serves the model under leases of every custodian.
    pub fn serving() -> Self {
        let mut pair = Self::new();
        pair.acquire();
        assert_eq!(pair.custody(), "Serving");
        pair
    }

    pub fn unprovisioned(owner: Owner) -> Self {
        Self::unprovisioned_at(Instant::from_millis(1_000_000), owner)
    }

    /// Clocks that read something else when everything starts.
    pub fn unprovisioned_at(now: Instant, owner: Owner) -> Self {
        let nodes = (1..=owner.manifest.n).map(|id| (id, Node::new(id))).collect();
        let mut pair = Self {
            now,
            owner,
            device: Device::new(device_config(OnHostRead::Reset)),
            nodes,
            life: 0,
            script: Vec::new(),
            held: Vec::new(),
            asked: Vec::new(),
            network: Vec::new(),
            parked: Vec::new(),
            sent: Vec::new(),
            unreachable: BTreeSet::new(),
            chain: vec![Principal::issuer()],
            leaf_in_chain: Shown::Yes,
            reports: |_| {},
            device_reports: Vec::new(),
            custodian_reports: Vec::new(),
            device_rejections: Vec::new(),
            custodian_rejections: Vec::new(),
            mail: BTreeMap::new(),
            channels: BTreeMap::new(),
            last_channel: 0,
            wire: VecDeque::new(),
        };
        for id in pair.nodes.keys().copied().collect::<Vec<_>>() {
            pair.custodian_input(id, CustodianInput::Booted);
        }
        pair
    }

    /// A device whose hardware blocks host reads and does nothing more.
    pub fn blocking(mut self) -> Self {
        self.device = Device::new(device_config(OnHostRead::Block));
        self.device_input(DeviceInput::PoweredOn);
        self
    }

    pub fn node(&mut self, id: u8) -> &mut Node {
        self.nodes.get_mut(&id).expect("a custodian of the manifest")
    }

    pub fn provision(&mut self, id: u8) -> Vec<Message> {
        self.tell(id, self.owner.provision(id))
    }

    pub fn activate(&mut self, id: u8) -> Vec<Message> {
        let status = self.status(id);
        let activation = self.owner.activation(&status);
        self.tell(id, owner::activate(&activation, &[operator(1)]))
    }

    /// Whether a custodian still knows a channel.
    pub fn is_open(&mut self, id: u8, channel: u64) -> bool {
        self.node(id).machine.connection_states().any(|(of, _, _)| of.value() == channel)
    }

    pub fn status(&mut self, id: u8) -> Status {
        match self.tell(id, Message::Query(Query { deployment: DEPLOYMENT })).as_slice() {
            [Message::Status(status)] => status.clone(),
            other => panic!("a status and nothing else, not {other:?}"),
        }
    }

    /// The sole operator's order to one custodian, and what comes back.
    pub fn order(&mut self, id: u8, order: &Order) -> Vec<Message> {
        self.tell(id, submit(order, &[operator(1)]))
    }

    /// A stranger's message over a channel of its own, and what comes back.
    pub fn tell(&mut self, id: u8, message: Message) -> Vec<Message> {
        let channel = self.outsider(id);
        self.say(channel, message)
    }

    /// Opens a channel of somebody who is not the device.
    pub fn outsider(&mut self, id: u8) -> u64 {
        let leaf = Principal::Stranger.leaf(1);
        self.connect(id, Peer::Outsider, leaf)
    }

    /// Opens a second channel with the device's own leaf, held by the story.
    pub fn beside(&mut self, id: u8) -> u64 {
        self.connect(id, Peer::Outsider, Principal::Device.leaf(self.life))
    }

    pub fn say(&mut self, channel: u64, message: Message) -> Vec<Message> {
        self.say_bytes(channel, message.to_frame())
    }

    pub fn say_bytes(&mut self, channel: u64, frame: Vec<u8>) -> Vec<Message> {
        let (id, _) = self.channels[&channel];
        self.custodian_input(
            id,
            CustodianInput::Received { channel: ChannelId::new(channel), frame },
        );
        self.mail.remove(&channel).unwrap_or_default()
    }

    pub fn acquire(&mut self) {
        let (manifest, deployment) = (self.owner.signed_manifest(), self.owner.signed_deployment());
        self.device_input(DeviceInput::Acquire { manifest, deployment });
    }

    pub fn restart(&mut self, id: u8) {
        let now = self.now;
        let node = self.node(id);
        let recovered = node.recovered();
        node.restart(now, recovered);
        self.drop_channels_of(id);
    }

    /// Every channel of a custodian breaks, seen from the device.
    pub fn drop_channels_of(&mut self, id: u8) {
        let broken: Vec<u64> =
            self.channels.iter().filter(|(_, (of, _))| *of == id).map(|(c, _)| *c).collect();
        for channel in broken {
            self.break_channel(channel);
        }
    }

    pub fn break_channel(&mut self, channel: u64) {
        let Some((id, peer)) = self.channels.remove(&channel) else { return };
        let closed = ChannelId::new(channel);
        self.custodian_input(id, CustodianInput::ChannelClosed { channel: closed });
        if peer == Peer::Device {
            self.device_input(DeviceInput::ChannelClosed { channel: closed });
        }
    }

    /// The device's channel to a custodian.
    pub fn channel(&self, id: u8) -> u64 {
        let of = |(_, (to, peer)): &(&u64, &(u8, Peer))| *to == id && *peer == Peer::Device;
        *self.channels.iter().rev().find(of).expect("an open channel").0
    }

    /// A frame to the device on its channel to a custodian.
    pub fn device_receives(&mut self, id: u8, message: &Message) -> Result<(), Rejection> {
        let channel = ChannelId::new(self.channel(id));
        let received = DeviceInput::Received { channel, frame: message.to_frame() };
        let result =
            self.device.handle(self.now, received, &mut suite_of(Principal::Device, self.life));
        self.run();
        result
    }

    /// A frame to a custodian on the device's channel.
    pub fn custodian_receives(&mut self, id: u8, message: &Message) -> Result<(), Rejection> {
        let channel = ChannelId::new(self.channel(id));
        let now = self.now;
        let received = CustodianInput::Received { channel, frame: message.to_frame() };
        let suite = &mut suite_of(Principal::Custodian(id), 0);
        let result = self.node(id).machine.handle(now, received, suite);
        self.run();
        result
    }

    pub fn device_input(&mut self, input: DeviceInput) {
        let suite = &mut suite_of(Principal::Device, self.life);
        let result = self.device.handle(self.now, input, suite);
        self.device_rejections.extend(result.err());
        self.run();
    }

    pub fn custodian_input(&mut self, id: u8, input: CustodianInput) {
        self.give(id, input);
        self.run();
    }

    fn give(&mut self, id: u8, input: CustodianInput) {
        let now = self.now;
        let suite = &mut suite_of(Principal::Custodian(id), 0);
        let result = self.node(id).machine.handle(now, input, suite);
        self.custodian_rejections.extend(result.err().map(|rejection| (id, rejection)));
    }

    /// Executes the oldest held effect of a custodian.
    pub fn resume(&mut self, id: u8) {
        let node = self.node(id);
        let (ticket, effect) = node.held.remove(0);
        let answer = node.honest(ticket, &effect);
        self.custodian_input(id, CustodianInput::Done { ticket, answer });
    }

    /// Answers the oldest held effect of the device.
    pub fn device_answer(&mut self, answer: DeviceAnswer) {
        let (ticket, _) = self.held.remove(0);
        self.device_input(DeviceInput::Done { ticket, answer });
    }

    /// Executes the oldest held effect of the device.
    pub fn device_resume(&mut self) {
        let (ticket, effect) = self.held.remove(0);
        let answer = self.honest(&effect);
        self.device_input(DeviceInput::Done { ticket, answer });
    }

    /// Delivers the frames that a rule parked.
    pub fn deliver(&mut self) {
        self.wire.extend(std::mem::take(&mut self.parked));
        self.run();
    }

    /// Lets time pass, stopping at each alarm on the way.
    pub fn wait(&mut self, millis: u64) {
        let until = self.now.after(Span::from_millis(millis));
        let mut alarms = 0;
        while let Some((at, who)) = self.next_alarm().filter(|(at, _)| *at <= until) {
            alarms += 1;
            assert!(alarms < 1_000, "an alarm of {who:?} rings for ever");
            self.now = self.now.max(at);
            match who {
                From::Device => self.device_input(DeviceInput::Timeout),
                From::Custodian(id) => self.custodian_input(id, CustodianInput::Timeout),
            }
        }
        self.now = until;
    }

    /// Lets time pass without an alarm: a machine that is stalled.
    pub fn stall(&mut self, millis: u64) {
        self.now = self.now.after(Span::from_millis(millis));
    }

    fn next_alarm(&self) -> Option<(Instant, From)> {
        let device = self.device.poll_timeout().map(|at| (at, From::Device));
        let custodians = self.nodes.iter().filter_map(|(id, node)| {
            node.machine.poll_timeout().map(|at| (at, From::Custodian(*id)))
        });
        custodians.chain(device).min()
    }

    fn connect(&mut self, id: u8, peer: Peer, leaf: LeafKey) -> u64 {
        self.last_channel += 1;
        let channel = self.last_channel;
        self.channels.insert(channel, (id, peer));
        let mut chain = match self.leaf_in_chain {
            Shown::Yes => vec![leaf],
            Shown::No => vec![],
        };
        chain.extend(&self.chain);
        let own_leaf = Principal::Custodian(id).leaf(0);
        let opened = ChannelId::new(channel);
        self.give(
            id,
            CustodianInput::ChannelOpened { channel: opened, own_leaf, peer_leaf: leaf, chain },
        );
        channel
    }

    fn dial(&mut self, custodian: CustodianId) {
        let id = custodian.value();
        if self.unreachable.contains(&id) {
            return self.device_input(DeviceInput::ChannelFailed { custodian });
        }
        let own_leaf = Principal::Device.leaf(self.life);
        let channel = ChannelId::new(self.connect(id, Peer::Device, own_leaf));
        let peer_leaf = Principal::Custodian(id).leaf(0);
        self.device_input(DeviceInput::ChannelOpened { channel, custodian, own_leaf, peer_leaf });
    }

    /// Until nothing moves.
    fn run(&mut self) {
        loop {
            if let Some(output) = self.device.poll_output() {
                self.on_device_output(output);
                continue;
            }
            let ids: Vec<u8> = self.nodes.keys().copied().collect();
            let output =
                ids.iter().find_map(|id| Some((*id, self.node(*id).machine.poll_output()?)));
            if let Some((id, output)) = output {
                self.on_custodian_output(id, output);
                continue;
            }
            match self.wire.pop_front() {
                Some(carried) => self.arrive(carried),
                None => return,
            }
        }
    }

    fn on_device_output(&mut self, output: Output<DeviceEffect>) {
        match output {
            Output::Transmit { channel, frame } => self.send(From::Device, channel, frame),
            Output::Close { channel } => self.hang_up(channel),
            Output::Dial { custodian } => self.dial(custodian),
            Output::Report(report) => self.device_reports.push(report),
            Output::Effect { ticket, effect } => {
                self.asked.push(effect.clone());
                let kind = kind_of(&effect);
                let scripted = self.script.iter().position(|(of, _)| *of == kind);
                let answer = match scripted.map(|place| self.script.remove(place).1) {
                    None => self.honest(&effect),
                    Some(Reply::Answer(answer) | Reply::WrittenAnd(answer)) => answer,
                    Some(Reply::Hold) => return self.held.push((ticket, effect)),
                };
                self.device_input(DeviceInput::Done { ticket, answer });
            }
        }
    }

    fn on_custodian_output(&mut self, id: u8, output: Output<CustodianEffect>) {
        match output {
            Output::Transmit { channel, frame } => self.send(From::Custodian(id), channel, frame),
            Output::Close { channel } => self.hang_up(channel),
            Output::Dial { .. } => unreachable!("custodians do not dial"),
            Output::Report(report) => self.custodian_reports.push((id, report)),
            Output::Effect { ticket, effect } => {
                if let Some(answer) = self.node(id).reply(ticket, effect) {
                    self.give(id, CustodianInput::Done { ticket, answer });
                }
            }
        }
    }

    /// What was sent before on the channel still arrives.
    fn hang_up(&mut self, channel: ChannelId) {
        let (on_it, rest): (VecDeque<_>, VecDeque<_>) =
            self.wire.drain(..).partition(|carried| carried.channel == channel.value());
        self.wire = rest;
        on_it.into_iter().for_each(|carried| self.arrive(carried));
        self.break_channel(channel.value());
    }

    fn send(&mut self, from: From, channel: ChannelId, frame: Vec<u8>) {
        let mut carried = Carried { from, channel: channel.value(), frame };
        self.sent.push(carried.clone());
        let kind = carried.message().kind();
        let rule = self.network.iter().position(|(of, what, _)| *of == from && *what == kind);
        match rule.map(|place| self.network.remove(place).2) {
            None => {}
            Some(Fate::Drop) => return,
            Some(Fate::Park) => return self.parked.push(carried),
            Some(Fate::Change(change)) => carried.frame = change(carried.message()).to_frame(),
        }
        self.wire.push_back(carried);
    }

    fn arrive(&mut self, carried: Carried) {
        let Some((id, peer)) = self.channels.get(&carried.channel).copied() else { return };
        let message = carried.from != From::Device && peer == Peer::Outsider;
        if message {
            return self.mail.entry(carried.channel).or_default().push(carried.message());
        }
        let (channel, frame) = (ChannelId::new(carried.channel), carried.frame);
        match carried.from {
            From::Device => self.custodian_input(id, CustodianInput::Received { channel, frame }),
            From::Custodian(_) => self.device_input(DeviceInput::Received { channel, frame }),
        }
    }

    fn honest(&mut self, effect: &DeviceEffect) -> DeviceAnswer {
        match effect {
            DeviceEffect::Export { channel, context } => {
                DeviceAnswer::Exported(symbolic::exporter(channel.value(), context))
            }
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                let mut suite = suite_of(Principal::Device, self.life);
                let gpu = report("gpu", Hardware::Enrolled, gpu);
                let data = transcript::cpu_data(&mut suite, session, &gpu);
                let mut evidence = evidence(gpu, report("cpu", Hardware::Enrolled, &data));
                (self.reports)(&mut evidence);
                DeviceAnswer::EvidenceCollected(evidence)
            }
            DeviceEffect::Load { .. } => DeviceAnswer::Loaded,
            DeviceEffect::Erase { .. } => DeviceAnswer::Erased,
            DeviceEffect::Zeroise => DeviceAnswer::Zeroised,
            DeviceEffect::Scrub => DeviceAnswer::Scrubbed,
            DeviceEffect::Plant => {
                self.life += 1;
                DeviceAnswer::Planted(incarnation(self.life))
            }
        }
    }

    pub fn custody(&self) -> &'static str {
        self.device.state_names().1
    }

    pub fn guard(&self) -> &'static str {
        self.device.state_names().0
    }

    /// Frames of one type that left one machine.
    pub fn sent_by(&self, from: From, kind: MessageType) -> Vec<Message> {
        let of = |carried: &&Carried| carried.from == from && carried.message().kind() == kind;
        self.sent.iter().filter(of).map(Carried::message).collect()
    }

    /// The rules that a custodian's log says were broken.
    pub fn refusals(&self, id: u8) -> Vec<Violation> {
        let of = |(at, report): &(u8, Report)| match report {
            Report::Refused { violation, .. } if *at == id => Some(*violation),
            _ => None,
        };
        self.custodian_reports.iter().filter_map(of).collect()
    }

    /// The rules that the device's log says one custodian broke.
    pub fn failures(&self, id: u8) -> Vec<Option<Violation>> {
        let of = |report: &Report| match report {
            Report::ExchangeClosed { custodian, violation } if custodian.value() == id => {
                Some(*violation)
            }
            _ => None,
        };
        self.device_reports.iter().filter_map(of).collect()
    }
}

pub fn evidence(gpu: Vec<u8>, cpu: Vec<u8>) -> Evidence {
    Evidence {
        kind: EvidenceKind::SOFTWARE,
        gpu: Bytes::new(gpu).expect("within the cap"),
        cpu: Bytes::new(cpu).expect("within the cap"),
    }
}

pub fn suite_of(principal: Principal, life: u64) -> SymbolicSuite {
    SymbolicSuite::new(principal, life, 2)
}

pub fn device_config(on_host_read: OnHostRead) -> DeviceConfig {
    DeviceConfig {
        deployment: DEPLOYMENT,
        device: owner::enrolled(),
        owner: Principal::Owner.verify_key(),
        on_host_read,
    }
}

pub fn kind_of(effect: &DeviceEffect) -> Kind {
    match effect {
        DeviceEffect::Export { .. } => Kind::Export,
        DeviceEffect::CollectEvidence { .. } => Kind::CollectEvidence,
        DeviceEffect::Load { .. } => Kind::Load,
        DeviceEffect::Erase { .. } => Kind::Erase,
        DeviceEffect::Zeroise => Kind::Zeroise,
        DeviceEffect::Scrub => Kind::Scrub,
        DeviceEffect::Plant => Kind::Plant,
    }
}
