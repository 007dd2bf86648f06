//! The custodian's durable store as its driver wants it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use split_custody_protocol::effect::{Anchor, Change, Transaction};
use split_custody_protocol::ids::{CustodianId, Ticket};
use split_custody_protocol::wire::encode;
use split_custody_runtime::effects::{AnchorFailed, CommitOutcome, CommitStore};
use split_custody_store::{Boot, CustodyStore, Outcome, Reread, SqliteStore};

use super::keys::Keys;
use super::store_paths;
use crate::failure::Failure;
use crate::files::hex;

/// One SQLite store, used by the store lane, the anchor lane and auditors.
pub struct Store {
    store: Mutex<SqliteStore>,
    keys: Option<Arc<Keys>>,
}

impl Store {
    /// Opens or makes the store in a custodian's folder and begins a generation. [AUD-3]
    pub fn open(folder: &Path, id: CustodianId) -> Result<(Self, Boot), Failure> {
        let mut store = open(folder, id)?;
        let boot = store.boot()?;
        Ok((Self { store: Mutex::new(store), keys: None }, boot))
    }

    /// Tells the key store of every provision that becomes durable.
    pub fn noting_provisions(self, keys: Arc<Keys>) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// Size, root and every leaf of the audit log.
    pub fn log(&self) -> Result<Value, Failure> {
        log_of(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, SqliteStore> {
        // A panic inside left the database to its own rollback.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The database and the anchor beside it.
pub fn open(folder: &Path, id: CustodianId) -> Result<SqliteStore, Failure> {
    let (database, anchor) = store_paths(folder);
    let origin = format!("custodian-{id}.split-custody.internal");
    Ok(SqliteStore::open(&database, &anchor, &origin)?)
}

/// The log as an auditor reads it.
pub fn log_of(store: &mut dyn CustodyStore) -> Result<Value, Failure> {
    let checkpoint = store.checkpoint()?;
    let leaves = store.leaves(0..checkpoint.size)?;
    let leaves: Vec<String> = leaves.iter().map(|leaf| hex(&encode(leaf))).collect();
    Ok(json!({ "size": checkpoint.size, "root": hex(&checkpoint.root), "leaves": leaves }))
}

impl CommitStore for Store {
    fn commit(&self, group: Vec<(Ticket, Transaction)>) -> Vec<CommitOutcome> {
        let pending: Vec<_> =
            group.into_iter().map(|(ticket, change)| (ticket.value(), change)).collect();
        let outcomes = self.lock().commit_batch(&pending);
        for ((_, transaction), outcome) in pending.iter().zip(&outcomes) {
            if let (Change::Provision { provision }, Outcome::Committed(_)) =
                (&transaction.change, outcome)
                && let Some(keys) = &self.keys
            {
                keys.note(provision);
            }
        }
        outcomes.into_iter().map(outcome).collect()
    }

    fn reread(&self, commit: Ticket) -> CommitOutcome {
        match self.lock().reread(commit.value()) {
            Ok(Reread::Committed(index)) => CommitOutcome::Committed(index),
            Ok(Reread::NotWritten) => CommitOutcome::Fenced,
            Err(_) => CommitOutcome::Unknown,
        }
    }

    fn anchor(&self, anchor: &Anchor) -> Result<(), AnchorFailed> {
        self.lock().move_anchor(anchor).map_err(|error| {
            eprintln!("anchor not moved: {}", crate::failure::chain(&error));
            AnchorFailed
        })
    }
}

fn outcome(outcome: Outcome) -> CommitOutcome {
    match outcome {
        Outcome::Committed(index) => CommitOutcome::Committed(index),
        Outcome::Fenced => CommitOutcome::Fenced,
        Outcome::Unknown => CommitOutcome::Unknown,
    }
}
