//! What to look for, and how to find it at any alignment.
//!
//! Chapter 70. A window is found by the eight bytes of it that vary most: a bit table rejects nearly
//! every position, a sorted list the rest, and only then the whole window is compared.

use std::fmt;

use zeroize::Zeroizing;

/// A secret, as windows to look for. Zeroed on drop, never printed.
pub struct Needle {
    name: String,
    windows: Vec<Window>,
}

impl Needle {
    /// Windows sampled along the whole of `bytes`, one every 4 KiB at the closest, at most
    /// 65,536 of them. Where no window varies enough, none is taken: see [`Needle::windows`].
    pub fn new(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self::sampled(name, bytes, SAMPLES_MAX)
    }

    /// The same with at most `samples` windows.
    pub fn sampled(name: impl Into<String>, bytes: &[u8], samples: usize) -> Self {
        let stride = bytes.len().div_ceil(samples.max(1)).max(STRIDE_MIN);
        let windows = (0..bytes.len()).step_by(stride);
        Self {
            name: name.into(),
            windows: windows
                .filter_map(|start| {
                    let end = bytes.len().min(start + stride + WINDOW_BYTES - 1);
                    Window::first_in(&bytes[start..end], start as u64)
                })
                .collect(),
        }
    }

    /// The name that a finding carries.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many windows are looked for; none if nothing in the bytes varies enough.
    pub fn windows(&self) -> usize {
        self.windows.len()
    }
}

impl fmt::Debug for Needle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Needle({}, {} windows)", self.name, self.windows.len())
    }
}

struct Window {
    bytes: Zeroizing<[u8; WINDOW_BYTES]>,
    /// Where in the needle it begins.
    offset: u64,
    /// Where in the window the eight bytes begin by which it is found.
    anchor: usize,
}

impl Window {
    /// The first window of a stretch that varies enough.
    fn first_in(stretch: &[u8], offset: u64) -> Option<Self> {
        let varied = |window: &&[u8]| distinct(window) >= DISTINCT_MIN;
        let mut windows = stretch.windows(WINDOW_BYTES).enumerate();
        let (at, found) = windows.find(|(_, window)| varied(window))?;
        let anchors = found.windows(ANCHOR_BYTES).enumerate();
        let (anchor, _) = anchors.max_by_key(|(_, eight)| distinct(eight))?;
        let mut bytes = Zeroizing::new([0; WINDOW_BYTES]);
        bytes.copy_from_slice(found);
        Some(Self { bytes, offset: offset + at as u64, anchor })
    }

    fn anchor_value(&self) -> u64 {
        let eight = self.bytes[self.anchor..].first_chunk();
        u64::from_le_bytes(*eight.expect("an anchor lies whole in its window"))
    }
}

/// All windows of all needles, ready to search.
pub(super) struct Index<'a> {
    /// One bit per hash of an anchor that occurs.
    table: Vec<u64>,
    /// Anchors in ascending order, with needle and window.
    entries: Vec<(u64, &'a str, &'a Window)>,
}

impl<'a> Index<'a> {
    pub(super) fn new(needles: &'a [Needle]) -> Self {
        let windows = needles.iter().flat_map(|n| n.windows.iter().map(|w| (n.name.as_str(), w)));
        let mut entries: Vec<_> = windows.map(|(name, w)| (w.anchor_value(), name, w)).collect();
        entries.sort_by_key(|(anchor, ..)| *anchor);
        let mut table = vec![0; TABLE_BITS / 64];
        for (anchor, ..) in &entries {
            let bit = hash(*anchor);
            table[bit / 64] |= 1 << (bit % 64);
        }
        Self { table, entries }
    }

    /// Calls `found` with position in the haystack, needle and offset in the needle.
    pub(super) fn search(&self, haystack: &[u8], mut found: impl FnMut(usize, &str, u64)) {
        if self.entries.is_empty() {
            return;
        }
        for (at, eight) in haystack.windows(ANCHOR_BYTES).enumerate() {
            let anchor = u64::from_le_bytes(*eight.first_chunk().expect("windows of eight"));
            let bit = hash(anchor);
            if self.table[bit / 64] & (1 << (bit % 64)) != 0 {
                self.confirm(haystack, at, anchor, &mut found);
            }
        }
    }

    #[cold]
    fn confirm(
        &self,
        haystack: &[u8],
        at: usize,
        anchor: u64,
        found: &mut impl FnMut(usize, &str, u64),
    ) {
        let first = self.entries.partition_point(|(entry, ..)| *entry < anchor);
        let same = self.entries[first..].iter().take_while(|(entry, ..)| *entry == anchor);
        for (_, name, window) in same {
            let Some(start) = at.checked_sub(window.anchor) else {
                continue;
            };
            let candidate = haystack.get(start..start + WINDOW_BYTES);
            if candidate == Some(&window.bytes[..]) {
                found(start, name, window.offset);
            }
        }
    }
}

fn hash(anchor: u64) -> usize {
    (anchor.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - TABLE_BITS.ilog2())) as usize
}

fn distinct(bytes: &[u8]) -> usize {
    let mut seen = [0u64; 4];
    for byte in bytes {
        seen[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }
    seen.iter().map(|word| word.count_ones() as usize).sum()
}

/// The length of a window.
pub const WINDOW_BYTES: usize = 32;
/// How many distinct values a window must have.
pub const DISTINCT_MIN: usize = 24;

const ANCHOR_BYTES: usize = 8;
const STRIDE_MIN: usize = 4096;
const SAMPLES_MAX: usize = 65_536;
/// 512 KiB: stays in a core's cache; a full index of 65,536 windows sets one bit in 64.
const TABLE_BITS: usize = 1 << 22;

#[cfg(test)]
mod tests {
    use super::*;

    fn varied(length: usize) -> Vec<u8> {
        (0..length).map(|i| (i * 37 % 251) as u8).collect()
    }

    fn hits(needle: &Needle, haystack: &[u8]) -> Vec<(usize, u64)> {
        let mut hits = Vec::new();
        let needles = std::slice::from_ref(needle);
        Index::new(needles).search(haystack, |at, _, offset| hits.push((at, offset)));
        hits
    }

    #[test]
    fn rst_2_a_key_is_found_at_any_alignment() {
        let key = varied(32);
        let needle = Needle::new("key", &key);
        let mut haystack = vec![0; 17];
        haystack.extend_from_slice(&key);
        haystack.push(9);
        assert_eq!(hits(&needle, &haystack), [(17, 0)]);
    }

    #[test]
    fn rst_2_a_window_that_is_cut_or_changed_is_no_finding() {
        let key = varied(32);
        let needle = Needle::new("key", &key);
        assert!(hits(&needle, &key[1..]).is_empty());
        assert!(hits(&needle, &key[..31]).is_empty());
        let mut changed = key;
        changed[31] ^= 1;
        assert!(hits(&needle, &changed).is_empty());
    }

    #[test]
    fn rst_2_dull_data_gives_no_window() {
        assert_eq!(Needle::new("zeros", &[0; 10_000]).windows(), 0);
        let few: Vec<u8> = (0..10_000).map(|i| (i % 23) as u8).collect();
        assert_eq!(Needle::new("23 values", &few).windows(), 0);
        let enough: Vec<u8> = (0..32).map(|i| (i % 24) as u8).collect();
        assert_eq!(Needle::new("24 values", &enough).windows(), 1);
        assert_eq!(Needle::new("short", &varied(31)).windows(), 0);
    }

    #[test]
    fn rst_2_dull_stretches_are_stepped_over() {
        let mut data = vec![0; 4000];
        data.extend_from_slice(&varied(200));
        let needle = Needle::new("late", &data);
        assert_eq!(needle.windows(), 2);
        assert!(needle.windows[0].offset >= 3984);
        assert_eq!(hits(&needle, &data).len(), 2);
    }

    #[test]
    fn rst_2_samples_are_bounded_and_cover_the_end() {
        let needle = Needle::sampled("model", &varied(1 << 20), 10);
        assert!(needle.windows() <= 10);
        assert!(needle.windows.last().unwrap().offset > (1 << 20) * 8 / 10);
    }
}
