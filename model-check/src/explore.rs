//! A world in stateright's Explorer: step by step in a browser, told in sentences.
//!
//! All chapters. Where [`crate::search`] is made for millions of states, this is made to be read: an
//! action carries its sentence, a state prints what a reviewer asks for, and a path has a diagram.

use std::fmt;
use std::net::ToSocketAddrs;

use stateright::{Model, Path, Property};

use crate::search::Search;
use crate::story::{Line, svg, tell};
use crate::world::{Action, World};

/// A world to walk through. The Explorer shows `watched` as its one property.
#[derive(Clone, Debug)]
pub struct Explored {
    pub search: Search,
    pub watched: &'static str,
}

/// A state, printed for a person.
#[derive(Clone, Hash, PartialEq)]
pub struct Seen(World);

/// An action, told from the state in which it is possible.
#[derive(Clone, Debug)]
pub struct Told {
    action: Action,
    line: Line,
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.action == other.action
    }
}

impl Explored {
    /// Serves the Explorer until the process ends.
    pub fn serve(self, address: impl ToSocketAddrs) {
        self.checker().threads(1).serve(address);
    }
}

impl Model for Explored {
    type State = Seen;
    type Action = Told;

    fn init_states(&self) -> Vec<Seen> {
        vec![Seen(self.search.initial.clone())]
    }

    fn actions(&self, state: &Seen, actions: &mut Vec<Told>) {
        self.search.leave_out();
        let told = |action| {
            let line = tell(&state.0, &self.search.config, &[action]).pop();
            Told { action, line: line.expect("one action is one line") }
        };
        actions.extend(state.0.actions(&self.search.config).into_iter().map(told));
    }

    fn next_state(&self, state: &Seen, told: Told) -> Option<Seen> {
        self.search.leave_out();
        let mut next = state.0.clone();
        next.step(&self.search.config, told.action);
        Some(Seen(next))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always(self.watched, |_, seen: &Seen| seen.0.facts.is_empty())]
    }

    fn format_action(&self, told: &Told) -> String {
        told.line.text.clone()
    }

    fn format_step(&self, state: &Seen, told: Told) -> Option<String> {
        self.next_state(state, told).map(|next| format!("{next:#?}"))
    }

    fn as_svg(&self, path: Path<Seen, Told>) -> Option<String> {
        let lines: Vec<Line> = path.into_actions().into_iter().map(|told| told.line).collect();
        Some(svg(&lines))
    }
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = &self.0;
        let (guard, custody) = world.device.machine.state_names();
        writeln!(f, "device      {guard}, {custody}, life {}", world.device.life)?;
        for (custodian, held) in world.device.machine.leases() {
            let state = held.state_name(world.now());
            let left = held.end().since(world.now()).as_millis();
            writeln!(f, "  lease of custodian {custodian}: {state}, {left} left")?;
        }
        for (id, node) in &world.custodians {
            let standing = node.machine.as_ref().map(|m| format!("{:?}", m.standing()));
            let standing = standing.unwrap_or_else(|| "not running".into());
            let (leases, leaves) = (node.store.leases.len(), node.store.log.len());
            writeln!(f, "custodian {id} {standing}, {leases} leases, {leaves} leaves in its log")?;
        }
        for (id, channel) in &world.channels {
            let (there, back) = (channel.to_custodian.len(), channel.to_device.len());
            writeln!(
                f,
                "channel {id}   {:?} to custodian {}, {there} and {back} frames under way",
                channel.peer, channel.custodian,
            )?;
        }
        writeln!(f, "adversary   saw {} frames", world.knows.len() + world.seen.len())?;
        if let Some(ticks) = world.since_effective {
            writeln!(f, "revocation  effective for {ticks} ticks")?;
        }
        let broken = if world.facts.is_empty() { "holds" } else { "IS BROKEN" };
        write!(f, "property    {broken}")
    }
}
