//! The implementation, led along the counterexample of every double: it refuses where the double
//! did not.
//!
//! The files of `model-check/traces` say what the double did at each action. The implementation and
//! the model as shipped are led the same way, in lockstep. Where the two first do otherwise than the
//! double is written in `refusals.txt`: the rule that stops the attack, in the implementation.

use std::fs;
use std::path::PathBuf;

use split_custody_conformance::{Divergence, Lockstep};
use split_custody_model_check::doubles::{DOUBLES, Double};
use split_custody_model_check::frame::FrameId;
use split_custody_model_check::slice::slice;
use split_custody_model_check::trace::{Trace, sent_before};
use split_custody_model_check::world::{Action, Facts, Turn};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn trace(double: &Double) -> Trace {
    let path = root().join(format!("../../model-check/traces/{}.json", double.name));
    serde_json::from_str(&fs::read_to_string(path).expect("readable")).expect("a trace")
}

/// Where the shipped machines first do otherwise than the double, and what they do there.
fn departure(double: &Double, trace: &Trace) -> Result<Option<String>, Divergence> {
    trace.recall();
    let mut slice = slice(double.slice).expect("doubles name slices");
    if let Some(margin) = double.margin {
        slice.setup.margin = margin;
    }
    let config = slice.config(Facts::default());
    let mut lockstep = Lockstep::begin(&config, slice.recorded(&config))?;
    let mut sent: Vec<FrameId> = sent_before(&lockstep.world);
    for (place, double_said) in trace.said.iter().enumerate() {
        let action = trace.action(place, &sent);
        if !is_possible(&lockstep, action) {
            return Ok(Some(format!("{}. {} cannot happen", place + 1, kind(action))));
        }
        let turns = lockstep.step(action)?;
        sent.extend(turns.iter().flat_map(Turn::frames));
        let said: Vec<String> = turns.iter().flat_map(Turn::words).collect();
        if said != *double_said {
            let nothing = || vec!["nothing".to_owned()];
            let or = |said: Vec<String>| if said.is_empty() { nothing() } else { said };
            let only = |a: &[String], b: &[String]| {
                or(a.iter().filter(|said| !b.contains(said)).cloned().collect()).join(", ")
            };
            return Ok(Some(format!(
                "{}. {}: {}; the double: {}",
                place + 1,
                kind(action),
                only(&said, double_said),
                only(double_said, &said),
            )));
        }
    }
    Ok(None)
}

/// What an adversary composed for a double it can send to the shipped machines as well.
fn is_possible(lockstep: &Lockstep, action: Action) -> bool {
    match action {
        Action::Send(channel, ..) => lockstep.world.channels.contains_key(&channel),
        action => lockstep.actions().contains(&action),
    }
}

fn kind(action: Action) -> String {
    let text = format!("{action:?}");
    text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_owned()
}

#[test]
fn the_implementation_refuses_where_a_double_does_not() {
    let mut lines = String::new();
    for double in DOUBLES {
        let trace = trace(double);
        assert_eq!(trace.said.len(), trace.actions.len(), "{} is not told", double.name);
        if !slice(double.slice).expect("doubles name slices").setup.is_led() {
            lines += &format!(
                "{} ({})\n    not followed: the implementation is led with one device, one \
                 operator and one suite\n",
                double.name,
                double.broken()
            );
            continue;
        }
        let departed =
            departure(double, &trace).unwrap_or_else(|parted| panic!("{}: {parted}", double.name));
        let lies = double.lie.is_some() || double.margin.is_some();
        assert!(departed.is_some() || lies, "{} is followed to its end", double.name);
        let departed = departed.unwrap_or_else(|| "what is broken is not in the machines".into());
        lines += &format!("{} ({})\n    {departed}\n", double.name, double.broken());
    }
    let path = root().join("tests/refusals.txt");
    if std::env::var_os("REFUSALS_BLESS").is_some() {
        fs::write(&path, &lines).expect("written");
    }
    let known = fs::read_to_string(&path).expect("readable");
    assert_eq!(lines, known, "review, then REFUSALS_BLESS=1");
}
