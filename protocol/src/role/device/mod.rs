//! The device: guard, one exchange per custodian, quorum, leases.
//!
//! Chapters 20 to 70, device side. While a use is admitted, the device has a clean incarnation,
//! a DEK that k custodians granted for it, and k counting leases. One model at a time in v1.

mod acquire;
mod hold;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Rejection;
use super::names::ManifestNames;
use crate::effect::{DeviceAnswer, DeviceEffect, Outbox, Output, Report, Secrets, StopCause};
use crate::error::{Misuse, Violation};
use crate::handshake::{Attester, AttesterInput};
use crate::ids::{Attempt, ChannelId, CustodianId, DeploymentId, Ticket};
#[cfg(target_has_atomic = "64")]
use crate::lease::Standing;
use crate::lease::{Admission, Holder};
use crate::quorum::{Custody, CustodyInput};
use crate::require::require;
use crate::reset::{Guard, GuardInput, GuardStep, OnHostRead};
use crate::revocation::OrderSet;
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{
    DeviceId, DeviceSecret, Digest, Exporter, Incarnation, LeafKey, Suite, VerifyKey,
};
use crate::time::{Instant, Rebase, Span};
use crate::wire::evidence::Entry;
use crate::wire::message::{Message, Received};
use crate::wire::signed::Signed;

/// What a device is told when it is launched; measured with its code.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct DeviceConfig {
    pub deployment: DeploymentId,
    pub device: DeviceId,
    pub owner: VerifyKey,
    pub on_host_read: OnHostRead,
}

/// What happens to a device.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum DeviceInput {
    /// Once, first; and again after a failed scrub.
    PoweredOn,
    Acquire {
        manifest: Signed,
        deployment: Signed,
    },
    ChannelOpened {
        channel: ChannelId,
        custodian: CustodianId,
        own_leaf: LeafKey,
        peer_leaf: LeafKey,
    },
    /// A dial came to nothing.
    ChannelFailed {
        custodian: CustodianId,
    },
    ChannelClosed {
        channel: ChannelId,
    },
    Received {
        channel: ChannelId,
        frame: Vec<u8>,
    },
    Done {
        ticket: Ticket,
        answer: DeviceAnswer,
    },
    Timeout,
    HostRead,
    Tampered,
    /// After a suspend or a restored snapshot. [RST-9]
    Resumed,
    /// Gives the model up.
    Release,
}

/// The device's machine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Device {
    config: DeviceConfig,
    guard: Guard,
    orders: OrderSet,
    attempts: Attempt,
    model: Option<Model>,
    out: Outbox<DeviceEffect, Work>,
}

/// A model that the device holds or tries to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Model {
    manifest: KnownManifest,
    deployment: KnownDeployment,
    names: ManifestNames,
    attempt: Attempt,
    incarnation: Incarnation,
    custody: Custody,
    /// What the session was computed over; who leaves after that stays listed. [HS-18]
    entries: Vec<Entry>,
    exchanges: BTreeMap<CustodianId, Exchange>,
    /// The session whose Evidence was made, and the clock before its first request left. [LEA-1]
    session: Option<(Digest, Instant)>,
    holder: Holder,
    links: BTreeMap<ChannelId, Link>,
    /// Every device key of this attempt, to be erased with it. [HS-8]
    keys: Vec<DeviceSecret>,
}

/// One custodian in this attempt.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct Exchange {
    attester: Attester,
    th2: Option<Digest>,
}

/// An open channel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct Link {
    custodian: CustodianId,
    own_leaf: LeafKey,
    peer_leaf: LeafKey,
}

/// What an open question is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Work {
    Guard,
    Export {
        custodian: CustodianId,
        channel: ChannelId,
    },
    Evidence,
    Load,
    /// Keys and shares that are of no more use.
    EraseSecrets,
    EraseModel(StopCause),
}

impl Device {
    pub fn new(config: DeviceConfig) -> Self {
        Self {
            config,
            guard: Guard::new(config.on_host_read),
            orders: OrderSet::default(),
            attempts: Attempt::new(0),
            model: None,
            out: Outbox::new(),
        }
    }

    /// Takes one input; then poll outputs until `None`.
    pub fn handle(
        &mut self,
        now: Instant,
        input: DeviceInput,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        // Before the input too: a renewal that comes late does not undo a loss. [LEA-5]
        self.stop_if_lost(now);
        let result = self.on_input(now, input, suite);
        self.stop_if_lost(now);
        result
    }

    fn on_input(
        &mut self,
        now: Instant,
        input: DeviceInput,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        use DeviceInput as I;
        match input {
            I::PoweredOn => self.guard_input(GuardInput::PoweredOn),
            I::HostRead => self.on_host_read(),
            I::Tampered => self.guard_input(GuardInput::Tampered),
            I::Resumed => self.guard_input(GuardInput::Resumed),
            I::Acquire { manifest, deployment } => {
                self.on_acquire(now, &manifest, &deployment, suite)
            }
            I::ChannelOpened { channel, custodian, own_leaf, peer_leaf } => {
                let link = Link { custodian, own_leaf, peer_leaf };
                self.on_channel_opened(now, channel, link, suite)
            }
            I::ChannelFailed { custodian } => self.on_channel_failed(now, custodian, suite),
            I::ChannelClosed { channel } => self.on_channel_closed(now, channel, suite),
            I::Received { channel, frame } => self.on_received(now, channel, &frame, suite),
            I::Done { ticket, answer } => self.on_done(now, ticket, answer, suite),
            I::Timeout => self.on_timeout(now, suite),
            I::Release => self.on_release(),
        }
    }

    /// What to do next; nothing is repeated.
    pub fn poll_output(&mut self) -> Option<Output<DeviceEffect>> {
        self.out.poll()
    }

    /// When to come back with `Timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let model = self.model.as_ref()?;
        let stage = match &model.custody {
            Custody::Gathering { until } | Custody::Requesting { until, .. } => Some(*until),
            _ => None,
        };
        // Without a DEK nothing is renewed: an alarm that nobody handles would ring for ever.
        stage.or_else(|| model.custody.dek().and_then(|_| model.holder.poll_timeout()))
    }

    /// Admits one use of the loaded model and charges it. [LEA-2] [LEA-4] [RST-5]
    pub fn admit(&mut self, now: Instant) -> Result<Admission, Violation> {
        require!(RST_5, self.guard.incarnation().is_some());
        let model = self.model.as_mut().ok_or(Violation::TooFewLeases)?;
        if !matches!(model.custody, Custody::Serving { .. }) {
            return Err(Violation::TooFewLeases);
        }
        let admitted = model.holder.admit(now, model.incarnation, model.attempt);
        self.stop_if_lost(now);
        admitted
    }

    /// What may be admitted without asking this machine, until its next turn. [LEA-16] [RST-5]
    #[cfg(target_has_atomic = "64")]
    pub fn standing(&self) -> Option<Standing> {
        let model = self.model.as_ref()?;
        let serving = matches!(model.custody, Custody::Serving { .. });
        if self.guard.incarnation() != Some(&model.incarnation) || !serving {
            return None;
        }
        let (admits_until, leaves_until) = model.holder.until()?;
        let (incarnation, attempt) = (model.incarnation, model.attempt);
        Some(Standing { incarnation, attempt, admits_until, leaves_until })
    }

    /// Charges uses that were admitted over the standing. [LEA-4] [LEA-16]
    pub fn charge(&mut self, now: Instant, uses: u64) {
        if let Some(model) = &mut self.model {
            model.holder.charge(now, uses);
        }
    }

    /// Whether an admitted use's output may leave the device now. [LEA-3] [RST-5]
    pub fn release_output(&self, now: Instant, admission: &Admission) -> Result<(), Violation> {
        require!(RST_5, self.guard.incarnation() == Some(admission.incarnation()));
        let model = self.model.as_ref().ok_or(Violation::OutputAfterLease)?;
        let serving = matches!(model.custody, Custody::Serving { .. }); // [LEA-5] [REV-12]
        // Between two attempts of one life; what another life admitted is stopped above.
        let earlier =
            model.attempt != admission.attempt() && model.incarnation == *admission.incarnation();
        if !serving || earlier {
            return Err(Violation::OutputAfterLease);
        }
        model.holder.may_leave(now)
    }

    fn on_host_read(&mut self) -> Result<(), Rejection> {
        if self.guard.on_host_read() == OnHostRead::Block {
            self.out.report(Report::ReadBlocked); // [RST-8]
        }
        self.guard_input(GuardInput::HostRead)
    }

    fn guard_input(&mut self, input: GuardInput) -> Result<(), Rejection> {
        match self.guard.handle(input)? {
            GuardStep::Stay => {}
            GuardStep::Taint(effect) => {
                self.on_taint();
                self.out.ask(effect, Work::Guard);
            }
            GuardStep::Next(effect) => {
                self.out.ask(effect, Work::Guard);
            }
            GuardStep::Clean(incarnation) => self.out.report(Report::Clean { incarnation }),
            GuardStep::Stuck => self.out.report(Report::Tainted),
        }
        Ok(())
    }

    /// Everything of this incarnation is over, open questions included. [RST-10]
    fn on_taint(&mut self) {
        self.out.cancel(|_| true);
        self.out.report(Report::Tainted);
        if let Some(mut model) = self.model.take() {
            // INVARIANT: `Tainted` is legal in every state of custody.
            let _ = model.custody.handle(CustodyInput::Tainted);
            for channel in model.links.keys() {
                self.out.close(*channel);
            }
            self.out.report(Report::Stopped { cause: StopCause::Tainted });
        }
    }

    fn on_received(
        &mut self,
        now: Instant,
        channel: ChannelId,
        frame: &[u8],
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let model = self.model.as_ref().ok_or(Misuse::UnknownChannel)?;
        let link = *model.links.get(&channel).ok_or(Misuse::UnknownChannel)?;
        let message = match Message::from_frame(frame) {
            Ok(message) => message,
            Err(error) => return self.fail_exchange(now, link.custodian, error.into(), suite),
        };
        match message {
            Message::Challenge(_) if self.channel_of(link.custodian) != Some(channel) => {
                self.fail_exchange(now, link.custodian, Violation::Unexpected, suite)
            }
            Message::Challenge(body) => {
                let challenge = AttesterInput::Challenge(Received { body: &body, frame });
                self.attester_input(now, channel, link.custodian, challenge, suite)
            }
            Message::Grant(grant) => self.on_grant(now, channel, link.custodian, &grant, suite),
            Message::Refused(_) => self.on_refused(now, channel, link.custodian, suite),
            Message::Renewal(renewal) => self.on_renewal(now, link, &renewal),
            Message::Notice(notice) => self.on_notice(&notice, suite),
            _ => self.fail_exchange(now, link.custodian, Violation::Unexpected, suite),
        }
    }

    fn on_done(
        &mut self,
        now: Instant,
        ticket: Ticket,
        answer: DeviceAnswer,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        // The answer of a cancelled question is discarded. [REV-5]
        let Some(work) = self.out.answered(ticket)? else {
            return Ok(());
        };
        match (work, answer) {
            (Work::Guard, answer) => self.guard_input(guard_answer(answer)?),
            (Work::Export { custodian, channel }, DeviceAnswer::Exported(exporter)) => {
                self.on_exported(now, custodian, channel, Some(exporter), suite)
            }
            (Work::Export { custodian, channel }, DeviceAnswer::ExportFailed) => {
                self.on_exported(now, custodian, channel, None, suite)
            }
            (Work::Evidence, DeviceAnswer::EvidenceCollected(evidence)) => {
                self.on_evidence(now, &evidence, suite)
            }
            (Work::Evidence, DeviceAnswer::EvidenceFailed) => {
                self.abandon(CustodyInput::EvidenceFailed)
            }
            (Work::Load, DeviceAnswer::Loaded) => self.on_loaded(),
            (Work::Load, DeviceAnswer::LoadFailed) => self.stop(StopCause::LoadFailed),
            (Work::EraseSecrets, DeviceAnswer::Erased) => Ok(()),
            (Work::EraseModel(cause), DeviceAnswer::Erased) => self.on_model_erased(cause),
            _ => Err(Misuse::WrongAnswer.into()),
        }
    }

    fn on_exported(
        &mut self,
        now: Instant,
        custodian: CustodianId,
        channel: ChannelId,
        exporter: Option<Exporter>,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        // An answer about a channel that the exchange does not run on is for nobody any more.
        if self.channel_of(custodian) != Some(channel) {
            return Ok(());
        }
        let input = exporter.map_or(AttesterInput::ExportFailed, AttesterInput::Exported);
        self.attester_input(now, channel, custodian, input, suite)
    }

    /// The model leaves: DEK and plaintext are erased before anything else. [LEA-5]
    fn stop(&mut self, cause: StopCause) -> Result<(), Rejection> {
        let Some(model) = &mut self.model else {
            return Ok(());
        };
        let input = match cause {
            StopCause::LoadFailed => CustodyInput::LoadFailed,
            StopCause::Revoked => CustodyInput::Revoked,
            _ => CustodyInput::LeaseLost,
        };
        let dek = model.custody.dek();
        model.custody.handle(input)?;
        self.out.cancel(|work| *work == Work::Load);
        let secrets = Secrets { dek, ..Secrets::default() };
        self.out.ask(DeviceEffect::Erase { secrets }, Work::EraseModel(cause));
        Ok(())
    }

    fn on_model_erased(&mut self, cause: StopCause) -> Result<(), Rejection> {
        let Some(mut model) = self.model.take() else {
            return Ok(());
        };
        model.custody.handle(CustodyInput::Erased)?;
        for channel in model.links.keys() {
            self.out.close(*channel);
        }
        self.out.report(Report::Stopped { cause });
        Ok(())
    }

    fn on_release(&mut self) -> Result<(), Rejection> {
        self.stop(StopCause::Released)
    }

    fn stop_if_lost(&mut self, now: Instant) {
        let Some(model) = &mut self.model else { return };
        if model.custody.dek().is_none() {
            return;
        }
        model.holder.settle(now);
        if !model.holder.is_counting() {
            // INVARIANT: with a DEK, custody is loading or serving; both take a loss.
            let _ = self.stop(StopCause::LeaseLost);
        }
    }

    /// The channel that a custodian's exchange runs on.
    fn channel_of(&self, custodian: CustodianId) -> Option<ChannelId> {
        self.model.as_ref()?.exchanges.get(&custodian)?.attester.channel()
    }

    /// The device's clean incarnation, if it has one.
    pub const fn incarnation(&self) -> Option<&Incarnation> {
        self.guard.incarnation()
    }

    /// The names of the guard's and the custody's states.
    pub fn state_names(&self) -> (&'static str, &'static str) {
        let custody = self.model.as_ref().map_or("Idle", |model| model.custody.state_name());
        (self.guard.state_name(), custody)
    }

    /// The names of the states of the exchanges, for status displays and properties.
    pub fn exchange_states(&self) -> impl Iterator<Item = (CustodianId, &'static str)> {
        let exchanges = self.model.iter().flat_map(|model| &model.exchanges);
        exchanges.map(|(custodian, exchange)| (*custodian, exchange.attester.state_name()))
    }

    /// How many leases count at `now`.
    pub fn counting(&self, now: Instant) -> usize {
        self.model.as_ref().map_or(0, |model| model.holder.counting(now))
    }

    /// The leases, for status displays and properties.
    pub fn leases(&self) -> impl Iterator<Item = (CustodianId, &crate::lease::Held)> {
        self.model.iter().flat_map(|model| model.holder.leases())
    }
}

fn guard_answer(answer: DeviceAnswer) -> Result<GuardInput, Misuse> {
    Ok(match answer {
        DeviceAnswer::Zeroised => GuardInput::Zeroised,
        DeviceAnswer::Scrubbed => GuardInput::Scrubbed,
        DeviceAnswer::ScrubFailed => GuardInput::ScrubFailed,
        DeviceAnswer::Planted(incarnation) => GuardInput::Planted(incarnation),
        DeviceAnswer::PlantFailed => GuardInput::PlantFailed,
        _ => return Err(Misuse::WrongAnswer),
    })
}

impl Rebase for Device {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.out.rebase(by, floor);
        if let Some(model) = &mut self.model {
            model.custody.rebase(by, floor);
            model.holder.rebase(by, floor);
            if let Some((_, sent)) = &mut model.session {
                sent.rebase(by, floor);
            }
        }
    }
}
