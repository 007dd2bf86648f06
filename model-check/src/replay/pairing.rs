//! Which channel of one process is which of another, and of the world.

use std::collections::{BTreeMap, VecDeque};

use split_custody_protocol::trace::{Answer, Effect, Entry, Frame, Hex, Input, Output};

use super::{custodian_of, is_device, operator_word};
use crate::world::OperatorSays;

/// A channel as one process names it.
type Local = (String, u64);

/// A channel that a device opened, and that no custodian's is paired with yet.
struct Dialled {
    now: u64,
    /// The custodian, and the device's leaf key.
    ends: (u8, Hex),
    exporter: Option<Hex>,
    local: Local,
}

/// The channels of a run.
#[derive(Debug, Default)]
pub(super) struct Channels {
    /// A custodian's channel, and the device's that is its other end.
    device_end: BTreeMap<Local, Local>,
    /// The world's name of a process's channel.
    world: BTreeMap<Local, u64>,
}

impl Channels {
    /// Pairs by exporter, which is equal at both ends of one channel and nowhere else. Where a
    /// custodian made none, by the leaf keys at both ends: a device's end is open before the other,
    /// so it is the last that was opened until then and that no other channel is paired with.
    pub(super) fn read(queues: &BTreeMap<String, VecDeque<Entry>>) -> Self {
        let mut dialled = Vec::new();
        for (role, queue) in queues.iter().filter(|(role, _)| is_device(role)) {
            let exported = exported(queue);
            for entry in queue {
                if let Input::ChannelOpened { channel, custodian: Some(id), own_leaf, .. } =
                    &entry.input
                {
                    let exporter = exported.get(channel).cloned();
                    let local = (role.clone(), *channel);
                    dialled.push(Dialled {
                        now: entry.now,
                        ends: (*id, own_leaf.clone()),
                        exporter,
                        local,
                    });
                }
            }
        }
        dialled.sort_by_key(|dialled| dialled.now);
        let mut channels = Self::default();
        for (role, queue) in queues {
            let exported = exported(queue);
            for (channel, exporter) in exported.iter().filter(|_| custodian_of(role).is_some()) {
                let is_its = |other: &Dialled| other.exporter.as_ref() == Some(exporter);
                if let Some(place) = dialled.iter().position(is_its) {
                    let device = dialled.remove(place).local;
                    channels.device_end.insert((role.clone(), *channel), device);
                }
            }
        }
        channels.pair_others(queues, dialled);
        channels
    }

    fn pair_others(
        &mut self,
        queues: &BTreeMap<String, VecDeque<Entry>>,
        mut dialled: Vec<Dialled>,
    ) {
        for (role, queue) in queues {
            let Some(id) = custodian_of(role) else { continue };
            for entry in queue {
                let Input::ChannelOpened { channel, peer_leaf, .. } = &entry.input else {
                    continue;
                };
                let local = (role.clone(), *channel);
                let ends = (id, peer_leaf.clone());
                // What one end heard there, the other said there.
                let heard = frames(queue, *channel);
                let fits = |other: &Dialled| {
                    let there = queues.get(&other.local.0);
                    let (got, said) = there.map(|q| frames(q, other.local.1)).unwrap_or_default();
                    said.starts_with(&heard.0) && heard.1.starts_with(&got)
                };
                let before =
                    |other: &Dialled| other.ends == ends && other.now <= entry.now && fits(other);
                if !self.device_end.contains_key(&local)
                    && let Some(place) = dialled.iter().rposition(before)
                {
                    self.device_end.insert(local, dialled.remove(place).local);
                }
            }
        }
    }

    /// Whether a custodian's channel ends in the device.
    pub(super) fn is_from_device(&self, role: &str, channel: u64) -> bool {
        self.device_end.contains_key(&(role.to_owned(), channel))
    }

    /// The world's name of a channel, once it is open there.
    pub(super) fn world_id(&self, role: &str, channel: u64) -> Option<u64> {
        let local = (role.to_owned(), channel);
        let device = self.device_end.get(&local);
        self.world.get(device.unwrap_or(&local)).copied()
    }

    /// The world's channel of a world id, as this role names it.
    pub(super) fn is_same(&self, role: &str, channel: u64, world: u64) -> bool {
        self.world_id(role, channel) == Some(world)
    }

    /// An event opened this channel in the world.
    pub(super) fn opened(&mut self, entry: &Entry, world: u64) {
        if let Input::ChannelOpened { channel, .. } = &entry.input {
            self.world.insert((entry.role.clone(), *channel), world);
        }
    }

    /// What an operator says with a frame, where the channel is an operator's.
    pub(super) fn operator_says(
        &self,
        role: &str,
        channel: u64,
        frame: &Frame,
    ) -> Option<OperatorSays> {
        let from_device = self.device_end.contains_key(&(role.to_owned(), channel));
        let custodian = custodian_of(role).is_some();
        if from_device || !custodian { None } else { operator_word(&frame.message) }
    }
}

/// What a process heard on a channel, and what it said there.
fn frames(queue: &VecDeque<Entry>, channel: u64) -> (Vec<Hex>, Vec<Hex>) {
    let (mut heard, mut said) = (Vec::new(), Vec::new());
    for entry in queue {
        if let Input::Received { channel: on, frame } = &entry.input
            && *on == channel
        {
            heard.push(frame.digest.clone());
        }
        said.extend(entry.outputs.iter().filter_map(|output| match output {
            Output::Transmit { channel: on, frame } if *on == channel => Some(frame.digest.clone()),
            _ => None,
        }));
    }
    (heard, said)
}

/// The exporter digest of each channel of one process.
fn exported(queue: &VecDeque<Entry>) -> BTreeMap<u64, Hex> {
    let mut asked = BTreeMap::new();
    let mut exported = BTreeMap::new();
    for entry in queue {
        if let Input::Done { ticket, answer: Answer::Exported { exporter } } = &entry.input
            && let Some(channel) = asked.get(ticket)
        {
            exported.insert(*channel, exporter.clone());
        }
        for output in &entry.outputs {
            if let Output::Effect { ticket, effect: Effect::Export { channel, .. } } = output {
                asked.insert(*ticket, *channel);
            }
        }
    }
    exported
}
