//! Transactions as a custodian's machine makes them, and the two stores that execute them.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test file takes what it needs")]

use std::path::PathBuf;

use split_custody_protocol::effect::{Anchor, Change, LeaseRecord, Transaction};
use split_custody_protocol::ids::{Budget, Counter, Epoch, Generation, LeaseId};
use split_custody_protocol::suite::{DeviceId, Digest, Incarnation, LeafKey};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::audit::{Leaf, LeafKind};
use split_custody_protocol::wire::grant::Terms;
use split_custody_store::{
    Boot, CustodyStore, MemoryDisk, MemoryStore, Outcome, SqliteStore, StoreError,
};
use tempfile::TempDir;

pub const ORIGIN: &str = "split-custody.example/custodian-1";

/// Somewhere a store can be opened, closed and opened again.
pub trait Place {
    type Store: CustodyStore;

    fn new() -> Self;
    fn open(&self) -> Result<Self::Store, StoreError>;
    /// Takes a copy of the store without its anchor, and gives a way to put it back.
    fn backup(&self) -> Box<dyn Fn() + '_>;
    fn lose_anchor(&self);
    /// Takes the other's store, without its anchor.
    fn replace_with(&self, other: &Self);
}

/// A folder with a database and, beside it, an anchor.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn database(&self) -> PathBuf {
        self.0.path().join("custodian.db")
    }

    pub fn anchor(&self) -> PathBuf {
        self.0.path().join("anchor")
    }
}

impl Place for Folder {
    type Store = SqliteStore;

    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn open(&self) -> Result<SqliteStore, StoreError> {
        SqliteStore::open(&self.database(), &self.anchor(), ORIGIN)
    }

    fn backup(&self) -> Box<dyn Fn() + '_> {
        let bytes = std::fs::read(self.database()).unwrap();
        Box::new(move || {
            std::fs::write(self.database(), &bytes).unwrap();
            for ending in ["-wal", "-shm"] {
                let mut path = self.database().into_os_string();
                path.push(ending);
                let _ = std::fs::remove_file(path);
            }
        })
    }

    fn lose_anchor(&self) {
        std::fs::remove_file(self.anchor()).unwrap();
    }

    fn replace_with(&self, other: &Self) {
        std::fs::copy(other.database(), self.database()).unwrap();
    }
}

impl Place for MemoryDisk {
    type Store = MemoryStore;

    fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<MemoryStore, StoreError> {
        MemoryStore::open(self, ORIGIN)
    }

    fn backup(&self) -> Box<dyn Fn() + '_> {
        let backup = MemoryDisk::backup(self);
        Box::new(move || self.restore(backup.clone()))
    }

    fn lose_anchor(&self) {
        MemoryDisk::lose_anchor(self);
    }

    fn replace_with(&self, other: &Self) {
        self.restore(MemoryDisk::backup(other));
    }
}

/// Makes transactions under a generation and epoch.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    pub generation: Generation,
    pub epoch: Epoch,
}

impl Machine {
    pub fn of(boot: &Boot) -> Self {
        Self { generation: boot.generation, epoch: boot.epoch }
    }

    pub fn at_epoch(self, epoch: u64) -> Self {
        Self { epoch: Epoch::new(epoch), ..self }
    }

    pub fn transaction(&self, kind: LeafKind, change: Change) -> Transaction {
        let (generation, epoch) = (self.generation, self.epoch);
        let leaf = Leaf { kind, generation, epoch, subject: Digest::new([0x77; 32]) };
        Transaction { generation, epoch, change, leaf }
    }

    pub fn grant(&self, record: LeaseRecord) -> Transaction {
        self.transaction(LeafKind::Release, Change::Grant(record))
    }

    pub fn renew(&self, lease: u8, counter: u64) -> Transaction {
        let (lease, counter) = (LeaseId::new([lease; 16]), Counter::new(counter));
        self.transaction(LeafKind::Renewal, Change::Renew { lease, counter })
    }

    /// The order `number`, whose approvals are that one byte.
    pub fn order(&self, number: u8) -> Transaction {
        let change = Change::Order {
            approvals: vec![number],
            digest: order(number),
            epoch: self.epoch.next(),
        };
        self.transaction(LeafKind::Order, change)
    }

    pub fn provision(&self, number: u8) -> Transaction {
        let change = Change::Provision { provision: vec![number; 40] };
        self.transaction(LeafKind::Provision, change)
    }

    pub fn activate(&self, number: u8) -> Transaction {
        let change = Change::Activate { manifest: Digest::new([number; 32]) };
        self.transaction(LeafKind::Activation, change)
    }

    pub fn anchor(&self, orders: &[u8]) -> Anchor {
        let orders = orders.iter().map(|number| order(*number)).collect();
        Anchor { generation: self.generation, epoch: self.epoch, orders }
    }
}

pub fn order(number: u8) -> Digest {
    Digest::new([number; 32])
}

/// A lease of a device's incarnation.
pub fn lease(lease: u8, device: u8, incarnation: u8) -> LeaseRecord {
    LeaseRecord {
        lease: LeaseId::new([lease; 16]),
        device: DeviceId::new([device; 32]),
        incarnation: Incarnation::new([incarnation; 32]),
        manifest: Digest::new([0x4d; 32]),
        device_leaf: LeafKey::new([lease; 32]),
        custodian_leaf: LeafKey::new([0xcc; 32]),
        terms: Terms {
            first: Span::from_millis(2_000),
            term: Span::from_millis(10_000),
            budget: Budget::UNLIMITED,
            max_age: Span::from_millis(600_000),
        },
        chain: vec![LeafKey::new([1; 32]), LeafKey::new([2; 32])],
    }
}

/// The index of a commit that must have happened.
pub fn index(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Committed(index) => index.value(),
        other => panic!("not committed: {other:?}"),
    }
}

/// Runs each named story over both implementations.
macro_rules! over_both {
    ($($story:ident;)*) => {
        mod sqlite {
            $(#[test] fn $story() { super::$story::<super::Folder>(); })*
        }
        mod memory {
            $(#[test] fn $story() { super::$story::<super::MemoryDisk>(); })*
        }
    };
}

pub(crate) use over_both;
