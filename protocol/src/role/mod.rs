//! Roles: the chapters in their order, one machine per process.
//!
//! A role owns its exchanges, gives each input to the chapter that it is for, and turns what the
//! chapters want into outputs. It decides nothing itself. Its methods sort by direction:
//!
//! - `handle` takes one [`DeviceInput`] or [`CustodianInput`] with the clock's reading;
//! - `poll_output` yields what to do, in order, until `None`;
//! - `poll_timeout` says when to come back with `Timeout`.
//!
//! The driver's whole loop, for any role:
//!
//! ```text
//! loop {
//!     let input = next(socket, answer, command, sleep_until(machine.poll_timeout()));
//!     if let Err(rejection) = machine.handle(clock.now(), input, &mut suite) { log(rejection) }
//!     while let Some(output) = machine.poll_output() {
//!         match output { Transmit => send, Close => close, Effect => start, Dial => connect, .. }
//!     }
//! }
//! ```
//!
//! Every effect is answered exactly once, also when nobody waits for it any more; a device's effects
//! are executed one after the other, in the order in which they were asked. An error of
//! `handle` is for the operator's log; the machine has already acted upon it.

mod custodian;
mod device;
mod names;

use core::fmt;

use crate::error::{Misuse, Violation};

pub use custodian::{Custodian, CustodianConfig, CustodianInput, Recovered};
pub use device::{Device, DeviceConfig, DeviceInput};

/// Why an input had no effect, or closed an exchange.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rejection {
    Violation(Violation),
    Misuse(Misuse),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Violation(violation) => violation.fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
        }
    }
}

impl core::error::Error for Rejection {}

impl From<Violation> for Rejection {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<Misuse> for Rejection {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

/// Who draws a fresh value: names it in a model's trace, and keeps two purposes apart there.
#[derive(Clone, Copy, Debug)]
enum Draw {
    Activation,
    Lease,
    Correlation,
}

impl Draw {
    /// Channel ids of challenges stay below every one of these.
    const fn slot(self, number: u64) -> u64 {
        let purpose = match self {
            Self::Activation => 1,
            Self::Lease => 2,
            Self::Correlation => 3,
        };
        (purpose << 56) | number
    }
}
