//! The slices themselves, chapter by chapter, and their pinned counts.

use split_custody_protocol::reset::OnHostRead;

use super::build::{OFF, ON, UNTIMED, begin, exact, one};
use super::{Slice, combined, fleet, operators, suites};
use crate::world::{Bounds, Lie, Setup};

/// Every slice of every scope.
pub fn slices() -> Vec<Slice> {
    let mut slices = handshake();
    slices.extend(quorum());
    slices.extend(lease_of_one());
    slices.extend(lease_of_more());
    slices.extend(revocation());
    slices.extend(audit());
    slices.extend(reset());
    slices.extend(intruder());
    slices.extend(operators::slices());
    slices.extend(fleet::slices());
    slices.extend(suites::slices());
    slices.extend(combined::slices());
    slices
}

fn handshake() -> Vec<Slice> {
    let base = Bounds::QUIET;
    vec![
        // BOUND: two attempts show mixing of attempts; a third is reviewed below.
        begin(
            "handshake-one",
            one(),
            Bounds { attempts: 2, intrusions: 1, cuts: ON, ..base.clone() },
        )
        .says("one custodian, two attempts, one hostile channel, cuts")
        .drops(UNTIMED),
        // BOUND: each frame is repeated once; a second repetition meets the same spent challenge.
        begin(
            "handshake-stolen-leaf",
            one(),
            Bounds { intrusions: 2, replays: ON, leaf_stolen: ON, ..base.clone() },
        )
        .says("the adversary holds the device's leaf key and repeats inside honest channels")
        .drops(UNTIMED),
        begin("handshake-two", Setup::smallest(2, 2, 0), Bounds { intrusions: 1, ..base.clone() })
            .says("two custodians, both needed, one hostile channel to either")
            .drops(UNTIMED),
        begin("handshake-liar", Setup::smallest(2, 2, 1), Bounds { intrusions: 1, ..base.clone() })
            .liars(&[2])
            .says("two custodians, both needed, one of them corrupt: its share is outside already")
            .drops(UNTIMED),
        // BOUND: a challenge lives three ticks; the fourth shows that it stays dead.
        begin("handshake-late", one(), Bounds { ticks: 4, ..base.clone() })
            .says("one custodian, a request that the host delays past the challenge's end")
            .drops("hostile channels, crashes, resets, revocation"),
        begin(
            "handshake-one-wide",
            one(),
            Bounds { attempts: 3, intrusions: 2, cuts: ON, ..base.clone() },
        )
        .review()
        .says("one custodian, three attempts, two hostile channels, cuts")
        .drops(UNTIMED),
        begin(
            "handshake-stolen-leaf-wide",
            one(),
            Bounds { attempts: 2, intrusions: 2, replays: ON, leaf_stolen: ON, ..base.clone() },
        )
        .review()
        .says("as handshake-stolen-leaf, with two attempts")
        .drops(UNTIMED),
        begin(
            "handshake-three",
            Setup::smallest(3, 2, 0),
            Bounds { intrusions: 1, ..base.clone() },
        )
        .review()
        .says("three custodians of which two are needed, one hostile channel to any")
        .drops(UNTIMED),
        begin(
            "handshake-two-wide",
            Setup::smallest(2, 2, 0),
            Bounds { attempts: 2, intrusions: 2, cuts: ON, ..base },
        )
        .night()
        .says("two custodians, two attempts, two hostile channels, cuts")
        .drops(UNTIMED),
    ]
}

fn quorum() -> Vec<Slice> {
    let base = Bounds::QUIET;
    vec![
        begin("quorum-liar", Setup::smallest(3, 2, 1), Bounds { false_shares: ON, ..base.clone() })
            .liars(&[3])
            .says("three custodians, two needed, one of them grants wrong shares")
            .drops("hostile channels, time, crashes, resets, revocation"),
        begin("quorum-cuts", Setup::smallest(2, 2, 0), Bounds { cuts: ON, ..base.clone() })
            .says("two custodians, both needed; dials fail and channels are cut")
            .drops("hostile channels, time, crashes, resets, revocation"),
        begin("quorum-cuts-wide", Setup::smallest(3, 2, 0), Bounds { cuts: ON, ..base })
            .review()
            .says("three custodians, two needed; dials fail and channels are cut")
            .drops("hostile channels, time, crashes, resets, revocation"),
    ]
}

fn lease_of_one() -> Vec<Slice> {
    let base = Bounds::QUIET;
    vec![
        // BOUND: terms of five ticks, so that seven pass the end of a term and of one renewal.
        begin(
            "lease-one",
            one(),
            Bounds { ticks: 7, uses: 1, renewals: 2, revokes: ON, skew: ON, ..base.clone() },
        )
        .serving()
        .says("one lease, one use, wandering clocks, revocation, seven ticks")
        .drops("hostile channels, crashes, resets, more than one custodian"),
        begin(
            "lease-death",
            one(),
            Bounds { ticks: 7, renewals: 2, revokes: ON, deaths: ON, skew: ON, ..base.clone() },
        )
        .serving()
        .says("one lease, wandering clocks, a custodian that says when it is dead")
        .drops("uses, hostile channels, crashes, resets, more than one custodian"),
        // BOUND: two uses under a budget of one; one renewal sets the budget again.
        begin(
            "lease-budget",
            Setup { budget: 1, ..exact(1, 1, 0) },
            Bounds { ticks: 3, uses: 3, renewals: 1, ..base.clone() },
        )
        .serving()
        .says("one lease with a budget of one use, three uses asked for, one renewal")
        .drops("hostile channels, crashes, resets, revocation, clock skew"),
        // BOUND: claims age out after four ticks, within the second renewed term.
        begin(
            "lease-age",
            Setup { max_age: 4, ..exact(1, 1, 0) },
            Bounds { ticks: 6, renewals: 2, ..base.clone() },
        )
        .serving()
        .says("one lease whose claims may be four ticks old, six ticks")
        .drops("uses, hostile channels, crashes, resets, revocation, clock skew"),
        // BOUND: one crash, before or after the order; one renewal on the channel dialled anew.
        begin(
            "lease-crash",
            exact(1, 1, 0),
            Bounds { ticks: 3, renewals: 1, crashes: 1, cuts: ON, revokes: ON, ..base.clone() },
        )
        .serving()
        .says("one lease, revocation, and a custodian that crashes and reads its leases back")
        .drops("uses, hostile channels, resets, clock skew, failing store and HSM"),
        begin(
            "lease-intruder",
            exact(1, 1, 0),
            Bounds { ticks: 3, renewals: 1, intrusions: 1, ..base },
        )
        .serving()
        .says("one lease; a stranger repeats its renewals on a channel of its own")
        .drops("uses, crashes, resets, revocation, clock skew"),
    ]
}

fn lease_of_more() -> Vec<Slice> {
    // BOUND: three ticks of term and no skew (lease-one has it); one renewal outlives the first
    // term, and one use reads whether anything is left.
    let bounds =
        Bounds { ticks: 4, uses: 1, renewals: 1, retries: OFF, revokes: ON, ..Bounds::QUIET };
    let drops = "hostile channels, crashes, resets, clock skew";
    let more = |name, setup| begin(name, setup, bounds.clone()).serving().drops(drops);
    vec![
        more("lease-two-of-two", exact(2, 2, 0)).says("two leases, both needed, revocation"),
        more("lease-one-of-two", exact(2, 1, 0))
            .says("two leases, one needed: revocation takes both acknowledgements"),
        more("lease-liar", exact(2, 2, 1))
            .liars(&[2])
            .says("two leases, both needed; one custodian acknowledges and renews all the same"),
        // BOUND: three ticks are a whole ttl-max from an order that is effective at once.
        Slice {
            bounds: Bounds { ticks: 3, ..bounds.clone() },
            ..more("lease-two-of-three", exact(3, 2, 0))
        }
        .review()
        .says("three leases of which two are needed, revocation"),
        Slice {
            bounds: Bounds { ticks: 3, ..bounds.clone() },
            ..more("lease-liar-of-three", exact(3, 2, 1))
        }
        .liars(&[3])
        .review()
        .says("three leases, two needed; one custodian acknowledges and renews all the same"),
        Slice {
            bounds: Bounds { skew: ON, ticks: 6, ..bounds.clone() },
            ..more("lease-two-skew", Setup::smallest(2, 2, 0))
        }
        .review()
        .says("two leases, both needed, wandering clocks, revocation, six ticks"),
    ]
}

fn revocation() -> Vec<Slice> {
    let base = Bounds { revokes: ON, ..Bounds::QUIET };
    vec![
        begin("revocation-deferred", one(), Bounds { deferred: ON, ..base.clone() })
            .says("revocation against a release in flight; every commit and HSM call may fail")
            .drops("time, crashes, resets, hostile channels, more than one custodian"),
        // BOUND: one crash; what a second one adds is in crash-one, without revocation.
        begin("revocation-crash", one(), Bounds { crashes: 1, deferred: ON, ..base.clone() })
            .says("as revocation-deferred, and the custodian crashes once")
            .drops("time, resets, hostile channels, more than one custodian"),
        begin("revocation-intruder", one(), Bounds { intrusions: 1, ..base.clone() })
            .says("revocation, and an order that no operator signed")
            .drops("time, crashes, resets, failing HSM, more than one custodian"),
        begin("revocation-all", one(), Bounds { intrusions: 1, crashes: 1, deferred: ON, ..base })
            .review()
            .says("revocation, forged orders, a crash, failing commits and HSM calls, all at once")
            .drops("time, resets, more than one custodian"),
    ]
}

fn audit() -> Vec<Slice> {
    let base = Bounds::QUIET;
    vec![
        begin(
            "crash-one",
            one(),
            Bounds { attempts: 2, crashes: 2, deferred: ON, cuts: ON, ..base.clone() },
        )
        .says("a custodian that crashes twice, with unknown commits and failing HSM")
        .drops("time, resets, revocation, hostile channels"),
        begin(
            "rollback-one",
            one(),
            Bounds { crashes: 1, rollbacks: ON, revokes: ON, ..base.clone() },
        )
        .says("a custodian's store is replaced by its oldest backup")
        .drops("time, resets, hostile channels, failing HSM"),
        begin(
            "activation-one",
            one(),
            Bounds { attempts: 2, crashes: 1, activations: ON, cuts: ON, ..base.clone() },
        )
        .says("a custodian that was never activated; the host holds its activation back")
        .drops("time, resets, revocation, hostile channels, failing HSM"),
        begin(
            "rollback-two",
            one(),
            Bounds { attempts: 2, crashes: 2, rollbacks: ON, revokes: ON, deferred: ON, ..base },
        )
        .review()
        .says("two crashes or rollbacks, two attempts, failing commits and HSM calls")
        .drops("time, resets, hostile channels"),
    ]
}

fn reset() -> Vec<Slice> {
    let base = Bounds::QUIET;
    let mut slices = Vec::new();
    for (reaction, name, wide) in [
        (OnHostRead::Reset, "reset-reset", "reset-reset-wide"),
        (OnHostRead::Block, "reset-block", "reset-block-wide"),
    ] {
        let setup = Setup { on_host_read: reaction, ..one() };
        let bounds = Bounds { attempts: 3, disturbances: 2, uses: 2, ..base.clone() };
        let drops = "time, crashes, revocation, hostile channels, more than one custodian";
        slices.push(
            // BOUND: two disturbances: one ends a life, the next disturbs the reset itself.
            begin(name, setup.clone(), bounds.clone())
                .serving()
                .says("host reads, tampering and resumes at any step, three attempts")
                .drops(drops),
        );
        slices.push(
            // BOUND: a fourth attempt and a third disturbance made more than five million states.
            begin(wide, setup, Bounds { uses: 1, deferred: ON, ..bounds })
                .serving()
                .says("as the narrow slice with one use, and commits, HSM calls, scrubs and loads that fail")
                .drops(drops),
        );
    }
    slices.push(
        begin(
            "reset-lease",
            exact(1, 1, 0),
            Bounds { attempts: 2, disturbances: 1, ticks: 3, renewals: 1, ..base.clone() },
        )
        .serving()
        .says("one reset while a renewal of the old life is on its way")
        .drops("uses, crashes, revocation, hostile channels, more than one custodian"),
    );
    slices.push(
        begin(
            "reset-two",
            Setup::smallest(2, 2, 0),
            Bounds { attempts: 2, disturbances: 2, uses: 1, ..base },
        )
        .serving()
        .review()
        .says("two custodians, both needed, two disturbances")
        .drops("time, crashes, revocation, hostile channels"),
    );
    slices
}

/// The intruder composes whatever it can derive; the slices above have a short list of forgeries.
fn intruder() -> Vec<Slice> {
    let base = Bounds { intruder: ON, sends: 2, intrusions: 1, ..Bounds::QUIET };
    let corrupt = Setup::smallest(2, 2, 1);
    vec![
        // BOUND: two messages on each channel: a request, and its repetition or another.
        begin("intruder-one", one(), Bounds { attempts: 2, ..base.clone() })
            .says("one custodian, two attempts, one channel of the intruder's")
            .drops(UNTIMED),
        begin("intruder-stolen-leaf", one(), Bounds { leaf_stolen: ON, ..base.clone() })
            .says("as intruder-one with one attempt, and the device's leaf key is the intruder's")
            .drops(UNTIMED),
        // BOUND: two messages on the device's channel, one of which can be a Request.
        begin("intruder-host", one(), Bounds { intrusions: 0, ..base.clone() })
            .lies(Lie::TlsEndsInHost)
            .says("TLS ends in the host, which reads and replaces what the device says and hears")
            .drops(UNTIMED),
        begin("intruder-two", Setup::smallest(2, 2, 0), base.clone())
            .says("two custodians, both needed, one channel of the intruder's to either")
            .drops(UNTIMED),
        // BOUND: three messages on a dialled channel: a Challenge, a Grant, one more.
        begin(
            "intruder-corrupt",
            corrupt.clone(),
            Bounds { sends: 3, intrusions: 0, ..base.clone() },
        )
        .liars(&[2])
        .says("two custodians, both needed; the intruder is one of them")
        .drops(UNTIMED),
        begin("intruder-corrupt-wide", corrupt, Bounds { sends: 3, ..base.clone() })
            .liars(&[2])
            .review()
            .says("as intruder-corrupt, and a channel of the intruder's to the other")
            .drops(UNTIMED),
        begin(
            "intruder-impostor",
            one(),
            Bounds { sends: 3, custodian_leaf_stolen: ON, ..base.clone() },
        )
        .says("one custodian whose TLS key was stolen, and no other of its keys")
        .drops(UNTIMED),
        begin(
            "intruder-impostor-of-two",
            Setup::smallest(2, 1, 0),
            Bounds { intrusions: 0, custodian_leaf_stolen: ON, ..base.clone() },
        )
        .says("two custodians, one needed; the TLS keys of both were stolen")
        .drops("channels of the intruder's own, time, crashes, resets, revocation"),
        // BOUND: three ticks are a whole ttl-max from an order that is effective at once.
        begin(
            "intruder-impostor-late",
            exact(1, 1, 0),
            Bounds {
                attempts: 2,
                sends: 2,
                intrusions: 0,
                ticks: 3,
                uses: 1,
                revokes: ON,
                custodian_leaf_stolen: ON,
                ..base.clone()
            },
        )
        .says("one custodian whose TLS key was stolen, two attempts, revocation, past its bound")
        .drops("channels of the intruder's own, crashes, resets, renewals, clock skew"),
        begin(
            "intruder-renewal",
            exact(1, 1, 0),
            Bounds { ticks: 2, sends: 1, renewals: 1, revokes: ON, ..base.clone() },
        )
        .serving()
        .says("one lease, its renewals, revocation, one channel of the intruder's")
        .drops("uses, crashes, resets, clock skew"),
        begin(
            "intruder-lease",
            exact(1, 1, 0),
            Bounds { ticks: 3, sends: 1, renewals: 1, uses: 1, revokes: ON, ..base.clone() },
        )
        .serving()
        .review()
        .says("as intruder-renewal, with a use, past the end of the term")
        .drops("crashes, resets, clock skew"),
        begin(
            "intruder-reset",
            one(),
            Bounds { attempts: 2, disturbances: 1, uses: 1, ..base.clone() },
        )
        .serving()
        .says("a reset and a new life, one channel of the intruder's")
        .drops("time, crashes, revocation"),
        begin("intruder-readmitted", one(), Bounds { revokes: ON, readmitted: ON, ..base.clone() })
            .says("a device that was revoked and admitted again is revoked for good")
            .drops("time, crashes, resets, failing HSM"),
        begin("intruder-crash", one(), Bounds { crashes: 1, revokes: ON, ..base })
            .says("a crash and a revocation, one channel of the intruder's")
            .drops("time, resets, failing HSM"),
    ]
}

/// Slices that no property is claimed on: they lead to rows of the tables, and to random scripts.
pub fn unclaimed() -> Vec<Slice> {
    let slow = Bounds { ticks: 4, deferred: ON, ..Bounds::QUIET };
    let slow = begin("slow-load", exact(1, 1, 0), slow)
        .night()
        .says("one custodian; a load that takes longer than the first term")
        .drops("everything else");
    vec![slow, everything()]
}

/// Every dimension open at once: far too large to search, and walked at random.
pub fn everything() -> Slice {
    let bounds = Bounds {
        attempts: 200,
        intrusions: 20,
        ticks: 200,
        disturbances: 200,
        crashes: 200,
        uses: 200,
        renewals: 200,
        retries: ON,
        revokes: ON,
        readmitted: OFF,
        deaths: ON,
        rollbacks: ON,
        replays: ON,
        cuts: ON,
        deferred: ON,
        skew: ON,
        leaf_stolen: OFF,
        false_shares: OFF,
        activations: ON,
        intruder: OFF,
        sends: 0,
        custodian_leaf_stolen: OFF,
        stolen_operators: 0,
        stepwise: OFF,
    };
    begin("everything", Setup::smallest(3, 2, 0), bounds)
        .night()
        .says("three custodians, two needed, and whatever a host, a clock and a stranger can do")
        .drops("an intruder that composes, corrupt custodians, budgets, other reactions to a read")
}

/// Unique states of each smoke slice, and of larger ones that were searched to their end. Another count is another model: read what changed in the
/// machines or the world, and only then write the new count here.
pub(super) const PINS: &[(&str, usize)] = &[
    ("handshake-one", 569),
    ("handshake-stolen-leaf", 486),
    ("handshake-two", 1_080),
    ("handshake-liar", 570),
    ("handshake-late", 304),
    ("quorum-liar", 1_271),
    ("quorum-cuts", 147),
    ("lease-one", 184_948),
    ("lease-death", 43_828),
    ("lease-budget", 564),
    ("lease-age", 368),
    ("lease-crash", 6_140),
    ("lease-intruder", 602),
    ("lease-two-of-two", 19_728),
    ("lease-one-of-two", 48_898),
    ("lease-liar", 8_183),
    ("revocation-deferred", 828),
    ("revocation-crash", 3_635),
    ("revocation-intruder", 964),
    ("crash-one", 4_698),
    ("rollback-one", 130),
    ("activation-one", 1_293),
    ("reset-reset", 3_949),
    ("reset-block", 4_418),
    ("reset-reset-wide", 46_173),
    ("reset-block-wide", 47_759),
    ("reset-lease", 2_999),
    ("intruder-one", 200),
    ("intruder-stolen-leaf", 99),
    ("intruder-host", 364),
    ("intruder-two", 2_100),
    ("intruder-corrupt", 241),
    ("intruder-impostor", 396),
    ("intruder-impostor-of-two", 481),
    ("intruder-impostor-late", 29_256),
    ("intruder-renewal", 2_032),
    ("intruder-reset", 1_568),
    ("intruder-readmitted", 621),
    ("intruder-crash", 3_986),
    ("intruder-operators", 3_986),
    ("intruder-operators-readmitted", 621),
    ("intruder-operators-activation", 4_204),
    ("intruder-fleet-owned", 807),
    ("intruder-fleet-owned-wide", 3_013),
    ("fleet-two", 796),
    ("fleet-two-lease", 23_129),
    ("fleet-two-reset", 1_003),
    ("intruder-fleet-two", 8_312),
    ("intruder-host-suites", 647),
    ("handshake-crash-late", 93_795),
    ("lease-rollback", 46_644),
    ("reset-crash", 7_278),
    ("reset-revoked", 63_604),
    ("reset-lease-crash", 58_149),
    ("quorum-liar-crash", 49_229),
    ("intruder-reset-revoked", 74_516),
];
