//! The attester of `software` Evidence.

use split_custody_keys::{KeyError, SigningKey, hash_label};
use split_custody_protocol::suite::{Bytes, DeviceId, Digest, Label};
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::{ObjectKind, encode};

use crate::measure::Measurements;
use crate::software::{CpuReport, GpuReport, device_id, platform_id};

/// Measured code with its two identity keys.
///
/// It signs what it computes from a session and nothing else: there is no way in for report data
/// that a caller chose, since a key that signs chosen data lets a host relay sessions. [HS-12]
#[derive(Debug)]
pub struct SoftwareAttester {
    gpu: SigningKey,
    platform: SigningKey,
    measurements: Measurements,
    mode: u8,
}

/// Evidence could not be made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectError {
    #[error("the GPU nonce is not the one of this session [HS-11]")]
    NonceOfAnotherSession,
    #[error("a report was not signed")]
    Key(#[from] KeyError),
}

impl SoftwareAttester {
    pub const fn new(
        gpu: SigningKey,
        platform: SigningKey,
        measurements: Measurements,
        mode: u8,
    ) -> Self {
        Self { gpu, platform, measurements, mode }
    }

    /// The id under which the owner enrols this device.
    pub fn device_id(&self) -> DeviceId {
        device_id(&self.gpu.public(), &self.platform.public())
    }

    /// Evidence over one session of this device's own channels and keys.
    ///
    /// `gpu` is what the caller takes for `H("gpu", S)`; another value is an error, not signed.
    pub fn collect(&self, session: &Digest, gpu: &Digest) -> Result<Evidence, CollectError> {
        let nonce = hash_label(Label::Gpu, &[session.as_bytes()]);
        if nonce != *gpu {
            return Err(CollectError::NonceOfAnotherSession);
        }
        let gpu = self.gpu_half(nonce)?;
        let cpu = self.cpu_half(session, &gpu)?;
        // INVARIANT: a half is a few hundred bytes, far below its cap.
        let gpu = Bytes::new(gpu).expect("a GPU half is within its cap");
        let cpu = Bytes::new(cpu).expect("a CPU half is within its cap");
        Ok(Evidence { kind: EvidenceKind::SOFTWARE, gpu, cpu })
    }

    fn gpu_half(&self, nonce: Digest) -> Result<Vec<u8>, KeyError> {
        let report = GpuReport {
            nonce,
            measurement: self.measurements.gpu,
            mode: self.mode,
            key: self.gpu.public(),
        };
        Ok(encode(&self.gpu.sign_object(ObjectKind::SoftwareGpu, &report)?))
    }

    fn cpu_half(&self, session: &Digest, gpu: &[u8]) -> Result<Vec<u8>, KeyError> {
        let evidence = hash_label(Label::Evidence, &[gpu]);
        let report = CpuReport {
            data: hash_label(Label::Cpu, &[session.as_bytes(), evidence.as_bytes()]),
            measurement: self.measurements.cpu,
            platform: platform_id(&self.platform.public()),
            key: self.platform.public(),
        };
        Ok(encode(&self.platform.sign_object(ObjectKind::SoftwareCpu, &report)?))
    }
}
