//! The device's side of the handshake with one custodian.

use alloc::vec::Vec;
use core::mem;

use crate::effect::{Act, DeviceEffect};
use crate::error::Violation;
use crate::ids::{ChannelId, CustodianId};
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::suite::{
    AgreementKey, DeviceId, DeviceSecret, Digest, Exporter, LeafKey, Suite, SuiteId,
};
use crate::transcript::{self, EntryInput};
use crate::wire::challenge::Challenge;
use crate::wire::codec::List;
use crate::wire::hello::{Hello, VERSION};
use crate::wire::message::{Message, Received};

/// One custodian's exchange, from the device.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Attester {
    custodian: CustodianId,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    AwaitChannel,
    AwaitExporter(AwaitExporter),
    AwaitChallenge(AwaitChallenge),
    Ready(ReadyEntry),
    AwaitGrant(ReadyEntry),
    Closed,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct AwaitExporter {
    channel: ChannelId,
    device_leaf: LeafKey,
    custodian_leaf: LeafKey,
    hello: Vec<u8>,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct AwaitChallenge {
    opened: AwaitExporter,
    exporter: Exporter,
}

/// An exchange that can join a session: everything that its entry binds.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ReadyEntry {
    pub channel: ChannelId,
    pub device_leaf: LeafKey,
    pub custodian_leaf: LeafKey,
    pub suite: SuiteId,
    pub th1: Digest,
    pub secret: DeviceSecret,
    pub device_key: AgreementKey,
    /// `e_i`.
    pub entry: Digest,
}

/// What happens to an [`Attester`].
#[derive(Clone, Debug)]
pub enum AttesterInput<'a> {
    ChannelOpened {
        channel: ChannelId,
        device_leaf: LeafKey,
        custodian_leaf: LeafKey,
    },
    Exported(Exporter),
    ExportFailed,
    Challenge(Received<'a, Challenge>),
    /// The session's Evidence exists; this is the request for this custodian.
    Evidence {
        request: Vec<u8>,
    },
    Refused,
    ChannelClosed,
}

impl Attester {
    pub const fn new(custodian: CustodianId) -> Self {
        Self { custodian, state: State::AwaitChannel }
    }

    /// Takes one input; what it wants is returned.
    pub fn handle(
        &mut self,
        input: AttesterInput<'_>,
        manifest: &KnownManifest,
        device: DeviceId,
        slot: u64,
        suite: &mut impl Suite,
    ) -> Result<Vec<Act<DeviceEffect>>, Violation> {
        use AttesterInput as I;
        // An early return leaves `Closed` behind: errors fail closed.
        let state = mem::replace(&mut self.state, State::Closed);
        let (next, acts) = match (state, input) {
            (State::AwaitChannel, I::ChannelOpened { channel, device_leaf, custodian_leaf }) => {
                let hello = hello(manifest, device, self.custodian)?;
                on_opened(channel, device_leaf, custodian_leaf, hello, suite)
            }
            (State::AwaitExporter(s), I::Exported(exporter)) => s.on_exported(exporter),
            (State::AwaitExporter(_), I::ExportFailed) => (State::Closed, Vec::new()), // [HS-2]
            (State::AwaitChallenge(s), I::Challenge(challenge)) => {
                let ready = s.on_challenge(challenge, self.custodian, manifest, slot, suite)?;
                (State::Ready(ready), Vec::new())
            }
            (State::AwaitChallenge(_), I::Refused) => (State::Closed, Vec::new()),
            (State::Ready(ready), I::Evidence { request }) => {
                (State::AwaitGrant(ready), alloc::vec![Act::Send(request)])
            }
            (_, I::ChannelClosed) => (State::Closed, Vec::new()),
            _ => return Err(Violation::Unexpected),
        };
        self.state = next;
        Ok(acts)
    }

    /// The channel that this exchange runs on; nothing that comes on another is for it.
    pub const fn channel(&self) -> Option<ChannelId> {
        match &self.state {
            State::AwaitExporter(s) => Some(s.channel),
            State::AwaitChallenge(s) => Some(s.opened.channel),
            State::Ready(ready) | State::AwaitGrant(ready) => Some(ready.channel),
            State::AwaitChannel | State::Closed => None,
        }
    }

    /// The entry of an exchange that waits for Evidence.
    pub const fn ready(&self) -> Option<&ReadyEntry> {
        match &self.state {
            State::Ready(ready) => Some(ready),
            _ => None,
        }
    }

    /// The entry of an exchange that waits for its grant.
    pub const fn requested(&self) -> Option<&ReadyEntry> {
        match &self.state {
            State::AwaitGrant(ready) => Some(ready),
            _ => None,
        }
    }

    /// The entry of an exchange that made one, whatever came of it since.
    pub const fn entry(&self) -> Option<&ReadyEntry> {
        match &self.state {
            State::Ready(ready) | State::AwaitGrant(ready) => Some(ready),
            _ => None,
        }
    }

    pub const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Leaves this exchange for good. [HS-18]
    pub fn close(&mut self) {
        self.state = State::Closed;
    }

    /// The state's name in the table of chapter 20.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::AwaitChannel => "AwaitChannel",
            State::AwaitExporter(_) => "AwaitExporter",
            State::AwaitChallenge(_) => "AwaitChallenge",
            State::Ready(_) => "Ready",
            State::AwaitGrant(_) => "AwaitGrant",
            State::Closed => "Closed",
        }
    }
}

type Transition = (State, Vec<Act<DeviceEffect>>);

/// What this device offers: version 1 and every implemented suite that the manifest allows.
fn hello(
    manifest: &KnownManifest,
    device: DeviceId,
    custodian: CustodianId,
) -> Result<Vec<u8>, Violation> {
    let entry = manifest.custodian(custodian).ok_or(Violation::ChallengeNotOurs)?;
    let suites = entry.suites.iter().copied().filter(|suite| suite.is_implemented()).collect();
    let hello = Hello {
        versions: List::new(alloc::vec![VERSION]).ok_or(Violation::NothingInCommon)?,
        suites: List::new(suites).ok_or(Violation::NothingInCommon)?, // [REL-12]
        deployment: manifest.deployment,
        weights: manifest.weights,
        version: manifest.version,
        device,
    };
    Ok(Message::Hello(hello).to_frame())
}

fn on_opened(
    channel: ChannelId,
    device_leaf: LeafKey,
    custodian_leaf: LeafKey,
    hello: Vec<u8>,
    suite: &mut impl Suite,
) -> Transition {
    let context = transcript::exporter_context(suite, &hello); // [HS-2]
    let state = AwaitExporter { channel, device_leaf, custodian_leaf, hello };
    (State::AwaitExporter(state), alloc::vec![Act::Ask(DeviceEffect::Export { channel, context })])
}

impl AwaitExporter {
    fn on_exported(self, exporter: Exporter) -> Transition {
        let hello = self.hello.clone();
        let state = AwaitChallenge { opened: self, exporter };
        (State::AwaitChallenge(state), alloc::vec![Act::Send(hello)])
    }
}

impl AwaitChallenge {
    fn on_challenge(
        self,
        challenge: Received<'_, Challenge>,
        custodian: CustodianId,
        manifest: &KnownManifest,
        slot: u64,
        suite: &mut impl Suite,
    ) -> Result<ReadyEntry, Violation> {
        let chosen = challenge.body;
        require!(HS_17, is_ours(chosen, custodian, manifest));
        let AwaitExporter { channel, device_leaf, custodian_leaf, hello } = self.opened;
        let th1 = transcript::th1(suite, &hello, challenge.frame);
        // [HS-8] One pair per custodian and attempt.
        let (secret, device_key) = suite.generate(chosen.suite, slot);
        let entry = transcript::entry(
            suite,
            &EntryInput {
                exporter: &self.exporter,
                device_leaf: &device_leaf,
                custodian_leaf: &custodian_leaf,
                th1: &th1,
                suite: chosen.suite,
                device_key: &device_key,
            },
        );
        Ok(ReadyEntry {
            channel,
            device_leaf,
            custodian_leaf,
            suite: chosen.suite,
            th1,
            secret,
            device_key,
            entry,
        })
    }
}

/// From the custodian that was dialled, at the version offered, in a suite that it may use.
fn is_ours(challenge: &Challenge, custodian: CustodianId, manifest: &KnownManifest) -> bool {
    challenge.custodian == custodian
        && challenge.version == VERSION
        && challenge.suite.is_implemented()
        && manifest
            .custodian(custodian)
            .is_some_and(|entry| entry.suites.iter().any(|suite| *suite == challenge.suite))
}
