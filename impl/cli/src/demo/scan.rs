//! The owner, who knows every secret, looks for them in the memory of the others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use split_custody_gpu::scan::{Needle, ScanReport, scan_process};
use split_custody_keys::read_kek_public;
use split_custody_protocol::ids::CustodianId;
use zeroize::Zeroizing;

use super::gpu;
use super::process::Process;
use super::report::Report;
use super::stage::Stage;
use crate::args::GpuArg;
use crate::control::{CustodianAsk, DeviceAsk, ask};
use crate::failure::Failure;
use crate::screen;

pub fn memory(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("scan");
    let start = Instant::now();
    let secrets = Secrets::of(stage);
    let mut scanned = node(stage, &secrets, report)?;
    scanned += custodians(stage, &secrets, report)?;
    if stage.args.hsm != "soft" {
        scanned += during_releases(stage, &secrets, report)?;
    }
    scanned += device(stage, &secrets, report)?;
    scanned += on_gpu(stage, &secrets, report)?;
    let what = format!(
        "{} of memory of {} processes compared",
        screen::bytes(scanned),
        stage.alive().count() + 2
    );
    report.timed("scan", start.elapsed(), &what);
    Ok(())
}

/// What must not be found, and where it may.
struct Secrets {
    shares: Vec<(CustodianId, Zeroizing<[u8; 32]>)>,
}

impl Secrets {
    fn of(stage: &Stage<'_>) -> Self {
        Self { shares: stage.sealed.shares.clone() }
    }

    /// DEK, plaintext, and the share of every custodian but this one.
    fn needles(&self, stage: &Stage<'_>, own: Option<CustodianId>) -> Vec<Needle> {
        let mut needles = vec![
            Needle::new("DEK", stage.sealed.dek.expose()),
            Needle::new("plaintext", stage.source.data()),
        ];
        let others = self.shares.iter().filter(|(id, _)| Some(*id) != own);
        needles.extend(others.map(|(id, share)| Needle::new(format!("share {id}"), &share[..])));
        needles
    }
}

fn node(stage: &Stage<'_>, secrets: &Secrets, report: &mut Report) -> Result<u64, Failure> {
    let found = look(&stage.node, &secrets.needles(stage, None))?;
    let (pass, detail) = verdict(std::slice::from_ref(&found), None);
    report.check(
        "scan-node",
        "the node's memory holds no DEK, no plaintext, no share",
        pass,
        detail,
    );
    Ok(found.scanned)
}

fn custodians(stage: &Stage<'_>, secrets: &Secrets, report: &mut Report) -> Result<u64, Failure> {
    // Public, and in every custodian's memory: a scan that misses it sees nothing.
    let canary = || Needle::new(CANARY, stage.sealed.manifest.root.as_bytes());
    let mut reports = Vec::new();
    let in_tokens = stage.args.hsm != "soft";
    for custodian in stage.alive() {
        // A custodian whose share is in a token never has it in clear, not even its own. [HSM-4]
        let own = (!in_tokens).then_some(custodian.id);
        let mut needles = secrets.needles(stage, own);
        needles.push(canary());
        reports.push(look(&custodian.process, &needles)?);
    }
    let key_data = |name: &str| name == "DEK" || name == "plaintext";
    let (pass, detail) = verdict(&reports, Some(&key_data));
    report.check(
        "scan-custodians",
        "custodians' memory holds no DEK and no plaintext",
        pass,
        detail,
    );
    let shares = |name: &str| name.starts_with("share");
    let (pass, detail) = verdict(&reports, Some(&shares));
    let rule = match in_tokens {
        false => "no custodian holds another custodian's share",
        true => "no custodian's process holds any share, not even its own",
    };
    report.check("shares-apart", rule, pass, detail);
    if in_tokens {
        workers(stage, secrets, report)?;
    }
    let seen = reports.iter().filter(|r| r.findings.iter().any(|f| f.needle == CANARY)).count();
    let detail =
        format!("the manifest's root, which is public, was found in {seen} of {}", reports.len());
    report.check("scan-sees", "the scan finds what is there", seen == reports.len(), detail);
    Ok(reports.iter().map(|r| r.scanned).sum())
}

/// Looks through custodians and workers once more while they release without pause. [HSM-4]
fn during_releases(
    stage: &Stage<'_>,
    secrets: &Secrets,
    report: &mut Report,
) -> Result<u64, Failure> {
    let (control, model) = (stage.control(), stage.sealed_path.clone());
    let done = AtomicBool::new(false);
    let (reports, loads) = thread::scope(|scope| {
        let releases = scope.spawn(|| -> Result<usize, Failure> {
            let mut loads = 0;
            while loads == 0 || !done.load(Ordering::SeqCst) {
                ask(&control, &DeviceAsk::Release)?;
                ask(&control, &DeviceAsk::Load { model: model.clone() })?;
                loads += 1;
            }
            Ok(loads)
        });
        let looked = look_everywhere(stage, secrets);
        done.store(true, Ordering::SeqCst);
        let loads = releases.join().map_err(|_| Failure::refused("the releases panicked"))??;
        Ok::<_, Failure>((looked?, loads))
    })?;
    let (pass, detail) = verdict(&reports, None);
    let detail = format!("{detail}, amid {loads} releases");
    let rule = "nor does any of them while the key is released again and again";
    report.check("scan-during-release", rule, pass, detail);
    Ok(reports.iter().map(|r| r.scanned).sum())
}

fn look_everywhere(stage: &Stage<'_>, secrets: &Secrets) -> Result<Vec<ScanReport>, Failure> {
    let mut reports = Vec::new();
    for custodian in stage.alive() {
        reports.push(look(&custodian.process, &secrets.needles(stage, None))?);
        let needles = secrets.needles(stage, Some(custodian.id));
        reports.push(look_at(worker_of(stage, custodian.id)?, "an HSM worker", &needles)?);
    }
    Ok(reports)
}

fn worker_of(stage: &Stage<'_>, id: CustodianId) -> Result<u32, Failure> {
    let folder = stage.household.custodian(id.value());
    let answer = ask(&folder.path("control.sock"), &CustodianAsk::Worker)?;
    let pid = answer["worker"].as_u64().and_then(|pid| u32::try_from(pid).ok());
    pid.ok_or_else(|| Failure::refused("a custodian has no worker"))
}

/// The processes that hold the modules: each may have its own share, and nothing else. [HSM-4]
fn workers(stage: &Stage<'_>, secrets: &Secrets, report: &mut Report) -> Result<(), Failure> {
    let mut reports = Vec::new();
    for custodian in stage.alive() {
        let folder = stage.household.custodian(custodian.id.value());
        let pid = worker_of(stage, custodian.id)?;
        let mut needles = secrets.needles(stage, Some(custodian.id));
        let kek = read_kek_public(&folder.path("kek.pub.pem"))?;
        needles.push(Needle::new(CANARY, kek.as_bytes().get(1..).unwrap_or_default()));
        reports.push(look_at(pid, "an HSM worker", &needles)?);
    }
    let (pass, detail) = verdict(&reports, None);
    let seen = reports.iter().filter(|r| r.findings.iter().any(|f| f.needle == CANARY)).count();
    let pass = pass && seen == reports.len();
    let detail = format!("{detail}; its public KEK was found in {seen} of {}", reports.len());
    let rule = "no HSM worker holds the DEK, plaintext or another custodian's share";
    report.check("scan-workers", rule, pass, detail);
    Ok(())
}

/// The device's ordinary memory; its secret pages cannot be read, which is the point of them.
fn device(stage: &Stage<'_>, secrets: &Secrets, report: &mut Report) -> Result<u64, Failure> {
    let backing = stage.device.ready["backing"].as_str().unwrap_or_default();
    let on_gpu = stage.args.gpu == GpuArg::Cuda;
    if backing != "memfd_secret" && !on_gpu {
        report.say(&format!(
            "           not checked: device memory is {backing}, which a host can read"
        ));
        return Ok(0);
    }
    let found = match look(&stage.device, &secrets.needles(stage, None)) {
        Ok(found) => found,
        Err(failure) => {
            // Undumpable: without root the kernel gives nothing of it at all.
            let detail = format!("the kernel gave nothing of it: {}", failure.text());
            report.check(
                "scan-device",
                "a host finds no DEK and no plaintext in the device",
                true,
                detail,
            );
            return Ok(0);
        }
    };
    let (pass, detail) = verdict(std::slice::from_ref(&found), None);
    let detail = format!("{detail}; {} could not be read", screen::bytes(found.unreadable_bytes()));
    report.check("scan-device", "a host finds no DEK and no plaintext in the device", pass, detail);
    Ok(found.scanned)
}

/// The fake GPU's memory, where the weights are: a scan that misses them there sees nothing.
fn on_gpu(stage: &Stage<'_>, secrets: &Secrets, report: &mut Report) -> Result<u64, Failure> {
    let Some(pid) = gpu::fake(stage) else { return Ok(0) };
    let found = gpu::look(pid, &secrets.needles(stage, None))?;
    let has = |name: &str| found.findings.iter().any(|finding| finding.needle == name);
    let detail =
        format!("{} windows of plaintext in {}", found.found, screen::bytes(found.scanned));
    report.check(
        "scan-gpu",
        "plaintext lies in the GPU's memory, where the same scan finds it",
        has("plaintext"),
        detail,
    );
    Ok(found.scanned)
}

/// After a trip: nothing in the GPU's memory.
pub fn gpu_is_wiped(stage: &Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    let Some(pid) = gpu::fake(stage) else { return Ok(()) };
    let found = gpu::look(pid, &Secrets::of(stage).needles(stage, None))?;
    let (pass, detail) = verdict(std::slice::from_ref(&found), None);
    report.check(
        "gpu-wiped",
        "after the read the GPU's memory holds no key and no plaintext",
        pass,
        detail,
    );
    Ok(())
}

fn look(process: &Process, needles: &[Needle]) -> Result<ScanReport, Failure> {
    look_at(process.pid(), process.name(), needles)
}

fn look_at(pid: u32, name: &str, needles: &[Needle]) -> Result<ScanReport, Failure> {
    if let Some(dull) = needles.iter().find(|needle| needle.windows() == 0) {
        return Err(Failure::Refused(format!("{}: too dull to look for", dull.name())));
    }
    scan_process(pid, needles).map_err(|e| Failure::Refused(format!("{name} was not scanned: {e}")))
}

/// Whether nothing that counts was found, in words.
fn verdict(reports: &[ScanReport], counts: Option<&dyn Fn(&str) -> bool>) -> (bool, String) {
    let findings = reports.iter().flat_map(|r| r.findings.iter().map(move |f| (r.pid, f)));
    let first = findings
        .filter(|(_, f)| f.needle != CANARY && counts.is_none_or(|counts| counts(&f.needle)))
        .map(|(pid, f)| {
            format!("{} at {:#x} of process {pid} ({})", f.needle, f.address, f.region.path)
        })
        .next();
    match first {
        Some(found) => (false, format!("found {found}")),
        None => {
            let scanned: u64 = reports.iter().map(|r| r.scanned).sum();
            (true, format!("nothing in {}", screen::bytes(scanned)))
        }
    }
}

const CANARY: &str = "canary";
