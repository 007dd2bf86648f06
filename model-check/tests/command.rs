//! `prove` as a person types it: exit codes, and JSON that a program can read.
#![cfg(all(feature = "search", not(doubles)))]

use std::process::{Command, Output};

use serde_json::Value;

fn prove(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prove")).args(arguments).output().expect("it runs")
}

#[test]
fn a_check_that_holds_ends_with_0_and_one_json_object() {
    let output = prove(&["check", "--only", "hs_7_", "--json"]);
    assert_eq!(output.status.code(), Some(0));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&json["held"], &json["violated"]), (&Value::from(1), &Value::from(0)));
    let row = &json["properties"][0];
    assert_eq!(row["id"], "hs_7_no_grant_on_a_dead_challenge");
    assert_eq!((&row["slice"], &row["scope"]), (&"handshake-late".into(), &"smoke".into()));
    assert_eq!((&row["verdict"], &row["exhaustive"]), (&"held".into(), &true.into()));
    for number in ["unique", "generated", "depth", "seconds"] {
        assert!(row[number].is_number(), "{number}");
    }
}

#[test]
fn a_name_that_nothing_bears_ends_with_2_and_one_line() {
    for arguments in [
        &["check", "--only", "hs_99_"] as &[&str],
        &["cex", "nobody"],
        &["mutants", "--only", "nobody"],
        &["prove-it"],
    ] {
        let output = prove(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_log_that_is_not_there_ends_with_1() {
    let output = prove(&["replay", "/nonexistent", "--manifest", "/nonexistent/manifest.cbor"]);
    assert_eq!(output.status.code(), Some(1));
}
