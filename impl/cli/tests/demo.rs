//! The demo, whole: what it shows, what it refuses, and how it reads.

mod common;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use common::{MODEL, custody, json, refused, stderr, stdout};
use serde_json::Value;

/// One at a time: a run waits for leases of seconds, and two cores are not many.
static STAGE: Mutex<()> = Mutex::new(());

fn demo(arguments: &[&str]) -> std::process::Output {
    let _alone = STAGE.lock().unwrap_or_else(PoisonError::into_inner);
    custody(Path::new("."), &[&["demo"], arguments].concat())
}

fn checks(report: &Value) -> Vec<(&str, bool)> {
    let checks = report["checks"].as_array().expect("checks");
    checks.iter().map(|c| (c["id"].as_str().unwrap(), c["pass"].as_bool().unwrap())).collect()
}

fn detail<'a>(report: &'a Value, id: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id);
    check.unwrap_or_else(|| panic!("no check `{id}`"))["detail"].as_str().unwrap()
}

/// Every check passed and the counts are right; gives the report.
#[track_caller]
fn shown(output: &std::process::Output) -> Value {
    let report = json(output);
    let failed: Vec<&str> =
        checks(&report).into_iter().filter(|(_, pass)| !pass).map(|(id, _)| id).collect();
    assert!(failed.is_empty() && output.status.success(), "{failed:?}: {report:#}");
    let passed = checks(&report).len();
    assert_eq!(report["passed"], passed);
    assert_eq!(report["failed"], 0);
    assert!(passed >= 12, "{passed}");
    report
}

#[test]
fn host_read_under_reset_wipes_and_re_attests() {
    let report = shown(&demo(&["--json", "--on-host-read", "reset"]));
    for id in ["tensors-equal", "host-read-resets", "old-leases-useless", "re-attested"] {
        assert!(checks(&report).contains(&(id, true)), "{id}");
    }
    assert_eq!(report["model"]["tensors"], 15);
    let stages = report["stages"].as_array().unwrap();
    assert!(stages.iter().all(|stage| stage["name"].is_string() && stage["micros"].is_u64()));
}

#[test]
fn hsm_4_no_process_of_a_custodian_over_a_token_holds_its_share() {
    if !Path::new("/usr/lib/softhsm/libsofthsm2.so").is_file() {
        assert!(std::env::var_os("CI").is_none(), "SoftHSM2 is not installed, and CI needs it");
        eprintln!("NOT RUN: SoftHSM2 is not installed (apt-get install softhsm2)");
        return;
    }
    let report = shown(&demo(&["--json", "--hsm", "pkcs11"]));
    for id in ["shares-apart", "scan-workers", "scan-during-release", "outage-over", "replay"] {
        assert!(checks(&report).contains(&(id, true)), "{id}");
    }
}

#[test]
fn host_read_under_block_changes_nothing() {
    let report = shown(&demo(&["--json", "--on-host-read", "block"]));
    for id in ["host-read-refused", "host-read-harmless", "tensors-still-equal"] {
        assert!(checks(&report).contains(&(id, true)), "{id}");
    }
}

#[test]
fn one_of_three_custodians_killed_is_survived() {
    let report = shown(&demo(&["--json", "--kill", "1"]));
    assert!(detail(&report, "release").contains("left out: custodian 3"));
}

#[test]
fn two_of_three_custodians_killed_is_refused_clearly() {
    let output = demo(&["--json", "--kill", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(detail(&json(&output), "release").contains("have 1 of 2"));
    let line = stderr(&output);
    assert!(line.contains("have 1 of 2") && line.lines().count() == 1, "{line}");
}

#[test]
fn one_liar_is_why_revocation_needs_three() {
    let report = shown(&demo(&["--json", "--faulty", "1"]));
    let why = detail(&report, "revocation-effective");
    assert!(why.contains("3 acknowledgements (n-k+1+f = 3-2+1+1)"), "{why}");
    assert!(why.contains("may lie"), "{why}");
}

#[test]
fn parameters_that_protect_nothing_are_refused() {
    refused(&demo(&["--faulty", "2"]), &["f is 2 and k is 2", "f < k"]);
    refused(&demo(&["--threshold", "4"]), &["k is 4", "n = 3"]);
    let missing = demo(&["--model", "nowhere.safetensors"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(stderr(&missing).contains("`nowhere.safetensors`"));
}

#[test]
fn kept_files_hold_no_plaintext_model_but_every_event_log() {
    let folder = tempfile::TempDir::new().unwrap();
    let keep = folder.path().join("run");
    shown(&demo(&["--json", "--model", MODEL, "--keep", keep.to_str().unwrap()]));
    let logs = common::names(&keep.join("logs"));
    for log in ["custodian-1.jsonl", "custodian-2.jsonl", "custodian-3.jsonl", "device.jsonl"] {
        assert!(logs.iter().any(|name| name == log), "{log}: {logs:?}");
    }
    let again = demo(&["--keep", keep.to_str().unwrap()]);
    refused(&again, &["cannot create the folder", "exists"]);
}

/// How a run reads, with everything that differs between two runs taken out.
#[test]
fn timeline_reads_like_this() {
    let text = stdout(&demo(&[]));
    if !text.contains("its memory is memfd_secret") {
        println!("skipped: this kernel gives no secret pages, which the timeline says aloud");
        return;
    }
    insta::assert_snapshot!(redact(&text));
}

/// Columns are closed up: their width goes with what is in them.
fn redact(text: &str) -> String {
    text.lines().map(redact_line).collect::<Vec<_>>().join("\n")
}

fn redact_line(line: &str) -> String {
    let body = line.trim_start();
    let indent = &line[..line.len() - body.len()];
    let columns: Vec<String> =
        body.split("  ").map(str::trim).filter(|c| !c.is_empty()).map(redact_column).collect();
    let is_stage = columns.first().is_some_and(|first| first == "[figure]");
    let indent = if is_stage { "" } else { indent };
    format!("{indent}{}", columns.join("  "))
}

/// Times, sizes, counts of one run, random names, and who was asked first.
fn redact_column(column: &str) -> String {
    let words: Vec<&str> = column.split(' ').collect();
    let mut shown: Vec<String> = Vec::new();
    for (at, word) in words.iter().enumerate() {
        let next = bare(words.get(at + 1).copied().unwrap_or_default());
        let before = at.checked_sub(1).and_then(|at| words.get(at)).copied().unwrap_or_default();
        let is_number = word.parse::<f64>().is_ok();
        let is_unit = UNITS.contains(&bare(word)) && before.parse::<f64>().is_ok();
        if is_unit {
            let rest = word.trim_start_matches(bare(word));
            shown.push(rest.to_owned());
        } else if is_number && UNITS.contains(&next) {
            shown.push("[figure]".into());
        } else if is_number
            && (COUNTED.contains(&next) || next == "of" && column.contains("receipts"))
        {
            shown.push("[count]".into());
        } else if is_name(word) {
            shown.push("[name]".into());
        } else if before == "custodian" && word.ends_with(':') {
            shown.push("[id]:".into());
        } else {
            shown.push((*word).to_owned());
        }
    }
    let text =
        shown.join(" ").replace("[figure] ;", "[figure];").replace("[figure] ,", "[figure],");
    // The notice may overtake the last acknowledgement, or not.
    let when = ["[figure]  before t_eff", "[figure]  after t_eff"];
    let text = when.iter().fold(text, |text, when| text.replace(when, "[when]"));
    text.trim_end().replace("[figure]  ", "[figure] ")
}

fn bare(word: &str) -> &str {
    word.trim_end_matches([',', ';', '.', ':'])
}

fn is_name(word: &str) -> bool {
    let hex = bare(word);
    hex.len() >= 8 && hex.chars().all(|c| c.is_ascii_hexdigit())
}

const UNITS: [&str; 6] = ["s", "ms", "µs", "B", "kB", "MB"];
const COUNTED: [&str; 8] =
    ["requests", "refused", "renewals", "leaves", "events", "signed", "distinct", "receipts"];
