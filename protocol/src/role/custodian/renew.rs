//! Renewals, and telling that leases are dead.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{AwaitingDead, Custodian, Misuse, Rejection, Saying, Work};
use crate::effect::{Change, CustodianAnswer, CustodianEffect, Report, Transaction};
use crate::error::Violation;
use crate::ids::{ChannelId, Counter, Generation, LeaseId, Ticket};
use crate::lease::{RenewDecision, RenewInput};
use crate::release::Coverage;
use crate::suite::{Digest, Label, Suite};
use crate::time::Instant;
use crate::wire::audit::{Leaf, LeafKind};
use crate::wire::codec;
use crate::wire::lease::Renew;
use crate::wire::message::Message;
use crate::wire::order::{Dead, DeadStatement, Subject};
use crate::wire::signed::{ObjectKind, Signed};

impl Custodian {
    pub(super) fn on_renew(
        &mut self,
        now: Instant,
        channel: ChannelId,
        renew: &Renew,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match self.decide_renewal(now, channel, renew) {
            Ok(RenewDecision::Repeat(answer) | RenewDecision::End(answer)) => {
                self.out.transmit(channel, answer);
            }
            Ok(RenewDecision::Commit { counter, answer, lapse }) => {
                self.commit_renewal(channel, (renew.lease, counter), answer, lapse, suite);
            }
            Err(violation) => return Err(self.refuse(channel, violation, suite)),
        }
        Ok(())
    }

    fn decide_renewal(
        &mut self,
        now: Instant,
        channel: ChannelId,
        renew: &Renew,
    ) -> Result<RenewDecision, Violation> {
        let known = self.known.as_ref().ok_or(Violation::ManifestUnknown)?;
        let connection = self.connections.get(&channel).ok_or(Violation::Unexpected)?;
        let coverage = self
            .ledger
            .get(&renew.lease)
            .map_or(Coverage::Revoked, |lease| self.coverage_of(lease.record()));
        let input = RenewInput {
            now,
            device_leaf: connection.peer_leaf,
            custodian_leaf: connection.own_leaf,
            serving: self.standing.serving(),
            coverage,
        };
        let (ttl_max, margin) = (known.manifest.ttl_max, known.manifest.policy.margin);
        self.ledger.decide(renew, &input, ttl_max, margin)
    }

    /// A renewal is durable, with its leaf, before it is said. [AUD-1]
    fn commit_renewal(
        &mut self,
        channel: ChannelId,
        (lease, counter): (LeaseId, Counter),
        answer: Vec<u8>,
        lapse: Instant,
        suite: &mut impl Suite,
    ) {
        let pending = self
            .out
            .open()
            .any(|(_, work)| matches!(work, Work::Renewal { lease: of, .. } if *of == lease));
        if pending {
            return; // a retry of what is being committed: its answer comes
        }
        let leaf = Leaf {
            kind: LeafKind::Renewal,
            generation: self.generation,
            epoch: self.epoch,
            subject: suite.hash(Label::Leaf, &[&answer]),
        };
        let change = Change::Renew { lease, counter };
        let commit = self.transaction(change, leaf);
        self.out.ask(commit, Work::Renewal { channel, lease, counter, answer, lapse });
    }

    pub(super) fn transaction(&self, change: Change, leaf: Leaf) -> CustodianEffect {
        CustodianEffect::Commit(Transaction {
            generation: self.generation,
            epoch: self.epoch,
            change,
            leaf,
        })
    }

    pub(super) fn on_renewal_done(
        &mut self,
        ticket: Ticket,
        outcome: CustodianAnswer,
        channel: ChannelId,
        (lease, counter): (LeaseId, Counter),
        answer: Vec<u8>,
        lapse: Instant,
    ) -> Result<(), Rejection> {
        match outcome {
            CustodianAnswer::Committed(_) => {}
            CustodianAnswer::Unknown => {
                let reread = CustodianEffect::Reread { commit: ticket }; // [AUD-2]
                self.out.ask(reread, Work::Renewal { channel, lease, counter, answer, lapse });
                return Ok(());
            }
            CustodianAnswer::Fenced => return Ok(()), // the device asks again
            _ => return Err(Misuse::WrongAnswer.into()),
        }
        let Some(answer) = self.ledger.renewed(&lease, counter, answer, lapse) else {
            return Ok(());
        };
        if self.connections.contains_key(&channel) {
            self.out.transmit(channel, answer);
        }
        self.out.report(Report::Renewed { lease, counter });
        Ok(())
    }

    /// Renewals that orders now cover are not answered; their terms count until they lapse.
    pub(super) fn cancel_renewals(&mut self) {
        let covered: Vec<LeaseId> = self
            .out
            .open()
            .filter_map(|(_, work)| {
                let Work::Renewal { lease, .. } = work else { return None };
                let held = self.ledger.get(lease)?;
                (self.coverage_of(held.record()) == Coverage::Revoked).then_some(*lease)
            })
            .collect();
        for lease in covered {
            // Its answer never leaves, so no device can count the term that it would give.
            self.out.cancel(|work| matches!(work, Work::Renewal { lease: of, .. } if *of == lease));
        }
    }

    pub(super) fn on_await_dead(
        &mut self,
        now: Instant,
        channel: ChannelId,
        order: Digest,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let anchored = self.anchor.as_ref().is_some_and(|anchor| anchor.orders.contains(&order));
        let Some(held) = self.orders.get(&order).filter(|_| anchored) else {
            return Err(self.refuse(channel, Violation::NotEffective, suite));
        };
        let subject = held.subject;
        let waits = self.awaiting_dead.values().filter(|dead| dead.waiting.contains(&channel));
        if waits.count() >= AwaitingDead::CAP {
            return Err(self.refuse(channel, Violation::Unexpected, suite));
        }
        let entry = self.awaiting_dead.entry(order).or_insert_with(|| AwaitingDead::new(subject));
        entry.waiting.insert(channel);
        self.settle_dead(now);
        Ok(())
    }

    /// Nobody waits on a closed channel.
    pub(super) fn forget_waiting(&mut self, channel: ChannelId) {
        for dead in self.awaiting_dead.values_mut() {
            dead.waiting.remove(&channel);
        }
        self.awaiting_dead
            .retain(|_, dead| !dead.waiting.is_empty() || dead.saying != Saying::Nothing);
    }

    /// The subjects that somebody waits for, each once, and when its leases are dead.
    pub(super) fn deaths(&self) -> BTreeMap<Subject, Instant> {
        let waited = self.awaiting_dead.values().filter(|dead| dead.is_due_once_dead());
        let subjects: BTreeSet<Subject> = waited.map(|dead| dead.subject).collect();
        subjects.into_iter().map(|subject| (subject, self.dead_at(subject))).collect()
    }

    /// When every lease under a subject is dead: young generations wait for what they may have
    /// forgotten. [REV-10]
    fn dead_at(&self, subject: Subject) -> Instant {
        let Some(known) = &self.known else {
            return Instant::from_millis(u64::MAX);
        };
        let policy = &known.manifest.policy;
        let forgotten = if self.generation > Generation::new(1) {
            self.booted.after(known.manifest.ttl_max).after(policy.margin)
        } else {
            Instant::default()
        };
        let covered = self.ledger.last_lapse(|record| {
            known.names.with(&record.device, &record.names()).contains(&subject)
        });
        covered.map_or(forgotten, |lapse| lapse.max(forgotten))
    }

    /// Says "all dead" to every waiting peer whose leases have lapsed; one signature per order.
    /// [REV-10]
    pub(super) fn settle_dead(&mut self, now: Instant) {
        let mut dead = self.deaths();
        dead.retain(|_, at| now >= *at);
        let (custodian, generation) = (self.config.id, self.generation);
        for (order, entry) in &mut self.awaiting_dead {
            if !entry.is_due_once_dead() || !dead.contains_key(&entry.subject) {
                continue;
            }
            if let Saying::Said(frame) = &entry.saying {
                for channel in core::mem::take(&mut entry.waiting) {
                    self.out.transmit(channel, frame.clone());
                }
                continue;
            }
            entry.saying = Saying::Signing;
            let statement = DeadStatement { order: *order, custodian, generation };
            let payload = codec::encode(&statement);
            let message = Signed::message_over(ObjectKind::Dead, &payload);
            let work = Work::Dead { order: *order, payload };
            self.out.ask(CustodianEffect::Sign { message }, work);
        }
    }

    pub(super) fn on_dead_signed(
        &mut self,
        order: Digest,
        payload: Vec<u8>,
        answer: CustodianAnswer,
    ) -> Result<(), Rejection> {
        let entry = self.awaiting_dead.get_mut(&order).ok_or(Misuse::WrongState)?;
        let waiting = core::mem::take(&mut entry.waiting);
        match answer {
            CustodianAnswer::Signed(signature) => {
                let dead = Dead { statement: Signed::new(payload, signature) };
                let frame = Message::Dead(dead).to_frame();
                for channel in waiting {
                    self.out.transmit(channel, frame.clone());
                }
                entry.saying = Saying::Said(frame);
                Ok(())
            }
            CustodianAnswer::HsmFailed => {
                self.awaiting_dead.remove(&order);
                for channel in waiting {
                    self.out.close(channel); // who waits asks again
                }
                Ok(())
            }
            _ => Err(Misuse::WrongAnswer.into()),
        }
    }
}

impl AwaitingDead {
    /// Orders that one channel may wait for at once.
    const CAP: usize = 8;

    const fn new(subject: Subject) -> Self {
        Self { subject, waiting: BTreeSet::new(), saying: Saying::Nothing }
    }

    /// Whether the death of its leases would have something said.
    fn is_due_once_dead(&self) -> bool {
        !self.waiting.is_empty() && self.saying != Saying::Signing
    }
}
