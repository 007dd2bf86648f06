//! Which channel of one process is which of another, and of the world.

use std::collections::{BTreeMap, VecDeque};

use split_custody_protocol::trace::{Answer, Effect, Entry, Frame, Hex, Input, Output};

use super::{Mismatch, custodian_of, is_device, mismatch, operator_word};
use crate::world::OperatorSays;

/// A channel as one process names it.
type Local = (String, u64);

/// One end of a connection, and what its process knows of it.
struct Opened<'a> {
    entry: &'a Entry,
    local: Local,
    /// The custodian, the device's leaf key and the custodian's.
    ends: (Option<u8>, &'a Hex, &'a Hex),
    exporter: Option<&'a Hex>,
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
    /// Pairs by the connection's name, which both ends compute and nobody else. Both ends have to
    /// agree on who they are and on what they exported, and no two connections export the same.
    pub(super) fn read(queues: &BTreeMap<String, VecDeque<Entry>>) -> Result<Self, Mismatch> {
        let mut dialled = ends(queues, is_device)?;
        let mut channels = Self::default();
        let mut exporters = BTreeMap::new();
        for (name, accepted) in ends(queues, |role| custodian_of(role).is_some())? {
            note(&mut exporters, name, &accepted)?;
            let Some(device) = dialled.remove(name) else { continue };
            if device.ends != accepted.ends {
                return Err(mismatch(accepted.entry, "the other end is another's".to_owned()));
            }
            note(&mut exporters, name, &device)?;
            channels.device_end.insert(accepted.local, device.local);
        }
        dialled.iter().try_for_each(|(name, alone)| note(&mut exporters, name, alone))?;
        Ok(channels)
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

/// The ends of these processes' connections, by name; a process has one end of each.
fn ends<'a>(
    queues: &'a BTreeMap<String, VecDeque<Entry>>,
    of: impl Fn(&str) -> bool,
) -> Result<BTreeMap<&'a Hex, Opened<'a>>, Mismatch> {
    let mut ends = BTreeMap::new();
    for (role, queue) in queues.iter().filter(|(role, _)| of(role)) {
        let exported = exported(queue);
        for entry in queue {
            let Input::ChannelOpened {
                channel,
                custodian,
                own_leaf,
                peer_leaf,
                connection: Some(name),
                ..
            } = &entry.input
            else {
                continue;
            };
            let ends_of = match custodian {
                Some(_) => (*custodian, own_leaf, peer_leaf),
                None => (custodian_of(role), peer_leaf, own_leaf),
            };
            let exporter = exported.get(channel).copied();
            let local = (role.clone(), *channel);
            if ends.insert(name, Opened { entry, local, ends: ends_of, exporter }).is_some() {
                return Err(mismatch(entry, "a connection was opened twice".to_owned()));
            }
        }
    }
    Ok(ends)
}

/// One connection, one exporter; two connections, two.
fn note<'a>(
    exporters: &mut BTreeMap<&'a Hex, &'a Hex>,
    name: &'a Hex,
    end: &Opened<'a>,
) -> Result<(), Mismatch> {
    let Some(exporter) = end.exporter else { return Ok(()) };
    let other_value = exporters.iter().any(|(value, of)| *of == name && *value != exporter);
    if other_value || *exporters.entry(exporter).or_insert(name) != name {
        return Err(mismatch(end.entry, "the exporter is not that of its connection".to_owned()));
    }
    Ok(())
}

/// The exporter digest of each channel of one process.
fn exported(queue: &VecDeque<Entry>) -> BTreeMap<u64, &Hex> {
    let mut asked = BTreeMap::new();
    let mut exported = BTreeMap::new();
    for entry in queue {
        if let Input::Done { ticket, answer: Answer::Exported { exporter } } = &entry.input
            && let Some(channel) = asked.get(ticket)
        {
            exported.insert(*channel, exporter);
        }
        for output in &entry.outputs {
            if let Output::Effect { ticket, effect: Effect::Export { channel, .. } } = output {
                asked.insert(*ticket, *channel);
            }
        }
    }
    exported
}
