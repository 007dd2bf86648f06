//! The drivers on a simulated network, and every event of theirs in the model.
//!
//! `NETWORK_SEEDS` sets how many seeds are run; a seed that fails is named, and is the same run again.

use std::collections::BTreeMap;

use split_custody_conformance::network::run;
use split_custody_protocol::trace::{Entry, Input, Output};

fn seeds(otherwise: u64) -> u64 {
    std::env::var("NETWORK_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// What happened in a run, by name.
fn count(logs: &[Vec<Entry>], counts: &mut BTreeMap<&'static str, usize>) {
    for entry in logs.iter().flatten() {
        let sent = entry.outputs.iter().filter_map(|output| match output {
            Output::Transmit { frame, .. } => Some(frame.message.as_str()),
            _ => None,
        });
        for message in sent {
            for known in ["Grant", "Renewal", "Refused", "Acknowledged", "Notice"] {
                *counts.entry(known).or_default() += usize::from(message == known);
            }
        }
        let name = match &entry.input {
            Input::ChannelClosed { .. } => "closed",
            Input::ChannelFailed { .. } => "dial failed",
            Input::Booted => "booted",
            Input::PoweredOn => "powered on",
            Input::HostRead => "host read",
            Input::Command { name, outcome } if name == "admit" && outcome.starts_with("Ok") => {
                "used"
            }
            _ => continue,
        };
        *counts.entry(name).or_default() += 1;
    }
}

#[test]
fn every_run_on_a_simulated_network_is_one_of_the_model() {
    let (mut counts, mut events, mut exports) = (BTreeMap::new(), 0, 0);
    for seed in 1..=seeds(40) {
        let folder = tempfile::TempDir::new().expect("a folder");
        let run = run(seed, folder.path());
        let written: usize = run.logs.iter().map(Vec::len).sum();
        match run.replay() {
            Ok(replayed) => assert_eq!(replayed.events, written, "seed {seed}"),
            Err(mismatch) => {
                let kept = folder.keep();
                panic!("seed {seed}: {mismatch}\n{:#?}\nlogs: {}", run.deeds, kept.display());
            }
        }
        exports += run.exports().unwrap_or_else(|other| panic!("seed {seed}: {other}"));
        events += written;
        count(&run.logs, &mut counts);
    }
    println!("{events} events, {exports} exports: {counts:?}");
    assert!(exports > 200, "{exports} exports compare too little");
    // A network on which nothing is granted, lost or done twice would fit as well.
    for happened in ["Grant", "Renewal", "closed", "booted", "powered on", "used", "Acknowledged"] {
        assert!(counts.get(happened).is_some_and(|n| *n > 0), "no {happened}: {counts:?}");
    }
}
