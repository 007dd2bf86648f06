//! The world: the shipped machines, their drivers, a hostile host, and time.
//!
//! All chapters. A [`World`] is one state; [`World::actions`] lists what can happen within the
//! bounds of a slice and [`World::step`] makes it happen by calling the production machines. The
//! host owns every wire: it delivers, delays, drops, cuts, and repeats what it saw. It never holds
//! a key but the adversary's own, and what it composes is listed in [`Forgery`].

mod action;
mod adversary;
mod config;
mod custodian;
mod device;
mod enabled;
mod fact;
mod operator;
mod other;
mod setup;
mod store;
mod turn;
mod uses;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::effect::{Anchor, CustodianEffect, DeviceEffect};
use split_custody_protocol::ids::Generation;
use split_custody_protocol::lease::Admission;
use split_custody_protocol::revocation::AckSet;
use split_custody_protocol::role::{Custodian, Device};
use split_custody_protocol::suite::{DeviceSecret, Digest, LeafKey};
use split_custody_protocol::time::{Instant, Rebase, Span};

use crate::custody::Custody;
use crate::frame::FrameId;
use crate::shared::Shared;

pub use action::{Action, Deed, End, Forgery, OperatorSays, Reply, Who};
pub use adversary::hello;
pub use config::{Bounds, Config, Lie, Switch};
pub use fact::{Fact, Facts};
pub use setup::{DEPLOYMENT, Fleet, Operators, SET, Setup};
pub use store::Store;
pub use turn::{Asked, CustodianView, DeviceView, Drawn, Heard, Turn};

/// One state.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct World {
    pub device: Shared<DeviceNode>,
    /// The second honest device, where there are two.
    pub other: Option<Shared<DeviceNode>>,
    pub custodians: BTreeMap<u8, Shared<CustodianNode>>,
    pub channels: BTreeMap<u64, Channel>,
    pub operator: Shared<OperatorNode>,
    /// Requests and renewals that the host has seen; kept where it may repeat them.
    pub seen: BTreeSet<FrameId>,
    /// Every frame that an honest machine sent, where an intruder composes from them.
    pub knows: BTreeSet<FrameId>,
    pub facts: Facts,
    pub ahead: u8,
    /// Real ticks since the revocation took effect; stops counting past ttl-max.
    pub since_effective: Option<u8>,
    /// Custodians whose share the adversary has.
    pub leaked: BTreeSet<u8>,
    /// A real clock's reading, where a log is replayed.
    pub reading: Option<Instant>,
    /// What the machines said in this step, where a log is replayed.
    pub said: Option<Vec<Said>>,
    /// What machines heard and said since this was last taken, where others are to do the same.
    pub turns: Option<Vec<Turn>>,
    output_left: bool,
    next_channel: u64,
    spent: Spent,
}

/// What a machine said, for comparison with a log.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one value at a time, soon gone")]
pub enum Said {
    Transmit(u64, FrameId),
    Close(u64),
    /// A question of the device's, or of this custodian's.
    AskDevice(u64, DeviceEffect),
    AskCustodian(u64, CustodianEffect),
    Dial(u8),
    /// The machine did not take the input.
    Rejected,
}

/// What has been used up of the bounds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Spent {
    attempts: u8,
    others_attempts: u8,
    intrusions: u8,
    ticks: u8,
    disturbances: u8,
    crashes: u8,
    uses: u8,
    forged_orders: u8,
    repeats: u8,
}

/// The device: its machine, and the hardware and driver around it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DeviceNode {
    /// Which of two devices: 0, or 1.
    pub number: u8,
    pub machine: Device,
    pub questions: BTreeMap<u64, DeviceEffect>,
    /// Dials that have come to nothing yet, by custodian.
    pub dials: BTreeMap<u8, u32>,
    /// Sessions that measured code made Evidence for.
    pub attested: BTreeSet<Digest>,
    pub keys: BTreeSet<DeviceSecret>,
    pub holds_dek: bool,
    pub holds_plaintext: bool,
    /// A read was noticed since the last scrub.
    pub read: bool,
    pub life: u8,
    pub leaf: LeafKey,
    pub using: Option<Admission>,
    /// k leases counted once, and then fewer.
    pub lost: bool,
    pub counted: bool,
    /// Uses that each custodian's running term was charged with, where budgets end.
    pub charged: BTreeMap<u8, (u64, u64)>,
}

/// A custodian: its process, if it runs, and its durable side.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct CustodianNode {
    pub machine: Option<Custodian>,
    pub questions: BTreeMap<u64, CustodianEffect>,
    /// The transactions behind unanswered or unknown commits.
    pub commits: BTreeMap<u64, split_custody_protocol::effect::Transaction>,
    pub store: Store,
    pub anchor: Option<Anchor>,
    pub backup: Option<Box<Store>>,
    /// It acknowledged the revocation, in whatever life.
    pub acknowledged: bool,
    pub activated: bool,
    pub lives: u8,
}

/// A TLS channel.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Channel {
    pub custodian: u8,
    pub peer: Peer,
    /// Whether the adversary is its custodian's end.
    pub impostor: Switch,
    /// Whether the request under way came from code that policy does not name.
    pub altered: Switch,
    pub device_leaf: LeafKey,
    pub to_custodian: Vec<FrameId>,
    pub to_device: Vec<FrameId>,
    pub device_end: Switch,
    pub custodian_end: Switch,
    pub granted: u8,
    pub injected: u8,
    /// The hello that the device said on it, and the one that the custodian heard.
    pub hellos: (Option<FrameId>, Option<FrameId>),
    /// Real ticks since its challenge, until a grant; stops counting at challenge-max.
    pub age: Option<u8>,
}

/// Who opened a channel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Peer {
    Device,
    /// The device that is not looked at in this step; between steps, the second one.
    OtherDevice,
    Adversary,
    Operator,
}

/// What the operators know.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct OperatorNode {
    pub order: Vec<u8>,
    pub acks: AckSet,
    /// How often each custodian was given the order.
    pub submitted: BTreeMap<u8, u8>,
    pub dead: BTreeSet<u8>,
    pub asked: BTreeSet<u8>,
    /// The last activation signed for each custodian, and the generation that it was for.
    pub activations: BTreeMap<u8, (FrameId, Generation)>,
}

/// Every clock of a search is held at this reading; time passes by moving stored instants back.
const NOW: Instant = Instant::from_millis(40);
/// Instants before this can no longer matter: max-age and every term are shorter.
const FLOOR: Instant = Instant::from_millis(30);

impl World {
    /// Provisioned and activated custodians, and a device that was just powered on.
    pub fn new(config: &Config) -> Self {
        Self::bare(config).begun(config)
    }

    /// The same, with every turn of a machine written down.
    pub fn recorded(config: &Config) -> Self {
        Self { turns: Some(Vec::new()), ..Self::bare(config) }.begun(config)
    }

    fn begun(self, config: &Config) -> Self {
        let mut world = self;
        let prompt = Config {
            bounds: Bounds { deferred: Switch::Off, ..config.bounds.clone() },
            lie: None,
            watched: Facts::default(),
            ..config.clone()
        };
        for id in 1..=config.setup.n {
            world.found_custodian(&prompt, id);
        }
        world.power_on(&prompt);
        world.at_the_other(|world| world.power_on(&prompt));
        world.settle(config);
        world
    }

    /// Custodians that never ran, and a device that is off: where a log begins.
    pub fn bare(config: &Config) -> Self {
        let setup = &config.setup;
        let order = config.revocation();
        let acks = AckSet::new(setup.order_digest(&order));
        let mut world = Self {
            device: Shared::new(DeviceNode::new(setup, 0)),
            other: setup.has_two().then(|| Shared::new(DeviceNode::new(setup, 1))),
            custodians: BTreeMap::new(),
            channels: BTreeMap::new(),
            operator: Shared::new(OperatorNode {
                order,
                acks,
                submitted: BTreeMap::new(),
                dead: BTreeSet::new(),
                asked: BTreeSet::new(),
                activations: BTreeMap::new(),
            }),
            seen: BTreeSet::new(),
            knows: BTreeSet::new(),
            facts: Facts::default(),
            ahead: 0,
            since_effective: None,
            leaked: BTreeSet::new(),
            reading: None,
            said: None,
            turns: None,
            output_left: false,
            next_channel: 1,
            spent: Spent::default(),
        };
        for id in 1..=setup.n {
            world.custodians.insert(id, Shared::new(CustodianNode::default()));
        }
        world
    }

    /// Makes one enabled action happen.
    pub fn step(&mut self, config: &Config, action: Action) {
        let watched = config.watched.contains(Fact::NotCustody);
        let mut before = Vec::new();
        if watched {
            self.at_each(|world| before.push(Custody::of(world, config)));
        }
        match self.of_the_other(action) {
            Some(action) => self.at_the_other(|world| world.make_happen(config, action)),
            None => self.make_happen(config, action),
        }
        self.settle(config);
        let mut before = before.into_iter();
        self.at_each(|world| {
            let breaks = |before: Custody| before.may_become(&Custody::of(world, config)).is_err();
            if before.next().is_some_and(breaks) {
                world.record(config, Fact::NotCustody);
            }
        });
    }

    fn make_happen(&mut self, config: &Config, action: Action) {
        match action {
            Action::Other(deed) => self.make_happen(config, deed.into()),
            Action::Acquire => self.acquire(config),
            Action::Release => self.give_up(config),
            Action::Connect(custodian) => self.connect(config, custodian),
            Action::RefuseDial(custodian) => self.refuse_dial(config, custodian),
            Action::Deliver(channel, End::Device) => self.deliver_to_device(config, channel),
            Action::Deliver(channel, End::Custodian) => self.deliver_to_custodian(config, channel),
            Action::Cut(channel) => self.cut(config, channel),
            Action::CloseEnd(channel, end) => self.close_end(config, channel, end),
            Action::PowerOn => self.power_on(config),
            Action::PowerCycle => self.power_cycle(config),
            Action::Accept(channel) => self.custodian_channel_opened(config, channel),
            Action::Hail(id) => drop(self.open_operator_channel(config, id)),
            Action::Say(channel, said) => self.operator_says(config, channel, said),
            Action::AnswerDevice(ticket, reply) => self.answer_device(config, ticket, reply),
            Action::AnswerCustodian(id, ticket, reply) => {
                self.answer_custodian(config, id, ticket, reply);
            }
            Action::Wake(Who::Device) => self.wake_device(config),
            Action::Wake(Who::Custodian(id)) => self.wake_custodian(config, id),
            Action::Tick { ahead } => self.tick(config, ahead),
            Action::Use => self.begin_use(config),
            Action::Emit => self.emit(config),
            Action::HostRead => self.host_read(config),
            Action::Tamper => self.tamper(config),
            Action::Resume => self.resume(config),
            Action::Crash(id) => self.crash(config, id),
            Action::Restart(id) => self.restart(config, id),
            Action::RollBack(id) => self.roll_back(config, id),
            Action::Submit(id) => self.submit(config, id),
            Action::AwaitDead(id) => self.await_dead(config, id),
            Action::Activate(id) => self.activate(config, id),
            Action::RepeatActivation(id) => self.repeat_activation(config, id),
            Action::Intrude(id) => self.intrude(config, id),
            Action::Forge(channel, forgery) => self.forge(config, channel, forgery),
            Action::Inject(channel, frame) => self.inject(config, channel, frame),
            Action::ForgeOrder(id) => self.forge_order(config, id),
            Action::Impersonate(id) => self.impersonate(config, id),
            Action::Send(channel, end, frame) => self.intruder_sends(config, channel, end, frame),
        }
    }

    /// One tick of real time; the device's clock may run ahead of it by one, or be held.
    fn tick(&mut self, config: &Config, ahead: u8) {
        self.spent.ticks += 1;
        let device = match config.lie {
            Some(Lie::ClockStalls) => 0,
            _ => 1 + u64::from(ahead) - u64::from(self.ahead),
        };
        self.turn(|_| Turn::Passed { device, custodians: 1 });
        // BOUND: both devices' clocks wander together.
        self.at_each(|world| {
            world.device.edit().machine.rebase(Span::from_millis(device), FLOOR);
        });
        for node in self.custodians.values_mut() {
            if let Some(machine) = &mut node.edit().machine {
                machine.rebase(Span::from_millis(1), FLOOR);
            }
        }
        self.ahead = ahead;
        let cap = u8::try_from(config.setup.ttl_max).unwrap_or(u8::MAX);
        self.since_effective = self.since_effective.map(|ticks| ticks.saturating_add(1).min(cap));
        let dead = u8::try_from(config.setup.challenge_max).unwrap_or(u8::MAX);
        for channel in self.channels.values_mut().filter(|channel| channel.granted == 0) {
            channel.age = channel.age.map(|age| age.saturating_add(1).min(dead));
        }
    }

    /// Forgets what can no longer matter: closed channels, spent ticket numbers.
    fn settle(&mut self, config: &Config) {
        if config.bounds.stepwise.is_on() {
            return; // a log has all channels and counts its tickets on
        }
        self.at_each(|world| {
            world.note_counting(config);
            world.note_agreement(config);
        });
        self.channels.retain(|_, channel| {
            channel.custodian_end.is_on()
                || channel.device_end.is_on()
                    && matches!(channel.peer, Peer::Device | Peer::OtherDevice)
        });
        for device in [Some(&mut self.device), self.other.as_mut()].into_iter().flatten() {
            if device.is_edited() {
                device.edit().machine.rebase(Span::ZERO, FLOOR);
                device.seal();
            }
        }
        for node in self.custodians.values_mut().filter(|node| node.is_edited()) {
            if let Some(machine) = &mut node.edit().machine {
                machine.rebase(Span::ZERO, FLOOR);
            }
            node.seal();
        }
        self.operator.seal();
    }

    /// Remembers a fact that this run watches.
    fn record(&mut self, config: &Config, fact: Fact) {
        if config.watched.contains(fact) {
            self.facts.insert(fact);
        }
    }

    /// What every clock reads.
    pub fn now(&self) -> Instant {
        self.reading.unwrap_or(NOW)
    }

    /// The number that the next channel will bear.
    pub const fn next_channel(&self) -> u64 {
        self.next_channel
    }

    /// The frame that arrives next at an end.
    pub fn next_frame(&self, channel: u64, end: End) -> Option<FrameId> {
        let link = self.channels.get(&channel)?;
        match end {
            End::Device => link.to_device.first().copied(),
            End::Custodian => link.to_custodian.first().copied(),
        }
    }

    /// Whether the last output that asked to leave did.
    pub const fn output_left(&self) -> bool {
        self.output_left
    }

    fn say(&mut self, said: Said) {
        if let Some(trail) = &mut self.said {
            trail.push(said);
        }
    }

    fn open_channel(&mut self, custodian: u8, peer: Peer, device_leaf: LeafKey) -> u64 {
        let id = self.next_channel;
        self.next_channel += 1;
        let device_end = if peer == Peer::Device { Switch::On } else { Switch::Off };
        self.channels.insert(
            id,
            Channel {
                custodian,
                peer,
                impostor: Switch::Off,
                altered: Switch::Off,
                device_leaf,
                to_custodian: Vec::new(),
                to_device: Vec::new(),
                device_end,
                custodian_end: Switch::On,
                granted: 0,
                injected: 0,
                hellos: (None, None),
                age: None,
            },
        );
        id
    }
}
