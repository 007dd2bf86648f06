//! A host that tries to read device memory over the bus.

use std::time::{Duration, Instant};

use split_custody_gpu::sim::{Answer, HostPort};

use super::outage::released;
use super::release::equal;
use super::report::Report;
use super::scan;
use super::stage::{Stage, wait_until};
use super::uses::{self, Background};
use crate::args::HostReadArg;
use crate::failure::{Failure, io_at};
use crate::layout::short;

pub fn host_read(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("host read");
    let before = incarnation(stage)?;
    match stage.args.on_host_read {
        HostReadArg::Block => blocked(stage, report, &before),
        HostReadArg::Reset => reset(stage, report, &before),
    }
}

/// The read yields nothing, and nothing else happens. [RST-8]
fn blocked(stage: &mut Stage<'_>, report: &mut Report, before: &str) -> Result<(), Failure> {
    let (background, start) = (Background::begin(stage)?, Instant::now());
    let refused = reads(stage)?;
    std::thread::sleep(Duration::from_millis(300));
    let seen = background.end();
    report.timed("host read", start.elapsed(), "the host asks for device memory; blocked");
    check_refused(report, refused);
    let same = incarnation(stage)? == before;
    let detail = format!("{} requests served around it, {} refused", seen.good, seen.refused);
    let pass = same && seen.good > 0 && seen.refused + seen.wrong == 0;
    report.check("host-read-harmless", "nothing else happens, and use goes on", pass, detail);
    equal(stage, report, "tensors-still-equal", "every tensor is still the owner's after the reads")
}

/// The read wipes the device, which must prove itself afresh. [RST-2] [RST-4]
fn reset(stage: &mut Stage<'_>, report: &mut Report, before: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let refused = reads(stage)?;
    let mut after = String::new();
    wait_until("the device is clean again", Duration::from_secs(30), || {
        let status = stage.status()?;
        after = status["incarnation"].as_str().unwrap_or_default().to_owned();
        Ok(status["guard"] == "Clean" && !after.is_empty() && after != before)
    })?;
    report.timed(
        "host read",
        start.elapsed(),
        "the host asks for device memory; keys die, memory is scrubbed",
    );
    check_refused(report, refused);
    scan::gpu_is_wiped(stage, report)?;
    let status = stage.status()?;
    let wiped = status["custody"] == "Idle" && status["counting"] == 0;
    let detail =
        format!("from {} to {}; no lease counts, no model is held", name(before), name(&after));
    report.check(
        "host-read-resets",
        "a new incarnation begins, and the model is gone",
        wiped,
        detail,
    );
    let used = uses::once(stage);
    report.refused(
        "old-leases-useless",
        "the leases of the old incarnation admit nothing",
        used,
        "",
    );
    let loaded = report.stage("re-attest", || {
        Ok((stage.load()?, "fresh evidence of the new incarnation; released and loaded".into()))
    })?;
    report.check(
        "re-attested",
        "attested afresh, the device is released the key again",
        loaded.is_object(),
        released(&loaded),
    );
    equal(stage, report, "tensors-equal-again", "every tensor equals the source again")?;
    let served = uses::once(stage)?;
    report.check("serves-again", "requests are served again", served, "");
    Ok(())
}

/// Tries several places; gives how many reads were made and how many refused.
fn reads(stage: &Stage<'_>) -> Result<(usize, usize), Failure> {
    let path = stage.household.device(1).path("bus.sock");
    let mut port = HostPort::connect(&path).map_err(|e| io_at(&path, "reach the bus", &e))?;
    let places = [0, 4096, stage.source.len() / 2, u64::MAX];
    let mut refused = 0;
    for place in places {
        let answer = port.read(place, 4096).map_err(|e| io_at(&path, "read over the bus", &e))?;
        refused += usize::from(answer == Answer::Refused);
    }
    Ok((places.len(), refused))
}

fn check_refused(report: &mut Report, (made, refused): (usize, usize)) {
    let detail = format!("{refused} of {made} reads refused; an answer has no room for memory");
    report.check("host-read-refused", "a host read yields nothing", refused == made, detail);
}

fn incarnation(stage: &Stage<'_>) -> Result<String, Failure> {
    let status = stage.status()?;
    status["incarnation"]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::refused("the device has no incarnation"))
}

fn name(incarnation: &str) -> String {
    crate::files::unhex::<32>(incarnation).map_or_else(|_| "none".into(), |bytes| short(&bytes))
}
