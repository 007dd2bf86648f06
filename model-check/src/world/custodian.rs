//! A custodian's driver, store and HSM.

use split_custody_protocol::effect::{
    Change, CustodianAnswer, CustodianEffect, Output, Transaction, Verdict,
};
use split_custody_protocol::ids::{ChannelId, Epoch, LogIndex, Ticket};
use split_custody_protocol::role::{Custodian, CustodianInput, DeviceInput};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::transcript;
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::message::Message;

use super::{
    Config, CustodianNode, CustodianView, Drawn, End, Fact, Heard, Lie, Peer, Reply, Said, Switch,
    Turn, World,
};
use crate::frame::FrameId;
use crate::intruder::oracle;
use crate::shared::Shared;
use crate::symbolic::{self, Hardware, Principal, device_id, false_share, release, true_share};
use crate::term::parts_of;

impl World {
    /// A custodian that was provisioned and, unless the host withholds it, activated.
    pub(super) fn found_custodian(&mut self, config: &Config, id: u8) {
        if config.corrupt(id) {
            return; // there is no machine: the adversary says what it says
        }
        self.boot(config, id);
        let channel = self.open_operator_channel(config, id);
        self.custodian_receives(config, channel, &config.setup.provision(id));
        if config.bounds.activations.is_on() {
            self.sign_activation(config, id);
        } else {
            self.activate(config, id);
        }
        if config.bounds.readmitted.is_on() {
            self.readmit(config, id);
        }
        if let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) {
            node.backup = Some(Box::new(node.store.clone()));
        }
        self.turn(|_| Turn::BackedUp(id));
        self.close_custodian_end(channel);
    }

    pub(super) fn boot(&mut self, config: &Config, id: u8) {
        let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) else { return };
        let recovered = node.store.boot(&mut node.anchor);
        let anchored = node.anchor.as_ref().map(|anchor| anchor.orders.as_slice());
        let complete = anchored
            .unwrap_or_default()
            .iter()
            .all(|order| node.store.order_digests.contains(order));
        // An earlier generation's activation stands where the store still shows it. [AUD-4]
        node.activated &= node.store.active.is_some() && complete;
        node.lives += 1;
        node.machine = Some(Custodian::new(config.setup.custodian_config(id), recovered));
        self.turn(|_| Turn::Began(id));
        self.custodian_input(config, id, CustodianInput::Booted);
    }

    pub(super) fn crash(&mut self, _: &Config, id: u8) {
        self.spent.crashes += 1;
        if let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) {
            node.machine = None;
            node.questions.clear();
            node.commits.clear();
        }
        self.turn(|_| Turn::Killed(id));
        for channel in self.channels.values_mut().filter(|channel| channel.custodian == id) {
            channel.custodian_end = Switch::Off;
            channel.to_custodian.clear();
        }
    }

    pub(super) fn restart(&mut self, config: &Config, id: u8) {
        self.boot(config, id);
    }

    pub(super) fn roll_back(&mut self, config: &Config, id: u8) {
        self.crash(config, id);
        if let Some(node) = self.custodians.get_mut(&id).map(Shared::edit)
            && let Some(backup) = &node.backup
        {
            node.store = (**backup).clone();
        }
        self.turn(|_| Turn::RolledBack(id));
        self.record(config, Fact::RolledBack);
        self.boot(config, id);
    }

    pub(super) fn custodian_channel_opened(&mut self, config: &Config, channel: u64) {
        let Some(link) = self.channels.get(&channel) else { return };
        let (custodian, device_leaf) = (link.custodian, link.device_leaf);
        let input = CustodianInput::ChannelOpened {
            channel: ChannelId::new(channel),
            own_leaf: Principal::Custodian(custodian).leaf(0),
            peer_leaf: device_leaf,
            chain: vec![device_leaf, Principal::issuer()],
        };
        self.custodian_input(config, custodian, input);
    }

    pub(super) fn deliver_to_custodian(&mut self, config: &Config, channel: u64) {
        let Some(link) = self.channels.get_mut(&channel) else { return };
        let frame = link.to_custodian.remove(0).bytes();
        self.custodian_receives(config, channel, &frame);
    }

    pub(super) fn custodian_receives(&mut self, config: &Config, channel: u64, frame: &[u8]) {
        let Some(link) = self.channels.get(&channel) else { return };
        let custodian = link.custodian;
        if let Some(link) = self.channels.get_mut(&channel)
            && link.hellos.1.is_none()
            && link.peer == Peer::Device
            && matches!(Message::from_frame(frame), Ok(Message::Hello(_)))
        {
            link.hellos.1 = Some(FrameId::of(frame));
        }
        let (channel, frame) = (ChannelId::new(channel), frame.to_vec());
        self.custodian_input(config, custodian, CustodianInput::Received { channel, frame });
    }

    /// One end hears that the channel is closed; the other will hear for itself.
    pub(super) fn close_end(&mut self, config: &Config, channel: u64, end: End) {
        let id = ChannelId::new(channel);
        match end {
            End::Device => {
                if let Some(link) = self.channels.get_mut(&channel) {
                    link.device_end = Switch::Off;
                    link.to_device.clear();
                }
                self.device_input(config, DeviceInput::ChannelClosed { channel: id });
            }
            End::Custodian => {
                self.close_custodian_end(channel);
                let Some(link) = self.channels.get(&channel) else { return };
                let custodian = link.custodian;
                let input = CustodianInput::ChannelClosed { channel: id };
                self.custodian_input(config, custodian, input);
            }
        }
    }

    pub(super) fn cut(&mut self, config: &Config, channel: u64) {
        self.close_custodian_end(channel);
        if let Some(link) = self.channels.get(&channel) {
            let custodian = link.custodian;
            let id = ChannelId::new(channel);
            self.custodian_input(config, custodian, CustodianInput::ChannelClosed { channel: id });
        }
        let at_device = self.channels.get(&channel).is_some_and(|link| link.device_end.is_on());
        if at_device {
            if let Some(link) = self.channels.get_mut(&channel) {
                link.device_end = Switch::Off;
            }
            let channel = ChannelId::new(channel);
            self.device_input(config, DeviceInput::ChannelClosed { channel });
        }
    }

    pub(super) fn close_custodian_end(&mut self, channel: u64) {
        if let Some(link) = self.channels.get_mut(&channel) {
            link.custodian_end = Switch::Off;
            link.to_custodian.clear();
        }
    }

    pub(super) fn wake_custodian(&mut self, config: &Config, id: u8) {
        self.custodian_input(config, id, CustodianInput::Timeout);
    }

    /// One input of a custodian's machine, and everything that its driver does about it.
    pub(super) fn custodian_input(&mut self, config: &Config, id: u8, input: CustodianInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let (now, recorded) = (self.now(), self.turns.is_some());
            let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) else { return };
            let Some(machine) = &mut node.machine else { return };
            let mut suite =
                config.setup.suite(Principal::Custodian(id), node.store.generation.value());
            let asked = recorded.then(|| {
                let drawn = Drawn::before(machine, now);
                (input.clone(), CustodianView::of(machine, now), drawn)
            });
            // A rejection is for the log; the machine has already acted upon it.
            let rejection = machine.handle(now, input, &mut suite).err();
            let outputs: Vec<_> = std::iter::from_fn(|| machine.poll_output()).collect();
            if let Some((input, before, drawn)) = asked {
                let after = CustodianView::of(machine, now);
                let drawn = Drawn { activation: machine.activation_nonce(), ..drawn };
                let outputs = outputs.clone();
                let heard = Box::new(Heard { input, rejection, outputs, before, after });
                self.turn(|_| Turn::Custodian(id, drawn, heard));
            }
            if rejection.is_some() {
                self.say(Said::Rejected);
            }
            for output in outputs {
                self.custodian_output(config, id, output);
            }
            inputs.extend(self.prompt_custodian_answer(config, id));
        }
    }

    fn custodian_output(&mut self, config: &Config, id: u8, output: Output<CustodianEffect>) {
        match output {
            Output::Transmit { channel, frame } => {
                self.say(Said::Transmit(channel.value(), FrameId::of(&frame)));
                self.custodian_sends(config, id, channel.value(), &frame);
            }
            Output::Close { channel } => {
                self.say(Said::Close(channel.value()));
                if !config.bounds.stepwise.is_on() {
                    self.close_custodian_end(channel.value());
                }
            }
            Output::Effect { ticket, effect } => {
                self.say(Said::AskCustodian(ticket.value(), effect.clone()));
                if let CustodianEffect::Commit(transaction) = &effect
                    && matches!(transaction.change, Change::Renew { .. })
                    && self.claims_are_old(config)
                {
                    self.record(config, Fact::RenewedPastMaxAge);
                }
                if let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) {
                    node.questions.insert(ticket.value(), effect);
                }
            }
            Output::Dial { .. } => {}
            Output::Report(report) => self.custodian_reports(config, id, &report),
        }
    }

    fn custodian_sends(&mut self, config: &Config, id: u8, channel: u64, frame: &[u8]) {
        let Ok(message) = Message::from_frame(frame) else { return };
        if config.bounds.intruder.is_on() {
            self.knows.insert(FrameId::of(frame));
        }
        self.watch_sent(config, id, channel, &message);
        let Some(link) = self.channels.get_mut(&channel) else { return };
        match link.peer {
            Peer::Device | Peer::OtherDevice => {
                if link.device_end.is_on() {
                    link.to_device.push(FrameId::of(frame));
                }
            }
            // The adversary reads what it is sent; a challenge is what it needs to go on.
            Peer::Adversary => {
                if matches!(message, Message::Challenge(_)) {
                    link.to_device.push(FrameId::of(frame));
                }
            }
            Peer::Operator => self.operator_receives(config, id, &message),
        }
    }

    fn prompt_custodian_answer(&mut self, config: &Config, id: u8) -> Option<CustodianInput> {
        if config.bounds.stepwise.is_on() {
            return None;
        }
        let prompt = |effect: &CustodianEffect| match effect {
            CustodianEffect::Export { .. } | CustodianEffect::Appraise { .. } => true,
            _ => !config.bounds.deferred.is_on(),
        };
        let node = self.custodians.get(&id)?;
        let ticket = *node.questions.iter().find(|(_, effect)| prompt(effect))?.0;
        self.execute_custodian(config, id, ticket, Reply::Done)
    }

    pub(super) fn answer_custodian(&mut self, config: &Config, id: u8, ticket: u64, reply: Reply) {
        if let Some(input) = self.execute_custodian(config, id, ticket, reply) {
            self.custodian_input(config, id, input);
        }
    }

    /// Does what a custodian's driver, store and HSM do.
    fn execute_custodian(
        &mut self,
        config: &Config,
        id: u8,
        ticket: u64,
        reply: Reply,
    ) -> Option<CustodianInput> {
        let node = self.custodians.get_mut(&id).map(Shared::edit)?;
        let effect = node.questions.remove(&ticket)?;
        let answer = match effect {
            CustodianEffect::Export { channel, context } => {
                CustodianAnswer::Exported(symbolic::exporter(channel.value(), &context))
            }
            CustodianEffect::Appraise { evidence } => appraise(config, &evidence),
            CustodianEffect::Commit(transaction) => {
                node.commit(ticket, transaction, reply, config.lie)
            }
            CustodianEffect::Reread { commit } => node.reread(commit.value()),
            CustodianEffect::Release { to, context, draft, .. } if reply == Reply::Done => {
                let lies = config.liars.contains(&id) && config.bounds.false_shares.is_on();
                let share = if lies { false_share(id) } else { true_share(id) };
                let (sealed, signature) = release(id, share, &to, &context, &draft);
                CustodianAnswer::Released { sealed, signature }
            }
            CustodianEffect::Sign { message } if reply == Reply::Done => {
                CustodianAnswer::Signed(Principal::Custodian(id).sign(&message))
            }
            CustodianEffect::Release { .. } | CustodianEffect::Sign { .. } => {
                CustodianAnswer::HsmFailed
            }
            CustodianEffect::Anchor(anchor) => {
                if config.lie != Some(Lie::AnchorStands) {
                    node.anchor = Some(anchor);
                }
                CustodianAnswer::Anchored
            }
            CustodianEffect::DestroyHandles => CustodianAnswer::HandlesDestroyed,
        };
        Some(CustodianInput::Done { ticket: Ticket::new(ticket), answer })
    }
}

impl CustodianNode {
    fn commit(
        &mut self,
        ticket: u64,
        transaction: Transaction,
        reply: Reply,
        lie: Option<Lie>,
    ) -> CustodianAnswer {
        match reply {
            Reply::Done if lie == Some(Lie::StoreAnswersEarly) => {
                // The index that a write would get, with nothing written.
                CustodianAnswer::Committed(LogIndex::new(self.store.log.len() as u64))
            }
            Reply::Done => match self.store.commit(&transaction) {
                Some(index) => CustodianAnswer::Committed(index),
                None => CustodianAnswer::Fenced,
            },
            Reply::Failed => CustodianAnswer::Fenced,
            Reply::UnknownWritten | Reply::UnknownLost => {
                if reply == Reply::UnknownWritten {
                    self.store.commit(&transaction);
                }
                self.commits.insert(ticket, transaction);
                CustodianAnswer::Unknown
            }
        }
    }

    fn reread(&mut self, commit: u64) -> CustodianAnswer {
        let written = self.commits.remove(&commit).and_then(|t| self.store.reread(&t));
        written.map_or(CustodianAnswer::Fenced, CustodianAnswer::Committed)
    }

    pub fn epoch(&self) -> Epoch {
        self.store.epoch
    }
}

/// Judges Evidence as an appraiser does: what no hardware made is rejected.
fn appraise(config: &Config, evidence: &Evidence) -> CustodianAnswer {
    let gpu = symbolic::read_report("gpu", evidence.gpu.as_bytes());
    let read = || symbolic::read_report("cpu", evidence.cpu.as_bytes());
    let cpu = match config.lie {
        Some(Lie::UnreadableReportPasses) => {
            // Nothing is asked of what would not be compared.
            let nonce = gpu.map(|(_, nonce)| nonce);
            oracle::silently(read).or_else(|| Some(as_it_should_be(config, evidence, &nonce?)))
        }
        Some(Lie::AnyHalf) => {
            oracle::silently(read).or_else(|| symbolic::read_report("gpu", evidence.cpu.as_bytes()))
        }
        _ => read(),
    };
    match (gpu, cpu) {
        (Some((gpu, report_nonce)), Some((cpu, report_data))) => {
            CustodianAnswer::Appraised(Verdict {
                report_nonce,
                report_data,
                device: device_id(gpu, cpu),
                measurements: [gpu, cpu].map(|part| config.setup.measured(part)).to_vec(),
                mode: 1,
            })
        }
        _ => CustodianAnswer::Rejected,
    }
}

/// What the CPU report would say: the GPU's nonce is made of the session, and the data of that.
fn as_it_should_be(config: &Config, evidence: &Evidence, gpu_nonce: &Digest) -> (Hardware, Digest) {
    let made_of = parts_of(gpu_nonce.as_bytes());
    let session = made_of.and_then(|made_of| made_of.parts.first()?.as_slice().try_into().ok());
    let session = Digest::new(session.unwrap_or_default());
    let mut suite = config.setup.suite(Principal::Stranger, 0);
    let data = transcript::cpu_data(&mut suite, &session, evidence.gpu.as_bytes());
    (Hardware::Enrolled, data)
}
