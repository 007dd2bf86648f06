//! A custodian's durable store, its audit log, and the anchor outside them.
//!
//! Chapters 30, 60 and 80. When [`CustodyStore::commit`] says `Committed`, lease or order and their
//! audit leaf are on disk together, under the generation and epoch that they named. [REL-3] [AUD-1]
//! When [`CustodyStore::boot`] returns, a new generation is durable with its own leaf and anchored.
//! [AUD-3] A store that was rolled back behind its anchor comes up without its activation, so that
//! operators must activate it again. [AUD-4]
//!
//! It decides nothing about releases and keeps no time: leases are read back without their age. It
//! does not notice a rollback of store and anchor together, nor one within an anchor's interval;
//! the audit log shows those as two receipts of one index.
//!
//! Two implementations of one contract, under one test body: [`SqliteStore`] and, in memory,
//! [`MemoryStore`].

#![forbid(unsafe_code)]

mod anchor;
pub mod audit;
mod boot;
mod memory;
mod record;
mod sqlite;
mod store;

pub use anchor::AnchorFile;
pub use audit::{Checkpoint, Inclusion};
pub use boot::{Behind, Boot};
pub use memory::{Backup, Fault, MemoryDisk, MemoryStore};
pub use sqlite::SqliteStore;
pub use store::{CustodyStore, Outcome, Reread, StoreError};
