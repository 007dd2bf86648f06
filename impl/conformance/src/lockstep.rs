//! One step in the model, the same step in the implementation, and everything compared.
//!
//! All chapters. The world makes an action happen and writes down each turn: who heard what. The
//! same machine of the implementation then hears the same in real bytes. It has to take or refuse it
//! with the same rule, say the same in the same order, ask the same, and stand the same afterwards.

use std::collections::BTreeMap;

use split_custody_model_check::frame::FrameId;
use split_custody_model_check::symbolic::sealed_parts;
use split_custody_model_check::world::{
    Action, Asked, Config, CustodianView, DeviceView, Heard, Reply, Turn, Who, World,
};
use split_custody_protocol::effect::{
    CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, Output,
};
use split_custody_protocol::ids::Ticket;
use split_custody_protocol::role::{CustodianInput, DeviceInput, Rejection};
use split_custody_protocol::suite::{LeafKey, Nonce, SealedShare};
use split_custody_protocol::wire::encode;

use crate::dictionary::Dictionary;
use crate::divergence::Divergence;
use crate::harm::harm;
use crate::keyring::Keyring;
use crate::owner::Objects;
use crate::saying::{Question, Saying};
use crate::system::{Did, System};

/// Model and implementation in one state.
pub struct Lockstep {
    pub world: World,
    config: Config,
    system: System,
    dictionary: Dictionary,
    objects: Objects,
    /// The model counts its tickets anew where none is open.
    tickets: BTreeMap<(Who, Ticket), Ticket>,
    steps: usize,
    pub tally: Tally,
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    pub steps: usize,
    pub turns: usize,
    pub frames: usize,
    pub refusals: usize,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            steps: self.steps + other.steps,
            turns: self.turns + other.turns,
            frames: self.frames + other.frames,
            refusals: self.refusals + other.refusals,
        }
    }
}

type DeviceHeard = Heard<Asked, DeviceEffect, DeviceView>;
type CustodianHeard = Heard<CustodianInput, CustodianEffect, CustodianView>;

impl Lockstep {
    /// A world whose turns were written down from its beginning, and the implementation led there.
    pub fn begin(config: &Config, world: World) -> Result<Self, Divergence> {
        let (ring, dealing) = Keyring::generate(&config.setup);
        let objects = Objects::make(&config.setup, &ring, dealing, None);
        let system = System::new(&config.setup, &ring);
        let mut lockstep = Self {
            world,
            config: config.clone(),
            system,
            dictionary: Dictionary::new(ring),
            objects,
            tickets: BTreeMap::new(),
            steps: 0,
            tally: Tally::default(),
        };
        lockstep.meet_objects()?;
        lockstep
            .follow(Reply::Done)
            .map_err(|divergence| divergence.at("on the way to the start"))?;
        Ok(lockstep)
    }

    /// What the owner made is the same in both but for its keys.
    fn meet_objects(&mut self) -> Result<(), Divergence> {
        let setup = &self.config.setup;
        let pairs = [
            (encode(&setup.manifest()), encode(&self.objects.manifest)),
            (encode(&setup.deployment()), encode(&self.objects.deployment)),
        ];
        let provisions = self.objects.provisions.iter();
        let provisions = provisions.map(|(id, real)| (setup.provision(*id), real.clone()));
        for (model, real) in pairs.into_iter().chain(provisions) {
            self.dictionary.meet(&model, &real).map_err(|d| d.at("the owner's objects"))?;
        }
        self.dictionary.check().map_err(|divergence| divergence.at("the owner's objects"))
    }

    /// Makes an action happen in both. The turns of the model that it led to.
    pub fn step(&mut self, action: Action) -> Result<Vec<Turn>, Divergence> {
        self.world.step(&self.config, action);
        let reply = match action {
            Action::AnswerDevice(_, reply) | Action::AnswerCustodian(_, _, reply) => reply,
            _ => Reply::Done,
        };
        self.steps += 1;
        self.tally.steps += 1;
        let place = format!("step {}, {action:?}", self.steps);
        self.follow(reply).map_err(|divergence| divergence.at(&place))
    }

    /// Every enabled action of the model.
    pub fn actions(&self) -> Vec<Action> {
        self.world.actions(&self.config)
    }

    /// Changes the same value in both languages: from here on one harmed frame, whose name in the
    /// model is returned, stands for the other. `None` where there is nothing to change.
    pub fn harm(&mut self, frame: FrameId, place: u16) -> Result<Option<FrameId>, Divergence> {
        let model = frame.bytes().to_vec();
        let real = self.dictionary.real_of(&model)?;
        let (Some(model), Some(real)) = (harm(&model, place), harm(&real, place)) else {
            return Ok(None);
        };
        if let (Some(model), Some(real)) = (&model.value, &real.value) {
            self.dictionary.learn(model, real);
        }
        self.dictionary.learn(&model.frame, &real.frame);
        Ok(Some(FrameId::of(&model.frame)))
    }

    fn follow(&mut self, reply: Reply) -> Result<Vec<Turn>, Divergence> {
        let turns = self.world.turns.replace(Vec::new()).unwrap_or_default();
        // The answer that the action gives comes first; what follows is answered at once.
        let mut reply = reply;
        for turn in &turns {
            self.turn(turn, reply)?;
            if matches!(turn, Turn::Device(_) | Turn::Custodian(..)) {
                reply = Reply::Done;
            }
        }
        Ok(turns)
    }

    fn turn(&mut self, turn: &Turn, reply: Reply) -> Result<(), Divergence> {
        self.tally.turns += 1;
        match turn {
            Turn::Device(heard) => {
                self.device_turn(heard, reply).map_err(|divergence| divergence.at("the device"))
            }
            Turn::Custodian(id, drawn, heard) => {
                let place = format!("custodian {id}");
                self.custodian_turn(*id, &drawn.activation, heard, reply).map_err(|d| d.at(&place))
            }
            Turn::Passed { device, custodians } => {
                self.system.pass(*device, *custodians);
                Ok(())
            }
            Turn::Began(id) | Turn::Killed(id) | Turn::BackedUp(id) | Turn::RolledBack(id) => {
                let ring = self.dictionary.ring();
                let process = self.system.custodians.get_mut(id);
                let process = process.ok_or_else(|| Divergence::new("no such custodian"))?;
                match turn {
                    Turn::Began(_) => return process.begin(ring),
                    Turn::Killed(_) => process.kill(),
                    Turn::BackedUp(_) => process.back_up(),
                    _ => process.roll_back(),
                }
                Ok(())
            }
        }
    }

    fn device_turn(&mut self, heard: &DeviceHeard, reply: Reply) -> Result<(), Divergence> {
        let before = DeviceView::of(&self.system.device.machine, self.system.device.now);
        same("stood before", &heard.before, &before)?;
        let did = match &heard.input {
            Asked::Admit => self.system.device.admit(),
            Asked::Emit => self.system.device.emit()?,
            Asked::Input(input) => {
                let input = self.device_input(input, reply)?;
                self.system.device.hear(input)
            }
        };
        self.compare(Who::Device, &heard.rejection, &heard.outputs, &did)?;
        let after = DeviceView::of(&self.system.device.machine, self.system.device.now);
        same("stands after", &heard.after, &after)
    }

    fn custodian_turn(
        &mut self,
        id: u8,
        nonce: &Nonce,
        heard: &CustodianHeard,
        reply: Reply,
    ) -> Result<(), Divergence> {
        let view = |system: &System| {
            let process = system.custodians.get(&id)?;
            Some(CustodianView::of(process.machine.as_ref()?, process.now))
        };
        let gone = || Divergence::new("this custodian does not run");
        same("stood before", &heard.before, &view(&self.system).ok_or_else(gone)?)?;
        let input = self.custodian_input(id, &heard.input, reply)?;
        let process = self.system.custodians.get_mut(&id).ok_or_else(gone)?;
        let did = process.hear(input)?;
        if let Some(machine) = &process.machine {
            let drawn = machine.activation_nonce();
            self.dictionary.meet(nonce.as_bytes(), drawn.as_bytes())?;
        }
        self.compare(Who::Custodian(id), &heard.rejection, &heard.outputs, &did)?;
        same("stands after", &heard.after, &view(&self.system).ok_or_else(gone)?)
    }

    fn compare<E: Question>(
        &mut self,
        who: Who,
        rejection: &Option<Rejection>,
        outputs: &[Output<E>],
        did: &Did<E>,
    ) -> Result<(), Divergence> {
        same("answers the input with", rejection, &did.rejection)?;
        self.tally.refusals += usize::from(rejection.is_some());
        for (model, real) in outputs.iter().zip(&did.outputs) {
            let place = format!("the model says {model:?}, the implementation {real:?}");
            self.compare_output(who, model, real).map_err(|divergence| divergence.at(&place))?;
        }
        match (outputs.get(did.outputs.len()), did.outputs.get(outputs.len())) {
            (Some(more), _) => Err(Divergence::new(format!("only the model also says {more:?}"))),
            (_, Some(more)) => {
                Err(Divergence::new(format!("only the implementation also says {more:?}")))
            }
            (None, None) => self.dictionary.check(),
        }
    }

    fn compare_output<E: Question>(
        &mut self,
        who: Who,
        model: &Output<E>,
        real: &Output<E>,
    ) -> Result<(), Divergence> {
        match (model, real) {
            (
                Output::Transmit { channel, frame },
                Output::Transmit { channel: other, frame: bytes },
            ) => {
                self.tally.frames += 1;
                same("speaks on channel", channel, other)?;
                self.dictionary.meet(frame, bytes)
            }
            (
                Output::Effect { ticket, effect },
                Output::Effect { ticket: other, effect: question },
            ) => {
                self.tickets.insert((who, *ticket), *other);
                let commit = |ticket: Ticket| self.tickets.get(&(who, ticket)).copied();
                effect.meets(question, &commit, &mut self.dictionary)
            }
            (Output::Report(model), Output::Report(real)) => {
                same("reports", &without_values(model), &without_values(real))
            }
            (model, real) if without_values(model) == without_values(real) => Ok(()),
            _ => Err(Divergence::new("another output")),
        }
    }

    /// The device's input in bytes; an answer is what the implementation's hardware gives.
    fn device_input(
        &mut self,
        input: &DeviceInput,
        reply: Reply,
    ) -> Result<DeviceInput, Divergence> {
        Ok(match input {
            DeviceInput::Acquire { .. } => DeviceInput::Acquire {
                manifest: self.objects.manifest.clone(),
                deployment: self.objects.deployment.clone(),
            },
            DeviceInput::ChannelOpened { channel, custodian, own_leaf, peer_leaf } => {
                DeviceInput::ChannelOpened {
                    channel: *channel,
                    custodian: *custodian,
                    own_leaf: self.leaf(own_leaf)?,
                    peer_leaf: self.leaf(peer_leaf)?,
                }
            }
            DeviceInput::Received { channel, frame } => {
                let frame = self.dictionary.arriving(frame)?;
                DeviceInput::Received { channel: *channel, frame }
            }
            DeviceInput::Done { ticket, answer } => {
                let ticket = self.ticket(Who::Device, *ticket)?;
                DeviceInput::Done { ticket, answer: self.device_answer(ticket, answer, reply)? }
            }
            other => other.clone(),
        })
    }

    fn device_answer(
        &mut self,
        ticket: Ticket,
        model: &DeviceAnswer,
        reply: Reply,
    ) -> Result<DeviceAnswer, Divergence> {
        let real = self.system.device.answer(ticket, reply, self.dictionary.ring())?;
        model.meets(&real, &mut self.dictionary)?;
        Ok(real)
    }

    fn custodian_input(
        &mut self,
        id: u8,
        input: &CustodianInput,
        reply: Reply,
    ) -> Result<CustodianInput, Divergence> {
        Ok(match input {
            CustodianInput::ChannelOpened { channel, own_leaf, peer_leaf, chain } => {
                CustodianInput::ChannelOpened {
                    channel: *channel,
                    own_leaf: self.leaf(own_leaf)?,
                    peer_leaf: self.leaf(peer_leaf)?,
                    chain: chain.iter().map(|leaf| self.leaf(leaf)).collect::<Result<_, _>>()?,
                }
            }
            CustodianInput::Received { channel, frame } => {
                let frame = self.dictionary.arriving(frame)?;
                CustodianInput::Received { channel: *channel, frame }
            }
            CustodianInput::Done { ticket, answer } => {
                let ticket = self.ticket(Who::Custodian(id), *ticket)?;
                let answer = self.custodian_answer(id, ticket, answer, reply)?;
                CustodianInput::Done { ticket, answer }
            }
            other => other.clone(),
        })
    }

    fn custodian_answer(
        &mut self,
        id: u8,
        ticket: Ticket,
        model: &CustodianAnswer,
        reply: Reply,
    ) -> Result<CustodianAnswer, Divergence> {
        let instead = self.made_up(model)?;
        let process = self.system.custodians.get_mut(&id);
        let process = process.ok_or_else(|| Divergence::new("no such custodian"))?;
        let real = process.answer(ticket, reply, instead, self.dictionary.ring())?;
        model.meets(&real, &mut self.dictionary)?;
        Ok(real)
    }

    /// What a liar's HSM seals instead of its share.
    fn made_up(&mut self, model: &CustodianAnswer) -> Result<Option<SealedShare>, Divergence> {
        let CustodianAnswer::Released { sealed, .. } = model else { return Ok(None) };
        let made_up = sealed_parts(sealed).is_some_and(|(_, _, share)| share.value() >> 8 == 2);
        if !made_up {
            return Ok(None);
        }
        Ok(SealedShare::new(self.dictionary.real_of(sealed.as_bytes())?))
    }

    fn ticket(&self, who: Who, ticket: Ticket) -> Result<Ticket, Divergence> {
        let asked = self.tickets.get(&(who, ticket)).copied();
        asked.ok_or_else(|| Divergence::new("an answer to what the implementation never asked"))
    }

    fn leaf(&mut self, leaf: &LeafKey) -> Result<LeafKey, Divergence> {
        let real = self.dictionary.real_of(leaf.as_bytes())?;
        let real = real.as_slice().try_into();
        real.map(LeafKey::new).map_err(|_| Divergence::new("a leaf key of another length"))
    }
}

fn same<T: std::fmt::Debug + PartialEq>(what: &str, model: &T, real: &T) -> Result<(), Divergence> {
    if model == real {
        Ok(())
    } else {
        let text = format!("{what}: the model {model:?}, the implementation {real:?}");
        Err(Divergence::new(text))
    }
}

/// A debug text without the bytes of values, which two languages do not share.
fn without_values(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let mut kept = String::with_capacity(text.len());
    for part in text.split_inclusive("..)") {
        match part.strip_suffix("..)").and_then(|part| part.rsplit_once('(')) {
            Some((before, _)) => kept.extend([before, "(..)"]),
            None => kept.push_str(part),
        }
    }
    kept
}
