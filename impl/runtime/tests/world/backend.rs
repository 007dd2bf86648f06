//! The device behind the driver of a test.

use split_custody_attest::SoftwareAttester;
use split_custody_keys::{ByteSuite, Dek};
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect};
use split_custody_protocol::suite::Incarnation;
use split_custody_runtime::effects::{Cancel, DeviceBackend};
use split_custody_runtime::suite::SharedSuite;

/// A device whose memory is its suite; it loads by comparing keys.
pub(super) struct Backend {
    pub(super) attester: SoftwareAttester,
    pub(super) suite: SharedSuite<ByteSuite>,
    pub(super) dek: Dek,
    pub(super) life: u8,
}

impl DeviceBackend for Backend {
    fn execute(&mut self, effect: DeviceEffect, _: &Cancel) -> DeviceAnswer {
        match effect {
            DeviceEffect::Export { .. } => DeviceAnswer::ExportFailed,
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                let collected = self.attester.collect(&session, &gpu);
                collected.map_or(DeviceAnswer::EvidenceFailed, DeviceAnswer::EvidenceCollected)
            }
            DeviceEffect::Load { dek } => {
                let is_ours = |key: &[u8; 32]| key == self.dek.expose();
                match self.suite.lend(|suite| suite.with_dek(dek, is_ours)) {
                    Some(true) => DeviceAnswer::Loaded,
                    _ => DeviceAnswer::LoadFailed,
                }
            }
            DeviceEffect::Erase { secrets } => {
                self.suite.lend(|suite| suite.erase(&secrets));
                DeviceAnswer::Erased
            }
            DeviceEffect::Zeroise => {
                self.suite.lend(ByteSuite::erase_all);
                DeviceAnswer::Zeroised
            }
            DeviceEffect::Scrub => DeviceAnswer::Scrubbed,
            DeviceEffect::Plant => {
                self.life += 1;
                DeviceAnswer::Planted(Incarnation::new([self.life; 32]))
            }
        }
    }
}
