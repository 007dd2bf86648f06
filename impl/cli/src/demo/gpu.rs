//! The GPU of a demo: whether there is one, and, where it is the fake one, what lies in its memory.

use split_custody_gpu::scan::{Needle, ScanReport, scan_process};

#[cfg(feature = "cuda")]
use std::time::{Duration, Instant};

use super::report::Report;
use super::stage::Stage;
#[cfg(feature = "cuda")]
use super::stage::wait_until;
#[cfg(feature = "cuda")]
use crate::args::GpuArg;
#[cfg(feature = "cuda")]
use crate::control::DeviceAsk;
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

/// Every call of the driver by which foreign code in the device's process could read: each trips,
/// yields nothing, and leaves zeros. [RST-2] [RST-3]
#[cfg(feature = "cuda")]
pub fn attempts(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    use split_custody_gpu::cuda::probe::CALLS;
    if stage.args.gpu != GpuArg::Cuda {
        return Ok(());
    }
    report.begin("read calls");
    let (start, mut refused, mut zeros, mut slowest) = (Instant::now(), 0, 0, 0);
    for call in CALLS {
        clean(stage)?;
        let said = stage.ask(&DeviceAsk::Attempt { call: call.into() })?;
        if said["interposed"] != true {
            report.say("           not checked: no interposer was found beside this program, so");
            report.say("           calls of foreign code are not seen (build the whole workspace)");
            return clean(stage);
        }
        if said["refused"] != true || said["tripped"] != true {
            return Err(Failure::Refused(format!("`{call}` was not refused: {said}")));
        }
        refused += 1;
        zeros += usize::from(said["scrubbed"] == true && said["failed"] == false);
        slowest = slowest.max(said["micros"].as_u64().unwrap_or(0));
    }
    clean(stage)?;
    let all = CALLS.len();
    report.timed("read calls", start.elapsed(), "every call that could read, made by foreign code");
    let trip = crate::screen::duration(std::time::Duration::from_micros(slowest));
    let detail =
        format!("{refused} of {all} refused before the driver; the slowest trip took {trip}");
    report.check(
        "read-calls-refused",
        "every call that reads trips and yields nothing",
        refused == all,
        detail,
    );
    let detail = format!("{zeros} of {all} trips saw every byte of device memory as zero");
    report.check("read-calls-zero", "every trip leaves zeros", zeros == all, detail);
    stage.load()?;
    super::release::equal(
        stage,
        report,
        "tensors-equal-after",
        "released afresh, every tensor equals the source",
    )
}

#[cfg(not(feature = "cuda"))]
pub fn attempts(_: &mut Stage<'_>, _: &mut Report) -> Result<(), Failure> {
    Ok(())
}

/// Waits for the next clean life.
#[cfg(feature = "cuda")]
fn clean(stage: &Stage<'_>) -> Result<(), Failure> {
    wait_until("the device is clean again", Duration::from_secs(30), || {
        let status = stage.status()?;
        Ok(status["guard"] == "Clean" && status["incarnation"].is_string())
    })
}

/// The process that is the fake GPU of the device; `None` with real hardware.
pub fn fake(stage: &Stage<'_>) -> Option<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", stage.device.pid())).ok()?;
    let children =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("children")).ok());
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

/// The interposer beside this program, where the whole workspace was built.
pub fn interposer() -> Option<std::path::PathBuf> {
    let program = std::env::current_exe().ok()?;
    let library = program.parent()?.join("libsplit_custody_interposer.so");
    library.exists().then_some(library)
}
