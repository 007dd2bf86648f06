//! Custodians whose keys lie in tokens, as operators run them. Chapter 35.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Deployment, Role, custody, good, json, refused, stderr};

const SOFTHSM: [&str; 3] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
];

/// SoftHSM2's module; without it these tests say so, and in CI they fail.
fn softhsm() -> Option<PathBuf> {
    let found = SOFTHSM.iter().map(PathBuf::from).find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "SoftHSM2 is not installed, and CI needs it");
        eprintln!("NOT RUN: SoftHSM2 is not installed (apt-get install softhsm2)");
    }
    found
}

/// `hsm.toml` and a PIN in a custodian's folder; the token is made by `init --create-token`.
fn configure(folder: &Path, module: &Path) {
    let (tokens, conf) = (folder.join("token"), folder.join("softhsm2.conf"));
    fs::create_dir_all(&tokens).unwrap();
    fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    fs::write(folder.join("user.pin"), "4321-throw-away").unwrap();
    fs::set_permissions(folder.join("user.pin"), PermissionsExt::from_mode(0o600)).unwrap();
    let text = format!(
        "module = \"{}\"\ntoken = \"mine\"\npin_source = \"file:user.pin\"\n[env]\nSOFTHSM2_CONF = \"{}\"\n",
        module.display(),
        conf.display()
    );
    fs::write(folder.join("hsm.toml"), text).unwrap();
}

/// A token with keys in a folder that belongs to nobody.
fn token(module: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    configure(folder.path(), module);
    good(&custody(folder.path(), &["hsm", "init", "--create-token"]));
    folder
}

/// Three custodians over tokens, sealed to and serving.
fn serving(module: &Path) -> Deployment {
    let folder = tempfile::tempdir().unwrap();
    good(&custody(folder.path(), &["keygen", "keys", "--hsm"]));
    for id in 1..=3 {
        let dir = format!("keys/custodian-{id}");
        configure(&folder.path().join(&dir), module);
        good(&custody(folder.path(), &["hsm", "init", "--dir", &dir, "--create-token"]));
    }
    // The first custodian's TLS key lies in its token too.
    good(&custody(folder.path(), &["hsm", "certify", "--keys", "keys", "--custodian", "1"]));
    let mut deployment = Deployment::over(folder);
    refused(&deployment.seal("model.sealed", &[]), &["HSM-14", "--development"]);
    good(&deployment.seal("model.sealed", &["--development"]));
    good(&deployment.provision("model.sealed"));
    deployment.start_node();
    deployment.start_device();
    deployment
}

#[test]
fn hsm_14_kek_of_the_development_suite_is_not_sealed_to_unasked() {
    let Some(module) = softhsm() else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| custody(folder.path(), arguments);
    good(&run(&["keygen", "keys", "--hsm", "--custodians", "1"]));
    configure(&folder.path().join("keys/custodian-1"), &module);
    good(&run(&["hsm", "init", "--dir", "keys/custodian-1", "--create-token"]));
    let seal = ["seal", common::MODEL, "model.sealed", "--keys", "keys", "--threshold", "1"];
    refused(&run(&seal), &["kek.pub.pem", "P256-CBCD-KW", "--development", "HSM-14"]);
    assert_eq!(common::names(folder.path()), ["keys"], "nothing is left behind");
    good(&run(&[&seal[..], &["--development"]].concat()));
}

fn renewals(deployment: &Deployment) -> u64 {
    let lease = deployment.lease();
    let leases = lease["leases"].as_array().unwrap().iter();
    leases.map(|lease| lease["renewals"].as_u64().unwrap()).sum()
}

/// The workers of a custodian: its children.
fn worker_of(role: &Role) -> u32 {
    let pid = role.pid();
    let children = fs::read_dir(format!("/proc/{pid}/task"))
        .unwrap()
        .map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    let children: Vec<u32> = children
        .flat_map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert_eq!(children.len(), 1, "one worker for each custodian");
    children[0]
}

#[test]
fn hsm_11_token_away_for_ten_seconds_leases_renew_releases_are_refused_and_all_recovers() {
    let Some(module) = softhsm() else { return };
    let deployment = serving(&module);
    good(&deployment.load("model.sealed"));
    let tokens = |id: usize| deployment.path().join(format!("keys/custodian-{id}/token"));
    let away = |id: usize| tokens(id).with_extension("away");
    for id in 1..=3 {
        fs::rename(tokens(id), away(id)).unwrap();
        let worker = worker_of(&deployment.custodians[id - 1]);
        assert!(
            Command::new("kill").args(["-KILL", &worker.to_string()]).status().unwrap().success()
        );
    }
    let (start, before) = (Instant::now(), renewals(&deployment));
    std::thread::sleep(Duration::from_secs(5));
    // Five seconds are more than two terms: who counts now has renewed without its HSM.
    assert!(renewals(&deployment) > before, "live leases renew");
    assert_eq!(deployment.lease()["counting"], 3);
    std::thread::sleep(Duration::from_secs(10).saturating_sub(start.elapsed()));
    assert_eq!(deployment.lease()["counting"], 3);
    let gone = deployment.load("model.sealed");
    refused(&gone, &["have 0 of 2"]);
    for id in 1..=3 {
        fs::rename(away(id), tokens(id)).unwrap();
    }
    let start = Instant::now();
    while !deployment.load("model.sealed").status.success() {
        assert!(start.elapsed() < Duration::from_secs(20), "no recovery without a restart");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn hsm_12_import_rotation_and_destruction_from_the_command_line() {
    let Some(module) = softhsm() else { return };
    let deployment = serving(&module);
    let dir = "keys/custodian-2";
    let import = ["hsm", "import", "--dir", dir, "model.sealed.provision-2"];
    good(&deployment.run(&import));
    good(&deployment.run(&["hsm", "destroy", "--dir", dir, "--import-key", "--yes", "--json"]));
    let made = json(&deployment.run(&["hsm", "rotate", "--dir", dir, "--json"]));
    // Without its import key a custodian is not served from: its keys are not whole.
    assert!(made["error"].as_str().is_some_and(|e| e.contains("no key `import`")), "{made}");
    let made = json(&deployment.run(&["hsm", "rotate", "--dir", "keys/custodian-3", "--json"]));
    assert_eq!(made["moved"], 0);
    good(&deployment.load("model.sealed"));
    let made = json(&deployment.run(&["hsm", "rotate", "--dir", "keys/custodian-3", "--json"]));
    assert_eq!(made["moved"], 1);
    let unsure = deployment.run(&["hsm", "destroy", "--dir", "keys/custodian-3"]);
    assert_eq!(unsure.status.code(), Some(2));
    good(&deployment.run(&["hsm", "destroy", "--dir", "keys/custodian-3", "--yes"]));
    let again = deployment.run(&["hsm", "rotate", "--dir", "keys/custodian-3"]);
    refused(&again, &["no key", "custody hsm init"]);
}

#[test]
fn hsm_8_probe_and_conform_say_what_a_token_can() {
    let Some(module) = softhsm() else { return };
    let folder = token(&module);
    let probed = json(&custody(folder.path(), &["hsm", "probe", "--json"]));
    assert_eq!(probed["suites"], serde_json::json!(["P256-CBCD-KW"]));
    let report = json(&custody(folder.path(), &["hsm", "conform", "--json"]));
    assert_eq!(report["grade"], "development");
    let text = good(&custody(folder.path(), &["hsm", "conform"]));
    for line in ["works  P256-CBCD-KW", "kept   kek-wrapped", "BROKEN share-wrapped-under-imported"]
    {
        assert!(text.contains(line), "`{line}` is missing: {text}");
    }
}

#[test]
fn hsm_10_bad_tokens_get_one_line_and_their_exit_code() {
    let Some(module) = softhsm() else { return };
    let folder = token(&module);
    let run = |arguments: &[&str]| custody(folder.path(), arguments);
    refused(&run(&["hsm", "init"]), &["key `import` already", "never overwritten"]);
    fs::write(folder.path().join("user.pin"), "wrong-pin-0").unwrap();
    let wrong = run(&["hsm", "probe"]);
    refused(&wrong, &["PIN", "tried once", "HSM-10"]);
    assert!(!stderr(&wrong).contains("wrong-pin-0"));
    fs::set_permissions(folder.path().join("user.pin"), PermissionsExt::from_mode(0o644)).unwrap();
    refused(&run(&["hsm", "probe"]), &["user.pin", "600 or 400"]);
    let absent = ["hsm", "probe", "--module", "/nowhere.so", "--token", "t", "--pin-source"];
    let missing = run(&[&absent[..], &["file:user.pin"]].concat());
    assert_eq!(missing.status.code(), Some(3), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("/nowhere.so"));
    let typed = run(&[&absent[..], &["1234"]].concat());
    assert_eq!(typed.status.code(), Some(2));
    let text = fs::read_to_string(folder.path().join("hsm.toml")).unwrap();
    fs::write(folder.path().join("hsm.toml"), text.replace("mine", "other")).unwrap();
    let absent = run(&["hsm", "probe"]);
    assert_eq!(absent.status.code(), Some(3), "{}", stderr(&absent));
    let nowhere = tempfile::tempdir().unwrap();
    let init = ["hsm", "init", "--module", "/nowhere.so", "--token", "t", "--pin-source", "fd:99"];
    assert_eq!(custody(nowhere.path(), &init).status.code(), Some(3));
    assert!(common::names(nowhere.path()).is_empty(), "nothing half made is left behind");
    fs::write(folder.path().join("hsm.toml"), "modul = 1").unwrap();
    refused(&run(&["hsm", "probe"]), &["hsm.toml"]);
}
