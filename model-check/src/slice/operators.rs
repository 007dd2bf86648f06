//! Slices in which an order and an activation take two of three operators, and keys were stolen.

use super::Slice;
use super::build::{OFF, ON, begin, one};
use crate::world::{Bounds, Operators, Setup};

pub(super) fn slices() -> Vec<Slice> {
    let setup = Setup { operators: Operators::TWO_OF_THREE, ..one() };
    let base = Bounds {
        intruder: ON,
        sends: 2,
        intrusions: 1,
        revokes: ON,
        stolen_operators: 1,
        ..Bounds::QUIET
    };
    vec![
        // BOUND: two messages on the intruder's channel: an order, and what it makes possible.
        begin("intruder-operators", setup.clone(), Bounds { crashes: 1, ..base.clone() })
            .says("two of three operators order; one operator's key was stolen; a crash")
            .drops("time, resets, failing HSM, more than one custodian"),
        begin(
            "intruder-operators-readmitted",
            setup.clone(),
            Bounds { readmitted: ON, ..base.clone() },
        )
        .says("as intruder-operators, and the device was revoked and admitted again before")
        .drops("time, crashes, resets, failing HSM, more than one custodian"),
        begin(
            "intruder-operators-activation",
            setup,
            Bounds { crashes: 1, activations: ON, revokes: OFF, ..base },
        )
        .says("a custodian that waits for two of three operators; one operator's key was stolen")
        .drops("time, resets, revocation, failing HSM, more than one custodian"),
    ]
}
