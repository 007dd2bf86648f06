//! Every role on its own, with files in folders, from keys to a revocation.

mod common;

use std::time::{Duration, Instant};

use common::{Deployment, MODEL, custody, good, json, refused, with_keys};

#[test]
fn a_deployment_is_operated_command_by_command() {
    let mut deployment = Deployment::serving();
    let loaded =
        json(&deployment.run(&["load", "model.sealed", "--device", "keys/device-1", "--json"]));
    assert_eq!(loaded["left_out"], serde_json::json!([]));
    // Two were enough to load; the third grant adds its lease when it comes. [QRM-6]
    wait_for(|| deployment.lease()["counting"] == 3);
    let twice = deployment.run(&["load", "model.sealed", "--device", "keys/device-1"]);
    refused(&twice, &["not in this state"]);

    // A custodian that starts anew serves again without its operators, under a new generation.
    let address = deployment.addresses[0].split_once('=').unwrap().1.to_owned();
    deployment.custodians[0].end();
    deployment.custodians[0] = deployment.custodian(1, &address);
    let status = json(&deployment.run_with_custodians(&[
        "provision",
        "model.sealed",
        "--keys",
        "keys",
        "--json",
    ]));
    assert_eq!(status["serving"][0]["generation"], 2);
    assert_eq!(status["serving"][1]["generation"], 1);

    let audit = ["audit", "verify", "keys/custodian-2", "--device", "keys/device-1", "--json"];
    let audit = json(&deployment.run(&audit));
    assert_eq!(audit["receipts"], 1);
    assert!(audit["leaves"].as_u64().unwrap() >= 4);

    let ready = &deployment.device.as_ref().unwrap().ready;
    let id = ready.split_whitespace().nth(1).unwrap().to_owned();
    let revoke = ["revoke", "--model", "model.sealed", "--keys", "keys", "--device", &id, "--wait"];
    let said = good(&deployment.run_with_custodians(&revoke));
    assert!(said.contains("have 2 of 2") && said.contains("effective"), "{said}");
    assert!(said.contains("dead: every lease"), "{said}");
    assert_eq!(deployment.lease()["stopped"], "revoked");
    refused(&deployment.load("model.sealed"), &["REL-6"]);
    // Submitted once more, the same order is acknowledged once more.
    good(&deployment.run_with_custodians(&revoke));
}

#[test]
fn rev_8_custodians_that_are_away_are_asked_again_until_enough_signed() {
    let mut deployment = Deployment::serving();
    for custodian in &mut deployment.custodians[1..] {
        custodian.end();
    }
    let everything = ["revoke", "--model", "model.sealed", "--keys", "keys", "--everything"];
    let now = [&everything[..], &["--patience", "0"]].concat();
    let refused_now = deployment.run_with_custodians(&now);
    refused(&refused_now, &["have 1 of 2", "no bound is claimed", "custodian 2", "custodian 3"]);

    // One of the two comes back while the operator is still asking.
    let address = deployment.addresses[1].split_once('=').unwrap().1.to_owned();
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| deployment.run_with_custodians(&everything));
        std::thread::sleep(Duration::from_millis(700));
        let back = deployment.custodian(2, &address);
        (asking.join().expect("it ran"), back)
    });
    let said = good(&asking.0);
    assert!(said.contains("not effective yet: asking custodian 2 and 3 again"), "{said}");
    assert!(said.contains("have 2 of 2") && said.contains("effective: no new grant"), "{said}");
}

#[test]
fn a_reader_that_is_gone_is_no_panic() {
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_custody"))
        .arg("selftest")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn wait_for(is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn audit_of_a_log_that_was_changed_is_refused() {
    let mut deployment = Deployment::serving();
    good(&deployment.load("model.sealed"));
    refused(&deployment.run(&["audit", "verify", "keys/device-1"]), &["names no custodian"]);
    deployment.custodians[0].end();
    good(&deployment.run(&["audit", "verify", "keys/custodian-1"]));
    let store = deployment.path().join("keys/custodian-1/store.sqlite");
    let wal = deployment.path().join("keys/custodian-1/store.sqlite-wal");
    let _ = std::fs::remove_file(wal);
    std::fs::write(&store, b"not a database at all, but some bytes").unwrap();
    refused(&deployment.run(&["audit", "verify", "keys/custodian-1"]), &["store.sqlite"]);
}

#[test]
fn selftest_passes_and_names_what_it_cannot_use() {
    let here = std::path::Path::new(".");
    let report = json(&custody(here, &["selftest", "--json"]));
    assert_eq!(report["failed"], 0);
    assert!(report["passed"].as_u64().unwrap() >= 8);

    let folder = tempfile::TempDir::new().unwrap();
    refused(
        &custody(folder.path(), &["selftest", "--vectors", "."]),
        &["no JSON file in this folder"],
    );
    std::fs::write(folder.path().join("other.json"), r#"{"algorithm":"ROT13"}"#).unwrap();
    let output = custody(folder.path(), &["selftest", "--vectors", "."]);
    assert_eq!(output.status.code(), Some(1));
    assert!(common::stdout(&output).contains("other.json (ROT13)"));
}

#[test]
fn bench_open_prints_its_floor_beside_it() {
    let report = json(&custody(
        std::path::Path::new("."),
        &["bench", "open", "--size", "4", "--repeats", "1", "--json"],
    ));
    let steps = report["figures"].as_array().unwrap();
    for step in ["raw seal in place", "seal, memory to memory", "open, file to memory"] {
        assert!(steps.iter().any(|figure| figure["step"] == step), "{step}");
    }
}

#[test]
fn inspect_shows_the_public_layout_and_checks_the_signature() {
    let folder = with_keys();
    good(&custody(folder.path(), &["seal", MODEL, "model.sealed", "--keys", "keys"]));
    let arguments = ["inspect", "model.sealed", "--owner", "keys/owner/owner.pub.pem", "--json"];
    let layout = json(&custody(folder.path(), &arguments));
    assert_eq!(layout["manifest"]["k"], 2);
    assert_eq!(layout["manifest"]["verified"], true);
    assert_eq!(layout["tensors"].as_array().unwrap().len(), 16);
    refused(&custody(folder.path(), &["inspect", MODEL]), &["not a sealed file"]);
}
