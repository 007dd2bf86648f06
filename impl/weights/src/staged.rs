//! A file that appears whole or not at all.
//!
//! Chapter 15. Bytes go to a temporary file beside the target; [`Staged::commit`] makes them durable
//! and renames. Dropped before that, it removes the temporary and the target is as it was. [SEAL-11]
//! A process that is killed may leave a temporary behind, never a partial target.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::error::WeightsError;

/// Where a file shall appear, and what becomes of one that is there. A path alone means [`Target::New`].
#[derive(Clone, Copy, Debug)]
pub enum Target<'p> {
    /// Refuses to replace a file. [SEAL-11]
    New(&'p Path),
    /// Replaces a file, in one step.
    Replace(&'p Path),
}

impl<'p> Target<'p> {
    /// The path.
    pub fn path(self) -> &'p Path {
        match self {
            Self::New(path) | Self::Replace(path) => path,
        }
    }

    /// Refuses what can be known before any work: the target is there, or it is the source. [SEAL-11]
    pub(crate) fn check(self, source: &Path) -> Result<(), WeightsError> {
        let path = self.path();
        match (fs::canonicalize(source), fs::canonicalize(path)) {
            (Ok(a), Ok(b)) if a == b => {
                return Err(WeightsError::SameFile { path: source.into() });
            }
            _ => {}
        }
        match self {
            Self::New(_) if path.symlink_metadata().is_ok() => {
                Err(WeightsError::TargetExists { path: path.into() })
            }
            _ => Ok(()),
        }
    }
}

impl<'p, P: AsRef<Path> + ?Sized> From<&'p P> for Target<'p> {
    fn from(path: &'p P) -> Self {
        Self::New(path.as_ref())
    }
}

/// A target in the making. [SEAL-11]
pub(crate) struct Staged<'p> {
    file: NamedTempFile,
    target: Target<'p>,
}

/// Who may read the file.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Access {
    /// As the process's mask allows: a sealed file.
    Shared,
    /// The owner alone: plaintext.
    OwnerOnly,
}

impl<'p> Staged<'p> {
    /// Makes the temporary and reserves `size` bytes, so that a full disk is known at once.
    pub fn new(target: Target<'p>, size: u64, access: Access) -> Result<Self, WeightsError> {
        let path = target.path();
        let io = |source| WeightsError::Io { path: path.into(), action: "create the file", source };
        let name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let mode = if access == Access::Shared { 0o666 } else { 0o600 };
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory(path))
            .map_err(io)?;
        let staged = Self { file, target };
        staged.reserve(size).map_err(|source| staged.cannot_write(source))?;
        Ok(staged)
    }

    /// The temporary, for writing.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// The error of a failed write.
    pub fn cannot_write(&self, source: io::Error) -> WeightsError {
        WeightsError::Io { path: self.target.path().into(), action: "write the file", source }
    }

    /// Makes the bytes durable, then visible under the target's name. [SEAL-11]
    pub fn commit(self) -> Result<(), WeightsError> {
        let path = self.target.path();
        let io = |action, source| WeightsError::Io { path: path.into(), action, source };
        self.file.as_file().sync_all().map_err(|e| io("write the file", e))?;
        let named = match self.target {
            Target::New(path) => self.file.persist_noclobber(path),
            Target::Replace(path) => self.file.persist(path),
        };
        named.map_err(|e| match e.error.kind() {
            ErrorKind::AlreadyExists => WeightsError::TargetExists { path: path.into() },
            _ => io("name the file", e.error),
        })?;
        let synced = File::open(directory(path)).and_then(|d| d.sync_all());
        synced.map_err(|e| io("make the name of the file durable", e))
    }

    fn reserve(&self, size: u64) -> io::Result<()> {
        if size == 0 {
            return Ok(());
        }
        match rustix::fs::fallocate(self.file.as_file(), FallocateFlags::empty(), 0, size) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                self.file.as_file().set_len(size)
            }
            reserved => reserved.map_err(io::Error::from),
        }
    }
}

/// Opens a file for reading, or says that it is none.
pub(crate) fn open_regular(path: &Path) -> Result<Option<File>, WeightsError> {
    let io = |source| WeightsError::Io { path: path.into(), action: "open the file", source };
    // Before the open: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Ok(None);
    }
    File::open(path).map(Some).map_err(io)
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
