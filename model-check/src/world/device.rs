//! The device's driver and hardware, and what properties want to know of them.

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Output, Report, StopCause};
use split_custody_protocol::error::Violation;
use split_custody_protocol::ids::{ChannelId, CustodianId, Ticket};
use split_custody_protocol::role::{Device, DeviceConfig, DeviceInput, Rejection};
use split_custody_protocol::suite::{Bytes, Digest};
use split_custody_protocol::time::{Rebase, Span};
use split_custody_protocol::transcript;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::message::Message;

use super::{
    Asked, Channel, Config, DeviceNode, DeviceView, FLOOR, Fact, Heard, Lie, Peer, Reply, Said,
    Setup, Switch, Turn, World,
};
use crate::frame::FrameId;
use crate::symbolic::{self, DEK, Principal};

impl DeviceNode {
    pub(super) fn new(setup: &Setup, number: u8) -> Self {
        let device = setup.devices()[usize::from(number)];
        let principal = if number == 0 { Principal::Device } else { Principal::OtherDevice };
        Self {
            number,
            machine: Device::new(DeviceConfig { device, ..setup.device_config() }),
            questions: BTreeMap::new(),
            dials: BTreeMap::new(),
            attested: BTreeSet::new(),
            keys: BTreeSet::new(),
            holds_dek: false,
            holds_plaintext: false,
            read: false,
            life: 0,
            leaf: principal.leaf(0),
            using: None,
            lost: false,
            counted: false,
            charged: BTreeMap::new(),
        }
    }
}

impl World {
    pub(super) fn power_on(&mut self, config: &Config) {
        self.device_input(config, DeviceInput::PoweredOn);
    }

    /// The process is gone; what lay in device memory is still there. [RST-1]
    pub(super) fn power_cycle(&mut self, config: &Config) {
        let device = self.device.edit();
        device.machine = Device::new(config.setup.device_config());
        device.questions.clear();
        device.dials.clear();
        device.using = None;
        for channel in self.channels.values_mut().filter(|c| c.peer == Peer::Device) {
            channel.device_end = Switch::Off;
            channel.to_device.clear();
        }
    }

    pub(super) fn acquire(&mut self, config: &Config) {
        self.spent.attempts = self.spent.attempts.saturating_add(1);
        self.device.edit().lost = false;
        self.device.edit().counted = false;
        self.device.edit().charged.clear();
        let input = DeviceInput::Acquire {
            manifest: config.setup.manifest(),
            deployment: config.setup.deployment(),
        };
        self.device_input(config, input);
    }

    pub(super) fn give_up(&mut self, config: &Config) {
        self.device_input(config, DeviceInput::Release);
    }

    pub(super) fn connect(&mut self, config: &Config, custodian: u8) {
        self.end_dial(custodian);
        let leaf = self.device.leaf;
        let channel = self.open_channel(custodian, Peer::Device, leaf);
        if !config.bounds.stepwise.is_on() {
            self.custodian_channel_opened(config, channel);
        }
        self.device_end_opened(config, custodian, channel);
    }

    /// The dial ends at the adversary; the device sees the custodian's certificate.
    pub(super) fn impersonate(&mut self, config: &Config, custodian: u8) {
        self.end_dial(custodian);
        let leaf = self.device.leaf;
        let channel = self.open_channel(custodian, Peer::Device, leaf);
        if let Some(link) = self.channels.get_mut(&channel) {
            link.impostor = Switch::On;
            link.custodian_end = Switch::Off;
        }
        self.device_end_opened(config, custodian, channel);
    }

    fn device_end_opened(&mut self, config: &Config, custodian: u8, channel: u64) {
        let leaf = self.device.leaf;
        self.device_input(
            config,
            DeviceInput::ChannelOpened {
                channel: ChannelId::new(channel),
                custodian: CustodianId::new(custodian),
                own_leaf: leaf,
                peer_leaf: Principal::Custodian(custodian).leaf(0),
            },
        );
    }

    fn end_dial(&mut self, custodian: u8) {
        let dials = &mut self.device.edit().dials;
        match dials.get_mut(&custodian) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(dials.remove(&custodian)),
        }
    }

    pub(super) fn refuse_dial(&mut self, config: &Config, custodian: u8) {
        self.end_dial(custodian);
        let custodian = CustodianId::new(custodian);
        self.device_input(config, DeviceInput::ChannelFailed { custodian });
    }

    pub(super) fn deliver_to_device(&mut self, config: &Config, channel: u64) {
        let Some(link) = self.channels.get_mut(&channel) else { return };
        let frame = link.to_device.remove(0).bytes().to_vec();
        let custodian = link.custodian;
        if config.lie == Some(Lie::SharesOpenInHost)
            && matches!(Message::from_frame(&frame), Ok(Message::Grant(_)))
        {
            self.share_left(config, custodian);
        }
        let channel = ChannelId::new(channel);
        self.device_input(config, DeviceInput::Received { channel, frame });
    }

    pub(super) fn wake_device(&mut self, config: &Config) {
        self.device_input(config, DeviceInput::Timeout);
    }

    /// One input of the device's machine, and everything that its driver does about it.
    pub(super) fn device_input(&mut self, config: &Config, input: DeviceInput) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut suite =
                config.device_suite(self.device.principal(), u64::from(self.device.life));
            let asked = self.about_to_ask(|| Asked::Input(input.clone()));
            // A rejection is for the log; the machine has already acted upon it.
            let now = self.now();
            let rejection = self.device.edit().machine.handle(now, input, &mut suite).err();
            if rejection.is_some() {
                self.say(Said::Rejected);
            }
            self.device_outputs(config, asked, rejection);
            inputs.extend(self.prompt_device_answer(config));
        }
    }

    /// Takes what the device's machine said, and does it.
    pub(super) fn device_outputs(
        &mut self,
        config: &Config,
        asked: Option<(Asked, DeviceView)>,
        rejection: Option<Rejection>,
    ) {
        let machine = &mut self.device.edit().machine;
        let outputs: Vec<_> = std::iter::from_fn(|| machine.poll_output()).collect();
        if let Some((asked, before)) = asked {
            let heard = |world: &Self| Heard {
                input: asked,
                rejection,
                outputs: outputs.clone(),
                before,
                after: DeviceView::of(&world.device.machine, world.now()),
            };
            self.turn(|world| Turn::Device(Box::new(heard(world))));
        }
        for output in outputs {
            self.device_output(config, output);
        }
    }

    /// What is asked and how the device stands, where turns are written down.
    pub(super) fn about_to_ask(
        &self,
        asked: impl FnOnce() -> Asked,
    ) -> Option<(Asked, DeviceView)> {
        let recorded = self.turns.is_some();
        recorded.then(|| (asked(), DeviceView::of(&self.device.machine, self.now())))
    }

    pub(super) fn device_output(&mut self, config: &Config, output: Output<DeviceEffect>) {
        match output {
            Output::Transmit { channel, frame } => {
                self.say(Said::Transmit(channel.value(), FrameId::of(&frame)));
                self.device_sends(config, channel.value(), &frame);
            }
            Output::Close { channel } => {
                self.say(Said::Close(channel.value()));
                if !config.bounds.stepwise.is_on() {
                    self.close_device_end(channel.value());
                }
            }
            Output::Effect { ticket, effect } => {
                self.say(Said::AskDevice(ticket.value(), effect.clone()));
                self.device.edit().questions.insert(ticket.value(), effect);
            }
            Output::Dial { custodian } => {
                self.say(Said::Dial(custodian.value()));
                let dials = self.device.edit().dials.entry(custodian.value()).or_default();
                *dials = if config.bounds.stepwise.is_on() { *dials + 1 } else { 1 };
            }
            Output::Report(report) => self.device_reports(config, &report),
        }
    }

    fn device_sends(&mut self, config: &Config, channel: u64, frame: &[u8]) {
        let id = FrameId::of(frame);
        let message = Message::from_frame(frame);
        match &message {
            Ok(Message::Request(request)) => self.watch_device_key(config, request),
            Ok(Message::Hello(_)) => {
                if let Some(link) = self.channels.get_mut(&channel) {
                    link.hellos.0 = Some(id);
                }
            }
            _ => {}
        }
        if config.bounds.intruder.is_on() {
            self.knows.insert(id);
        } else if matches!(message, Ok(Message::Request(_) | Message::Renew(_))) {
            self.seen.insert(id);
        }
        if let Ok(Message::Request(request)) = message
            && request.entries.as_slice().len() < usize::from(config.setup.k)
        {
            self.record(config, Fact::RequestToTooFew);
        }
        if let Some(link) = self.channels.get_mut(&channel)
            && link.custodian_end.is_on()
        {
            link.to_custodian.push(id);
        }
    }

    fn close_device_end(&mut self, channel: u64) {
        if let Some(link) = self.channels.get_mut(&channel) {
            link.device_end = Switch::Off;
            link.to_device.clear();
        }
    }

    fn device_reports(&mut self, config: &Config, report: &Report) {
        match report {
            Report::ExchangeClosed { custodian, violation: Some(violation) } => {
                self.on_blame(config, custodian.value(), *violation);
            }
            Report::Serving { .. } => {
                self.record(config, Fact::Loaded);
                if self.device.life > 1 {
                    self.record(config, Fact::ServedAgain);
                }
            }
            Report::Clean { .. } => self.on_clean(config),
            Report::NotAcquired { .. } => self.record(config, Fact::TooFewReady),
            Report::ReadBlocked => self.record(config, Fact::ReadBlocked),
            Report::Stopped { cause: StopCause::Revoked } if !self.is_the_revoked() => {
                self.record(config, Fact::EndedForAnother);
            }
            Report::Tainted if !config.bounds.stepwise.is_on() => {
                self.device.edit().dials.clear();
            }
            _ => {}
        }
    }

    fn on_blame(&mut self, config: &Config, custodian: u8, violation: Violation) {
        if violation == Violation::Unexpected {
            return; // not a reproach: an answer that came too late
        }
        if config.liars.contains(&custodian) {
            self.record(config, Fact::LiarCaught);
        } else {
            self.record(config, Fact::HonestBlamed);
        }
    }

    fn on_clean(&mut self, config: &Config) {
        let device = &self.device;
        if !device.keys.is_empty() || device.holds_dek || device.holds_plaintext {
            self.record(config, Fact::CleanWithRemains);
        }
        self.device.edit().read = false;
        if self.device.life > 1 {
            self.record(config, Fact::CleanAgain);
        }
    }

    /// The questions that this slice does not leave open are answered at once.
    pub(super) fn prompt_device_answer(&mut self, config: &Config) -> Option<DeviceInput> {
        if config.bounds.stepwise.is_on() {
            return None;
        }
        let prompt = |effect: &DeviceEffect| match effect {
            DeviceEffect::Load { .. } | DeviceEffect::CollectEvidence { .. } => {
                !config.bounds.deferred.is_on()
            }
            // With disturbances, each step of a reset can be disturbed.
            DeviceEffect::Zeroise | DeviceEffect::Scrub | DeviceEffect::Plant => {
                config.bounds.disturbances == 0 || self.device.life == 0
            }
            DeviceEffect::Export { .. } | DeviceEffect::Erase { .. } => true,
        };
        let ticket = *self.device.questions.iter().find(|(_, effect)| prompt(effect))?.0;
        Some(self.execute_device(config, ticket, Reply::Done))
    }

    pub(super) fn answer_device(&mut self, config: &Config, ticket: u64, reply: Reply) {
        let input = self.execute_device(config, ticket, reply);
        self.device_input(config, input);
    }

    /// Does what the device's driver and hardware do.
    fn execute_device(&mut self, config: &Config, ticket: u64, reply: Reply) -> DeviceInput {
        let effect = self.device.edit().questions.remove(&ticket).expect("enabled only while open");
        let answer = match (effect, reply) {
            (DeviceEffect::Export { channel, context }, _) => {
                let channel = self.exported(config, channel.value());
                DeviceAnswer::Exported(symbolic::exporter(channel, &context))
            }
            (DeviceEffect::CollectEvidence { session, gpu, .. }, Reply::Done) => {
                self.device.edit().attested.insert(session);
                DeviceAnswer::EvidenceCollected(self.honest_evidence(config, &session, &gpu))
            }
            (DeviceEffect::CollectEvidence { .. }, _) => DeviceAnswer::EvidenceFailed,
            (DeviceEffect::Load { dek }, Reply::Done) => {
                if dek != DEK {
                    self.record(config, Fact::ForeignKeyLoaded);
                }
                self.device.edit().holds_dek = true;
                self.device.edit().holds_plaintext = true;
                DeviceAnswer::Loaded
            }
            (DeviceEffect::Load { .. }, _) => DeviceAnswer::LoadFailed,
            (DeviceEffect::Erase { secrets }, _) => {
                for key in &secrets.keys {
                    self.device.edit().keys.remove(key);
                }
                if secrets.dek.is_some() {
                    self.device.edit().holds_dek = false;
                    self.device.edit().holds_plaintext = false;
                }
                DeviceAnswer::Erased
            }
            (DeviceEffect::Zeroise, _) => {
                if config.lie != Some(Lie::ZeroiseDoesNothing) {
                    self.device.edit().keys.clear();
                    self.device.edit().holds_dek = false;
                }
                DeviceAnswer::Zeroised
            }
            (DeviceEffect::Scrub, Reply::Done) => {
                if config.lie != Some(Lie::ScrubDoesNothing) {
                    self.device.edit().holds_plaintext = false;
                }
                DeviceAnswer::Scrubbed
            }
            (DeviceEffect::Scrub, _) => DeviceAnswer::ScrubFailed,
            (DeviceEffect::Plant, _) => {
                self.device.edit().life += 1;
                let life = u64::from(self.device.life);
                self.device.edit().leaf = self.device.principal().leaf(life);
                DeviceAnswer::Planted(symbolic::incarnation(self.device.life_name()))
            }
        };
        DeviceInput::Done { ticket: Ticket::new(ticket), answer }
    }

    /// The channel whose exporter the device is handed.
    fn exported(&self, config: &Config, channel: u64) -> u64 {
        let own = |(_, link): &(&u64, &Channel)| link.peer == Peer::Adversary;
        match self.channels.iter().find(own) {
            Some((other, _)) if config.lie == Some(Lie::HostHandsExporter) => *other,
            _ => channel,
        }
    }

    /// Measured code reports about its own session and nothing else.
    fn honest_evidence(&self, config: &Config, session: &Digest, gpu: &Digest) -> Evidence {
        let hardware = self.device.hardware();
        let mut suite = config.setup.suite(self.device.principal(), u64::from(self.device.life));
        let gpu = symbolic::report("gpu", hardware, gpu);
        let data = transcript::cpu_data(&mut suite, session, &gpu);
        evidence(gpu, symbolic::report("cpu", hardware, &data))
    }

    /// Notices that k leases counted, and that they no longer do. [LEA-5]
    pub(super) fn note_counting(&mut self, config: &Config) {
        let enough = self.device.machine.counting(self.now()) >= usize::from(config.setup.k);
        let lost = self.device.lost || self.device.counted && !enough;
        let counted = self.device.counted || enough;
        if (lost, counted) != (self.device.lost, self.device.counted) {
            let device = self.device.edit();
            (device.lost, device.counted) = (lost, counted);
        }
    }

    pub(super) fn host_read(&mut self, config: &Config) {
        self.spent.disturbances = self.spent.disturbances.saturating_add(1);
        if self.device.holds_plaintext {
            self.record(config, Fact::ReadWhileServing);
        }
        if config.setup.on_host_read == split_custody_protocol::reset::OnHostRead::Reset {
            self.device.edit().read = true;
        }
        let before = self.device.clone();
        match config.lie {
            Some(Lie::ReadUnnoticed) => {}
            Some(Lie::BlockedReadTaints) => self.device_input(config, DeviceInput::Tampered),
            _ => self.device_input(config, DeviceInput::HostRead),
        }
        if config.bounds.stepwise.is_on() {
            return; // a running system may notice at this input that a lease is over
        }
        self.device.edit().machine.rebase(Span::ZERO, FLOOR);
        self.device.seal();
        let blocks = config.setup.on_host_read == split_custody_protocol::reset::OnHostRead::Block;
        if blocks && before != self.device {
            self.record(config, Fact::BlockedReadChanged);
        }
    }

    pub(super) fn tamper(&mut self, config: &Config) {
        self.spent.disturbances = self.spent.disturbances.saturating_add(1);
        self.device.edit().read = true;
        self.device_input(config, DeviceInput::Tampered);
    }

    pub(super) fn resume(&mut self, config: &Config) {
        self.spent.disturbances = self.spent.disturbances.saturating_add(1);
        self.device.edit().read = true;
        self.device_input(config, DeviceInput::Resumed);
    }
}

/// Evidence of the development kind.
pub(super) fn evidence(gpu: Vec<u8>, cpu: Vec<u8>) -> Evidence {
    Evidence {
        kind: EvidenceKind::SOFTWARE,
        gpu: Bytes::new(gpu).expect("a report is not empty"),
        cpu: Bytes::new(cpu).expect("a report is not empty"),
    }
}
