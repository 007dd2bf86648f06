//! One device, three custodians, and wires between them that a fuzzer holds.
//!
//! Chapters 20 to 80. The shipped machines run over the symbolic suite; one of them is the target.
//! What goes to the target, and every answer to its questions, is a step of the fuzzer; the others
//! are driven honestly and at once. [`crate::watch`] sees everything. When a step returns, every
//! invariant held in it. It models no search and no bound: the model checks do.

mod custodian;
mod device;
mod step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use split_custody_model_check::symbolic::Principal;
use split_custody_model_check::world::Setup;
use split_custody_protocol::ids::ChannelId;
use split_custody_protocol::suite::LeafKey;
use split_custody_protocol::time::Instant;
use split_custody_protocol::wire::standing::Status;

pub use custodian::{CustodianEnd, CustodianLie};
pub use device::{DeviceEnd, DeviceLie};
pub use step::{FrameHarm, OperatorSays, Reply, Step};

/// Which machine the fuzzer holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    Custodian(u8),
    Device,
}

/// Where the target begins.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begin {
    /// Provisioned, activated, clean.
    Ready,
    /// A first boot, a device that is off.
    Bare,
}

/// One end of a wire.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    Custodian,
    Device,
}

/// The machines and what is under way between them.
#[derive(Clone, Debug)]
pub struct Rig {
    now: Instant,
    setup: Setup,
    target: Target,
    device: DeviceEnd,
    custodians: BTreeMap<u8, CustodianEnd>,
    wires: BTreeMap<u64, Wire>,
    next_wire: u64,
    /// The last status that each custodian gave an operator.
    statuses: BTreeMap<u8, Status>,
    /// Every frame so far, to be repeated.
    seen: Vec<Vec<u8>>,
}

/// A channel; its id is the same at both ends.
#[derive(Clone, Debug)]
struct Wire {
    custodian: u8,
    peer: Peer,
    leaf: LeafKey,
    to_custodian: VecDeque<Vec<u8>>,
    to_device: VecDeque<Vec<u8>>,
    /// The ends whose machine still has the channel.
    ends: BTreeSet<u8>,
    hello: Option<Vec<u8>>,
    challenge: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Peer {
    Device,
    Operator,
}

impl Rig {
    /// Everything ready, except a target that begins bare.
    pub fn new(target: Target, begin: Begin) -> Self {
        let setup = Setup::smallest(CUSTODIANS, THRESHOLD, 1);
        let mut rig = Self {
            now: Instant::from_millis(40),
            device: DeviceEnd::new(&setup),
            custodians: BTreeMap::new(),
            setup,
            target,
            wires: BTreeMap::new(),
            next_wire: 1,
            statuses: BTreeMap::new(),
            seen: Vec::new(),
        };
        for id in 1..=CUSTODIANS {
            rig.custodians.insert(id, CustodianEnd::new(&rig.setup, id));
            rig.boot(id);
            if begin == Begin::Ready || target != Target::Custodian(id) {
                rig.activate(id);
            }
        }
        if begin == Begin::Ready || target != Target::Device {
            rig.power_on();
        }
        rig
    }

    fn activate(&mut self, id: u8) {
        let wire = self.hail(id);
        for said in [OperatorSays::Provision, OperatorSays::Query, OperatorSays::Activate] {
            self.say(wire, said);
            self.settle();
        }
        self.cut(wire, End::Custodian);
    }

    fn power_on(&mut self) {
        self.step(Step::PowerOn);
        self.settle();
    }

    /// Lets everything go its honest way until nothing is left to do.
    pub fn settle(&mut self) {
        // BOUND: an honest acquisition takes some sixty turns; nothing here feeds on itself.
        for _ in 0..400 {
            if !self.turn(|_| true) {
                return;
            }
        }
    }

    /// Everything that does not meet the target goes its honest way.
    fn run_others(&mut self) {
        let target = self.target;
        for _ in 0..400 {
            if !self.turn(|who| who != target) {
                return;
            }
        }
    }

    /// One honest thing that meets a machine which `may` move; whether there was one.
    fn turn(&mut self, may: impl Fn(Target) -> bool) -> bool {
        if may(Target::Device) {
            if let Some(ticket) = self.device.first_question() {
                self.answer_device(ticket, Reply::Done);
                return true;
            }
            if let Some(custodian) = self.device.first_dial() {
                self.dial(custodian);
                return true;
            }
        }
        let question = self.custodians.iter().find_map(|(id, end)| {
            may(Target::Custodian(*id)).then(|| end.first_question().map(|ticket| (*id, ticket)))?
        });
        if let Some((id, ticket)) = question {
            self.answer_custodian(id, ticket, Reply::Done);
            return true;
        }
        let delivery = self.wires.iter().find_map(|(id, wire)| {
            let to_custodian =
                !wire.to_custodian.is_empty() && may(Target::Custodian(wire.custodian));
            let to_device = !wire.to_device.is_empty() && may(Target::Device);
            let end = if to_custodian { End::Custodian } else { End::Device };
            (to_custodian || to_device).then_some((*id, end))
        });
        if let Some((wire, end)) = delivery {
            self.deliver(wire, end, FrameHarm::None);
            return true;
        }
        false
    }

    /// Connects a device to a custodian that it dialled.
    fn dial(&mut self, custodian: u8) {
        self.device.forget_dial(custodian);
        let leaf = self.device.leaf();
        let wire = self.open_wire(custodian, Peer::Device, leaf);
        self.custodian_opens(wire);
        self.device_opens(wire);
    }

    fn hail(&mut self, custodian: u8) -> u64 {
        let wire = self.open_wire(custodian, Peer::Operator, Principal::Operator.leaf(0));
        self.custodian_opens(wire);
        wire
    }

    fn open_wire(&mut self, custodian: u8, peer: Peer, leaf: LeafKey) -> u64 {
        let id = self.next_wire;
        self.next_wire += 1;
        let device = (peer == Peer::Device).then_some(End::Device as u8);
        let ends = device.into_iter().chain([End::Custodian as u8]).collect();
        let queue = VecDeque::new;
        let wire = Wire {
            custodian,
            peer,
            leaf,
            to_custodian: queue(),
            to_device: queue(),
            ends,
            hello: None,
            challenge: None,
        };
        self.wires.insert(id, wire);
        id
    }

    /// One end of a wire hears that it is closed.
    fn cut(&mut self, wire: u64, end: End) {
        let Some(held) = self.wires.get_mut(&wire) else { return };
        held.ends.remove(&(end as u8));
        let channel = ChannelId::new(wire);
        match end {
            End::Custodian => {
                held.to_custodian.clear();
                let custodian = held.custodian;
                self.custodian_closes(custodian, channel);
            }
            End::Device => {
                held.to_device.clear();
                self.device_closes(channel);
            }
        }
    }

    /// A frame goes onto a wire, if its far end is still there.
    fn put(&mut self, wire: u64, toward: End, frame: Vec<u8>) {
        if self.seen.len() < SEEN {
            self.seen.push(frame.clone());
        }
        if let Some(held) = self.wires.get_mut(&wire)
            && held.ends.contains(&(toward as u8))
        {
            match toward {
                End::Custodian => held.to_custodian.push_back(frame),
                End::Device => held.to_device.push_back(frame),
            }
        }
    }
}

/// Custodians of the rig.
pub const CUSTODIANS: u8 = 3;
/// Shares that make the DEK.
pub const THRESHOLD: u8 = 2;
/// Frames that are remembered.
const SEEN: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rig::step::Signer;

    fn story(target: Target, steps: impl IntoIterator<Item = Step>) -> Rig {
        let mut rig = Rig::new(target, Begin::Ready);
        steps.into_iter().for_each(|step| rig.step(step));
        rig
    }

    /// Without this, every invariant could hold because nothing ever happens.
    #[test]
    fn lea_2_honest_steps_lead_to_an_admitted_use_and_a_renewal() {
        for target in [Target::Device, Target::Custodian(1)] {
            let wait = || Step::Wait { millis: 2 };
            let steps = [Step::Acquire, Step::Settle, wait(), Step::Wake, Step::Settle];
            let mut rig = story(target, steps);
            assert_eq!(rig.device.machine.state_names(), ("Clean", "Serving"));
            assert!(rig.device.machine.admit(rig.now).is_ok());
            rig.device_input(split_custody_protocol::role::DeviceInput::Timeout);
            rig.settle();
            let renewed = rig.device.machine.leases().filter(|(_, held)| held.counter.value() > 0);
            assert_eq!(renewed.count(), usize::from(CUSTODIANS));
        }
    }

    #[test]
    fn rev_4_honest_steps_lead_to_an_acknowledged_order() {
        let revoke = OperatorSays::Revoke { serial: 0, signer: Signer::Operator };
        let said = Step::Say { wire: 0, said: revoke };
        let rig = story(Target::Custodian(1), [Step::Hail, said, Step::Settle]);
        assert_eq!(rig.custodians[&1].machine.epoch().value(), 1);
        assert_eq!(rig.custodians[&1].machine.order_state(), None);
    }

    #[test]
    fn aud_3_target_that_begins_bare_serves_nobody() {
        let rig = Rig::new(Target::Custodian(1), Begin::Bare);
        assert!(!rig.statuses.contains_key(&1));
        assert!(rig.statuses.contains_key(&2));
    }
}
