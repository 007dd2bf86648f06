//! The accelerator of a device's process: simulated, or an NVIDIA GPU.

use std::path::Path;
use std::sync::atomic::AtomicBool;
#[cfg(feature = "cuda")]
use std::time::Duration;

#[cfg(feature = "cuda")]
use split_custody_gpu::cuda::{CudaConfig, CudaDevice};
use split_custody_gpu::sim::{Bus, SimConfig, SimDevice};
use split_custody_gpu::{Backing, GpuDevice, Incarnation, KeySlot, Load, OwnerKey, Progress};
use split_custody_weights::{SealedTable, Threads};

use crate::args::{DeviceArgs, GpuArg};
use crate::failure::Failure;

/// One of them. Clones are handles to the same.
#[derive(Clone)]
pub enum Accelerator {
    Sim(SimDevice),
    #[cfg(feature = "cuda")]
    Cuda(CudaDevice),
}

impl Accelerator {
    /// The one that was asked for; exit code 3 where there is none.
    pub fn open(args: &DeviceArgs, owner: OwnerKey) -> Result<Self, Failure> {
        let (reserve, limit) = (args.reserve_mb << 20, args.limit_mb << 20);
        match args.gpu {
            GpuArg::Sim => Ok(Self::Sim(SimDevice::new(SimConfig { reserve, limit, owner })?)),
            GpuArg::Cuda => cuda(&args.dir, owner, limit),
        }
    }

    /// What every accelerator does.
    pub fn gpu(&self) -> &dyn GpuDevice {
        match self {
            Self::Sim(device) => device,
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => device,
        }
    }

    pub fn incarnation(&self) -> Option<Incarnation> {
        match self {
            Self::Sim(device) => device.incarnation().ok(),
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => device.incarnation().ok(),
        }
    }

    /// What its memory is, in words.
    pub fn backing(&self) -> String {
        match self {
            Self::Sim(device) => match device.backing() {
                Backing::MemfdSecret => "memfd_secret".to_owned(),
                Backing::Anonymous { why } => format!("ordinary memory ({why})"),
            },
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => device.facts().map_or_else(
                || "of a GPU that is gone".to_owned(),
                |facts| format!("that of {} ({})", facts.name, facts.code),
            ),
        }
    }

    /// What a host reaches over the bus.
    pub fn bus(&self) -> Box<dyn Bus> {
        match self {
            Self::Sim(device) => Box::new(device.resettable()),
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => Box::new(device.clone()),
        }
    }

    /// What a read over the bus does at once; whether the machine has been told of it. [RST-2]
    pub fn host_read(&self) -> bool {
        match self {
            // Its memory cannot be read, so there is nothing to hurry for.
            Self::Sim(_) => false,
            #[cfg(feature = "cuda")]
            Self::Cuda(device) => {
                device.trip(split_custody_gpu::cuda::Reason::Read);
                true
            }
        }
    }

    /// Opens a sealed file, with a key that lies in device memory.
    pub fn load(
        &self,
        (sealed, table): (&Path, &SealedTable),
        dek: KeySlot,
        cancel: &AtomicBool,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(), split_custody_gpu::GpuError> {
        let threads = Threads::all();
        let load = Load { sealed, table, dek, threads, cancel, progress };
        self.gpu().load(&load).map(drop)
    }
}

/// Asks for the driver and opens the first GPU.
#[cfg(feature = "cuda")]
fn cuda(dir: &Path, owner: OwnerKey, limit: u64) -> Result<Accelerator, Failure> {
    let config = CudaConfig {
        limit,
        owner,
        journal: Some(dir.join("trip.journal")),
        deadline: Duration::from_secs(2),
    };
    let device = CudaDevice::open(config).map_err(|error| match error {
        split_custody_gpu::GpuError::NoDevice(why) => {
            Failure::Missing(format!("--gpu cuda: {why}"))
        }
        error => Failure::from(error).within("--gpu cuda"),
    })?;
    if let Some(left) = device.unfinished() {
        eprintln!(
            "device: an earlier life ended before its scrub ({left}); {} bytes of free device \
             memory were zeroed and verified",
            device.swept()
        );
    }
    Ok(Accelerator::Cuda(device))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &Path, _: OwnerKey, _: u64) -> Result<Accelerator, Failure> {
    Err(Failure::Missing("--gpu cuda: CUDA devices are not in this build; use --gpu sim".into()))
}
