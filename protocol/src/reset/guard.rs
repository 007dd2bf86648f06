//! The guard of a device's life.

use crate::effect::DeviceEffect;
use crate::error::Misuse;
use crate::suite::Incarnation;

/// What hardware does about a host read of device memory; a fact of the device, not a choice.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum OnHostRead {
    /// The read yields nothing and nothing else happens. [RST-8]
    Block,
    /// The read yields nothing and the device taints. [RST-2]
    Reset,
}

/// Where a device's life stands.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Guard {
    on_host_read: OnHostRead,
    state: State,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum State {
    Tainted,
    Zeroising,
    Scrubbing,
    Planting,
    Clean(Incarnation),
}

/// What happens to a [`Guard`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GuardInput {
    PoweredOn,
    HostRead,
    Tampered,
    Resumed,
    Zeroised,
    Scrubbed,
    ScrubFailed,
    Planted(Incarnation),
    PlantFailed,
}

/// What came of an input.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum GuardStep {
    /// Nothing to do.
    Stay,
    /// The incarnation, if there was one, is over; every open question with it. [RST-10]
    Taint(DeviceEffect),
    Next(DeviceEffect),
    /// A new incarnation begins. [RST-4]
    Clean(Incarnation),
    /// The device stays unusable; powering on tries again.
    Stuck,
}

impl Guard {
    /// Never clean before a scrub that this very code has seen succeed. [RST-1]
    pub const fn new(on_host_read: OnHostRead) -> Self {
        Self { on_host_read, state: State::Tainted }
    }

    /// One step of the table of chapter 70.
    pub fn handle(&mut self, input: GuardInput) -> Result<GuardStep, Misuse> {
        use GuardInput as I;
        let (next, step) = match (self.state, input) {
            (State::Tainted, I::PoweredOn) => (State::Zeroising, taint()),
            (State::Tainted, I::HostRead | I::Tampered | I::Resumed) => {
                (State::Tainted, GuardStep::Stay)
            }
            (state, I::HostRead) if self.on_host_read == OnHostRead::Block => {
                (state, GuardStep::Stay) // [RST-8]
            }
            (_, I::HostRead | I::Tampered | I::Resumed) => (State::Zeroising, taint()), // [RST-2]
            // [RST-3] In this order, each only after the one before.
            (State::Zeroising, I::Zeroised) => {
                (State::Scrubbing, GuardStep::Next(DeviceEffect::Scrub))
            }
            (State::Scrubbing, I::Scrubbed) => {
                (State::Planting, GuardStep::Next(DeviceEffect::Plant))
            }
            (State::Planting, I::Planted(incarnation)) => {
                (State::Clean(incarnation), GuardStep::Clean(incarnation))
            }
            (State::Scrubbing, I::ScrubFailed) | (State::Planting, I::PlantFailed) => {
                (State::Tainted, GuardStep::Stuck)
            }
            _ => return Err(Misuse::WrongState),
        };
        self.state = next;
        Ok(step)
    }

    /// The incarnation, while it is clean. [RST-5]
    pub const fn incarnation(&self) -> Option<&Incarnation> {
        match &self.state {
            State::Clean(incarnation) => Some(incarnation),
            _ => None,
        }
    }

    pub const fn on_host_read(&self) -> OnHostRead {
        self.on_host_read
    }

    /// The state's name in the table of chapter 70.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Tainted => "Tainted",
            State::Zeroising => "Zeroising",
            State::Scrubbing => "Scrubbing",
            State::Planting => "Planting",
            State::Clean(_) => "Clean",
        }
    }
}

fn taint() -> GuardStep {
    GuardStep::Taint(DeviceEffect::Zeroise)
}
