//! The contract of a custodian's store.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use split_custody_protocol::effect::{Anchor, Transaction};
use split_custody_protocol::ids::LogIndex;
use split_custody_protocol::wire::audit::Leaf;

use crate::audit::{Checkpoint, Inclusion};
use crate::boot::Boot;

/// Executes a custodian's commit, re-read and anchor effects; blocking.
pub trait CustodyStore: Send {
    /// Begins a new generation: durable, with its own leaf, anchored; then says what is held.
    ///
    /// Once, first; a later call begins another generation and fences what the last one left.
    fn boot(&mut self) -> Result<Boot, StoreError>;

    /// Executes several transactions in order under one durable write, each with its own outcome.
    ///
    /// Within a generation a ticket is written at most once: asked again, it gets its index.
    fn commit_batch(&mut self, pending: &[(u64, Transaction)]) -> Vec<Outcome>;

    /// Executes one transaction: all of it with its leaf, or none. [REL-3]
    fn commit(&mut self, ticket: u64, transaction: &Transaction) -> Outcome {
        let pending = [(ticket, transaction.clone())];
        self.commit_batch(&pending).pop().unwrap_or(Outcome::Unknown)
    }

    /// Whether the transaction of this ticket was written in this generation; writes nothing.
    /// [AUD-2]
    fn reread(&mut self, ticket: u64) -> Result<Reread, StoreError>;

    /// Moves the anchor to this, with the log's size and root; never backwards. [REV-4]
    fn move_anchor(&mut self, anchor: &Anchor) -> Result<(), StoreError>;

    /// The log's size and root now.
    fn checkpoint(&mut self) -> Result<Checkpoint, StoreError>;

    /// The leaves at these places, as far as the log goes.
    fn leaves(&mut self, range: Range<u64>) -> Result<Vec<Leaf>, StoreError>;

    /// Proves that a leaf is in the log; `None` beyond its end.
    fn prove_inclusion(&mut self, index: LogIndex) -> Result<Option<Inclusion>, StoreError>;
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Durable, at this place in the log.
    Committed(LogIndex),
    /// Not written, and never will be: another generation or epoch holds the store, or what it
    /// changes is not there to change.
    Fenced,
    /// Perhaps written; re-read. [AUD-2]
    Unknown,
}

/// What a re-read found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reread {
    Committed(LogIndex),
    NotWritten,
}

/// The store cannot do its part; the message names the file and the rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    #[error("`{}`: another process holds it", path.display())]
    Held { path: PathBuf },
    #[error("`{}`: cannot be read or written", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("`{}`: not a custodian's store of this version", path.display())]
    Foreign { path: PathBuf },
    #[error("`{}`: the database refuses", path.display())]
    Database { path: PathBuf, source: rusqlite::Error },
    #[error("`{}`: {what} does not decode", path.display())]
    Corrupt { path: PathBuf, what: &'static str },
    #[error("`{}`: not an anchor in its one encoding", path.display())]
    AnchorMalformed { path: PathBuf },
    #[error(
        "`{}`: the anchor is lost though the store is not new; the owner must provision a new store",
        path.display()
    )]
    AnchorLost { path: PathBuf },
    #[error("the log has no leaf at its end: begin a generation first")]
    NotBooted,
    #[error("`{0:?}`: a log's origin is one line without spaces or `+`")]
    OriginInvalid(String),
}
