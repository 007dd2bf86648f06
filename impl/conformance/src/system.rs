//! The implementation: the machines over real bytes, with the stores, keys and appraiser that ship.
//!
//! Chapters 20 to 80. One device and the custodians of a setup in one process, without sockets and
//! without waiting: clocks are numbers here, and a question is answered when the model says so.

use std::collections::BTreeMap;

use split_custody_attest::SoftwareAttester;
use split_custody_keys::{ByteSuite, Outage, Released};
use split_custody_model_check::symbolic::{Hardware, Principal};
use split_custody_model_check::world::{Reply, Setup};
use split_custody_protocol::effect::{
    CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, Output,
};
use split_custody_protocol::ids::{CustodianId, Ticket};
use split_custody_protocol::lease::Admission;
use split_custody_protocol::role::{
    Custodian, CustodianConfig, CustodianInput, Device, DeviceConfig, DeviceInput, Rejection,
};
use split_custody_protocol::suite::{Incarnation, SealedShare};
use split_custody_protocol::time::{Instant, Span};
use split_custody_protocol::transcript;
use split_custody_runtime::effects::{
    Appraiser, CommitOutcome, CommitStore, CustodyKeys, ReleaseOrder, SoftCustodian,
};
use split_custody_store::{Backup, Fault, MemoryDisk, MemoryStore};

use crate::divergence::Divergence;
use crate::keyring::Keyring;

/// The device's process and its hardware.
pub struct DeviceProcess {
    pub machine: Device,
    pub now: Instant,
    suite: ByteSuite,
    attester: SoftwareAttester,
    questions: BTreeMap<Ticket, DeviceEffect>,
    using: Option<Admission>,
}

/// A custodian's machine room: its disk outlives its process.
pub struct CustodianProcess {
    pub machine: Option<Custodian>,
    pub now: Instant,
    config: CustodianConfig,
    suite: ByteSuite,
    desk: Option<SoftCustodian>,
    outage: Outage,
    disk: MemoryDisk,
    backup: Option<Backup>,
    questions: BTreeMap<Ticket, CustodianEffect>,
}

/// What a machine did with an input.
pub struct Did<E> {
    pub rejection: Option<Rejection>,
    pub outputs: Vec<Output<E>>,
}

/// What a device is launched with.
pub(crate) fn device_config(setup: &Setup, ring: &Keyring) -> DeviceConfig {
    DeviceConfig {
        device: ring.device(Hardware::Enrolled, Hardware::Enrolled),
        owner: ring.public(Principal::Owner),
        ..setup.device_config()
    }
}

/// What a custodian is configured with.
pub(crate) fn custodian_config(setup: &Setup, ring: &Keyring, id: u8) -> CustodianConfig {
    CustodianConfig {
        id: CustodianId::new(id),
        owner: ring.public(Principal::Owner),
        grant_key: ring.public(Principal::Custodian(id)),
        kek: ring.custody(id).0.kek_public().digest(),
        ..setup.custodian_config(id)
    }
}

impl DeviceProcess {
    pub fn new(setup: &Setup, ring: &Keyring) -> Self {
        Self {
            machine: Device::new(device_config(setup, ring)),
            now: BEGIN,
            suite: ByteSuite::new(),
            attester: ring.attester(),
            questions: BTreeMap::new(),
            using: None,
        }
    }

    pub fn hear(&mut self, input: DeviceInput) -> Did<DeviceEffect> {
        let rejection = self.machine.handle(self.now, input, &mut self.suite).err();
        self.drained(rejection)
    }

    pub fn admit(&mut self) -> Did<DeviceEffect> {
        let admitted = self.machine.admit(self.now);
        let rejection = admitted.as_ref().err().copied().map(Rejection::from);
        self.using = admitted.ok();
        self.drained(rejection)
    }

    pub fn emit(&mut self) -> Result<Did<DeviceEffect>, Divergence> {
        let admission = self.using.take().ok_or_else(|| Divergence::new("no use is in flight"))?;
        let stopped = self.machine.release_output(self.now, &admission).err();
        Ok(self.drained(stopped.map(Rejection::from)))
    }

    fn drained(&mut self, rejection: Option<Rejection>) -> Did<DeviceEffect> {
        let outputs: Vec<_> = std::iter::from_fn(|| self.machine.poll_output()).collect();
        for output in &outputs {
            if let Output::Effect { ticket, effect } = output {
                self.questions.insert(*ticket, effect.clone());
            }
        }
        Did { rejection, outputs }
    }

    /// Does what was asked under this ticket, unless the model says that it fails.
    pub fn answer(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        ring: &Keyring,
    ) -> Result<DeviceAnswer, Divergence> {
        let effect = self.questions.remove(&ticket);
        let effect = effect.ok_or_else(|| Divergence::new("this was never asked"))?;
        Ok(match effect {
            DeviceEffect::Export { channel, context } => {
                DeviceAnswer::Exported(ring.exporter(channel.value(), context.as_bytes()))
            }
            DeviceEffect::CollectEvidence { .. } if reply != Reply::Done => {
                DeviceAnswer::EvidenceFailed
            }
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                let collected = self.attester.collect(&session, &gpu);
                collected.map_or(DeviceAnswer::EvidenceFailed, DeviceAnswer::EvidenceCollected)
            }
            DeviceEffect::Load { .. } if reply != Reply::Done => DeviceAnswer::LoadFailed,
            DeviceEffect::Load { dek } => {
                match self.suite.with_dek(dek, |key| key == ring.dek.expose()) {
                    Some(true) => DeviceAnswer::Loaded,
                    _ => DeviceAnswer::LoadFailed,
                }
            }
            DeviceEffect::Erase { secrets } => {
                self.suite.erase(&secrets);
                DeviceAnswer::Erased
            }
            DeviceEffect::Zeroise => {
                self.suite.erase_all();
                DeviceAnswer::Zeroised
            }
            DeviceEffect::Scrub if reply != Reply::Done => DeviceAnswer::ScrubFailed,
            DeviceEffect::Scrub => DeviceAnswer::Scrubbed,
            DeviceEffect::Plant => {
                let mark = split_custody_keys::Dek::generate();
                DeviceAnswer::Planted(Incarnation::new(*mark.expose()))
            }
        })
    }
}

impl CustodianProcess {
    pub fn new(setup: &Setup, ring: &Keyring, id: u8) -> Self {
        Self {
            machine: None,
            now: BEGIN,
            config: custodian_config(setup, ring, id),
            suite: ByteSuite::new(),
            desk: None,
            outage: Outage::default(),
            disk: MemoryDisk::default(),
            backup: None,
            questions: BTreeMap::new(),
        }
    }

    /// A new generation, from what the disk holds.
    pub fn begin(&mut self, ring: &Keyring) -> Result<(), Divergence> {
        let (custody, outage) = ring.custody(self.config.id.value());
        let failed = |error| Divergence::new(format!("the store does not boot: {error}"));
        let store = MemoryStore::open(&self.disk, "conformance").map_err(failed)?;
        let booted = SoftCustodian::boot(Box::new(store), custody).map_err(failed)?;
        self.machine = Some(Custodian::new(self.config.clone(), booted.recovered));
        (self.desk, self.outage) = (Some(booted.custodian), outage);
        self.suite = ByteSuite::new();
        Ok(())
    }

    pub fn kill(&mut self) {
        self.machine = None;
        self.desk = None;
        self.questions.clear();
    }

    pub fn back_up(&mut self) {
        self.backup = Some(self.disk.backup());
    }

    pub fn roll_back(&mut self) {
        if let Some(backup) = self.backup.clone() {
            self.disk.restore(backup);
        }
    }

    pub fn hear(&mut self, input: CustodianInput) -> Result<Did<CustodianEffect>, Divergence> {
        let machine = self.machine.as_mut();
        let machine = machine.ok_or_else(|| Divergence::new("this custodian does not run"))?;
        let rejection = machine.handle(self.now, input, &mut self.suite).err();
        let outputs: Vec<_> = std::iter::from_fn(|| machine.poll_output()).collect();
        for output in &outputs {
            if let Output::Effect { ticket, effect } = output {
                self.questions.insert(*ticket, effect.clone());
            }
        }
        Ok(Did { rejection, outputs })
    }

    /// Does what was asked under this ticket; `instead` is what a liar grants.
    pub fn answer(
        &mut self,
        ticket: Ticket,
        reply: Reply,
        instead: Option<SealedShare>,
        ring: &Keyring,
    ) -> Result<CustodianAnswer, Divergence> {
        let effect = self.questions.remove(&ticket);
        let effect = effect.ok_or_else(|| Divergence::new("this was never asked"))?;
        let desk = self.desk.as_ref();
        let desk = desk.ok_or_else(|| Divergence::new("this custodian does not run"))?;
        if reply == Reply::Failed {
            self.outage.begin();
        }
        let answer = match effect {
            CustodianEffect::Export { channel, context } => {
                CustodianAnswer::Exported(ring.exporter(channel.value(), context.as_bytes()))
            }
            CustodianEffect::Appraise { evidence } => desk
                .appraise(&evidence)
                .map_or(CustodianAnswer::Rejected, CustodianAnswer::Appraised),
            CustodianEffect::Commit(_) if reply == Reply::Failed => CustodianAnswer::Fenced,
            CustodianEffect::Commit(transaction) => {
                match reply {
                    Reply::UnknownWritten => self.disk.fail_next(Fault::AnswerLost),
                    Reply::UnknownLost => self.disk.fail_next(Fault::WriteLost),
                    Reply::Done | Reply::Failed => {}
                }
                let outcome = desk.commit(vec![(ticket, transaction)]).pop();
                outcome.unwrap_or(CommitOutcome::Unknown).into()
            }
            CustodianEffect::Reread { commit } => desk.reread(commit).into(),
            CustodianEffect::Release { set, index, suite, to, context, draft } => match instead {
                Some(sealed) => {
                    let message =
                        draft.message(&transcript::sealed(&mut ByteSuite::new(), &sealed));
                    desk.sign(&message).map_or(CustodianAnswer::HsmFailed, |signature| {
                        CustodianAnswer::Released { sealed, signature }
                    })
                }
                None => desk
                    .release(&ReleaseOrder { set, index, suite, to, context, draft })
                    .map_or(CustodianAnswer::HsmFailed, |Released { sealed, signature }| {
                        CustodianAnswer::Released { sealed, signature }
                    }),
            },
            CustodianEffect::Sign { message } => {
                desk.sign(&message).map_or(CustodianAnswer::HsmFailed, CustodianAnswer::Signed)
            }
            CustodianEffect::Anchor(anchor) => {
                let failed = |_| Divergence::new("the anchor does not move");
                desk.anchor(&anchor).map_err(failed)?;
                CustodianAnswer::Anchored
            }
            CustodianEffect::DestroyHandles => {
                let failed = |_| Divergence::new("handles are not destroyed");
                desk.destroy_handles().map_err(failed)?;
                CustodianAnswer::HandlesDestroyed
            }
        };
        self.outage.end();
        Ok(answer)
    }
}

/// Every process of a deployment.
pub struct System {
    pub device: DeviceProcess,
    pub custodians: BTreeMap<u8, CustodianProcess>,
}

impl System {
    pub fn new(setup: &Setup, ring: &Keyring) -> Self {
        let custodian = |id| (id, CustodianProcess::new(setup, ring, id));
        Self {
            device: DeviceProcess::new(setup, ring),
            custodians: (1..=setup.n).map(custodian).collect(),
        }
    }

    pub fn pass(&mut self, device: u64, custodians: u64) {
        self.device.now = self.device.now.after(Span::from_millis(device));
        for custodian in self.custodians.values_mut() {
            custodian.now = custodian.now.after(Span::from_millis(custodians));
        }
    }
}

/// What the model's clocks read; from here on these go on by themselves.
const BEGIN: Instant = Instant::from_millis(40);
