//! Two-phase commit in one word: what a search costs, without a world around it.
//!
//! Measured by `custody bench prove`, beside Spin on the same model. It claims nothing about this
//! protocol. After Gray and Lamport, "Consensus on Transaction Commit": a manager of transactions, and
//! resource managers that prepare, or abort on their own. Every guarded action is one transition, also
//! where it changes nothing, and the text in Promela has the same ones.

use std::fmt::Write;

use stateright::{Checker, Model, Property};

/// The model, for so many resource managers.
#[derive(Clone, Copy, Debug)]
pub struct TwoPhase {
    managers: u32,
}

/// How to search.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Order {
    Depth,
    Breadth,
}

/// What a search counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Counts {
    pub unique: usize,
    /// Transitions and the first state.
    pub generated: usize,
    /// Nobody committed while another aborted.
    pub holds: bool,
}

impl TwoPhase {
    /// For 1 to 8 of them.
    pub fn new(managers: u32) -> Option<Self> {
        (1..=8).contains(&managers).then_some(Self { managers })
    }

    /// Visits every state, on one thread.
    pub fn search(self, order: Order) -> Counts {
        let checker = self.checker().threads(1);
        match order {
            Order::Depth => counts(&checker.spawn_dfs().join()),
            Order::Breadth => counts(&checker.spawn_bfs().join()),
        }
    }

    /// The same model in Promela.
    pub fn promela(self) -> String {
        let all = (1_u32 << self.managers) - 1;
        let mut text = format!(
            "byte prepared, committed, aborted, heard, sent, outcome;\nbit commit, abort;\n\
             #define WORKING(b) (!((prepared | committed | aborted) & b))\n\
             #define AGREED assert(!(committed && aborted))\n\
             active proctype world() {{\nend: do\n\
             :: d_step {{ outcome == 0 && heard == {all} -> outcome = 1; commit = 1 }}\n\
             :: d_step {{ outcome == 0 -> outcome = 2; abort = 1 }}\n"
        );
        for manager in 0..self.managers {
            let (bit, others) = (1_u32 << manager, all & !(1 << manager));
            // INVARIANT: writing into a string does not fail.
            let _ = write!(
                text,
                ":: d_step {{ outcome == 0 && (sent & {bit}) -> heard = heard | {bit} }}\n\
                 :: d_step {{ WORKING({bit}) -> prepared = prepared | {bit}; sent = sent | {bit} }}\n\
                 :: d_step {{ WORKING({bit}) -> aborted = aborted | {bit}; AGREED }}\n\
                 :: d_step {{ commit -> prepared = prepared & {others}; \
                 committed = committed | {bit}; AGREED }}\n\
                 :: d_step {{ abort -> prepared = prepared & {others}; \
                 aborted = aborted | {bit}; AGREED }}\n"
            );
        }
        text + "od }\n"
    }
}

fn counts(checker: &impl Checker<TwoPhase>) -> Counts {
    Counts {
        unique: checker.unique_state_count(),
        generated: checker.state_count(),
        holds: checker.discoveries().is_empty(),
    }
}

/// Five sets of managers, a byte each, and what the manager of transactions decided.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct State(u64);

/// A byte of the word.
#[derive(Clone, Copy)]
enum Set {
    Prepared,
    Committed,
    Aborted,
    /// Whose word that they are prepared was heard.
    Heard,
    /// Who sent it.
    Sent,
    /// 0 open, 1 committed, 2 aborted; either was told to everybody at once.
    Outcome,
}

impl State {
    const fn of(self, set: Set) -> u64 {
        (self.0 >> (8 * set as u64)) & 0xff
    }

    const fn with(self, set: Set, bits: u64) -> Self {
        Self(self.0 | (bits << (8 * set as u64)))
    }

    const fn without(self, set: Set, bits: u64) -> Self {
        Self(self.0 & !(bits << (8 * set as u64)))
    }

    const fn has(self, set: Set, bits: u64) -> bool {
        self.of(set) & bits != 0
    }

    const fn works(self, bit: u64) -> bool {
        !(self.has(Set::Prepared, bit)
            || self.has(Set::Committed, bit)
            || self.has(Set::Aborted, bit))
    }
}

/// One guarded action; a manager is a bit.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    Commit,
    Abort,
    Hear(u64),
    Prepare(u64),
    ChooseToAbort(u64),
    LearnOfCommit(u64),
    LearnOfAbort(u64),
}

impl Model for TwoPhase {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State(0)]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let (outcome, all) = (state.of(Set::Outcome), (1 << self.managers) - 1);
        if outcome == 0 {
            if state.of(Set::Heard) == all {
                actions.push(Action::Commit);
            }
            actions.push(Action::Abort);
        }
        for bit in (0..self.managers).map(|manager| 1 << manager) {
            if outcome == 0 && state.has(Set::Sent, bit) {
                actions.push(Action::Hear(bit));
            }
            if state.works(bit) {
                actions.extend([Action::Prepare(bit), Action::ChooseToAbort(bit)]);
            }
            match outcome {
                1 => actions.push(Action::LearnOfCommit(bit)),
                2 => actions.push(Action::LearnOfAbort(bit)),
                _ => {}
            }
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        Some(match action {
            Action::Commit => state.with(Set::Outcome, 1),
            Action::Abort => state.with(Set::Outcome, 2),
            Action::Hear(bit) => state.with(Set::Heard, bit),
            Action::Prepare(bit) => state.with(Set::Prepared, bit).with(Set::Sent, bit),
            Action::ChooseToAbort(bit) => state.with(Set::Aborted, bit),
            Action::LearnOfCommit(bit) => {
                state.without(Set::Prepared, bit).with(Set::Committed, bit)
            }
            Action::LearnOfAbort(bit) => state.without(Set::Prepared, bit).with(Set::Aborted, bit),
        })
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![Property::always("all or none", |_, state: &State| {
            state.of(Set::Committed) == 0 || state.of(Set::Aborted) == 0
        })]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The count for three managers is the one that every description of this model has.
    #[test]
    fn two_phase_commit_of_three_managers_has_288_states_in_either_order() {
        let model = TwoPhase::new(3).expect("three are modelled");
        let (depth, breadth) = (model.search(Order::Depth), model.search(Order::Breadth));
        assert_eq!((depth.unique, depth.holds), (288, true));
        assert_eq!(depth, breadth);
    }

    #[test]
    fn a_managers_haste_breaks_two_phase_commit() {
        let model = TwoPhase::new(2).expect("two are modelled");
        let hasty = State(0).with(Set::Outcome, 1);
        let one = model.next_state(&hasty, Action::LearnOfCommit(1)).expect("it learns");
        let two = model.next_state(&one, Action::ChooseToAbort(2)).expect("it chooses");
        let [all_or_none] = &model.properties()[..] else { panic!("one property") };
        assert!((all_or_none.condition)(&model, &one));
        assert!(!(all_or_none.condition)(&model, &two));
    }

    #[test]
    fn more_managers_than_bits_are_not_modelled() {
        assert!(TwoPhase::new(0).is_none() && TwoPhase::new(9).is_none());
    }

    #[test]
    fn promela_has_every_action_of_every_manager() {
        let text = TwoPhase::new(4).expect("four are modelled").promela();
        assert_eq!(text.matches("d_step").count(), 2 + 5 * 4);
    }
}
