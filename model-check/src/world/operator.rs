//! Operators: orders, acknowledgements, activation.

use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::revocation::{AckSet, effective, required};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Acknowledgement, AwaitDead, Verb};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::{encode, standing};

use super::{Config, Fact, Lie, OperatorSays, Peer, World};
use crate::frame::FrameId;
use crate::symbolic::Principal;

impl World {
    pub(super) fn open_operator_channel(&mut self, config: &Config, id: u8) -> u64 {
        let leaf = Principal::Operator.leaf(0);
        let channel = self.open_channel(id, Peer::Operator, leaf);
        self.custodian_channel_opened(config, channel);
        channel
    }

    fn operator_channel(&mut self, config: &Config, id: u8) -> u64 {
        let open = self.channels.iter().find(|(_, channel)| {
            channel.custodian == id
                && channel.peer == Peer::Operator
                && channel.custodian_end.is_on()
        });
        match open.map(|(id, _)| *id) {
            Some(channel) => channel,
            None => self.open_operator_channel(config, id),
        }
    }

    /// The revocation of the device, to one custodian; a liar acknowledges and does nothing.
    pub(super) fn submit(&mut self, config: &Config, id: u8) {
        *self.operator.edit().submitted.entry(id).or_default() += 1;
        if config.lie == Some(Lie::RevokesEveryDevice) {
            self.name_every_device(config);
        }
        if config.liars.contains(&id) {
            let manifest = config.setup.known_manifest();
            let said = Acknowledgement {
                order: config.setup.order_digest(&self.operator.order),
                custodian: CustodianId::new(id),
                generation: split_custody_protocol::ids::Generation::new(1),
                manifest: *manifest.digest(),
                epoch: split_custody_protocol::ids::Epoch::new(1),
            };
            let payload = encode(&said);
            let message = Signed::message_over(ObjectKind::Acknowledgement, &payload);
            let signature = Principal::Custodian(id).sign(&message);
            self.count_acknowledgement(config, &Signed::new(payload, signature));
            return;
        }
        let channel = self.operator_channel(config, id);
        let order = self.operator.order.clone();
        if config.bounds.intruder.is_on() {
            self.knows.insert(FrameId::of(&order));
        }
        self.custodian_receives(config, channel, &order);
    }

    /// From the first submission on, the operators' order is about more than they meant.
    fn name_every_device(&mut self, config: &Config) {
        let order = config.revocation();
        if order != self.operator.order {
            let operator = self.operator.edit();
            operator.acks = AckSet::new(config.setup.order_digest(&order));
            operator.order = order;
        }
    }

    /// What was over before the story begins: the host has seen both orders. [REV-3]
    pub(super) fn readmit(&mut self, config: &Config, id: u8) {
        let channel = self.operator_channel(config, id);
        for (verb, serial) in [(Verb::Revoke, 0), (Verb::Admit, 1)] {
            let order =
                config.setup.order_by(verb, serial, &config.setup.operators.who_order(verb));
            self.knows.insert(FrameId::of(&order));
            self.custodian_receives(config, channel, &order);
        }
    }

    pub(super) fn await_dead(&mut self, config: &Config, id: u8) {
        self.operator.edit().asked.insert(id);
        let channel = self.operator_channel(config, id);
        let order = config.setup.order_digest(&self.operator.order);
        let frame = Message::AwaitDead(AwaitDead { order }).to_frame();
        self.custodian_receives(config, channel, &frame);
    }

    pub(super) fn activate(&mut self, config: &Config, id: u8) {
        let channel = self.operator_channel(config, id);
        self.operator_says(config, channel, OperatorSays::Query);
        self.operator_says(config, channel, OperatorSays::Activate);
        self.close_custodian_end(channel);
    }

    /// What owners and operators say follows from the setup and, to activate, from the status.
    pub(super) fn operator_says(&mut self, config: &Config, channel: u64, said: OperatorSays) {
        let Some(link) = self.channels.get(&channel) else { return };
        let id = link.custodian;
        let setup = &config.setup;
        let frame = match said {
            OperatorSays::Provision => setup.provision(id),
            OperatorSays::Query => setup.query(),
            OperatorSays::Revoke => self.operator.order.clone(),
            OperatorSays::AwaitDead => {
                let order = setup.order_digest(&self.operator.order);
                Message::AwaitDead(AwaitDead { order }).to_frame()
            }
            OperatorSays::Activate => {
                let Some(frame) = self.sign_activation(config, id) else { return };
                if let Some(node) = self.custodians.get_mut(&id) {
                    node.edit().activated = true;
                }
                frame
            }
        };
        self.custodian_receives(config, channel, &frame);
    }

    /// Operators sign an activation for what the custodian now says of itself.
    pub(super) fn sign_activation(&mut self, config: &Config, id: u8) -> Option<Vec<u8>> {
        let status = self.status_of(config, id)?;
        let frame = config.setup.activate(&status);
        if config.bounds.activations.is_on() {
            let signed = (FrameId::of(&frame), status.generation);
            self.operator.edit().activations.insert(id, signed);
            if config.bounds.intruder.is_on() {
                self.knows.insert(FrameId::of(&frame));
            }
        }
        Some(frame)
    }

    /// The host delivers the activation that was signed last, whenever it likes.
    pub(super) fn repeat_activation(&mut self, config: &Config, id: u8) {
        let Some((frame, _)) = self.operator.activations.get(&id).copied() else { return };
        self.spent.repeats += 1;
        self.note_activation(config, id, &frame.bytes());
        let channel = self.operator_channel(config, id);
        self.custodian_receives(config, channel, &frame.bytes());
        self.close_custodian_end(channel);
    }

    /// An activation arrives, by whatever hand: is it what an operator means in this generation?
    pub(super) fn note_activation(&mut self, config: &Config, id: u8, frame: &[u8]) {
        let Some((meant, generation)) = self.operator.activations.get(&id).copied() else { return };
        let current = self.status_of(config, id).is_some_and(|now| now.generation == generation);
        let (said, meant) = (approvals(frame), approvals(&meant.bytes()));
        let same =
            said.first().map(Signed::payload_bytes) == meant.first().map(Signed::payload_bytes);
        if current
            && same
            && said.iter().any(|approval| meant.contains(approval))
            && let Some(node) = self.custodians.get_mut(&id)
        {
            node.edit().activated = true;
        }
    }

    /// What a custodian says of itself when it is asked.
    fn status_of(&self, config: &Config, id: u8) -> Option<standing::Status> {
        let machine = self.custodians.get(&id)?.machine.as_ref()?;
        let orders = machine.orders().digests().copied().collect();
        Some(standing::Status {
            custodian: CustodianId::new(id),
            generation: machine.generation(),
            epoch: machine.epoch(),
            standing: machine.standing().code(),
            nonce: machine.activation_nonce(),
            manifest: *config.setup.known_manifest().digest(),
            orders: List::new(orders)?,
        })
    }

    pub(super) fn operator_receives(&mut self, config: &Config, id: u8, message: &Message) {
        match message {
            Message::Acknowledged(acknowledged) => {
                self.count_acknowledgement(config, &acknowledged.statement.clone());
            }
            Message::Dead(_) => {
                self.operator.edit().dead.insert(id);
            }
            _ => {}
        }
    }

    /// The production count decides when the order is effective. [REV-8]
    fn count_acknowledgement(&mut self, config: &Config, signed: &Signed) {
        let manifest = config.setup.known_manifest();
        let mut suite = config.setup.suite(Principal::Operator, 0);
        if self.operator.edit().acks.add(&manifest, signed, &mut suite).is_err() {
            return;
        }
        let early = config.lie == Some(Lie::EffectiveAtFirst);
        if effective(&manifest, &self.operator.acks).is_ok() || early {
            debug_assert!(early || self.operator.acks.count() >= required(&manifest));
            self.since_effective = self.since_effective.or(Some(0));
            self.record(config, Fact::Effective);
        }
    }
}

/// The approvals of an activation; none where a frame is something else.
fn approvals(frame: &[u8]) -> Vec<Signed> {
    match Message::from_frame(frame) {
        Ok(Message::Activate(said)) => said.approvals.as_slice().to_vec(),
        _ => Vec::new(),
    }
}
