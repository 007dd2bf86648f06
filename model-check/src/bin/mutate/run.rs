//! Running mutations, and telling what noticed them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::Failure;
use crate::find::{Kind, Mutation};
use crate::tree::SWITCH;

/// What noticed a mutation.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Outcome {
    /// A test of the protocol failed.
    Test,
    /// Tests did not end.
    Hang,
    /// A proof failed.
    Proof,
    /// Nothing.
    Missed,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Test => "test",
            Self::Hang => "hang",
            Self::Proof => "proof",
            Self::Missed => "missed",
        }
    }
}

pub struct Programs {
    folder: PathBuf,
    built: BTreeSet<usize>,
    tests: Vec<PathBuf>,
    proofs: Option<PathBuf>,
}

impl Programs {
    pub fn new(
        folder: PathBuf,
        all: &[Mutation],
        left_out: &BTreeSet<usize>,
        mut executables: BTreeMap<String, PathBuf>,
        proofs: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        let mut tests = Vec::new();
        for name in ["all", "split_custody_protocol"] {
            tests.push(executables.remove(name).ok_or(format!("no program `{name}`"))?);
        }
        let built = all.iter().map(|m| m.number).filter(|n| !left_out.contains(n)).collect();
        Ok(Self { folder, built, tests, proofs })
    }

    pub fn is_built(&self, mutation: &Mutation) -> bool {
        self.built.contains(&mutation.number)
    }

    pub fn built(&self) -> usize {
        self.built.len()
    }

    /// With no mutation on, everything passes; otherwise no outcome means anything.
    pub fn check_unmutated(&self) -> Result<(), Failure> {
        match self.outcome(None) {
            Outcome::Missed => Ok(()),
            outcome => Err(format!("unmutated, it is noticed: {}", outcome.name()).into()),
        }
    }

    /// In the order of `chosen`. Prints each as it is done.
    pub fn run_all(&self, chosen: &[&Mutation], jobs: usize) -> Vec<Outcome> {
        let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        thread::scope(|scope| {
            for _ in 0..jobs.max(1) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(mutation) = chosen.get(at) else { return };
                        let outcome = self.outcome(Some(mutation.number));
                        println!("{}", mutation.line(Some(outcome.name())));
                        done.lock().expect("no thread panics").insert(at, outcome);
                    }
                });
            }
        });
        done.into_inner().expect("no thread panics").into_values().collect()
    }

    fn outcome(&self, mutation: Option<usize>) -> Outcome {
        for test in &self.tests {
            match self.passes(Command::new(test).args(TESTS), mutation, TEST) {
                Some(true) => {}
                Some(false) => return Outcome::Test,
                None => return Outcome::Hang,
            }
        }
        let Some(proofs) = &self.proofs else { return Outcome::Missed };
        let proofs = &mut Command::new(proofs);
        match self.passes(proofs.args(["quick", "--below", LARGEST]), mutation, PROOF) {
            Some(true) => Outcome::Missed,
            Some(false) => Outcome::Proof,
            None => Outcome::Hang,
        }
    }

    /// Whether a program ends well; `None` when it does not end.
    fn passes(
        &self,
        command: &mut Command,
        mutation: Option<usize>,
        patience: Duration,
    ) -> Option<bool> {
        command.current_dir(&self.folder).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("INSTA_UPDATE", "no").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
        if let Some(number) = mutation {
            command.env(SWITCH, number.to_string());
        }
        let Ok(mut child) = command.spawn() else { return Some(false) };
        let end = Instant::now() + patience;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(status.success()),
                Ok(None) if Instant::now() < end => thread::sleep(Duration::from_millis(5)),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return None;
                }
            }
        }
    }
}

/// The list of survivors is compared with sources that have no switch in them.
const TESTS: [&str; 3] = ["--quiet", "--skip", "every_survivor"];
/// Slices that cost more are left to those who have the time.
const LARGEST: &str = "30000";
const TEST: Duration = Duration::from_secs(30);
const PROOF: Duration = Duration::from_secs(240);

/// A table of kinds and outcomes, in Markdown.
pub fn report(all: &[Mutation], chosen: &[&Mutation], outcomes: &[Outcome]) -> String {
    let mut table = String::from(
        "| mutation | in all | do not compile | test | hang | proof | missed |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let pairs: Vec<_> = std::iter::zip(chosen, outcomes).collect();
    for kind in Kind::ALL {
        let in_all = all.iter().filter(|m| m.kind == kind).count();
        let count =
            |outcome| pairs.iter().filter(|(m, o)| m.kind == kind && **o == outcome).count();
        let run = chosen.iter().filter(|m| m.kind == kind).count();
        let _ = writeln!(
            table,
            "| {} | {in_all} | {} | {} | {} | {} | {} |",
            kind.name(),
            in_all - run,
            count(Outcome::Test),
            count(Outcome::Hang),
            count(Outcome::Proof),
            count(Outcome::Missed),
        );
    }
    table
}
