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
use crate::progress::Progress;
use crate::property::{Property, properties};
use crate::search::{Found, Search};
use crate::slice::{Scope, Slice, slices};
use crate::world::{Action, Config, Fact, Facts};

/// At most about this many generated states in one proof; above, the result is "truncated".
#[derive(Clone, Copy, Debug)]
pub struct Bound(pub usize);

impl Bound {
    /// BOUND: depth-first, what waits to be visited is little beside what was visited.
    pub const fn of(scope: Scope) -> Self {
        Self(match scope {
            Scope::Smoke => 5_000_000,
            Scope::Review => 20_000_000,
            Scope::Night => 200_000_000,
        })
    }
}

/// BOUND: breadth-first, a whole layer of worlds waits, about two kilobytes each. With this no
/// search grows beyond two gigabytes, and every story that is told is far shorter.
const BREADTH: usize = 800_000;

/// What became of one slice.
#[derive(Clone, Debug)]
pub struct SliceResult {
    pub slice: Slice,
    pub found: Found,
    /// The pinned count, where the slice has one and this is another.
    pub pin_broken: Option<usize>,
    /// The facts of the slice that happened, each with the steps of its shortest story.
    pub violated: Vec<(Fact, usize)>,
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
    /// It happened; the shortest story has this many steps.
    Violated(usize),
    /// The search hit its cap, or another property's violation: nothing is claimed.
    Truncated,
    /// The slice has another number of states than was reviewed.
    PinBroken,
    /// Nothing shows that the property could be told apart from silence.
    Unwitnessed(Fact),
}

/// Whether everything that was asked was proved; nothing asked is nothing proved.
pub fn passed(results: &[PropertyResult]) -> bool {
    !results.is_empty() && results.iter().all(|result| result.verdict == Verdict::Held)
}

/// Which part of a check: properties whose id has this in it, on slices whose name has that.
///
/// A witness may show on any slice of its property.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Part<'a> {
    pub only: Option<&'a str>,
    pub slice: Option<&'a str>,
}

impl Part<'_> {
    fn has(self, slice: &str) -> bool {
        self.slice.is_none_or(|part| slice.contains(part))
    }
}

/// Proves every property of a scope, or a part of that; goes on where a file of progress ends.
pub fn check(
    scope: Scope,
    part: Part<'_>,
    threads: usize,
    progress: Option<&Progress>,
) -> Vec<PropertyResult> {
    check_within(Bound::of(scope), scope, part, threads, progress)
}

/// The same under another bound of each search.
pub fn check_within(
    bound: Bound,
    scope: Scope,
    part: Part<'_>,
    threads: usize,
    progress: Option<&Progress>,
) -> Vec<PropertyResult> {
    let chosen: Vec<Property> = properties()
        .into_iter()
        .filter(|property| part.only.is_none_or(|only| property.id.contains(only)))
        .filter(|property| property.slices.iter().any(|name| part.has(name)))
        .collect();
    let in_scope: Vec<Slice> = slices().into_iter().filter(|slice| slice.scope <= scope).collect();
    let claimed = |slice: &Slice| chosen.iter().any(|p| p.slices.contains(&slice.name));
    let mut jobs: Vec<Job> = in_scope
        .iter()
        .filter(|s| claimed(s) && part.has(s.name))
        .cloned()
        .map(Job::Prove)
        .collect();
    // The largest first: two cores end together.
    jobs.sort_by_key(|job| std::cmp::Reverse(job.weight()));
    for property in &chosen {
        for witness in property.witnesses {
            let of = in_scope.iter().filter(|slice| property.slices.contains(&slice.name));
            jobs.push(Job::Witness(*witness, of.cloned().collect()));
        }
    }
    // Part of a property's slices is not what the whole check would have kept.
    let progress = progress.filter(|_| part == Part::default());
    let results = run_all(jobs, bound, threads, progress);
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

    fn run(&self, bound: Bound, progress: Option<&Progress>) -> Done {
        match self {
            Self::Prove(slice) => {
                let known = progress.and_then(|progress| progress.of(slice));
                let result = known.unwrap_or_else(|| {
                    let result = prove(slice, bound);
                    progress.inspect(|progress| progress.keep(&result));
                    result
                });
                Done::Proved(Box::new(result))
            }
            Self::Witness(fact, of) => {
                let shown = of.iter().any(|slice| nearest(slice, *fact).story.is_some());
                Done::Witnessed(*fact, of.iter().map(|slice| slice.name).collect(), shown)
            }
        }
    }
}

fn run_all(jobs: Vec<Job>, bound: Bound, threads: usize, progress: Option<&Progress>) -> Vec<Done> {
    let queue = Mutex::new(jobs.into_iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    // INVARIANT: nobody panics while holding either lock.
                    let Some(job) = queue.lock().expect("not poisoned").next() else { return };
                    let result = job.run(bound, progress);
                    done.lock().expect("not poisoned").push(result);
                }
            });
        }
    });
    done.into_inner().expect("not poisoned")
}

/// Depth-first through a whole slice, with every fact watched that its properties forbid.
pub fn prove(slice: &Slice, bound: Bound) -> SliceResult {
    let never = forbidden(slice);
    let config = slice.config(Facts::of(&never));
    let search = search(slice, config, bound);
    let found = search.clone().prove();
    // The search ends at the first violation of any fact: each is then looked for alone.
    let violated = match &found.story {
        None => Vec::new(),
        Some(_) => never.iter().copied().filter_map(|fact| shortest(slice, fact)).collect(),
    };
    let pin_broken =
        slice.pinned().filter(|pin| found.exhaustive && *pin != found.unique).map(|_| found.unique);
    SliceResult { slice: slice.clone(), found, pin_broken, violated }
}

/// What a search of a smoke slice costs, in states; one of the intruder's counts fifty times, since
/// messages are composed in it.
pub fn cost(slice: &Slice) -> usize {
    let states = slice.pinned().unwrap_or(usize::MAX);
    if slice.name.starts_with("intruder") { states.saturating_mul(50) } else { states }
}

/// Searches the smoke slices that cost at most `below`, the cheapest first: how many, and the first on
/// which something forbidden happened or whose count is not the pinned one.
pub fn first_broken(below: usize) -> (usize, Option<(&'static str, String)>) {
    let pinned = |slice: &Slice| slice.pinned().unwrap_or(usize::MAX);
    let mut chosen: Vec<Slice> = slices().into_iter().filter(|s| s.scope == Scope::Smoke).collect();
    chosen.retain(|slice| cost(slice) <= below);
    chosen.sort_by_key(cost);
    for (searched, slice) in chosen.iter().enumerate() {
        let config = slice.config(claimed(slice));
        // No more states than there should be: what grows without end is found here too.
        let bound = Bound(Bound::of(Scope::Smoke).0.min(16 * pinned(slice)));
        let found = search(slice, config, bound).prove();
        let why = match &found.story {
            Some(story) => format!("violated in {} steps", story.len()),
            None if !found.exhaustive => "more states than were pinned, without end".into(),
            None if found.unique != pinned(slice) => {
                format!("{} states, {} are pinned", found.unique, pinned(slice))
            }
            None => continue,
        };
        return (searched + 1, Some((slice.name, why)));
    }
    (chosen.len(), None)
}

fn forbidden(slice: &Slice) -> Vec<Fact> {
    let claimed = properties().into_iter().filter(|p| p.slices.contains(&slice.name));
    claimed.map(|property| property.never).collect()
}

/// Everything that the properties of a slice forbid.
pub fn claimed(slice: &Slice) -> Facts {
    Facts::of(&forbidden(slice))
}

/// Breadth-first to the nearest state of a slice that shows one fact.
pub fn nearest(slice: &Slice, fact: Fact) -> Found {
    search(slice, slice.config(Facts::only(fact)), Bound(BREADTH)).nearest()
}

fn shortest(slice: &Slice, fact: Fact) -> Option<(Fact, usize)> {
    nearest(slice, fact).story.map(|story| (fact, story.len()))
}

/// A slice as a search in which every rule holds.
pub fn search(slice: &Slice, config: Config, bound: Bound) -> Search {
    Search {
        initial: slice.initial(&config),
        config,
        #[cfg(doubles)]
        skipped: Vec::new(),
        #[cfg(doubles)]
        left_out: Vec::new(),
        cap: bound.0,
    }
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
            let own = result.violated.iter().find(|(fact, _)| *fact == property.never);
            let verdict = match (&result.found, missing) {
                _ if own.is_some() => Verdict::Violated(own.map_or(0, |(_, steps)| *steps)),
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
    /// The shortest story in which the property that owns the rule breaks.
    pub story: Option<Vec<Action>>,
    /// Properties of the slice that break in that story; or, where the owner survives, in the
    /// nearest story of anybody's.
    pub killed_by: Vec<&'static str>,
    pub found: Found,
}

impl DoubleResult {
    /// Killed, and by the property that owns what is broken.
    pub const fn killed(&self) -> bool {
        self.story.is_some()
    }
}

/// Runs every double, or some, and looks for the nearest state that breaks the owner's property.
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

/// What a set of rules and fields left out does to one slice.
#[cfg(doubles)]
#[derive(Clone, Debug)]
pub struct Without {
    pub slice: &'static str,
    /// The properties that break in the nearest story in which one does, and its steps.
    pub broken: Vec<&'static str>,
    pub steps: usize,
    /// Whether every state was seen, where nothing breaks.
    pub exhaustive: bool,
}

/// Leaves out rules and fields, and looks for the nearest broken property of each slice.
#[cfg(doubles)]
pub fn without(left_out: &LeftOut, chosen: &[Slice], threads: usize) -> Vec<Without> {
    let queue = Mutex::new(chosen.iter());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(slice) = queue.lock().expect("not poisoned").next() else { return };
                    let result = left_out.on(slice);
                    done.lock().expect("not poisoned").push(result);
                }
            });
        }
    });
    let mut done = done.into_inner().expect("not poisoned");
    done.sort_by_key(|result| chosen.iter().position(|slice| slice.name == result.slice));
    done
}

/// Rules that are not enforced, and fields that no transcript binds.
#[cfg(doubles)]
#[derive(Clone, Debug, Default)]
pub struct LeftOut {
    pub rules: Vec<split_custody_protocol::Rule>,
    pub fields: Vec<split_custody_protocol::transcript::Field>,
}

#[cfg(doubles)]
impl LeftOut {
    fn on(&self, slice: &Slice) -> Without {
        let claimed: Vec<Property> =
            properties().into_iter().filter(|p| p.slices.contains(&slice.name)).collect();
        let watched = Facts::of(&claimed.iter().map(|p| p.never).collect::<Vec<_>>());
        let honest = slice.config(watched);
        let search = Search {
            initial: slice.initial(&honest),
            config: honest,
            skipped: self.rules.clone(),
            left_out: self.fields.clone(),
            cap: BREADTH,
        };
        let found = search.clone().nearest();
        let facts = found.story.as_ref().map(|story| search.follow(story)).unwrap_or_default();
        let broken = claimed.iter().filter(|p| facts.contains(p.never)).map(|p| p.id).collect();
        let steps = found.story.map_or(0, |story| story.len());
        Without { slice: slice.name, broken, steps, exhaustive: found.exhaustive }
    }
}

/// One double: its owner's property alone, breadth-first; then who else breaks in that story.
#[cfg(doubles)]
pub fn run_double(double: &Double) -> DoubleResult {
    let claimed: Vec<Property> =
        properties().into_iter().filter(|p| p.slices.contains(&double.slice)).collect();
    let of = |watched| {
        let (_, config, initial) = double.staged(watched);
        let (skipped, left_out) = (double.rules.to_vec(), double.fields.to_vec());
        Search { initial, config, skipped, left_out, cap: BREADTH }
    };
    // INVARIANT: a unit test checks that every double names a property.
    let owner = crate::property::property(double.killed_by).expect("doubles name properties");
    let everything = Facts::of(&claimed.iter().map(|p| p.never).collect::<Vec<_>>());
    let found = of(Facts::only(owner.never)).nearest();
    let story = found.story.clone();
    // Where the owner is blind, somebody else may still see: a rule owned by the wrong property.
    let seen = story.clone().or_else(|| of(everything).nearest().story);
    let facts = seen.map_or_else(Facts::default, |story| of(everything).follow(&story));
    let mut killed_by: Vec<&'static str> =
        claimed.iter().filter(|p| facts.contains(p.never)).map(|p| p.id).collect();
    killed_by.sort_by_key(|id| *id != owner.id);
    DoubleResult { double: *double, story, killed_by, found }
}

#[cfg(test)]
mod tests {
    use super::{Bound, Done, Part, Verdict, check_within, judge, passed, prove};
    use crate::property::property;
    use crate::slice::{Scope, slice};

    fn only(id: &str) -> Part<'_> {
        Part { only: Some(id), slice: None }
    }

    #[test]
    fn a_search_that_is_cut_off_is_truncated_and_claims_nothing() {
        let results = check_within(Bound(50), Scope::Smoke, only("aud_4_"), 1, None);
        assert!(!results.is_empty() && !passed(&results));
        assert!(results.iter().all(|result| result.verdict == Verdict::Truncated));
        assert!(results.iter().all(|result| !result.slice.found.exhaustive));
    }

    #[test]
    fn a_property_that_exists_nowhere_is_not_passed() {
        let results = check_within(Bound(50), Scope::Smoke, only("nothing_of_this_name"), 1, None);
        assert!(results.is_empty() && !passed(&results));
    }

    #[test]
    fn rev_10_a_violated_property_fails_the_check() {
        let mut slice = slice("lease-death").expect("a slice");
        slice.setup.margin = 0; // the owner's mistake: clocks wander by one here
        let result = prove(&slice, Bound::of(Scope::Smoke));
        let dead = property("rev_10_dead_means_dead").expect("a property");
        let results = judge(&[dead], &[slice], &[Done::Proved(Box::new(result))]);
        assert!(matches!(results[0].verdict, Verdict::Violated(steps) if steps > 0));
        assert!(!passed(&results));
    }

    #[test]
    fn a_count_that_is_not_the_pinned_one_fails_the_check() {
        let mut slice = slice("handshake-late").expect("a slice");
        slice.bounds.ticks += 1;
        let result = prove(&slice, Bound::of(Scope::Smoke));
        assert!(result.found.exhaustive && result.pin_broken.is_some());
    }
}
