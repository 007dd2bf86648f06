//! CBOR as a tree: to walk two frames side by side, and to replace byte strings in one.
//!
//! Chapter 10. Knows the items of the wire's profile and no message: what a byte string means is
//! for the caller. It accepts exactly what it would write itself.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// One item with everything in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Item {
    Number(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Item>),
    /// Keys and values in turn.
    Map(Vec<Item>),
}

impl Item {
    /// The one item that these bytes are; `None` where they are not an array or a map of the profile.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        if !matches!(bytes.first()?, 0x80..=0xbf) {
            return None;
        }
        let mut decoder = Decoder::new(bytes);
        let item = read(&mut decoder)?;
        (decoder.position() == bytes.len() && item.write() == bytes).then_some(item)
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(self, &mut Encoder::new(&mut bytes)).expect("a `Vec` takes all bytes");
        bytes
    }

    /// Every byte string in the item, in the order of the encoding.
    pub fn byte_strings(&mut self) -> Vec<&mut Vec<u8>> {
        match self {
            Self::Bytes(bytes) => vec![bytes],
            Self::Array(items) | Self::Map(items) => {
                items.iter_mut().flat_map(Self::byte_strings).collect()
            }
            Self::Number(_) | Self::Text(_) => Vec::new(),
        }
    }
}

fn read(decoder: &mut Decoder<'_>) -> Option<Item> {
    Some(match decoder.datatype().ok()? {
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Item::Number(decoder.u64().ok()?),
        Type::Bytes => Item::Bytes(decoder.bytes().ok()?.to_vec()),
        Type::String => Item::Text(decoder.str().ok()?.to_owned()),
        Type::Array => {
            let length = decoder.array().ok()??;
            Item::Array((0..length).map(|_| read(decoder)).collect::<Option<_>>()?)
        }
        Type::Map => {
            let length = decoder.map().ok()??;
            Item::Map((0..length.checked_mul(2)?).map(|_| read(decoder)).collect::<Option<_>>()?)
        }
        _ => return None,
    })
}

type Written = Result<(), minicbor::encode::Error<std::convert::Infallible>>;

fn write(item: &Item, encoder: &mut Encoder<&mut Vec<u8>>) -> Written {
    match item {
        Item::Number(number) => encoder.u64(*number)?.ok(),
        Item::Bytes(bytes) => encoder.bytes(bytes)?.ok(),
        Item::Text(text) => encoder.str(text)?.ok(),
        Item::Array(items) => {
            encoder.array(items.len() as u64)?;
            items.iter().try_for_each(|item| write(item, encoder))
        }
        Item::Map(items) => {
            encoder.map(items.len() as u64 / 2)?;
            items.iter().try_for_each(|item| write(item, encoder))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_2_only_what_would_be_written_is_read() {
        let item = Item::Array(vec![
            Item::Number(300),
            Item::Map(vec![Item::Number(1), Item::Bytes(vec![7; 30])]),
            Item::Text("custody".into()),
        ]);
        let bytes = item.write();
        assert_eq!(Item::read(&bytes), Some(item));
        assert_eq!(Item::read(&[0x81, 0x18, 0x01]), None, "a number in its longer form");
        assert_eq!(Item::read(&[&bytes[..], &[0]].concat()), None, "a byte behind");
        assert_eq!(Item::read(&[7; 32]), None, "a digest");
    }
}
