//! Attested release, loading, and the proof that every tensor is the owner's.

use std::time::{Duration, Instant};

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::Value;
use split_custody_gpu::{Incarnation, nonce_message};
use split_custody_keys::SigningKey;

use super::prepare::shown;
use super::report::Report;
use super::stage::Stage;
use crate::control::DeviceAsk;
use crate::failure::Failure;
use crate::files::{hex, unhex};
use crate::screen;

/// The first release, in its parts.
pub fn first(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("release");
    let loaded = stage.load()?;
    let part = |name: &str| Duration::from_micros(loaded[name].as_u64().unwrap_or(0));
    report.timed(
        "gather",
        part("gather_micros"),
        "mutual TLS 1.3 that ends in the device; challenges",
    );
    report.timed(
        "attest",
        part("attest_micros"),
        "one evidence over every channel and key of this session",
    );
    report.timed(
        "release",
        part("release_micros"),
        "appraised, committed, re-wrapped, signed; shares combined",
    );
    report.timed("load", part("load_micros"), "tensors opened in device memory");
    let left_out: Vec<&Value> =
        loaded["left_out"].as_array().map_or(Vec::new(), |a| a.iter().collect());
    let detail = match left_out.as_slice() {
        [] => format!("to device {}", shown(&stage.device_id)),
        out => format!(
            "to device {}; left out: custodian {}",
            shown(&stage.device_id),
            screen::list(out)
        ),
    };
    let name = format!(
        "{} of {} custodians released the key to the attested device",
        stage.args.threshold, stage.args.custodians
    );
    report.check("release", &name, true, detail);
    equal(
        stage,
        report,
        "tensors-equal",
        "every tensor on the device equals the source, without reading it back",
    )
}

/// Compares MACs of every tensor under a fresh nonce that the owner signed.
pub fn equal(
    stage: &Stage<'_>,
    report: &mut Report,
    id: &'static str,
    name: &str,
) -> Result<(), Failure> {
    report.begin("prove");
    let start = Instant::now();
    let mut nonce = [0; 32];
    SystemRandom::new().fill(&mut nonce).map_err(|_| Failure::refused("no randomness"))?;
    let status = stage.status()?;
    let incarnation = unhex(status["incarnation"].as_str().unwrap_or_default())
        .map_err(|_| Failure::refused("the device has no incarnation"))?;
    let key = SigningKey::load(&stage.household.owner().path("owner.pem"))?;
    let signature = key.sign(&nonce_message(&nonce, &Incarnation(incarnation)))?;
    let ask = DeviceAsk::Prove { nonce: hex(&nonce), signature: hex(signature.as_bytes()) };
    let said = stage.ask(&ask)?;
    let proofs = said.as_array().map_or(&[][..], Vec::as_slice);
    let tensors = stage.source.tensors();
    let equal = tensors
        .iter()
        .filter(|tensor| {
            let mac = hex(&stage.source.mac(tensor, &nonce));
            proofs
                .iter()
                .any(|proof| proof["name"] == tensor.name.as_str() && proof["mac"] == mac.as_str())
        })
        .count();
    let what = format!("HMAC of {} tensors under the owner's fresh nonce", tensors.len());
    report.timed("prove", start.elapsed(), &what);
    let pass = equal == tensors.len() && proofs.len() == tensors.len();
    report.check(
        id,
        name,
        pass,
        format!("{equal} of {} equal; the device has {}", tensors.len(), proofs.len()),
    );
    Ok(())
}
