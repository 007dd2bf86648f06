//! The anchor: a small file outside the store and its backups. [REV-4] [AUD-4]

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use minicbor::{Decode, Encode};
use split_custody_protocol::effect::Anchor;
use split_custody_protocol::ids::{Epoch, Generation};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::{decode, encode};

use crate::audit::Tree;
use crate::store::StoreError;

/// What the anchor holds: the machine's part and the log's.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub(crate) struct Anchored {
    #[n(1)]
    pub(crate) generation: Generation,
    #[n(2)]
    pub(crate) epoch: Epoch,
    /// Ascending.
    #[n(3)]
    pub(crate) orders: List<Digest, 0, ORDERS>,
    /// Of the audit log.
    #[n(4)]
    pub(crate) size: u64,
    #[n(5)]
    pub(crate) root: Digest,
}

/// No anchor holds more orders.
const ORDERS: usize = 65_536;
/// No anchor file is longer.
const CAP: usize = 128 + ORDERS * 34;

impl Anchored {
    /// Of a store that holds nothing yet.
    pub(crate) fn of_nothing() -> Self {
        Self {
            generation: Generation::new(0),
            epoch: Epoch::new(0),
            // INVARIANT: no orders are within every bound.
            orders: List::new(Vec::new()).expect("an empty list is within bounds"),
            size: 0,
            root: Digest::new(Tree::default().root()),
        }
    }

    /// What this anchor becomes: nothing that it held is lost, whatever it is moved to.
    ///
    /// `None` when there are more orders than any anchor holds.
    pub(crate) fn moved_to(&self, to: &Anchor, log: &Tree) -> Option<Self> {
        let orders: BTreeSet<Digest> = self.orders.iter().chain(&to.orders).copied().collect();
        Some(Self {
            generation: self.generation.max(to.generation),
            epoch: self.epoch.max(to.epoch),
            orders: List::new(orders.into_iter().collect())?,
            size: log.size(),
            root: Digest::new(log.root()),
        })
    }

    /// The machine's part.
    pub(crate) fn to_anchor(&self) -> Anchor {
        Anchor {
            generation: self.generation,
            epoch: self.epoch,
            orders: self.orders.as_slice().to_vec(),
        }
    }
}

/// An anchor file, locked while this lives.
#[derive(Debug)]
pub struct AnchorFile {
    path: PathBuf,
    _lock: File,
}

impl AnchorFile {
    /// Claims the anchor at `path`, which need not exist yet.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { path: path.into(), _lock: lock(path)? })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file holds; `None` where there is none.
    pub(crate) fn read(&self) -> Result<Option<Anchored>, StoreError> {
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(CAP as u64 + 1).read_to_end(&mut bytes).map_err(|e| self.failed(e))?;
        let malformed = |_| StoreError::AnchorMalformed { path: self.path.clone() };
        decode(&bytes, CAP).map(Some).map_err(malformed)
    }

    /// Replaces the file as a whole: after a crash it is the old one or this one.
    pub(crate) fn write(&self, anchored: &Anchored) -> Result<(), StoreError> {
        self.replace(&encode(anchored)).map_err(|error| self.failed(error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        // The rename is durable only when its folder is.
        File::open(folder_of(&self.path))?.sync_all()
    }

    fn failed(&self, source: io::Error) -> StoreError {
        StoreError::File { path: self.path.clone(), source }
    }
}

/// Takes the lock file beside `path`; released when the process ends, however it ends.
pub(crate) fn lock(path: &Path) -> Result<File, StoreError> {
    let lock = beside(path, ".lock");
    let failed = |source| StoreError::File { path: lock.clone(), source };
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&lock)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Held { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
