//! Comparing what the log says with what the world says.

use std::collections::{BTreeMap, VecDeque};

use split_custody_protocol::effect::{CustodianEffect, DeviceEffect};
use split_custody_protocol::trace::{Answer, Effect, Entry, Frame, Hex, Input, Output};
use split_custody_protocol::wire::message::Message;

use super::pairing::Channels;
use super::{Mismatch, custodian_of, mismatch};
use crate::frame::FrameId;
use crate::world::{Action, Said, World};

/// Pairs of real values and terms, as they first appeared together.
#[derive(Debug, Default)]
pub(super) struct Matcher {
    terms: BTreeMap<Hex, FrameId>,
    digests: BTreeMap<FrameId, Hex>,
    lives: BTreeMap<Hex, u8>,
    leaves: BTreeMap<Hex, u8>,
    last: BTreeMap<String, u64>,
}

impl Matcher {
    pub(super) fn frames(&self) -> usize {
        self.terms.len()
    }

    pub(super) fn note_time(&mut self, entry: &Entry) {
        self.last.insert(entry.role.clone(), entry.now);
    }

    /// What must hold before the world steps: the frame is the next one, the index the next one.
    pub(super) fn check_before(
        &self,
        entry: &Entry,
        action: Action,
        world: &World,
    ) -> Result<(), Mismatch> {
        match (&entry.input, action) {
            (Input::Received { frame, .. }, Action::Deliver(channel, end)) => {
                let next = world.next_frame(channel, end);
                if next != self.terms.get(&frame.digest).copied() {
                    return Err(mismatch(
                        entry,
                        format!("`{}` is not what comes next", frame.message),
                    ));
                }
            }
            (Input::Done { answer: Answer::Committed { index }, .. }, _) => {
                let log = custodian_of(&entry.role)
                    .and_then(|id| world.custodians.get(&id))
                    .map_or(0, |node| node.store.log.len() as u64);
                if *index != log {
                    return Err(mismatch(
                        entry,
                        format!("log index {index}, the world's is {log}"),
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Compares one step: what the machines said, in order, and what became of commands.
    pub(super) fn compare(
        &mut self,
        entry: &Entry,
        said: &[Said],
        world: &World,
        channels: &Channels,
    ) -> Result<(), Mismatch> {
        self.compare_outcome(entry, said, world)?;
        let real: Vec<&Output> =
            entry.outputs.iter().filter(|o| !matches!(o, Output::Report { .. })).collect();
        let mut ours: VecDeque<&Said> = said.iter().filter(|s| **s != Said::Rejected).collect();
        for output in real {
            let place = place_of(entry, output, &ours, channels);
            let Some(term) = ours.remove(place) else {
                return Err(mismatch(entry, format!("the world does not say {output:?}")));
            };
            self.compare_one(entry, output, term, channels)?;
        }
        match ours.front() {
            Some(more) => Err(mismatch(entry, format!("the world also says {more:?}"))),
            None => Ok(()),
        }
    }

    fn compare_outcome(
        &mut self,
        entry: &Entry,
        said: &[Said],
        world: &World,
    ) -> Result<(), Mismatch> {
        if entry.rejected.is_some() != said.contains(&Said::Rejected) {
            let what =
                format!("the log says rejected: {:?}; the world does not agree", entry.rejected);
            return Err(mismatch(entry, what));
        }
        match &entry.input {
            Input::Command { name, outcome } => {
                let admits = name == "admit";
                let ours = if admits { world.device.using.is_some() } else { world.output_left() };
                return if outcome.starts_with("Ok") == ours {
                    Ok(())
                } else {
                    Err(mismatch(entry, format!("the world does not agree on {outcome}")))
                };
            }
            Input::Done { answer: Answer::Planted { incarnation }, .. } => {
                pair(&mut self.lives, incarnation, world.device.life, entry, "incarnation")?;
            }
            Input::ChannelOpened { own_leaf, custodian: Some(_), .. } => {
                pair(&mut self.leaves, own_leaf, world.device.life, entry, "leaf key")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn compare_one(
        &mut self,
        entry: &Entry,
        output: &Output,
        term: &Said,
        channels: &Channels,
    ) -> Result<(), Mismatch> {
        let fits = match (output, term) {
            (Output::Transmit { channel, frame }, Said::Transmit(world, id)) => {
                channels.is_same(&entry.role, *channel, *world)
                    && message_name(*id) == Some(frame.message.as_str())
                    && self.pair_frame(frame, *id)
            }
            (Output::Close { channel }, Said::Close(world)) => {
                channels.is_same(&entry.role, *channel, *world)
            }
            (Output::Dial { custodian }, Said::Dial(id)) => custodian == id,
            (
                Output::Effect { ticket, effect: Effect::Export { channel, .. } },
                Said::AskDevice(ours, DeviceEffect::Export { channel: world, .. })
                | Said::AskCustodian(ours, CustodianEffect::Export { channel: world, .. }),
            ) => ticket == ours && channels.is_same(&entry.role, *channel, world.value()),
            (Output::Effect { ticket, effect }, Said::AskDevice(ours, term)) => {
                ticket == ours && device_effect_fits(effect, term)
            }
            (Output::Effect { ticket, effect }, Said::AskCustodian(ours, term)) => {
                ticket == ours && custodian_effect_fits(effect, term)
            }
            _ => false,
        };
        if fits {
            Ok(())
        } else {
            Err(mismatch(entry, format!("the log says {output:?}, the world says {term:?}")))
        }
    }

    /// A digest and a term that appeared together stay together. Operators may sign one order twice,
    /// for two custodians: then the notices of one term have two digests, each with that term alone.
    fn pair_frame(&mut self, frame: &Frame, id: FrameId) -> bool {
        let term = *self.terms.entry(frame.digest.clone()).or_insert(id);
        let digest = self.digests.entry(id).or_insert_with(|| frame.digest.clone());
        term == id && (*digest == frame.digest || frame.message == "Notice")
    }
}

/// Which of the world's next outputs this is. A process numbers its channels as they come, the world as
/// they are dialled, so of frames to several channels any may be the first: no peer can tell.
fn place_of(entry: &Entry, output: &Output, ours: &VecDeque<&Said>, channels: &Channels) -> usize {
    let Output::Transmit { channel, .. } = output else { return 0 };
    let frames = ours.iter().take_while(|said| matches!(said, Said::Transmit(..)));
    let is_to = |said: &&Said| match said {
        Said::Transmit(world, _) => channels.is_same(&entry.role, *channel, *world),
        _ => false,
    };
    frames.into_iter().position(is_to).unwrap_or(0)
}

/// Two real values of one life, or one of two, do not fit.
fn pair(
    pairs: &mut BTreeMap<Hex, u8>,
    real: &Hex,
    life: u8,
    entry: &Entry,
    what: &str,
) -> Result<(), Mismatch> {
    let reused = pairs.iter().any(|(other, of)| *of == life && other != real);
    if *pairs.entry(real.clone()).or_insert(life) != life || reused {
        return Err(mismatch(entry, format!("the {what} does not belong to life {life}")));
    }
    Ok(())
}

fn message_name(id: FrameId) -> Option<&'static str> {
    Message::from_frame(&id.bytes()).ok().map(|message| message.kind().name())
}

fn device_effect_fits(real: &Effect, term: &DeviceEffect) -> bool {
    match (real, term) {
        (
            Effect::CollectEvidence { attempt, .. },
            DeviceEffect::CollectEvidence { attempt: ours, .. },
        ) => *attempt == ours.value(),
        (Effect::Erase { keys, shares, dek }, DeviceEffect::Erase { secrets }) => {
            keys.len() == secrets.keys.len()
                && shares.len() == secrets.shares.len()
                && dek.is_some() == secrets.dek.is_some()
        }
        (Effect::Load { .. }, DeviceEffect::Load { .. })
        | (Effect::Zeroise, DeviceEffect::Zeroise)
        | (Effect::Scrub, DeviceEffect::Scrub)
        | (Effect::Plant, DeviceEffect::Plant) => true,
        _ => false,
    }
}

fn custodian_effect_fits(real: &Effect, term: &CustodianEffect) -> bool {
    match (real, term) {
        (Effect::Commit { generation, epoch, change, .. }, CustodianEffect::Commit(ours)) => {
            *generation == ours.generation.value()
                && *epoch == ours.epoch.value()
                && change_fits(change, &ours.change)
        }
        (Effect::Reread { commit }, CustodianEffect::Reread { commit: ours }) => {
            *commit == ours.value()
        }
        (
            Effect::Release { index, suite, .. },
            CustodianEffect::Release { index: i, suite: s, .. },
        ) => *index == i.value() && *suite == s.value(),
        (Effect::Anchor { generation, epoch, orders }, CustodianEffect::Anchor(ours)) => {
            *generation == ours.generation.value()
                && *epoch == ours.epoch.value()
                && orders.len() == ours.orders.len()
        }
        (Effect::Appraise { .. }, CustodianEffect::Appraise { .. })
        | (Effect::Sign { .. }, CustodianEffect::Sign { .. })
        | (Effect::DestroyHandles, CustodianEffect::DestroyHandles) => true,
        _ => false,
    }
}

fn change_fits(
    real: &split_custody_protocol::trace::Change,
    term: &split_custody_protocol::effect::Change,
) -> bool {
    use split_custody_protocol::effect::Change as Term;
    use split_custody_protocol::trace::Change as Real;
    match (real, term) {
        (Real::Renew { counter, .. }, Term::Renew { counter: ours, .. }) => {
            *counter == ours.value()
        }
        (Real::Order { epoch, .. }, Term::Order { epoch: ours, .. }) => *epoch == ours.value(),
        (Real::Grant { .. }, Term::Grant(_))
        | (Real::Provision { .. }, Term::Provision { .. })
        | (Real::Activate { .. }, Term::Activate { .. }) => true,
        _ => false,
    }
}
