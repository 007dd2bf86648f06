//! The appraiser: Evidence in, a verdict or one reason out.

use std::fmt;

use split_custody_keys::verify;
use split_custody_protocol::DecodeError;
use split_custody_protocol::effect::Verdict;
use split_custody_protocol::suite::VerifyKey;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::message::Wire;
use split_custody_protocol::wire::{ObjectKind, Signed, decode};

use crate::nvidia::Finding;
use crate::software::{CpuReport, GpuReport, device_id, platform_id};

/// Which half of the Evidence.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Half {
    Gpu,
    Cpu,
}

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gpu => "GPU half",
            Self::Cpu => "CPU half",
        })
    }
}

/// Why Evidence was rejected: one per rule, for the operator's log and never for the peer. [HS-21]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    #[error("no appraiser for Evidence of kind `{0}`")]
    KindUnknown(u16),
    #[error("{0}: not a signed report in its one encoding")]
    EnvelopeMalformed(Half, #[source] DecodeError),
    #[error("{0}: its payload is not a report in its one encoding")]
    ReportMalformed(Half, #[source] DecodeError),
    #[error("{0}: the signature does not verify under the key that it names")]
    SignatureInvalid(Half),
    #[error("the platform id is not that of the platform key")]
    PlatformIdDiffers,
    #[error("NVIDIA Evidence: {0}")]
    Nvidia(Finding),
}

impl RejectReason {
    /// A stable name for logs and counters.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KindUnknown(_) => "kind-unknown",
            Self::EnvelopeMalformed(Half::Gpu, _) => "gpu-envelope-malformed",
            Self::EnvelopeMalformed(Half::Cpu, _) => "cpu-envelope-malformed",
            Self::ReportMalformed(Half::Gpu, _) => "gpu-report-malformed",
            Self::ReportMalformed(Half::Cpu, _) => "cpu-report-malformed",
            Self::SignatureInvalid(Half::Gpu) => "gpu-signature-invalid",
            Self::SignatureInvalid(Half::Cpu) => "cpu-signature-invalid",
            Self::PlatformIdDiffers => "platform-id-differs",
            Self::Nvidia(finding) => finding.reason.code(),
        }
    }
}

/// Reads Evidence that needs neither policy nor clock; any failure of either half rejects. [HS-16]
///
/// NVIDIA Evidence needs both: see [`crate::nvidia::Appraiser`].
pub fn appraise(evidence: &Evidence) -> Result<Verdict, RejectReason> {
    match evidence.kind {
        EvidenceKind::SOFTWARE => appraise_software(evidence),
        kind => Err(RejectReason::KindUnknown(kind.value())),
    }
}

fn appraise_software(evidence: &Evidence) -> Result<Verdict, RejectReason> {
    let gpu: GpuReport =
        open(Half::Gpu, ObjectKind::SoftwareGpu, evidence.gpu.as_bytes(), |r: &GpuReport| r.key)?;
    let cpu: CpuReport =
        open(Half::Cpu, ObjectKind::SoftwareCpu, evidence.cpu.as_bytes(), |r: &CpuReport| r.key)?;
    // The key decides which platform speaks; the field only repeats it. [HS-13]
    if platform_id(&cpu.key) != cpu.platform {
        return Err(RejectReason::PlatformIdDiffers);
    }
    Ok(Verdict {
        report_nonce: gpu.nonce,
        report_data: cpu.data,
        device: device_id(&gpu.key, &cpu.key),
        measurements: vec![gpu.measurement, cpu.measurement],
        mode: gpu.mode,
    })
}

/// Decodes a half and verifies it over the bytes received, under the key that it names.
fn open<T: Wire>(
    half: Half,
    kind: ObjectKind,
    bytes: &[u8],
    key: impl Fn(&T) -> VerifyKey,
) -> Result<T, RejectReason> {
    let signed: Signed =
        decode(bytes, HALF_CAP).map_err(|error| RejectReason::EnvelopeMalformed(half, error))?;
    // The key must be read before it can verify; nothing else is taken from the report until then.
    let report: T = signed.payload().map_err(|error| RejectReason::ReportMalformed(half, error))?;
    verify(&key(&report), &signed.message(kind), signed.signature())
        .map_err(|_| RejectReason::SignatureInvalid(half))?;
    Ok(report)
}

/// No half of `software` Evidence is longer: the envelope around a payload within its own cap.
const HALF_CAP: usize = Signed::CAP + 128;
