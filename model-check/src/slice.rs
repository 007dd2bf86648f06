//! Slices: which dimensions of the world are open together, and within which bounds.
//!
//! A property is claimed on its slices only. Every slice says what it leaves out.

use std::collections::BTreeSet;

use split_custody_protocol::reset::OnHostRead;

use crate::world::{Action, Bounds, Config, Facts, Setup, Switch, World};

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
            lie: None,
            watched,
        }
    }

    /// The one state in which the slice begins.
    pub fn initial(&self, config: &Config) -> World {
        let mut world = World::new(config);
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
            if self.device.machine.state_names().1 == "Serving" {
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

const ON: Switch = Switch::On;

/// Every slice of every scope.
pub fn slices() -> Vec<Slice> {
    let base = Bounds::QUIET;
    let one = Setup::smallest(1, 1, 0);
    let untimed = "time, crashes, resets, revocation";
    let mut slices = vec![
        Slice {
            name: "handshake-one",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds { attempts: 2, intrusions: 1, cuts: ON, ..base.clone() },
            liars: &[],
            start: Start::Clean,
            says: "one custodian, two attempts, one hostile channel, cuts",
            drops: untimed,
        },
        Slice {
            name: "handshake-stolen-leaf",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds {
                attempts: 1,
                intrusions: 2,
                replays: ON,
                leaf_stolen: ON,
                ..base.clone()
            },
            liars: &[],
            start: Start::Clean,
            says: "the adversary holds the device's leaf key and repeats inside honest channels",
            drops: untimed,
        },
        Slice {
            name: "handshake-two",
            scope: Scope::Smoke,
            setup: Setup::smallest(2, 2, 0),
            bounds: Bounds { intrusions: 1, ..base.clone() },
            liars: &[],
            start: Start::Clean,
            says: "two custodians, both needed, one hostile channel to either",
            drops: untimed,
        },
        Slice {
            name: "quorum-liar",
            scope: Scope::Smoke,
            setup: Setup::smallest(3, 2, 1),
            bounds: Bounds { false_shares: ON, ..base.clone() },
            liars: &[3],
            start: Start::Clean,
            says: "three custodians of which one grants wrong shares",
            drops: "hostile channels, time, crashes, resets, revocation",
        },
        Slice {
            name: "lease-one",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds { ticks: 7, uses: 1, renewals: 2, revokes: ON, skew: ON, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "one lease, one use, wandering clocks, revocation, seven ticks",
            drops: "hostile channels, crashes, resets, more than one custodian",
        },
        Slice {
            name: "lease-two-of-two",
            scope: Scope::Smoke,
            setup: Setup::smallest(2, 2, 0),
            bounds: Bounds { ticks: 5, uses: 1, renewals: 1, revokes: ON, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "two leases, both needed, revocation, five ticks",
            drops: "hostile channels, crashes, resets, clock skew",
        },
        Slice {
            name: "lease-one-of-two",
            scope: Scope::Smoke,
            setup: Setup::smallest(2, 1, 0),
            bounds: Bounds { ticks: 5, uses: 1, renewals: 1, revokes: ON, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "two leases, one needed: revocation needs both acknowledgements",
            drops: "hostile channels, crashes, resets, clock skew",
        },
        Slice {
            name: "lease-liar",
            scope: Scope::Smoke,
            setup: Setup::smallest(2, 2, 1),
            bounds: Bounds { ticks: 5, uses: 1, renewals: 1, revokes: ON, ..base.clone() },
            liars: &[2],
            start: Start::Serving,
            says: "two leases, both needed; one custodian acknowledges and goes on renewing",
            drops: "hostile channels, crashes, resets, clock skew",
        },
        Slice {
            name: "lease-two-of-three",
            scope: Scope::Review,
            setup: Setup::smallest(3, 2, 0),
            bounds: Bounds { ticks: 6, uses: 1, renewals: 1, revokes: ON, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "three leases of which two are needed, revocation, six ticks",
            drops: "hostile channels, crashes, resets, clock skew",
        },
        Slice {
            name: "lease-liar-of-three",
            scope: Scope::Review,
            setup: Setup::smallest(3, 2, 1),
            bounds: Bounds { ticks: 6, uses: 1, renewals: 1, revokes: ON, ..base.clone() },
            liars: &[3],
            start: Start::Serving,
            says: "as lease-two-of-three; one custodian acknowledges and goes on renewing",
            drops: "hostile channels, crashes, resets, clock skew",
        },
        Slice {
            name: "lease-death",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds { ticks: 7, renewals: 2, revokes: ON, deaths: ON, skew: ON, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "one lease, wandering clocks, a custodian that says when it is dead",
            drops: "uses, hostile channels, crashes, resets, more than one custodian",
        },
        Slice {
            name: "revocation-one",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds {
                intrusions: 1,
                crashes: 1,
                revokes: ON,
                deferred: ON,
                ..base.clone()
            },
            liars: &[],
            start: Start::Clean,
            says: "revocation against a release in flight; every commit and HSM call may fail",
            drops: "time, resets, more than one custodian",
        },
        Slice {
            name: "crash-one",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds { attempts: 2, crashes: 2, deferred: ON, cuts: ON, ..base.clone() },
            liars: &[],
            start: Start::Clean,
            says: "a custodian that crashes twice, with unknown commits and failing HSM",
            drops: "time, resets, revocation, hostile channels",
        },
        Slice {
            name: "rollback-one",
            scope: Scope::Smoke,
            setup: one.clone(),
            bounds: Bounds { crashes: 1, rollbacks: ON, revokes: ON, ..base.clone() },
            liars: &[],
            start: Start::Clean,
            says: "a custodian's store is replaced by its oldest backup",
            drops: "time, resets, hostile channels, failing HSM",
        },
    ];
    for (reaction, name) in
        [(OnHostRead::Reset, "reset-reset"), (OnHostRead::Block, "reset-block")]
    {
        slices.push(Slice {
            name,
            scope: Scope::Smoke,
            setup: Setup { on_host_read: reaction, ..Setup::smallest(1, 1, 0) },
            bounds: Bounds { attempts: 3, disturbances: 2, uses: 2, ..base.clone() },
            liars: &[],
            start: Start::Serving,
            says: "host reads, tampering and resumes at any step, three attempts",
            drops: "time, crashes, revocation, hostile channels, more than one custodian",
        });
    }
    slices
}
