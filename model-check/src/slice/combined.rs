//! Slices in which dimensions are open together that no other slice opens together.

use super::Slice;
use super::build::{ON, begin, exact, one};
use crate::world::{Bounds, Setup};

pub(super) fn slices() -> Vec<Slice> {
    let base = Bounds::QUIET;
    let intruder = Bounds { intruder: ON, sends: 2, intrusions: 1, ..base.clone() };
    vec![
        // BOUND: three ticks are a challenge's life, and a whole term where clocks agree.
        begin(
            "handshake-crash-late",
            one(),
            Bounds { attempts: 2, intrusions: 1, crashes: 1, ticks: 3, ..base.clone() },
        )
        .review()
        .says("one custodian, two attempts, one hostile channel, a crash, late requests")
        .drops("resets, revocation, renewals, failing HSM"),
        begin(
            "lease-rollback",
            exact(1, 1, 0),
            Bounds {
                ticks: 3,
                uses: 1,
                renewals: 1,
                crashes: 1,
                cuts: ON,
                rollbacks: ON,
                revokes: ON,
                ..base.clone()
            },
        )
        .serving()
        .review()
        .says("one lease, a renewal, revocation, and a custodian whose store is rolled back")
        .drops("hostile channels, resets, clock skew, failing store and HSM"),
        begin(
            "reset-crash",
            one(),
            Bounds { attempts: 3, disturbances: 1, crashes: 1, uses: 1, cuts: ON, ..base.clone() },
        )
        .serving()
        .review()
        .says("a reset and a new life while the custodian crashes, cuts")
        .drops("time, revocation, hostile channels, more than one custodian"),
        begin(
            "reset-revoked",
            one(),
            Bounds {
                attempts: 2,
                disturbances: 2,
                uses: 1,
                revokes: ON,
                deferred: ON,
                ..base.clone()
            },
        )
        .serving()
        .review()
        .says("a revocation against resets and new lives; commits, HSM calls, loads that fail")
        .drops("time, crashes, hostile channels, more than one custodian"),
        begin(
            "reset-lease-crash",
            exact(1, 1, 0),
            Bounds {
                attempts: 2,
                disturbances: 1,
                ticks: 3,
                renewals: 1,
                crashes: 1,
                revokes: ON,
                ..base.clone()
            },
        )
        .serving()
        .review()
        .says("a reset, a renewal of the old life, revocation and a crash, three ticks")
        .drops("uses, hostile channels, more than one custodian"),
        begin(
            "quorum-liar-crash",
            Setup::smallest(3, 2, 1),
            Bounds { false_shares: ON, crashes: 1, cuts: ON, ..base.clone() },
        )
        .liars(&[3])
        .review()
        .says("three custodians, two needed, one grants wrong shares, one crashes; cuts")
        .drops("hostile channels, time, resets, revocation"),
        begin(
            "intruder-reset-revoked",
            one(),
            Bounds { attempts: 2, disturbances: 1, uses: 1, crashes: 1, revokes: ON, ..intruder },
        )
        .serving()
        .review()
        .says("a reset and a new life, a revocation and a crash; a channel of the intruder's")
        .drops("time, renewals, failing HSM, more than one custodian"),
    ]
}
