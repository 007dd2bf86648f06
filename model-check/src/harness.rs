//! The harness: which searches a check needs, and what their results mean.
//!
//! One thread per search, searches in parallel. A slice is proved once, depth-first, with all its
//! properties' facts watched together; each witness is one breadth-first search that stops at the
//! nearest state that shows it. Nothing here has a timeout: a search is exhaustive or says that it
//! was truncated, and a truncated search proves nothing.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;

use crate::doubles::Double;
use crate::property::{Property, properties};
use crate::search::{Found, Search};
use crate::slice::{Scope, Slice, slice, slices};
use crate::world::{Action, Config, Fact, Facts, World};

/// At most this many generated states per search; above, the result is "truncated".
pub const CAP: usize = 40_000_000;

/// What became of one slice.
#[derive(Clone, Debug)]
pub struct SliceResult {
    pub slice: Slice,
    pub found: Found,
    /// The pinned count, where the slice has one and this is another.
    pub pin_broken: Option<usize>,
    /// Which fact of the slice happened, if any did.
    pub violated: Option<Fact>,
}

/// What became of one property on one slice.
#[derive(Clone, Debug)]
pub struct PropertyResult {
    pub property: Property,
    pub slice: SliceResult,
    pub verdict: Verdict,
}

/// The meaning of a property's searches.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    Held,
    Violated,
    /// The search hit its cap: nothing is claimed.
    Truncated,
    /// The slice has another number of states than was reviewed.
    PinBroken,
    /// Nothing shows that the property could be told apart from silence.
    Unwitnessed(Fact),
}

/// Proves every property of a scope, or one of them.
pub fn check(scope: Scope, only: Option<&str>, threads: usize) -> Vec<PropertyResult> {
    let chosen: Vec<Property> = properties()
        .into_iter()
        .filter(|property| only.is_none_or(|only| property.id.contains(only)))
        .collect();
    let in_scope: Vec<Slice> = slices().into_iter().filter(|slice| slice.scope <= scope).collect();
    let claimed = |slice: &Slice| chosen.iter().any(|p| p.slices.contains(&slice.name));
    let mut jobs: Vec<Job> =
        in_scope.iter().filter(|slice| claimed(slice)).cloned().map(Job::Prove).collect();
    // The largest first: two cores end together.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.weight()));
    for property in &chosen {
        for witness in property.witnesses {
            let of = in_scope.iter().filter(|slice| property.slices.contains(&slice.name));
            jobs.push(Job::Witness(*witness, of.cloned().collect()));
        }
    }
    let results = run_all(jobs, threads);
    judge(&chosen, &in_scope, &results)
}

/// A search that a check needs.
#[derive(Clone, Debug)]
enum Job {
    Prove(Slice),
    /// The fact must show on one of these slices.
    Witness(Fact, Vec<Slice>),
}

#[derive(Clone, Debug)]
enum Done {
    Proved(Box<SliceResult>),
    Witnessed(Fact, Vec<&'static str>, bool),
}

impl Job {
    fn weight(&self) -> usize {
        match self {
            Self::Prove(slice) => slice.pinned().unwrap_or(usize::MAX),
            Self::Witness(..) => 0,
        }
    }

    fn run(&self) -> Done {
        match self {
            Self::Prove(slice) => Done::Proved(Box::new(prove(slice))),
            Self::Witness(fact, of) => {
                let shown = of.iter().any(|slice| nearest(slice, *fact).story.is_some());
                Done::Witnessed(*fact, of.iter().map(|slice| slice.name).collect(), shown)
            }
        }
    }
}

fn run_all(jobs: Vec<Job>, threads: usize) -> Vec<Done> {
    let queue = Mutex::new(jobs.into_iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    // INVARIANT: nobody panics while holding either lock.
                    let Some(job) = queue.lock().expect("not poisoned").next() else { return };
                    let result = job.run();
                    done.lock().expect("not poisoned").push(result);
                }
            });
        }
    });
    done.into_inner().expect("not poisoned")
}

/// Depth-first through a whole slice, with every fact watched that its properties forbid.
pub fn prove(slice: &Slice) -> SliceResult {
    let never: Vec<Fact> = properties()
        .iter()
        .filter(|property| property.slices.contains(&slice.name))
        .map(|property| property.never)
        .collect();
    let config = slice.config(Facts::of(&never));
    let search = search(slice, config.clone());
    let initial = search.initial.clone();
    let found = search.prove();
    let violated = found.story.as_ref().and_then(|story| {
        let end = after(initial, &config, story);
        never.into_iter().find(|fact| end.facts.contains(*fact))
    });
    let pin_broken =
        slice.pinned().filter(|pin| found.exhaustive && *pin != found.unique).map(|_| found.unique);
    SliceResult { slice: slice.clone(), found, pin_broken, violated }
}

/// Breadth-first to the nearest state of a slice that shows one fact.
pub fn nearest(slice: &Slice, fact: Fact) -> Found {
    search(slice, slice.config(Facts::only(fact))).nearest()
}

fn search(slice: &Slice, config: Config) -> Search {
    Search {
        initial: slice.initial(&config),
        config,
        #[cfg(doubles)]
        skipped: Vec::new(),
        cap: CAP,
    }
}

/// The state after these actions.
pub fn after(initial: World, config: &Config, story: &[Action]) -> World {
    let mut world = initial;
    for action in story {
        world.step(config, *action);
    }
    world
}

fn judge(chosen: &[Property], in_scope: &[Slice], results: &[Done]) -> Vec<PropertyResult> {
    let mut proved = BTreeMap::new();
    let mut shown = BTreeMap::new();
    for done in results {
        match done {
            Done::Proved(result) => drop(proved.insert(result.slice.name, (**result).clone())),
            Done::Witnessed(fact, of, yes) => {
                let seen = shown.entry((*fact, of.clone())).or_insert(false);
                *seen |= yes;
            }
        }
    }
    let mut judged = Vec::new();
    for property in chosen {
        let claimed: Vec<&Slice> =
            in_scope.iter().filter(|slice| property.slices.contains(&slice.name)).collect();
        let names: Vec<&str> = claimed.iter().map(|slice| slice.name).collect();
        let missing = property.witnesses.iter().find(|witness| {
            !shown.iter().any(|((fact, of), yes)| fact == *witness && *of == names && *yes)
        });
        for slice in claimed {
            let Some(result) = proved.get(slice.name) else { continue };
            let verdict = match (&result.found, missing) {
                _ if result.violated == Some(property.never) => Verdict::Violated,
                (found, _) if !found.exhaustive => Verdict::Truncated,
                _ if result.pin_broken.is_some() => Verdict::PinBroken,
                (_, Some(witness)) => Verdict::Unwitnessed(*witness),
                _ => Verdict::Held,
            };
            judged.push(PropertyResult { property: *property, slice: result.clone(), verdict });
        }
    }
    judged
}

/// What became of a double.
#[derive(Clone, Debug)]
pub struct DoubleResult {
    pub double: Double,
    /// The shortest story in which its property breaks.
    pub story: Option<Vec<Action>>,
    pub found: Found,
}

/// Runs every double, or one, and looks for the nearest state that breaks its property.
#[cfg(doubles)]
pub fn mutants(only: Option<&str>, threads: usize) -> Vec<DoubleResult> {
    let chosen: Vec<Double> = crate::doubles::DOUBLES
        .iter()
        .copied()
        .filter(|double| only.is_none_or(|only| double.name == only))
        .collect();
    let queue = Mutex::new(chosen.into_iter().enumerate());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let Some((place, double)) = queue.lock().expect("not poisoned").next() else {
                        return;
                    };
                    let result = run_double(&double);
                    done.lock().expect("not poisoned").push((place, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("not poisoned");
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(doubles)]
fn run_double(double: &Double) -> DoubleResult {
    let (_, config, initial) = staged(double);
    let search = Search { initial, config, skipped: double.rules.to_vec(), cap: CAP };
    let found = search.nearest();
    DoubleResult { double: *double, story: found.story.clone(), found }
}

/// The slice of a double with its lie and its parameters, watched by the property that owns it.
pub fn staged(double: &Double) -> (Slice, Config, World) {
    // INVARIANT: a unit test checks that every double names a slice and a property.
    let mut slice = slice(double.slice).expect("doubles name slices");
    let owner = crate::property::property(double.killed_by).expect("doubles name properties");
    if let Some(margin) = double.margin {
        slice.setup.margin = margin;
    }
    let mut config = slice.config(Facts::only(owner.never));
    let initial = slice.initial(&config);
    config.lie = double.lie;
    (slice, config, initial)
}
