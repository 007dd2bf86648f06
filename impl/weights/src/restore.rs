//! Writes the original file back, byte for byte.
//!
//! Chapter 15. The target appears only after a whole load, and is readable by its owner alone.
//! [SEAL-9] [SEAL-11] This is for the owner: it puts plaintext on a disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use crate::container::PREFIX;
use crate::destination::Destination;
use crate::error::WeightsError;
use crate::header::Header;
use crate::ids::{Dek, Threads};
use crate::manifest::SealedTable;
use crate::open::{Loaded, Reader};
use crate::staged::{Access, Staged, Target};

/// Opens the sealed file at `path` and writes the original to `target`.
pub fn restore<'p>(
    path: &Path,
    table: &SealedTable,
    key: &Dek,
    target: impl Into<Target<'p>>,
    threads: Threads,
) -> Result<Loaded, WeightsError> {
    let target = target.into();
    target.check(path)?; // [SEAL-11]
    let reader = Reader::open(path, table)?;
    let header = reader.open_header(key)?;
    let data = PREFIX + header.bytes().len() as u64;
    let size = data + header.contents().data_len();
    let staged = Staged::new(target, size, Access::OwnerOnly)?;
    let length = (header.bytes().len() as u64).to_le_bytes();
    let written = staged.file().write_all_at(&length, 0);
    let written = written.and_then(|()| staged.file().write_all_at(header.bytes(), PREFIX));
    written.map_err(|source| staged.cannot_write(source))?;
    let pages = Pages { file: staged.file(), data, header: &header, spare: Mutex::new(Vec::new()) };
    let loaded = reader.open_all(key, &header, threads, &pages)?;
    staged.commit()?; // [SEAL-11]
    Ok(loaded)
}

/// A file as a destination: opened in a buffer, then written to its place.
struct Pages<'a> {
    file: &'a File,
    data: u64,
    header: &'a Header,
    spare: Mutex<Vec<Zeroizing<Vec<u8>>>>,
}

impl Destination for Pages<'_> {
    fn with_slice(
        &self,
        index: u32,
        range: Range<u64>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<()> {
        let tensor =
            (index as usize).checked_sub(1).and_then(|i| self.header.contents().tensors.get(i));
        let at = self.data + tensor.ok_or(io::ErrorKind::InvalidInput)?.begin + range.start;
        let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = spare().pop().unwrap_or_default();
        buffer.resize((range.end - range.start) as usize, 0);
        fill(&mut buffer);
        let written = self.file.write_all_at(&buffer, at);
        spare().push(buffer);
        written
    }
}
