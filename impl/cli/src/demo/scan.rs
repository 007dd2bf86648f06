//! The owner, who knows every secret, looks for them in the memory of the others.

use std::time::Instant;

use split_custody_gpu::scan::{Needle, ScanReport, scan_process};
use split_custody_keys::{ByteSuite, SoftCustody, provision_context};
use split_custody_protocol::Suite;
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::{Digest, SuiteId};
use split_custody_protocol::wire::standing::{Provision, ProvisionStatement};
use zeroize::Zeroizing;

use super::gpu;
use super::process::Process;
use super::report::Report;
use super::stage::Stage;
use crate::args::GpuArg;
use crate::failure::Failure;
use crate::screen;

pub fn memory(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("scan");
    let start = Instant::now();
    let secrets = Secrets::of(stage)?;
    let mut scanned = node(stage, &secrets, report)?;
    scanned += custodians(stage, &secrets, report)?;
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
    fn of(stage: &Stage<'_>) -> Result<Self, Failure> {
        let shares = stage.sealed.provisions.iter().map(|(id, provision)| {
            let custody = SoftCustody::load(&stage.household.custodian(id.value()).0)?;
            Ok((*id, share(&custody, provision, stage.sealed.manifest.digest())?))
        });
        Ok(Self { shares: shares.collect::<Result<_, Failure>>()? })
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

/// A share in clear, as the owner can have it: a single one combines to itself.
fn share(
    custody: &SoftCustody,
    provision: &Provision,
    manifest: &Digest,
) -> Result<Zeroizing<[u8; 32]>, Failure> {
    let said: ProvisionStatement = provision.statement.payload()?;
    let sealed_under =
        provision_context(manifest, &said.set, said.custodian, said.index, &said.kek);
    let (mut suite, id) = (ByteSuite::new(), SuiteId::HPKE_X25519);
    let (secret, public) = suite.generate(id, 0);
    let context = Digest::new([0; 32]);
    let sealed = custody.rewrap(&provision.sealed, &sealed_under, id, &public, &context)?;
    let closed = || Failure::refused("a share of the owner's own dealing does not open");
    let opened = suite.open_share(id, secret, &context, &sealed).map_err(|_| closed())?;
    let alone = suite.combine(&[(said.index, opened)]).map_err(|_| closed())?;
    suite.with_dek(alone, |share| Zeroizing::new(*share)).ok_or_else(closed)
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
    for custodian in stage.alive() {
        let mut needles = secrets.needles(stage, Some(custodian.id));
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
    report.check("shares-apart", "no custodian holds another custodian's share", pass, detail);
    let seen = reports.iter().filter(|r| r.findings.iter().any(|f| f.needle == CANARY)).count();
    let detail =
        format!("the manifest's root, which is public, was found in {seen} of {}", reports.len());
    report.check("scan-sees", "the scan finds what is there", seen == reports.len(), detail);
    Ok(reports.iter().map(|r| r.scanned).sum())
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
    let found = gpu::look(pid, &Secrets::of(stage)?.needles(stage, None))?;
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
    if let Some(dull) = needles.iter().find(|needle| needle.windows() == 0) {
        return Err(Failure::Refused(format!("{}: too dull to look for", dull.name())));
    }
    scan_process(process.pid(), needles)
        .map_err(|e| Failure::Refused(format!("{} was not scanned: {e}", process.name())))
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
