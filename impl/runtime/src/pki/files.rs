//! PEM files: certificates for everyone, keys for their owner alone. Chapter 20.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::der::pem::{self, LineEnding};

use crate::pki::{Identity, PkiError};

/// Writes a new file that only its owner can read; an existing one is left alone and is an error.
pub fn write_private(path: &Path, contents: &str) -> Result<(), PkiError> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create_new(true)
        .mode(0o600)
        .write(true)
        .open(path)
        .map_err(|source| io(path, source))?;
    file.write_all(contents.as_bytes()).map_err(|source| io(path, source))
}

/// Writes `<stem>.pem` (the chain) and `<stem>.key` (mode 0600) into `folder`.
pub fn save_identity(
    folder: &Path,
    stem: &str,
    chain: &[CertificateDer<'_>],
    key_pem: &str,
) -> Result<(), PkiError> {
    write_private(&folder.join(format!("{stem}.key")), key_pem)?;
    let path = folder.join(format!("{stem}.pem"));
    let text = chain.iter().map(|der| pem_of(der)).collect::<Result<String, _>>()?;
    fs::write(&path, text).map_err(|source| io(&path, source))
}

/// Reads what [`save_identity`] wrote; a key that others may read is refused.
pub fn load_identity(folder: &Path, stem: &str) -> Result<Identity, PkiError> {
    let chain = read_certificates(&folder.join(format!("{stem}.pem")))?;
    let path = folder.join(format!("{stem}.key"));
    let mode = fs::metadata(&path).map_err(|source| io(&path, source))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(file(&path, "can be read by others; its mode must be 0600"));
    }
    let key = PrivateKeyDer::from_pem_file(&path)
        .map_err(|_| file(&path, "holds no private key in PEM"))?;
    let key = any_supported_type(&key).map_err(|_| file(&path, "holds a key of unknown type"))?;
    Ok(Identity { chain, key })
}

/// Every certificate of a PEM file, in order; at least one.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, PkiError> {
    let text = fs::read(path).map_err(|source| io(path, source))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|_| file(path, "is not PEM"))?;
    if certificates.is_empty() {
        return Err(file(path, "holds no certificate"));
    }
    Ok(certificates)
}

pub(super) fn pem_of(der: &[u8]) -> Result<String, PkiError> {
    pem::encode_string("CERTIFICATE", LineEnding::LF, der).map_err(|_| PkiError::Der)
}

fn file(path: &Path, what: &'static str) -> PkiError {
    PkiError::File { path: path.display().to_string(), what }
}

fn io(path: &Path, source: std::io::Error) -> PkiError {
    PkiError::Io { path: path.display().to_string(), source }
}
