//! Slices: which dimensions of the world are open together, and within which bounds.
//!
//! A property is claimed on its slices only. Every slice says what it leaves out.

mod build;
mod combined;
mod fleet;
mod operators;
mod suites;
mod table;

use std::collections::BTreeSet;

use crate::world::{Action, Bounds, Config, DeviceNode, Facts, Lie, Setup, World};

use table::PINS;
pub use table::{everything, slices, unclaimed};

/// How much time a check may take.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    Smoke,
    Review,
    Night,
}

/// Where a slice begins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Start {
    /// Custodians serve, the device is clean, nothing was asked yet.
    Clean,
    /// The device serves the model; the way there was the honest one.
    Serving,
}

/// One slice in one scope.
#[derive(Clone, Debug)]
pub struct Slice {
    pub name: &'static str,
    pub scope: Scope,
    pub setup: Setup,
    pub bounds: Bounds,
    pub liars: &'static [u8],
    pub start: Start,
    /// What the slice supposes to be broken: its properties hold all the same.
    pub lie: Option<Lie>,
    /// In one line, for the reviewer.
    pub says: &'static str,
    /// Dimensions that this slice leaves out.
    pub drops: &'static str,
}

impl Slice {
    pub fn config(&self, watched: Facts) -> Config {
        Config {
            setup: self.setup.clone(),
            bounds: self.bounds.clone(),
            liars: BTreeSet::from_iter(self.liars.iter().copied()),
            lie: self.lie,
            watched,
        }
    }

    /// The one state in which the slice begins.
    pub fn initial(&self, config: &Config) -> World {
        self.begun(config, World::new(config))
    }

    /// The same state, with every turn of a machine on the way there written down.
    pub fn recorded(&self, config: &Config) -> World {
        self.begun(config, World::recorded(config))
    }

    fn begun(&self, config: &Config, mut world: World) -> World {
        if self.start == Start::Serving {
            world.run_honestly(config);
        }
        world
    }
}

impl World {
    /// Lets everything that is asked happen at once, until the device serves.
    fn run_honestly(&mut self, config: &Config) {
        let quiet = Config {
            bounds: Bounds { attempts: 1, ..Bounds::QUIET },
            lie: None,
            watched: Facts::default(),
            ..config.clone()
        };
        for _ in 0..200 {
            let serves = |device: &DeviceNode| device.machine.state_names().1 == "Serving";
            if serves(&self.device) && self.other.as_ref().is_none_or(|other| serves(other)) {
                // Whatever is still on the wire arrives too.
                let pending = |action: &Action| matches!(action, Action::Deliver(..));
                match self.actions(&quiet).into_iter().find(pending) {
                    Some(action) => self.step(&quiet, action),
                    None => return,
                }
                continue;
            }
            let next = self.actions(&quiet).first().copied().expect("an honest run goes on");
            self.step(&quiet, next);
        }
        unreachable!("an honest run reaches `Serving` within 200 steps");
    }
}

/// The slice of a name.
pub fn slice(name: &str) -> Option<Slice> {
    slices().into_iter().chain(unclaimed()).find(|slice| slice.name == name)
}

impl Slice {
    /// The number of unique states that was reviewed; another is another model.
    pub fn pinned(&self) -> Option<usize> {
        PINS.iter().find(|(name, _)| *name == self.name).map(|(_, states)| *states)
    }
}
