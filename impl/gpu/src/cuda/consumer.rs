//! Device pointers for a consumer in this process, under a lease and for as long as a closure runs.
//!
//! Chapters 50 and 70. A pointer is lent only while the lease rule holds [LEA-2], and the gate counts
//! it as a use: a trip waits for it, and if it does not end, ends the context under it. Outputs belong
//! into memory of the consumer's own, which is not guarded. Kernels of the consumer can copy weights
//! into such memory: only measured code may run here. `docs/gpu.md` says what that means.

use std::fmt;
use std::sync::Arc;

use split_custody_kernels::resident::{Gate, Secret};

use crate::backend::TensorInfo;
use crate::cuda::device::CudaDevice;
use crate::cuda::life::{Inner, lock};
use crate::error::GpuError;

/// A tensor, lent.
#[derive(Clone, Copy, Debug)]
pub struct Borrowed<'a> {
    /// Its place in device memory.
    pub address: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its dtype, as in the file.
    pub dtype: &'a str,
    /// Its shape.
    pub shape: &'a [u64],
}

/// A tensor lent for longer than a call: to C code. Taken back when dropped.
pub struct Loan {
    device: Arc<Inner>,
    place: Secret,
    tensor: TensorInfo,
}

impl Loan {
    /// Its place in device memory.
    pub fn address(&self) -> u64 {
        self.place.danger_address()
    }

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        self.place.bytes() as u64
    }

    /// Its dtype, as in the file.
    pub fn dtype(&self) -> &str {
        &self.tensor.dtype
    }

    /// Its shape.
    pub fn shape(&self) -> &[u64] {
        &self.tensor.shape
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.device.gate.end();
    }
}

/// Why a tensor was not lent.
#[derive(Debug)]
#[non_exhaustive]
pub enum NotLent {
    /// Fewer leases count than must. [LEA-2]
    NoLease,
    /// The device has nothing to lend.
    Device(GpuError),
}

impl fmt::Display for NotLent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLease => f.write_str("no lease admits this use"),
            Self::Device(error) => f.write_str(&crate::error::chain(error)),
        }
    }
}

impl std::error::Error for NotLent {}

impl CudaDevice {
    /// Says who decides whether a use is admitted. Until this is called nothing is lent. [LEA-2]
    pub fn lease(&self, admits: impl Fn() -> bool + Send + 'static) {
        *lock(&self.0.lease) = Box::new(admits);
    }

    /// Lends a tensor to `use_it`. The address is void when that returns. It must wait for its own
    /// kernels, and must not call this device. [LEA-2] [RST-5]
    pub fn lend<T>(
        &self,
        tensor: &str,
        use_it: impl FnOnce(Borrowed<'_>) -> T,
    ) -> Result<T, NotLent> {
        let admitted = (lock(&self.0.lease))();
        if !admitted {
            return Err(NotLent::NoLease); // [LEA-2]
        }
        let permit = self.0.gate.enter().ok_or(NotLent::Device(GpuError::Tainted))?; // [RST-1]
        let (place, info) = self.place(tensor).map_err(NotLent::Device)?;
        let borrowed = Borrowed {
            address: place.danger_address(),
            bytes: place.bytes() as u64,
            dtype: &info.dtype,
            shape: &info.shape,
        };
        let done = use_it(borrowed);
        drop(permit);
        // Output leaves only while leases count; the caller asks for that. [LEA-3]
        Ok(done)
    }

    /// Lends a tensor until the loan is dropped. [LEA-2] [RST-5]
    pub fn borrow_tensor(&self, tensor: &str) -> Result<Loan, NotLent> {
        if !(lock(&self.0.lease))() {
            return Err(NotLent::NoLease); // [LEA-2]
        }
        let permit = self.0.gate.enter().ok_or(NotLent::Device(GpuError::Tainted))?; // [RST-1]
        let (place, tensor) = self.place(tensor).map_err(NotLent::Device)?;
        // From here on the loan counts.
        Gate::detach(permit);
        Ok(Loan { device: self.0.clone(), place, tensor })
    }

    fn place(&self, tensor: &str) -> Result<(Secret, TensorInfo), GpuError> {
        let mut hold = lock(&self.0.hold);
        let hold = hold.as_mut().ok_or(GpuError::Tainted)?;
        let mark = self.0.mark()?;
        hold.check_mark(&mark)?; // [RST-5]
        let weights = hold.weights.as_ref().ok_or(GpuError::NoModel)?;
        let region = weights.find(tensor)?;
        Ok((weights.place(region)?, region.tensor.clone()))
    }
}
