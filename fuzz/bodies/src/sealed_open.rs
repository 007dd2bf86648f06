//! A real sealed file and its table, harmed in a few places, then opened.
//!
//! Chapter 15. Only the unharmed file opens under its own table, and then to its owner's plaintext
//! [SEAL-2] [SEAL-8] [SEAL-9]; whatever is wrong, what was handed out is zero afterwards [SEAL-7].
//! Both ways in are taken: bytes in memory, and reads into the destination.

use std::io;
use std::path::Path;

use arbitrary::{Arbitrary, Unstructured};
use split_custody_weights::{Buffers, Dek, ReadAt, Reader, SealedTable, Threads};

use crate::fixtures::{self, LENGTHS, Which};

/// The body.
pub fn run(input: &[u8]) {
    if let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(input)) {
        check(&plan, open);
    }
}

/// The oracle: the owner's plaintext and nothing wrong, or an error and zeros.
pub fn check(plan: &Plan, open: impl Fn(&Plan, &[u8], &SealedTable) -> Opened) {
    let whole = fixtures::sealed(plan.table);
    let (mut bytes, mut table) = (fixtures::sealed(plan.file).bytes.clone(), whole.table.clone());
    for harm in plan.harms.iter().take(MOST_HARMS) {
        harm.apply(plan.file, &mut bytes, &mut table);
    }
    let unharmed = bytes == whole.bytes && table == whole.table && plan.key == KeyIs::Right;
    let Opened { outcome, memory } = open(plan, &bytes, &table);
    match outcome {
        Outcome::Opened => {
            assert!(unharmed, "opened {plan:?}");
            let owners = (0..LENGTHS.len()).map(|tensor| fixtures::plaintext(plan.table, tensor));
            assert!(memory.into_iter().eq(owners), "opened to other plaintext");
        }
        Outcome::Refused => {
            assert!(!unharmed, "refused an unharmed file");
            // A tensor is handed out whole: it was zeroed, or nobody ever wrote to it.
            let is_all = |tensor: &[u8], byte| tensor.iter().all(|b| *b == byte);
            let clean = memory.iter().all(|t| is_all(t, 0) || is_all(t, UNTOUCHED));
            assert!(clean, "bytes were left after an error [SEAL-7]: {plan:?}");
        }
    }
}

/// A file, a table, and what is done to them.
#[derive(Arbitrary, Clone, Debug)]
pub struct Plan {
    pub file: Which,
    pub table: Which,
    pub key: KeyIs,
    pub through: Through,
    pub harms: Vec<Harm>,
}

#[derive(Arbitrary, Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyIs {
    Right,
    Wrong,
}

/// How the file is read.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Through {
    Memory,
    Reads,
}

/// One harm to a file or its table.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Harm {
    Cut {
        length: u32,
    },
    Grow {
        bytes: u8,
    },
    Flip {
        at: u32,
        bit: u8,
    },
    /// Of a tensor's message: salt, commitment, chunks and tags are all within.
    FlipIn {
        tensor: u8,
        at: u16,
        bit: u8,
    },
    SwapChunks {
        tensor: u8,
        a: u8,
        b: u8,
    },
    RepeatChunk {
        tensor: u8,
        from: u8,
        to: u8,
    },
    SwapTensors {
        a: u8,
        b: u8,
    },
    /// A message from the other file.
    Splice {
        tensor: u8,
    },
    /// One letter of the public header.
    Rename {
        at: u16,
        letter: u8,
    },
    TableId {
        at: u8,
        bit: u8,
    },
    TableVersion {
        version: u64,
    },
    TableLength {
        tensor: u8,
        by: i16,
    },
    TableOffset {
        tensor: u8,
        by: i16,
    },
    TableDataOffset {
        by: i16,
    },
    TableRoot {
        at: u8,
        bit: u8,
    },
    TableDrop {
        tensor: u8,
    },
    TableSwap {
        a: u8,
        b: u8,
    },
    /// Salts and commitments as the harmed file has them, as a forger's table would.
    TableFollowsFile,
}

/// What came of opening.
pub struct Opened {
    pub outcome: Outcome,
    pub memory: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Opened,
    Refused,
}

/// Opens with the shipped reader; before a failed load begins there is no memory to be clean.
pub fn open(plan: &Plan, bytes: &[u8], table: &SealedTable) -> Opened {
    match plan.through {
        Through::Memory => open_from(plan, bytes, table),
        Through::Reads => open_from(plan, Reads(bytes), table),
    }
}

fn open_from(plan: &Plan, source: impl ReadAt, table: &SealedTable) -> Opened {
    let key = match plan.key {
        KeyIs::Right => fixtures::dek(),
        KeyIs::Wrong => Dek::new([0x5d; 32]),
    };
    let refused = |memory| Opened { outcome: Outcome::Refused, memory };
    let Ok(reader) = Reader::over(source, Path::new("fuzzed"), table) else {
        return refused(Vec::new());
    };
    let Ok(header) = reader.open_header(&key) else { return refused(Vec::new()) };
    let tensors = header.tensors().into_iter();
    let mut memory: Vec<Vec<u8>> = tensors.map(|t| vec![UNTOUCHED; t.length as usize]).collect();
    let buffers = Buffers::new(memory.iter_mut().map(Vec::as_mut_slice));
    let loaded = reader.open_all(&key, &header, Threads::one(), &buffers);
    drop(buffers);
    let outcome = if loaded.is_ok() { Outcome::Opened } else { Outcome::Refused };
    Opened { outcome, memory }
}

/// A file that has to be read: what the reader does with one on a disk.
struct Reads<'a>(&'a [u8]);

impl ReadAt for Reads<'_> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }
}

impl Harm {
    fn apply(self, file: Which, bytes: &mut Vec<u8>, table: &mut SealedTable) {
        self.harm_bytes(file, bytes);
        self.harm_table(file, bytes, table);
    }

    fn harm_bytes(self, file: Which, bytes: &mut Vec<u8>) {
        match self {
            Self::Cut { length } => bytes.truncate(length as usize % (bytes.len() + 1)),
            Self::Grow { bytes: more } => bytes.extend(vec![0; usize::from(more)]),
            Self::Flip { at, bit } => flip(bytes, at as usize, bit),
            Self::FlipIn { tensor, at, bit } => {
                if let Some(message) = message_mut(file, tensor, bytes) {
                    flip(message, usize::from(at), bit);
                }
            }
            Self::SwapChunks { tensor, a, b } => swap_chunks(file, tensor, a, b, bytes),
            Self::RepeatChunk { tensor, from, to } => repeat_chunk(file, tensor, from, to, bytes),
            Self::SwapTensors { a, b } => swap_tensors(file, a, b, bytes),
            Self::Splice { tensor } => splice(file, tensor, bytes),
            Self::Rename { at, letter } => {
                let end = fixtures::sealed(file).table.data_offset as usize;
                if let Some(name) = bytes.get_mut(8..end) {
                    let at = usize::from(at) % name.len();
                    name[at] = letter;
                }
            }
            _ => {}
        }
    }

    fn harm_table(self, file: Which, bytes: &[u8], table: &mut SealedTable) {
        let count = table.tensors.len().max(1);
        let place = |tensor: u8| usize::from(tensor) % count;
        match self {
            Self::TableId { at, bit } if at < 128 => flip(&mut table.container, at.into(), bit),
            Self::TableId { at, bit } => flip(&mut table.weights, at.into(), bit),
            Self::TableVersion { version } => table.version = version,
            Self::TableLength { tensor, by } => {
                if let Some(row) = table.tensors.get_mut(place(tensor)) {
                    row.length = row.length.wrapping_add_signed(by.into());
                }
            }
            Self::TableOffset { tensor, by } => {
                if let Some(row) = table.tensors.get_mut(place(tensor)) {
                    row.offset = row.offset.wrapping_add_signed(by.into());
                }
            }
            Self::TableDataOffset { by } => {
                table.data_offset = table.data_offset.wrapping_add_signed(by.into());
            }
            Self::TableRoot { at, bit } => flip(&mut table.root, at.into(), bit),
            Self::TableDrop { tensor } if !table.tensors.is_empty() => {
                table.tensors.remove(place(tensor));
            }
            Self::TableSwap { a, b } if !table.tensors.is_empty() => {
                table.tensors.swap(place(a), place(b));
            }
            Self::TableFollowsFile => follow_file(file, bytes, table),
            _ => {}
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u8) {
    if let Some(at) = at.checked_rem(bytes.len()) {
        bytes[at] ^= 1 << (bit % 8);
    }
}

/// Where a tensor's message lies in an unharmed file.
fn message(file: Which, tensor: u8) -> std::ops::Range<usize> {
    let table = &fixtures::sealed(file).table;
    let row = &table.tensors[usize::from(tensor) % table.tensors.len()];
    let begin = (table.data_offset + row.offset) as usize;
    begin..begin + row.length as usize
}

/// The message, unless the file was cut before its end.
fn message_mut(file: Which, tensor: u8, bytes: &mut [u8]) -> Option<&mut [u8]> {
    bytes.get_mut(message(file, tensor))
}

fn swap_chunks(file: Which, tensor: u8, a: u8, b: u8, bytes: &mut [u8]) {
    let Some(message) = message_mut(file, tensor, bytes) else { return };
    let full = (message.len() - HEADER) / STRIDE;
    let (Some(a), Some(b)) = (usize::from(a).checked_rem(full), usize::from(b).checked_rem(full))
    else {
        return;
    };
    for i in HEADER..HEADER + STRIDE {
        message.swap(a * STRIDE + i, b * STRIDE + i);
    }
}

fn repeat_chunk(file: Which, tensor: u8, from: u8, to: u8, bytes: &mut [u8]) {
    let Some(message) = message_mut(file, tensor, bytes) else { return };
    let full = (message.len() - HEADER) / STRIDE;
    let (Some(from), Some(to)) =
        (usize::from(from).checked_rem(full), usize::from(to).checked_rem(full))
    else {
        return;
    };
    let begin = HEADER + from * STRIDE;
    message.copy_within(begin..begin + STRIDE, HEADER + to * STRIDE);
}

fn swap_tensors(file: Which, a: u8, b: u8, bytes: &mut [u8]) {
    let (a, b) = (message(file, a), message(file, b));
    let length = a.len().min(b.len());
    let overlap = a.start == b.start || bytes.len() < a.end.max(b.end);
    if !overlap {
        for i in 0..length {
            bytes.swap(a.start + i, b.start + i);
        }
    }
}

fn splice(file: Which, tensor: u8, bytes: &mut [u8]) {
    let other = match file {
        Which::One => Which::Other,
        Which::Other => Which::One,
    };
    let foreign = &fixtures::sealed(other).bytes[message(other, tensor)];
    if let Some(message) = message_mut(file, tensor, bytes)
        && message.len() == foreign.len()
    {
        message.copy_from_slice(foreign);
    }
}

fn follow_file(file: Which, bytes: &[u8], table: &mut SealedTable) {
    for (tensor, row) in (0u8..).zip(&mut table.tensors) {
        if let Some(header) = bytes.get(message(file, tensor)).and_then(|m| m.get(..HEADER)) {
            row.salt.copy_from_slice(&header[..24]);
            row.commitment.copy_from_slice(&header[24..]);
        }
    }
}

/// Memory before a load: not zero, so that zeros afterwards were written.
const UNTOUCHED: u8 = 0xa5;
/// Salt and commitment.
const HEADER: usize = 24 + 32;
/// A full chunk and its tag.
const STRIDE: usize = 16_384 + 16;
/// More harms than this say nothing new.
const MOST_HARMS: usize = 4;
