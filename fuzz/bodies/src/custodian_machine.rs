//! Anything that can happen to a custodian: frames, answers, time, crashes, wrong callers.
//!
//! Chapters 20 to 80. It never panics; its epoch never falls; what it sends decodes; a grant leaves
//! once, after its own commit was answered [REL-5]; a renewal after its commit [AUD-1]; an
//! acknowledgement after its anchor [REV-4]. Its driver may answer anything under any ticket.
//! It does not look for secrets: the model checks do.

use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};

use crate::rig::{Begin, Rig, Step, Target};

/// The body.
pub fn run(input: &[u8]) {
    if let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(input)) {
        let mut rig = ready(plan.begin);
        for step in plan.steps.into_iter().take(MOST_STEPS) {
            rig.step(step);
        }
    }
}

/// Where the target begins, and what happens.
#[derive(Arbitrary, Clone, Debug)]
struct Plan {
    begin: Begin,
    steps: Vec<Step>,
}

/// A copy of a rig that was set up once.
fn ready(begin: Begin) -> Rig {
    static RIGS: LazyLock<[Rig; 2]> =
        LazyLock::new(|| [Begin::Ready, Begin::Bare].map(|b| Rig::new(Target::Custodian(1), b)));
    RIGS[begin as usize].clone()
}

/// Stories longer than this say little new.
const MOST_STEPS: usize = 64;
