//! The store in memory: the contract's twin for tests and simulations, with faults on demand.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use split_custody_protocol::effect::{Anchor, Change, LeaseRecord, Transaction};
use split_custody_protocol::ids::{Counter, Epoch, Generation, LeaseId, LogIndex};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::audit::Leaf;

use crate::anchor::Anchored;
use crate::audit::{Checkpoint, Hash, Inclusion, Tree, entry, is_origin, leaf_hash};
use crate::boot::{Begin, Boot, Held};
use crate::store::{CustodyStore, Outcome, Reread, StoreError};

/// What outlives a [`MemoryStore`]: a disk, and an anchor beside it. Clones share both.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    state: State,
    anchor: Option<Anchored>,
    holder: Holder,
    fault: Option<Fault>,
}

/// Whether a store is open on a disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Holder {
    #[default]
    Nobody,
    Store,
}

/// What goes wrong with the next durable write; the outcome is `Unknown` either way. [AUD-2]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It is written and nobody hears.
    AnswerLost,
    /// It is not written.
    WriteLost,
}

/// Everything but the anchor; what a backup would hold.
#[derive(Clone, Debug, Default)]
struct State {
    generation: Generation,
    epoch: Epoch,
    orders: Vec<(Digest, Vec<u8>)>,
    provision: Option<Vec<u8>>,
    active: Option<Digest>,
    leases: Vec<Lease>,
    leaves: Vec<Leaf>,
    log: Tree,
    tickets: BTreeMap<u64, LogIndex>,
}

#[derive(Clone, Debug)]
struct Lease {
    record: LeaseRecord,
    counter: Counter,
    standing: Standing,
}

/// Whether a lease's incarnation is its device's latest.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Standing {
    Running,
    /// A later incarnation was granted a lease. [RST-6]
    Ended,
}

/// What a change needs is not there; nothing was changed.
struct Refused;

/// A backup of a disk without its anchor.
#[derive(Clone, Debug)]
pub struct Backup(State);

impl MemoryDisk {
    /// Lets the next durable write go wrong.
    pub fn fail_next(&self, fault: Fault) {
        self.disk().fault = Some(fault);
    }

    /// Copies the disk without its anchor.
    pub fn backup(&self) -> Backup {
        Backup(self.disk().state.clone())
    }

    /// Puts a backup back, without the anchor: a rollback.
    pub fn restore(&self, backup: Backup) {
        self.disk().state = backup.0;
    }

    /// Loses the anchor.
    pub fn lose_anchor(&self) {
        self.disk().anchor = None;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        // A test that panicked while it held the lock broke nothing that another needs.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`CustodyStore`] over a [`MemoryDisk`].
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    origin: String,
    generation: Option<Generation>,
}

impl MemoryStore {
    /// Claims the disk; one store at a time.
    pub fn open(disk: &MemoryDisk, origin: &str) -> Result<Self, StoreError> {
        if !is_origin(origin) {
            return Err(StoreError::OriginInvalid(origin.into()));
        }
        let holder = std::mem::replace(&mut disk.disk().holder, Holder::Store);
        if holder == Holder::Store {
            return Err(StoreError::Held { path: memory() });
        }
        Ok(Self { disk: disk.clone(), origin: origin.into(), generation: None })
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.disk.disk().holder = Holder::Nobody;
    }
}

fn memory() -> PathBuf {
    PathBuf::from("memory")
}

impl CustodyStore for MemoryStore {
    fn boot(&mut self) -> Result<Boot, StoreError> {
        let mut disk = self.disk.disk();
        let disk = &mut *disk;
        let state = &mut disk.state;
        let anchored = match &disk.anchor {
            Some(anchored) => anchored.clone(),
            None if state.generation == Generation::new(0) => Anchored::of_nothing(),
            None => return Err(StoreError::AnchorLost { path: memory() }),
        };
        let held = Held {
            generation: state.generation,
            epoch: state.epoch,
            orders: state.orders.iter().map(|(digest, _)| *digest).collect(),
            log: &state.log,
            root_at_anchor: state.root_at(anchored.size),
        };
        let begin = Begin::after(&held, &anchored);
        state.generation = begin.generation;
        state.tickets.clear();
        if begin.behind.is_some() {
            state.active = None; // [AUD-4]
        }
        state.append(begin.leaf);
        let anchored = state.anchored(&anchored)?;
        disk.anchor = Some(anchored.clone());
        self.generation = Some(begin.generation);
        Ok(Boot {
            generation: state.generation,
            epoch: state.epoch,
            orders: state.orders.iter().map(|(_, approvals)| approvals.clone()).collect(),
            provision: state.provision.clone(),
            active: state.active,
            leases: state.leases.iter().map(|lease| lease.record.clone()).collect(),
            anchor: Some(anchored.to_anchor()),
            behind: begin.behind,
            checkpoint: state.checkpoint(&self.origin),
        })
    }

    fn commit_batch(&mut self, pending: &[(u64, Transaction)]) -> Vec<Outcome> {
        let Some(generation) = self.generation else {
            return vec![Outcome::Fenced; pending.len()];
        };
        let mut disk = self.disk.disk();
        let fault = disk.fault.take();
        let mut written = disk.state.clone();
        let outcomes = pending
            .iter()
            .map(|(ticket, transaction)| written.apply(generation, *ticket, transaction))
            .collect();
        if fault != Some(Fault::WriteLost) {
            disk.state = written;
        }
        match fault {
            Some(_) => vec![Outcome::Unknown; pending.len()],
            None => outcomes,
        }
    }

    fn reread(&mut self, ticket: u64) -> Result<Reread, StoreError> {
        let disk = self.disk.disk();
        let index = disk.state.tickets.get(&ticket);
        Ok(index.map_or(Reread::NotWritten, |index| Reread::Committed(*index)))
    }

    fn move_anchor(&mut self, anchor: &Anchor) -> Result<(), StoreError> {
        let mut disk = self.disk.disk();
        let found = disk.anchor.as_ref().filter(|_| self.generation.is_some());
        let moved = found.ok_or(StoreError::NotBooted)?.moved_to(anchor, &disk.state.log);
        let what = "a set of more orders than an anchor holds";
        disk.anchor = Some(moved.ok_or(StoreError::Corrupt { path: memory(), what })?);
        Ok(())
    }

    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError> {
        Ok(self.disk.disk().state.checkpoint(&self.origin))
    }

    fn leaves(&mut self, range: Range<u64>) -> Result<Vec<Leaf>, StoreError> {
        let disk = self.disk.disk();
        let leaves = (0..).zip(&disk.state.leaves).filter(|(index, _)| range.contains(index));
        Ok(leaves.map(|(_, leaf)| *leaf).collect())
    }

    fn prove_inclusion(&mut self, index: LogIndex) -> Result<Option<Inclusion>, StoreError> {
        let hashes = self.disk.disk().state.hashes();
        Ok(usize::try_from(index.value()).ok().and_then(|i| Inclusion::prove(&hashes, i)))
    }
}

impl State {
    fn apply(&mut self, generation: Generation, ticket: u64, transaction: &Transaction) -> Outcome {
        // [AUD-2] Written once: the same ticket again is the same transaction.
        if let Some(index) = self.tickets.get(&ticket).filter(|_| generation == self.generation) {
            return Outcome::Committed(*index);
        }
        let fenced = transaction.generation != self.generation || generation != self.generation;
        if fenced || transaction.epoch != self.epoch || self.change(&transaction.change).is_err() {
            return Outcome::Fenced; // [REL-3]
        }
        let index = self.append(transaction.leaf);
        self.tickets.insert(ticket, index);
        Outcome::Committed(index)
    }

    /// Makes the change, or nothing.
    fn change(&mut self, change: &Change) -> Result<(), Refused> {
        match change {
            Change::Grant(record) => return self.grant(record),
            Change::Renew { lease, counter } => return self.renew(lease, *counter),
            Change::Order { approvals, digest, epoch } => {
                let known = self.orders.iter().any(|(held, _)| held == digest);
                if known || *epoch != self.epoch.next() {
                    return Err(Refused);
                }
                self.epoch = *epoch; // [REV-14]
                self.orders.push((*digest, approvals.clone()));
            }
            Change::Provision { provision } => {
                self.provision = Some(provision.clone());
                self.active = None;
            }
            Change::Activate { manifest } => self.active = Some(*manifest),
        }
        Ok(())
    }

    fn grant(&mut self, record: &LeaseRecord) -> Result<(), Refused> {
        let repeated = self.leases.iter().any(|lease| lease.record.lease == record.lease);
        let superseded = self.leases.iter().any(|lease| {
            // [RST-7] What ended once takes no new lease.
            lease.record.device == record.device
                && lease.record.incarnation == record.incarnation
                && lease.standing == Standing::Ended
        });
        if repeated || superseded || crate::record::encode_lease(record).is_none() {
            return Err(Refused);
        }
        for lease in &mut self.leases {
            let other = lease.record.incarnation != record.incarnation;
            if lease.record.device == record.device && other {
                lease.standing = Standing::Ended; // [RST-6]
            }
        }
        let (counter, standing) = (Counter::new(0), Standing::Running);
        self.leases.push(Lease { record: record.clone(), counter, standing });
        Ok(())
    }

    fn renew(&mut self, lease: &LeaseId, counter: Counter) -> Result<(), Refused> {
        let running = self.leases.iter_mut().find(|held| {
            // [LEA-11] An ended lease is never resurrected.
            held.record.lease == *lease
                && held.standing == Standing::Running
                && held.counter <= counter
        });
        running.map(|held| held.counter = counter).ok_or(Refused)
    }

    fn append(&mut self, leaf: Leaf) -> LogIndex {
        let index = LogIndex::new(self.log.size());
        self.log.push(leaf_hash(entry(&leaf).as_bytes()));
        self.leaves.push(leaf);
        index
    }

    fn hashes(&self) -> Vec<Hash> {
        self.leaves.iter().map(|leaf| leaf_hash(entry(leaf).as_bytes())).collect()
    }

    fn root_at(&self, size: u64) -> Option<Hash> {
        let hashes = self.hashes();
        let mut tree = Tree::default();
        hashes.get(..usize::try_from(size).ok()?)?.iter().for_each(|hash| tree.push(*hash));
        Some(tree.root())
    }

    fn checkpoint(&self, origin: &str) -> Checkpoint {
        Checkpoint { origin: origin.into(), size: self.log.size(), root: self.log.root() }
    }

    /// The anchor of everything held here and in `anchored`.
    fn anchored(&self, anchored: &Anchored) -> Result<Anchored, StoreError> {
        let held = Anchor {
            generation: self.generation,
            epoch: self.epoch,
            orders: self.orders.iter().map(|(digest, _)| *digest).collect(),
        };
        let what = "a set of more orders than an anchor holds";
        anchored.moved_to(&held, &self.log).ok_or(StoreError::Corrupt { path: memory(), what })
    }
}
