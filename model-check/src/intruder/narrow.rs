//! From templates to ground messages, by running the production step again and again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use foldhash::quality::FixedState;

use super::eager;
use super::knowledge::Knowledge;
use super::oracle::{self, Need, hole, is_hole};
use super::template::{Bindings, Template, Value, templates};
use crate::frame::FrameId;
use crate::symbolic::{Hardware, read_report};
use crate::term::parts_of;
use crate::world::{Action, Config, End, World};

/// A ground message, and the world after it.
#[derive(Clone, Debug)]
pub struct Composed {
    pub frame: FrameId,
    pub after: World,
}

/// One ground message for each different world that the adversary can bring about on its end of a
/// channel, the rejected message among them.
pub fn compositions(world: &World, config: &Config, channel: u64, to: End) -> Arc<Vec<FrameId>> {
    if eager::is_in_place() {
        return Arc::new(eager::compositions(world, config, channel, to));
    }
    let key = place(world, config, channel, to);
    if let Some(known) = MEMO.with_borrow(|memo| memo.get(&key).cloned()) {
        return known;
    }
    let known = Knowledge::of(world, config);
    let mut all = Vec::new();
    for template in templates(world, config, channel, to, &known) {
        narrow(world, config, (channel, to), &template, &known, &mut all);
    }
    let frames = Arc::new(distinct(all));
    MEMO.with_borrow_mut(|memo| {
        if memo.len() > MEMO_CAP {
            memo.clear();
        }
        memo.insert(key, Arc::clone(&frames));
    });
    frames
}

/// The smallest frame for each world that comes of one.
pub(super) fn distinct(mut composed: Vec<Composed>) -> Vec<FrameId> {
    composed.sort_by(|a, b| {
        let (a, b) = (a.frame.bytes(), b.frame.bytes());
        (a.len(), a).cmp(&(b.len(), b))
    });
    let mut worlds: Vec<World> = Vec::new();
    let mut frames = Vec::new();
    for one in composed {
        if !worlds.contains(&one.after) {
            worlds.push(one.after);
            frames.push(one.frame);
        }
    }
    frames.sort_unstable();
    frames
}

/// What becomes of a world when the adversary sends a frame.
pub(super) fn tried(world: &World, config: &Config, at: (u64, End), frame: FrameId) -> World {
    let mut after = world.clone();
    after.step(config, Action::Send(at.0, at.1, frame));
    after
}

fn narrow(
    world: &World,
    config: &Config,
    at: (u64, End),
    template: &Template,
    known: &Knowledge,
    found: &mut Vec<Composed>,
) {
    let mut open = vec![Bindings::new()];
    while let Some(bindings) = open.pop() {
        let frame = FrameId::of(&template.frame(&bindings, config));
        let (after, need) = oracle::listen(|| tried(world, config, at, frame));
        let Some(need) = need else {
            found.push(Composed { frame, after });
            continue;
        };
        // In vain as it is: that is the rejected message. What would do is tried next.
        found.push(Composed { frame, after });
        for (hole, value) in candidates(&need, known, &bindings) {
            let mut next = bindings.clone();
            if next.insert(hole, value).is_none() {
                // What was made of the hole is made again of what it has become.
                next.retain(|_, value| !matches!(value, Value::Is(made) if made_of(made, &hole)));
                open.push(next);
            }
        }
    }
}

/// Whether a value has a hole somewhere in it.
fn made_of(value: &[u8], hole: &[u8; 32]) -> bool {
    value == hole
        || parts_of(value).is_some_and(|term| term.parts.iter().any(|part| made_of(part, hole)))
        || ["gpu", "cpu"].iter().any(|half| {
            oracle::silently(|| read_report(half, value))
                .is_some_and(|(_, over)| made_of(over.as_bytes(), hole))
        })
}

/// The values that a hole can take where a step asked for one.
fn candidates(need: &Need, known: &Knowledge, bindings: &Bindings) -> Vec<([u8; 32], Value)> {
    match need {
        Need::Value(place, value) if known.derives(value) && !is_hole(value) => {
            vec![(*place, Value::Is(*value))]
        }
        Need::Value(..) => Vec::new(),
        Need::Report(place, half) => {
            let seen = if *half == "gpu" { &known.gpu } else { &known.cpu };
            let seen = seen.iter().map(|bytes| Value::Seen(bytes.clone()));
            // BOUND: each report that is made is made over a hole of its own.
            let over = hole(100 + u8::try_from(bindings.len()).unwrap_or(u8::MAX - 100));
            let made = signers(half, known).into_iter().map(|by| Value::Report(half, by, over));
            seen.chain(made).map(|value| (*place, value)).collect()
        }
    }
}

/// Which hardware signs what its host wants. Any GPU does; a CPU does for the code that it runs, so
/// the enrolled one with other code, and the adversary's own.
pub(super) fn signers(half: &str, known: &Knowledge) -> Vec<Hardware> {
    match half {
        "gpu" => vec![Hardware::Enrolled, Hardware::Adversary],
        _ => known.cpus.iter().copied().chain([Hardware::Altered]).collect(),
    }
}

/// All that a composition depends on: both machines, the channel, what is known, and the rules that
/// are left out. Other custodians and channels have no part in the step.
fn place(world: &World, config: &Config, channel: u64, to: End) -> u128 {
    let half = |seed| {
        let mut state = FixedState::with_seed(seed).build_hasher();
        let link = world.channels.get(&channel);
        (channel, to, link).hash(&mut state);
        link.and_then(|link| world.custodians.get(&link.custodian)).hash(&mut state);
        (&world.operator, &world.knows, &world.leaked).hash(&mut state);
        match to {
            End::Device => world.device.hash(&mut state),
            // What is watched at a custodian's end looks at this much of the device.
            End::Custodian => {
                (&world.device.attested, world.device.life).hash(&mut state);
                world.device.machine.leases().for_each(|lease| lease.hash(&mut state));
            }
        }
        (world.facts, world.since_effective, config, &world.other).hash(&mut state);
        world.channels.keys().for_each(|id| {
            (id, world.ends_with_adversary(config, *id)).hash(&mut state);
        });
        #[cfg(doubles)]
        split_custody_protocol::doubles::skipped().hash(&mut state);
        #[cfg(doubles)]
        split_custody_protocol::doubles::left_out().hash(&mut state);
        u128::from(state.finish())
    };
    half(0) << 64 | half(1)
}

thread_local! {
    static MEMO: RefCell<HashMap<u128, Arc<Vec<FrameId>>, FixedState>> = RefCell::default();
}

const MEMO_CAP: usize = 200_000;
