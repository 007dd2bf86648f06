//! Every custodian's key store goes down: leases go on, nothing new is released.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::prepare::TERMS;
use super::report::Report;
use super::stage::Stage;
use super::uses::Background;
use crate::control::{CustodianAsk, DeviceAsk, ask};
use crate::failure::Failure;
use crate::screen;

pub fn survive(stage: &mut Stage<'_>, report: &mut Report) -> Result<(), Failure> {
    report.begin("outage");
    switch(stage, true)?;
    let (start, before) = (Instant::now(), renewals(&stage.status()?));
    let background = Background::begin(stage)?;
    // Longer than any lease that was there when it began.
    let longest = Duration::from_millis(TERMS.ttl_max_ms + TERMS.term_ms / 4);
    std::thread::sleep(longest);
    let status = stage.status()?;
    let seen = background.end();
    let renewed = renewals(&status) - before;
    let what = format!("every custodian's keys down for {}", screen::duration(start.elapsed()));
    report.timed("outage", start.elapsed(), &what);
    let counting = status["counting"].as_u64().unwrap_or(0);
    let pass = seen.good > 0
        && seen.refused + seen.wrong == 0
        && renewed > 0
        && counting >= u64::from(stage.args.threshold);
    let detail = format!(
        "{} requests served, {} refused; {renewed} renewals; {counting} leases count after more than a term",
        seen.good, seen.refused
    );
    report.check(
        "outage-leases-go-on",
        "leases outlive an HSM outage of more than one term",
        pass,
        detail,
    );

    stage.ask(&DeviceAsk::Release)?;
    let tried = stage.load();
    let have = format!("have 0 of {}", stage.args.threshold);
    report.refused("outage-no-release", "no new release while the keys are down", tried, &have);
    switch(stage, false)?;
    let again = report.stage("recover", || {
        Ok((stage.load()?, "the keys are back; released and loaded again".into()))
    })?;
    report.check(
        "outage-over",
        "the outage over, the key is released again",
        again.is_object(),
        released(&again),
    );
    Ok(())
}

fn switch(stage: &Stage<'_>, down: bool) -> Result<(), Failure> {
    for custodian in stage.alive() {
        let socket = stage.household.custodian(custodian.id.value()).path("control.sock");
        ask(&socket, &CustodianAsk::Outage { down })?;
    }
    Ok(())
}

/// How a release went, for a check.
pub fn released(loaded: &Value) -> String {
    let time =
        |name: &str| screen::duration(Duration::from_micros(loaded[name].as_u64().unwrap_or(0)));
    format!("released in {}, loaded in {}", time("release_micros"), time("load_micros"))
}

/// Renewals of all leases together.
fn renewals(status: &Value) -> u64 {
    let leases = status["leases"].as_array().map_or(&[][..], Vec::as_slice);
    leases.iter().filter_map(|lease| lease["renewals"].as_u64()).sum()
}
