//! Opening the database, and reading its log.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};
use split_custody_protocol::ids::Generation;
use split_custody_protocol::wire::audit::Leaf;
use split_custody_protocol::wire::decode;

use crate::anchor::{AnchorFile, lock};
use crate::audit::{Checkpoint, Hash, Tree, entry, is_origin, leaf_hash};
use crate::store::StoreError;

/// A [`CustodyStore`](crate::CustodyStore) in an SQLite database.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) anchor: AnchorFile,
    pub(super) origin: String,
    /// Of the log, as far as it was read or written here.
    pub(super) log: Tree,
    /// The generation that this process began.
    pub(super) generation: Option<Generation>,
    _lock: File,
}

impl SqliteStore {
    /// Opens or makes the database, alone, with its anchor in another place.
    ///
    /// `origin` names the log in its checkpoints.
    pub fn open(database: &Path, anchor: &Path, origin: &str) -> Result<Self, StoreError> {
        if !is_origin(origin) {
            return Err(StoreError::OriginInvalid(origin.into()));
        }
        let lock = lock(database)?;
        let anchor = AnchorFile::open(anchor)?;
        create(database)?;
        let failed = |source| database_error(database, source);
        let connection = Connection::open(database).map_err(failed)?;
        prepare(database, &connection)?;
        Ok(Self {
            path: database.into(),
            connection,
            anchor,
            origin: origin.into(),
            log: Tree::default(),
            generation: None,
            _lock: lock,
        })
    }

    /// Reads what the log holds beyond what is known of it; returns its root at `size`.
    pub(super) fn read_log(&mut self, size: Option<u64>) -> Result<Option<Hash>, StoreError> {
        // A root in the past needs the tree from its beginning.
        if size.is_some() {
            self.log = Tree::default();
        }
        let mut root = (size == Some(0)).then(|| self.log.root());
        loop {
            let from = self.log.size();
            let leaves = self.read_leaves(from..from + PAGE)?;
            if leaves.is_empty() {
                return Ok(root);
            }
            for leaf in leaves {
                self.log.push(leaf_hash(entry(&leaf).as_bytes()));
                if size == Some(self.log.size()) {
                    root = Some(self.log.root());
                }
            }
        }
    }

    pub(super) fn read_leaves(&self, range: Range<u64>) -> Result<Vec<Leaf>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT place, leaf FROM leaves WHERE place >= ?1 AND place < ?2 ORDER BY place",
            )
            .map_err(|source| self.failed(source))?;
        let mut rows = statement
            .query((signed(range.start), signed(range.end)))
            .map_err(|source| self.failed(source))?;
        let mut leaves = Vec::new();
        while let Some(row) = rows.next().map_err(|source| self.failed(source))? {
            let read = row.get(0).and_then(|place: i64| Ok((place, row.get(1)?)));
            let (place, bytes): (i64, Vec<u8>) = read.map_err(|source| self.failed(source))?;
            // A hole in the log would shift every leaf after it.
            let expected = range.start.saturating_add(leaves.len() as u64);
            let leaf = decode(&bytes, LEAF_CAP).ok().filter(|_| place == signed(expected));
            leaves.push(leaf.ok_or_else(|| self.corrupt("a leaf of the audit log"))?);
        }
        Ok(leaves)
    }

    pub(super) fn checkpoint_now(&self) -> Checkpoint {
        Checkpoint { origin: self.origin.clone(), size: self.log.size(), root: self.log.root() }
    }

    pub(super) fn failed(&self, source: rusqlite::Error) -> StoreError {
        database_error(&self.path, source)
    }

    pub(super) fn corrupt(&self, what: &'static str) -> StoreError {
        StoreError::Corrupt { path: self.path.clone(), what }
    }
}

/// A place or number as SQLite keeps it; none comes near 2^63.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Leaves read at once.
const PAGE: u64 = 4096;
/// No encoded leaf is longer.
const LEAF_CAP: usize = 128;

/// Marks a database as a custodian's store.
const APPLICATION: i32 = 0x7370_6331;
const VERSION: i32 = 1;

/// Makes the database file for its owner alone, before SQLite would make it for others too.
fn create(database: &Path) -> Result<(), StoreError> {
    let opened =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(database);
    opened.map(|_| ()).map_err(|source| StoreError::File { path: database.into(), source })
}

/// Settles how SQLite writes, and makes the tables of a new store.
fn prepare(database: &Path, connection: &Connection) -> Result<(), StoreError> {
    let failed = |source| database_error(database, source);
    let (application, version) = numbers(connection).map_err(failed)?;
    let tables: Option<i64> = connection
        .query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |row| row.get(0))
        .optional()
        .map_err(failed)?;
    let is_new = tables.is_none() && (application, version) == (0, 0);
    if !is_new && (application, version) != (APPLICATION, VERSION) {
        return Err(StoreError::Foreign { path: database.into() });
    }
    connection.execute_batch(PRAGMAS).map_err(failed)?;
    let mode: String =
        connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
    if mode != "wal" {
        return Err(StoreError::Foreign { path: database.into() });
    }
    if is_new {
        let tables = format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; \
             PRAGMA user_version = {VERSION}; COMMIT;"
        );
        connection.execute_batch(&tables).map_err(failed)?;
    }
    let found: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if found != "ok" {
        let what = "its structure";
        return Err(StoreError::Corrupt { path: database.into(), what });
    }
    Ok(())
}

fn numbers(connection: &Connection) -> rusqlite::Result<(i32, i32)> {
    let number = |pragma| connection.query_row(pragma, [], |row| row.get(0));
    Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?))
}

/// SQLite's own words for the three ways in which a file is not a store.
fn database_error(path: &Path, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
            StoreError::Held { path: path.into() }
        }
        Some(rusqlite::ErrorCode::NotADatabase) => StoreError::Foreign { path: path.into() },
        _ => StoreError::Database { path: path.into(), source },
    }
}

/// `FULL`: a commit is on the disk before it is answered. [AUD-1]
const PRAGMAS: &str = "
    PRAGMA locking_mode = EXCLUSIVE;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA secure_delete = ON;
    PRAGMA trusted_schema = OFF;
";

const TABLES: &str = "
    CREATE TABLE custodian (
        only INTEGER PRIMARY KEY CHECK (only = 1),
        generation INTEGER NOT NULL,
        epoch INTEGER NOT NULL,
        provision BLOB,
        active BLOB
    ) STRICT;
    INSERT INTO custodian VALUES (1, 0, 0, NULL, NULL);
    CREATE TABLE orders (
        epoch INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        approvals BLOB NOT NULL
    ) STRICT;
    CREATE TABLE leases (
        place INTEGER PRIMARY KEY,
        lease BLOB NOT NULL UNIQUE,
        device BLOB NOT NULL,
        incarnation BLOB NOT NULL,
        counter INTEGER NOT NULL,
        ended INTEGER NOT NULL CHECK (ended IN (0, 1)),
        record BLOB NOT NULL
    ) STRICT;
    CREATE INDEX leases_of_device ON leases (device, incarnation, ended);
    CREATE TABLE leaves (
        place INTEGER PRIMARY KEY,
        leaf BLOB NOT NULL
    ) STRICT;
    CREATE TABLE tickets (
        ticket INTEGER PRIMARY KEY,
        place INTEGER NOT NULL
    ) STRICT;
";
