//! What does not change in a run: parameters, bounds, and what is supposed to be broken.

use std::collections::BTreeSet;

use split_custody_protocol::wire::order::Verb;

use super::{Facts, Operators, Setup};
use crate::symbolic::{Principal, SymbolicSuite};

/// What may happen in a slice, and how often. Every number is a bound of the claim.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Bounds {
    /// Attempts of the device to acquire.
    pub attempts: u8,
    /// Channels that the adversary opens.
    pub intrusions: u8,
    /// Ticks of real time.
    pub ticks: u8,
    /// Host reads, tampering, resumes.
    pub disturbances: u8,
    /// Crashes of custodians, rollbacks among them.
    pub crashes: u8,
    /// Uses of the model.
    pub uses: u8,
    /// Renewals of each lease.
    pub renewals: u8,
    /// Whether a renewal that was not answered in time is asked again.
    pub retries: Switch,
    /// Whether operators revoke.
    pub revokes: Switch,
    /// Whether the device was revoked and admitted again before the story begins.
    pub readmitted: Switch,
    /// Whether operators ask to hear that revoked leases are dead.
    pub deaths: Switch,
    /// Whether stores are rolled back to the backup.
    pub rollbacks: Switch,
    /// Whether frames are repeated inside honest channels.
    pub replays: Switch,
    /// Whether the host cuts channels and lets dials fail.
    pub cuts: Switch,
    /// Whether commits, anchors and HSM calls are separate steps, and may fail.
    pub deferred: Switch,
    /// Whether clocks wander by one.
    pub skew: Switch,
    /// Whether the adversary holds the device's TLS leaf key.
    pub leaf_stolen: Switch,
    /// Whether liars grant shares that they made up.
    pub false_shares: Switch,
    /// Whether custodians begin recovering: their activation is signed, and with the host.
    pub activations: Switch,
    /// Whether the adversary composes whatever it can derive: see [`crate::intruder`].
    pub intruder: Switch,
    /// Messages that it composes on each channel.
    pub sends: u8,
    /// Whether the adversary holds the TLS keys of honest custodians, and not their other keys.
    pub custodian_leaf_stolen: Switch,
    /// Operators whose keys the adversary holds: the last of them.
    pub stolen_operators: u8,
    /// Whether each end of a channel closes by itself and every question waits for its answer, as
    /// in a log that is replayed.
    pub stepwise: Switch,
}

/// Two sides of a dimension.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Switch {
    On,
    Off,
}

impl Switch {
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On)
    }
}

impl Bounds {
    /// Nothing hostile at all.
    pub const QUIET: Self = Self {
        attempts: 1,
        intrusions: 0,
        ticks: 0,
        disturbances: 0,
        crashes: 0,
        uses: 0,
        renewals: 0,
        retries: Switch::On,
        revokes: Switch::Off,
        readmitted: Switch::Off,
        deaths: Switch::Off,
        rollbacks: Switch::Off,
        replays: Switch::Off,
        cuts: Switch::Off,
        deferred: Switch::Off,
        skew: Switch::Off,
        leaf_stolen: Switch::Off,
        false_shares: Switch::Off,
        activations: Switch::Off,
        intruder: Switch::Off,
        sends: 0,
        custodian_leaf_stolen: Switch::Off,
        stolen_operators: 0,
        stepwise: Switch::Off,
    };
}

/// What a broken double does wrong outside the machines.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Lie {
    /// The store answers before it has written.
    StoreAnswersEarly,
    /// The anchor answers without moving.
    AnchorStands,
    /// The scrub reports success and overwrites nothing.
    ScrubDoesNothing,
    /// Zeroising reports success and erases nothing.
    ZeroiseDoesNothing,
    /// Revocation is called effective at the first acknowledgement.
    EffectiveAtFirst,
    /// The host can hold the device's clock.
    ClockStalls,
    /// The device's driver does not hear that its memory was read.
    ReadUnnoticed,
    /// The device's driver reports a read that the hardware blocked as tampering.
    BlockedReadTaints,
    /// TLS ends in the host, which hands the device an exporter: untrusted code does.
    TlsEndsInHost,
    /// An appraiser takes a CPU report that it cannot read for the one that it should be.
    UnreadableReportPasses,
    /// An appraiser takes a report of either half for a CPU report.
    AnyHalf,
    /// TLS ends in the device, but code of the host hands it the exporter of another channel.
    HostHandsExporter,
    /// Shares are opened in a buffer of the host, on their way to the device.
    SharesOpenInHost,
    /// The device makes its key pair anew from a state that was saved before.
    DeviceKeyKept,
    /// One operator's key more than the slice says was stolen.
    OneMoreKeyStolen,
    /// The operators' revocation names every device, where they meant the first.
    RevokesEveryDevice,
}

/// Everything about a run that does not change.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Config {
    pub setup: Setup,
    pub bounds: Bounds,
    /// Custodians that lie: acknowledgements of nothing, and wrong shares where bounds say so.
    pub liars: BTreeSet<u8>,
    pub lie: Option<Lie>,
    /// The facts that are remembered.
    pub watched: Facts,
}

impl Config {
    /// The operators' revocation of the device, signed.
    pub fn revocation(&self) -> Vec<u8> {
        let serial = u64::from(self.bounds.readmitted.is_on());
        let signers = self.setup.operators.who_order(Verb::Revoke);
        if self.lie == Some(Lie::RevokesEveryDevice) {
            return self.setup.order_about_all(Verb::Revoke, serial, &signers);
        }
        self.setup.order_by(Verb::Revoke, serial, &signers)
    }

    /// Whether the host is both ends of every channel.
    pub fn tls_ends_in_host(&self) -> bool {
        self.lie == Some(Lie::TlsEndsInHost)
    }

    /// The device's suite in one of its lives.
    pub fn device_suite(&self, device: Principal, life: u64) -> SymbolicSuite {
        let suite = self.setup.suite(device, life);
        if self.lie == Some(Lie::DeviceKeyKept) { suite.with_one_key() } else { suite }
    }

    /// The operators whose keys the adversary holds.
    pub fn stolen_operators(&self) -> Vec<Principal> {
        let more = u8::from(self.lie == Some(Lie::OneMoreKeyStolen));
        let all = self.setup.operators.all;
        let stolen = all.min(self.bounds.stolen_operators + more);
        (all - stolen..all).map(Operators::number).collect()
    }

    /// Whether the adversary plays this custodian, with all its keys.
    pub fn corrupt(&self, custodian: u8) -> bool {
        self.bounds.intruder.is_on() && self.liars.contains(&custodian)
    }
}
