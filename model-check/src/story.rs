//! Stories: a list of actions as sentences that a person can read aloud, and as a diagram.
//!
//! All chapters. Each action is told from the world as it stands before and after it, so that the
//! story names who does what with which message. Nothing here decides anything.

mod composed;
mod consequences;
mod diagram;
mod svg;
mod words;

use crate::doubles::Double;
use crate::property::property;
use crate::slice::{Slice, Start};
use crate::world::{Action, Config, Peer, Said, World};

pub use diagram::mermaid;
pub use svg::svg;
use words::{Moment, sentence};

/// One thing that happened, told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    pub text: String,
    /// Messages that went from one to another in it.
    pub messages: Vec<Message>,
    /// Whose doing it was.
    pub who: Party,
}

/// A message as a diagram shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
    pub from: Party,
    pub to: Party,
    pub label: String,
}

/// Who acts in a story.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Party {
    Operator,
    Custodian(u8),
    Host,
    Device,
    OtherDevice,
    Adversary,
}

/// Tells a list of actions from a world on. Ticks that follow each other become one line.
pub fn tell(initial: &World, config: &Config, actions: &[Action]) -> Vec<Line> {
    let mut world = initial.clone();
    let mut lines: Vec<Line> = Vec::new();
    let mut ticks = 0;
    for (place, action) in actions.iter().enumerate() {
        let before = world.clone();
        world.said = Some(Vec::new());
        world.step(config, *action);
        let said: Vec<Said> = world.said.take().unwrap_or_default();
        if *action == (Action::Tick { ahead: before.ahead }) {
            ticks += 1;
            let more = actions.get(place + 1) == Some(action);
            if more {
                continue;
            }
        } else {
            ticks = 0;
        }
        let moment =
            Moment { before: &before, after: &world, config, action: *action, said: &said, ticks };
        lines.push(Line {
            text: sentence(&moment),
            messages: diagram::messages(&moment),
            who: words::actor(&moment),
        });
        ticks = 0;
    }
    lines
}

/// The page of a counterexample: what is broken, what happens, what it costs.
pub fn page(double: &Double, slice: &Slice, lines: &[Line]) -> String {
    let setup = &slice.setup;
    let mut text = format!("`{}`: {}\n", double.name, double.says);
    text += &format!("Left out or lied about: {}.\n", double.broken());
    let activated = if slice.bounds.activations.is_on() { ", never activated" } else { "" };
    text += &format!(
        "{}{activated}; {}\n\n",
        custodians(setup.n, setup.k, setup.f),
        match slice.start {
            Start::Clean => "the device is clean and has asked for nothing.",
            Start::Serving => "the device serves the model, and came to it honestly.",
        },
    );
    for (number, line) in lines.iter().enumerate() {
        text += &format!("{:>3}. {}\n", number + 1, line.text);
    }
    if let Some(property) = property(double.killed_by) {
        text += &format!("\nAnd so {}.\n", property.broken);
        text += &format!("This breaks `{}`: {}\n", property.id, property.says);
        text += &format!("Why it matters: {}\n", property.matters);
    }
    if !double.covered_by.is_empty() {
        text += &format!("Nothing smaller breaks it. {}.\n", capital(double.covered_by));
    }
    text
}

fn custodians(n: u8, k: u8, f: u8) -> String {
    let count = |count: u8| match count {
        1 => "one".to_owned(),
        2 => "two".to_owned(),
        3 => "three".to_owned(),
        more => more.to_string(),
    };
    let needed = match (n, k) {
        (1, 1) => return "One custodian".into(),
        (n, k) if n == k => "all of them needed".into(),
        (_, k) => format!("{} of them needed", count(k)),
    };
    let liars = if f == 0 { String::new() } else { format!(", {} of which may lie", count(f)) };
    format!("{} custodians{liars}, {needed}", capital(&count(n)))
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl Party {
    fn of(peer: Peer) -> Self {
        match peer {
            Peer::Device => Self::Device,
            Peer::OtherDevice => Self::OtherDevice,
            Peer::Adversary => Self::Adversary,
            Peer::Operator => Self::Operator,
        }
    }
}
