//! What a self-test found.

use serde::Serialize;

/// All files, in order.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub files: Vec<FileReport>,
}

impl Report {
    /// Whether no file failed.
    pub fn is_good(&self) -> bool {
        self.files.iter().all(|file| file.status != Status::Failed)
    }
}

/// One file over one backend.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub file: String,
    pub algorithm: String,
    /// The implementation that was tested; empty where the algorithm is not in use.
    pub backend: &'static str,
    pub passed: usize,
    pub failed: usize,
    /// Vectors of parameters that are not in use, such as other key sizes.
    pub skipped: usize,
    pub status: Status,
    /// The numbers of the first failed vectors.
    pub failures: Vec<u64>,
}

/// How a file came out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub enum Status {
    #[serde(rename = "passed")]
    Passed,
    #[serde(rename = "failed")]
    Failed,
    #[serde(rename = "not in use")]
    NotInUse,
}

impl FileReport {
    pub(super) fn new(file: &str, algorithm: &str, backend: &'static str) -> Self {
        Self {
            file: file.into(),
            algorithm: algorithm.into(),
            backend,
            passed: 0,
            failed: 0,
            skipped: 0,
            status: Status::Failed,
            failures: Vec::new(),
        }
    }

    pub(super) fn not_in_use(file: &str, algorithm: &str, skipped: usize) -> Self {
        Self { skipped, status: Status::NotInUse, ..Self::new(file, algorithm, "") }
    }

    pub(super) fn fail(&mut self, id: u64) {
        self.failed += 1;
        if self.failures.len() < FAILURES {
            self.failures.push(id);
        }
    }

    /// A file of which nothing was tested shows nothing, so it has not passed.
    pub(super) fn conclude(&mut self) {
        let good = self.failed == 0 && self.passed > 0;
        self.status = if good { Status::Passed } else { Status::Failed };
    }
}

/// How many failed vectors are named.
const FAILURES: usize = 20;
