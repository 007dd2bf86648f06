//! What can happen in a world, one thing at a time.

use crate::frame::FrameId;

/// Which end of a channel.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum End {
    Device,
    Custodian,
}

/// Who has a clock.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum Who {
    Device,
    Custodian(u8),
}

/// How a custodian's driver answers a question.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum Reply {
    /// Executed, and the answer arrives.
    Done,
    /// The HSM fails, or the appraiser rejects, or the store is fenced.
    Failed,
    /// Written, but the store does not know. [AUD-2]
    UnknownWritten,
    /// Not written, and the store does not know. [AUD-2]
    UnknownLost,
}

/// What the adversary composes on a channel of its own.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum Forgery {
    /// Its own key and session; the enrolled GPU signs for it, the CPU half is its own.
    RelayedGpu,
    /// Its own key and session, both halves its own genuine device.
    OwnDevice,
    /// Its own key and session, with the Evidence of a request that it saw.
    ReplayedEvidence(FrameId),
    /// Its own key in the entries and Evidence of a request that it saw.
    SplicedEntries(FrameId),
}

/// What owners and operators say to a custodian; each follows from the world's setup.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum OperatorSays {
    Provision,
    Query,
    Activate,
    Revoke,
    AwaitDead,
}

/// What a second device can do, or have done to it.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum Deed {
    Acquire,
    Release,
    Connect(u8),
    RefuseDial(u8),
    Answer(u64, Reply),
    Wake,
    Use,
    Emit,
    HostRead,
    Tamper,
    Resume,
}

impl Deed {
    /// The same of the second device; `None` for what only the first has done to it.
    pub fn of(action: Action) -> Option<Self> {
        Some(match action {
            Action::Acquire => Self::Acquire,
            Action::Release => Self::Release,
            Action::Connect(custodian) => Self::Connect(custodian),
            Action::RefuseDial(custodian) => Self::RefuseDial(custodian),
            Action::AnswerDevice(ticket, reply) => Self::Answer(ticket, reply),
            Action::Wake(Who::Device) => Self::Wake,
            Action::Use => Self::Use,
            Action::Emit => Self::Emit,
            Action::HostRead => Self::HostRead,
            Action::Tamper => Self::Tamper,
            Action::Resume => Self::Resume,
            _ => return None,
        })
    }
}

impl From<Deed> for Action {
    fn from(deed: Deed) -> Self {
        match deed {
            Deed::Acquire => Self::Acquire,
            Deed::Release => Self::Release,
            Deed::Connect(custodian) => Self::Connect(custodian),
            Deed::RefuseDial(custodian) => Self::RefuseDial(custodian),
            Deed::Answer(ticket, reply) => Self::AnswerDevice(ticket, reply),
            Deed::Wake => Self::Wake(Who::Device),
            Deed::Use => Self::Use,
            Deed::Emit => Self::Emit,
            Deed::HostRead => Self::HostRead,
            Deed::Tamper => Self::Tamper,
            Deed::Resume => Self::Resume,
        }
    }
}

/// One thing that happens.
#[derive(
    Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, serde::Deserialize, serde::Serialize,
)]
pub enum Action {
    /// The node asks the device to load the model.
    Acquire,
    /// The node asks the device to give it up.
    Release,
    /// The host lets a dial of the device through.
    Connect(u8),
    /// The host lets a dial come to nothing.
    RefuseDial(u8),
    /// The oldest undelivered frame towards this end arrives.
    Deliver(u64, End),
    /// The host cuts a channel at both ends.
    Cut(u64),
    /// One end of a channel hears that it is closed (only where a log is replayed).
    CloseEnd(u64, End),
    /// The custodian's end of a channel opens (only where a log is replayed).
    Accept(u64),
    /// The device is powered on (only where a log is replayed; a world begins powered on).
    PowerOn,
    /// The device's process is killed (only where a log is replayed).
    PowerCycle,
    /// Somebody with a client certificate opens a channel (only where a log is replayed).
    Hail(u8),
    /// And says this on it (only where a log is replayed).
    Say(u64, OperatorSays),
    /// A question of the device's is answered; `Failed` where it can be.
    AnswerDevice(u64, Reply),
    /// A question of a custodian's is answered.
    AnswerCustodian(u8, u64, Reply),
    /// A machine is told that its timeout has come.
    Wake(Who),
    /// Real time passes by one; the device's clock is then ahead by this much.
    Tick { ahead: u8 },
    /// A use is asked for and, if admitted, begins.
    Use,
    /// The output of the use in flight asks to leave.
    Emit,
    /// The host reads device memory over the bus.
    HostRead,
    /// The driver notices that the device's mark is gone.
    Tamper,
    /// The device comes back from a suspend or a snapshot.
    Resume,
    /// A custodian's process dies; what was not written is gone.
    Crash(u8),
    /// A custodian starts again from its store.
    Restart(u8),
    /// A custodian's store is replaced by an older backup, and it starts again.
    RollBack(u8),
    /// An operator submits the revocation of the device to a custodian.
    Submit(u8),
    /// An operator asks a custodian to say when the revoked leases are dead.
    AwaitDead(u8),
    /// An operator activates a custodian.
    Activate(u8),
    /// The host delivers the activation that was last signed for a custodian, perhaps again.
    RepeatActivation(u8),
    /// The adversary opens a channel of its own and says hello as the device.
    Intrude(u8),
    /// The adversary sends a composed request.
    Forge(u64, Forgery),
    /// The adversary sends a frame that it saw, into a channel towards a custodian.
    Inject(u64, FrameId),
    /// The adversary submits an order that no operator signed.
    ForgeOrder(u8),
    /// The adversary, who has a custodian's TLS key or is that custodian, takes the device's dial.
    Impersonate(u8),
    /// The intruder sends what it composed, on a channel of which it is an end.
    Send(u64, End, FrameId),
    /// Something happens at the second device.
    Other(Deed),
}
