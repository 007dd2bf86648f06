//! What properties want to know of what machines say: it becomes facts, and changes nothing else.

use split_custody_protocol::effect::{LeaseRecord, Report};
use split_custody_protocol::error::Violation;
use split_custody_protocol::suite::{Label, Suite};
use split_custody_protocol::transcript;
use split_custody_protocol::wire::audit::LeafKind;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::evidence::Request;
use split_custody_protocol::wire::grant::{Grant, GrantStatement};
use split_custody_protocol::wire::lease::{Renewal, RenewalAnswer};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::Acknowledgement;

use super::{Config, Fact, Peer, World};
use crate::shared::Shared;
use crate::symbolic::{self, ADVERSARY_SECRET, Principal};

impl World {
    /// What properties want to know of a message that leaves an honest custodian.
    pub(super) fn watch_sent(&mut self, config: &Config, id: u8, channel: u64, message: &Message) {
        if config.liars.contains(&id) {
            return;
        }
        match message {
            Message::Challenge(_) => {
                if let Some(link) = self.channels.get_mut(&channel) {
                    link.age = Some(0);
                }
            }
            Message::Grant(grant) => self.watch_grant(config, id, channel, grant),
            Message::Refused(_) => {
                let adversary =
                    self.channels.get(&channel).is_some_and(|l| l.peer == Peer::Adversary);
                self.record(
                    config,
                    if adversary { Fact::AttackRefused } else { Fact::GrantRefused },
                );
            }
            Message::Renewal(renewal) => self.watch_renewal(config, id, channel, renewal),
            Message::Acknowledged(acknowledged) => {
                if let Ok(said) = acknowledged.statement.payload::<Acknowledgement>() {
                    self.watch_acknowledgement(config, id, &said);
                }
            }
            Message::Dead(_) => self.watch_dead(config, id),
            _ => {}
        }
    }

    pub(super) fn watch_grant(&mut self, config: &Config, id: u8, channel: u64, grant: &Grant) {
        let Ok(said) = grant.statement.payload::<GrantStatement>() else { return };
        self.record(config, Fact::Granted);
        if symbolic::opened_by(&[ADVERSARY_SECRET], &grant.sealed).is_some() {
            self.record(config, Fact::ShareLeaked);
            self.share_left(config, id);
        }
        let link = self.channels.get_mut(&channel);
        let (granted, adversary, age) = link.map_or((0, true, None), |link| {
            link.granted += 1;
            (link.granted, link.peer != Peer::Device, link.age.take())
        });
        if adversary {
            self.record(config, Fact::GrantOnOtherChannel);
        }
        if self.ends_with_adversary(config, channel) {
            self.record(config, Fact::ExporterKnown);
        }
        if self.channels.get(&channel).is_some_and(|link| link.altered.is_on()) {
            self.record(config, Fact::GrantToUnnamedCode);
        }
        if age.is_some_and(|age| u64::from(age) >= config.setup.challenge_max) {
            self.record(config, Fact::GrantOnDeadChallenge);
        }
        let hellos = self.channels.get(&channel).map_or((None, None), |link| link.hellos);
        if hellos.0.is_some() && hellos.0 != hellos.1 {
            self.record(config, Fact::GrantOnOtherOffer);
        }
        if said.suite != config.setup.suite {
            self.record(config, Fact::GrantOnWeakerSuite);
        }
        if granted > 1 {
            self.record(config, Fact::SecondGrantOnChallenge);
        }
        if !self.device.attested.contains(&said.session) {
            self.record(config, Fact::GrantForForeignSession);
        }
        self.watch_grant_against_store(config, id, &said);
    }

    /// The adversary has this custodian's share.
    pub(super) fn share_left(&mut self, config: &Config, id: u8) {
        self.leaked.insert(id);
        // A corrupt custodian's own share is outside from the start.
        if self.leaked.len() + config.liars.len() >= usize::from(config.setup.k) {
            self.record(config, Fact::KeyOutside);
        }
    }

    pub(super) fn watch_grant_against_store(
        &mut self,
        config: &Config,
        id: u8,
        said: &GrantStatement,
    ) {
        let Some(node) = self.custodians.get(&id) else { return };
        let mut suite = config.setup.suite(Principal::Custodian(id), 0);
        let auth = transcript::auth(&mut suite, said);
        let logged = node.store.release_at(said.index_in_log) == Some(&auth);
        let of_this = |record: &&LeaseRecord| self.is_of_this_device(config, &record.device);
        let superseded = is_superseded(node.store.leases.iter().filter(of_this), said);
        let anchored = node.anchor.as_ref().map(|anchor| anchor.orders.as_slice());
        let leased = node.store.leases.iter().find(|record| record.lease == said.lease);
        let enrolled = config.setup.devices();
        let stranger = leased.is_some_and(|record| !enrolled.contains(&record.device));
        let behind = anchored
            .unwrap_or_default()
            .iter()
            .any(|order| !node.store.order_digests.contains(order));
        let facts = [
            (!logged, Fact::GrantBeforeLeaf),
            (node.acknowledged && self.is_the_revoked(), Fact::GrantAfterAcknowledgement),
            (superseded, Fact::GrantToSuperseded),
            (stranger, Fact::GrantToStranger),
            (behind, Fact::GrantBehindAnchor),
            (!node.activated, Fact::GrantBeforeActivation),
            (node.lives > 1, Fact::GrantAfterCrash),
        ];
        for (_, fact) in facts.into_iter().filter(|(holds, _)| *holds) {
            self.record(config, fact);
        }
    }

    pub(super) fn watch_renewal(
        &mut self,
        config: &Config,
        id: u8,
        channel: u64,
        renewal: &Renewal,
    ) {
        let Some(node) = self.custodians.get(&id) else { return };
        let acknowledged = node.acknowledged && self.is_the_revoked();
        let beside = node.acknowledged && !self.is_the_revoked();
        let record = node.store.leases.iter().position(|held| held.lease == renewal.lease);
        let superseded = record.is_some_and(|place| {
            let of = &node.store.leases[place];
            let mut later = node.store.leases[place..].iter();
            later.any(|l| l.device == of.device && l.incarnation != of.incarnation)
        });
        let aged = self.claims_are_old(config);
        let books = node.machine.as_ref().map(|machine| machine.ledger());
        let lease = books.and_then(|books| books.get(&renewal.lease));
        let runs = lease.is_some_and(|lease| self.now() < lease.lapse());
        if renewal.answer != RenewalAnswer::Renewed {
            let why = [
                (acknowledged, Fact::EndedAfterAcknowledgement),
                (superseded, Fact::EndedSuperseded),
                (aged, Fact::EndedByAge),
            ];
            if !why.iter().any(|(holds, _)| *holds) && runs && config.setup.has_two() {
                self.record(config, Fact::EndedForAnother);
            }
            for (_, fact) in why.into_iter().filter(|(holds, _)| *holds) {
                self.record(config, fact);
            }
            return;
        }
        let answer = Message::Renewal(*renewal).to_frame();
        let subject = config.setup.suite(Principal::Custodian(id), 0).hash(Label::Leaf, &[&answer]);
        let logged = node.store.log.contains(&(LeafKind::Renewal, subject));
        let elsewhere = self.channels.get(&channel).is_none_or(|link| link.peer != Peer::Device);
        self.record(config, Fact::Renewed);
        let facts = [
            (acknowledged, Fact::RenewedAfterAcknowledgement),
            (beside, Fact::OtherRenewed),
            (superseded, Fact::RenewedSuperseded),
            (!logged, Fact::RenewedBeforeLeaf),
            (elsewhere, Fact::RenewedOnOtherChannel),
        ];
        for (_, fact) in facts.into_iter().filter(|(holds, _)| *holds) {
            self.record(config, fact);
        }
    }

    /// Whether max-age has passed since the one Challenge of this run. [LEA-10]
    pub(super) fn claims_are_old(&self, config: &Config) -> bool {
        self.spent.attempts == 1 && u64::from(self.spent.ticks) >= config.setup.max_age
    }

    pub(super) fn watch_acknowledgement(
        &mut self,
        config: &Config,
        id: u8,
        said: &Acknowledgement,
    ) {
        let ours = config.setup.order_digest(&self.operator.order);
        let Some(node) = self.custodians.get_mut(&id).map(Shared::edit) else { return };
        let durable = node.store.order_digests.contains(&said.order);
        let anchored =
            node.anchor.as_ref().is_some_and(|anchor| anchor.orders.contains(&said.order));
        node.acknowledged |= said.order == ours;
        let after_crash = node.lives > 1;
        if !durable || !anchored {
            self.record(config, Fact::AcknowledgedBeforeAnchored);
        }
        self.record(config, Fact::Acknowledged);
        if after_crash {
            self.record(config, Fact::AcknowledgedAfterCrash);
        }
    }

    pub(super) fn watch_dead(&mut self, config: &Config, id: u8) {
        self.record(config, Fact::Dead);
        let counts = self
            .device
            .machine
            .leases()
            .any(|(custodian, held)| custodian.value() == id && self.now() < held.end());
        if counts {
            self.record(config, Fact::DeadButCounting);
        }
    }

    pub(super) fn custodian_reports(&mut self, config: &Config, id: u8, report: &Report) {
        match report {
            Report::Applied { order, .. } => {
                let ours = config.setup.order_digest(&self.operator.order);
                if *order != ours {
                    self.record(config, Fact::ForgedOrderApplied);
                }
            }
            Report::Refused { violation, .. } if !config.liars.contains(&id) => {
                let fact = match violation {
                    Violation::SubjectRevoked => Fact::GrantCancelled,
                    Violation::TooFewOperators => Fact::StrangerRefused,
                    Violation::ChallengeSpent => Fact::SecondRequestRefused,
                    Violation::ChallengeDead => Fact::DeadChallengeRefused,
                    Violation::IncarnationSuperseded => Fact::SupersededRefused,
                    Violation::LeaseOfAnotherChannel => Fact::RenewalRefused,
                    Violation::NotServing => Fact::RecoveringRefused,
                    Violation::ActivationNotOurs => Fact::ActivationRefused,
                    _ => return,
                };
                self.record(config, fact);
            }
            _ => {}
        }
    }

    /// Whether the key of a request was in another session before. [HS-8]
    pub(super) fn watch_device_key(&mut self, config: &Config, request: &Request) {
        let earlier =
            self.knows.iter().filter_map(|frame| match Message::from_frame(&frame.bytes()) {
                Ok(Message::Request(earlier)) => Some(earlier),
                _ => None,
            });
        let other = |earlier: &Request| encode(&earlier.entries) != encode(&request.entries);
        let earlier: Vec<Request> = earlier.filter(other).collect();
        if !earlier.is_empty() {
            self.record(config, Fact::SecondSession);
        }
        if earlier.iter().any(|earlier| earlier.device_key == request.device_key) {
            self.record(config, Fact::DeviceKeyTwice);
        }
    }
}

/// Whether a later incarnation was leased here before this lease, and after its own.
fn is_superseded<'a>(leases: impl Iterator<Item = &'a LeaseRecord>, said: &GrantStatement) -> bool {
    let before = leases.take_while(|record| record.lease != said.lease);
    let lives: Vec<_> = before.map(|record| record.incarnation).collect();
    let own = lives.iter().position(|life| *life == said.incarnation);
    own.is_some_and(|place| lives[place..].iter().any(|life| *life != said.incarnation))
}
