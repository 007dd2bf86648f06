//! Sealed files and manifests that are not what they should be, offered to a real device.

mod common;

use std::fs;

use common::{Deployment, custody, good, refused, stderr, with_keys};

#[test]
fn seal_8_sealed_file_that_was_cut_is_not_loaded() {
    let deployment = Deployment::serving();
    deployment.copy_model("model.sealed", "cut.sealed");
    let whole = fs::read(deployment.path().join("model.sealed")).unwrap();
    for length in [0, 7, 1000, whole.len() / 2, whole.len() - 1] {
        fs::write(deployment.path().join("cut.sealed"), &whole[..length]).unwrap();
        let said = ["model was not loaded", "cut.sealed", "the manifest says"];
        refused(&deployment.load("cut.sealed"), &said);
    }
    refused(&deployment.run(&["inspect", "cut.sealed"]), &["cut.sealed", "is cut to"]);
    // The device is as good as before.
    good(&deployment.load("model.sealed"));
}

#[test]
fn seal_7_tampered_chunk_is_not_loaded_and_nothing_is_served() {
    let deployment = Deployment::serving();
    deployment.copy_model("model.sealed", "bad.sealed");
    let path = deployment.path().join("bad.sealed");
    let mut bytes = fs::read(&path).unwrap();
    let place = bytes.len() - 100;
    bytes[place] ^= 1;
    fs::write(&path, bytes).unwrap();
    refused(&deployment.load("bad.sealed"), &["model was not loaded", "tensor `t", "wrong tag"]);
    assert_eq!(deployment.lease()["custody"], "Idle");
    good(&deployment.load("model.sealed"));
}

#[test]
fn seal_8_table_or_file_of_another_model_is_refused() {
    let deployment = Deployment::serving();
    good(&deployment.seal("other.sealed", &[]));
    deployment.copy_model("model.sealed", "mixed.sealed");
    let folder = deployment.path();
    fs::copy(folder.join("other.sealed.table"), folder.join("mixed.sealed.table")).unwrap();
    refused(&deployment.load("mixed.sealed"), &["mixed.sealed.table", "not the table", "SEAL-8"]);

    deployment.copy_model("model.sealed", "swapped.sealed");
    fs::copy(folder.join("other.sealed"), folder.join("swapped.sealed")).unwrap();
    refused(&deployment.load("swapped.sealed"), &["swapped.sealed", "differs from the manifest"]);
    let inspected = deployment.run(&["inspect", "swapped.sealed"]);
    refused(&inspected, &["swapped.sealed", "differs from the manifest", "SEAL-8"]);
}

#[test]
fn hs_4_manifest_of_another_model_is_released_by_nobody() {
    let deployment = Deployment::serving();
    good(&deployment.seal("other.sealed", &[]));
    refused(&deployment.load("other.sealed"), &["have 0 of 2", "refused"]);
    deployment.custodians[0].line_with("unknown deployment, weights or version [HS-4]");
}

#[test]
fn hs_4_older_version_is_released_by_nobody() {
    let mut deployment = Deployment::custodians();
    let weights = "00112233445566778899aabbccddeeff";
    good(&deployment.seal("old.sealed", &["--weights", weights, "--version", "1"]));
    good(&deployment.seal("new.sealed", &["--weights", weights, "--version", "2"]));
    good(&deployment.provision("new.sealed"));
    deployment.start_node();
    deployment.start_device();
    refused(&deployment.load("old.sealed"), &["have 0 of 2"]);
    good(&deployment.load("new.sealed"));
    // What is provisioned stays: an older manifest does not replace it.
    refused(&deployment.provision("old.sealed"), &["custodian 1", "refused"]);
}

#[test]
fn seal_8_manifest_of_another_owner_is_refused_by_the_device() {
    let deployment = Deployment::serving();
    let stranger = with_keys();
    let seal = ["seal", common::MODEL, "theirs.sealed", "--keys", "keys"];
    good(&custody(stranger.path(), &seal));
    for ending in ["", ".manifest", ".table", ".deployment"] {
        let name = format!("theirs.sealed{ending}");
        fs::copy(stranger.path().join(&name), deployment.path().join(&name)).unwrap();
    }
    let said = ["theirs.sealed.manifest", "signature does not verify"];
    refused(&deployment.load("theirs.sealed"), &said);
    let inspect = ["inspect", "theirs.sealed", "--owner", "keys/owner/owner.pub.pem"];
    refused(&deployment.run(&inspect), &said);
}

#[test]
fn wire_2_manifest_with_a_byte_more_is_refused() {
    let deployment = Deployment::serving();
    deployment.copy_model("model.sealed", "long.sealed");
    let path = deployment.path().join("long.sealed.manifest");
    let mut bytes = fs::read(&path).unwrap();
    bytes.push(0);
    fs::write(&path, bytes).unwrap();
    refused(&deployment.load("long.sealed"), &["long.sealed.manifest", "WIRE-2"]);
}

#[test]
fn missing_sidecars_and_devices_are_named() {
    let deployment = Deployment::custodians();
    good(&deployment.seal("model.sealed", &[]));
    let nobody = deployment.load("model.sealed");
    refused(&nobody, &["control.sock", "cannot reach the process"]);
    fs::remove_file(deployment.path().join("model.sealed.provision-2")).unwrap();
    refused(&deployment.provision("model.sealed"), &["model.sealed.provision-2", "No such file"]);
}

#[test]
fn wrong_key_share_for_another_custodian_is_refused() {
    let deployment = Deployment::custodians();
    good(&deployment.seal("model.sealed", &[]));
    let folder = deployment.path();
    fs::copy(folder.join("model.sealed.provision-2"), folder.join("model.sealed.provision-1"))
        .unwrap();
    refused(&deployment.provision("model.sealed"), &["custodian 1", "refused"]);
    deployment.custodians[0].line_with("HS-4");
}

#[test]
fn unknown_custodian_is_refused() {
    let deployment = Deployment::custodians();
    good(&deployment.seal("model.sealed", &[]));
    let provision = ["provision", "model.sealed", "--keys", "keys", "--custodian", "9=127.0.0.1:9"];
    refused(&deployment.run(&provision), &["custodian 9 is not in the manifest"]);
    let malformed =
        deployment.run(&["node", "--dir", "keys/node", "--socket", "s", "--custodian", "1"]);
    assert_eq!(malformed.status.code(), Some(2));
    assert!(stderr(&malformed).contains("is not ID=ADDRESS"));
    // Custodian 2 answers at the address that is given for custodian 1.
    let (_, second) = deployment.addresses[1].split_once('=').unwrap();
    let wrong = format!("1={second}");
    let provision = ["provision", "model.sealed", "--keys", "keys", "--custodian", &wrong];
    refused(&deployment.run(&provision), &["custodian 1", "certificate"]);
}
