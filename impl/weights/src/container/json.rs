//! The JSON of a safetensors header, with duplicates seen instead of merged.
//!
//! Chapter 15. What comes out names each tensor once and has every field once and no other.
//! It does not judge dtypes, shapes or offsets.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::container::{Broken, PREFIX, TENSORS_MAX};
use crate::error::{Place, SourceRule};

/// One tensor as the header has it.
pub(super) struct Entry {
    pub name: String,
    pub info: Info,
}

/// The three fields of a tensor.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Info {
    pub dtype: String,
    pub shape: Vec<u64>,
    pub data_offsets: (u64, u64),
}

type Metadata = Vec<(String, String)>;

/// Parses a header without its padding. [SEAL-10]
pub(super) fn parse(object: &[u8]) -> Result<(Vec<Entry>, Metadata), Broken> {
    let header: Header = serde_json::from_slice(object).map_err(|e| broken(object, &e))?;
    if header.too_many {
        return Err((Place::File, SourceRule::TooManyTensors)); // [SEAL-10]
    }
    let metadata_keys = header.metadata.iter().flatten().map(|(k, _)| k.as_str());
    if header.metadata.len() > 1 {
        return Err((Place::Tensor(METADATA.into()), SourceRule::DuplicateName)); // [SEAL-10]
    }
    check_distinct(metadata_keys)?;
    check_distinct(header.entries.iter().map(|e| e.name.as_str()))?;
    Ok((header.entries, header.metadata.into_iter().next().unwrap_or_default()))
}

fn check_distinct<'a>(names: impl Iterator<Item = &'a str>) -> Result<(), Broken> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err((Place::Tensor(name.into()), SourceRule::DuplicateName)); // [SEAL-10]
        }
    }
    Ok(())
}

fn broken(object: &[u8], error: &serde_json::Error) -> Broken {
    let lines = object.split_inclusive(|b| *b == b'\n').take(error.line().saturating_sub(1));
    let before: usize = lines.map(<[u8]>::len).sum();
    let at = PREFIX + before as u64 + error.column().saturating_sub(1) as u64;
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    (
        Place::Byte(at),
        SourceRule::Json(what.chars().take(200).flat_map(char::escape_debug).collect()),
    )
}

#[derive(Default)]
struct Header {
    entries: Vec<Entry>,
    metadata: Vec<Metadata>,
    too_many: bool,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Header, M::Error> {
        let mut header = Header::default();
        while let Some(name) = map.next_key::<String>()? {
            if name == METADATA {
                header.metadata.push(map.next_value::<Strings>()?.0);
            } else {
                let info = map.next_value::<InfoObject>()?.0;
                // Beyond the limit nothing is kept, so a hostile header cannot grow in memory.
                header.too_many |= header.entries.len() == TENSORS_MAX;
                if !header.too_many {
                    header.entries.push(Entry { name, info });
                }
            }
        }
        Ok(header)
    }
}

/// [`Info`] from an object; the derived code alone would take an array as well.
struct InfoObject(Info);

impl<'de> Deserialize<'de> for InfoObject {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = InfoObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with dtype, shape and data_offsets")
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<InfoObject, M::Error> {
                Info::deserialize(MapAccessDeserializer::new(map)).map(InfoObject)
            }
        }
        d.deserialize_map(Object)
    }
}

/// A map of strings, with its order and its duplicates.
struct Strings(Metadata);

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Strings;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Strings, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Strings(entries))
            }
        }
        d.deserialize_map(Map)
    }
}

const METADATA: &str = "__metadata__";
