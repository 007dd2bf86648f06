//! A share outside its token: 40 bytes under the share KEK, one file each.

use std::fs;
use std::path::{Path, PathBuf};

use cryptoki_sys::CK_OBJECT_HANDLE;
use serde::{Deserialize, Serialize};
use split_custody_keys::p256kw::WRAPPED;
use split_custody_keys::write_new;
use split_custody_protocol::suite::Digest;

use super::Hsm;
use crate::error::Error;

/// A share as it lies outside the token. Every field is public; only the KEK opens it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    kek: String,
    wrapped: String,
}

impl Hsm {
    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.as_bytes().iter().take(16).map(|b| format!("{b:02x}")).collect();
        self.config.blobs().join(name + ".json")
    }

    pub(super) fn blob_paths(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.config.blobs();
        let failed = |e| Error::Io(folder.clone(), e);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|end| end == "json") {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    pub(super) fn read_blob(&self, path: &Path) -> Result<(CK_OBJECT_HANDLE, Vec<u8>), Error> {
        let text = fs::read(path).map_err(|e| Error::Io(path.into(), e))?;
        let malformed = || Error::File(path.into(), "not a wrapped share");
        let blob: Blob = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let (id, wrapped) = unhex(&blob.kek).zip(unhex(&blob.wrapped)).ok_or_else(malformed)?;
        if wrapped.len() != WRAPPED {
            return Err(malformed());
        }
        Ok((self.kek(&id)?, wrapped))
    }

    pub(super) fn write_blob(&self, path: &Path, kek: &[u8], wrapped: &[u8]) -> Result<(), Error> {
        let folder = self.config.blobs();
        fs::create_dir_all(&folder).map_err(|e| Error::Io(folder, e))?;
        let blob = Blob { kek: hex(kek), wrapped: hex(wrapped) };
        // INVARIANT: two strings have a JSON form.
        let text = serde_json::to_vec(&blob).expect("a blob has a JSON form");
        write_new(path, &text, 0o600)
            .map_err(|_| Error::File(path.into(), "the wrapped share cannot be written"))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}
