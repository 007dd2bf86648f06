//! A custodian's durable side: what a crash leaves, and the anchor that a rollback leaves.

use split_custody_protocol::effect::{Anchor, Change, LeaseRecord, Transaction};
use split_custody_protocol::ids::{Epoch, Generation, LogIndex};
use split_custody_protocol::role::Recovered;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::audit::LeafKind;

/// What is written is here; the anchor lies outside the store's backup.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Store {
    pub generation: Generation,
    pub epoch: Epoch,
    pub orders: Vec<Vec<u8>>,
    pub order_digests: Vec<Digest>,
    pub provision: Option<Vec<u8>>,
    pub active: Option<Digest>,
    pub leases: Vec<LeaseRecord>,
    /// The leaf of each index: what kind, about what.
    pub log: Vec<(LeafKind, Digest)>,
}

impl Store {
    /// All of the transaction or nothing. [REL-3] [AUD-1]
    pub fn commit(&mut self, transaction: &Transaction) -> Option<LogIndex> {
        if transaction.generation != self.generation || transaction.epoch != self.epoch {
            return None;
        }
        match &transaction.change {
            Change::Grant(record) => self.leases.push(record.clone()),
            Change::Renew { .. } => {}
            Change::Order { approvals, digest, epoch } => {
                self.orders.push(approvals.clone());
                self.order_digests.push(*digest);
                self.epoch = *epoch;
            }
            Change::Provision { provision } => self.provision = Some(provision.clone()),
            Change::Activate { manifest } => self.active = Some(*manifest),
        }
        let index = LogIndex::new(self.log.len() as u64);
        self.log.push((transaction.leaf.kind, transaction.leaf.subject));
        Some(index)
    }

    /// Whether a transaction's leaf is in the log, and where: read, never written. [AUD-2]
    pub fn reread(&self, transaction: &Transaction) -> Option<LogIndex> {
        let leaf = (transaction.leaf.kind, transaction.leaf.subject);
        let index = self.log.iter().position(|held| *held == leaf)?;
        Some(LogIndex::new(index as u64))
    }

    /// A new generation counts itself up durably, with its own leaf, and is anchored. [AUD-3]
    ///
    /// A store of an earlier generation than its anchor's is behind, which no machine can tell once
    /// both are counted up. Orders that it lacks are the machine's to notice. [AUD-4]
    pub fn boot(&mut self, anchor: &mut Option<Anchor>) -> Recovered {
        let of_nothing =
            Anchor { generation: Generation::new(0), epoch: Epoch::new(0), orders: vec![] };
        let anchor = anchor.get_or_insert(of_nothing);
        if self.generation < anchor.generation {
            self.active = None;
        }
        self.generation = self.generation.max(anchor.generation).next();
        self.log.push((LeafKind::Generation, Digest::new([0; 32])));
        anchor.generation = self.generation;
        Recovered {
            generation: self.generation,
            epoch: self.epoch,
            orders: self.orders.clone(),
            provision: self.provision.clone(),
            active: self.active,
            leases: self.leases.clone(),
            anchor: Some(anchor.clone()),
        }
    }

    /// The leaf that a release left at an index.
    pub fn release_at(&self, index: LogIndex) -> Option<&Digest> {
        let index = usize::try_from(index.value()).ok()?;
        match self.log.get(index) {
            Some((LeafKind::Release, subject)) => Some(subject),
            _ => None,
        }
    }
}
