//! The protocol links where there is no standard library.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Its own workspace, target folder and lock file; nothing is fetched.
#[test]
fn the_protocol_links_without_the_standard_library() {
    let crate_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no-std");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--release", "--offline", "--locked"])
        .arg("--manifest-path")
        .arg(crate_root.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        // Flags of the run that tests us are not those of an embedder.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .status()
        .expect("cargo runs");
    assert!(status.success());
    let archive = target.join("release/libsplit_custody_no_std.a");
    let bytes = fs::read(&archive).expect("an archive");
    assert!(bytes.starts_with(b"!<arch>\n"));
}

/// What is linked may name `std` nowhere, or the build above would say nothing.
#[test]
fn the_linked_crate_names_no_standard_library() {
    let source = include_str!("no-std/src/lib.rs");
    assert!(source.contains("#![no_std]"));
    assert!(!source.contains("extern crate std"));
}
