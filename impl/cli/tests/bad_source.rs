//! Sources that are not strict safetensors files, and targets that cannot be written: one line, and
//! nothing is left behind.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{MODEL, custody, good, names, refused, safetensors, stderr, with_keys};

/// A source that must be refused with these words; the folder is as it was before.
#[track_caller]
fn source_is_refused(bytes: &[u8], said: &[&str]) {
    let folder = with_keys();
    fs::write(folder.path().join("source"), bytes).unwrap();
    let output = custody(folder.path(), &["seal", "source", "target", "--keys", "keys"]);
    refused(&output, said);
    refused(&output, &["`source`"]);
    assert_eq!(names(folder.path()), ["keys", "source"]);
}

fn two(first: (u64, u64), second: (u64, u64)) -> String {
    format!(
        r#"{{"a":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}},"b":{{"dtype":"U8","shape":[4],"data_offsets":[{},{}]}}}}"#,
        first.0, first.1, second.0, second.1
    )
}

#[test]
fn seal_10_not_a_safetensors_file_is_refused() {
    source_is_refused(b"once upon a time there was a model", &["header of"]);
}

#[test]
fn seal_10_empty_file_is_refused() {
    source_is_refused(b"", &["file is empty"]);
}

#[test]
fn seal_10_file_that_ends_inside_the_header_length_is_refused() {
    source_is_refused(&[1, 2, 3], &["ends inside the 8-byte header length"]);
}

#[test]
fn seal_10_truncated_header_is_refused() {
    let file = safetensors(&two((0, 4), (4, 8)), &[7; 8]);
    source_is_refused(&file[..40], &["header of", "does not fit in a file of 40 bytes"]);
}

#[test]
fn seal_10_lying_header_is_refused() {
    source_is_refused(&safetensors(&two((0, 4), (4, 80)), &[7; 8]), &["`b`", "span"]);
}

#[test]
fn seal_10_overlapping_offsets_are_refused() {
    source_is_refused(&safetensors(&two((0, 4), (2, 6)), &[7; 8]), &["`b`", "overlaps"]);
}

#[test]
fn seal_10_holed_offsets_are_refused() {
    source_is_refused(&safetensors(&two((0, 4), (6, 10)), &[7; 10]), &["`b`", "hole"]);
}

#[test]
fn seal_10_duplicate_names_are_refused() {
    let header = two((0, 4), (4, 8)).replace(r#""b""#, r#""a""#);
    source_is_refused(&safetensors(&header, &[7; 8]), &["name occurs twice"]);
}

#[test]
fn seal_10_trailing_bytes_are_refused() {
    source_is_refused(&safetensors(&two((0, 4), (4, 8)), &[7; 9]), &["1 bytes follow"]);
}

#[test]
fn seal_10_tensor_of_no_bytes_is_sealed() {
    let folder = with_keys();
    let header = r#"{"none":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}}"#;
    fs::write(folder.path().join("source"), safetensors(header, b"abcd")).unwrap();
    good(&custody(folder.path(), &["seal", "source", "target", "--keys", "keys"]));
    let said = good(&custody(folder.path(), &["inspect", "target"]));
    assert!(said.contains("t00002"), "{said}");
}

#[test]
fn seal_11_missing_source_and_existing_target_are_refused() {
    let folder = with_keys();
    let output = custody(folder.path(), &["seal", "nowhere", "target", "--keys", "keys"]);
    refused(&output, &["`nowhere`", "No such file"]);
    fs::write(folder.path().join("target"), b"mine").unwrap();
    let output = custody(folder.path(), &["seal", MODEL, "target", "--keys", "keys"]);
    refused(&output, &["`target`", "exists already"]);
    assert_eq!(fs::read(folder.path().join("target")).unwrap(), b"mine");
}

#[test]
fn seal_11_existing_sidecar_is_not_lost_and_nothing_is_sealed() {
    let folder = with_keys();
    fs::write(folder.path().join("target.table"), b"mine").unwrap();
    let output = custody(folder.path(), &["seal", MODEL, "target", "--keys", "keys"]);
    refused(&output, &["`target.table`", "exists already"]);
    assert_eq!(names(folder.path()), ["keys", "target.table"]);
}

/// The same refusal that a full disk gives, for whoever runs the test: no file may grow.
#[test]
fn seal_11_disk_full_while_sealing_leaves_nothing() {
    let folder = with_keys();
    let script = format!(
        "trap '' XFSZ; ulimit -f 200; exec {} seal {MODEL} target --keys keys",
        env!("CARGO_BIN_EXE_custody")
    );
    let output = Command::new("bash")
        .current_dir(folder.path())
        .args(["-c", &script])
        .output()
        .expect("bash runs");
    refused(&output, &["`target`", "cannot write the file"]);
    assert_eq!(names(folder.path()), ["keys"]);
}

/// Where the user may mount one: a disk that is really full.
#[test]
fn seal_11_full_file_system_leaves_nothing() {
    let folder = with_keys();
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |arguments: &[&str]| {
        let done = Command::new("mount").args(arguments).arg(&disk).output();
        done.is_ok_and(|output| output.status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=512k", "tmpfs"]) {
        println!("skipped: this user may not mount a small disk");
        return;
    }
    let output = custody(folder.path(), &["seal", MODEL, "disk/target", "--keys", "keys"]);
    let left = names(&disk);
    assert!(Command::new("umount").arg(&disk).status().unwrap().success());
    refused(&output, &["`disk/target`", "No space left on device"]);
    assert_eq!(left, [""; 0]);
}

#[test]
fn qrm_7_liars_that_could_release_are_refused() {
    let folder = with_keys();
    let seal = |more: &[&str]| {
        let arguments = [&["seal", MODEL, "target", "--keys", "keys"], more].concat();
        custody(folder.path(), &arguments)
    };
    refused(&seal(&["--faulty", "2"]), &["f is 2 and k is 2", "f < k", "QRM-7"]);
    refused(&seal(&["--threshold", "4"]), &["k is 4", "n = 3", "QRM-7"]);
    refused(&seal(&["--threshold", "0"]), &["k is 0", "QRM-7"]);
    refused(&seal(&["--first-ms", "100"]), &["--first-ms is 100", "LEA-12"]);
    assert_eq!(names(folder.path()), ["keys"]);
}

#[test]
fn key_files_that_others_can_read_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = with_keys();
    let key = folder.path().join("keys/owner/owner.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let output = custody(folder.path(), &["seal", MODEL, "target", "--keys", "keys"]);
    refused(&output, &["owner.pem", "mode `644`"]);
    assert_eq!(names(folder.path()), ["keys"]);
}

#[test]
fn wrong_key_file_is_refused() {
    let folder = with_keys();
    let keys = folder.path().join("keys");
    fs::copy(keys.join("custodian-1/kek.pem"), keys.join("owner/owner.pem")).unwrap();
    let output = custody(folder.path(), &["seal", MODEL, "target", "--keys", "keys"]);
    refused(&output, &["owner.pem", "not a P-256 private key"]);
    assert_eq!(names(folder.path()), ["keys"]);
}

#[test]
fn keygen_never_overwrites() {
    let folder = with_keys();
    let before = fs::read(folder.path().join("keys/owner/owner.pem")).unwrap();
    refused(&custody(folder.path(), &["keygen", "keys"]), &["`keys`", "exists already"]);
    assert_eq!(fs::read(folder.path().join("keys/owner/owner.pem")).unwrap(), before);
    assert_eq!(names(folder.path()), ["keys"]);
}

#[test]
fn keygen_makes_keys_that_only_their_owner_can_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = with_keys();
    let keys = folder.path().join("keys");
    let files = [
        "owner/owner.pem",
        "operators/operator-1.pem",
        "operators/issuer.key",
        "custodian-1/kek.pem",
        "custodian-1/grant.pem",
        "custodian-1/leaf.key",
        "device-1/gpu.pem",
        "device-1/platform.pem",
        "node/issuer.key",
    ];
    for file in files {
        let mode = fs::metadata(keys.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn usage_is_exit_code_2_and_absent_hardware_3() {
    let here = Path::new(".");
    assert_eq!(custody(here, &["seal"]).status.code(), Some(2));
    assert_eq!(custody(here, &["demo", "--hsm", "stone"]).status.code(), Some(2));
    let pkcs11 = custody(here, &["demo", "--hsm", "pkcs11:/usr/lib/none.so"]);
    assert_eq!(pkcs11.status.code(), Some(3));
    assert!(stderr(&pkcs11).contains("`/usr/lib/none.so`: no such module"));
}
