//! Traces: a counterexample as a file of actions that anyone can replay.
//!
//! All chapters. `traces/<double>.json` holds the shortest story that kills a double. Replayed
//! against that double it must end in the violation; replayed against the shipped protocol, as far
//! as its actions are enabled there, it must not.

use serde::{Deserialize, Serialize};

use crate::doubles::Double;
use crate::world::{Action, Config, Facts, World};

/// The content of a trace file.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Trace {
    pub double: String,
    pub property: String,
    pub slice: String,
    /// Rule ids, or the lie around the machines.
    pub broken: String,
    pub actions: Vec<Action>,
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
        format!(
            "{{\n  \"double\": {},\n  \"property\": {},\n  \"slice\": {},\n  \"broken\": {},\n  \
             \"actions\": [\n{}\n  ]\n}}\n",
            text(&self.double),
            text(&self.property),
            text(&self.slice),
            text(&self.broken),
            actions.join(",\n"),
        )
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
