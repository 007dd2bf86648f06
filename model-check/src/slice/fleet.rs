//! Slices with a second device.

use super::Slice;
use super::build::{OFF, ON, begin, exact, one};
use crate::world::{Bounds, Fleet, Setup};

pub(super) fn slices() -> Vec<Slice> {
    let two = |setup| Setup { fleet: Fleet::Two, ..setup };
    let base = Bounds { intruder: ON, sends: 2, intrusions: 1, revokes: ON, ..Bounds::QUIET };
    vec![
        begin(
            "intruder-fleet-owned",
            Setup { fleet: Fleet::Owned, ..one() },
            base.clone(),
        )
        .says("the adversary's own genuine device is enrolled; both halves sign for its other code")
        .drops("time, crashes, resets, more than one custodian"),
        begin(
            "intruder-fleet-owned-wide",
            Setup { fleet: Fleet::Owned, ..one() },
            Bounds { attempts: 2, ..base.clone() },
        )
        .review()
        .says("as intruder-fleet-owned, with two attempts")
        .drops("time, crashes, resets, more than one custodian"),
        // BOUND: both begin with nothing; one attempt of each, and the revocation of the first.
        begin("fleet-two", two(one()), Bounds { revokes: ON, uses: 1, ..Bounds::QUIET })
            .says("two honest devices at one custodian; operators revoke the first")
            .drops("time, crashes, resets, hostile channels, more than one custodian"),
        begin(
            "fleet-two-lease",
            two(exact(1, 1, 0)),
            Bounds { ticks: 3, uses: 1, renewals: 1, retries: OFF, revokes: ON, ..Bounds::QUIET },
        )
        .serving()
        .says("two honest devices that serve, renewals and uses; the first is revoked; three ticks")
        .drops("crashes, resets, hostile channels, clock skew, more than one custodian"),
        begin(
            "fleet-two-reset",
            two(one()),
            Bounds { attempts: 2, disturbances: 1, ..Bounds::QUIET },
        )
        .serving()
        .says("two honest devices that serve, one of which is reset and comes back")
        .drops("time, uses, crashes, revocation, hostile channels, more than one custodian"),
        begin("intruder-fleet-two", two(one()), Bounds { sends: 1, ..base })
            .review()
            .says("two honest devices, the first is revoked; one channel of the intruder's")
            .drops("time, crashes, resets, more than one custodian"),
    ]
}
