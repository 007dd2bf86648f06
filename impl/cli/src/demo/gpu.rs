//! The GPU of a demo: whether there is one, and, where it is the fake one, what lies in its memory.

use split_custody_gpu::scan::{Needle, ScanReport, scan_process};

use super::stage::Stage;
use crate::failure::Failure;

/// Asks for the driver before anything is made; exit code 3 where there is none.
#[cfg(feature = "cuda")]
pub fn is_there() -> Result<(), Failure> {
    use split_custody_gpu::GpuError;
    use split_custody_gpu::cuda::CudaDevice;
    match CudaDevice::probe() {
        Ok(_) => Ok(()),
        Err(GpuError::NoDevice(why)) => Err(Failure::Missing(format!("--gpu cuda: {why}"))),
        Err(error) => Err(Failure::from(error).within("--gpu cuda")),
    }
}

#[cfg(not(feature = "cuda"))]
pub fn is_there() -> Result<(), Failure> {
    Err(Failure::Missing("--gpu cuda: CUDA devices are not in this build; use --gpu sim".into()))
}

/// The process that is the fake GPU of the device; `None` with real hardware.
pub fn fake(stage: &Stage<'_>) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", stage.device.pid())).ok()?;
    let children = tasks.filter_map(|task| {
        std::fs::read_to_string(task.ok()?.path().join("children")).ok()
    });
    let pids: Vec<u32> = children
        .flat_map(|line| line.split_whitespace().map(str::parse).collect::<Vec<_>>())
        .filter_map(Result::ok)
        .collect();
    pids.into_iter().find(|pid| {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "fake-gpu"
    })
}

/// What of these lies in the fake GPU's memory.
pub fn look(pid: u32, needles: &[Needle]) -> Result<ScanReport, Failure> {
    scan_process(pid, needles)
        .map_err(|error| Failure::Refused(format!("the fake GPU was not scanned: {error}")))
}
