//! Every requirement is enforced and shown somewhere, or says why not.
//!
//! `TRACE_BLESS=1` writes `docs/traceability.md`; without it the committed page, if there is one,
//! has to be current.

use std::fs;
use std::path::{Path, PathBuf};

use split_custody_spec::trace::{self, Source};
use split_custody_spec::{EXCEPTIONS, ids};

#[test]
fn every_requirement_is_enforced_and_shown() {
    let exceptions = trace::exceptions(EXCEPTIONS).expect("exceptions.toml is well formed");
    let faults = trace::faults(&ids::requirements(), &exceptions, &trace::scan(&sources()));
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn the_page_is_current() {
    let exceptions = trace::exceptions(EXCEPTIONS).expect("exceptions.toml is well formed");
    let page = trace::page(&ids::requirements(), &exceptions, &trace::scan(&sources()));
    let path = root().join("docs/traceability.md");
    if std::env::var_os("TRACE_BLESS").is_some() {
        fs::write(&path, page).expect("docs can be written");
    } else if let Ok(committed) = fs::read_to_string(&path) {
        assert!(committed == page, "docs/traceability.md is old: run with TRACE_BLESS=1");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every Rust and CUDA file that may cite or show a requirement.
fn sources() -> Vec<Source> {
    let root = root();
    let mut sources = Vec::new();
    for folder in ["protocol", "impl", "kernels", "model-check", "fuzz", "spec"] {
        walk(&root, Path::new(folder), &mut sources);
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(sources.len() > 3, "found no sources beside the specification");
    sources
}

fn walk(root: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else {
        return;
    };
    for entry in entries.map(|entry| entry.expect("a readable folder")) {
        let path = folder.join(entry.file_name());
        let kind = entry.file_type().expect("a file type");
        if kind.is_dir() && !matches!(entry.file_name().to_str(), Some("target" | "corpus")) {
            walk(root, &path, sources);
        } else if matches!(path.extension().and_then(|e| e.to_str()), Some("rs" | "cu" | "cuh")) {
            let text = fs::read_to_string(root.join(&path)).expect("a readable source");
            let path = path.to_str().expect("paths are UTF-8").replace('\\', "/");
            sources.push(Source { path, text });
        }
    }
}
