//! Handshake and release on one connection.

use super::{Custodian, Misuse, Presence, Rejection, Work};
use crate::effect::{Act, CustodianAnswer, Report};
use crate::error::Violation;
use crate::handshake::{Appraised, VerifierInput, VerifierStep};
use crate::ids::{ChannelId, LeaseId, Ticket};
use crate::release::{Coverage, Granter, GranterInput, GranterStep, Grantor, PolicyInput, decide};
use crate::require::perform;
use crate::role::Draw;
use crate::suite::Suite;
use crate::time::Instant;

impl Custodian {
    /// One input of one connection's handshake; any error closes it and burns its challenge.
    pub(super) fn handshake(
        &mut self,
        now: Instant,
        channel: ChannelId,
        input: VerifierInput<'_>,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match self.verifier_step(now, channel, input, suite) {
            Ok(step) => self.on_verifier_step(channel, step, suite),
            Err(violation) => Err(self.refuse(channel, violation, suite)),
        }
    }

    fn verifier_step(
        &mut self,
        now: Instant,
        channel: ChannelId,
        input: VerifierInput<'_>,
        suite: &mut impl Suite,
    ) -> Result<VerifierStep, Violation> {
        let mut connection = self.connections.remove(&channel).ok_or(Violation::Unexpected)?;
        let result = match &self.known {
            Some(known) => {
                let context = known.context(self, &connection.chain);
                connection.verifier.handle(now, input, &context, suite)
            }
            None => Err(Violation::ManifestUnknown), // [HS-4]
        };
        self.connections.insert(channel, connection);
        result
    }

    fn on_verifier_step(
        &mut self,
        channel: ChannelId,
        step: VerifierStep,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        for act in step.acts {
            match act {
                Act::Send(frame) => self.out.transmit(channel, frame),
                Act::Ask(effect) => drop(self.out.ask(effect, Work::Handshake(channel))),
            }
        }
        match step.proof {
            Some(appraised) => self.on_appraised(channel, appraised, suite),
            None => Ok(()),
        }
    }

    pub(super) fn on_handshake_done(
        &mut self,
        now: Instant,
        channel: ChannelId,
        answer: &CustodianAnswer,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let input = match answer {
            CustodianAnswer::Exported(exporter) => VerifierInput::Exported(*exporter),
            CustodianAnswer::ExportFailed => VerifierInput::ExportFailed,
            CustodianAnswer::Appraised(verdict) => VerifierInput::Appraised(verdict),
            CustodianAnswer::Rejected => VerifierInput::Rejected,
            _ => return Err(Misuse::WrongAnswer.into()),
        };
        self.handshake(now, channel, input, suite)
    }

    /// A proof arrived: decide, then make the decision durable. [REL-1] [REL-3]
    fn on_appraised(
        &mut self,
        channel: ChannelId,
        appraised: Appraised,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match self.begin_release(channel, appraised, suite) {
            Ok(()) => Ok(()),
            Err(violation) => Err(self.refuse(channel, violation, suite)),
        }
    }

    fn begin_release(
        &mut self,
        channel: ChannelId,
        appraised: Appraised,
        suite: &mut impl Suite,
    ) -> Result<(), Violation> {
        let known = self.known.as_ref().ok_or(Violation::ManifestUnknown)?;
        let connection = self.connections.get_mut(&channel).ok_or(Violation::Unexpected)?;
        let mut certificates = connection.chain.clone();
        certificates.push(*appraised.device_leaf());
        let names = known.names.with(appraised.device(), &certificates);
        let policy = PolicyInput {
            manifest: &known.manifest,
            serving: self.standing.serving(),
            coverage: self.orders.coverage(&names),
            life: self.ledger.life(appraised.incarnation()),
        };
        let life = (*appraised.device(), *appraised.incarnation());
        let decided = decide(appraised, &policy)?;
        // From here on, not only from the commit: a request of an earlier life that is appraised
        // while this one is written would be granted after it. [RST-11]
        perform!(RST_11, self.ledger.appraised(&life.0, &life.1));
        self.leases_made += 1;
        let drawn = suite.fresh(Draw::Lease.slot(self.leases_made));
        let mut lease = [0; LeaseId::SIZE];
        for (place, byte) in lease.iter_mut().zip(drawn.as_bytes()) {
            *place = *byte;
        }
        let grantor = Grantor {
            custodian: self.config.id,
            generation: self.generation,
            epoch: self.epoch,
            manifest: &known.manifest,
            chain: &connection.chain,
        };
        let (granter, commit) = Granter::begin(decided, LeaseId::new(lease), &grantor, suite)?;
        connection.granter = Some(granter);
        self.out.ask(commit, Work::Release(channel));
        Ok(())
    }

    pub(super) fn on_release_done(
        &mut self,
        now: Instant,
        channel: ChannelId,
        ticket: Ticket,
        answer: CustodianAnswer,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let input = match answer {
            CustodianAnswer::Committed(index) => GranterInput::Committed(index),
            CustodianAnswer::Unknown => GranterInput::Unknown(ticket),
            CustodianAnswer::Fenced => GranterInput::Fenced,
            CustodianAnswer::Released { sealed, signature } => {
                GranterInput::Released { sealed, signature }
            }
            CustodianAnswer::HsmFailed => GranterInput::HsmFailed,
            _ => return Err(Misuse::WrongAnswer.into()),
        };
        let connection = self.connections.get_mut(&channel).ok_or(Misuse::UnknownChannel)?;
        let granter = connection.granter.as_mut().ok_or(Misuse::WrongState)?;
        let step = granter.handle(input, suite)?;
        if connection.presence == Presence::Gone {
            return self.on_departed(now, channel, step);
        }
        self.on_granter_step(now, channel, step, suite)
    }

    /// Nobody waits for this grant: a committed lease is noted and runs out by itself. [LEA-6]
    fn on_departed(
        &mut self,
        now: Instant,
        channel: ChannelId,
        step: GranterStep,
    ) -> Result<(), Rejection> {
        if let GranterStep::Ask(reread) = step {
            self.out.ask(reread, Work::Release(channel));
            return Ok(());
        }
        if let GranterStep::CommittedAndAsk(_) = step {
            self.on_lease_committed(now, channel);
        }
        self.connections.remove(&channel);
        Ok(())
    }

    fn on_granter_step(
        &mut self,
        now: Instant,
        channel: ChannelId,
        step: GranterStep,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        match step {
            GranterStep::Ask(effect) => drop(self.out.ask(effect, Work::Release(channel))),
            GranterStep::CommittedAndAsk(effect) => {
                self.on_lease_committed(now, channel);
                self.out.ask(effect, Work::Release(channel));
            }
            GranterStep::Send(frame) => {
                self.out.transmit(channel, frame); // [REL-5]
                let connection = self.connections.get(&channel);
                if let Some(granter) = connection.and_then(|c| c.granter.as_ref()) {
                    let (lease, index) = (granter.record().lease, granter.log_index());
                    self.out.report(Report::Granted { lease, index });
                }
            }
            GranterStep::Refuse => {
                return Err(self.refuse(channel, Violation::PolicyRefuses, suite));
            }
        }
        Ok(())
    }

    /// The lease counts from its commit, whatever becomes of the grant. [LEA-6]
    fn on_lease_committed(&mut self, now: Instant, channel: ChannelId) {
        let Some(known) = &self.known else { return };
        let granter = self.connections.get(&channel).and_then(|c| c.granter.as_ref());
        if let Some(granter) = granter {
            let margin = known.manifest.policy.margin;
            self.ledger.insert(now, granter.record().clone(), granter.challenged(), margin);
        }
    }

    /// Committed but unsent grants that orders now cover never leave. [REV-5]
    pub(super) fn cancel_covered(&mut self, suite: &mut impl Suite) {
        let covered: alloc::vec::Vec<ChannelId> = self
            .connections
            .iter()
            .filter_map(|(channel, connection)| {
                let granter = connection.granter.as_ref()?;
                let covered = self.coverage_of(granter.record()) == Coverage::Revoked;
                (granter.is_open() && covered).then_some(*channel)
            })
            .collect();
        for channel in covered {
            self.out.cancel(|work| *work == Work::Release(channel));
            let Some(connection) = self.connections.get_mut(&channel) else { continue };
            let Some(granter) = &mut connection.granter else { continue };
            if let Ok(GranterStep::Refuse) = granter.handle(GranterInput::Cancelled, suite) {
                match connection.presence {
                    Presence::Gone => drop(self.connections.remove(&channel)),
                    Presence::Here => {
                        let _ = self.refuse(channel, Violation::SubjectRevoked, suite);
                    }
                }
            }
        }
    }
}
