//! Looks for secrets in the memory of another process, as a host could.
//!
//! Chapter 70. The owner's process knows keys, shares and tensors, and scans the others. A
//! [`Needle`] is a set of windows of [`WINDOW_BYTES`] bytes with at least [`DISTINCT_MIN`] distinct
//! values, so that padding and counters are never taken for secrets. When [`scan_process`] returns,
//! every byte that the kernel gave up was compared at every alignment, and the report names what it
//! did not give up. It sees one moment: what is erased before, or appears after, is not in it.
//!
//! ```
//! use split_custody_gpu::scan::{Needle, scan_process};
//!
//! let key: [u8; 32] = std::array::from_fn(|i| (i * 37) as u8);
//! let needle = Needle::new("key", &key);
//! assert_eq!(needle.windows(), 1);
//! let report = scan_process(std::process::id(), &[needle])?;
//! assert!(!report.findings.is_empty(), "this process holds the key");
//! # Ok::<(), std::io::Error>(())
//! ```

mod maps;
mod needle;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use maps::Presence;
pub use maps::Region;
use needle::Index;
pub use needle::{DISTINCT_MIN, Needle, WINDOW_BYTES};

/// Compares every readable byte of a process with the needles.
///
/// An error means that the process was not scanned at all: it is gone, or the kernel does not let
/// this user read it.
pub fn scan_process(pid: u32, needles: &[Needle]) -> io::Result<ScanReport> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let presence = Presence::open(pid);
    let index = Index::new(needles);
    let mut report = ScanReport { pid, ..ScanReport::default() };
    let mut buffer = vec![0; CARRY_BYTES + STEP_BYTES];
    for region in maps::regions(pid)? {
        let mut scan = RegionScan {
            memory: &memory,
            presence: &presence,
            index: &index,
            region: &region,
            report: &mut report,
            carry: 0,
        };
        let unreadable = scan.run(&mut buffer);
        if unreadable > 0 {
            report.unreadable.push(Unreadable { region, bytes: unreadable });
        }
    }
    Ok(report)
}

/// What a scan saw. It holds no secret bytes.
#[derive(Clone, Debug, Default)]
pub struct ScanReport {
    /// The process.
    pub pid: u32,
    /// Bytes that were compared.
    pub scanned: u64,
    /// Bytes of private memory that were never touched, and so hold nothing.
    pub untouched: u64,
    /// What the kernel would not give.
    pub unreadable: Vec<Unreadable>,
    /// Windows that were found, at most [`FINDINGS_MAX`] of them.
    pub findings: Vec<Finding>,
    /// Windows that were found, all of them.
    pub found: u64,
}

impl ScanReport {
    /// Bytes that the kernel would not give.
    pub fn unreadable_bytes(&self) -> u64 {
        self.unreadable.iter().map(|u| u.bytes).sum()
    }
}

/// A part of a process that could not be read, as `memfd_secret` pages cannot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unreadable {
    /// The region.
    pub region: Region,
    /// How much of it.
    pub bytes: u64,
}

/// A window of a needle, in a process that should not have it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// The needle's name.
    pub needle: String,
    /// Where in the needle the window begins.
    pub needle_offset: u64,
    /// Where in the process it was found.
    pub address: u64,
    /// The region it was found in.
    pub region: Region,
}

/// The most findings that a report lists.
pub const FINDINGS_MAX: usize = 64;

/// One region, walked in steps. The last bytes of each step are kept, so that a window across two
/// steps is seen.
struct RegionScan<'a> {
    memory: &'a File,
    presence: &'a Presence,
    index: &'a Index<'a>,
    region: &'a Region,
    report: &'a mut ScanReport,
    carry: usize,
}

impl RegionScan<'_> {
    /// Gives the number of bytes that could not be read.
    fn run(&mut self, buffer: &mut [u8]) -> u64 {
        let mut unreadable = 0;
        for step in steps(self.region.start..self.region.end, STEP_BYTES as u64) {
            if !self.presence.may_hold(self.region, &step) {
                self.report.untouched += step.end - step.start;
                self.carry = 0;
                continue;
            }
            if self.read(&step, buffer).is_ok() {
                continue;
            }
            // Part of the step is unreadable: go page by page.
            for page in steps(step, maps::PAGE_BYTES) {
                if self.read(&page, buffer).is_err() {
                    unreadable += page.end - page.start;
                    self.carry = 0;
                }
            }
        }
        unreadable
    }

    fn read(&mut self, range: &Range<u64>, buffer: &mut [u8]) -> io::Result<()> {
        let length = usize::try_from(range.end - range.start).expect("at most a step");
        let fresh = &mut buffer[CARRY_BYTES..][..length];
        self.memory.read_exact_at(fresh, range.start)?;
        let haystack = &buffer[CARRY_BYTES - self.carry..][..self.carry + length];
        self.compare(haystack, range.start - self.carry as u64);
        self.report.scanned += length as u64;
        self.carry = haystack.len().min(CARRY_BYTES);
        let end = CARRY_BYTES + length;
        buffer.copy_within(end - self.carry..end, CARRY_BYTES - self.carry);
        Ok(())
    }

    fn compare(&mut self, haystack: &[u8], address: u64) {
        let (report, region) = (&mut *self.report, self.region);
        self.index.search(haystack, |at, needle, needle_offset| {
            report.found += 1;
            if report.findings.len() < FINDINGS_MAX {
                report.findings.push(Finding {
                    needle: needle.into(),
                    needle_offset,
                    address: address + at as u64,
                    region: region.clone(),
                });
            }
        });
    }
}

fn steps(range: Range<u64>, step: u64) -> impl Iterator<Item = Range<u64>> {
    let end = range.end;
    (range.start..end).step_by(step as usize).map(move |start| start..end.min(start + step))
}

/// Less than a window: a window that lies whole in what was kept was seen before.
const CARRY_BYTES: usize = WINDOW_BYTES - 1;
const STEP_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_2_a_secret_across_any_two_pages_is_found_once() {
        let key: [u8; 32] = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0xa5);
        let mut held = vec![0u8; 3 << 20];
        let start = held.as_ptr() as u64;
        let page = maps::PAGE_BYTES as usize;
        let borders = (1..held.len() / page).map(|i| i * page - start as usize % page);
        let places: Vec<_> = borders.enumerate().map(|(i, at)| at - 1 - i % 31).collect();
        for at in &places {
            held[*at..][..32].copy_from_slice(&key);
        }
        let region = Region {
            start,
            end: start + held.len() as u64,
            access: "rw-p".into(),
            path: String::new(),
            is_plain: true,
        };
        let (needles, mut report) = ([Needle::new("key", &key)], ScanReport::default());
        let mut scan = RegionScan {
            memory: &File::open("/proc/self/mem").unwrap(),
            presence: &Presence::open(std::process::id()),
            index: &Index::new(&needles),
            region: &region,
            report: &mut report,
            carry: 0,
        };
        assert_eq!(scan.run(&mut vec![0; CARRY_BYTES + STEP_BYTES]), 0);
        assert_eq!(report.found, places.len() as u64);
        assert_eq!(report.findings[0].address, start + places[0] as u64);
        assert_eq!(report.findings.len(), FINDINGS_MAX);
    }
}
