//! Why a device operation did not happen.
//!
//! Chapter 70. [`GpuError::Tamper`] is the signal of [RST-2]; the others leave the incarnation as it
//! is. No variant carries a key, a mark or plaintext.

use std::io;

#[cfg(feature = "cuda")]
use split_custody_kernels::device::DeviceError;
#[cfg(feature = "cuda")]
use split_custody_kernels::operations::OperationError;
use split_custody_weights::WeightsError;

/// Why a device operation did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GpuError {
    /// The mark in device memory is not the expected one: somebody reset the device. [RST-2] [RST-5]
    #[error("mark in device memory differs from the expected one")]
    Tamper,
    /// No clean incarnation. [RST-1] [RST-5]
    #[error("device is tainted: it must be zeroised, scrubbed and planted first")]
    Tainted,
    /// Zeroise, scrub and plant came in another order. [RST-3]
    #[error("cannot {asked} now: {needed} comes first")]
    OutOfOrder {
        /// What was asked.
        asked: &'static str,
        /// What must come before.
        needed: &'static str,
    },
    /// Memory that should be zero is not. [RST-3]
    #[error("device memory is not zero at offset {offset}")]
    NotZero {
        /// The first byte that is not.
        offset: u64,
    },
    /// A model is loaded already.
    #[error("a model is already loaded")]
    Occupied,
    /// No model is loaded.
    #[error("no model is loaded")]
    NoModel,
    /// The loaded model has no such tensor.
    #[error("the loaded model has no tensor `{name}`")]
    NoSuchTensor {
        /// What was asked for.
        name: String,
    },
    /// A slice ends after its tensor, or before it begins.
    #[error("slice {start}..{end} is not within a tensor of {length} bytes")]
    OutOfRange {
        /// Where the slice begins.
        start: u64,
        /// Where it ends.
        end: u64,
        /// What the tensor has.
        length: u64,
    },
    /// The model does not fit.
    #[error("model needs {needed} bytes of device memory, the limit is {limit}")]
    OutOfMemory {
        /// What the model needs.
        needed: u64,
        /// What the device may use.
        limit: u64,
    },
    /// The system gave no memory.
    #[error("cannot map device memory")]
    Memory(#[source] io::Error),
    /// The sealed file did not open. Device memory is zero again. [SEAL-9]
    #[error("model was not loaded")]
    NotLoaded(#[source] WeightsError),
    /// The keys were erased while a load ran. Device memory is zero again. [RST-3]
    #[error("load was interrupted")]
    Interrupted,
    /// Every key slot is taken.
    #[error("no key slot is free")]
    SlotsFull,
    /// A key is empty or longer than a slot.
    #[error("key of {length} bytes does not fit a slot")]
    KeyLength {
        /// Its bytes.
        length: usize,
    },
    /// The slot was erased, or never held a key.
    #[error("key slot is erased")]
    NoSuchKey,
    /// A proof was asked for without the owner's signature over nonce and incarnation.
    #[error("nonce is not signed by the owner for this incarnation")]
    BadSignature,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
    /// There is no GPU to use here.
    #[cfg(feature = "cuda")]
    #[error("no device: {0}")]
    NoDevice(DeviceError),
    /// The environment would let others read device memory. [RST-12]
    #[cfg(feature = "cuda")]
    #[error("refused to open the device: {0}")]
    Refused(crate::cuda::Refused),
    /// The driver or the GPU did not do its work.
    #[cfg(feature = "cuda")]
    #[error("device failed")]
    Device(#[source] OperationError),
    /// A read of guarded memory was asked for. The device has tripped. [RST-2]
    #[error("device memory is not for reading: the device has tripped")]
    ReadDenied,
    /// A use did not end in time.
    #[error("a use of device memory did not end")]
    InUse,
    /// Memory is left that this process can neither erase nor give back: it has to end.
    #[error("device memory cannot be erased by this process: it has to end")]
    Stranded,
}

#[cfg(feature = "cuda")]
impl From<OperationError> for GpuError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::MarkMismatch => Self::Tamper, // [RST-2]
            error => Self::Device(error),
        }
    }
}

#[cfg(feature = "cuda")]
impl From<DeviceError> for GpuError {
    fn from(error: DeviceError) -> Self {
        Self::Device(error.into())
    }
}

/// An error and what caused it, outermost first.
#[cfg(feature = "cuda")]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
