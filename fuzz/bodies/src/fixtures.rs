//! Files that bodies start from: two sealed files and the Evidence of two devices.
//!
//! Chapters 15 and 20. Seals and signatures are randomised, so these were made once and are kept:
//! the same fuzzer's bytes then always meet the same file. `tests/seeds.rs` makes them anew.
//! The keys are public and protect nothing.

use std::path::PathBuf;
use std::sync::LazyLock;

use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_weights::{Dek, Ids, SealedTable, inspect};

/// One of two fixtures that differ in nothing but their ids, salts, versions and keys.
#[derive(arbitrary::Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Which {
    One,
    Other,
}

impl Which {
    pub const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Other => "other",
        }
    }
}

/// A sealed file as its owner made it.
pub struct Sealed {
    pub bytes: Vec<u8>,
    pub table: SealedTable,
}

/// The sealed file; both are under [`dek`].
pub fn sealed(which: Which) -> &'static Sealed {
    static FILES: LazyLock<[Sealed; 2]> = LazyLock::new(|| {
        [Which::One, Which::Other].map(|which| {
            let path = path(which, "sealed");
            let bytes = std::fs::read(&path).expect("the fixture is there");
            Sealed { bytes, table: inspect(&path).expect("the fixture is a sealed file") }
        })
    });
    &FILES[which as usize]
}

/// The Evidence of a device.
pub fn evidence(which: Which) -> &'static Evidence {
    static EVIDENCE: LazyLock<[Evidence; 2]> = LazyLock::new(|| {
        [Which::One, Which::Other].map(|which| {
            let bytes = std::fs::read(path(which, "evidence")).expect("the fixture is there");
            decode(&bytes, bytes.len()).expect("the fixture is Evidence")
        })
    });
    &EVIDENCE[which as usize]
}

pub fn path(which: Which, kind: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    PathBuf::from(folder).join(format!("{}.{kind}", which.name()))
}

pub fn dek() -> Dek {
    Dek::new([0x5c; 32])
}

/// The ids under which a fixture is sealed.
pub const fn ids(which: Which) -> Ids {
    Ids { container: [which as u8 + 1; 16], weights: [5; 16], version: which as u64 + 1 }
}

/// Two full chunks and a short one, no byte at all, and less than a chunk.
pub const LENGTHS: [usize; 3] = [2 * 16_384 + 20, 0, 40];

/// The plaintext of a tensor of a fixture; a prime period lets swapped chunks show.
pub fn plaintext(which: Which, tensor: usize) -> Vec<u8> {
    let byte = |i: usize| ((i + 31 * tensor + 101 * which as usize) % 251) as u8;
    (0..LENGTHS[tensor]).map(byte).collect()
}
