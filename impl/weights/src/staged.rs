//! A file that appears whole or not at all.
//!
//! Chapter 15. Bytes go to a temporary file beside the target; [`Staged::commit`] makes them durable
//! and renames. Dropped before that, it removes the temporary and the target is as it was. [SEAL-11]
//! A process that is killed may leave a temporary behind, never a partial target.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;
use tempfile::NamedTempFile;

use crate::error::WeightsError;

/// A target in the making. [SEAL-11]
pub(crate) struct Staged {
    file: NamedTempFile,
    target: PathBuf,
}

/// Who may read the file.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Access {
    /// As the process's mask allows: a sealed file.
    Shared,
    /// The owner alone: plaintext.
    OwnerOnly,
}

impl Staged {
    /// Makes the temporary and reserves `size` bytes, so that a full disk is known at once.
    pub fn new(target: &Path, size: u64, access: Access) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io {
            path: target.into(),
            action: "create the file",
            source,
        };
        let name = target
            .file_name()
            .ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?;
        let prefix = format!(".{}.", name.to_string_lossy());
        let mode = if access == Access::Shared {
            0o666
        } else {
            0o600
        };
        let file = tempfile::Builder::new()
            .prefix(&prefix)
            .suffix(".partial")
            .permissions(Permissions::from_mode(mode))
            .tempfile_in(directory(target))
            .map_err(io)?;
        let staged = Self {
            file,
            target: target.into(),
        };
        staged
            .reserve(size)
            .map_err(|source| staged.cannot_write(source))?;
        Ok(staged)
    }

    /// The temporary, for writing.
    pub fn file(&self) -> &File {
        self.file.as_file()
    }

    /// The error of a failed write.
    pub fn cannot_write(&self, source: io::Error) -> WeightsError {
        WeightsError::Io {
            path: self.target.clone(),
            action: "write the file",
            source,
        }
    }

    /// Makes the bytes durable, then visible under the target's name. [SEAL-11]
    pub fn commit(self) -> Result<(), WeightsError> {
        let Self { file, target } = self;
        let io = |action| {
            let path = target.clone();
            move |source| WeightsError::Io {
                path,
                action,
                source,
            }
        };
        file.as_file().sync_all().map_err(io("write the file"))?;
        file.persist(&target)
            .map_err(|e| io("replace the file")(e.error))?;
        let synced = File::open(directory(&target)).and_then(|d| d.sync_all());
        synced.map_err(io("make the name of the file durable"))
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
    let io = |source| WeightsError::Io {
        path: path.into(),
        action: "open the file",
        source,
    };
    // Before the open: opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Ok(None);
    }
    File::open(path).map(Some).map_err(io)
}

/// Refuses a target that is the source: the source would be lost. [SEAL-11]
pub(crate) fn check_distinct(source: &Path, target: &Path) -> Result<(), WeightsError> {
    match (fs::canonicalize(source), fs::canonicalize(target)) {
        (Ok(a), Ok(b)) if a == b => Err(WeightsError::SameFile {
            path: source.into(),
        }),
        _ => Ok(()),
    }
}

fn directory(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
