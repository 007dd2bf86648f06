//! Paths: few honest runs of the world that take every row of the state tables between them.
//!
//! All chapters. `paths/*.json` are written by `cargo prove export --paths FOLDER`; the conformance
//! tests lead the implementation along them. A slice is walked breadth first, so that each row has
//! a shortest way to it; of those ways the fewest are kept that take all rows.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::thread;

use foldhash::quality::FixedState;
use serde::{Deserialize, Serialize};

use crate::cover::{Reader, Row};
use crate::slice::{Scope, Slice, everything, slice, slices, unclaimed};
use crate::world::{Action, Config, Fact, Facts, Turn, World};

/// The content of a path file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Path {
    pub slice: String,
    /// The rows that it takes, the way to where its slice begins included.
    pub rows: BTreeSet<Row>,
    pub actions: Vec<Action>,
}

impl Path {
    /// One row and one action a line, so that a change shows as changed lines.
    pub fn to_json(&self) -> String {
        let lines = |items: Vec<String>| items.join(",\n    ");
        let json = |item: serde_json::Result<String>| item.expect("plain data is JSON");
        let rows = self.rows.iter().map(|row| json(serde_json::to_string(row))).collect();
        let actions = self.actions.iter().map(|a| json(serde_json::to_string(a))).collect();
        format!(
            "{{\n  \"slice\": {},\n  \"rows\": [\n    {}\n  ],\n  \"actions\": [\n    {}\n  ]\n}}\n",
            json(serde_json::to_string(&self.slice)),
            lines(rows),
            lines(actions),
        )
    }

    /// The slice, what does not change on it, and its first state with turns written down.
    pub fn begin(&self) -> Option<(Config, World)> {
        let slice = slice(&self.slice)?;
        // The world tells the age of claims only where a story has one challenge.
        let never = Fact::NEVER.iter().filter(|fact| **fact != Fact::RenewedPastMaxAge);
        let config = slice.config(Facts::of(&never.copied().collect::<Vec<_>>()));
        let world = slice.recorded(&config);
        Some((config, world))
    }

    /// Follows the path. `None` where an action is not enabled or a property is violated.
    pub fn rows_taken(&self) -> Option<BTreeSet<Row>> {
        let (config, mut world) = self.begin()?;
        let mut reader = Reader::new(config.setup.on_host_read);
        let mut rows = drain(&mut world, &mut reader);
        for action in &self.actions {
            if !world.actions(&config).contains(action) {
                return None;
            }
            world.step(&config, *action);
            rows.append(&mut drain(&mut world, &mut reader));
        }
        world.facts.is_empty().then_some(rows)
    }
}

/// The paths of a folder, by the names of their files.
pub fn read(folder: &std::path::Path) -> std::io::Result<Vec<(String, Path)>> {
    let mut paths = Vec::new();
    for file in std::fs::read_dir(folder)? {
        let file = file?;
        let path = serde_json::from_slice(&std::fs::read(file.path())?)?;
        paths.push((file.file_name().to_string_lossy().into_owned(), path));
    }
    paths.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(paths)
}

/// The paths that take every row that any slice of the smoke scope has, in a fixed order.
pub fn cover() -> Vec<Path> {
    // A slice that supposes something to be broken is not an honest one.
    // One device, one operator and one suite are what the implementation is led with.
    let led = |slice: &Slice| slice.setup.is_led();
    let honest = |slice: &Slice| slice.lie.is_none() && slice.liars.is_empty() && led(slice);
    let mut slices: Vec<Slice> =
        slices().into_iter().filter(|s| s.scope == Scope::Smoke && honest(s)).collect();
    slices.extend(unclaimed());
    let of = |slice: &Slice| {
        if slice.name == everything().name {
            return (0..LONG_WALKS).filter_map(|seed| walk(slice, seed, LONG)).collect();
        }
        let mut ways = shortest(slice);
        ways.extend((0..WALKS).filter_map(|seed| walk(slice, seed, STEPS)));
        ways
    };
    let halves = slices.split_at(slices.len() / 2);
    let candidates = thread::scope(|scope| {
        let other = scope.spawn(|| halves.1.iter().flat_map(of).collect::<Vec<_>>());
        let mut all: Vec<Path> = halves.0.iter().flat_map(of).collect();
        all.extend(other.join().expect("a walk does not panic"));
        all
    });
    fewest(candidates)
}

/// Keeps what takes the most rows that nobody else took yet, until all are taken; what comes after
/// the last row that a path is kept for is cut off.
fn fewest(mut candidates: Vec<Path>) -> Vec<Path> {
    let mut taken = BTreeSet::new();
    let mut kept = Vec::new();
    loop {
        let gain = |path: &Path| path.rows.difference(&taken).count();
        let best = candidates.iter().enumerate().max_by_key(|(place, path)| {
            (gain(path), usize::MAX - path.actions.len(), usize::MAX - place)
        });
        let Some((place, _)) = best.filter(|(_, path)| gain(path) > 0) else { break };
        let path = shortened(candidates.swap_remove(place), &taken);
        taken.extend(path.rows.iter().cloned());
        kept.push(path);
    }
    kept.sort_by(|a, b| (&a.slice, &a.actions.len()).cmp(&(&b.slice, &b.actions.len())));
    kept
}

/// The shortest beginning of a path that gains as much.
fn shortened(path: Path, taken: &BTreeSet<Row>) -> Path {
    let gained: BTreeSet<Row> = path.rows.difference(taken).cloned().collect();
    let mut shorter = path;
    while let Some((_, rest)) = shorter.actions.split_last() {
        let before = Path { actions: rest.to_vec(), ..shorter.clone() };
        match before.rows_taken() {
            Some(rows) if gained.is_subset(&rows) => shorter = Path { rows, ..before },
            _ => break,
        }
    }
    shorter
}

/// A walk that takes any action, the same for the same seed.
fn walk(slice: &Slice, seed: u64, steps: u64) -> Option<Path> {
    let config = slice.config(Facts::default());
    let mut world = slice.initial(&config);
    let mut actions = Vec::new();
    for step in 0..steps {
        let enabled = world.actions(&config);
        if enabled.is_empty() {
            break;
        }
        let drawn = FixedState::with_seed(seed).hash_one((slice.name, step));
        let action = enabled[usize::try_from(drawn).unwrap_or(usize::MAX) % enabled.len()];
        world.step(&config, action);
        actions.push(action);
    }
    taking(slice, actions)
}

/// A state of the walk, and how it was reached.
struct Node {
    parent: Option<usize>,
    action: Option<Action>,
}

/// A shortest way to each row that was not seen before, within a bound on states.
fn shortest(slice: &Slice) -> Vec<Path> {
    let config = slice.config(Facts::default());
    let mut world = slice.recorded(&config);
    let mut reader = Reader::new(config.setup.on_host_read);
    let mut ends = BTreeMap::new();
    note(drain(&mut world, &mut reader), 0, &mut ends);
    let mut nodes = vec![Node { parent: None, action: None }];
    let mut visited = HashSet::from([fingerprint(&world)]);
    let mut queue = VecDeque::from([(0, world, reader)]);
    while let Some((parent, world, reader)) = queue.pop_front() {
        for action in world.actions(&config) {
            let (mut next, mut reader) = (world.clone(), reader.clone());
            next.step(&config, action);
            let rows = drain(&mut next, &mut reader);
            let place = nodes.len();
            nodes.push(Node { parent: Some(parent), action: Some(action) });
            note(rows, place, &mut ends);
            // BOUND: a row that needs more states than this is found in a smaller slice.
            if visited.len() < STATES && visited.insert(fingerprint(&next)) {
                queue.push_back((place, next, reader));
            }
        }
    }
    let ends: BTreeSet<usize> = ends.into_values().collect();
    ends.into_iter().filter_map(|end| path_to(slice, &nodes, end)).collect()
}

fn note(rows: BTreeSet<Row>, place: usize, ends: &mut BTreeMap<Row, usize>) {
    for row in rows {
        ends.entry(row).or_insert(place);
    }
}

fn path_to(slice: &Slice, nodes: &[Node], end: usize) -> Option<Path> {
    let mut actions = Vec::new();
    let mut place = Some(end);
    while let Some(node) = place.and_then(|place| nodes.get(place)) {
        actions.extend(node.action);
        place = node.parent;
    }
    actions.reverse();
    taking(slice, actions)
}

fn taking(slice: &Slice, actions: Vec<Action>) -> Option<Path> {
    let path = Path { slice: slice.name.to_owned(), rows: BTreeSet::new(), actions };
    let rows = path.rows_taken()?;
    Some(Path { rows, ..path })
}

fn fingerprint(world: &World) -> u64 {
    FixedState::with_seed(0).hash_one(world)
}

fn drain(world: &mut World, reader: &mut Reader) -> BTreeSet<Row> {
    let turns: Vec<Turn> = world.turns.replace(Vec::new()).unwrap_or_default();
    turns.iter().flat_map(|turn| reader.read(turn)).collect()
}

const STATES: usize = 4000;
const WALKS: u64 = 60;
const STEPS: u64 = 60;
const LONG_WALKS: u64 = 300;
const LONG: u64 = 200;
