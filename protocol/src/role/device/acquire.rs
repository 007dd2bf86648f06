//! From `Acquire` to a loaded model: gather, attest, request, combine.

use super::{Custody, Device, Exchange, Link, Misuse, Model, Rejection, Work};
use crate::effect::{Act, DeviceEffect, Report, Secrets};
use crate::error::Violation;
use crate::handshake::{Attester, AttesterInput, ReadyEntry};
use crate::ids::{ChannelId, CustodianId};
use crate::lease::Holder;
use crate::quorum::{Combined, CustodyInput, Outcome};
use crate::release::{Coverage, Expected, check_grant};
use crate::require::require;
use crate::role::names::ManifestNames;
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{DekHandle, Digest, Suite};
use crate::time::Instant;
use crate::transcript;
use crate::wire::codec::List;
use crate::wire::evidence::{Entry, Evidence, Request};
use crate::wire::grant::Grant;
use crate::wire::message::Message;
use crate::wire::signed::Signed;

impl Device {
    pub(super) fn on_acquire(
        &mut self,
        now: Instant,
        manifest: &Signed,
        deployment: &Signed,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        if self.model.is_some() {
            return Err(Misuse::WrongState.into());
        }
        let incarnation = *self.guard.incarnation().ok_or(Violation::NoCleanIncarnation)?; // [RST-5]
        let manifest = KnownManifest::verify(suite, &self.config.owner, manifest)?;
        let deployment = KnownDeployment::verify(suite, &self.config.owner, deployment)?;
        require!(
            HS_4,
            manifest.deployment == self.config.deployment
                && deployment.deployment == self.config.deployment
        );
        let names = ManifestNames::of(&manifest, suite);
        let coverage = self.orders.coverage(&names.with(&self.config.device, &[]));
        require!(REL_6, coverage == Coverage::Clear); // [REV-12]
        self.attempts = self.attempts.next();
        let mut custody = Custody::default();
        custody.handle(CustodyInput::Acquire { until: now.after(manifest.policy.gather) })?;
        let exchange = |id| (id, Exchange { attester: Attester::new(id), th2: None });
        let exchanges = manifest.custodians.iter().map(|entry| exchange(entry.id)).collect();
        for entry in manifest.custodians.iter() {
            self.out.dial(entry.id);
        }
        self.model = Some(Model {
            holder: Holder::new(manifest.threshold(), manifest.policy.margin),
            manifest,
            deployment,
            names,
            attempt: self.attempts,
            incarnation,
            custody,
            entries: alloc::vec::Vec::new(),
            exchanges,
            session: None,
            links: Default::default(),
            keys: alloc::vec::Vec::new(),
        });
        Ok(())
    }

    pub(super) fn on_channel_opened(
        &mut self,
        now: Instant,
        channel: ChannelId,
        link: Link,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        if model.links.insert(channel, link).is_some() {
            return Err(Misuse::UnknownChannel.into());
        }
        let exchange = model.exchanges.get(&link.custodian).ok_or(Misuse::UnknownChannel)?;
        if exchange.attester.state_name() != "AwaitChannel" {
            let leased = model.holder.leases().find(|(id, _)| *id == link.custodian);
            let leaves = (link.own_leaf, link.peer_leaf);
            if leased.is_some_and(|(_, held)| (held.device_leaf, held.custodian_leaf) != leaves) {
                self.out.close(channel); // useless to its lease: the next retry dials again [LEA-8]
                return Ok(());
            }
            model.holder.reconnected(now, link.custodian);
            self.send_due(now);
            return Ok(());
        }
        let opened = AttesterInput::ChannelOpened {
            channel,
            device_leaf: link.own_leaf,
            custodian_leaf: link.peer_leaf,
        };
        self.attester_input(now, channel, link.custodian, opened, suite)
    }

    pub(super) fn on_channel_failed(
        &mut self,
        now: Instant,
        custodian: CustodianId,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        let exchange = model.exchanges.get_mut(&custodian).ok_or(Misuse::UnknownChannel)?;
        if exchange.attester.state_name() == "AwaitChannel" {
            exchange.attester.close();
            self.out.report(Report::ExchangeClosed { custodian, violation: None });
        }
        self.advance(now, suite)
    }

    pub(super) fn on_channel_closed(
        &mut self,
        now: Instant,
        channel: ChannelId,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        let Some(link) = model.links.remove(&channel) else {
            return Ok(());
        };
        let exchange = model.exchanges.get(&link.custodian).ok_or(Misuse::UnknownChannel)?;
        if exchange.attester.channel() == Some(channel) {
            return self.attester_input(
                now,
                channel,
                link.custodian,
                AttesterInput::ChannelClosed,
                suite,
            );
        }
        self.advance(now, suite)
    }

    /// One input of one custodian's exchange; an error closes that exchange only. [QRM-5]
    pub(super) fn attester_input(
        &mut self,
        now: Instant,
        channel: ChannelId,
        custodian: CustodianId,
        input: AttesterInput<'_>,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let device = self.config.device;
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        let exchange = model.exchanges.get_mut(&custodian).ok_or(Misuse::UnknownChannel)?;
        let slot = (model.attempt.value() << 8) | u64::from(custodian.value());
        match exchange.attester.handle(input, &model.manifest, device, slot, suite) {
            Ok(acts) => {
                let made = exchange.attester.ready().map(|entry| entry.secret);
                model.keys.extend(made);
                for act in acts {
                    match act {
                        Act::Send(frame) => self.out.transmit(channel, frame),
                        Act::Ask(effect) => {
                            self.out.ask(effect, Work::Export { custodian, channel });
                        }
                    }
                }
                self.advance(now, suite)
            }
            Err(violation) => self.fail_exchange(now, custodian, violation, suite),
        }
    }

    pub(super) fn fail_exchange(
        &mut self,
        now: Instant,
        custodian: CustodianId,
        violation: Violation,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        if let Some(model) = &mut self.model
            && let Some(exchange) = model.exchanges.get_mut(&custodian)
        {
            exchange.attester.close();
        }
        let violation_report = Some(violation);
        self.out.report(Report::ExchangeClosed { custodian, violation: violation_report });
        self.advance(now, suite)?;
        Err(violation.into())
    }

    pub(super) fn on_refused(
        &mut self,
        now: Instant,
        channel: ChannelId,
        custodian: CustodianId,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        let exchange = model.exchanges.get_mut(&custodian).ok_or(Misuse::UnknownChannel)?;
        let is_its = exchange.attester.entry().is_none_or(|entry| entry.channel == channel);
        if !is_its || model.session.is_some() && exchange.attester.requested().is_none() {
            return Ok(()); // a refused renewal: the lease runs out by itself
        }
        exchange.attester.close();
        self.out.report(Report::ExchangeClosed { custodian, violation: None });
        self.advance(now, suite)
    }

    /// Moves on when nothing more is to be waited for.
    pub(super) fn advance(
        &mut self,
        now: Instant,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let Some(model) = &self.model else {
            return Ok(());
        };
        match &model.custody {
            Custody::Gathering { until } => {
                let settled = model.exchanges.values().all(|exchange| {
                    exchange.attester.ready().is_some() || exchange.attester.is_closed()
                });
                if settled || now >= *until {
                    return self.close_window(suite);
                }
                Ok(())
            }
            Custody::Requesting { until, tally, .. } => {
                let awaiting = model
                    .exchanges
                    .values()
                    .filter(|exchange| exchange.attester.requested().is_some())
                    .count();
                if tally.count() + awaiting < model.manifest.threshold() || now >= *until {
                    return self.abandon(CustodyInput::TooFew);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The gather window is over: who is not ready is left out and never added. [HS-18] [QRM-1]
    fn close_window(&mut self, suite: &mut impl Suite) -> Result<(), Rejection> {
        let device = self.config.device;
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        for (custodian, exchange) in &mut model.exchanges {
            if exchange.attester.ready().is_none() && !exchange.attester.is_closed() {
                exchange.attester.close();
                let custodian = *custodian;
                self.out.report(Report::ExchangeClosed { custodian, violation: None });
            }
        }
        let entries = model.ready_entries();
        if enough(entries.len(), model.manifest.threshold()).is_err() {
            return self.abandon(CustodyInput::TooFew);
        }
        let session = transcript::session(
            suite,
            model.manifest.digest(),
            &device,
            &model.incarnation,
            &entries,
        );
        let gpu = transcript::gpu_nonce(suite, &session);
        model.custody.handle(CustodyInput::EntriesComplete { session })?;
        model.entries = entries;
        let collect = DeviceEffect::CollectEvidence { session, gpu, attempt: model.attempt };
        self.out.ask(collect, Work::Evidence);
        Ok(())
    }

    /// One Evidence for all custodians; the clock is read before the first request. [LEA-1]
    pub(super) fn on_evidence(
        &mut self,
        now: Instant,
        evidence: &Evidence,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let device = self.config.device;
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        let Custody::Attesting { session } = model.custody else {
            return Err(Misuse::WrongState.into());
        };
        let entries = model.entries.clone();
        let until = now.after(model.manifest.policy.challenge_max);
        let threshold = model.manifest.threshold();
        model.custody.handle(CustodyInput::EvidenceCollected { sent: now, until, threshold })?;
        model.session = Some((session, now));
        let ready: alloc::vec::Vec<(CustodianId, ReadyEntry)> = model
            .exchanges
            .iter()
            .filter_map(|(id, exchange)| Some((*id, exchange.attester.ready()?.clone())))
            .collect();
        for (custodian, entry) in ready {
            let request = Request {
                manifest: *model.manifest.digest(),
                device,
                incarnation: model.incarnation,
                entries: List::new(entries.clone()).ok_or(Misuse::WrongState)?,
                device_key: entry.device_key.clone(),
                evidence: evidence.clone(),
            };
            let frame = Message::Request(request).to_frame();
            let th2 = transcript::th2(suite, &entry.th1, &frame);
            let Some(exchange) = model.exchanges.get_mut(&custodian) else {
                continue;
            };
            exchange.th2 = Some(th2);
            let input = AttesterInput::Evidence { request: frame };
            let acts = exchange.attester.handle(input, &model.manifest, device, 0, suite)?;
            for act in acts {
                if let Act::Send(frame) = act {
                    self.out.transmit(entry.channel, frame);
                }
            }
        }
        self.advance(now, suite)
    }

    pub(super) fn on_grant(
        &mut self,
        now: Instant,
        channel: ChannelId,
        custodian: CustodianId,
        grant: &Grant,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match self.take_grant(now, channel, custodian, grant, suite) {
            Ok(()) => self.advance(now, suite),
            Err(violation) => self.fail_exchange(now, custodian, violation, suite),
        }
    }

    fn take_grant(
        &mut self,
        now: Instant,
        channel: ChannelId,
        custodian: CustodianId,
        grant: &Grant,
        suite: &mut impl Suite,
    ) -> Result<(), Violation> {
        let model = self.model.as_mut().ok_or(Violation::Unexpected)?;
        let (session, sent) = model.session.ok_or(Violation::Unexpected)?;
        let exchange = model.exchanges.get_mut(&custodian).ok_or(Violation::Unexpected)?;
        let entry = exchange.attester.requested().ok_or(Violation::Unexpected)?.clone();
        let th2 = exchange.th2.ok_or(Violation::Unexpected)?;
        if entry.channel != channel {
            return Err(Violation::Unexpected);
        }
        let expected = Expected {
            custodian,
            manifest: &model.manifest,
            entry: &entry,
            session: &session,
            incarnation: &model.incarnation,
            th2: &th2,
        };
        let checked = check_grant(grant, &expected, suite)?;
        if let Custody::Requesting { tally, .. } = &mut model.custody {
            let outcome = tally.add(&checked, &entry, &model.manifest, suite)?;
            model.holder.add(now, &checked, &entry, sent);
            exchange.attester.close(); // answered
            if let Outcome::Combined(combined) = outcome {
                self.on_combined(now, combined);
            }
        } else if model.custody.dek().is_some() {
            model.holder.add(now, &checked, &entry, sent); // [QRM-6]
            exchange.attester.close();
        }
        if self.leases().any(|(id, held)| id == custodian && now < held.end()) {
            let (lease, counter) = (checked.lease(), crate::ids::Counter::new(0));
            self.out.report(Report::LeaseCounts { custodian, lease, counter });
        }
        Ok(())
    }

    /// Loading needs k counting: grants that came after their own terms load nothing. [LEA-2]
    fn on_combined(&mut self, now: Instant, combined: Combined) {
        let Some(model) = &mut self.model else { return };
        if model.holder.counting(now) < model.manifest.threshold() {
            let dek = Some(combined.dek());
            // INVARIANT: custody is `Requesting` here, and that takes `TooFew`.
            let _ = self.abandon_erasing(CustodyInput::TooFew, dek);
            return;
        }
        let secrets = model.secrets();
        // INVARIANT: custody is `Requesting` here, and that takes `Combined`.
        let _ = model.custody.handle(CustodyInput::Combined(combined));
        self.out.ask(DeviceEffect::Erase { secrets }, Work::EraseSecrets);
        self.out.ask(DeviceEffect::Load { dek: combined.dek() }, Work::Load);
    }

    pub(super) fn on_loaded(&mut self) -> Result<(), Rejection> {
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        model.custody.handle(CustodyInput::Loaded)?;
        self.out.report(Report::Serving { attempt: model.attempt });
        Ok(())
    }

    /// The attempt came to nothing: its keys and shares are erased. [RST-10]
    pub(super) fn abandon(&mut self, input: CustodyInput) -> Result<(), Rejection> {
        self.abandon_erasing(input, None)
    }

    fn abandon_erasing(
        &mut self,
        input: CustodyInput,
        dek: Option<DekHandle>,
    ) -> Result<(), Rejection> {
        let Some(mut model) = self.model.take() else {
            return Ok(());
        };
        let secrets = Secrets { dek, ..model.secrets() };
        // A later attempt must not take their answers for its own.
        self.out.cancel(|work| matches!(work, Work::Evidence | Work::Export { .. }));
        let valid = match &model.custody {
            Custody::Requesting { tally, .. } => tally.count(),
            _ => 0,
        };
        model.custody.handle(input)?;
        for channel in model.links.keys() {
            self.out.close(*channel);
        }
        self.out.ask(DeviceEffect::Erase { secrets }, Work::EraseSecrets);
        self.out.report(Report::NotAcquired {
            valid: u8::try_from(valid).unwrap_or(u8::MAX),
            needed: model.manifest.k,
        });
        Ok(())
    }
}

fn enough(ready: usize, threshold: usize) -> Result<(), Violation> {
    require!(QRM_1, ready >= threshold);
    Ok(())
}

impl Model {
    /// The entries of every ready exchange, ascending. [HS-9]
    fn ready_entries(&self) -> alloc::vec::Vec<Entry> {
        let entry = |(id, exchange): (&CustodianId, &Exchange)| {
            let digest: Digest = exchange.attester.ready()?.entry;
            Some(Entry { custodian: *id, digest })
        };
        self.exchanges.iter().filter_map(entry).collect()
    }

    /// The device keys and opened shares of this attempt. [HS-8]
    fn secrets(&self) -> Secrets {
        let shares = match &self.custody {
            Custody::Requesting { tally, .. } => tally.shares(),
            _ => alloc::vec::Vec::new(),
        };
        Secrets { keys: self.keys.clone(), shares, dek: None }
    }
}
