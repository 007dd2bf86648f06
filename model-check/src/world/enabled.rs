//! What can happen next, within the bounds of a slice.

use split_custody_protocol::effect::{CustodianEffect, DeviceEffect};

use super::adversary::is_request;
use super::{Action, Config, End, Forgery, OperatorSays, Peer, Reply, Who, World};
use crate::intruder::compositions;

impl World {
    /// Every enabled action, in a fixed order.
    pub fn actions(&self, config: &Config) -> Vec<Action> {
        let mut actions = Vec::new();
        if config.bounds.stepwise.is_on() {
            self.stepwise_actions(&mut actions);
            return actions;
        }
        self.device_actions(config, &mut actions);
        self.other_actions(config, &mut actions);
        self.channel_actions(config, &mut actions);
        self.custodian_actions(config, &mut actions);
        self.operator_actions(config, &mut actions);
        self.adversary_actions(config, &mut actions);
        if self.spent.ticks < config.bounds.ticks {
            actions.push(Action::Tick { ahead: 0 });
            if config.bounds.skew.is_on() {
                actions.push(Action::Tick { ahead: 1 });
            }
        }
        actions
    }

    /// What can happen to a running system: no bounds, each end and each question by itself.
    fn stepwise_actions(&self, actions: &mut Vec<Action>) {
        let device = &self.device;
        let (guard, custody) = device.machine.state_names();
        if guard == "Tainted" && device.questions.is_empty() {
            actions.push(Action::PowerOn);
        }
        if guard == "Clean" && custody == "Idle" {
            actions.push(Action::Acquire);
        }
        actions.extend([Action::HostRead, Action::Tamper, Action::Resume, Action::Release]);
        actions.push(if device.using.is_some() { Action::Emit } else { Action::Use });
        for dial in device.dials.keys() {
            actions.extend([Action::Connect(*dial), Action::RefuseDial(*dial)]);
        }
        // An export is answered at once; all else in the order in which it was asked.
        let is_export = |effect: &DeviceEffect| matches!(effect, DeviceEffect::Export { .. });
        let exports = device.questions.iter().filter(|(_, effect)| is_export(effect));
        let oldest = device.questions.iter().find(|(_, effect)| !is_export(effect));
        for (ticket, _) in exports.chain(oldest) {
            actions.push(Action::AnswerDevice(*ticket, Reply::Done));
            actions.push(Action::AnswerDevice(*ticket, Reply::Failed));
        }
        if device.machine.poll_timeout().is_some_and(|at| at <= self.now()) {
            actions.push(Action::Wake(Who::Device));
        }
        self.stepwise_channels(actions);
        for (id, node) in &self.custodians {
            let Some(machine) = &node.machine else {
                actions.push(Action::Restart(*id));
                continue;
            };
            actions.extend([Action::Hail(*id), Action::Crash(*id)]);
            for (ticket, effect) in &node.questions {
                let replies = replies(effect).iter();
                actions.extend(replies.map(|r| Action::AnswerCustodian(*id, *ticket, *r)));
            }
            if machine.poll_timeout().is_some_and(|at| at <= self.now()) {
                actions.push(Action::Wake(Who::Custodian(*id)));
            }
        }
    }

    fn stepwise_channels(&self, actions: &mut Vec<Action>) {
        for (id, channel) in &self.channels {
            actions.push(Action::Accept(*id));
            if channel.custodian_end.is_on() {
                actions.push(Action::CloseEnd(*id, End::Custodian));
                if !channel.to_custodian.is_empty() {
                    actions.push(Action::Deliver(*id, End::Custodian));
                }
                if channel.peer == Peer::Operator {
                    let all = [
                        OperatorSays::Provision,
                        OperatorSays::Query,
                        OperatorSays::Activate,
                        OperatorSays::Revoke,
                        OperatorSays::AwaitDead,
                    ];
                    actions.extend(all.map(|said| Action::Say(*id, said)));
                }
            }
            if channel.device_end.is_on() {
                actions.push(Action::CloseEnd(*id, End::Device));
                if !channel.to_device.is_empty() {
                    actions.push(Action::Deliver(*id, End::Device));
                }
            }
        }
    }

    pub(super) fn device_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        let bounds = &config.bounds;
        let device = &self.device;
        let (guard, custody) = device.machine.state_names();
        if guard == "Clean" && custody == "Idle" && self.spent.attempts < bounds.attempts {
            actions.push(Action::Acquire);
        }
        if custody == "Serving" && self.spent.attempts < bounds.attempts {
            actions.push(Action::Release);
        }
        for dial in device.dials.keys() {
            if !config.corrupt(*dial) {
                actions.push(Action::Connect(*dial));
            }
            if config.corrupt(*dial) || bounds.custodian_leaf_stolen.is_on() {
                actions.push(Action::Impersonate(*dial));
            }
            if bounds.cuts.is_on() {
                actions.push(Action::RefuseDial(*dial));
            }
        }
        // A device executes in the order it was asked: only the oldest question is answered next.
        for (ticket, effect) in device.questions.iter().take(1) {
            actions.push(Action::AnswerDevice(*ticket, Reply::Done));
            let may_fail = matches!(
                effect,
                DeviceEffect::Scrub
                    | DeviceEffect::Load { .. }
                    | DeviceEffect::CollectEvidence { .. }
            );
            if may_fail && bounds.deferred.is_on() {
                actions.push(Action::AnswerDevice(*ticket, Reply::Failed));
            }
        }
        // BOUND: no retry while its like is still on the wire; it would add a copy in order.
        let wire_is_free = self.channels.values().all(|channel| channel.to_custodian.is_empty());
        // BOUND: renewals per lease; a loss can be noticed all the same.
        let counters = device.machine.leases().map(|(_, held)| held.counter.value());
        let renews = counters.min().is_none_or(|least| least < u64::from(bounds.renewals));
        // BOUND: where retries are off, nothing is asked twice.
        let asks = bounds.retries.is_on()
            || !device.machine.leases().any(|(_, held)| held.state_name(self.now()) == "Renewing");
        let renews = renews && asks;
        if wire_is_free
            && (renews || device.lost)
            && device.machine.poll_timeout().is_some_and(|at| at <= self.now())
        {
            actions.push(Action::Wake(Who::Device));
        }
        if self.spent.disturbances < bounds.disturbances {
            actions.extend([Action::HostRead, Action::Tamper, Action::Resume]);
        }
        if device.using.is_some() {
            actions.push(Action::Emit);
        } else if self.spent.uses < bounds.uses && custody == "Serving" {
            actions.push(Action::Use);
        }
    }

    fn channel_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        for (id, channel) in &self.channels {
            if !matches!(channel.peer, Peer::Device | Peer::OtherDevice) {
                continue;
            }
            if channel.custodian_end.is_on() && !channel.to_custodian.is_empty() {
                actions.push(Action::Deliver(*id, End::Custodian));
            }
            if channel.device_end.is_on() && !channel.to_device.is_empty() {
                actions.push(Action::Deliver(*id, End::Device));
            }
            if config.bounds.cuts.is_on() {
                actions.push(Action::Cut(*id));
            }
        }
    }

    fn custodian_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        for (id, node) in &self.custodians {
            if config.corrupt(*id) {
                continue;
            }
            let Some(machine) = &node.machine else {
                actions.push(Action::Restart(*id));
                continue;
            };
            // A store commits in the order it was asked; everything else may overtake.
            let commits = |effect: &CustodianEffect| matches!(effect, CustodianEffect::Commit(_));
            let first = node.questions.iter().find(|(_, effect)| commits(effect)).map(|(t, _)| *t);
            for (ticket, effect) in &node.questions {
                if commits(effect) && Some(*ticket) != first {
                    continue;
                }
                for reply in replies(effect) {
                    actions.push(Action::AnswerCustodian(*id, *ticket, *reply));
                }
            }
            if machine.poll_timeout().is_some_and(|at| at <= self.now()) {
                actions.push(Action::Wake(Who::Custodian(*id)));
            }
            if self.spent.crashes < config.bounds.crashes && !config.liars.contains(id) {
                actions.push(Action::Crash(*id));
                if config.bounds.rollbacks.is_on() {
                    actions.push(Action::RollBack(*id));
                }
            }
        }
    }

    fn operator_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        // BOUND: operators activate by hand, and the host repeats an activation, twice in all.
        for (id, node) in &self.custodians {
            let recovering = node.machine.as_ref().is_some_and(|machine| {
                machine.standing() == split_custody_protocol::audit::Standing::Recovering
            });
            if config.bounds.activations.is_on() && recovering && self.spent.repeats < 2 {
                actions.push(Action::RepeatActivation(*id));
            }
        }
        if !config.bounds.revokes.is_on() {
            return;
        }
        for (id, node) in &self.custodians {
            let liar = config.liars.contains(id);
            let serves = node.machine.as_ref().is_some_and(|machine| {
                machine.standing() == split_custody_protocol::audit::Standing::Serving
            });
            // BOUND: once each; and once more to one that came back and has not acknowledged.
            let again = node.lives > 1 && !node.acknowledged && node.questions.is_empty();
            let times = self.operator.submitted.get(id).copied().unwrap_or(0);
            if serves && (times == 0 || times == 1 && again && !liar) {
                actions.push(Action::Submit(*id));
            }
            if config.bounds.deaths.is_on()
                && serves
                && node.acknowledged
                && !self.operator.asked.contains(id)
            {
                actions.push(Action::AwaitDead(*id));
            }
        }
    }

    fn adversary_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        let bounds = &config.bounds;
        if bounds.intruder.is_on() {
            return self.intruder_actions(config, actions);
        }
        for id in self.custodians.keys().filter(|id| !config.liars.contains(id)) {
            if self.spent.intrusions < bounds.intrusions {
                actions.push(Action::Intrude(*id));
            }
            if bounds.revokes.is_on() && bounds.intrusions > 0 && self.spent.forged_orders == 0 {
                actions.push(Action::ForgeOrder(*id));
            }
        }
        for (id, channel) in &self.channels {
            let own = channel.peer == Peer::Adversary && channel.injected < 2;
            let repeats = channel.peer == Peer::Device && bounds.replays.is_on();
            if !channel.custodian_end.is_on() || !(own || repeats && channel.injected < 1) {
                continue;
            }
            actions.extend(self.seen.iter().map(|frame| Action::Inject(*id, *frame)));
            if own && !channel.to_device.is_empty() {
                actions.push(Action::Forge(*id, Forgery::RelayedGpu));
                actions.push(Action::Forge(*id, Forgery::OwnDevice));
                for frame in self.seen.iter().filter(|frame| is_request(**frame)) {
                    actions.push(Action::Forge(*id, Forgery::ReplayedEvidence(*frame)));
                    actions.push(Action::Forge(*id, Forgery::SplicedEntries(*frame)));
                }
            }
        }
    }
}

impl World {
    /// Channels of its own, and whatever it can derive on every channel that it is an end of.
    fn intruder_actions(&self, config: &Config, actions: &mut Vec<Action>) {
        let bounds = &config.bounds;
        if self.spent.intrusions < bounds.intrusions {
            let honest = self.custodians.keys().filter(|id| !config.liars.contains(id));
            actions.extend(honest.map(|id| Action::Intrude(*id)));
        }
        let host_ends = config.tls_ends_in_host();
        for (id, channel) in &self.channels {
            if channel.injected >= bounds.sends {
                continue;
            }
            let to_custodian = channel.peer == Peer::Adversary || host_ends;
            let to_device = channel.impostor.is_on() || host_ends;
            let ends = [
                (End::Custodian, to_custodian && channel.custodian_end.is_on()),
                (End::Device, to_device && channel.device_end.is_on()),
            ];
            for (end, _) in ends.into_iter().filter(|(_, open)| *open) {
                let frames = compositions(self, config, *id, end);
                actions.extend(frames.iter().map(|frame| Action::Send(*id, end, *frame)));
            }
        }
    }
}

/// How a question of a custodian's can be answered.
fn replies(effect: &CustodianEffect) -> &'static [Reply] {
    match effect {
        CustodianEffect::Commit(_) => {
            &[Reply::Done, Reply::Failed, Reply::UnknownWritten, Reply::UnknownLost]
        }
        CustodianEffect::Release { .. } | CustodianEffect::Sign { .. } => {
            &[Reply::Done, Reply::Failed]
        }
        _ => &[Reply::Done],
    }
}
