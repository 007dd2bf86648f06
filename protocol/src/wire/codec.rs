//! The codec: deterministic CBOR, one encoding per value.
//!
//! Chapter 10. Decoding reads the value, encodes it again and compares: that trailing bytes and
//! every second encoding are refused is a computed fact, not a review item. [WIRE-2]

use alloc::vec::Vec;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::error::DecodeError;

/// The one encoding of a value.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    // INVARIANT: writing to a `Vec` cannot fail and no type here refuses to encode.
    Encoder::new(&mut bytes).encode(value).expect("a `Vec` takes all bytes");
    bytes
}

/// The value whose one encoding is `bytes`, at most `cap` long.
pub fn decode<T: Encode<()> + for<'b> Decode<'b, ()>>(
    bytes: &[u8],
    cap: usize,
) -> Result<T, DecodeError> {
    // [WIRE-1] Nothing is allocated for bytes above the cap.
    if bytes.len() > cap {
        return Err(DecodeError::TooLong { length: bytes.len(), cap });
    }
    check_profile(bytes)?;
    let mut decoder = Decoder::new(bytes);
    let value: T = decoder.decode().map_err(|_| DecodeError::Malformed)?;
    // [WIRE-2] Trailing bytes and second encodings fall here.
    if encode(&value) != bytes {
        return Err(DecodeError::NotCanonical);
    }
    Ok(value)
}

/// Refuses every head outside of the profile before anything is decoded. [WIRE-1] [WIRE-2]
///
/// An indefinite length under an unknown key would be skipped with a stack of 16 bytes for each
/// byte that nests; here it costs nothing. Whether items are complete is for the decoder.
pub(super) fn check_profile(bytes: &[u8]) -> Result<(), DecodeError> {
    let mut rest = bytes;
    while let Some((head, after)) = rest.split_first() {
        let (major, short) = (head >> 5, head & 31);
        let size = match short {
            0..=23 => 0,
            24..=27 => 1 << (short - 24),
            _ => return Err(DecodeError::Malformed),
        };
        let (argument, after) = after.split_at_checked(size).ok_or(DecodeError::Malformed)?;
        let long = argument.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        let argument = if size == 0 { u64::from(short) } else { long };
        rest = match major {
            0 | 4 | 5 => after,
            2 => {
                let length = usize::try_from(argument).map_err(|_| DecodeError::Malformed)?;
                after.get(length..).ok_or(DecodeError::Malformed)?
            }
            // Negative integers, text, tags, floats, simple values.
            _ => return Err(DecodeError::Malformed),
        };
    }
    Ok(())
}

/// A list of `MIN` to `MAX` items. [WIRE-1]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct List<T, const MIN: usize, const MAX: usize>(Vec<T>);

impl<T, const MIN: usize, const MAX: usize> List<T, MIN, MAX> {
    /// `None` when there are too few or too many items.
    pub fn new(items: Vec<T>) -> Option<Self> {
        (items.len() >= MIN && items.len() <= MAX).then_some(Self(items))
    }

    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    pub fn iter(&self) -> core::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<C, T: Encode<C>, const MIN: usize, const MAX: usize> Encode<C> for List<T, MIN, MAX> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(self.0.len() as u64)?;
        for item in &self.0 {
            item.encode(e, ctx)?;
        }
        Ok(())
    }
}

impl<'b, C, T: Decode<'b, C>, const MIN: usize, const MAX: usize> Decode<'b, C>
    for List<T, MIN, MAX>
{
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let length = d.array()?.ok_or_else(|| minicbor::decode::Error::message("indefinite"))?;
        if length < MIN as u64 || length > MAX as u64 {
            return Err(minicbor::decode::Error::message("list length outside its bounds"));
        }
        // The claimed length is not trusted for allocation: items are read first.
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(T::decode(d, ctx)?);
        }
        Ok(Self(items))
    }
}
