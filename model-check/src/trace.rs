//! Traces: a counterexample as a file of actions that anyone can replay.
//!
//! All chapters. `traces/<double>.json` holds the shortest story that kills a double. Replayed
//! against that double it must end in the violation; replayed against the shipped protocol, as far
//! as its actions are enabled there, it must not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::doubles::Double;
use crate::frame::FrameId;
use crate::term::parts_of;
use crate::world::{Action, Config, Facts, Forgery, Turn, World};

/// The content of a trace file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trace {
    pub double: String,
    pub property: String,
    pub slice: String,
    /// Rule ids, or the lie around the machines.
    pub broken: String,
    pub actions: Vec<Action>,
    /// What the double's machines did at each action.
    #[serde(default)]
    pub said: Vec<Vec<String>>,
    /// Frames that an adversary composed, in hex: a build without the double does not find them.
    #[serde(default)]
    pub frames: BTreeSet<String>,
    /// What the values in those frames are made of: constructor, then parts in hex.
    #[serde(default)]
    pub terms: BTreeSet<Vec<String>>,
    /// The frame that an action repeats, as the place in the order in which frames were sent.
    #[serde(default)]
    pub repeats: BTreeMap<usize, usize>,
}

/// What came of replaying a trace.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Actions that were enabled and happened.
    pub steps: usize,
    pub facts: Facts,
}

impl Trace {
    /// One action a line, so that a changed story shows as changed lines.
    pub fn to_json(&self) -> String {
        let text = |value: &str| serde_json::to_string(value).expect("strings are JSON");
        let action = |action: &Action| {
            format!("    {}", serde_json::to_string(action).expect("actions are JSON"))
        };
        let actions: Vec<String> = self.actions.iter().map(action).collect();
        let line = |value: serde_json::Result<String>| {
            format!("    {}", value.expect("plain data is JSON"))
        };
        let said = self.said.iter().map(serde_json::to_string).map(line).collect::<Vec<_>>();
        let frames = self.frames.iter().map(serde_json::to_string).map(line).collect::<Vec<_>>();
        let terms = self.terms.iter().map(serde_json::to_string).map(line).collect::<Vec<_>>();
        let repeats = serde_json::to_string(&self.repeats).expect("plain data is JSON");
        let list = |name: &str, lines: &[String]| match lines {
            [] => String::new(),
            lines => format!(",\n  \"{name}\": [\n{}\n  ]", lines.join(",\n")),
        };
        let more = [list("said", &said), list("frames", &frames), list("terms", &terms)].concat();
        format!(
            "{{\n  \"double\": {},\n  \"property\": {},\n  \"slice\": {},\n  \"broken\": {},\n  \
             \"actions\": [\n{}\n  ]{more},\n  \"repeats\": {repeats}\n}}\n",
            text(&self.double),
            text(&self.property),
            text(&self.slice),
            text(&self.broken),
            actions.join(",\n"),
        )
    }

    /// Follows the actions in the double's world, and adds what others need to be led along them.
    #[must_use]
    pub fn told(self, double: &Double) -> Self {
        #[cfg(doubles)]
        double.leave_out();
        let (_, config, mut world) = double.staged(Facts::default());
        world.turns = Some(Vec::new());
        let mut told = Self { ..self };
        let mut sent = sent_before(&world);
        for (place, action) in told.actions.iter().enumerate() {
            let frame = match action {
                Action::Inject(_, frame)
                | Action::Forge(
                    _,
                    Forgery::ReplayedEvidence(frame) | Forgery::SplicedEntries(frame),
                ) => sent.iter().position(|sent| sent == frame),
                Action::Send(_, _, frame) => {
                    let bytes = frame.bytes();
                    told.frames.insert(hex(&bytes));
                    terms_within(&bytes, &mut told.terms);
                    None
                }
                _ => None,
            };
            told.repeats.extend(frame.map(|frame| (place, frame)));
            world.step(&config, *action);
            let turns = world.turns.replace(Vec::new()).unwrap_or_default();
            sent.extend(turns.iter().flat_map(Turn::frames));
            told.said.push(turns.iter().flat_map(Turn::words).collect());
        }
        told
    }

    /// Puts the frames of this trace, and what they are made of, where a world finds them.
    pub fn recall(&self) {
        for term in &self.terms {
            if let Some((constructor, parts)) = term.split_first() {
                let parts: Vec<Vec<u8>> = parts.iter().map(|part| unhex(part)).collect();
                let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                // A handful of words, kept as long as the table of terms.
                crate::term::term(constructor.clone().leak(), &parts);
            }
        }
        for frame in &self.frames {
            FrameId::of(&unhex(frame));
        }
    }

    /// The action at a place, where `sent` are the frames that were sent until then.
    pub fn action(&self, place: usize, sent: &[FrameId]) -> Action {
        let repeated = self.repeats.get(&place).and_then(|frame| sent.get(*frame)).copied();
        match (self.actions[place], repeated) {
            (Action::Inject(channel, _), Some(frame)) => Action::Inject(channel, frame),
            (Action::Forge(channel, Forgery::ReplayedEvidence(_)), Some(frame)) => {
                Action::Forge(channel, Forgery::ReplayedEvidence(frame))
            }
            (Action::Forge(channel, Forgery::SplicedEntries(_)), Some(frame)) => {
                Action::Forge(channel, Forgery::SplicedEntries(frame))
            }
            (action, _) => action,
        }
    }

    /// Replays the actions in the double's world, up to the first that is not enabled.
    ///
    /// Rules are skipped only under the compiler flag `doubles`; a lie is told in any build.
    pub fn replay(&self, double: &Double, watched: Facts) -> Outcome {
        #[cfg(doubles)]
        double.leave_out();
        let (_, config, world) = double.staged(watched);
        follow(world, &config, &self.actions)
    }
}

/// What the host saw before the story begins, in a fixed order.
pub fn sent_before(world: &World) -> Vec<FrameId> {
    let mut sent: Vec<FrameId> = world.seen.iter().copied().collect();
    sent.sort_by_key(|frame| frame.bytes().len());
    sent
}

/// Everything that the terms in these bytes are made of.
fn terms_within(bytes: &[u8], terms: &mut BTreeSet<Vec<String>>) {
    for window in bytes.windows(32) {
        let Some(term) = parts_of(window) else { continue };
        let parts = term.parts.iter().map(|part| hex(part));
        let line = [term.constructor.to_owned()].into_iter().chain(parts).collect();
        if terms.insert(line) {
            term.parts.iter().for_each(|part| terms_within(part, terms));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    text.as_bytes().chunks(2).filter_map(byte).collect()
}

fn follow(mut world: World, config: &Config, actions: &[Action]) -> Outcome {
    let mut steps = 0;
    for action in actions {
        if !world.actions(config).contains(action) {
            break;
        }
        world.step(config, *action);
        steps += 1;
    }
    Outcome { steps, facts: world.facts }
}
