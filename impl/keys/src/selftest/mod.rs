//! Known-answer tests: every primitive in use against published vectors, on this machine.
//!
//! Reads Wycheproof files and the RFC 9180 file from any folder, or those built in. A file of an
//! algorithm that is not in use is listed as such; a file that is in use and of which nothing could
//! be tested fails. A vector that the algorithm's own definition leaves open (`acceptable`) is
//! held to this product's stricter rule.

mod cases;
mod kernels;
mod report;
mod vectors;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use report::{FileReport, Report, Status};

/// The self-test could not be made at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SelfTestError {
    #[error("`{}`: cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}`: longer than 64 MiB, which no vector file is", path.display())]
    TooLong { path: PathBuf },
    #[error("`{}`: not JSON", path.display())]
    NotJson { path: PathBuf, source: serde_json::Error },
    #[error("`{}`: no JSON file in this folder", path.display())]
    Empty { path: PathBuf },
}

/// No vector file is longer.
const CAP: u64 = 64 << 20;

/// Runs every `*.json` file of `folder` and its folders, in the order of their names.
pub fn run_folder(folder: &Path) -> Result<Report, SelfTestError> {
    let mut paths = Vec::new();
    collect(folder, Depth(0), &mut paths)?;
    paths.sort();
    if paths.is_empty() {
        return Err(SelfTestError::Empty { path: folder.into() });
    }
    let mut files = Vec::new();
    for path in paths {
        let read = |source| SelfTestError::Read { path: path.clone(), source };
        if fs::metadata(&path).map_err(read)?.len() > CAP {
            return Err(SelfTestError::TooLong { path });
        }
        let text = fs::read_to_string(&path).map_err(read)?;
        let json = serde_json::from_str(&text)
            .map_err(|source| SelfTestError::NotJson { path: path.clone(), source })?;
        let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        files.extend(run_file(&name, &json));
    }
    Ok(Report { files })
}

/// Runs the vectors that are built in: one file for every primitive in use.
pub fn run_built_in() -> Report {
    let run = |(name, text): &(&str, &str)| {
        // INVARIANT: the files are part of the program and a test reads each of them.
        let json = serde_json::from_str(text).expect("built-in vectors are JSON");
        run_file(name, &json)
    };
    Report { files: vectors::BUILT_IN.iter().flat_map(run).collect() }
}

/// How far below the folder that was named.
#[derive(Clone, Copy)]
struct Depth(u8);

fn collect(folder: &Path, depth: Depth, paths: &mut Vec<PathBuf>) -> Result<(), SelfTestError> {
    let read = |source| SelfTestError::Read { path: folder.into(), source };
    for entry in fs::read_dir(folder).map_err(read)? {
        let path = entry.map_err(read)?.path();
        // BOUND: four levels, so that a loop of links ends.
        if path.is_dir() && depth.0 < 4 {
            collect(&path, Depth(depth.0 + 1), paths)?;
        } else if path.is_file() && path.extension().is_some_and(|end| end == "json") {
            paths.push(path);
        }
    }
    Ok(())
}

/// Runs one file, once for every backend of its algorithm.
fn run_file(name: &str, json: &Value) -> Vec<FileReport> {
    let algorithm = algorithm(json);
    let of_kernels = kernels::backends(&algorithm);
    let backends: Vec<_> = cases::backends(&algorithm).iter().chain(&of_kernels).collect();
    if backends.is_empty() {
        return vec![FileReport::not_in_use(name, &algorithm, vectors::count(json))];
    }
    backends.iter().map(|backend| run_backend(name, &algorithm, backend, json)).collect()
}

fn run_backend(name: &str, algorithm: &str, backend: &cases::Backend, json: &Value) -> FileReport {
    let mut report = FileReport::new(name, algorithm, backend.name);
    for (group, test) in vectors::tests(json) {
        let id = vectors::id(test);
        // A vector without a field that its algorithm needs is a failure, not a skip.
        match (backend.run)(group, test).unwrap_or(cases::Outcome::Failed) {
            cases::Outcome::Passed => report.passed += 1,
            cases::Outcome::Skipped => report.skipped += 1,
            cases::Outcome::Failed => report.fail(id),
        }
    }
    report.conclude();
    report
}

/// The algorithm that a file names; the RFC 9180 file is a list and names none.
fn algorithm(json: &Value) -> String {
    match json {
        Value::Array(entries) if entries.iter().all(|entry| entry.get("kem_id").is_some()) => {
            "HPKE".into()
        }
        json => json.get("algorithm").and_then(Value::as_str).unwrap_or("unknown").into(),
    }
}
