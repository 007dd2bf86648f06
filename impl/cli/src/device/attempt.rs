//! One call of the driver upon guarded memory, made as foreign code in this process would make it.

use serde_json::Value;

use super::accelerator::Accelerator;
use crate::failure::Failure;

/// Tries it, and says how it went. The trip tells the machine by itself.
#[cfg(feature = "cuda")]
pub async fn run(device: Accelerator, call: String) -> Result<Value, Failure> {
    let Accelerator::Cuda(device) = device else {
        return Err(Failure::refused("a simulated device has no driver to call"));
    };
    let before = device.last_trip().map(|trip| trip.reason);
    let tried = tokio::task::spawn_blocking({
        let device = device.clone();
        move || device.danger_attempt(&call)
    });
    let tried = tried.await??;
    let trip = device.last_trip().ok_or_else(|| Failure::refused("nothing tripped"))?;
    let micros = u64::try_from(trip.took.as_micros()).unwrap_or(u64::MAX);
    Ok(serde_json::json!({
        "refused": tried.is_refused(), "result": tried.result, "yielded": tried.yielded,
        "tripped": before != Some(trip.reason.clone()), "reason": trip.reason.to_string(),
        "scrubbed": trip.scrubbed, "failed": trip.failed(), "micros": micros,
        "interposed": device.is_interposed(),
    }))
}

#[cfg(not(feature = "cuda"))]
pub async fn run(_: Accelerator, _: String) -> Result<Value, Failure> {
    Err(Failure::refused("a simulated device has no driver to call"))
}
