//! What is sealed comes back, byte for byte, and in between it is a safetensors file that says little.

mod common;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use split_custody_weights::{
    Dek, Ids, Reader, Sink, Target, Threads, WeightsError, inspect, restore, seal,
};

use common::{CHUNK, Sealed, listing, load_into, safetensors, threads};

#[test]
fn seal_7_sizes_on_both_sides_of_each_boundary_come_back() {
    let run = 32 * CHUNK;
    let sizes = [
        0,
        1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        2 * CHUNK,
        3 * CHUNK,
        3 * CHUNK + 5,
        16 * CHUNK,
        16 * CHUNK + 1,
        run - 1,
        run,
        run + 1,
        0,
        2 * run + 17 * CHUNK + 3,
        0,
    ];
    round_trip(&safetensors(&sizes));
}

#[test]
fn seal_10_source_without_tensors_comes_back() {
    round_trip(&common::with_header("{}", b""));
}

#[test]
fn seal_10_header_padding_and_order_come_back() {
    let header = r#"{"b":{"dtype":"F32","shape":[1],"data_offsets":[1,5]},"a":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]}}   "#;
    let sealed = round_trip(&common::with_header(header, b"12345"));
    let reader = Reader::open(&sealed.path, &sealed.table).expect("sealed a moment ago");
    let tensors = reader.tensors(&sealed.key).expect("the key is right");
    let names: Vec<_> =
        tensors.iter().map(|t| (t.index, t.name.as_str(), t.dtype.as_str(), t.length)).collect();
    assert_eq!(names, [(1, "a", "BOOL", 1), (2, "b", "F32", 4)]);
}

#[test]
fn seal_9_real_model_comes_back() {
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/models/silero_vad_16k.safetensors");
    let sealed = round_trip(&fs::read(model).expect("the model is in the repository"));
    assert_eq!(sealed.table.tensors.len(), 16);
}

#[test]
fn seal_3_sealed_file_is_safetensors_and_shows_no_name() {
    let sealed = Sealed::of(&[10, 0, CHUNK]);
    let bytes = sealed.bytes();
    let stock = safetensors::SafeTensors::deserialize(&bytes).expect("the stock reader takes it");
    let mut names = stock.names();
    names.sort();
    assert_eq!(names, ["t00000", "t00001", "t00002", "t00003"]);
    assert!(stock.iter().all(|(_, view)| view.dtype() == safetensors::Dtype::U8));
    assert!(!bytes.windows(5).any(|w| w == b"layer"));
    let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).expect("as above");
    let metadata = metadata.metadata().clone().expect("it has metadata");
    assert_eq!(metadata["format"], "split-custody/1");
    assert_eq!(metadata["version"], "7");
    assert_eq!(metadata["weights"], "05".repeat(16));
}

#[test]
fn seal_8_inspection_without_a_key_gives_the_signed_table() {
    let sealed = Sealed::of(&[10, 0, 3 * CHUNK]);
    assert_eq!(inspect(&sealed.path).expect("sealed a moment ago"), sealed.table);
}

#[test]
fn seal_1_salts_are_fresh_each_time() {
    let (source, key) = (safetensors(&[10, 10]), Dek::new([3; 32]));
    let salts = |s: Sealed| s.table.tensors.into_iter().map(|t| t.salt).collect::<Vec<_>>();
    let mut all =
        [salts(Sealed::of_bytes(&source, &key, 1)), salts(Sealed::of_bytes(&source, &key, 1))]
            .concat();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 6);
}

#[test]
fn seal_12_equal_plaintexts_leave_nothing_equal() {
    let (source, key) = (safetensors(&[10, 10]), Dek::new([3; 32]));
    let (a, b) = (Sealed::of_bytes(&source, &key, 1), Sealed::of_bytes(&source, &key, 1));
    assert_ne!(a.table.root, b.table.root);
    assert_ne!(a.table.tensors[1].commitment, b.table.tensors[1].commitment);
    assert_ne!(a.table.tensors[1].commitment, a.table.tensors[2].commitment);
}

#[test]
fn seal_9_any_number_of_threads_gives_the_same_memory_and_root() {
    let sealed = Sealed::of(&[5, 70 * CHUNK, 0, 33 * CHUNK]);
    let reader = Reader::open(&sealed.path, &sealed.table).expect("sealed a moment ago");
    let header = reader.open_header(&sealed.key).expect("the key is right");
    let (_, one) = load_into(&reader, &header, &sealed.key, threads(1)).expect("it is whole");
    let (loaded, seven) =
        load_into(&reader, &header, &sealed.key, threads(7)).expect("it is whole");
    assert_eq!(one, seven);
    assert_eq!((loaded.tensors(), loaded.bytes()), (4, 5 + 103 * CHUNK as u64));
}

#[test]
fn seal_7_one_tensor_streams_in_order() {
    let sealed = Sealed::of(&[5, 35 * CHUNK + 9, 0]);
    let reader = Reader::open(&sealed.path, &sealed.table).expect("sealed a moment ago");
    let header = reader.open_header(&sealed.key).expect("the key is right");
    let (mut sink, mut empty) = (Gather::default(), Gather::default());
    reader.open_tensor(&sealed.key, &header, 2, &mut sink).expect("it is whole");
    let expected: Vec<u8> = (5..5 + 35 * CHUNK + 9).map(|i| (i % 251) as u8).collect();
    assert!(sink.0 == expected);
    reader.open_tensor(&sealed.key, &header, 3, &mut empty).expect("an empty tensor has a tag too");
    assert!(empty.0.is_empty());
    let none = reader.open_tensor(&sealed.key, &header, 4, &mut empty);
    assert!(matches!(none, Err(WeightsError::NoSuchTensor { index: 4, .. })));
    let zero = reader.open_tensor(&sealed.key, &header, 0, &mut empty);
    assert!(matches!(zero, Err(WeightsError::NoSuchTensor { index: 0, .. })));
}

#[test]
fn progress_adds_up_to_the_plaintext() {
    let sealed = Sealed::of(&[5, 70 * CHUNK]);
    let (sum, again) = (AtomicU64::new(0), sealed.folder.path().join("again.bin"));
    let ids = Ids::fresh([1; 16], 1).expect("random bytes");
    let add = |bytes| {
        sum.fetch_add(bytes, Ordering::Relaxed);
    };
    let table =
        seal(&sealed.source, &again, &sealed.key, &ids, Threads::all(), &add).expect("as before");
    let source = fs::metadata(&sealed.source).expect("it exists").len();
    assert_eq!(sum.into_inner() + 8, source);
    assert_eq!(table.file_len(), fs::metadata(again).expect("sealed").len());
}

#[test]
fn seal_11_failures_leave_the_target_as_it_was() {
    let sealed = Sealed::of(&[3 * CHUNK]);
    let target = sealed.folder.path().join("target");
    fs::write(&target, b"precious").expect("room");
    let before = listing(sealed.folder.path());
    let mut bytes = sealed.bytes();
    *bytes.last_mut().expect("not empty") ^= 1;
    fs::write(&sealed.path, &bytes).expect("room");
    restore(&sealed.path, &sealed.table, &sealed.key, Target::Replace(&target), threads(2))
        .expect_err("a tag is wrong");
    assert_eq!(fs::read(&target).expect("still there"), b"precious");
    fs::write(&sealed.source, b"no safetensors").expect("room");
    let ids = Ids::fresh([1; 16], 1).expect("random bytes");
    seal(&sealed.source, Target::Replace(&target), &sealed.key, &ids, threads(2), &|_| ())
        .expect_err("the source is bad");
    assert_eq!(fs::read(&target).expect("still there"), b"precious");
    assert_eq!(listing(sealed.folder.path()), before);
}

#[test]
fn seal_11_existing_target_is_replaced_only_when_told() {
    let sealed = Sealed::of(&[10]);
    let target = sealed.folder.path().join("target");
    fs::write(&target, b"precious").expect("room");
    let onto = |target: Target| {
        restore(&sealed.path, &sealed.table, &sealed.key, target, threads(1)).map(drop)
    };
    assert!(matches!(onto(Target::New(&target)), Err(WeightsError::TargetExists { .. })));
    assert_eq!(fs::read(&target).expect("still there"), b"precious");
    onto(Target::Replace(&target)).expect("it was told to");
    assert_eq!(fs::read(&target).expect("restored"), fs::read(&sealed.source).expect("the source"));
}

#[test]
fn seal_11_target_that_is_a_folder_or_the_source_is_refused() {
    let sealed = Sealed::of(&[10]);
    let (folder, ids) =
        (sealed.folder.path().join("folder"), Ids::fresh([1; 16], 1).expect("random bytes"));
    fs::create_dir(&folder).expect("room");
    let before = listing(sealed.folder.path());
    let onto = |target: &Path| seal(&sealed.source, target, &sealed.key, &ids, threads(1), &|_| ());
    let over = Target::Replace(&folder);
    let replaced = seal(&sealed.source, over, &sealed.key, &ids, threads(1), &|_| ());
    assert!(matches!(onto(&folder), Err(WeightsError::TargetExists { .. })));
    assert!(matches!(replaced, Err(WeightsError::Io { action: "name the file", .. })));
    assert!(matches!(onto(&sealed.source), Err(WeightsError::SameFile { .. })));
    let nowhere = sealed.folder.path().join("missing/target");
    assert!(matches!(onto(&nowhere), Err(WeightsError::Io { action: "create the file", .. })));
    assert_eq!(listing(sealed.folder.path()), before);
}

#[test]
fn seal_7_destination_that_refuses_stops_the_load() {
    let sealed = Sealed::of(&[10, 70 * CHUNK]);
    let reader = Reader::open(&sealed.path, &sealed.table).expect("sealed a moment ago");
    let header = reader.open_header(&sealed.key).expect("the key is right");
    let refusing = Refusing(Mutex::new(Vec::new()));
    let refused = reader.open_all(&sealed.key, &header, threads(2), &refusing);
    assert!(matches!(refused, Err(WeightsError::Destination { .. })));
    assert!(refusing.0.lock().expect("no panic").iter().all(|b| *b == 0));
}

/// Takes tensor 1 and refuses the rest.
struct Refusing(Mutex<Vec<u8>>);

impl split_custody_weights::Destination for Refusing {
    fn with_slice(
        &self,
        index: u32,
        range: std::ops::Range<u64>,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> io::Result<()> {
        if index != 1 {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let mut memory = self.0.lock().expect("no panic");
        memory.resize(range.end as usize, 0);
        fill(&mut memory);
        Ok(())
    }
}

#[derive(Default)]
struct Gather(Vec<u8>);

impl Sink for Gather {
    fn chunk(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert_eq!(offset, self.0.len() as u64);
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn seal_9_any_sizes_come_back(sizes in prop::collection::vec(0usize..3 * CHUNK, 0..6)) {
        round_trip(&safetensors(&sizes));
    }
}

/// Seals, restores, and compares every byte; gives the sealed file.
fn round_trip(source: &[u8]) -> Sealed {
    let sealed = Sealed::of_bytes(source, &Dek::generate().expect("random bytes"), 7);
    let target = sealed.folder.path().join("restored");
    restore(&sealed.path, &sealed.table, &sealed.key, &target, threads(3)).expect("it is whole");
    assert!(fs::read(&target).expect("restored") == source, "not the same bytes");
    sealed
}
