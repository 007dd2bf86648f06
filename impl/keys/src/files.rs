//! Key files: one key each, PEM, made once, readable by their owner alone.
//!
//! Private keys are PKCS#8, public keys SubjectPublicKeyInfo, so common tools read both. X25519
//! follows RFC 8410.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use pkcs8::der::pem::LineEnding;
use pkcs8::{Document, SecretDocument};
use split_custody_protocol::suite::{SuiteId, VerifyKey};
use zeroize::Zeroizing;

use crate::error::KeyFileError;
use crate::es256::SigningKey;
use crate::sealed::{KekPublic, KekSecret};

/// No key file is longer.
const CAP: u64 = 8192;
const PRIVATE: &str = "PRIVATE KEY";
const PUBLIC: &str = "PUBLIC KEY";

/// RFC 8410: the bytes before the 32 bytes of an X25519 private key in PKCS#8.
const X25519_PRIVATE: [u8; 16] =
    [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 4, 0x22, 4, 0x20];
/// RFC 8410: the bytes before the 32 bytes of an X25519 public key.
const X25519_PUBLIC: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x6e, 3, 0x21, 0];
/// RFC 5480: the bytes before the 65 bytes of an uncompressed P-256 public key.
const P256_PUBLIC: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];

impl SigningKey {
    /// Makes a key and its file; an existing file is never touched.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let key = Self::generate()?;
        write_private(path, key.pkcs8_der())?;
        Ok(key)
    }

    /// Reads a key that only its owner can read.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let document = read_private(path)?;
        Self::from_pkcs8(document.as_bytes())
            .map_err(|_| malformed(path, "not a P-256 private key in PKCS#8 with its public half"))
    }
}

impl KekSecret {
    /// Makes a key and its file; an existing file is never touched.
    pub fn create(path: &Path) -> Result<Self, KeyFileError> {
        let key = Self::generate();
        let mut der = Zeroizing::new(X25519_PRIVATE.to_vec());
        der.extend_from_slice(key.expose());
        write_private(path, &der)?;
        Ok(key)
    }

    /// Reads a key that only its owner can read.
    pub fn load(path: &Path) -> Result<Self, KeyFileError> {
        let document = read_private(path)?;
        let bytes = document.as_bytes().strip_prefix(&X25519_PRIVATE);
        let key = bytes.and_then(|bytes| bytes.try_into().ok());
        key.map(Self::from_bytes).ok_or_else(|| malformed(path, "not an X25519 private key"))
    }
}

/// Reads an ES256 public key: a point on P-256, in PEM.
pub fn read_verify_key(path: &Path) -> Result<VerifyKey, KeyFileError> {
    let document = read_public(path)?;
    let point = document.as_bytes().strip_prefix(&P256_PUBLIC);
    let point: Option<[u8; 65]> = point.and_then(|point| point.try_into().ok());
    point
        .filter(|point| p256::PublicKey::from_sec1_bytes(point).is_ok())
        .map(VerifyKey::new)
        .ok_or_else(|| malformed(path, "not a P-256 public key (SubjectPublicKeyInfo)"))
}

/// Writes an ES256 public key; an existing file is never touched.
pub fn write_verify_key(path: &Path, key: &VerifyKey) -> Result<(), KeyFileError> {
    write_public(path, &[&P256_PUBLIC[..], key.as_bytes()].concat())
}

/// Reads a custodian's public KEK: X25519, or P-256 with a first line that names its suite.
pub fn read_kek_public(path: &Path) -> Result<KekPublic, KeyFileError> {
    let text = read(path, Secrecy::Public)?;
    let document = public_of_pem(&text, path)?;
    let bytes = document.as_bytes();
    if let Some(point) = bytes.strip_prefix(&P256_PUBLIC) {
        let suite = text.lines().next().and_then(|line| line.strip_prefix(SUITE_LINE));
        let suite = suite.and_then(SuiteId::from_name).ok_or_else(|| {
            malformed(path, "a P-256 KEK needs a first line `suite: NAME` with its suite [HSM-5]")
        })?;
        return KekPublic::p256(suite, point)
            .ok_or_else(|| malformed(path, "not a point on P-256 with a suite of it [HSM-1]"));
    }
    let bytes = bytes
        .strip_prefix(&X25519_PUBLIC)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| malformed(path, "not an X25519 public key (SubjectPublicKeyInfo)"))?;
    KekPublic::new(bytes).ok_or_else(|| malformed(path, "a point of low order is no key [HS-15]"))
}

/// Writes a custodian's public KEK; an existing file is never touched.
pub fn write_kek_public(path: &Path, key: &KekPublic) -> Result<(), KeyFileError> {
    match key.suite() {
        SuiteId::HPKE_X25519 => write_public(path, &[&X25519_PUBLIC[..], key.as_bytes()].concat()),
        suite => {
            let pem = public_pem(path, &[&P256_PUBLIC[..], key.as_bytes()].concat())?;
            write_new(path, format!("{SUITE_LINE}{}\n{pem}", suite.name()).as_bytes(), 0o644)
        }
    }
}

/// What stands before the name of a P-256 KEK's suite in its file.
const SUITE_LINE: &str = "suite: ";

fn write_private(path: &Path, der: &[u8]) -> Result<(), KeyFileError> {
    let pem = SecretDocument::try_from(der)
        .and_then(|document| document.to_pem(PRIVATE, LineEnding::LF))
        .map_err(|_| malformed(path, "the key has no PEM form"))?;
    write_new(path, pem.as_bytes(), 0o600)
}

fn write_public(path: &Path, der: &[u8]) -> Result<(), KeyFileError> {
    write_new(path, public_pem(path, der)?.as_bytes(), 0o644)
}

fn public_pem(path: &Path, der: &[u8]) -> Result<String, KeyFileError> {
    Document::try_from(der)
        .and_then(|document| document.to_pem(PUBLIC, LineEnding::LF))
        .map_err(|_| malformed(path, "the key has no PEM form"))
}

/// Writes a file that did not exist, durably; a file that cannot be written whole is not left.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyFileError> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(
        |source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyFileError::Exists { path: path.into() },
            _ => KeyFileError::Write { path: path.into(), source },
        },
    )?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| {
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => File::open(parent)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    });
    written.map_err(|source| {
        // Half a key file would block the next try; it was made here, so it may go.
        let _ = std::fs::remove_file(path);
        KeyFileError::Write { path: path.into(), source }
    })
}

fn read_private(path: &Path) -> Result<SecretDocument, KeyFileError> {
    let text = read(path, Secrecy::Private)?;
    let (label, document) = SecretDocument::from_pem(&text)
        .map_err(|_| malformed(path, "not one PEM block of type `PRIVATE KEY`"))?;
    (label == PRIVATE)
        .then_some(document)
        .ok_or_else(|| malformed(path, "not one PEM block of type `PRIVATE KEY`"))
}

fn read_public(path: &Path) -> Result<Document, KeyFileError> {
    public_of_pem(&read(path, Secrecy::Public)?, path)
}

fn public_of_pem(text: &str, path: &Path) -> Result<Document, KeyFileError> {
    let (label, document) = Document::from_pem(text)
        .map_err(|_| malformed(path, "not one PEM block of type `PUBLIC KEY`"))?;
    (label == PUBLIC)
        .then_some(document)
        .ok_or_else(|| malformed(path, "not one PEM block of type `PUBLIC KEY`"))
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Secrecy {
    Private,
    Public,
}

fn read(path: &Path, secrecy: Secrecy) -> Result<Zeroizing<String>, KeyFileError> {
    let failed = |source| KeyFileError::Read { path: path.into(), source };
    // A pipe in place of a file must not make the caller wait: open without blocking, then look.
    let file =
        OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(malformed(path, "not a regular file"));
    }
    let mode = metadata.mode() & 0o777;
    if secrecy == Secrecy::Private && mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.into(), mode });
    }
    // One allocation of fixed size: a growing buffer would leave copies of the key behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(CAP as usize + 1));
    file.take(CAP + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > CAP {
        return Err(malformed(path, "longer than 8192 bytes, which no key file is"));
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(malformed(path, "not text, so not PEM"))
        }
    }
}

fn malformed(path: &Path, rule: &'static str) -> KeyFileError {
    KeyFileError::Malformed { path: path.into(), rule }
}

/// Bytes of a hexadecimal string; `None` when it is none.
pub(crate) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
            _ => None,
        })
        .collect()
}
