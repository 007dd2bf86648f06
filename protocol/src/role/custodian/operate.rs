//! Boot, provisioning, activation, and orders.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::{Applying, Custodian, Known, Misuse, Queued, Rejection, Work};
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
use crate::wire::order::{Acknowledged, Acknowledgement, Approvals, Notice, Superseded, Verb};
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
            self.confirmed.insert(*order.digest());
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
        if let Some(held) = &self.known {
            let (held, offered) = (held.manifest.digest(), known.manifest.digest());
            if suite.same(held.as_bytes(), offered.as_bytes()).is_err() {
                return Err(self.refuse(channel, Violation::ManifestDiffers, suite));
            }
            self.send_provisioned(channel, &known);
            return Ok(());
        }
        // Of two that are being written at once, the later would replace what the first made known.
        // Nothing but a provision is written before there is one.
        if self.out.open().next().is_some() {
            return Err(self.refuse(channel, Violation::Unexpected, suite));
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
        let [first, ..] = approvals.as_slice() else {
            return Err(Violation::TooFewOperators);
        };
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
            _ => {
                self.standing.handle(StandingInput::Fenced)?;
                self.out.close(channel); // who activates asks again
            }
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
            Ok((order, novelty @ (Novelty::New | Novelty::AlreadyHeld))) => {
                self.on_order(channel, order, novelty, suite)
            }
            Err(violation) => Err(self.refuse(channel, violation, suite)),
        }
    }

    /// One entry per order, however often it is submitted.
    fn on_order(
        &mut self,
        channel: ChannelId,
        order: KnownOrder,
        novelty: Novelty,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let underway = self.applying.as_mut().map(|applying| &mut applying.queued);
        let mut overriding = false;
        for entry in underway.into_iter().chain(&mut self.queued) {
            if entry.order.digest() == order.digest() {
                entry.waiting.insert(channel); // joins those who wait for its acknowledgement
                return Ok(());
            }
            overriding |= entry.order.order().subject == order.order().subject;
        }
        // Where another order of its subject is on its way, it waits to be judged again. [REV-13]
        if !overriding && let Some(frame) = self.acknowledged.get(order.digest()) {
            self.out.transmit(channel, frame.clone());
            return Ok(());
        }
        if novelty == Novelty::New && order.order().verb == Verb::Revoke {
            self.put_in_force(&order, suite);
        }
        self.queued.push_back(Queued { order, waiting: BTreeSet::from([channel]) });
        self.apply_next(suite)
    }

    /// Nobody waits on a closed channel; a revocation becomes durable all the same. [REV-4]
    pub(super) fn forget_submitter(&mut self, channel: ChannelId) {
        let underway = self.applying.as_mut().map(|applying| &mut applying.queued);
        for entry in underway.into_iter().chain(&mut self.queued) {
            entry.waiting.remove(&channel);
        }
        let stays =
            |entry: &Queued| !entry.waiting.is_empty() || entry.order.order().verb == Verb::Revoke;
        self.queued.retain(stays);
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

    /// One order at a time: durable, anchored, drained, acknowledged.
    fn apply_next(&mut self, suite: &mut impl Suite) -> Result<(), Rejection> {
        while self.applying.is_none()
            && let Some(queued) = self.queued.pop_front()
        {
            // Judged again: what was applied while it waited may override it. [REV-3] [REV-13]
            match self.orders.judge(&queued.order) {
                Ok(Novelty::New | Novelty::AlreadyHeld) => return self.begin_order(queued),
                Ok(Novelty::Superseded) => {
                    for channel in &queued.waiting {
                        self.send_superseded(*channel, &queued.order);
                    }
                }
                Err(violation) => {
                    for channel in queued.waiting {
                        let _ = self.refuse(channel, violation, suite);
                    }
                }
            }
        }
        Ok(())
    }

    /// A revocation refuses from now on, before it is durable and whatever is being applied.
    /// [REV-5] [REV-6]
    fn put_in_force(&mut self, order: &KnownOrder, suite: &mut impl Suite) {
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
    }

    fn begin_order(&mut self, queued: Queued) -> Result<(), Rejection> {
        let order = queued.order.clone();
        let progress = Progress::default();
        self.applying = Some(Applying { queued, progress, payload: Vec::new() });
        if self.confirmed.contains(order.digest()) {
            // Durable already; anchoring again moves nothing back. [REV-4]
            return self.order_step(ProgressInput::Committed);
        }
        let leaf = self.leaf(LeafKind::Order, *order.digest());
        let change = Change::Order {
            approvals: order.approvals().to_vec(),
            digest: *order.digest(),
            epoch: self.epoch.next(),
        };
        let commit = self.transaction(change, leaf);
        self.out.ask(commit, Work::Order);
        Ok(())
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
                self.on_order_committed();
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

    /// An admission is in force only now: what is not durable widens nothing. [REV-4]
    fn on_order_committed(&mut self) {
        let Some(applying) = &self.applying else { return };
        let order = applying.queued.order.clone();
        let digest = *order.digest();
        self.confirmed.insert(digest);
        if !self.orders.contains(&digest) {
            self.orders.insert(&order);
            self.push_notice(&order); // [REV-11]
        }
        self.out.report(Report::Applied { order: digest, epoch: self.epoch });
    }

    /// Each step only after the one before. [REV-4] [REV-7]
    fn order_step(&mut self, input: ProgressInput) -> Result<(), Rejection> {
        let applying = self.applying.as_mut().ok_or(Misuse::WrongState)?;
        applying.progress.handle(input)?;
        let order = *applying.queued.order.digest();
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
        // INVARIANT: a channel that closed does not wait any more.
        for channel in &applying.queued.waiting {
            self.out.transmit(*channel, frame.clone());
        }
        self.acknowledged.insert(*applying.queued.order.digest(), frame);
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
        for channel in applying.queued.waiting {
            self.out.close(channel);
        }
        self.apply_next(suite)
    }
}
