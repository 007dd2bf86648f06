//! Questions to the driver: what may be slow, may fail, or lives in an HSM or on the device.
//!
//! All chapters. A machine emits an effect (such as [`CustodianEffect`]) with a [`Ticket`] and goes
//! on only when the answer comes back as `Done`. What must be durable before it is said is withheld
//! until then: there is nothing to send before, so a driver cannot reorder. [REL-5] [REV-4] [AUD-1]

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::error::Misuse;
use crate::ids::{
    Attempt, ChannelId, Counter, CustodianId, Epoch, Generation, LeaseId, LogIndex, ShareIndex,
    ShareSetId, Ticket,
};
use crate::suite::{
    AgreementKey, DekHandle, DeviceId, DeviceSecret, Digest, Exporter, Incarnation, LeafKey, Nonce,
    SealedShare, ShareHandle, Signature, SuiteId,
};
use crate::time::{Instant, Rebase, Span};
use crate::wire::audit::Leaf;
use crate::wire::evidence::Evidence;
use crate::wire::grant::{GrantDraft, Terms};

/// What a machine wants of its driver, in the order in which it wants it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Output<E> {
    /// Send this frame. Taking it from `poll_output` is what "sent" means.
    Transmit { channel: ChannelId, frame: Vec<u8> },
    /// Close this channel after what was transmitted before.
    Close { channel: ChannelId },
    /// Execute this and answer with `Done` under the same ticket.
    Effect { ticket: Ticket, effect: E },
    /// Open a channel to this custodian (device only).
    Dial { custodian: CustodianId },
    /// Something an operator wants to know; never sent to a peer.
    Report(Report),
}

/// What a custodian asks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one value at a time, soon gone")]
pub enum CustodianEffect {
    /// Export 32 bytes from the channel's TLS session under this context. [HS-2]
    Export { channel: ChannelId, context: Digest },
    /// Judge Evidence against endorsements; wall time belongs to this effect alone.
    Appraise { evidence: Evidence },
    /// Write in one durable transaction, conditional on generation and epoch. [REL-3]
    Commit(Transaction),
    /// Read back whether the transaction of this ticket was written; never write. [AUD-2]
    /// Answered by `Committed` or, where it was not written, `Fenced`.
    Reread { commit: Ticket },
    /// Unwrap the custodian's share, seal it to the device key under `context`, and sign the draft
    /// with the digest of what was sealed: both or neither. [REL-4] [REL-14]
    Release {
        set: ShareSetId,
        index: ShareIndex,
        suite: SuiteId,
        to: AgreementKey,
        context: Digest,
        draft: GrantDraft,
    },
    /// Sign these bytes (a COSE `Sig_structure`) with the grant key.
    Sign { message: Vec<u8> },
    /// Move the anchor, outside the store's backup. [REV-4]
    Anchor(Anchor),
    /// Destroy cached handles of unwrapped shares. [REV-7]
    DestroyHandles,
}

/// What a custodian's driver answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CustodianAnswer {
    Exported(Exporter),
    ExportFailed,
    Appraised(Verdict),
    Rejected,
    Committed(LogIndex),
    /// The store does not know whether it wrote. [AUD-2]
    Unknown,
    /// Another generation or epoch holds the store.
    Fenced,
    Released {
        sealed: SealedShare,
        signature: Signature,
    },
    Signed(Signature),
    HsmFailed,
    Anchored,
    HandlesDestroyed,
}

/// What a device asks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum DeviceEffect {
    /// Export 32 bytes from the channel's TLS session under this context. [HS-2]
    Export { channel: ChannelId, context: Digest },
    /// Let measured code make Evidence over this session. [HS-11] [HS-12]
    CollectEvidence { session: Digest, gpu: Digest, attempt: Attempt },
    /// Open the weights under this DEK into device memory, whole or not at all.
    Load { dek: DekHandle },
    /// Erase these, and the plaintext opened under a DEK among them.
    Erase { secrets: Secrets },
    /// Erase every key of this incarnation, the leaf among them. [RST-3] [RST-10]
    Zeroise,
    /// Overwrite device memory and verify it. [RST-3]
    Scrub,
    /// Plant a fresh mark and make a fresh leaf key. [RST-4]
    Plant,
}

/// Handles to erase.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Secrets {
    pub keys: Vec<DeviceSecret>,
    pub shares: Vec<ShareHandle>,
    pub dek: Option<DekHandle>,
}

/// What a device's driver answers.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum DeviceAnswer {
    Exported(Exporter),
    ExportFailed,
    EvidenceCollected(Evidence),
    EvidenceFailed,
    Loaded,
    LoadFailed,
    Erased,
    Zeroised,
    Scrubbed,
    ScrubFailed,
    Planted(Incarnation),
    PlantFailed,
}

/// What an appraiser read from Evidence; public, and not yet compared with anything. [HS-13]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Verdict {
    /// The nonce inside the GPU report.
    pub report_nonce: Digest,
    /// The report data inside the CPU report.
    pub report_data: Digest,
    /// The device that the Evidence names, over both halves.
    pub device: DeviceId,
    /// Every measurement that was found, all of which policy must admit.
    pub measurements: Vec<Digest>,
    /// The mode in which the device ran.
    pub mode: u8,
}

/// One durable write of a custodian: all of it or none, with its audit leaf. [REL-3] [AUD-1]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Transaction {
    /// Written only while this generation holds the store.
    pub generation: Generation,
    /// Written only while this is the epoch; the epoch after it, where the change raises it.
    pub epoch: Epoch,
    pub change: Change,
    pub leaf: Leaf,
}

/// What a transaction changes.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Change {
    /// A lease is granted; the others of its device under other incarnations end. [RST-6]
    Grant(LeaseRecord),
    /// A lease is renewed for this counter.
    Renew { lease: LeaseId, counter: Counter },
    /// An order joins the set and the epoch rises.
    Order { approvals: Vec<u8>, digest: Digest, epoch: Epoch },
    /// The share set becomes known.
    Provision { provision: Vec<u8> },
    /// The share set becomes active.
    Activate { manifest: Digest },
}

/// What a custodian's store keeps of a lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct LeaseRecord {
    pub lease: LeaseId,
    pub device: DeviceId,
    pub incarnation: Incarnation,
    pub manifest: Digest,
    /// The two leaf keys that the session bound. [LEA-8]
    pub device_leaf: LeafKey,
    pub custodian_leaf: LeafKey,
    pub terms: Terms,
    /// SPKIs of every certificate in the chain that the device presented.
    pub chain: Vec<LeafKey>,
}

/// What the anchor holds; moves before every acknowledgement. [REV-4] [AUD-4]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Anchor {
    pub generation: Generation,
    pub epoch: Epoch,
    pub orders: Vec<Digest>,
}

/// News for the operator's log.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Report {
    /// A peer broke a rule and its exchange was closed; `correlation` went on the wire. [HS-21]
    Refused { channel: ChannelId, violation: crate::Violation, correlation: Option<Nonce> },
    /// A custodian's exchange failed on the device; the others go on. [QRM-5]
    ExchangeClosed { custodian: CustodianId, violation: Option<crate::Violation> },
    /// A grant left this custodian.
    Granted { lease: LeaseId, index: LogIndex },
    /// A lease was renewed here.
    Renewed { lease: LeaseId, counter: Counter },
    /// An order took effect here.
    Applied { order: Digest, epoch: Epoch },
    /// The device gave up acquiring: this many of k shares came.
    NotAcquired { valid: u8, needed: u8 },
    /// The model is loaded and usable while leases count.
    Serving { attempt: Attempt },
    /// The model left the device.
    Stopped { cause: StopCause },
    /// A new incarnation began.
    Clean { incarnation: Incarnation },
    /// The device is tainted: keys die, memory is scrubbed.
    Tainted,
    /// A host read was refused by hardware and nothing else happened. [RST-8]
    ReadBlocked,
    /// A lease of this custodian counts until this long from now.
    LeaseCounts { custodian: CustodianId, lease: LeaseId, counter: Counter },
}

/// Why a model left a device.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StopCause {
    /// Fewer than k leases count. [LEA-5]
    LeaseLost,
    /// An order covers it. [REV-12]
    Revoked,
    /// The incarnation ended. [RST-10]
    Tainted,
    /// A tensor did not open. [SEAL-9]
    LoadFailed,
    /// The owner of the device asked.
    Released,
}

/// Outputs waiting for the driver, and questions waiting for their answer.
///
/// A question stays open until its `Done`, also when what it was for is gone: the answer of a
/// cancelled question is discarded, never taken for another's. [REV-5]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Outbox<E, W> {
    queue: VecDeque<Output<E>>,
    open: BTreeMap<Ticket, Option<W>>,
    last: Ticket,
}

impl<E, W> Outbox<E, W> {
    pub(crate) fn new() -> Self {
        Self { queue: VecDeque::new(), open: BTreeMap::new(), last: Ticket::new(0) }
    }

    pub(crate) fn poll(&mut self) -> Option<Output<E>> {
        self.queue.pop_front()
    }

    pub(crate) fn transmit(&mut self, channel: ChannelId, frame: Vec<u8>) {
        self.queue.push_back(Output::Transmit { channel, frame });
    }

    pub(crate) fn close(&mut self, channel: ChannelId) {
        self.queue.push_back(Output::Close { channel });
    }

    pub(crate) fn dial(&mut self, custodian: CustodianId) {
        self.queue.push_back(Output::Dial { custodian });
    }

    pub(crate) fn report(&mut self, report: Report) {
        self.queue.push_back(Output::Report(report));
    }

    /// Puts a question; `work` says what its answer is for.
    pub(crate) fn ask(&mut self, effect: E, work: W) -> Ticket {
        self.last = self.last.next();
        self.open.insert(self.last, Some(work));
        self.queue.push_back(Output::Effect { ticket: self.last, effect });
        self.last
    }

    /// What an answer is for; `None` where its question was cancelled.
    pub(crate) fn answered(&mut self, ticket: Ticket) -> Result<Option<W>, Misuse> {
        self.open.remove(&ticket).ok_or(Misuse::UnknownTicket)
    }

    /// Cancels the questions whose work matches.
    pub(crate) fn cancel(&mut self, mut matches: impl FnMut(&W) -> bool) {
        for work in self.open.values_mut() {
            drop(work.take_if(|work| matches(work)));
        }
    }

    /// The open questions and what they are for.
    pub(crate) fn open(&self) -> impl Iterator<Item = (Ticket, &W)> {
        self.open.iter().filter_map(|(ticket, work)| Some((*ticket, work.as_ref()?)))
    }
}

impl<E, W> Rebase for Outbox<E, W> {
    /// With no question open, numbering may start again: no answer can be mistaken.
    fn rebase(&mut self, _: Span, _: Instant) {
        if self.open.is_empty() {
            self.last = Ticket::new(0);
        }
    }
}

/// What an exchange wants; its role adds the channel and the ticket.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Act<E> {
    Send(Vec<u8>),
    Ask(E),
}

impl<E, W: Rebase> Outbox<E, W> {
    /// [`Rebase`] for questions whose work holds instants.
    pub(crate) fn rebase_work(&mut self, by: Span, floor: Instant) {
        for work in self.open.values_mut() {
            work.rebase(by, floor);
        }
        self.rebase(by, floor);
    }
}
