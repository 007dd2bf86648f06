//! What was checked, in order, and what came of each check.

use super::reason::Finding;

/// How far an examination goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// For appraisal: nothing is computed for Evidence that is already rejected.
    FirstFailure,
    /// For people: every fault at once.
    Everything,
}

/// One check.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    Size,
    Rules,
    Report,
    Nonce,
    Chain,
    Time,
    Signature,
    Firmware,
    Mode,
    Revocations,
    Policy,
    /// A RIM by its place among those that were given.
    Rim(u8),
    References,
    Measurements,
    Set,
}

impl Step {
    /// A stable name for JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Rules => "rules",
            Self::Report => "report",
            Self::Nonce => "nonce",
            Self::Chain => "chain",
            Self::Time => "time",
            Self::Signature => "signature",
            Self::Firmware => "firmware",
            Self::Mode => "mode",
            Self::Revocations => "revocations",
            Self::Policy => "policy",
            Self::Rim(_) => "rim",
            Self::References => "references",
            Self::Measurements => "measurements",
            Self::Set => "set",
        }
    }
}

/// What came of a check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum State {
    Passed,
    Failed(Vec<Finding>),
    /// Something before it failed.
    NotReached,
    /// Nobody gave what it would compare with.
    NotAsked,
}

/// One line of an examination.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Which GPU of the set, where it is about one.
    pub gpu: Option<u8>,
    pub step: Step,
    pub state: State,
}

/// All checks of an examination.
#[derive(Debug)]
pub struct Log {
    depth: Depth,
    gpu: Option<u8>,
    entries: Vec<Entry>,
}

impl Log {
    pub(super) const fn new(depth: Depth) -> Self {
        Self { depth, gpu: None, entries: Vec::new() }
    }

    /// What follows is about this GPU, or about none.
    pub(super) const fn about(&mut self, gpu: Option<u8>) {
        self.gpu = gpu;
    }

    /// Runs a check, unless an earlier failure is enough.
    pub(super) fn run<T, E: Into<Findings>>(
        &mut self,
        step: Step,
        check: impl FnOnce() -> Result<T, E>,
    ) -> Option<T> {
        if self.is_over() {
            self.push(step, State::NotReached);
            return None;
        }
        match check() {
            Ok(value) => {
                self.push(step, State::Passed);
                Some(value)
            }
            Err(findings) => {
                self.push(step, State::Failed(findings.into().0));
                None
            }
        }
    }

    /// Runs a check on what earlier ones gave, where they gave it.
    pub(super) fn after<V, T, E: Into<Findings>>(
        &mut self,
        step: Step,
        value: Option<V>,
        check: impl FnOnce(V) -> Result<T, E>,
    ) -> Option<T> {
        match value {
            Some(value) => self.run(step, || check(value)),
            None => {
                self.push(step, State::NotReached);
                None
            }
        }
    }

    pub(super) fn not_reached(&mut self, step: Step) {
        self.push(step, State::NotReached);
    }

    pub(super) fn not_asked(&mut self, step: Step) {
        self.push(step, State::NotAsked);
    }

    fn push(&mut self, step: Step, state: State) {
        self.entries.push(Entry { gpu: self.gpu, step, state });
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Every finding, in order.
    pub fn findings(&self) -> impl Iterator<Item = (Option<u8>, Finding)> + '_ {
        self.entries.iter().flat_map(|entry| {
            let found = match &entry.state {
                State::Failed(findings) => findings.as_slice(),
                State::Passed | State::NotReached | State::NotAsked => &[],
            };
            found.iter().map(|finding| (entry.gpu, *finding))
        })
    }

    /// Whether an earlier failure is enough: no more checks are run.
    pub(super) fn is_over(&self) -> bool {
        self.depth == Depth::FirstFailure && self.first().is_some()
    }

    pub(super) fn first(&self) -> Option<Finding> {
        self.findings().next().map(|(_, finding)| finding)
    }

    /// Whether no check failed and none was left out because of another.
    pub(super) fn is_clean(&self) -> bool {
        let clean = |state: &State| matches!(state, State::Passed | State::NotAsked);
        self.entries.iter().all(|entry| clean(&entry.state))
    }
}

/// One finding or several, never none.
#[derive(Debug)]
pub(super) struct Findings(Vec<Finding>);

impl<F: Into<Finding>> From<F> for Findings {
    fn from(finding: F) -> Self {
        Self(vec![finding.into()])
    }
}

/// `Ok` where there is no finding.
pub(super) fn none_of(findings: Vec<Finding>) -> Result<(), Findings> {
    if findings.is_empty() { Ok(()) } else { Err(Findings(findings)) }
}
