//! Boot, provisioning, activation, and orders.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Applying, Custodian, Known, Misuse, Rejection, Work};
use crate::audit::{Standing, StandingInput, check_activation, recover};
use crate::effect::{Anchor, Change, CustodianAnswer, CustodianEffect, Report};
use crate::error::Violation;
use crate::ids::{ChannelId, Ticket};
use crate::require::{perform, require};
use crate::revocation::{
    KnownOrder, Novelty, Progress, ProgressInput, verify_approvals, verify_order,
};
use crate::role::Draw;
use crate::role::names::ManifestNames;
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{Digest, Label, Suite};
use crate::time::Instant;
use crate::transcript;
use crate::wire::audit::{Leaf, LeafKind};
use crate::wire::codec::{self, List};
use crate::wire::message::Message;
use crate::wire::order::{Acknowledged, Acknowledgement, Approvals, Notice, Superseded};
use crate::wire::signed::{ObjectKind, Signed};
use crate::wire::standing::{
    Activated, Activation, Provision, ProvisionStatement, Provisioned, Query, Status,
};

impl Custodian {
    /// Reads back what the store held; everything is verified again. [AUD-3] [AUD-4]
    pub(super) fn on_booted(
        &mut self,
        now: Instant,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let recovered = self.recovered.take().ok_or(Misuse::WrongState)?;
        self.booted = now;
        // Per generation: an activation for an earlier one does not fit. [AUD-5]
        self.activation = suite.fresh(Draw::Activation.slot(self.generation.value()));
        let Some(bytes) = &recovered.provision else {
            return Ok(());
        };
        let provision: Provision = codec::decode(bytes, Message::CAP).map_err(Violation::from)?;
        let known = self.verify_provision(&provision, suite)?;
        for bytes in &recovered.orders {
            let approvals: Approvals =
                codec::decode(bytes, Message::CAP).map_err(Violation::from)?;
            let order = verify_order(&approvals, &known.deployment, suite)?;
            self.orders.insert(&order);
        }
        let (ttl_max, margin) = (known.manifest.ttl_max, known.manifest.policy.margin);
        for record in recovered.leases {
            self.ledger.read_back(now, record, ttl_max, margin);
        }
        let orders = self.order_digests();
        self.standing = recover(recovered.active.as_ref(), &self.knows(&known, &orders));
        self.known = Some(known);
        Ok(())
    }

    /// One owner-signed statement gives manifest, share digest, index and floor.
    fn verify_provision(
        &self,
        provision: &Provision,
        suite: &mut impl Suite,
    ) -> Result<Known, Violation> {
        let owner = &self.config.owner;
        let statement = &provision.statement;
        let message = statement.message(ObjectKind::Provision);
        require!(WIRE_4, suite.verify(owner, &message, statement.signature()));
        let said: ProvisionStatement = statement.payload()?;
        let manifest = KnownManifest::verify(suite, owner, &provision.manifest)?;
        let deployment = KnownDeployment::verify(suite, owner, &provision.deployment)?;
        let sealed = transcript::sealed(suite, &provision.sealed);
        let entry = manifest.custodian(self.config.id).ok_or(Violation::ManifestUnknown)?;
        let fits = said.custodian == self.config.id
            && said.set == manifest.set
            && said.index == entry.index
            && manifest.deployment == self.config.deployment
            && deployment.deployment == self.config.deployment
            && manifest.version >= said.floor
            && suite.same(said.manifest.as_bytes(), manifest.digest().as_bytes()).is_ok()
            && suite.same(said.kek.as_bytes(), self.config.kek.as_bytes()).is_ok()
            && suite.same(entry.kek.as_bytes(), self.config.kek.as_bytes()).is_ok()
            && suite.same(entry.grant_key.as_bytes(), self.config.grant_key.as_bytes()).is_ok()
            && suite.same(said.sealed.as_bytes(), sealed.as_bytes()).is_ok();
        require!(HS_4, fits);
        let names = ManifestNames::of(&manifest, suite);
        Ok(Known { manifest, deployment, floor: said.floor, names })
    }

    pub(super) fn on_provision(
        &mut self,
        channel: ChannelId,
        provision: &Provision,
        frame: &[u8],
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let known = match self.verify_provision(provision, suite) {
            Ok(known) => known,
            Err(violation) => return Err(self.refuse(channel, violation, suite)),
        };
        if self.standing != Standing::Unprovisioned {
            let same = self.known.as_ref().is_some_and(|held| {
                suite
                    .same(held.manifest.digest().as_bytes(), known.manifest.digest().as_bytes())
                    .is_ok()
            });
            if !same {
                return Err(self.refuse(channel, Violation::ManifestDiffers, suite));
            }
            self.send_provisioned(channel, &known);
            return Ok(());
        }
        let leaf = self.leaf(LeafKind::Provision, suite.hash(Label::Leaf, &[frame]));
        let change = Change::Provision { provision: codec::encode(provision) };
        let commit = self.transaction(change, leaf);
        self.out.ask(commit, Work::Provision { channel, known: Box::new(known) });
        Ok(())
    }

    pub(super) fn on_provisioned(
        &mut self,
        ticket: Ticket,
        channel: ChannelId,
        known: Box<Known>,
        answer: CustodianAnswer,
    ) -> Result<(), Rejection> {
        match answer {
            CustodianAnswer::Committed(_) => {
                self.standing.handle(StandingInput::Provisioned)?;
                self.send_provisioned(channel, &known);
                self.known = Some(*known);
                Ok(())
            }
            CustodianAnswer::Unknown => {
                let reread = CustodianEffect::Reread { commit: ticket };
                self.out.ask(reread, Work::Provision { channel, known });
                Ok(())
            }
            _ => {
                self.out.close(channel);
                Ok(())
            }
        }
    }

    fn send_provisioned(&mut self, channel: ChannelId, known: &Known) {
        let done = Provisioned { custodian: self.config.id, manifest: *known.manifest.digest() };
        if self.connections.contains_key(&channel) {
            self.out.transmit(channel, Message::Provisioned(done).to_frame());
        }
    }

    pub(super) fn on_query(
        &mut self,
        channel: ChannelId,
        query: &Query,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        if query.deployment != self.config.deployment {
            return Err(self.refuse(channel, Violation::ManifestUnknown, suite));
        }
        let zero = Digest::new([0; 32]);
        let digests: Vec<Digest> = self.orders.digests().copied().take(1024).collect();
        let status = Status {
            custodian: self.config.id,
            generation: self.generation,
            epoch: self.epoch,
            standing: self.standing.code(),
            nonce: self.activation,
            manifest: self.known.as_ref().map_or(zero, |known| *known.manifest.digest()),
            orders: List::new(digests).ok_or(Misuse::WrongState)?,
        };
        self.out.transmit(channel, Message::Status(status).to_frame());
        Ok(())
    }

    pub(super) fn on_activate(
        &mut self,
        channel: ChannelId,
        approvals: &Approvals,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        if let Err(violation) = self.check_activate(approvals, suite) {
            return Err(self.refuse(channel, violation, suite));
        }
        self.standing.handle(StandingInput::Activate)?;
        let Some(known) = &self.known else {
            return Err(Misuse::WrongState.into());
        };
        let manifest = *known.manifest.digest();
        let subject = suite.hash(Label::Leaf, &[&codec::encode(approvals)]);
        let leaf = self.leaf(LeafKind::Activation, subject);
        let commit = self.transaction(Change::Activate { manifest }, leaf);
        self.out.ask(commit, Work::Activate { channel });
        Ok(())
    }

    fn check_activate(
        &self,
        approvals: &Approvals,
        suite: &mut impl Suite,
    ) -> Result<(), Violation> {
        let known = self.known.as_ref().ok_or(Violation::ManifestUnknown)?;
        if self.standing != Standing::Recovering {
            return Err(Violation::Unexpected);
        }
        let kind = ObjectKind::Activation;
        let signers = verify_approvals(approvals, kind, &known.deployment, suite)?;
        require!(REV_2, signers >= usize::from(known.deployment.m_change));
        let first = approvals.as_slice().first().ok_or(Violation::TooFewOperators)?;
        let activation: Activation = first.payload()?;
        let orders = self.order_digests();
        check_activation(&activation, &self.knows(known, &orders), suite)
    }

    pub(super) fn on_activation_done(
        &mut self,
        ticket: Ticket,
        channel: ChannelId,
        answer: CustodianAnswer,
    ) -> Result<(), Rejection> {
        match answer {
            CustodianAnswer::Committed(_) => {
                let anchor = self.next_anchor(None);
                self.anchor = Some(anchor.clone());
                self.out.ask(CustodianEffect::Anchor(anchor), Work::Activate { channel });
            }
            CustodianAnswer::Unknown => {
                let reread = CustodianEffect::Reread { commit: ticket };
                self.out.ask(reread, Work::Activate { channel });
            }
            CustodianAnswer::Anchored => {
                self.standing.handle(StandingInput::Anchored)?;
                let done = Activated {
                    custodian: self.config.id,
                    generation: self.generation,
                    epoch: self.epoch,
                };
                if self.connections.contains_key(&channel) {
                    self.out.transmit(channel, Message::Activated(done).to_frame());
                }
            }
            _ => self.standing.handle(StandingInput::Fenced)?,
        }
        Ok(())
    }

    /// The anchor with everything acknowledged so far, and one order more.
    fn next_anchor(&self, order: Option<Digest>) -> Anchor {
        let held = self.anchor.iter().flat_map(|anchor| anchor.orders.iter().copied());
        let orders: BTreeSet<Digest> = held.chain(order).collect();
        Anchor {
            generation: self.generation,
            epoch: self.epoch,
            orders: orders.into_iter().collect(),
        }
    }

    fn leaf(&self, kind: LeafKind, subject: Digest) -> Leaf {
        Leaf { kind, generation: self.generation, epoch: self.epoch, subject }
    }

    pub(super) fn on_submit(
        &mut self,
        channel: ChannelId,
        approvals: &Approvals,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let judged = self.judge(approvals, suite);
        match judged {
            Ok((order, Novelty::Superseded)) => {
                self.send_superseded(channel, &order);
                Ok(())
            }
            Ok((order, Novelty::New | Novelty::AlreadyHeld)) => {
                self.queued.push_back((order, channel));
                self.apply_next(suite)
            }
            Err(violation) => Err(self.refuse(channel, violation, suite)),
        }
    }

    fn send_superseded(&mut self, channel: ChannelId, order: &KnownOrder) {
        let superseded = Superseded { order: *order.digest() };
        self.out.transmit(channel, Message::Superseded(superseded).to_frame());
    }

    fn judge(
        &self,
        approvals: &Approvals,
        suite: &mut impl Suite,
    ) -> Result<(KnownOrder, Novelty), Violation> {
        let known = self.known.as_ref().ok_or(Violation::ManifestUnknown)?;
        let order = verify_order(approvals, &known.deployment, suite)?;
        let novelty = self.orders.judge(&order)?;
        Ok((order, novelty))
    }

    /// One order at a time: in force at once, then durable, anchored, drained, acknowledged.
    fn apply_next(&mut self, suite: &mut impl Suite) -> Result<(), Rejection> {
        if let Some(applying) = &mut self.applying {
            // The same order again joins those who wait for its acknowledgement.
            let queued = core::mem::take(&mut self.queued);
            for (order, channel) in queued {
                if *order.digest() == *applying.order.digest() {
                    applying.waiting.insert(channel);
                } else {
                    self.queued.push_back((order, channel));
                }
            }
            return Ok(());
        }
        let Some((order, channel)) = self.queued.pop_front() else {
            return Ok(());
        };
        // Judged again: what was applied while it waited may override it. [REV-3] [REV-13]
        let held = match self.orders.judge(&order) {
            Ok(novelty @ (Novelty::New | Novelty::AlreadyHeld)) => novelty == Novelty::AlreadyHeld,
            Ok(Novelty::Superseded) => {
                self.send_superseded(channel, &order);
                return self.apply_next(suite);
            }
            Err(violation) => {
                let _ = self.refuse(channel, violation, suite);
                return self.apply_next(suite);
            }
        };
        self.applying = Some(Applying {
            order: order.clone(),
            progress: Progress::default(),
            waiting: BTreeSet::from([channel]),
            payload: Vec::new(),
        });
        if held {
            // Durable already; anchoring again moves nothing back. [REV-4]
            return self.order_step(ProgressInput::Committed);
        }
        self.begin_order(&order, suite);
        Ok(())
    }

    /// In force here from now on, before it is durable: that only refuses more. [REV-5] [REV-6]
    fn begin_order(&mut self, order: &KnownOrder, suite: &mut impl Suite) {
        self.orders.insert(order);
        perform!(REV_5, self.cancel_covered(suite));
        self.cancel_renewals();
        let (orders, known) = (&self.orders, &self.known);
        if let Some(known) = known {
            self.ledger.revoke(|record| {
                let names = known.names.with(&record.device, &record.names());
                orders.coverage(&names) == crate::release::Coverage::Revoked
            });
        }
        self.push_notice(order); // [REV-11]
        let leaf = self.leaf(LeafKind::Order, *order.digest());
        let change = Change::Order {
            approvals: order.approvals().to_vec(),
            digest: *order.digest(),
            epoch: self.epoch.next(),
        };
        let commit = self.transaction(change, leaf);
        self.out.ask(commit, Work::Order);
    }

    /// To every connection of a device that was granted something here. [REV-11]
    fn push_notice(&mut self, order: &KnownOrder) {
        let Ok(approvals) = codec::decode(order.approvals(), Message::CAP) else {
            return;
        };
        let frame = Message::Notice(Notice { approvals }).to_frame();
        let devices: Vec<ChannelId> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let leaf = connection.peer_leaf;
                self.ledger.iter().any(|(_, lease)| lease.record().device_leaf == leaf)
            })
            .map(|(channel, _)| *channel)
            .collect();
        for channel in devices {
            self.out.transmit(channel, frame.clone());
        }
    }

    pub(super) fn on_order_done(
        &mut self,
        ticket: Ticket,
        answer: CustodianAnswer,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match answer {
            CustodianAnswer::Committed(_) => {
                self.epoch = self.epoch.next(); // [REV-14]
                if let Some(applying) = &self.applying {
                    let order = *applying.order.digest();
                    self.out.report(Report::Applied { order, epoch: self.epoch });
                }
                self.order_step(ProgressInput::Committed)
            }
            CustodianAnswer::Unknown => {
                self.out.ask(CustodianEffect::Reread { commit: ticket }, Work::Order);
                Ok(())
            }
            CustodianAnswer::Anchored => self.order_step(ProgressInput::Anchored),
            CustodianAnswer::HandlesDestroyed => self.order_step(ProgressInput::Destroyed),
            CustodianAnswer::Signed(signature) => self.on_ack_signed(signature, suite),
            CustodianAnswer::HsmFailed | CustodianAnswer::Fenced => self.on_order_failed(suite),
            _ => Err(Misuse::WrongAnswer.into()),
        }
    }

    /// Each step only after the one before. [REV-4] [REV-7]
    fn order_step(&mut self, input: ProgressInput) -> Result<(), Rejection> {
        let applying = self.applying.as_mut().ok_or(Misuse::WrongState)?;
        applying.progress.handle(input)?;
        let order = *applying.order.digest();
        let effect = match applying.progress {
            Progress::Anchoring => {
                let anchor = self.next_anchor(Some(order));
                CustodianEffect::Anchor(anchor)
            }
            Progress::Destroying => {
                self.anchor = Some(self.next_anchor(Some(order)));
                CustodianEffect::DestroyHandles
            }
            Progress::Acknowledging => self.acknowledgement(order)?,
            Progress::Draining | Progress::Acknowledged => return Ok(()),
        };
        self.out.ask(effect, Work::Order);
        Ok(())
    }

    fn acknowledgement(&mut self, order: Digest) -> Result<CustodianEffect, Misuse> {
        let known = self.known.as_ref().ok_or(Misuse::WrongState)?;
        let said = Acknowledgement {
            order,
            custodian: self.config.id,
            generation: self.generation,
            manifest: *known.manifest.digest(),
            epoch: self.epoch,
        };
        let payload = codec::encode(&said);
        let message = Signed::message_over(ObjectKind::Acknowledgement, &payload);
        if let Some(applying) = &mut self.applying {
            applying.payload = payload;
        }
        Ok(CustodianEffect::Sign { message })
    }

    fn on_ack_signed(
        &mut self,
        signature: crate::suite::Signature,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let mut applying = self.applying.take().ok_or(Misuse::WrongState)?;
        applying.progress.handle(ProgressInput::Signed)?;
        let statement = Signed::new(applying.payload, signature);
        let frame = Message::Acknowledged(Acknowledged { statement }).to_frame();
        for channel in &applying.waiting {
            if self.connections.contains_key(channel) {
                self.out.transmit(*channel, frame.clone());
            }
        }
        self.apply_next(suite)
    }

    /// No acknowledgement: who submitted asks again. A fenced process decides nothing more.
    fn on_order_failed(&mut self, suite: &mut impl Suite) -> Result<(), Rejection> {
        let Some(applying) = self.applying.take() else {
            return Ok(());
        };
        if applying.progress == Progress::Draining {
            self.standing.handle(StandingInput::Fenced)?;
        }
        for channel in applying.waiting {
            self.out.close(channel);
        }
        self.apply_next(suite)
    }
}
