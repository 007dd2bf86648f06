//! Harmed sealed files. The name says what is wrong; the assertion says which rule must stop it.

mod common;

use split_custody_weights::{
    Dek, Place, SealedRule, SealedTable, TableRule, WeightsError, inspect,
};

use common::forge::{rename, resize, swap_messages, table_of, with_public_header};
use common::{CHUNK, STRIDE, Sealed, load, refused, safetensors};

#[test]
fn seal_8_sealed_cut_at_every_byte() {
    let sealed = Sealed::of(&[3, 0, 40]);
    let bytes = sealed.bytes();
    for cut in 0..bytes.len() {
        let (place, rule) = refused(sealed.load_bytes(&bytes[..cut], &sealed.table));
        let (expected, found) = (bytes.len() as u64, cut as u64);
        assert_eq!(
            (place, rule),
            (Place::File, SealedRule::SizeDiffers { expected, found }),
            "cut at {cut}"
        );
    }
}

#[test]
fn seal_6_sealed_cut_at_every_boundary_with_a_table_to_match() {
    let sealed = Sealed::of(&[3 * CHUNK + 5]);
    for cut in [0, 1, 55, 56, 56 + 15, 56 + STRIDE, 56 + STRIDE + 15, 56 + 3 * STRIDE] {
        let mut table = sealed.table.clone();
        table.tensors[1].length = cut as u64;
        let rule = TableRule::BadLength;
        assert_table(sealed.load_bytes(&sealed.bytes(), &table).map(drop), Place::Sealed(1), rule);
    }
}

#[test]
fn seal_4_message_cut_at_a_chunk_with_a_table_to_match() {
    // The length class is right; the sealed header still says the true length.
    let sealed = Sealed::of(&[3 * CHUNK + 5]);
    let (table, bytes) = resize(&sealed, 1, 56 + 2 * STRIDE + 21, |message| {
        let last = message[56 + 3 * STRIDE..].to_vec();
        message.splice(56 + 2 * STRIDE.., last);
    });
    assert_eq!(refused(sealed.load_bytes(&bytes, &table)), disagrees());
}

#[test]
fn seal_8_sealed_cut_in_header() {
    let sealed = Sealed::of(&[10]);
    let (place, rule) = refused(sealed.load_harmed(|b| b.truncate(60)));
    assert_eq!(place, Place::File);
    assert!(matches!(rule, SealedRule::SizeDiffers { found: 60, .. }));
}

#[test]
fn seal_7_chunks_swapped_within_tensor() {
    let sealed = Sealed::of(&[9, 3 * CHUNK]);
    let begin = sealed.begin(2) + 56;
    let harmed = sealed.load_harmed(|b| {
        let (a, b) = b[begin..begin + 2 * STRIDE].split_at_mut(STRIDE);
        a.swap_with_slice(b);
    });
    let place = Place::Chunk { tensor: 2, chunk: 0, byte: begin as u64 };
    assert_eq!(refused(harmed), (place, SealedRule::ChunkTampered));
}

#[test]
fn seal_7_last_chunk_repeated_in_place_of_the_first() {
    let sealed = Sealed::of(&[2 * CHUNK + CHUNK - 1]);
    let begin = sealed.begin(1) + 56;
    let harmed = sealed.load_harmed(|b| b.copy_within(begin + STRIDE..begin + 2 * STRIDE, begin));
    assert_eq!(refused(harmed).1, SealedRule::ChunkTampered);
}

#[test]
fn seal_8_tensors_swapped() {
    let sealed = Sealed::of(&[100, 100]);
    let mut bytes = sealed.bytes();
    swap_messages(&sealed, &mut bytes, 1, 2);
    assert_eq!(
        refused(sealed.load_bytes(&bytes, &sealed.table)),
        (Place::Sealed(1), SealedRule::SaltDiffers)
    );
}

#[test]
fn seal_2_tensors_swapped_with_a_table_to_match() {
    let sealed = Sealed::of(&[100, 100]);
    let mut bytes = sealed.bytes();
    swap_messages(&sealed, &mut bytes, 1, 2);
    assert_eq!(refused(sealed.load_bytes(&bytes, &table_of(&sealed, &bytes))), mismatch(1));
}

#[test]
fn seal_2_tensor_from_another_file_under_the_same_key() {
    let key = Dek::new([9; 32]);
    let (sealed, other) = (
        Sealed::of_bytes(&safetensors(&[100]), &key, 1),
        Sealed::of_bytes(&safetensors(&[100]), &key, 1),
    );
    let mut bytes = sealed.bytes();
    bytes[sealed.message(1)].copy_from_slice(&other.bytes()[other.message(1)]);
    assert_eq!(
        refused(sealed.load_bytes(&bytes, &sealed.table)),
        (Place::Sealed(1), SealedRule::SaltDiffers)
    );
    assert_eq!(refused(sealed.load_bytes(&bytes, &table_of(&sealed, &bytes))), mismatch(1));
}

#[test]
fn seal_2_tensor_from_an_older_version_under_the_same_key() {
    let key = Dek::new([9; 32]);
    let older = Sealed::of_bytes(&safetensors(&[100]), &key, 1);
    let mut table = older.table.clone();
    table.version = 2;
    let harmed = rename(&older, &table, &older.bytes());
    assert_eq!(refused(older.load_bytes(&harmed, &table)), mismatch(0));
}

#[test]
fn seal_2_tensor_left_out() {
    let sealed = Sealed::of(&[100, 100]);
    let mut table = sealed.table.clone();
    table.tensors.pop();
    let data = &sealed.bytes()[sealed.begin(0)..sealed.begin(2)];
    let bytes = with_public_header(&mut table, data);
    assert_eq!(refused(sealed.load_bytes(&bytes, &sealed.table)).0, Place::Byte(0));
    assert_eq!(refused(sealed.load_bytes(&bytes, &table)), mismatch(0));
}

#[test]
fn seal_8_trailing_byte() {
    let sealed = Sealed::of(&[10]);
    let (place, rule) = refused(sealed.load_harmed(|b| b.push(0)));
    assert_eq!(place, Place::File);
    assert!(matches!(rule, SealedRule::SizeDiffers { .. }));
}

#[test]
fn seal_8_header_lies_about_length() {
    let sealed = Sealed::of(&[10]);
    let lie = |b: &mut Vec<u8>| b[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert_eq!(refused(sealed.load_harmed(lie)), (Place::Byte(0), SealedRule::HeaderDiffers));
    let name = |b: &mut Vec<u8>| {
        let at = b.windows(6).position(|w| w == b"t00001").expect("its public name");
        b[at + 5] = b'2';
    };
    assert!(matches!(
        refused(sealed.load_harmed(name)),
        (Place::Byte(_), SealedRule::HeaderDiffers)
    ));
}

#[test]
fn seal_8_older_version_table() {
    let sealed = Sealed::of(&[10]);
    let mut table = sealed.table.clone();
    table.version = 6;
    let (place, rule) = refused(sealed.load_bytes(&sealed.bytes(), &table));
    assert!(matches!((place, rule), (Place::Byte(_), SealedRule::HeaderDiffers)));
}

#[test]
fn seal_5_wrong_key() {
    let sealed = Sealed::of(&[10]);
    assert_eq!(refused(load(&sealed.path, &sealed.table, &Dek::new([0; 32]))), mismatch(0));
}

#[test]
fn seal_8_salt_tampered() {
    let sealed = Sealed::of(&[10]);
    let at = sealed.begin(1);
    let harmed = sealed.load_harmed(|b| b[at + 23] ^= 0x80);
    assert_eq!(refused(harmed), (Place::Sealed(1), SealedRule::SaltDiffers));
}

#[test]
fn seal_5_salt_tampered_with_a_table_to_match() {
    let sealed = Sealed::of(&[10]);
    let mut bytes = sealed.bytes();
    bytes[sealed.begin(1)] ^= 1;
    assert_eq!(refused(sealed.load_bytes(&bytes, &table_of(&sealed, &bytes))), mismatch(1));
}

#[test]
fn seal_8_commitment_tampered() {
    let sealed = Sealed::of(&[10]);
    let at = sealed.begin(1);
    let harmed = sealed.load_harmed(|b| b[at + 24] ^= 1);
    assert_eq!(refused(harmed), (Place::Sealed(1), SealedRule::CommitmentDiffers));
}

#[test]
fn seal_5_commitment_tampered_with_a_table_to_match() {
    let sealed = Sealed::of(&[10]);
    let mut bytes = sealed.bytes();
    bytes[sealed.begin(1) + 55] ^= 1;
    assert_eq!(refused(sealed.load_bytes(&bytes, &table_of(&sealed, &bytes))), mismatch(1));
}

#[test]
fn seal_7_tag_tampered() {
    let sealed = Sealed::of(&[5, 40 * CHUNK]);
    let begin = sealed.begin(2) + 56;
    let harmed = sealed.load_harmed(|b| b[begin + 33 * STRIDE + CHUNK] ^= 1);
    let place = Place::Chunk { tensor: 2, chunk: 33, byte: (begin + 33 * STRIDE) as u64 };
    assert_eq!(refused(harmed), (place, SealedRule::ChunkTampered));
}

#[test]
fn seal_7_every_byte_of_a_message_counts() {
    let sealed = Sealed::of(&[20]);
    for at in sealed.message(1).skip(56).chain(sealed.message(0).skip(56)) {
        let harmed = refused(sealed.load_harmed(|b| b[at] ^= 1));
        assert_eq!(harmed.1, SealedRule::ChunkTampered, "byte {at}");
    }
}

#[test]
fn seal_7_earliest_fault_is_reported_on_any_number_of_threads() {
    let sealed = Sealed::of(&[70 * CHUNK, 70 * CHUNK]);
    let (early, late) = (sealed.begin(1) + 56 + 40 * STRIDE, sealed.begin(2) + 56);
    for _ in 0..8 {
        let harmed = sealed.load_harmed(|b| {
            b[early] ^= 1;
            b[late] ^= 1;
        });
        assert_eq!(refused(harmed).0, Place::Chunk { tensor: 1, chunk: 40, byte: early as u64 });
    }
}

#[test]
fn seal_4_extended_tensor() {
    // A whole chunk more, in a length class that exists, under a table to match.
    let sealed = Sealed::of(&[CHUNK + 5]);
    let length = 56 + 2 * STRIDE + 21;
    let (table, bytes) = resize(&sealed, 1, length, |message| {
        let first = message[56..56 + STRIDE].to_vec();
        message.splice(56 + STRIDE..56 + STRIDE, first);
    });
    assert_eq!(refused(sealed.load_bytes(&bytes, &table)), disagrees());
    assert_eq!(refused(sealed.load_bytes(&bytes, &sealed.table)).1, SealedRule::HeaderDiffers);
}

#[test]
fn seal_9_good_tags_under_another_root() {
    let sealed = Sealed::of(&[10, 40 * CHUNK]);
    let mut table = sealed.table.clone();
    table.root[31] ^= 1;
    let harmed = sealed.load_bytes(&sealed.bytes(), &table);
    assert_eq!(refused(harmed), (Place::File, SealedRule::RootDiffers));
}

#[test]
fn seal_8_tables_that_describe_no_file() {
    let sealed = Sealed::of(&[10, 10]);
    let with = |change: fn(&mut SealedTable)| {
        let mut table = sealed.table.clone();
        change(&mut table);
        sealed.load_bytes(&sealed.bytes(), &table).map(drop)
    };
    assert_table(with(|t| t.tensors.clear()), Place::File, TableRule::CountOutOfBounds);
    assert_table(with(|t| t.tensors[1].index = 2), Place::Sealed(1), TableRule::IndexOutOfOrder);
    assert_table(
        with(|t| t.tensors[2].offset += 1),
        Place::Sealed(2),
        TableRule::OffsetNotContiguous,
    );
    assert_table(with(|t| t.tensors[2].length = u64::MAX), Place::Sealed(2), TableRule::BadLength);
    assert_table(
        with(|t| t.tensors[2].length = 56 + 16 + (1 << 50)),
        Place::Sealed(2),
        TableRule::TensorTooLong,
    );
    assert_table(with(|t| t.data_offset += 8), Place::File, TableRule::DataOffsetDiffers);
}

#[test]
fn seal_3_inspection_refuses_what_is_no_sealed_file() {
    let sealed = Sealed::of(&[10]);
    let refused = |bytes: &[u8]| {
        let path = sealed.folder.path().join("other.bin");
        std::fs::write(&path, bytes).expect("room");
        refused(inspect(&path)).1
    };
    let plain = refused(&safetensors(&[10]));
    assert_eq!(plain, SealedRule::NotSealed("metadata lacks a field"));
    let bytes =
        String::from_utf8_lossy(&sealed.bytes()[8..sealed.begin(0)]).replace("tody/1", "tody/2");
    let other = common::with_header(&bytes, &sealed.bytes()[sealed.begin(0)..]);
    assert_eq!(refused(&other), SealedRule::NotSealed("metadata names another format"));
    let spaced = String::from_utf8_lossy(&sealed.bytes()[8..sealed.begin(0)]).into_owned() + " ";
    let other = common::with_header(&spaced, &sealed.bytes()[sealed.begin(0)..]);
    assert_eq!(refused(&other), SealedRule::NotSealed("public header is not in its one form"));
}

fn mismatch(index: u32) -> (Place, SealedRule) {
    (Place::Sealed(index), SealedRule::CommitmentMismatch)
}

fn disagrees() -> (Place, SealedRule) {
    (Place::Sealed(0), SealedRule::HeaderDisagrees)
}

fn assert_table(result: Result<(), WeightsError>, place: Place, rule: TableRule) {
    match result {
        Err(WeightsError::Table { place: p, rule: r }) => assert_eq!((p, r), (place, rule)),
        other => panic!("{other:?}"),
    }
}
