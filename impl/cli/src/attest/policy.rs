//! `custody attest policy`: what the owner admits, as JSON for people and as signed objects.

use serde::{Deserialize, Serialize};
use split_custody_attest::UnixTime;
use split_custody_attest::nvidia::{
    Case, Depth, KnownPolicy, KnownRevocations, Policy, Provider, Revocations, SIGNED_CAP, Text,
    Verifier,
};
use split_custody_keys::{SigningKey, read_verify_key};
use split_custody_protocol::suite::{Digest, LeafKey, VerifyKey};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::{ObjectKind, encode};

use crate::failure::Failure;
use crate::files::{hex, read, unhex, write_new};

use super::args::{DraftArgs, PolicyCommand, ShowArgs, SignArgs};
use super::intake::Intake;
use super::rules::owner;

/// A policy or a snapshot, as people write it.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Written {
    Policy(Box<WrittenPolicy>),
    Revocations(WrittenRevocations),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenPolicy {
    version: u64,
    not_before: String,
    not_after: String,
    chips: Vec<String>,
    devices: Vec<String>,
    drivers: Vec<String>,
    driver_floor: String,
    vbios: Vec<String>,
    vbios_floor: String,
    rims: Vec<String>,
    rims_as_of: Option<String>,
    modes: Vec<u8>,
    gpus: u8,
    revocations_floor: u64,
    token_issuers: Vec<String>,
    token_measurements: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WrittenRevocations {
    serial: u64,
    issued: String,
    expires: String,
    keys: Vec<String>,
}

pub fn run(command: &PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Draft(args) => draft(args),
        PolicyCommand::Sign(args) => sign(args),
        PolicyCommand::Show(args) => show(args),
    }
}

/// What this Evidence would need: to be read and narrowed, not to be signed unread.
fn draft(args: &DraftArgs) -> Result<(), Failure> {
    let intake = Intake::read(&args.evidence)?;
    let gpus = intake.gpus();
    let case = Case { gpus: &gpus, rims: &intake.rims, nonce: None, at: args.from, rules: None };
    let examination = Verifier::new(Provider::fastest()).examine(&case, Depth::Everything);
    let mut written = WrittenPolicy::blank(args, gpus.len());
    for gpu in &examination.gpus {
        let (Some(report), Some(chain)) = (&gpu.report, &gpu.chain) else {
            return Err(Failure::refused("a report or chain cannot be read: see `explain`"));
        };
        written.chips.push(chain.chip().to_owned());
        written.devices.push(chain.device().to_owned());
        written.drivers.push(report.opaque().driver().to_owned());
        written.vbios.push(report.opaque().vbios().to_owned());
        written.modes.extend(report.opaque().mode().map(|mode| mode.number()));
    }
    for rim in examination.rims.iter() {
        let rim =
            rim.as_ref().ok_or_else(|| Failure::refused("a RIM does not hold: see `explain`"))?;
        written.rims.push(hex(rim.sha256().as_bytes()));
    }
    for path in &args.issuers {
        written.token_issuers.push(hex(read_verify_key(path)?.as_bytes()));
    }
    let WrittenPolicy { chips, devices, drivers, vbios, .. } = &mut written;
    for list in [chips, devices, drivers, vbios] {
        list.sort();
        list.dedup();
    }
    written.modes.dedup();
    written.driver_floor = written.drivers.first().cloned().unwrap_or_default();
    written.vbios_floor = written.vbios.first().cloned().unwrap_or_default();
    println!("{}", serde_json::to_string_pretty(&Written::Policy(Box::new(written)))?);
    Ok(())
}

fn sign(args: &SignArgs) -> Result<(), Failure> {
    let bytes = read(&args.source, SIGNED_CAP * 4)?;
    let at = |what: String| Failure::refused(format!("`{}`: {what}", args.source.display()));
    let written: Written = serde_json::from_slice(&bytes).map_err(|e| at(e.to_string()))?;
    let key = SigningKey::load(&args.key)?;
    let (signed, what) = match &written {
        Written::Policy(written) => {
            let policy = written.read().map_err(at)?;
            (key.sign_object(ObjectKind::AppraisalPolicy, &policy)?, "policy")
        }
        Written::Revocations(written) => {
            let revocations = written.read().map_err(at)?;
            (key.sign_object(ObjectKind::Revocations, &revocations)?, "revocations")
        }
    };
    let signed = encode(&signed);
    write_new(&args.target, &signed, 0o644)?;
    let digest =
        KnownPolicy::verify(&key.public(), &signed).ok().map(|p| hex(p.digest().as_bytes()));
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "signed": what, "file": args.target, "digest": digest })
        );
    } else {
        println!("{what} signed: `{}`", args.target.display());
        if let Some(digest) = digest {
            println!("a manifest admits it as measurement {digest}");
        }
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let signed = read(&args.file, SIGNED_CAP)?;
    let key = owner(args.owner.as_deref(), &args.file)?;
    let policy = KnownPolicy::verify(&key, &signed);
    let (written, digest) = match (&policy, KnownRevocations::verify(&key, &signed)) {
        (Ok(known), _) => {
            let digest = hex(known.digest().as_bytes());
            (Written::Policy(Box::new(WrittenPolicy::of(known.policy()))), Some(digest))
        }
        (Err(_), Ok(known)) => {
            (Written::Revocations(WrittenRevocations::of(known.revocations())), None)
        }
        (Err(reason), Err(_)) => {
            return Err(Failure::refused(format!("`{}`: {}", args.file.display(), reason.text())));
        }
    };
    if args.json {
        let mut value = serde_json::to_value(&written)?;
        if let (Some(digest), Some(object)) = (digest, value.as_object_mut()) {
            object.insert("digest".into(), digest.into());
        }
        println!("{value}");
    } else {
        println!("{}", serde_json::to_string_pretty(&written)?);
        if let Some(digest) = digest {
            println!("digest {digest}");
        }
    }
    Ok(())
}

impl WrittenPolicy {
    /// What does not come from the Evidence.
    fn blank(args: &DraftArgs, gpus: usize) -> Self {
        Self {
            version: 1,
            not_before: args.from.to_string(),
            not_after: args.until.to_string(),
            chips: vec![],
            devices: vec![],
            drivers: vec![],
            driver_floor: String::new(),
            vbios: vec![],
            vbios_floor: String::new(),
            rims: vec![],
            rims_as_of: None,
            modes: vec![],
            gpus: u8::try_from(gpus).unwrap_or(u8::MAX),
            revocations_floor: 1,
            token_issuers: vec![],
            token_measurements: args.cpu_measurements.iter().map(|m| hex(m)).collect(),
        }
    }

    fn read(&self) -> Result<Policy, String> {
        Ok(Policy {
            version: self.version,
            not_before: time(&self.not_before)?,
            not_after: time(&self.not_after)?,
            chips: texts("chips", &self.chips)?,
            devices: texts("devices", &self.devices)?,
            drivers: texts("drivers", &self.drivers)?,
            driver_floor: text("driver_floor", &self.driver_floor)?,
            vbios: texts("vbios", &self.vbios)?,
            vbios_floor: text("vbios_floor", &self.vbios_floor)?,
            rims: list("rims", each(&self.rims, Digest::new)?)?,
            rims_as_of: list(
                "rims_as_of",
                self.rims_as_of.iter().map(|t| time(t)).collect::<Result<_, _>>()?,
            )?,
            modes: list("modes", self.modes.clone())?,
            gpus: self.gpus,
            revocations_floor: self.revocations_floor,
            token_issuers: list("token_issuers", each(&self.token_issuers, VerifyKey::new)?)?,
            token_measurements: list(
                "token_measurements",
                each(&self.token_measurements, Digest::new)?,
            )?,
        })
    }

    fn of(policy: &Policy) -> Self {
        let shown = |texts: &[Text]| texts.iter().map(show_text).collect();
        let digests = |digests: &[Digest]| digests.iter().map(|d| hex(d.as_bytes())).collect();
        Self {
            version: policy.version,
            not_before: policy.not_before.to_string(),
            not_after: policy.not_after.to_string(),
            chips: shown(policy.chips.as_slice()),
            devices: shown(policy.devices.as_slice()),
            drivers: shown(policy.drivers.as_slice()),
            driver_floor: show_text(&policy.driver_floor),
            vbios: shown(policy.vbios.as_slice()),
            vbios_floor: show_text(&policy.vbios_floor),
            rims: digests(policy.rims.as_slice()),
            rims_as_of: policy.rims_as_of.iter().next().map(UnixTime::to_string),
            modes: policy.modes.as_slice().to_vec(),
            gpus: policy.gpus,
            revocations_floor: policy.revocations_floor,
            token_issuers: policy.token_issuers.iter().map(|k| hex(k.as_bytes())).collect(),
            token_measurements: digests(policy.token_measurements.as_slice()),
        }
    }
}

impl WrittenRevocations {
    fn read(&self) -> Result<Revocations, String> {
        Ok(Revocations {
            serial: self.serial,
            issued: time(&self.issued)?,
            expires: time(&self.expires)?,
            keys: list("keys", each(&self.keys, LeafKey::new)?)?,
        })
    }

    fn of(revocations: &Revocations) -> Self {
        Self {
            serial: revocations.serial,
            issued: revocations.issued.to_string(),
            expires: revocations.expires.to_string(),
            keys: revocations.keys.iter().map(|key| hex(key.as_bytes())).collect(),
        }
    }
}

fn time(text: &str) -> Result<UnixTime, String> {
    text.parse().map_err(|error| format!("`{text}`: {error}"))
}

fn text(name: &str, text: &str) -> Result<Text, String> {
    Text::new(text.into()).ok_or_else(|| format!("{name}: empty, or longer than 64 bytes"))
}

fn texts<const MIN: usize, const MAX: usize>(
    name: &str,
    written: &[String],
) -> Result<List<Text, MIN, MAX>, String> {
    let texts = written.iter().map(|one| text(name, one)).collect::<Result<_, _>>()?;
    list(name, texts)
}

fn list<T, const MIN: usize, const MAX: usize>(
    name: &str,
    items: Vec<T>,
) -> Result<List<T, MIN, MAX>, String> {
    let count = items.len();
    List::new(items).ok_or_else(|| format!("{name}: {count} of them, where {MIN} to {MAX} may be"))
}

fn each<T, const N: usize>(written: &[String], new: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
    written.iter().map(|text| unhex(text).map(new)).collect()
}

fn show_text(text: &Text) -> String {
    String::from_utf8_lossy(text.as_bytes()).into_owned()
}
