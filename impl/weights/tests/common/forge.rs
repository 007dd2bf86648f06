//! Harmed files made whole again on the outside: public headers and tables to match the harm.

use split_custody_weights::{SealedTable, inspect};

use super::{Sealed, with_header};

/// The table that a harmed file gives of itself: what an attacker without the owner's key can make.
pub fn table_of(sealed: &Sealed, bytes: &[u8]) -> SealedTable {
    let path = sealed.folder.path().join("inspected.bin");
    std::fs::write(&path, bytes).expect("room for a small file");
    inspect(&path).expect("its public side is in order")
}

pub fn swap_messages(sealed: &Sealed, bytes: &mut [u8], a: usize, b: usize) {
    let (first, second) = (bytes[sealed.message(a)].to_vec(), bytes[sealed.message(b)].to_vec());
    bytes[sealed.message(a)].copy_from_slice(&second);
    bytes[sealed.message(b)].copy_from_slice(&first);
}

/// Changes the last message to a new length, and the table and public header with it.
pub fn resize(
    sealed: &Sealed,
    index: usize,
    length: usize,
    change: impl FnOnce(&mut Vec<u8>),
) -> (SealedTable, Vec<u8>) {
    let (mut table, bytes) = (sealed.table.clone(), sealed.bytes());
    let mut message = bytes[sealed.message(index)].to_vec();
    change(&mut message);
    assert_eq!(message.len(), length);
    table.tensors[index].length = length as u64;
    let data = [&bytes[sealed.begin(0)..sealed.begin(index)], &message].concat();
    let bytes = with_public_header(&mut table, &data);
    (table, bytes)
}

/// The public header that a table asks for, in front of `data`.
pub fn with_public_header(table: &mut SealedTable, data: &[u8]) -> Vec<u8> {
    let hex = |id: [u8; 16]| id.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let (container, weights, version) = (hex(table.container), hex(table.weights), table.version);
    let mut json = format!(
        r#"{{"__metadata__":{{"format":"split-custody/1","container":"{container}","weights":"{weights}","version":"{version}"}}"#
    );
    for t in &table.tensors {
        let (index, length, begin, end) = (t.index, t.length, t.offset, t.offset + t.length);
        json += &format!(
            r#","t{index:05}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#
        );
    }
    json += "}";
    let padded = format!("{json:<width$}", width = json.len().next_multiple_of(8));
    table.data_offset = 8 + padded.len() as u64;
    with_header(&padded, data)
}

pub fn rename(sealed: &Sealed, table: &SealedTable, bytes: &[u8]) -> Vec<u8> {
    with_public_header(&mut table.clone(), &bytes[sealed.begin(0)..])
}
