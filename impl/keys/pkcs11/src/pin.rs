//! Where a PIN comes from: a file, a descriptor, or the token's own path. [HSM-10]
//!
//! A PIN is read when it is needed and erased at once. No `Debug` of anything here shows one.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::error::Error;

/// Where a PIN comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// A file that its owner alone can read.
    File(PathBuf),
    /// An open descriptor of a file; a pipe does not do, because a restart reads it again.
    Descriptor(i32),
    /// The token asks for it on a path of its own.
    Protected,
}

impl FromStr for PinSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("fd", number)) => match number.parse() {
                Ok(number) if number > 2 => Ok(Self::Descriptor(number)),
                _ => Err("a descriptor is a number above 2".into()),
            },
            None if text == "protected" => Ok(Self::Protected),
            // The text is not repeated: someone may have typed the PIN here.
            _ => Err("expected file:PATH, fd:NUMBER or protected".into()),
        }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Descriptor(number) => write!(f, "fd:{number}"),
            Self::Protected => f.write_str("protected"),
        }
    }
}

impl PinSource {
    /// A file's path is taken from `folder`, unless it is absolute.
    #[must_use]
    pub fn within(self, folder: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(folder.join(path)),
            other => other,
        }
    }

    /// The PIN; `None` where the token asks for it itself.
    pub(crate) fn read(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let refuse = |why: &str| Error::PinSource(self.to_string(), why.into());
        let file = match self {
            Self::Protected => return Ok(None),
            Self::File(path) => File::open(path).map_err(|e| refuse(&e.to_string()))?,
            Self::Descriptor(number) => {
                let path = format!("/proc/self/fd/{number}");
                let held = std::fs::read_link(path).map_err(|e| refuse(&e.to_string()))?;
                if held.to_string_lossy().starts_with("pipe:") {
                    return Err(refuse("a pipe cannot be read again after a restart"));
                }
                duplicate(*number).map_err(|e| refuse(&e.to_string()))?
            }
        };
        let metadata = file.metadata().map_err(|e| refuse(&e.to_string()))?;
        if !metadata.is_file() {
            return Err(refuse("not a file"));
        }
        if matches!(self, Self::File(_)) && metadata.mode() & 0o077 != 0 {
            return Err(refuse("others may read it; its mode must be 600 or 400"));
        }
        let mut bytes = Zeroizing::new(vec![0; CAP]);
        let length = file.read_at(&mut bytes, 0).map_err(|e| refuse(&e.to_string()))?;
        let text = bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let pin = text.map(|text| text.trim_end_matches(['\n', '\r']));
        match pin {
            Some(pin) if !pin.is_empty() && length < CAP => {
                Ok(Some(Zeroizing::new(pin.to_owned())))
            }
            _ => Err(refuse("not one line of text")),
        }
    }
}

fn duplicate(number: i32) -> std::io::Result<File> {
    // SAFETY: the operator handed this descriptor down and it was found open just above; it is
    // borrowed for the time of one duplication.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(borrowed.as_fd().try_clone_to_owned()?.into())
}

const CAP: usize = 256;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn hsm_10_pin_comes_from_a_private_file_or_a_descriptor_and_from_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        std::fs::write(&path, "1234\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let of_file = PinSource::from_str("file:pin").unwrap().within(folder.path());
        assert_eq!(of_file.read().unwrap().unwrap().as_str(), "1234");
        let file = File::open(&path).unwrap();
        let of_fd = PinSource::Descriptor(file.as_raw_fd());
        for _ in 0..2 {
            assert_eq!(of_fd.read().unwrap().unwrap().as_str(), "1234");
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(of_file.read().unwrap_err().to_string().contains("others may read it"));
        let wrong = PinSource::from_str("1234").unwrap_err();
        assert!(!wrong.contains("1234"), "a PIN typed in place of its source is not repeated");
        assert!(PinSource::from_str("env:PIN").is_err());
    }
}
