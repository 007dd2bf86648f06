//! Where reports come from: the driver, or a recording.
//!
//! A collector gives what a GPU said; it judges nothing. The one that asks the driver is behind the
//! feature `nvml`; it loads the driver's library when it runs, so a build needs neither.

use split_custody_protocol::suite::Digest;

use super::evidence::GpuHalf;

/// Gives reports and chains of every GPU over one nonce.
pub trait Collector {
    fn collect(&self, nonce: &Digest) -> Result<GpuHalf, CollectorError>;
}

/// No report could be had.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CollectorError {
    #[error("the driver's library is not there: {0}")]
    NoLibrary(String),
    #[error("there is no GPU")]
    NoDevice,
    #[error("GPU {gpu}: the driver gave no report: {said}")]
    Driver { gpu: u32, said: String },
    #[error("GPU {gpu}: the driver gave more or less than it may")]
    Malformed { gpu: u32 },
}

/// Gives what was recorded, whatever is asked: an appraiser has to notice.
#[derive(Clone, Debug)]
pub struct Replay(pub GpuHalf);

impl Collector for Replay {
    fn collect(&self, _: &Digest) -> Result<GpuHalf, CollectorError> {
        Ok(self.0.clone())
    }
}

#[cfg(feature = "nvml")]
pub use nvml::Nvml;

#[cfg(feature = "nvml")]
mod nvml {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nvml_wrapper::error::NvmlError;
    use split_custody_protocol::suite::{Bytes, Digest};
    use split_custody_protocol::wire::codec::List;

    use super::{Collector, CollectorError};
    use crate::nvidia::{GpuEvidence, GpuHalf};

    /// The driver of this machine.
    #[derive(Debug)]
    pub struct Nvml(nvml_wrapper::Nvml);

    impl Nvml {
        /// Loads the driver's library.
        pub fn load() -> Result<Self, CollectorError> {
            nvml_wrapper::Nvml::init()
                .map(Self)
                .map_err(|error| CollectorError::NoLibrary(error.to_string()))
        }

        fn one(&self, gpu: u32, nonce: &Digest) -> Result<GpuEvidence, CollectorError> {
            let failed = |error: NvmlError| CollectorError::Driver { gpu, said: error.to_string() };
            let device = self.0.device_by_index(gpu).map_err(failed)?;
            // The wrapper slices by a length of the driver's; one beyond the buffer panics there.
            let asked = catch_unwind(AssertUnwindSafe(|| {
                let report =
                    device.confidential_compute_gpu_attestation_report(*nonce.as_bytes())?;
                Ok::<_, NvmlError>((report, device.confidential_compute_gpu_certificate()?))
            }));
            let (report, certificate) =
                asked.map_err(|_| CollectorError::Malformed { gpu })?.map_err(failed)?;
            let report = Bytes::new(report.attestation_report);
            let chain = Bytes::new(certificate.attestation_cert_chain);
            let (Some(report), Some(chain)) = (report, chain) else {
                return Err(CollectorError::Malformed { gpu });
            };
            Ok(GpuEvidence { report, chain })
        }
    }

    impl Collector for Nvml {
        fn collect(&self, nonce: &Digest) -> Result<GpuHalf, CollectorError> {
            let count = self
                .0
                .device_count()
                .map_err(|error| CollectorError::Driver { gpu: 0, said: error.to_string() })?;
            let gpus = (0..count).map(|gpu| self.one(gpu, nonce)).collect::<Result<_, _>>()?;
            let gpus = List::new(gpus).ok_or(CollectorError::NoDevice)?;
            Ok(GpuHalf { gpus })
        }
    }
}
