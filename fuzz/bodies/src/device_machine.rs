//! Anything that can happen to a device: frames, answers, time, reads, wrong callers.
//!
//! Chapters 20 to 70. It never panics; what it sends decodes; a request binds the channel it leaves
//! on [HS-10]; a renewal is asked for in the same bytes [LEA-7]; its leases were granted and end
//! before their custodians think [LEA-1]; a use needs a loaded model and k counting leases [LEA-2];
//! nothing leaves between a taint and the next incarnation [RST-10].
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
        LazyLock::new(|| [Begin::Ready, Begin::Bare].map(|b| Rig::new(Target::Device, b)));
    RIGS[begin as usize].clone()
}

/// Stories longer than this say little new.
const MOST_STEPS: usize = 64;
