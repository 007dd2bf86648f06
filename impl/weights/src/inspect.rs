//! Reads the public side of a sealed file, without a key.
//!
//! Chapter 15. The table it gives is what the file says of itself: whoever wrote the file wrote the
//! table. It is for showing and for comparing with a manifest, never in place of one.

use std::path::Path;

use ring::digest::{Context, SHA256};
use split_custody_kernels::{HEADER_BYTES, Layout, TAG_BYTES};

use crate::container::{Container, Tensor};
use crate::error::{Place, SealedRule, WeightsError};
use crate::manifest::{FORMAT, SealedTable, SealedTensor, public_name};
use crate::merkle;
use crate::seal::open_source;
use crate::storage::ReadAt;

/// Reads layout, salts, commitments and tags, and computes the root.
pub fn inspect(path: &Path) -> Result<SealedTable, WeightsError> {
    let file = open_source(path)?;
    let container = Container::read(&file, path)?;
    let refuse = |place, rule| WeightsError::Sealed { path: path.into(), place, rule };
    let not_sealed = |why| refuse(Place::File, SealedRule::NotSealed(why));
    let mut table = identify(&container).map_err(not_sealed)?;
    let mut leaves = Vec::new();
    for (index, tensor) in (0u32..).zip(&container.contents.tensors) {
        let rule = |rule| refuse(Place::Sealed(index), rule);
        let named = tensor.name == public_name(index) && tensor.dtype == "U8";
        if !named || tensor.shape != [tensor.length] {
            return Err(rule(SealedRule::NotSealed("tensor is not `U8` under its public name"))); // [SEAL-3]
        }
        let layout =
            Layout::of_ciphertext(tensor.length).map_err(|_| rule(SealedRule::BadLength))?; // [SEAL-6]
        let begin = container.data_offset() + tensor.begin;
        let io = |source| WeightsError::Io { path: path.into(), action: "read the file", source };
        let (sealed, tags) = read_tensor(&file, begin, index, tensor, layout).map_err(io)?;
        leaves.push(merkle::leaf(index, &sealed.commitment, &tags));
        table.tensors.push(sealed);
    }
    if table.tensors.is_empty() {
        return Err(not_sealed("no tensor `t00000`"));
    }
    let public = table.public_header();
    if public.get(8..) != Some(&container.header[..]) {
        return Err(not_sealed("public header is not in its one form")); // [SEAL-3]
    }
    table.root = merkle::root(&leaves);
    Ok(table)
}

fn identify(container: &Container) -> Result<SealedTable, &'static str> {
    let value = |key: &str| {
        let found = container.contents.metadata.iter().find(|(k, _)| k == key);
        found.map(|(_, v)| v.as_str()).ok_or("metadata lacks a field")
    };
    if value("format")? != FORMAT {
        return Err("metadata names another format");
    }
    let id = |key| unhex(value(key)?).ok_or("an id is not 32 hexadecimal digits");
    Ok(SealedTable {
        container: id("container")?,
        weights: id("weights")?,
        version: value("version")?.parse().map_err(|_| "version is not a decimal number")?,
        data_offset: container.data_offset(),
        tensors: Vec::new(),
        root: [0; 32],
    })
}

fn read_tensor(
    file: &impl ReadAt,
    begin: u64,
    index: u32,
    tensor: &Tensor,
    layout: Layout,
) -> std::io::Result<(SealedTensor, [u8; 32])> {
    let (mut salt, mut commitment, mut header) = ([0; 24], [0; 32], [0; HEADER_BYTES]);
    file.read_exact_at(&mut header, begin)?;
    salt.copy_from_slice(&header[..24]);
    commitment.copy_from_slice(&header[24..]);
    let mut hash = Context::new(&SHA256);
    for chunk in 0..layout.chunks() {
        let mut tag = [0; TAG_BYTES];
        let end = layout.ciphertext_range(&(chunk..chunk + 1)).end;
        file.read_exact_at(&mut tag, begin + end - TAG_BYTES as u64)?;
        hash.update(&tag);
    }
    let mut tags = [0; 32];
    tags.copy_from_slice(hash.finish().as_ref());
    let sealed =
        SealedTensor { index, offset: tensor.begin, length: tensor.length, salt, commitment };
    Ok((sealed, tags))
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.bytes().map(|b| (b as char).to_digit(16)).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|d| (d[0] << 4 | d[1]) as u8).collect();
    if digits.len() == 32 { bytes.try_into().ok() } else { None }
}
