//! What a process has mapped, and which of it was ever touched.
//!
//! Chapter 70. Reads `/proc/<pid>/maps` and `/proc/<pid>/pagemap`. It reads no contents.

use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// A mapping, as `/proc/<pid>/maps` lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Region {
    /// Its first address.
    pub start: u64,
    /// The address after its last.
    pub end: u64,
    /// Access, as in `rw-p`.
    pub access: String,
    /// File or purpose; empty for anonymous memory.
    pub path: String,
    /// Private and without a file: a page that was never touched holds nothing.
    pub(crate) is_plain: bool,
}

/// The mappings of a process, in ascending order.
pub(crate) fn regions(pid: u32) -> io::Result<Vec<Region>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    maps.lines().map(|line| parse(line).ok_or_else(|| io::ErrorKind::InvalidData.into())).collect()
}

fn parse(line: &str) -> Option<Region> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let mut fields = rest.splitn(5, ' ');
    let access = fields.next()?;
    let inode = fields.nth(2)?;
    Some(Region {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        access: access.into(),
        path: fields.next().unwrap_or_default().trim().into(),
        is_plain: inode == "0" && access.ends_with('p'),
    })
}

/// Which pages are present or swapped out, where the kernel tells.
pub(crate) struct Presence(Option<File>);

impl Presence {
    pub(crate) fn open(pid: u32) -> Self {
        Self(File::open(format!("/proc/{pid}/pagemap")).ok())
    }

    /// `false` only if no page of the range was ever touched.
    pub(crate) fn may_hold(&self, region: &Region, range: &Range<u64>) -> bool {
        let (Some(pagemap), true) = (&self.0, region.is_plain) else {
            return true;
        };
        let pages = (range.end - range.start).div_ceil(PAGE_BYTES);
        let mut entries = vec![0; pages as usize * ENTRY_BYTES];
        let at = range.start / PAGE_BYTES * ENTRY_BYTES as u64;
        if pagemap.read_exact_at(&mut entries, at).is_err() {
            return true;
        }
        let held = |entry: &[u8]| entry.last().is_some_and(|top| top & PRESENT_OR_SWAPPED != 0);
        entries.chunks(ENTRY_BYTES).any(held)
    }
}

/// The page that `/proc` counts in on the machines we run on; a larger one reads as unknown.
pub(crate) const PAGE_BYTES: u64 = 4096;

const ENTRY_BYTES: usize = 8;
/// Bits 63 and 62 of a little-endian entry.
const PRESENT_OR_SWAPPED: u8 = 0xc0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_2_a_line_of_maps_is_read_with_and_without_a_path() {
        let secret = parse("7f00-8f00 rw-s 00000000 00:0e 1026    /secretmem (deleted)").unwrap();
        assert_eq!((secret.start, secret.end), (0x7f00, 0x8f00));
        assert_eq!(secret.path, "/secretmem (deleted)");
        assert!(!secret.is_plain);
        let plain = parse("1000-2000 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!((plain.path.as_str(), plain.is_plain), ("", true));
    }

    #[test]
    fn rst_2_a_broken_line_of_maps_is_refused() {
        assert!(parse("nonsense").is_none());
        assert!(parse("zz-10 rw-p 0 0 0").is_none());
    }
}
