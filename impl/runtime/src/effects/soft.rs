//! A custodian with a durable store and keys in software: what stands behind the executor.
//!
//! Chapters 30 and 80. It finds the share that an order to re-wrap names in the provision that its
//! store holds, and appraises Evidence as the kinds in `split-custody-attest` say.

use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

use split_custody_attest::appraise;
use split_custody_keys::{Custody, Release, Released, SoftCustody, provision_context};
use split_custody_protocol::effect::{Anchor, Change, Transaction, Verdict};
use split_custody_protocol::ids::{ShareIndex, ShareSetId, Ticket};
use split_custody_protocol::role::Recovered;
use split_custody_protocol::suite::{Digest, SealedShare, Signature};
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::standing::{Provision, ProvisionStatement};
use split_custody_protocol::wire::{self, Message};
use split_custody_store::{Behind, CustodyStore, Outcome, Reread, StoreError};

use crate::effects::{
    AnchorFailed, Appraiser, CommitOutcome, CommitStore, CustodyKeys, Outage, ReleaseOrder,
};

/// Store, software keys and appraisal of one custodian.
pub struct SoftCustodian {
    store: Mutex<Box<dyn CustodyStore>>,
    keys: SoftCustody,
    share: RwLock<Option<Share>>,
}

/// The provisioned share, still sealed to this custodian's KEK.
struct Share {
    set: ShareSetId,
    index: ShareIndex,
    sealed: SealedShare,
    context: Digest,
}

/// A custodian whose new generation is durable and anchored. [AUD-3]
pub struct Booted {
    pub custodian: SoftCustodian,
    /// What its machine begins with.
    pub recovered: Recovered,
    /// How the store was behind its anchor, for the operator's log. [AUD-4]
    pub behind: Option<Behind>,
}

impl SoftCustodian {
    /// Begins a generation.
    pub fn boot(mut store: Box<dyn CustodyStore>, keys: SoftCustody) -> Result<Booted, StoreError> {
        let boot = store.boot()?;
        let share = boot.provision.as_deref().and_then(Share::of);
        let recovered = Recovered {
            generation: boot.generation,
            epoch: boot.epoch,
            orders: boot.orders,
            provision: boot.provision,
            active: boot.active,
            leases: boot.leases,
            anchor: boot.anchor,
        };
        let custodian = Self { store: Mutex::new(store), keys, share: RwLock::new(share) };
        Ok(Booted { custodian, recovered, behind: boot.behind })
    }

    /// The keys, for their outage switch and public halves.
    pub const fn keys(&self) -> &SoftCustody {
        &self.keys
    }

    /// The store, for reading its log; commits wait meanwhile.
    pub fn store(&self) -> MutexGuard<'_, Box<dyn CustodyStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns the share of a provision that became durable.
    fn note(&self, provision: &[u8]) {
        *self.share.write().unwrap_or_else(PoisonError::into_inner) = Share::of(provision);
    }
}

impl Share {
    /// The machine verified the provision before it was written.
    fn of(provision: &[u8]) -> Option<Self> {
        let provision: Provision = wire::decode(provision, Message::CAP).ok()?;
        let said: ProvisionStatement = provision.statement.payload().ok()?;
        let ProvisionStatement { manifest, set, custodian, index, kek, .. } = said;
        let context = provision_context(&manifest, &set, custodian, index, &kek);
        Some(Self { set, index, sealed: provision.sealed, context })
    }
}

impl CommitStore for SoftCustodian {
    fn commit(&self, group: Vec<(Ticket, Transaction)>) -> Vec<CommitOutcome> {
        let group: Vec<_> = group.into_iter().map(|(ticket, t)| (ticket.value(), t)).collect();
        let outcomes = self.store().commit_batch(&group);
        for ((_, transaction), outcome) in group.iter().zip(&outcomes) {
            // A provision of unknown outcome is noted too: only a grant's machine asks for it, and
            // that knows whether it was written.
            if let (Change::Provision { provision }, Outcome::Committed(_) | Outcome::Unknown) =
                (&transaction.change, outcome)
            {
                self.note(provision);
            }
        }
        outcomes.into_iter().map(CommitOutcome::from).collect()
    }

    fn reread(&self, commit: Ticket) -> CommitOutcome {
        match self.store().reread(commit.value()) {
            Ok(Reread::Committed(index)) => CommitOutcome::Committed(index),
            Ok(Reread::NotWritten) => CommitOutcome::Fenced,
            Err(_) => CommitOutcome::Unknown,
        }
    }

    fn anchor(&self, anchor: &Anchor) -> Result<(), AnchorFailed> {
        self.store().move_anchor(anchor).map_err(|_| AnchorFailed)
    }
}

impl From<Outcome> for CommitOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Committed(index) => Self::Committed(index),
            Outcome::Fenced => Self::Fenced,
            Outcome::Unknown => Self::Unknown,
        }
    }
}

impl CustodyKeys for SoftCustodian {
    fn release(&self, order: &ReleaseOrder) -> Result<Released, Outage> {
        let share = self.share.read().unwrap_or_else(PoisonError::into_inner);
        let is_named = |share: &&Share| share.set == order.set && share.index == order.index;
        let share = share.as_ref().filter(is_named).ok_or(Outage)?;
        let order = Release {
            provisioned: &share.sealed,
            provision_context: &share.context,
            suite: order.suite,
            to: &order.to,
            context: &order.context,
            draft: &order.draft,
        };
        self.keys.release(&order).map_err(|_| Outage)
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, Outage> {
        self.keys.sign(message).map_err(|_| Outage)
    }

    fn destroy_handles(&self) -> Result<(), Outage> {
        self.keys.destroy_handles().map_err(|_| Outage)
    }
}

impl Appraiser for SoftCustodian {
    fn appraise(&self, evidence: &Evidence) -> Option<Verdict> {
        appraise(evidence).ok()
    }
}
