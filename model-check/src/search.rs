//! Searches: stateright around a world, one watched set of facts per run.
//!
//! One thread per search, slices in parallel; depth-first for proofs, breadth-first with a single
//! fact for the shortest story. A search has no timeout: it is exhaustive within its bounds, or it
//! says that it was truncated.

use std::time::Instant;

use stateright::{Checker, Model, Property};

#[cfg(doubles)]
use split_custody_protocol::Rule;
#[cfg(doubles)]
use split_custody_protocol::doubles;
#[cfg(doubles)]
use split_custody_protocol::transcript::Field;

use crate::world::{Action, Config, Facts, World};

/// A world as a model.
#[derive(Clone, Debug)]
pub struct Search {
    pub config: Config,
    pub initial: World,
    /// Rules that this run does not enforce.
    #[cfg(doubles)]
    pub skipped: Vec<Rule>,
    /// Fields that this run does not bind.
    #[cfg(doubles)]
    pub left_out: Vec<Field>,
    /// At most about this many generated states.
    pub cap: usize,
}

/// What a search found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The actions up to a state in which a watched fact happened.
    pub story: Option<Vec<Action>>,
    pub unique: usize,
    pub generated: usize,
    pub depth: usize,
    pub exhaustive: bool,
    pub seconds: f64,
}

impl Search {
    /// From now on this thread leaves out what this run leaves out.
    pub(crate) fn leave_out(&self) {
        #[cfg(doubles)]
        doubles::skip(&self.skipped);
        #[cfg(doubles)]
        doubles::leave_out(&self.left_out);
    }

    /// Depth-first through everything.
    pub fn prove(self) -> Found {
        let (cap, started) = (self.cap, Instant::now());
        let checker = self.checker().threads(1).target_state_count(cap).spawn_dfs().join();
        found(&checker, cap, started)
    }

    /// Breadth-first to the nearest state in which a watched fact happened.
    pub fn nearest(self) -> Found {
        let (cap, started) = (self.cap, Instant::now());
        let checker = self.checker().threads(1).target_state_count(cap).spawn_bfs().join();
        found(&checker, cap, started)
    }

    /// Every watched fact that happened by the end of a list of actions.
    pub fn follow(&self, story: &[Action]) -> Facts {
        self.leave_out();
        let mut world = self.initial.clone();
        for action in story {
            world.step(&self.config, *action);
        }
        world.facts
    }
}

fn found(checker: &impl Checker<Search>, cap: usize, started: Instant) -> Found {
    let story = checker.discoveries().into_values().next().map(|path| path.into_actions());
    Found {
        // The stop is polled, so a truncated search ends somewhat above its cap.
        exhaustive: story.is_none() && checker.state_count() < cap,
        story,
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        depth: checker.max_depth(),
        seconds: started.elapsed().as_secs_f64(),
    }
}

impl Model for Search {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.initial.clone()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        actions.extend(state.actions(&self.config));
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        self.leave_out();
        let mut next = state.clone();
        next.step(&self.config, action);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        // The only property of the run: with two, a violation would overwrite a nearer one.
        vec![Property::always("no watched fact", |_, world: &World| world.facts.is_empty())]
    }
}
