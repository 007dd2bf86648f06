//! Turns: what a machine heard and said, for whoever makes other machines do the same.
//!
//! All chapters. A search writes none down. [`crate::cover`] reads which rows of the state tables a
//! turn took; the conformance tests give each turn to the implementation, in real bytes.

use std::fmt::Debug;

use split_custody_protocol::effect::{CustodianEffect, DeviceEffect, Output};
use split_custody_protocol::ids::{ChannelId, Counter, CustodianId, Epoch, Generation, LeaseId};
use split_custody_protocol::role::{Custodian, CustodianInput, Device, DeviceInput, Rejection};
use split_custody_protocol::suite::Nonce;
use split_custody_protocol::time::Instant;
use split_custody_protocol::wire::message::Message;

use super::World;
use crate::frame::FrameId;

/// One turn of one machine, or what happens to its process.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Turn {
    Device(Box<Heard<Asked, DeviceEffect, DeviceView>>),
    Custodian(u8, Drawn, Box<Heard<CustodianInput, CustodianEffect, CustodianView>>),
    /// A custodian's process begins from its store, which was counted up.
    Began(u8),
    Killed(u8),
    /// Its store is copied, its anchor is not.
    BackedUp(u8),
    /// The copy takes the store's place.
    RolledBack(u8),
    /// Clocks go on.
    Passed {
        device: u64,
        custodians: u64,
    },
}

impl Turn {
    /// What the machine did about it: who says, asks or refuses what.
    pub fn words(&self) -> Vec<String> {
        match self {
            Self::Device(heard) => words("device", heard),
            Self::Custodian(id, _, heard) => words(&format!("custodian {id}"), heard),
            _ => Vec::new(),
        }
    }

    /// The frames that it sent.
    pub fn frames(&self) -> Vec<FrameId> {
        match self {
            Self::Device(heard) => frames(&heard.outputs),
            Self::Custodian(_, _, heard) => frames(&heard.outputs),
            _ => Vec::new(),
        }
    }
}

fn words<I, E: Debug, V>(who: &str, heard: &Heard<I, E, V>) -> Vec<String> {
    let refused = heard.rejection.iter().map(|rejection| match rejection {
        Rejection::Violation(violation) => format!("{who} refuses: {violation:?}"),
        Rejection::Misuse(misuse) => format!("{who} does not take it: {misuse:?}"),
    });
    let said = heard.outputs.iter().filter_map(|output| match output {
        Output::Transmit { frame, .. } => Some(match Message::from_frame(frame).ok()? {
            Message::Renewal(renewal) => format!("{who} sends Renewal: {:?}", renewal.answer),
            message => format!("{who} sends {}", message.kind().name()),
        }),
        Output::Effect { effect, .. } => {
            let text = format!("{effect:?}");
            let name = text.split(|c: char| !c.is_alphanumeric()).next()?.to_owned();
            Some(format!("{who} asks {name}"))
        }
        Output::Close { .. } => Some(format!("{who} closes")),
        Output::Dial { custodian } => Some(format!("{who} dials {custodian}")),
        Output::Report(_) => None,
    });
    refused.chain(said).collect()
}

fn frames<E>(outputs: &[Output<E>]) -> Vec<FrameId> {
    let frame = |output: &Output<E>| match output {
        Output::Transmit { frame, .. } => Some(FrameId::of(frame)),
        _ => None,
    };
    outputs.iter().filter_map(frame).collect()
}

/// An input, what came of it, and how the machine stood before and after.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Heard<I, E, V> {
    pub input: I,
    pub rejection: Option<Rejection>,
    pub outputs: Vec<Output<E>>,
    pub before: V,
    pub after: V,
}

/// What a device is asked.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Asked {
    Input(DeviceInput),
    /// Whether a use may begin.
    Admit,
    /// Whether the output of the use in flight may leave.
    Emit,
}

/// How a device stands, in words and numbers that do not depend on the suite.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct DeviceView {
    pub guard: &'static str,
    pub custody: &'static str,
    pub exchanges: Vec<(CustodianId, &'static str)>,
    pub leases: Vec<(CustodianId, Counter, &'static str)>,
    pub counting: usize,
    /// Its timeout has come.
    pub due: bool,
}

impl DeviceView {
    pub fn of(machine: &Device, now: Instant) -> Self {
        let (guard, custody) = machine.state_names();
        let lease = |(id, held): (CustodianId, &split_custody_protocol::lease::Held)| {
            (id, held.counter, held.state_name(now))
        };
        Self {
            guard,
            custody,
            exchanges: machine.exchange_states().collect(),
            leases: machine.leases().map(lease).collect(),
            counting: machine.counting(now),
            due: machine.poll_timeout().is_some_and(|at| at <= now),
        }
    }
}

/// What of a custodian has a name that is drawn at random.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Drawn {
    /// What an activation of this generation must name, after the turn.
    pub activation: Nonce,
    /// The leases before the turn.
    pub leases: Vec<(LeaseId, Counter, &'static str)>,
}

impl Drawn {
    pub(super) fn before(machine: &Custodian, now: Instant) -> Self {
        let leases = machine.ledger().iter();
        let leases = leases.map(|(id, lease)| (*id, lease.counter(), lease.state_name(now)));
        Self { activation: machine.activation_nonce(), leases: leases.collect() }
    }
}

/// How a custodian stands.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CustodianView {
    pub standing: &'static str,
    pub generation: Generation,
    pub epoch: Epoch,
    pub orders: usize,
    /// The order that is being applied.
    pub order: Option<&'static str>,
    pub connections: Vec<(ChannelId, &'static str, Option<&'static str>)>,
    /// Sorted, since lease ids are drawn.
    pub leases: Vec<(Counter, &'static str)>,
    pub due: bool,
}

impl CustodianView {
    pub fn of(machine: &Custodian, now: Instant) -> Self {
        let leases = machine.ledger().iter();
        let mut leases: Vec<_> =
            leases.map(|(_, lease)| (lease.counter(), lease.state_name(now))).collect();
        leases.sort();
        Self {
            standing: machine.standing().state_name(),
            generation: machine.generation(),
            epoch: machine.epoch(),
            orders: machine.orders().digests().count(),
            order: machine.order_state(),
            connections: machine.connection_states().collect(),
            leases,
            due: machine.poll_timeout().is_some_and(|at| at <= now),
        }
    }
}

impl World {
    /// Writes a turn down, where turns are.
    pub(super) fn turn(&mut self, turn: impl FnOnce(&Self) -> Turn) {
        if self.turns.is_some() {
            let turn = turn(self);
            self.turns.get_or_insert_default().push(turn);
        }
    }
}
