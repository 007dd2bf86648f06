//! What a device does when its machine asks: evidence, loading, erasing, the order of reset.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use split_custody_attest::SoftwareAttester;
use split_custody_gpu::KeySlot;
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Secrets};
use split_custody_protocol::suite::{DekHandle, Incarnation};
use split_custody_runtime::effects::{Cancel, DeviceBackend};
use split_custody_weights::SealedTable;

use super::accelerator::Accelerator;
use super::suite::SharedSuite;
use crate::control::Answer;
use crate::failure::chain;

/// A load that was asked for: what the machine's `Load` shall open.
#[derive(Clone)]
pub struct Wanted {
    pub sealed: PathBuf,
    pub table: SealedTable,
    pub answer: Answer,
}

/// What the control socket and the backend tell each other.
#[derive(Clone, Default)]
pub struct Desk(Arc<Mutex<DeskState>>);

#[derive(Default)]
struct DeskState {
    wanted: Option<Wanted>,
    /// Why the last load failed.
    failed: Option<String>,
    marks: Marks,
}

/// When the steps of the last acquisition happened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Marks {
    pub gathered: Option<Instant>,
    pub attested: Option<Instant>,
    pub released: Option<Instant>,
    pub loaded: Option<Instant>,
}

impl Desk {
    pub fn want(&self, wanted: Wanted) {
        self.with(|state| *state = DeskState { wanted: Some(wanted), ..DeskState::default() });
    }

    pub fn failed(&self) -> Option<String> {
        self.with(|state| state.failed.clone())
    }

    pub fn marks(&self) -> Marks {
        self.with(|state| state.marks)
    }

    fn mark(&self, set: impl FnOnce(&mut Marks, Option<Instant>)) {
        self.with(|state| set(&mut state.marks, Some(Instant::now())));
    }

    fn with<T>(&self, f: impl FnOnce(&mut DeskState) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The accelerator and its measured code.
pub struct Backend {
    pub device: Accelerator,
    pub suite: SharedSuite,
    pub attester: SoftwareAttester,
    pub desk: Desk,
    /// Where each DEK lies in device memory.
    pub slots: BTreeMap<DekHandle, KeySlot>,
}

impl DeviceBackend for Backend {
    fn execute(&mut self, effect: DeviceEffect, cancel: &Cancel) -> DeviceAnswer {
        match effect {
            // INVARIANT: exports are answered by the driver; one that comes here has failed.
            DeviceEffect::Export { .. } => DeviceAnswer::ExportFailed,
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                self.desk.mark(|marks, now| marks.gathered = now);
                let collected = self.attester.collect(&session, &gpu);
                self.desk.mark(|marks, now| marks.attested = now);
                collected.map_or(DeviceAnswer::EvidenceFailed, DeviceAnswer::EvidenceCollected)
            }
            DeviceEffect::Load { dek } => self.load(dek, cancel),
            DeviceEffect::Erase { secrets } => self.erase(&secrets),
            DeviceEffect::Zeroise => self.zeroise(),
            DeviceEffect::Scrub => match self.device.gpu().scrub() {
                Ok(_) => DeviceAnswer::Scrubbed,
                Err(_) => DeviceAnswer::ScrubFailed,
            },
            DeviceEffect::Plant => match self.device.gpu().plant() {
                Ok(planted) => DeviceAnswer::Planted(Incarnation::new(planted.0)),
                Err(_) => DeviceAnswer::PlantFailed,
            },
        }
    }
}

impl Backend {
    fn load(&mut self, dek: DekHandle, cancel: &Cancel) -> DeviceAnswer {
        self.desk.mark(|marks, now| marks.released = now);
        let loaded = self.try_load(dek, cancel);
        self.desk.mark(|marks, now| marks.loaded = now);
        match loaded {
            Ok(()) => DeviceAnswer::Loaded,
            Err(why) => {
                self.desk.with(|state| state.failed = Some(why));
                DeviceAnswer::LoadFailed
            }
        }
    }

    fn try_load(&mut self, dek: DekHandle, cancel: &Cancel) -> Result<(), String> {
        let wanted = self.desk.with(|state| state.wanted.clone());
        let wanted = wanted.ok_or("nobody asked for a load")?;
        let stored = self.suite.dek_slot(dek, &self.device);
        let slot = stored.ok_or("the DEK was erased")?.map_err(|error| chain(&error))?;
        self.slots.insert(dek, slot);
        if cancel.is_set() {
            return Err("given up before it began".into());
        }
        let progress = |progress: split_custody_gpu::Progress| {
            wanted.answer.progress(progress.opened, progress.total);
        };
        let file = (wanted.sealed.as_path(), &wanted.table);
        let loaded = self.device.load(file, slot, cancel.flag(), &progress);
        loaded.map_err(|error| chain(&error))
    }

    fn erase(&mut self, secrets: &Secrets) -> DeviceAnswer {
        self.suite.erase(secrets);
        if let Some(dek) = secrets.dek {
            if let Some(slot) = self.slots.remove(&dek) {
                // A slot that is gone already is what was wanted.
                let _ = self.device.gpu().erase_key(slot);
            }
            if let Err(error) = self.device.gpu().erase_model() {
                panic!("device memory was not erased: {}", chain(&error));
            }
        }
        DeviceAnswer::Erased
    }

    fn zeroise(&mut self) -> DeviceAnswer {
        self.suite.erase_all();
        self.slots.clear();
        if let Err(error) = self.device.gpu().zeroise() {
            // No answer: the machine goes no further with keys that may still be there. [RST-3]
            panic!("device keys were not zeroised: {}", chain(&error));
        }
        DeviceAnswer::Zeroised
    }
}
