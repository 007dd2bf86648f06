//! `custody attest verify`: accept or reject, with every reason.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::Digest as _;
use split_custody_attest::nvidia::{
    Case, Depth, Entry, Examination, ExaminedGpu, Finding, Provider, Rim, State, Verifier,
    device_id, platform_id,
};
use split_custody_protocol::suite::Digest;

use crate::failure::Failure;
use crate::files::hex;

use super::args::VerifyArgs;
use super::intake::Intake;
use super::rules::Given;

pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    examined(args, |examined| {
        if args.json {
            println!("{}", examined.to_json());
        } else {
            examined.print();
        }
        examined.end()
    })
}

/// An examination with everything that was given for it.
pub struct Examined<'a> {
    pub args: &'a VerifyArgs,
    pub given: &'a Given,
    pub examination: &'a Examination<'a>,
}

/// Reads the files and examines what is in them, to the end.
pub fn examined<T>(
    args: &VerifyArgs,
    show: impl FnOnce(&Examined<'_>) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (intake, given) = (Intake::read(&args.evidence)?, Given::read(args)?);
    let (nonce, gpus) = (Digest::new(args.nonce), intake.gpus());
    let rules = given.rules();
    let case = Case { gpus: &gpus, rims: &intake.rims, nonce: Some(&nonce), at: args.at, rules };
    let examination = Verifier::new(Provider::fastest()).examine(&case, Depth::Everything);
    show(&Examined { args, given: &given, examination: &examination })
}

impl Examined<'_> {
    /// Every rule that did not hold, in order.
    pub fn findings(&self) -> impl Iterator<Item = (Option<u8>, Finding)> {
        let given = self.given.findings.iter().map(|finding| (None, *finding));
        given.chain(self.examination.log.findings())
    }

    /// Rules that could not be read accept nothing either.
    pub fn is_accepted(&self) -> bool {
        self.given.findings.is_empty() && self.examination.outcome.is_ok()
    }

    pub const fn verdict(&self) -> &'static str {
        if self.given.findings.is_empty() && self.examination.outcome.is_ok() {
            "accept"
        } else {
            "reject"
        }
    }

    /// The id under which the owner enrols the device, of accepted GPUs beside a named CPU. [HS-13]
    fn device_id(&self) -> Option<String> {
        let accepted = self.examination.outcome.as_ref().ok().filter(|_| self.is_accepted())?;
        let platform = platform_id(&self.args.ueid?);
        Some(hex(device_id(accepted.identities(), &platform).as_bytes()))
    }

    fn codes(&self) -> Vec<&'static str> {
        let mut seen = BTreeSet::new();
        let codes = self.findings().map(|(_, finding)| finding.reason.code());
        let mut codes: Vec<_> = codes.filter(|code| seen.insert(*code)).collect();
        if codes.is_empty() && !self.is_accepted() {
            // INVARIANT: nothing is rejected without a finding.
            codes.extend(self.examination.outcome.as_ref().err().map(|f| f.reason.code()));
        }
        codes
    }

    /// The exit code: 0 or 1.
    pub fn end(&self) -> Result<(), Failure> {
        if self.is_accepted() {
            return Ok(());
        }
        Err(Failure::Checks(format!("evidence rejected: {}", self.codes().join(", "))))
    }

    pub fn to_json(&self) -> Value {
        let findings: Vec<Value> = self.findings().map(|(gpu, f)| finding(gpu, f)).collect();
        let checks: Vec<Value> = self.examination.log.entries().iter().map(check).collect();
        let accepted = self.examination.outcome.as_ref().ok().filter(|_| self.is_accepted());
        let policy = self.given.policy.as_ref().map(|policy| hex(policy.digest().as_bytes()));
        let states = accepted.into_iter().flat_map(|accepted| accepted.states());
        json!({
            "verdict": self.verdict(),
            "reasons": self.codes(),
            "findings": findings,
            "checks": checks,
            "at": self.args.at.to_string(),
            "nonce": hex(&self.args.nonce),
            "policy": policy,
            "device_id": self.device_id(),
            "mode": accepted.map(|accepted| accepted.mode().number()),
            "states": states.map(|state| hex(state.as_bytes())).collect::<Vec<_>>(),
            "gpus": self.examination.gpus.iter().map(gpu).collect::<Vec<_>>(),
            "rims": self.examination.rims.iter().map(|r| r.as_deref().map(rim)).collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        println!("{}", self.verdict());
        for (number, gpu) in (1..).zip(&self.examination.gpus) {
            println!("  GPU {number}  {}", summary(gpu));
        }
        for code in self.codes() {
            let of: Vec<_> = self.findings().filter(|(_, f)| f.reason.code() == code).collect();
            let Some((_, first)) = of.first() else { continue };
            let places: Vec<String> = of.iter().filter_map(|(gpu, f)| place(*gpu, *f)).collect();
            println!("  {code}  {}", first.reason.text());
            if !places.is_empty() {
                println!("      at {}", places.join("; "));
            }
            println!("      -> {}", first.reason.advice());
        }
        if let Some(id) = self.device_id() {
            println!("  device id  {id}");
        }
        if self.args.policy.is_none() {
            println!("  without a policy this says what NVIDIA signed, not what the owner admits");
        }
    }
}

/// `GH100 NVIDIA:GH100:48B0…, driver 545.00, VBIOS 96.00.5E.00.01, single GPU`.
pub fn summary(gpu: &ExaminedGpu<'_>) -> String {
    let device = gpu.chain.as_ref().map_or("no chain", |chain| chain.device());
    let Some(report) = &gpu.report else { return format!("{device}, no report") };
    let opaque = report.opaque();
    let mode = opaque.mode().map_or("no mode", |mode| mode.name());
    format!("{device}, driver {}, VBIOS {}, {mode}", opaque.driver(), opaque.vbios())
}

/// `GPU 1, measurement 9`; none where it is about the whole.
fn place(gpu: Option<u8>, finding: Finding) -> Option<String> {
    let gpu = gpu.map(|gpu| format!("GPU {}", u16::from(gpu) + 1));
    let at = Some(finding.place.to_string()).filter(|place| !place.is_empty());
    let parts: Vec<String> = gpu.into_iter().chain(at).collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn finding(gpu: Option<u8>, finding: Finding) -> Value {
    json!({
        "code": finding.reason.code(), "gpu": gpu, "where": finding.place.to_string(),
        "text": finding.reason.text(), "advice": finding.reason.advice(),
    })
}

fn check(entry: &Entry) -> Value {
    let state = match entry.state {
        State::Passed => "passed",
        State::Failed(_) => "failed",
        State::NotReached => "not reached",
        State::NotAsked => "not asked",
    };
    json!({ "check": entry.step.name(), "gpu": entry.gpu, "state": state })
}

fn gpu(gpu: &ExaminedGpu<'_>) -> Value {
    let opaque = gpu.report.as_ref().map(|report| report.opaque());
    let chain = gpu.chain.as_deref();
    let identity = chain.map(|chain| sha2::Sha256::digest(chain.identity_spki()));
    json!({
        "chip": chain.map(|chain| chain.chip()),
        "device": chain.map(|chain| chain.device()),
        "identity": identity.map(|digest| hex(&digest)),
        "driver": opaque.map(|opaque| opaque.driver()),
        "vbios": opaque.map(|opaque| opaque.vbios()),
        "mode": opaque.and_then(|opaque| opaque.mode()).map(|mode| mode.name()),
        "nonce": gpu.report.as_ref().map(|report| hex(report.nonce().as_bytes())),
    })
}

fn rim(rim: &Rim) -> Value {
    let (from, until) = rim.validity();
    json!({
        "version": rim.version(), "product": rim.product(), "sha256": hex(rim.sha256().as_bytes()),
        "active": rim.golden().len(), "from": from.to_string(), "until": until.to_string(),
    })
}
