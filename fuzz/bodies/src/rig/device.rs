//! A device and its driver: keys, memory, and answers that may be lies.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use split_custody_model_check::symbolic::{self, Hardware, Principal};
use split_custody_model_check::world::Setup;
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Output, Report};
use split_custody_protocol::ids::{ChannelId, CustodianId, Ticket};
use split_custody_protocol::role::{Device, DeviceInput};
use split_custody_protocol::suite::{Bytes, Digest, Exporter, LeafKey};
use split_custody_protocol::transcript::{self, EntryInput};
use split_custody_protocol::wire::Message;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind, Request};

use super::{End, Reply, Rig, THRESHOLD};
use crate::watch::DeviceWatch;

/// A device's machine and its hardware.
#[derive(Clone, Debug)]
pub struct DeviceEnd {
    pub(super) machine: Device,
    questions: BTreeMap<Ticket, DeviceEffect>,
    dials: BTreeSet<u8>,
    life: u64,
    /// An exporter was made up: what the device computes from it is nobody's business.
    exporter_lied: Honesty,
    pub(super) watch: DeviceWatch,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Honesty {
    Honest,
    Lied,
}

/// An answer that no honest driver gives, or not to this question.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum DeviceLie {
    Exported(u8),
    ExportFailed,
    Evidence(u8),
    EvidenceFailed,
    Loaded,
    LoadFailed,
    Erased,
    Zeroised,
    Scrubbed,
    ScrubFailed,
    Planted(u8),
    PlantFailed,
}

impl DeviceLie {
    fn answer(self) -> DeviceAnswer {
        match self {
            Self::Exported(byte) => DeviceAnswer::Exported(Exporter::new([byte; 32])),
            Self::ExportFailed => DeviceAnswer::ExportFailed,
            Self::Evidence(byte) => {
                DeviceAnswer::EvidenceCollected(evidence(vec![byte; 3], vec![byte; 5]))
            }
            Self::EvidenceFailed => DeviceAnswer::EvidenceFailed,
            Self::Loaded => DeviceAnswer::Loaded,
            Self::LoadFailed => DeviceAnswer::LoadFailed,
            Self::Erased => DeviceAnswer::Erased,
            Self::Zeroised => DeviceAnswer::Zeroised,
            Self::Scrubbed => DeviceAnswer::Scrubbed,
            Self::ScrubFailed => DeviceAnswer::ScrubFailed,
            Self::Planted(life) => DeviceAnswer::Planted(symbolic::incarnation(life.into())),
            Self::PlantFailed => DeviceAnswer::PlantFailed,
        }
    }
}

impl DeviceEnd {
    pub(super) fn new(setup: &Setup) -> Self {
        Self {
            machine: Device::new(setup.device_config()),
            questions: BTreeMap::new(),
            dials: BTreeSet::new(),
            life: 0,
            exporter_lied: Honesty::Honest,
            watch: DeviceWatch::default(),
        }
    }

    pub(super) fn leaf(&self) -> LeafKey {
        Principal::Device.leaf(self.life)
    }

    pub(super) fn first_question(&self) -> Option<Ticket> {
        self.questions.keys().next().copied()
    }

    pub(super) fn question(&self, pick: u8) -> Option<Ticket> {
        let at = usize::from(pick).checked_rem(self.questions.len())?;
        self.questions.keys().nth(at).copied()
    }

    pub(super) fn first_dial(&self) -> Option<u8> {
        self.dials.first().copied()
    }

    pub(super) fn forget_dial(&mut self, custodian: u8) {
        self.dials.remove(&custodian);
    }

    fn honest(&mut self, setup: &Setup, question: &DeviceEffect) -> DeviceAnswer {
        match question {
            DeviceEffect::Export { channel, context } => {
                DeviceAnswer::Exported(symbolic::exporter(channel.value(), context))
            }
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                DeviceAnswer::EvidenceCollected(self.reports(setup, session, gpu))
            }
            DeviceEffect::Load { .. } => DeviceAnswer::Loaded,
            DeviceEffect::Erase { .. } => DeviceAnswer::Erased,
            DeviceEffect::Zeroise => DeviceAnswer::Zeroised,
            DeviceEffect::Scrub => DeviceAnswer::Scrubbed,
            DeviceEffect::Plant => {
                self.life += 1;
                DeviceAnswer::Planted(symbolic::incarnation(self.life))
            }
        }
    }

    /// Measured code reports about its own session and nothing else.
    fn reports(&self, setup: &Setup, session: &Digest, gpu: &Digest) -> Evidence {
        let mut suite = setup.suite(Principal::Device, self.life);
        let gpu = symbolic::report("gpu", Hardware::Enrolled, gpu);
        let data = transcript::cpu_data(&mut suite, session, &gpu);
        evidence(gpu, symbolic::report("cpu", Hardware::Enrolled, &data))
    }
}

impl Rig {
    pub(super) fn device_opens(&mut self, wire: u64) {
        let Some(held) = self.wires.get(&wire) else { return };
        let input = DeviceInput::ChannelOpened {
            channel: ChannelId::new(wire),
            custodian: CustodianId::new(held.custodian),
            own_leaf: held.leaf,
            peer_leaf: Principal::Custodian(held.custodian).leaf(0),
        };
        self.device_input(input);
    }

    pub(super) fn device_closes(&mut self, channel: ChannelId) {
        self.device_input(DeviceInput::ChannelClosed { channel });
    }

    pub(super) fn answer_device(&mut self, ticket: Ticket, reply: Reply) {
        let Some(question) = self.device.questions.remove(&ticket) else { return };
        let answer = match reply {
            Reply::Done | Reply::UnknownWritten => self.device.honest(&self.setup, &question),
            Reply::Failed | Reply::UnknownLost => failure(&question),
            Reply::Lie { device, .. } => device.answer(),
        };
        self.tell_device(ticket, answer, matches!(reply, Reply::Lie { .. }));
    }

    /// An answer under a ticket that may be nobody's.
    pub(super) fn lie_to_device(&mut self, ticket: u8, lie: DeviceLie) {
        let ticket = Ticket::new(ticket.into());
        self.device.questions.remove(&ticket);
        self.tell_device(ticket, lie.answer(), true);
    }

    fn tell_device(&mut self, ticket: Ticket, answer: DeviceAnswer, lie: bool) {
        match &answer {
            DeviceAnswer::Loaded => self.device.watch.loaded(),
            DeviceAnswer::Planted(_) => self.device.watch.planted(),
            DeviceAnswer::Exported(_) if lie => self.device.exporter_lied = Honesty::Lied,
            _ => {}
        }
        self.device_input(DeviceInput::Done { ticket, answer });
    }

    pub(super) fn device_input(&mut self, input: DeviceInput) {
        let mut suite = self.setup.suite(Principal::Device, self.device.life);
        // A rejection is for the log; the machine has already acted upon it.
        let _ = self.device.machine.handle(self.now, input, &mut suite);
        self.drain_device();
        self.check_leases();
    }

    pub(super) fn drain_device(&mut self) {
        while let Some(output) = self.device.machine.poll_output() {
            match output {
                Output::Transmit { channel, frame } => self.device_sends(channel.value(), frame),
                Output::Close { channel } => {
                    if let Some(wire) = self.wires.get_mut(&channel.value()) {
                        wire.ends.remove(&(End::Device as u8));
                        wire.to_device.clear();
                    }
                }
                Output::Effect { ticket, effect } => {
                    let again = self.device.questions.insert(ticket, effect);
                    assert!(again.is_none(), "two questions under one ticket");
                }
                Output::Dial { custodian } => {
                    self.device.dials.insert(custodian.value());
                }
                Output::Report(Report::Tainted) => self.device.watch.tainted(),
                Output::Report(Report::Stopped { .. }) => self.device.watch.stopped(),
                Output::Report(_) => {}
            }
        }
    }

    fn device_sends(&mut self, wire: u64, frame: Vec<u8>) {
        match self.device.watch.sent(&frame) {
            Message::Hello(_) => {
                if let Some(held) = self.wires.get_mut(&wire) {
                    held.hello = Some(frame.clone());
                }
            }
            Message::Request(request) => self.check_request(wire, &request),
            _ => {}
        }
        self.put(wire, End::Custodian, frame);
    }

    /// A request's own entry binds the channel it goes out on, and no other. [HS-10]
    fn check_request(&self, wire: u64, request: &Request) {
        let Some(held) = self.wires.get(&wire) else { return };
        if self.device.exporter_lied == Honesty::Lied {
            return;
        }
        let (Some(hello), Some(frame)) = (&held.hello, &held.challenge) else {
            panic!("a request on a channel that it does not bind [HS-10]");
        };
        let Ok(Message::Challenge(challenge)) = Message::from_frame(frame) else {
            unreachable!("only challenges are kept")
        };
        let mut suite = self.setup.suite(Principal::Device, self.device.life);
        let context = transcript::exporter_context(&mut suite, hello);
        let own = EntryInput {
            exporter: &symbolic::exporter(wire, &context),
            device_leaf: &held.leaf,
            custodian_leaf: &Principal::Custodian(held.custodian).leaf(0),
            th1: &transcript::th1(&mut suite, hello, frame),
            suite: challenge.suite,
            device_key: &request.device_key,
        };
        let own = transcript::entry(&mut suite, &own);
        let said = request.entries.iter().find(|e| e.custodian.value() == held.custodian);
        assert!(said.is_some_and(|e| e.digest == own), "an entry of another channel [HS-10]");
    }

    /// The device's leases were granted, and end no later than their custodian thinks. [LEA-1]
    fn check_leases(&self) {
        for (custodian, held) in self.device.machine.leases() {
            self.device.watch.holds(custodian.value(), held.lease);
            let ledger = self.custodians.get(&custodian.value()).map(|end| end.machine.ledger());
            if let Some(lease) = ledger.and_then(|ledger| ledger.get(&held.lease)) {
                assert!(held.end() <= lease.lapse(), "a lease outlives its custodian's term");
            }
        }
    }

    /// Admits a use, if the machine does, and lets its output leave.
    pub(super) fn admit(&mut self) {
        let admitted = self.device.machine.admit(self.now);
        let counting = self.device.machine.counting(self.now);
        if let Ok(admission) = admitted {
            self.device.watch.admitted(THRESHOLD.into(), counting);
            if self.device.machine.release_output(self.now, &admission).is_ok() {
                self.device.watch.admitted(THRESHOLD.into(), counting);
            }
        }
        self.drain_device();
    }
}

fn failure(question: &DeviceEffect) -> DeviceAnswer {
    match question {
        DeviceEffect::Export { .. } => DeviceAnswer::ExportFailed,
        DeviceEffect::CollectEvidence { .. } => DeviceAnswer::EvidenceFailed,
        DeviceEffect::Load { .. } => DeviceAnswer::LoadFailed,
        DeviceEffect::Erase { .. } => DeviceAnswer::Erased,
        DeviceEffect::Zeroise => DeviceAnswer::Zeroised,
        DeviceEffect::Scrub => DeviceAnswer::ScrubFailed,
        DeviceEffect::Plant => DeviceAnswer::PlantFailed,
    }
}

fn evidence(gpu: Vec<u8>, cpu: Vec<u8>) -> Evidence {
    Evidence {
        kind: EvidenceKind::SOFTWARE,
        gpu: Bytes::new(gpu).expect("a report is not empty"),
        cpu: Bytes::new(cpu).expect("a report is not empty"),
    }
}
