//! The checks themselves, each a function of what earlier ones gave.

use std::collections::BTreeSet;
use std::sync::Arc;

use split_custody_keys::hash;
use split_custody_protocol::suite::Digest;
use subtle::ConstantTimeEq as _;

use super::UnixTime;
use super::chain::DeviceChain;
use super::compare::compare;
use super::log::{Log, Step, none_of};
use super::opaque::Mode;
use super::provider::{Form, Provider};
use super::reason::{Finding, Place, Reason};
use super::report::Report;
use super::rim::Rim;
use super::verifier::{Case, ExaminedGpu, MOST_GPUS, MOST_RIMS, Rules};

/// As many GPUs as the policy says, and no more than a machine has. [HS-28]
pub(super) fn size(case: &Case<'_>) -> Result<(), Reason> {
    let count = case.gpus.len();
    let wanted = case.rules.is_none_or(|rules| usize::from(rules.policy.policy().gpus) == count);
    if count == 0 || count > MOST_GPUS || !wanted {
        return Err(Reason::SetSize);
    }
    if case.rims.len() > MOST_RIMS { Err(Reason::RimTwice) } else { Ok(()) }
}

/// The policy is in force, and a fresh snapshot is there: absent is as bad as stale. [HS-27]
pub(super) fn rules(rules: Rules<'_>, at: UnixTime) -> Result<(), Reason> {
    rules.policy.check_time(at)?;
    let revocations = rules.revocations.ok_or(Reason::RevocationsAbsent)?;
    revocations.check(rules.policy, at)
}

pub(super) fn nonce(report: &Report<'_>, wanted: &Digest) -> Result<(), Reason> {
    let same = report.nonce().as_bytes().ct_eq(wanted.as_bytes());
    bool::from(same).then_some(()).ok_or(Reason::NonceDiffers)
}

/// Over request and response as received, by the key that the chain certifies. [HS-23]
pub(super) fn signature(
    report: &Report<'_>,
    chain: &DeviceChain,
    provider: Provider,
) -> Result<(), Reason> {
    provider
        .verify(Form::Fixed, chain.attestation_key(), report.signed(), report.signature())
        .map_err(|_| Reason::ReportSignature)
}

/// The attestation key was made for the firmware that reports. [HS-24]
pub(super) fn firmware(report: &Report<'_>, chain: &DeviceChain) -> Result<(), Reason> {
    match (report.opaque().fwid(), chain.fwid()) {
        (Some(reported), Some(certified)) if reported == certified => Ok(()),
        (Some(_), Some(_)) => Err(Reason::FwidDiffers),
        // Old drivers do not report it. Newer ones always do, so its absence hides something.
        (None, _) if is_before_fwid(report.opaque().driver()) => Ok(()),
        (None, _) | (Some(_), None) => Err(Reason::FwidAbsent),
    }
}

fn is_before_fwid(driver: &str) -> bool {
    let major = driver.split('.').next().and_then(|major| major.parse::<u32>().ok());
    major.is_some_and(|major| major < FIRST_WITH_FWID)
}

/// All fields name one mode, and it is admitted; without rules only a single GPU is. [HS-16]
pub(super) fn mode(report: &Report<'_>, rules: Option<Rules<'_>>) -> Result<(), Reason> {
    let mode = report.opaque().mode().ok_or(Reason::ModeContradictory)?;
    let admitted = rules.map_or(mode == Mode::Single, |rules| rules.policy.admits_mode(mode));
    admitted.then_some(()).ok_or(Reason::ModeNotAdmitted)
}

/// A verified RIM: in time, pinned, not revoked, and of one of these GPUs. [HS-25] [HS-27]
pub(super) fn rim(
    rim: &Rim,
    number: u8,
    at: UnixTime,
    rules: Option<Rules<'_>>,
    gpus: &[ExaminedGpu<'_>],
) -> Vec<Finding> {
    let place = Place::Rim(number);
    let mut findings: Vec<Finding> = rim.check_time(number, at).err().into_iter().collect();
    if let Some(rules) = rules {
        if !rules.policy.pins(rim.sha256()) {
            findings.push(Finding::at(Reason::RimNotPinned, place));
        }
        let revoked = rules.revocations.map(|revocations| revocations.among(rim.keys()));
        findings.extend(revoked.into_iter().flatten().map(|cert| {
            Finding::at(Reason::CertificateRevoked, Place::RimCertificate(number, cert))
        }));
    }
    let reports: Vec<_> = gpus.iter().filter_map(|gpu| gpu.report.as_ref()).collect();
    let of_one = reports.iter().any(|report| is_driver(rim, report) || is_vbios(rim, report));
    if !reports.is_empty() && !of_one {
        findings.push(Finding::at(Reason::RimForeign, place));
    }
    findings
}

/// Finds the GPU's two RIMs and compares every active index; gives the name of what it runs.
///
/// Where only one RIM is there, its indices are compared all the same, for people. [HS-26]
pub(super) fn measurements(
    gpu: &ExaminedGpu<'_>,
    rims: &[Option<Arc<Rim>>],
    log: &mut Log,
) -> Option<Digest> {
    let both = gpu.report.as_ref().zip(gpu.chain.as_deref());
    let [driver, vbios] = match both {
        Some((report, chain)) => references(report, chain, rims),
        None => [Err(Reason::DriverRimAbsent), Err(Reason::VbiosRimAbsent)],
    };
    log.after(Step::References, both, |_| {
        let absent = [driver, vbios].into_iter().filter_map(Result::err);
        none_of(absent.map(Finding::whole).collect())
    });
    let found = driver.ok().or(vbios.ok()).and(gpu.report.as_ref());
    log.after(Step::Measurements, found, |report| {
        none_of(compare(report, driver.ok(), vbios.ok()))
    })?;
    let chip = gpu.chain.as_deref()?.chip().as_bytes();
    let pins = [chip, driver.ok()?.sha256().as_bytes(), vbios.ok()?.sha256().as_bytes()];
    Some(hash(STATE, &pins))
}

/// The one driver RIM and the one VBIOS RIM of this GPU.
fn references<'r>(
    report: &Report<'_>,
    chain: &DeviceChain,
    rims: &'r [Option<Arc<Rim>>],
) -> [Result<&'r Rim, Reason>; 2] {
    let of = |is: fn(&Rim, &Report<'_>) -> bool, absent| {
        let mut found = rims.iter().flatten().filter(|rim| is(rim, report));
        match (found.next(), found.next()) {
            (Some(rim), None) if rim.product() == chain.chip() => Ok(&**rim),
            (Some(_), None) => Err(Reason::RimProduct),
            (Some(_), Some(_)) => Err(Reason::RimTwice),
            (None, _) => Err(absent),
        }
    };
    [of(is_driver, Reason::DriverRimAbsent), of(is_vbios, Reason::VbiosRimAbsent)]
}

fn is_driver(rim: &Rim, report: &Report<'_>) -> bool {
    rim.version().eq_ignore_ascii_case(report.opaque().driver())
}

fn is_vbios(rim: &Rim, report: &Report<'_>) -> bool {
    rim.version().eq_ignore_ascii_case(report.opaque().vbios())
}

/// One nonce, one mode, every GPU once, and the switches of one machine. [HS-28]
pub(super) fn set(gpus: &[ExaminedGpu<'_>]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fails = |holds: bool, reason: Reason| {
        if !holds {
            findings.push(Finding::whole(reason));
        }
    };
    let reports: Vec<_> = gpus.iter().filter_map(|gpu| gpu.report.as_ref()).collect();
    let chains: Vec<_> = gpus.iter().filter_map(|gpu| gpu.chain.as_deref()).collect();
    let identities: BTreeSet<_> = chains.iter().map(|chain| chain.identity_spki()).collect();
    let names: BTreeSet<_> = chains.iter().map(|chain| chain.device()).collect();
    fails(identities.len().min(names.len()) == chains.len(), Reason::SetDuplicate);
    let nonces: BTreeSet<_> = reports.iter().map(|report| report.nonce()).collect();
    fails(nonces.len() <= 1, Reason::SetNonce);
    let modes: BTreeSet<_> = reports.iter().map(|report| report.opaque().mode()).collect();
    fails(modes.len() <= 1, Reason::SetMode);
    if modes.contains(&Some(Mode::ProtectedPcie)) {
        let switches = |report: &&Report<'_>| -> BTreeSet<Vec<u8>> {
            let ids = report.opaque().switches().filter(|id| id.iter().any(|byte| *byte != 0));
            ids.map(<[u8]>::to_vec).collect()
        };
        let seen: BTreeSet<_> = reports.iter().map(switches).collect();
        let four = seen.len() == 1 && seen.iter().all(|ids| ids.len() == SWITCHES);
        fails(four, Reason::SetSwitches);
    }
    findings
}

const STATE: &str = "split-custody/v1/nvidia-gpu";
/// The first major driver version that always reports its firmware id.
const FIRST_WITH_FWID: u32 = 550;
/// Every GPU of a protected machine reaches all four.
const SWITCHES: usize = 4;
