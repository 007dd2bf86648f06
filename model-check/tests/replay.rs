//! A recorded run fits the model's world; every harm that the events themselves can show does not.
//!
//! `traces/run-reset` is the log of one `custody demo`: three custodians, a device in two lives, the
//! manifest beside it. Harmed copies are renumbered, so that only what the events say counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use split_custody_model_check::replay::{Mismatch, replay};
use split_custody_model_check::world::Setup;
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::trace::{Answer, Entry, Input, Output};
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_protocol::wire::signed::Signed;

struct Run {
    logs: Vec<Vec<Entry>>,
    setup: Setup,
}

impl Run {
    fn recorded() -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces/run-reset");
        let manifest = fs::read(folder.join("manifest.cbor")).expect("the manifest is beside");
        let signed: Signed = decode(&manifest, Signed::CAP + 128).expect("COSE_Sign1");
        let manifest: Manifest = signed.payload().expect("a manifest");
        let mut files: Vec<PathBuf> = fs::read_dir(folder)
            .expect("the folder is there")
            .map(|file| file.expect("readable").path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .collect();
        files.sort();
        let line = |line: &str| serde_json::from_str(line).expect("an entry per line");
        let read = |path: &PathBuf| fs::read_to_string(path).expect("readable");
        let logs = files.iter().map(|path| read(path).lines().map(line).collect()).collect();
        Self { logs, setup: Setup::of_manifest(&manifest, OnHostRead::Reset) }
    }

    fn replay(&self) -> Result<usize, Mismatch> {
        replay(&self.logs, &self.setup).map(|fits| fits.events)
    }

    /// How many harmed copies still fit, by what the harmed event was.
    fn unnoticed(&self, harm: impl Fn(&mut Vec<Entry>, usize) -> bool) -> BTreeMap<String, usize> {
        let mut unnoticed = BTreeMap::new();
        for log in 0..self.logs.len() {
            for at in 0..self.logs[log].len() {
                let mut logs = self.logs.clone();
                if !harm(&mut logs[log], at) {
                    continue;
                }
                let mut last = 0;
                for (number, entry) in logs[log].iter_mut().enumerate() {
                    last = entry.now.max(last);
                    (entry.sequence, entry.now) = (number as u64, last);
                }
                if replay(&logs, &self.setup).is_ok() {
                    *unnoticed.entry(kind(&self.logs[log][at])).or_default() += 1;
                }
            }
        }
        unnoticed
    }
}

fn kind(entry: &Entry) -> String {
    match &entry.input {
        Input::Command { name, outcome } if outcome.starts_with("Err") => format!("{name} refused"),
        Input::Command { name, .. } => name.clone(),
        Input::Received { frame, .. } => format!("received {}", frame.message),
        other => {
            let text = format!("{other:?}");
            text.split([' ', '{']).next().unwrap_or_default().to_owned()
        }
    }
}

#[test]
fn aud_1_the_recorded_run_fits_the_world() {
    let run = Run::recorded();
    let events: usize = run.logs.iter().map(Vec::len).sum();
    assert!(events > 500, "only {events} events");
    assert_eq!(run.replay(), Ok(events));
}

#[test]
fn aud_1_a_log_with_a_gap_or_a_repeat_in_its_numbers_is_refused() {
    let mut gap = Run::recorded();
    gap.logs[0].remove(5);
    assert!(gap.replay().is_err());
    let mut repeat = Run::recorded();
    let again = repeat.logs[0][5].clone();
    repeat.logs[0].insert(5, again);
    assert!(repeat.replay().is_err());
}

#[test]
fn rel_5_an_output_more_or_less_never_fits() {
    let run = Run::recorded();
    let counts = |output: &Output| !matches!(output, Output::Report { .. });
    let less = run.unnoticed(|log, at| {
        let place = log[at].outputs.iter().position(counts);
        place.is_some_and(|place| {
            log[at].outputs.remove(place);
            true
        })
    });
    assert_eq!(less, BTreeMap::new());
    let more = run.unnoticed(|log, at| {
        log[at].outputs.push(Output::Dial { custodian: 1 });
        // A display refresh says nothing and is not compared.
        !matches!(&log[at].input, Input::Command { name, .. } if name == "status")
    });
    assert_eq!(more, BTreeMap::new());
}

#[test]
fn wire_6_an_altered_frame_never_fits() {
    let run = Run::recorded();
    let altered = run.unnoticed(|log, at| match &mut log[at].input {
        Input::Received { frame, .. } => {
            frame.digest.0[0] ^= 1;
            true
        }
        _ => false,
    });
    // What operators say follows from the setup and is told apart by its type alone.
    let from_operators = [
        "received Provision",
        "received Query",
        "received Activate",
        "received Submit",
        "received AwaitDead",
    ];
    let others: Vec<_> =
        altered.keys().filter(|kind| !from_operators.contains(&kind.as_str())).collect();
    assert!(others.is_empty(), "{others:?}");
}

/// Which channel of a device is which of a custodian is told by the connection's name alone.
#[test]
fn hs_2_a_connection_named_otherwise_at_one_end_never_fits() {
    let unnoticed = Run::recorded().unnoticed(|log, at| match &mut log[at].input {
        Input::ChannelOpened { custodian: Some(_), connection: Some(name), .. } => {
            name.0[0] ^= 1;
            true
        }
        _ => false,
    });
    assert_eq!(unnoticed, BTreeMap::new());
}

#[test]
fn hs_2_an_end_with_another_leaf_key_or_exporter_never_fits() {
    let run = Run::recorded();
    let leaf = run.unnoticed(|log, at| match &mut log[at].input {
        Input::ChannelOpened { custodian: Some(_), own_leaf, .. } => {
            own_leaf.0[0] ^= 1;
            true
        }
        _ => false,
    });
    assert_eq!(leaf, BTreeMap::new());
    let exporter = run.unnoticed(|log, at| match &mut log[at].input {
        Input::Done { answer: Answer::Exported { exporter }, .. } => {
            exporter.0[0] ^= 1;
            true
        }
        _ => false,
    });
    assert_eq!(exporter, BTreeMap::new());
}

#[test]
fn hs_2_two_connections_of_one_name_never_fit() {
    let mut run = Run::recorded();
    let name = |entry: &mut Entry| match &mut entry.input {
        Input::ChannelOpened { custodian: Some(_), connection: Some(name), .. } => {
            name.0.fill(7);
            true
        }
        _ => false,
    };
    let named = run.logs.iter_mut().flatten().map(name).filter(|named| *named).take(2).count();
    assert_eq!(named, 2);
    let refused = run.replay().expect_err("two ends of one name");
    assert!(refused.what.contains("opened twice"), "{refused}");
}

/// A dropped event is noticed unless the world could have gone on without it all the same: a refused
/// use changed nothing, a network may swallow the end of a channel, and the last thing that a
/// process did leaves no trace. Everything that a release hangs on is noticed.
#[test]
fn aud_1_a_dropped_event_is_noticed_where_anything_hangs_on_it() {
    let unnoticed = Run::recorded().unnoticed(|log, at| {
        log.remove(at);
        true
    });
    for never in [
        "PoweredOn",
        "Booted",
        "ChannelOpened",
        "HostRead",
        "admit",
        "release_output",
        "received Hello",
        "received Challenge",
        "received Request",
        "received Provision",
        "received Activate",
        "received Submit",
    ] {
        assert_eq!(unnoticed.get(never), None, "{unnoticed:?}");
    }
}
