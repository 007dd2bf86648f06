//! What can go wrong, told by file, place and rule.
//!
//! Chapter 15. One error type; the rule says which requirement a file broke. It never carries key
//! bytes, plaintext, or the name of a sealed tensor: those go by their public names.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why sealing or opening stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The system refused an operation on a file.
    #[error("`{}`: cannot {action}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A source is not a strict safetensors file. [SEAL-10]
    #[error("`{}`: {place}: {rule}", .path.display())]
    Source {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// The rule it breaks.
        rule: SourceRule,
    },
    /// A sealed file breaks a rule.
    #[error("`{}`: {place}: {rule}", .path.display())]
    Sealed {
        /// The file.
        path: PathBuf,
        /// Where in it.
        place: Place,
        /// The rule it breaks.
        rule: SealedRule,
    },
    /// A sealed table, which a manifest carries, describes no sealed file.
    #[error("sealed table: {place}: {rule}")]
    Table {
        /// Where in it.
        place: Place,
        /// The rule it breaks.
        rule: TableRule,
    },
    /// The caller's memory or sink did not take the plaintext.
    #[error("{place}: the destination did not take the plaintext")]
    Destination {
        /// The tensor.
        place: Place,
        /// What the destination said.
        source: io::Error,
    },
    /// The caller asked for a tensor that the file does not have.
    #[error("`{}`: no tensor has index {index}", .path.display())]
    NoSuchTensor {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        index: u32,
    },
    /// Source and target are the same file, which would be lost.
    #[error("`{}`: source and target are the same file", .path.display())]
    SameFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is where the target should appear, and nobody said to replace it. [SEAL-11]
    #[error("`{}`: target exists already", .path.display())]
    TargetExists {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

/// Where in a file a rule is broken.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// The file as a whole.
    File,
    /// A byte, counted from the start of the file.
    Byte(u64),
    /// A tensor of a source, by its name.
    Tensor(String),
    /// A tensor of a sealed file, by its index.
    Sealed(u32),
    /// A chunk of a sealed tensor.
    Chunk {
        /// The tensor's index.
        tensor: u32,
        /// The chunk's number in the tensor.
        chunk: u64,
        /// Where it starts in the file.
        byte: u64,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Byte(at) => write!(f, "byte {at}"),
            Self::Tensor(name) => {
                let shown: String = name.chars().take(NAME_SHOWN).collect();
                let dots = if shown.len() < name.len() { "..." } else { "" };
                write!(f, "tensor `{}{dots}`", shown.escape_debug())
            }
            Self::Sealed(index) => write!(f, "tensor `t{index:05}`"),
            Self::Chunk { tensor, chunk, byte } => {
                write!(f, "tensor `t{tensor:05}`, chunk {chunk}, byte {byte}")
            }
        }
    }
}

/// The rules of a source. [SEAL-10]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SourceRule {
    /// Nothing is in the file.
    #[error("file is empty")]
    Empty,
    /// The path is a directory, a pipe or a device.
    #[error("not a regular file")]
    NotAFile,
    /// Fewer than eight bytes.
    #[error("file ends inside the 8-byte header length")]
    LengthCut,
    /// The header is longer than the format allows.
    #[error("header of {length} bytes is above the limit of 100000000")]
    HeaderTooLong {
        /// What the file claims.
        length: u64,
    },
    /// The file ends inside its header.
    #[error("header of {length} bytes does not fit in a file of {file} bytes")]
    HeaderCut {
        /// What the file claims.
        length: u64,
        /// What the file has.
        file: u64,
    },
    /// The header is not an object from its first byte.
    #[error("header must begin with `{{`")]
    HeaderStart,
    /// After the object come bytes that are not spaces.
    #[error("header must end with `}}` and spaces only")]
    HeaderEnd,
    /// The header is no JSON of the required form.
    #[error("header is not valid: {0}")]
    Json(String),
    /// A name occurs twice.
    #[error("name occurs twice")]
    DuplicateName,
    /// No such element type.
    #[error("dtype `{0}` is not known")]
    DtypeUnknown(String),
    /// The number of elements or bits does not fit in 64 bits.
    #[error("size of the shape overflows")]
    ShapeOverflow,
    /// Elements below a byte leave a remainder.
    #[error("shape of {bits} bits is not a whole number of bytes")]
    NotWholeBytes {
        /// Elements times bits of each.
        bits: u64,
    },
    /// Offsets and shape disagree.
    #[error("shape needs {needed} bytes but data_offsets span {spanned}")]
    SizeDiffers {
        /// From shape and dtype.
        needed: u64,
        /// From the offsets.
        spanned: u64,
    },
    /// The end lies before the begin.
    #[error("data_offsets end before they begin")]
    OffsetsReversed,
    /// Bytes that no tensor owns.
    #[error("hole in the data: expected to begin at {expected}, begins at {found}")]
    Hole {
        /// Where the tensor before ends.
        expected: u64,
        /// Where this one begins.
        found: u64,
    },
    /// Bytes that two tensors own.
    #[error("overlaps the tensor before: expected to begin at {expected}, begins at {found}")]
    Overlap {
        /// Where the tensor before ends.
        expected: u64,
        /// Where this one begins.
        found: u64,
    },
    /// The file ends before the last tensor.
    #[error("data of {needed} bytes is cut to {found}")]
    DataCut {
        /// What the header needs.
        needed: u64,
        /// What the file has.
        found: u64,
    },
    /// The file goes on after the last tensor.
    #[error("{extra} bytes follow the last tensor")]
    TrailingBytes {
        /// How many.
        extra: u64,
    },
    /// More tensors than a container may hold.
    #[error("more than {} tensors", crate::container::TENSORS_MAX)]
    TooManyTensors,
    /// A tensor above 1 TiB.
    #[error("tensor of {length} bytes is above the limit of 1 TiB")]
    TensorTooLong {
        /// Its bytes.
        length: u64,
    },
}

/// The rules of a sealed file.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealedRule {
    /// The file is shorter or longer than the table says. [SEAL-8]
    #[error("file has {found} bytes, the manifest says {expected}")]
    SizeDiffers {
        /// From the table.
        expected: u64,
        /// From the file.
        found: u64,
    },
    /// The public header is not the one that the table gives. [SEAL-3] [SEAL-8]
    #[error("public header differs from the manifest")]
    HeaderDiffers,
    /// A salt is not the one in the table. [SEAL-8]
    #[error("salt differs from the manifest")]
    SaltDiffers,
    /// A commitment is not the one in the table. [SEAL-8]
    #[error("commitment differs from the manifest")]
    CommitmentDiffers,
    /// Key or context are not the sealer's. [SEAL-2] [SEAL-5]
    #[error("commitment does not match key and context")]
    CommitmentMismatch,
    /// A chunk's tag is wrong. [SEAL-7]
    #[error("chunk has a wrong tag")]
    ChunkTampered,
    /// No message has this length. [SEAL-6]
    #[error("ciphertext length is truncated or malformed")]
    BadLength,
    /// The sealed original header does not fit the tensors beside it. [SEAL-4]
    #[error("sealed header does not describe the sealed tensors")]
    HeaderDisagrees,
    /// Every tag was good, but the tags are not those that were signed. [SEAL-9]
    #[error("merkle root over commitments and tags differs from the manifest")]
    RootDiffers,
    /// A safetensors file, but not one of ours. [SEAL-3]
    #[error("not a sealed file: {0}")]
    NotSealed(&'static str),
}

/// The rules of a sealed table.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TableRule {
    /// There must be tensor 0, and at most the limit.
    #[error("number of tensors is out of bounds")]
    CountOutOfBounds,
    /// Indexes count from zero without gaps.
    #[error("index is out of order")]
    IndexOutOfOrder,
    /// Offsets are the sums of the lengths before.
    #[error("offset leaves a hole or an overlap")]
    OffsetNotContiguous,
    /// No message has this length. [SEAL-6]
    #[error("ciphertext length is truncated or malformed")]
    BadLength,
    /// Above the limit for a tensor, or for tensor 0.
    #[error("tensor is above its limit")]
    TensorTooLong,
    /// The data section must begin where the public header ends.
    #[error("data offset is not the end of the public header")]
    DataOffsetDiffers,
}

const NAME_SHOWN: usize = 120;
