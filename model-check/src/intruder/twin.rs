//! Comparing the intruder with its twin: the same states and the same steps come of both.

use std::collections::HashSet;

use super::eager;
use crate::slice::{Slice, slices};
use crate::world::{Fact, Facts, World};

/// What a walk through a slice met.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Walk {
    pub unique: usize,
    pub generated: usize,
    /// What must never happen, and did.
    pub broken: Facts,
}

/// One slice, walked by both.
#[derive(Clone, Debug)]
pub struct Compared {
    pub slice: &'static str,
    pub lazy: Walk,
    pub eager: Walk,
}

impl Compared {
    /// Where every rule is enforced: the same states and steps.
    pub fn agree(&self) -> bool {
        self.lazy == self.eager
    }

    /// The same attacks. Where a rule is left out, a field that nobody compares is one constant to
    /// the oracle and every known value to the twin, so that the twin has more states of one kind.
    pub fn agree_on_attacks(&self) -> bool {
        self.lazy.broken == self.eager.broken
    }
}

/// Walks a slice with the oracle and with the twin, under the rules that this thread leaves out.
pub fn compare(slice: &Slice) -> Compared {
    let lazy = walk(slice);
    let eager = eager::instead(|| walk(slice));
    Compared { slice: slice.name, lazy, eager }
}

/// The intruder's slices, each as small as still shows one message of each kind.
pub fn smallest() -> Vec<Slice> {
    let mut all: Vec<Slice> =
        slices().into_iter().filter(|slice| SMALL.contains(&slice.name)).collect();
    for slice in &mut all {
        // BOUND: one attempt and two messages: the twin tries thousands for each.
        slice.bounds.attempts = 1;
        slice.bounds.ticks = 0;
        slice.bounds.sends = slice.bounds.sends.min(2);
        if slice.liars.len() + usize::from(slice.bounds.custodian_leaf_stolen.is_on()) > 0 {
            slice.bounds.intrusions = 0; // the other slices have its own channels
        }
    }
    all
}

/// Every state that can be reached, and every step.
fn walk(slice: &Slice) -> Walk {
    let config = slice.config(Facts::of(Fact::NEVER));
    let initial = slice.initial(&config);
    let (mut seen, mut open, mut generated) = (HashSet::from([initial.clone()]), vec![initial], 1);
    let mut broken = Facts::default();
    while let Some(world) = open.pop() {
        for action in world.actions(&config) {
            let mut next: World = world.clone();
            next.step(&config, action);
            generated += 1;
            broken = broken.with(next.facts);
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    Walk { unique: seen.len(), generated, broken }
}

const SMALL: &[&str] = &[
    "intruder-one",
    "intruder-stolen-leaf",
    "intruder-impostor",
    "intruder-corrupt",
    "intruder-renewal",
];
