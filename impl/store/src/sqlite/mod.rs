//! The store in SQLite: write-ahead log, every commit synchronous, one process.
//!
//! The exclusive lock is a lock file beside the database and another beside the anchor, so that a
//! copy of the database cannot be opened against the same anchor while the original runs.

mod apply;
mod custody;
mod open;

pub use open::SqliteStore;
