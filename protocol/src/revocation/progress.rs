//! An order on its way through one custodian.

use crate::error::Misuse;

/// How far an order has come here; each step waits for the one before. [REV-4] [REV-7]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Progress {
    /// What it covers is cancelled; the order is being made durable. [REV-5] [REV-6]
    #[default]
    Draining,
    Anchoring,
    Destroying,
    Acknowledging,
    Acknowledged,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ProgressInput {
    Committed,
    Anchored,
    Destroyed,
    Signed,
}

impl Progress {
    /// One step of the table of chapter 60.
    pub fn handle(&mut self, input: ProgressInput) -> Result<(), Misuse> {
        *self = match (*self, input) {
            (Self::Draining, ProgressInput::Committed) => Self::Anchoring,
            (Self::Anchoring, ProgressInput::Anchored) => Self::Destroying,
            (Self::Destroying, ProgressInput::Destroyed) => Self::Acknowledging,
            (Self::Acknowledging, ProgressInput::Signed) => Self::Acknowledged,
            _ => return Err(Misuse::WrongState),
        };
        Ok(())
    }

    /// The state's name in the table of chapter 60.
    pub const fn state_name(self) -> &'static str {
        match self {
            Self::Draining => "Draining",
            Self::Anchoring => "Anchoring",
            Self::Destroying => "Destroying",
            Self::Acknowledging => "Acknowledging",
            Self::Acknowledged => "Acknowledged",
        }
    }
}
