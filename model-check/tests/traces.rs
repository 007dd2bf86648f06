//! Counterexamples of the doubles, kept as files: what broke a double must not break the protocol.
//!
//! A trace whose double lies about the world around the machines breaks it in any build. One whose
//! double leaves rules out breaks it only in a build that can (`--cfg doubles`); the shipped machines
//! are led along it as far as it is possible for them, and withstand it. The files are written by
//! `cargo prove export model-check/traces`.

use std::fs;
use std::path::PathBuf;

use split_custody_model_check::doubles::{DOUBLES, Double, double};
use split_custody_model_check::property::property;
use split_custody_model_check::trace::Trace;
#[cfg(not(doubles))]
use split_custody_model_check::world::Fact;
use split_custody_model_check::world::Facts;

fn traces() -> Vec<(Double, Trace)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("traces");
    let files = fs::read_dir(folder).expect("the folder is there");
    let paths = files.map(|file| file.expect("readable").path());
    let mut traces: Vec<(Double, Trace)> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("readable");
            let trace: Trace = serde_json::from_str(&text).expect("a trace");
            let double = double(&trace.double).expect("a trace's double exists");
            (double, trace)
        })
        .collect();
    traces.sort_by_key(|(double, _)| double.name);
    traces
}

#[test]
fn every_double_has_its_trace_and_every_trace_its_double() {
    let mut named: Vec<&str> = DOUBLES.iter().map(|double| double.name).collect();
    named.sort_unstable();
    assert_eq!(traces().iter().map(|(double, _)| double.name).collect::<Vec<_>>(), named);
    for (double, trace) in traces() {
        assert_eq!(trace.property, double.killed_by);
        assert_eq!(trace.slice, double.slice);
        assert_eq!(trace.broken, double.broken());
    }
}

#[test]
fn a_trace_breaks_the_double_that_it_was_found_in() {
    for (double, trace) in traces() {
        let owner = property(double.killed_by).expect("a property");
        let outcome = trace.replay(&double, Facts::only(owner.never));
        let only_lies = double.rules.is_empty() && double.fields.is_empty();
        if only_lies || cfg!(doubles) {
            assert_eq!(outcome.steps, trace.actions.len(), "{} is not followed", double.name);
            assert!(outcome.facts.contains(owner.never), "{} is not broken", double.name);
        }
    }
}

#[cfg(not(doubles))]
#[test]
fn the_shipped_machines_withstand_every_trace_that_leaves_rules_out() {
    for (double, trace) in traces().into_iter().filter(|(double, _)| double.lie.is_none()) {
        if double.margin.is_some() {
            continue; // the owner's own mistake: nothing in the machines can mend it
        }
        let outcome = trace.replay(&double, Facts::of(Fact::NEVER));
        assert!(outcome.steps > 0, "{} does not begin", double.name);
        assert!(outcome.facts.is_empty(), "{} breaks what is shipped", double.name);
    }
}
