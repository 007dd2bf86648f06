//! A custodian and its driver: store, HSM, anchor, and answers that may be lies.

use std::collections::BTreeMap;

use arbitrary::Arbitrary;
use split_custody_model_check::symbolic::{
    self, Principal, device_id, measurement, release, true_share,
};
use split_custody_model_check::world::{Setup, Store};
use split_custody_protocol::effect::{
    Anchor, CustodianAnswer, CustodianEffect, Output, Transaction, Verdict,
};
use split_custody_protocol::ids::{ChannelId, LogIndex, Ticket};
use split_custody_protocol::role::{Custodian, CustodianInput};
use split_custody_protocol::suite::{Bytes, Digest, Exporter, Signature};
use split_custody_protocol::wire::Message;
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::grant::GrantStatement;

use super::{End, Peer, Reply, Rig};
use crate::watch::CustodianWatch;

/// A custodian's machine and its durable side.
#[derive(Clone, Debug)]
pub struct CustodianEnd {
    pub(super) machine: Custodian,
    questions: BTreeMap<Ticket, CustodianEffect>,
    /// The transaction of every commit of this life, for its re-reading.
    commits: BTreeMap<Ticket, Transaction>,
    store: Store,
    anchor: Option<Anchor>,
    watch: CustodianWatch,
}

/// An answer that no honest driver gives, or not to this question.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum CustodianLie {
    Exported(u8),
    ExportFailed,
    /// Claims of nobody in particular.
    Appraised(u8),
    Rejected,
    Committed(u8),
    Unknown,
    Fenced,
    Released(u8),
    Signed(u8),
    HsmFailed,
    Anchored,
    HandlesDestroyed,
}

impl CustodianLie {
    fn answer(self) -> CustodianAnswer {
        match self {
            Self::Exported(byte) => CustodianAnswer::Exported(Exporter::new([byte; 32])),
            Self::ExportFailed => CustodianAnswer::ExportFailed,
            Self::Appraised(byte) => CustodianAnswer::Appraised(Verdict {
                report_nonce: Digest::new([byte; 32]),
                report_data: Digest::new([byte; 32]),
                device: device_id(symbolic::Hardware::Enrolled, symbolic::Hardware::Adversary),
                measurements: vec![measurement()],
                mode: byte,
            }),
            Self::Rejected => CustodianAnswer::Rejected,
            Self::Committed(index) => CustodianAnswer::Committed(LogIndex::new(index.into())),
            Self::Unknown => CustodianAnswer::Unknown,
            Self::Fenced => CustodianAnswer::Fenced,
            Self::Released(byte) => {
                let sealed = Bytes::new(vec![byte; 72]).expect("72 bytes are within the cap");
                CustodianAnswer::Released { sealed, signature: Signature::new([byte; 64]) }
            }
            Self::Signed(byte) => CustodianAnswer::Signed(Signature::new([byte; 64])),
            Self::HsmFailed => CustodianAnswer::HsmFailed,
            Self::Anchored => CustodianAnswer::Anchored,
            Self::HandlesDestroyed => CustodianAnswer::HandlesDestroyed,
        }
    }
}

impl CustodianEnd {
    pub(super) fn new(setup: &Setup, id: u8) -> Self {
        let (mut store, mut anchor) = (Store::default(), None);
        let recovered = store.boot(&mut anchor);
        Self {
            machine: Custodian::new(setup.custodian_config(id), recovered),
            questions: BTreeMap::new(),
            commits: BTreeMap::new(),
            store,
            anchor,
            watch: CustodianWatch::default(),
        }
    }

    pub(super) fn first_question(&self) -> Option<Ticket> {
        self.questions.keys().next().copied()
    }

    pub(super) fn question(&self, pick: u8) -> Option<Ticket> {
        let at = usize::from(pick).checked_rem(self.questions.len())?;
        self.questions.keys().nth(at).copied()
    }

    /// The transaction that an answer to a question decides about.
    fn transaction<'a>(&'a self, question: &'a CustodianEffect) -> Option<&'a Transaction> {
        match question {
            CustodianEffect::Commit(transaction) => Some(transaction),
            CustodianEffect::Reread { commit } => self.commits.get(commit),
            _ => None,
        }
    }

    fn honest(&mut self, id: u8, ticket: Ticket, question: &CustodianEffect) -> CustodianAnswer {
        match question {
            CustodianEffect::Export { channel, context } => {
                CustodianAnswer::Exported(symbolic::exporter(channel.value(), context))
            }
            CustodianEffect::Appraise { evidence } => appraise(evidence),
            CustodianEffect::Commit(transaction) => {
                self.commits.insert(ticket, transaction.clone());
                let index = self.store.commit(transaction);
                index.map_or(CustodianAnswer::Fenced, CustodianAnswer::Committed)
            }
            CustodianEffect::Reread { commit } => {
                let written = self.commits.get(commit).and_then(|t| self.store.reread(t));
                written.map_or(CustodianAnswer::Fenced, CustodianAnswer::Committed)
            }
            CustodianEffect::Release { to, context, draft, .. } => {
                let (sealed, signature) = release(id, true_share(id), to, context, draft);
                CustodianAnswer::Released { sealed, signature }
            }
            CustodianEffect::Sign { message } => {
                CustodianAnswer::Signed(Principal::Custodian(id).sign(message))
            }
            CustodianEffect::Anchor(anchor) => {
                self.anchor = Some(anchor.clone());
                CustodianAnswer::Anchored
            }
            CustodianEffect::DestroyHandles => CustodianAnswer::HandlesDestroyed,
        }
    }

    /// The store does not know whether it wrote; only a commit can be answered so.
    fn unknown(&mut self, ticket: Ticket, question: &CustodianEffect) -> CustodianAnswer {
        if let CustodianEffect::Commit(transaction) = question {
            self.commits.insert(ticket, transaction.clone());
        }
        CustodianAnswer::Unknown
    }
}

impl Rig {
    pub(super) fn boot(&mut self, id: u8) {
        self.custodian_input(id, CustodianInput::Booted);
    }

    /// A crash, and a new life over what the store and the anchor hold.
    pub(super) fn restart(&mut self, id: u8) {
        for wire in self.wires.values_mut().filter(|wire| wire.custodian == id) {
            wire.ends.remove(&(End::Custodian as u8));
            wire.to_custodian.clear();
        }
        let Some(end) = self.custodians.get_mut(&id) else { return };
        let recovered = end.store.boot(&mut end.anchor);
        end.machine = Custodian::new(self.setup.custodian_config(id), recovered);
        (end.questions, end.commits) = Default::default();
        let anchored = end.anchor.iter().flat_map(|anchor| anchor.orders.iter().copied());
        end.watch = CustodianWatch::new(anchored);
        self.boot(id);
    }

    pub(super) fn custodian_opens(&mut self, wire: u64) {
        let Some(held) = self.wires.get(&wire) else { return };
        let (id, leaf) = (held.custodian, held.leaf);
        let input = CustodianInput::ChannelOpened {
            channel: ChannelId::new(wire),
            own_leaf: Principal::Custodian(id).leaf(0),
            peer_leaf: leaf,
            chain: vec![leaf, Principal::issuer()],
        };
        self.custodian_input(id, input);
    }

    pub(super) fn custodian_closes(&mut self, id: u8, channel: ChannelId) {
        self.custodian_input(id, CustodianInput::ChannelClosed { channel });
    }

    pub(super) fn answer_custodian(&mut self, id: u8, ticket: Ticket, reply: Reply) {
        let Some(end) = self.custodians.get_mut(&id) else { return };
        let Some(question) = end.questions.remove(&ticket) else { return };
        let answer = match reply {
            Reply::Done => end.honest(id, ticket, &question),
            Reply::Failed => failure(&question),
            Reply::UnknownWritten => {
                end.honest(id, ticket, &question);
                end.unknown(ticket, &question)
            }
            Reply::UnknownLost => end.unknown(ticket, &question),
            Reply::Lie { custodian, .. } => {
                end.unknown(ticket, &question);
                custodian.answer()
            }
        };
        let transaction = end.transaction(&question).cloned();
        end.watch.told(&question, transaction.as_ref(), &answer);
        self.custodian_input(id, CustodianInput::Done { ticket, answer });
    }

    /// An answer under a ticket that may be nobody's.
    pub(super) fn lie_to_custodian(&mut self, id: u8, ticket: u8, lie: CustodianLie) {
        let ticket = Ticket::new(ticket.into());
        let open = self.custodians.get(&id).is_some_and(|end| end.questions.contains_key(&ticket));
        if open {
            let device = super::DeviceLie::Erased;
            self.answer_custodian(id, ticket, Reply::Lie { custodian: lie, device });
        } else {
            self.custodian_input(id, CustodianInput::Done { ticket, answer: lie.answer() });
        }
    }

    pub(super) fn custodian_input(&mut self, id: u8, input: CustodianInput) {
        let Some(end) = self.custodians.get_mut(&id) else { return };
        let life = end.store.generation.value();
        let mut suite = self.setup.suite(Principal::Custodian(id), life);
        // A rejection is for the log; the machine has already acted upon it.
        let _ = end.machine.handle(self.now, input, &mut suite);
        end.watch.stands_at(end.machine.epoch());
        let outputs: Vec<_> = std::iter::from_fn(|| end.machine.poll_output()).collect();
        for output in outputs {
            self.custodian_output(id, output);
        }
    }

    fn custodian_output(&mut self, id: u8, output: Output<CustodianEffect>) {
        let Some(end) = self.custodians.get_mut(&id) else { return };
        match output {
            Output::Transmit { channel, frame } => {
                end.watch.sent(&frame);
                self.custodian_sends(id, channel.value(), frame);
            }
            Output::Close { channel } => {
                if let Some(wire) = self.wires.get_mut(&channel.value()) {
                    wire.ends.remove(&(End::Custodian as u8));
                    wire.to_custodian.clear();
                }
            }
            Output::Effect { ticket, effect } => {
                let again = end.questions.insert(ticket, effect);
                assert!(again.is_none(), "two questions under one ticket");
            }
            Output::Dial { .. } => panic!("a custodian dials nobody"),
            Output::Report(_) => {}
        }
    }

    fn custodian_sends(&mut self, id: u8, wire: u64, frame: Vec<u8>) {
        let message = Message::from_frame(&frame);
        if let Ok(Message::Grant(grant)) = &message
            && let Ok(said) = grant.statement.payload::<GrantStatement>()
        {
            self.device.watch.granted(id, said.lease);
        }
        match (self.wires.get(&wire).map(|held| held.peer), message) {
            (Some(Peer::Device), _) => self.put(wire, End::Device, frame),
            (Some(Peer::Operator), Ok(Message::Status(status))) => {
                self.statuses.insert(id, status);
            }
            _ => {}
        }
    }
}

fn failure(question: &CustodianEffect) -> CustodianAnswer {
    match question {
        CustodianEffect::Export { .. } => CustodianAnswer::ExportFailed,
        CustodianEffect::Appraise { .. } => CustodianAnswer::Rejected,
        CustodianEffect::Commit(_) | CustodianEffect::Reread { .. } => CustodianAnswer::Fenced,
        _ => CustodianAnswer::HsmFailed,
    }
}

/// Judges Evidence as an appraiser does: what no hardware made is rejected.
fn appraise(evidence: &Evidence) -> CustodianAnswer {
    let gpu = symbolic::read_report("gpu", evidence.gpu.as_bytes());
    let cpu = symbolic::read_report("cpu", evidence.cpu.as_bytes());
    match (gpu, cpu) {
        (Some((gpu, report_nonce)), Some((cpu, report_data))) => {
            CustodianAnswer::Appraised(Verdict {
                report_nonce,
                report_data,
                device: device_id(gpu, cpu),
                measurements: vec![measurement()],
                mode: 1,
            })
        }
        _ => CustodianAnswer::Rejected,
    }
}
