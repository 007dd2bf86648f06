//! What is committed was built from these sources: a changed kernel without a rebuild fails here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ring::digest::{SHA256, digest};
use split_custody_kernels::prebuilt::SHA256SUMS;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn listed() -> BTreeMap<String, String> {
    let lines = SHA256SUMS.lines().map(|line| line.split_once("  ").expect("digest and name"));
    lines.map(|(digest, name)| (name.into(), digest.into())).collect()
}

#[test]
fn every_listed_file_has_the_listed_digest() {
    for (name, expected) in listed() {
        let bytes = fs::read(folder().join(&name)).expect("a listed file is in the repository");
        let found: String =
            digest(&SHA256, &bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, expected, "`{name}` changed: run kernels/build-cubins --update");
    }
}

#[test]
fn every_source_and_every_built_file_is_listed() {
    let listed = listed();
    for part in ["cu", "prebuilt"] {
        for entry in fs::read_dir(folder().join(part)).expect("the folder is in the repository") {
            let name = entry.expect("readable").file_name().into_string().expect("a plain name");
            let name = format!("{part}/{name}");
            assert!(
                name == "prebuilt/SHA256SUMS" || listed.contains_key(&name),
                "`{name}` is not listed"
            );
        }
    }
    assert!(listed.contains_key("build-cubins") && listed.contains_key("budgets.py"));
}
