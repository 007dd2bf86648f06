//! What the three NVIDIA targets share: genuine files, harms to them, and one verifier.
//!
//! Chapter 20. The genuine files are the recorded ones of `impl/attest`, which were signed by NVIDIA:
//! nobody here can sign another. An input whose first byte is below [`RAW`] is a plan of edits to a
//! genuine file; any other input is the file itself.

use std::path::Path;
use std::sync::LazyLock;

use arbitrary::{Arbitrary, Unstructured};
use split_custody_attest::UnixTime;
use split_custody_attest::nvidia::{Case, Depth, Examination, Gpu, Provider, Verifier};

/// The set of which every part is accepted.
pub struct Genuine {
    pub report: Vec<u8>,
    pub chain: Vec<u8>,
    pub rims: Vec<Vec<u8>>,
}

pub fn genuine() -> &'static Genuine {
    static FILES: LazyLock<Genuine> = LazyLock::new(|| {
        let text = String::from_utf8(file("attestationReport.txt")).expect("hexadecimal digits");
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
        Genuine {
            report: (0..text.len()).step_by(2).map(byte).collect(),
            chain: file("gpuAkCertChain.txt"),
            rims: vec![
                file("Driver_RIM_test_no_gpu.swidtag"),
                file("1010_0200_882_96005E0001_test_no_gpu.swidtag"),
            ],
        }
    });
    &FILES
}

fn file(name: &str) -> Vec<u8> {
    let vectors = concat!(env!("CARGO_MANIFEST_DIR"), "/../../impl/attest/vectors/nvidia");
    let path = Path::new(vectors).join("full-match-545.00").join(name);
    std::fs::read(path).expect("the vector is there")
}

/// Examines at a time when all genuine files are valid.
pub fn examine<T>(
    report: &[u8],
    chain: &[u8],
    rims: &[Vec<u8>],
    read: impl FnOnce(Examination<'_>) -> T,
) -> T {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(Provider::Ring));
    let gpus = [Gpu { report, chain }];
    let at = UnixTime::new(1_717_200_000);
    let case = Case { gpus: &gpus, rims, nonce: None, at, rules: None };
    read(VERIFIER.examine(&case, Depth::Everything))
}

/// The input as a file.
pub fn harmed(input: &[u8], genuine: &[u8], snippets: &[&[u8]]) -> Vec<u8> {
    match input.split_first() {
        Some((first, plan)) if *first < RAW => {
            let edits = Vec::<Edit>::arbitrary(&mut Unstructured::new(plan)).unwrap_or_default();
            let mut bytes = genuine.to_vec();
            edits.iter().take(MOST_EDITS).for_each(|edit| edit.apply(&mut bytes, snippets));
            bytes
        }
        _ => input.to_vec(),
    }
}

/// One harm.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Edit {
    Flip { at: u16, bit: u8 },
    Remove { at: u16, length: u16 },
    Move { from: u16, length: u16, to: u16 },
    Copy { from: u16, length: u16, to: u16 },
    Insert { at: u16, snippet: u8 },
    Set { at: u16, byte: u8 },
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>, snippets: &[&[u8]]) {
        let length_of = bytes.len();
        let place = |at: u16| usize::from(at) % (length_of + 1);
        let range = |from: u16, length: u16| {
            let from = place(from);
            from..(from + usize::from(length)).min(length_of)
        };
        match self {
            Self::Flip { at, bit } => {
                if let Some(byte) = bytes.get_mut(place(at)) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Set { at, byte } => {
                if let Some(old) = bytes.get_mut(place(at)) {
                    *old = byte;
                }
            }
            Self::Remove { at, length } => drop(bytes.drain(range(at, length))),
            Self::Move { from, length, to } => {
                let moved: Vec<u8> = bytes.drain(range(from, length)).collect();
                let to = usize::from(to) % (bytes.len() + 1);
                bytes.splice(to..to, moved);
            }
            Self::Copy { from, length, to } => {
                let copied = bytes[range(from, length)].to_vec();
                let to = place(to);
                bytes.splice(to..to, copied);
            }
            Self::Insert { at, snippet } => {
                if let Some(which) = usize::from(snippet).checked_rem(snippets.len()) {
                    let at = place(at);
                    bytes.splice(at..at, snippets[which].iter().copied());
                }
            }
        }
    }
}

/// First bytes from here on begin a file; a report begins with 0x11, a chain with `-`, a RIM with
/// `<`.
pub const RAW: u8 = 0x10;
/// More harms than this say nothing new.
const MOST_EDITS: usize = 6;
