//! Files that commands read and write: capped, whole, and never over another.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use split_custody_protocol::wire::message::{Message, Wire};
use split_custody_protocol::wire::{self, Signed};

use crate::failure::{Failure, io_at};

/// The bytes of a file of at most `cap` bytes.
pub fn read(path: &Path, cap: usize) -> Result<Vec<u8>, Failure> {
    let metadata = fs::metadata(path).map_err(|e| io_at(path, "open the file", &e))?;
    if !metadata.is_file() {
        return Err(Failure::refused(format!("`{}`: not a regular file", path.display())));
    }
    let file = File::open(path).map_err(|e| io_at(path, "open the file", &e))?;
    let mut bytes = Vec::new();
    file.take(cap as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| io_at(path, "read the file", &e))?;
    if bytes.len() > cap {
        let path = path.display();
        return Err(Failure::refused(format!("`{path}`: longer than {cap} bytes [WIRE-1]")));
    }
    Ok(bytes)
}

/// An object in its one encoding.
pub fn read_object<T: Wire>(path: &Path, what: &str, cap: usize) -> Result<T, Failure> {
    let bytes = read(path, cap)?;
    wire::decode(&bytes, cap)
        .map_err(|error| Failure::refused(format!("`{}`: not {what}: {error}", path.display())))
}

/// A signed object; whoever uses it verifies it.
pub fn read_signed(path: &Path, what: &str) -> Result<Signed, Failure> {
    read_object(path, what, Message::CAP)
}

/// Writes a file that did not exist, durably; nothing remains of it after an error.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create_new(true)
        .mode(mode)
        .write(true)
        .open(path)
        .map_err(|e| io_at(path, "create the file", &e))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|e| {
        // It was made here, so it may go.
        let _ = fs::remove_file(path);
        io_at(path, "write the file", &e)
    })
}

/// `path` with `suffix` after its whole name.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `N` bytes of hexadecimal; the error says what was expected.
pub fn unhex<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let expected = || format!("`{text}` is not {} hexadecimal digits", 2 * N);
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * N).ok_or_else(expected)?;
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
        *byte = pair.iter().fold(0, |high, digit| high << 4 | *digit as u8);
    }
    Ok(bytes)
}
