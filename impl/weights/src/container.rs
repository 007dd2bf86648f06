//! Strict safetensors: every rule of the format, or a refusal.
//!
//! Chapter 15. When [`Container::read`] returns, the header is a JSON object without duplicate names,
//! every tensor has a known dtype and exactly the bytes that its shape needs, and the tensors cover
//! the data section in order without hole, overlap or remainder. [SEAL-10]
//! It does not read tensor data.

mod json;

use std::ops::Range;
use std::path::Path;

use crate::error::{Place, SourceRule, WeightsError};
use crate::storage::ReadAt;

/// The longest header that the format allows.
pub const HEADER_MAX: u64 = 100_000_000;
/// The most tensors that one container holds.
pub const TENSORS_MAX: usize = 1 << 20;
/// The longest tensor, so that a key stays far from the bound of its cipher.
pub const TENSOR_BYTES_MAX: u64 = 1 << 40;

/// A safetensors file that kept every rule.
#[derive(Clone, Debug)]
pub struct Container {
    /// The header's bytes as they are in the file, padding included, without the length before them.
    pub header: Vec<u8>,
    /// What the header says.
    pub contents: Contents,
}

impl Container {
    /// Reads and checks the header of a file or of memory. `path` is for the error.
    pub fn read(source: &impl ReadAt, path: &Path) -> Result<Self, WeightsError> {
        let io = |source| WeightsError::Io { path: path.into(), action: "read the header", source };
        let refuse = |(place, rule)| WeightsError::Source { path: path.into(), place, rule };
        let file = source.size().map_err(io)?;
        if file < PREFIX {
            let rule = if file == 0 { SourceRule::Empty } else { SourceRule::LengthCut };
            return Err(refuse((Place::Byte(file), rule))); // [SEAL-10]
        }
        let mut prefix = [0; 8];
        source.read_exact_at(&mut prefix, 0).map_err(io)?;
        let length = u64::from_le_bytes(prefix);
        if length > HEADER_MAX {
            return Err(refuse((Place::Byte(0), SourceRule::HeaderTooLong { length }))); // [SEAL-10]
        }
        if length > file - PREFIX {
            return Err(refuse((Place::Byte(0), SourceRule::HeaderCut { length, file }))); // [SEAL-10]
        }
        let mut header = vec![0; usize::try_from(length).expect("at most HEADER_MAX")];
        source.read_exact_at(&mut header, PREFIX).map_err(io)?;
        let contents = Contents::parse(&header).map_err(refuse)?;
        contents.check_end(file - PREFIX - length, file).map_err(refuse)?;
        Ok(Self { header, contents })
    }

    /// Where the data section begins.
    pub fn data_offset(&self) -> u64 {
        PREFIX + self.header.len() as u64
    }

    /// Where some bytes of a tensor, by its position, lie in the file.
    pub(crate) fn file_range(&self, tensor: usize, range: &Range<u64>) -> Range<u64> {
        let begin = self.data_offset() + self.contents.tensors[tensor].begin;
        begin + range.start..begin + range.end
    }
}

/// What a header says: tensors in the order of their bytes, and the metadata.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Contents {
    /// Tensors in file offset order; empty ones that share an offset, in header order.
    pub tensors: Vec<Tensor>,
    /// `__metadata__`, in header order.
    pub metadata: Vec<(String, String)>,
}

impl Contents {
    /// Checks the bytes of a header, and gives what they say.
    pub(crate) fn parse(header: &[u8]) -> Result<Self, Broken> {
        if header.first() != Some(&b'{') {
            return Err((Place::Byte(PREFIX), SourceRule::HeaderStart)); // [SEAL-10]
        }
        let padding = header.iter().rev().take_while(|b| **b == b' ').count();
        let object = &header[..header.len() - padding];
        if object.last() != Some(&b'}') {
            return Err((Place::Byte(PREFIX + object.len() as u64), SourceRule::HeaderEnd)); // [SEAL-10]
        }
        let (entries, metadata) = json::parse(object)?;
        let mut tensors = entries.into_iter().map(Tensor::check).collect::<Result<Vec<_>, _>>()?;
        tensors.sort_by_key(|t| (t.begin, t.end()));
        check_contiguous(&tensors)?;
        Ok(Self { tensors, metadata })
    }

    /// Bytes of the data section.
    pub fn data_len(&self) -> u64 {
        self.tensors.last().map_or(0, Tensor::end)
    }

    fn check_end(&self, found: u64, file: u64) -> Result<(), Broken> {
        let needed = self.data_len();
        match found.checked_sub(needed) {
            Some(0) => Ok(()),
            Some(extra) => Err((Place::Byte(file - extra), SourceRule::TrailingBytes { extra })), // [SEAL-10]
            None => Err((Place::Byte(file), SourceRule::DataCut { needed, found })), // [SEAL-10]
        }
    }
}

/// One tensor of a header.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Its dtype, as the header spells it.
    pub dtype: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Where it begins in the data section.
    pub begin: u64,
    /// Its bytes.
    pub length: u64,
}

impl Tensor {
    fn end(&self) -> u64 {
        self.begin + self.length
    }

    fn check(entry: json::Entry) -> Result<Self, Broken> {
        let json::Entry { name, info } = entry;
        let (begin, end) = info.data_offsets;
        match Self::check_size(&info, begin, end) {
            Ok(length) => Ok(Self { name, dtype: info.dtype, shape: info.shape, begin, length }),
            Err(rule) => Err((Place::Tensor(name), rule)),
        }
    }

    fn check_size(info: &json::Info, begin: u64, end: u64) -> Result<u64, SourceRule> {
        let bits =
            bits_of(&info.dtype).ok_or_else(|| SourceRule::DtypeUnknown(shorten(&info.dtype)))?;
        let elements = info.shape.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        let bits = elements.and_then(|n| n.checked_mul(bits)).ok_or(SourceRule::ShapeOverflow)?;
        if bits % 8 != 0 {
            return Err(SourceRule::NotWholeBytes { bits });
        }
        let spanned = end.checked_sub(begin).ok_or(SourceRule::OffsetsReversed)?;
        if bits / 8 != spanned {
            return Err(SourceRule::SizeDiffers { needed: bits / 8, spanned });
        }
        if spanned > TENSOR_BYTES_MAX {
            return Err(SourceRule::TensorTooLong { length: spanned });
        }
        Ok(spanned)
    }
}

/// A rule and the place where it is broken; the file is added by who knows it.
pub(crate) type Broken = (Place, SourceRule);

fn check_contiguous(tensors: &[Tensor]) -> Result<(), Broken> {
    let mut expected = 0;
    for tensor in tensors {
        let found = tensor.begin;
        let rule = match found.cmp(&expected) {
            std::cmp::Ordering::Equal => {
                expected = tensor.end();
                continue;
            }
            std::cmp::Ordering::Greater => SourceRule::Hole { expected, found },
            std::cmp::Ordering::Less => SourceRule::Overlap { expected, found },
        };
        return Err((Place::Tensor(tensor.name.clone()), rule)); // [SEAL-10]
    }
    Ok(())
}

/// Bits of one element.
fn bits_of(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "F4" => 4,
        "F6_E2M3" | "F6_E3M2" => 6,
        "BOOL" | "U8" | "I8" => 8,
        "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ" | "F8_E5M2FNUZ" => 8,
        "I16" | "U16" | "F16" | "BF16" => 16,
        "I32" | "U32" | "F32" => 32,
        "I64" | "U64" | "F64" | "C64" => 64,
        _ => return None,
    })
}

fn shorten(text: &str) -> String {
    text.chars().take(24).flat_map(char::escape_debug).collect()
}

/// Bytes of the length before the header.
pub(crate) const PREFIX: u64 = 8;
