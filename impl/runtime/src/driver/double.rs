//! A machine, a suite and an exporter for the driver's own tests.

use std::sync::Arc;

use split_custody_protocol::Suite;
use split_custody_protocol::effect::Output;
use split_custody_protocol::ids::{
    ChannelId, CustodianId, ShareIndex, Ticket, WeightsId, WeightsVersion,
};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceSecret, Differs, Digest, Exporter, InvalidKey,
    Label, LeafKey, Nonce, NotOpened, SealedShare, ShareHandle, SharePlace, Signature, SuiteId,
    VerifyKey,
};
use split_custody_protocol::time::Instant;

use crate::effects::{Answers, Effects};
use crate::machine::{Happening, Machine};
use crate::trace_types as trace;
use crate::transport::{Channel, Export};

/// Remembers what it heard and does what frames say.
#[derive(Debug, Default)]
pub(super) struct Toy {
    pub(super) heard: Vec<Happened>,
    pub(super) deadline: Option<Instant>,
    /// A deadline that no timeout moves.
    pub(super) stuck: Option<Instant>,
    pub(super) refuses_channels: bool,
    out: std::collections::VecDeque<Output<ToyEffect>>,
    channel: Option<ChannelId>,
    tickets: u64,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Happened {
    Opened(Option<CustodianId>),
    Failed(CustodianId),
    Closed,
    Received(Vec<u8>),
    Done(Ticket, bool),
    Timeout,
    Dial(CustodianId),
    On(ChannelId, Box<Happened>),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum ToyEffect {
    Export(ChannelId),
    Work,
}

impl Toy {
    fn ask(&mut self, effect: ToyEffect) {
        self.tickets += 1;
        self.out.push_back(Output::Effect { ticket: Ticket::new(self.tickets), effect });
    }

    fn say(&mut self, channel: ChannelId, text: &[u8]) {
        self.out.push_back(Output::Transmit { channel, frame: text.to_vec() });
    }

    fn on_frame(&mut self, channel: ChannelId, frame: &[u8]) {
        match frame {
            b"two-and-close" => {
                self.say(channel, b"first");
                self.say(channel, b"second");
                self.out.push_back(Output::Close { channel });
            }
            b"effect" => self.ask(ToyEffect::Work),
            b"echo a lot" => self.say(channel, &[7; 3000]),
            other => self.say(channel, other),
        }
    }
}

impl Machine for Toy {
    type Input = Happened;
    type Effect = ToyEffect;
    type Answer = bool;
    type Rejection = &'static str;

    fn handle<S: Suite>(
        &mut self,
        _: Instant,
        input: Happened,
        _: &mut S,
    ) -> Result<(), &'static str> {
        let (channel, what) = match input {
            Happened::On(channel, what) => (channel, *what),
            other => (ChannelId::new(0), other),
        };
        self.heard.push(what.clone());
        match what {
            Happened::Opened(_) if self.refuses_channels => return Err("unwanted"),
            Happened::Opened(_) => {
                self.channel = Some(channel);
                self.ask(ToyEffect::Export(channel));
            }
            Happened::Received(frame) => self.on_frame(channel, &frame),
            Happened::Done(ticket, is_export) => {
                let text = if is_export { "exported".into() } else { format!("done {ticket}") };
                let channel = self.channel.ok_or("no channel")?;
                self.say(channel, text.as_bytes());
            }
            Happened::Timeout => self.deadline = None,
            Happened::Dial(custodian) => self.out.push_back(Output::Dial { custodian }),
            Happened::Failed(_) | Happened::Closed | Happened::On(..) => {}
        }
        Ok(())
    }

    fn poll_output(&mut self) -> Option<Output<ToyEffect>> {
        self.out.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline.or(self.stuck)
    }

    fn input(happening: Happening<bool>) -> Option<Happened> {
        let on = |channel, what| Happened::On(channel, Box::new(what));
        Some(match happening {
            Happening::ChannelOpened { channel, custodian, .. } => {
                on(channel, Happened::Opened(custodian))
            }
            Happening::ChannelFailed { custodian } => Happened::Failed(custodian),
            Happening::ChannelClosed { channel } => on(channel, Happened::Closed),
            Happening::Received { channel, frame } => on(channel, Happened::Received(frame)),
            Happening::Done { ticket, answer } => Happened::Done(ticket, answer),
            Happening::Timeout => Happened::Timeout,
        })
    }

    fn export(effect: &ToyEffect) -> Option<(ChannelId, Digest)> {
        match effect {
            ToyEffect::Export(channel) => Some((*channel, Digest::new([4; 32]))),
            ToyEffect::Work => None,
        }
    }

    fn exported(exporter: Option<Exporter>) -> bool {
        exporter.is_some()
    }

    fn describe_input(input: &Happened) -> trace::Input {
        let (channel, what) = match input {
            Happened::On(channel, what) => (channel.value(), &**what),
            other => (0, other),
        };
        match what {
            Happened::Opened(_) => trace::Input::ChannelOpened {
                channel,
                custodian: None,
                own_leaf: [0; 32].into(),
                peer_leaf: [0; 32].into(),
                chain: Vec::new(),
                connection: None,
            },
            Happened::Received(frame) => {
                trace::Input::Received { channel, frame: crate::describe::frame(frame) }
            }
            Happened::Done(ticket, true) => trace::Input::Done {
                ticket: ticket.value(),
                answer: trace::Answer::Exported { exporter: [0; 32].into() },
            },
            Happened::Done(ticket, false) => {
                trace::Input::Done { ticket: ticket.value(), answer: trace::Answer::Loaded }
            }
            _ => trace::Input::Timeout,
        }
    }

    fn describe_effect(_: &ToyEffect) -> trace::Effect {
        trace::Effect::Scrub
    }
}

/// Answers at once.
pub(super) struct ToyEffects;

impl Effects<Toy> for ToyEffects {
    fn start(&mut self, ticket: Ticket, _: ToyEffect, answers: &Answers<Toy>) {
        answers.answer(ticket, false);
    }
}

/// An exporter that any two channels share.
struct FixedExport;

impl Export for FixedExport {
    fn export(&self, _: &Digest) -> Option<Exporter> {
        Some(Exporter::new([0xc3; 32]))
    }

    fn name(&self) -> Option<Exporter> {
        Some(Exporter::new([0x5a; 32]))
    }
}

/// A channel without TLS.
pub(super) fn plain(stream: tokio::io::DuplexStream, custodian: Option<CustodianId>) -> Channel {
    let (reader, writer) = tokio::io::split(stream);
    let leaf = LeafKey::new([0; 32]);
    Channel {
        reader: Box::new(reader),
        writer: Box::new(writer),
        exporter: Arc::new(FixedExport),
        custodian,
        own_leaf: leaf,
        peer_leaf: leaf,
        chain: vec![leaf],
        permit: None,
        retired: Default::default(),
    }
}

/// A suite for a machine that computes nothing.
pub(super) struct NoSuite;

impl Suite for NoSuite {
    fn hash(&mut self, _: Label, _: &[&[u8]]) -> Digest {
        Digest::new([0; 32])
    }

    fn same(&mut self, _: &[u8], _: &[u8]) -> Result<(), Differs> {
        Err(Differs)
    }

    fn fresh(&mut self, _: u64) -> Nonce {
        Nonce::new([0; 32])
    }

    fn generate(&mut self, _: SuiteId, _: u64) -> (DeviceSecret, AgreementKey) {
        let key = AgreementKey::new(vec![0]).expect("one byte is within the cap");
        (DeviceSecret::new(0), key)
    }

    fn verify(&mut self, _: &VerifyKey, _: &[u8], _: &Signature) -> Result<(), BadSignature> {
        Err(BadSignature)
    }

    fn validate_key(&mut self, _: SuiteId, _: &AgreementKey) -> Result<(), InvalidKey> {
        Err(InvalidKey)
    }

    fn open_share(
        &mut self,
        _: SuiteId,
        _: DeviceSecret,
        _: &Digest,
        _: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        Err(NotOpened)
    }

    fn check_share(&mut self, _: ShareHandle, _: SharePlace, _: &Digest) -> Result<(), Differs> {
        Err(Differs)
    }

    fn combine(&mut self, _: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        Err(NotOpened)
    }

    fn check_dek(
        &mut self,
        _: DekHandle,
        _: WeightsId,
        _: WeightsVersion,
        _: &Digest,
    ) -> Result<(), Differs> {
        Err(Differs)
    }
}
