//! Two honest devices: one is looked at in each step, and the other waits.
//!
//! All that this world knows of a device it knows of the one in [`World::device`]. For a step of the
//! second device the two change places, and change back when it is done.

use std::mem;

use split_custody_protocol::suite::DeviceId;

use super::{Action, Config, Deed, Peer, World};
use crate::symbolic::{Hardware, Principal};
use crate::world::DeviceNode;

impl DeviceNode {
    pub(super) fn principal(&self) -> Principal {
        if self.number == 0 { Principal::Device } else { Principal::OtherDevice }
    }

    pub(super) fn hardware(&self) -> Hardware {
        if self.number == 0 { Hardware::Enrolled } else { Hardware::Adversary }
    }

    /// What names the life that the device is in: no two devices have one.
    pub fn life_name(&self) -> u64 {
        u64::from(self.life) + 100 * u64::from(self.number)
    }
}

impl World {
    /// Does something to the second device, where there is one.
    pub(super) fn at_the_other(&mut self, step: impl FnOnce(&mut Self)) {
        if self.other.is_some() {
            self.change_places();
            step(self);
            self.change_places();
        }
    }

    /// Does something to each device.
    pub(super) fn at_each(&mut self, mut step: impl FnMut(&mut Self)) {
        step(self);
        self.at_the_other(step);
    }

    /// Whether a lease of this device is the one's that is looked at; one device has them all.
    pub fn is_of_this_device(&self, config: &Config, device: &DeviceId) -> bool {
        !config.setup.has_two()
            || config.setup.devices()[usize::from(self.device.number)] == *device
    }

    /// Whether operators revoke the device that is looked at: the first, and no other.
    pub fn is_the_revoked(&self) -> bool {
        self.device.number == 0
    }

    fn change_places(&mut self) {
        let Some(other) = &mut self.other else { return };
        mem::swap(&mut self.device, other);
        mem::swap(&mut self.spent.attempts, &mut self.spent.others_attempts);
        for channel in self.channels.values_mut() {
            channel.peer = match channel.peer {
                Peer::Device => Peer::OtherDevice,
                Peer::OtherDevice => Peer::Device,
                peer => peer,
            };
        }
    }

    /// An action of the second device, as it would be of the first.
    pub(super) fn of_the_other(&self, action: Action) -> Option<Action> {
        let others = |channel: u64| {
            self.channels.get(&channel).is_some_and(|link| link.peer == Peer::OtherDevice)
        };
        match action {
            Action::Other(deed) => Some(deed.into()),
            Action::Deliver(channel, _) | Action::Cut(channel) if others(channel) => Some(action),
            _ => None,
        }
    }

    /// What the second device can do.
    pub(super) fn other_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        if self.other.is_none() {
            return;
        }
        let (mut turned, mut own) = (self.clone(), Vec::new());
        turned.change_places();
        turned.device_actions(config, &mut own);
        actions.extend(own.into_iter().filter_map(Deed::of).map(Action::Other));
    }
}
