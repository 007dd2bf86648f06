//! The measurement runs, compares each step with the raw one, and leaves nothing behind.

mod common;

use std::path::Path;

use split_custody_weights::bench::{Input, Report, Settings, run};

use common::{listing, threads};

#[test]
fn bench_reports_every_step_on_each_number_of_threads() {
    let report = measured(None);
    assert_eq!(report.figures.len(), 2 * 10);
    assert!(report.figures.iter().all(|f| f.seconds.min > 0.0 && f.ratio.median.is_finite()));
    let raw =
        report.figures.iter().find(|f| f.step == "raw open, memory to memory").expect("the floor");
    assert_eq!((raw.ratio.min, raw.ratio.max), (1.0, 1.0));
    assert!(report.to_string().contains("open, file to memory"));
    assert!(report.peers.is_empty());
}

#[test]
fn bench_says_why_a_library_beside_was_not_measured() {
    let report = measured(Some(Path::new("no-such-interpreter")));
    assert_eq!(report.figures.len(), 2 * 10);
    let table = report.to_string();
    for (peer, name) in report.peers.iter().zip(["safetensors", "cryptotensors"]) {
        assert_eq!((peer.name, &peer.version), (name, &None));
        let why = peer.not_run.as_deref().expect("there is no such interpreter");
        assert!(why.contains("cannot start `no-such-interpreter`"), "{why}");
        let row = table.lines().find(|line| line.starts_with(name)).expect("a row of its own");
        assert!(row.contains("not run: cannot start"), "{row}");
    }
    assert_eq!(report.peers.len(), 2 * 2);
}

/// An interpreter that answers like the script does, without any library.
#[test]
fn bench_compares_what_a_library_says_with_the_floor_of_the_same_repeat() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = script(folder.path(), "good", GOOD);
    let report = measured(Some(&good));
    assert_eq!(report.figures.len(), 2 * (10 + 4));
    let load = report.figures.iter().find(|f| f.step == "cryptotensors: load and decrypt");
    let load = load.expect("it answered");
    assert_eq!((load.seconds.min, load.seconds.max, load.peak), (0.25, 0.25, Some(8192)));
    assert!(report.to_string().contains("is 9.9"));

    let broken = script(folder.path(), "broken", BROKEN);
    let report = measured(Some(&broken));
    assert_eq!(report.figures.len(), 2 * 10, "half a series is no figure");
    assert!(report.to_string().contains("not run: it ended without an answer"));
}

const GOOD: &str = r#"echo '{"version":"9.9"}'
while read -r _; do echo '{"save":{"seconds":0.5,"peak":4096},"load":{"seconds":0.25,"peak":8192}}'; done"#;
const BROKEN: &str = r#"echo '{"version":"9.9"}'; read -r _"#;

fn script(folder: &Path, name: &str, body: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;

    let path = folder.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("room for a small file");
    let permissions = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(&path, permissions).expect("the file is ours");
    path
}

fn measured(python: Option<&Path>) -> Report {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let threads = [threads(1), threads(2)];
    let settings = Settings { scratch: scratch.path(), threads: &threads, repeats: 2, python };
    let report =
        run(&Input::Synthetic { bytes: 1_300_000 }, &settings).expect("it needs only room");
    assert!(listing(scratch.path()).is_empty());
    report
}
