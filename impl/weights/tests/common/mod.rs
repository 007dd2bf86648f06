//! What the tests share: small sources, sealed files in a temporary folder, and ways to harm them.
#![allow(dead_code)]

pub mod forge;

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use split_custody_weights::{
    Buffers, Dek, Header, Ids, Loaded, Place, Reader, SealedRule, SealedTable, Threads,
    WeightsError, seal,
};

pub const CHUNK: usize = 16_384;
pub const STRIDE: usize = CHUNK + 16;

/// A folder with one source, sealed.
pub struct Sealed {
    pub folder: tempfile::TempDir,
    pub source: PathBuf,
    pub path: PathBuf,
    pub key: Dek,
    pub table: SealedTable,
}

impl Sealed {
    /// Seals tensors of these lengths.
    pub fn of(lengths: &[usize]) -> Self {
        Self::of_bytes(&safetensors(lengths), &Dek::generate().expect("random bytes"), 7)
    }

    pub fn of_bytes(source_bytes: &[u8], key: &Dek, version: u64) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (source, path) =
            (folder.path().join("source.safetensors"), folder.path().join("sealed.bin"));
        fs::write(&source, source_bytes).expect("room for a small file");
        let ids = Ids::fresh([5; 16], version).expect("random bytes");
        let table =
            seal(&source, &path, key, &ids, threads(2), &|_| ()).expect("the source is good");
        Self { folder, source, path, key: key.clone(), table }
    }

    pub fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).expect("it was sealed")
    }

    /// Where a tensor's message begins in the file.
    pub fn begin(&self, index: usize) -> usize {
        (self.table.data_offset + self.table.tensors[index].offset) as usize
    }

    pub fn message(&self, index: usize) -> std::ops::Range<usize> {
        self.begin(index)..self.begin(index) + self.table.tensors[index].length as usize
    }

    /// Replaces the sealed file by a harmed one, and loads it with the true table.
    pub fn load_harmed(&self, harm: impl FnOnce(&mut Vec<u8>)) -> Result<Loaded, WeightsError> {
        let mut bytes = self.bytes();
        harm(&mut bytes);
        self.load_bytes(&bytes, &self.table)
    }

    pub fn load_bytes(&self, bytes: &[u8], table: &SealedTable) -> Result<Loaded, WeightsError> {
        let harmed = self.folder.path().join("harmed.bin");
        fs::write(&harmed, bytes).expect("room for a small file");
        load(&harmed, table, &self.key)
    }
}

/// Opens everything, and checks that memory holds the plaintext or, after an error, zeros.
pub fn load(path: &Path, table: &SealedTable, key: &Dek) -> Result<Loaded, WeightsError> {
    let reader = Reader::open(path, table)?;
    let header = reader.open_header(key)?;
    load_into(&reader, &header, key, threads(2)).map(|(loaded, _)| loaded)
}

pub fn load_into(
    reader: &Reader,
    header: &Header,
    key: &Dek,
    threads: Threads,
) -> Result<(Loaded, Vec<Vec<u8>>), WeightsError> {
    let lengths = header.tensors().into_iter().map(|t| t.length as usize);
    let mut memory: Vec<Vec<u8>> = lengths.map(|length| vec![0; length]).collect();
    let buffers = Buffers::new(memory.iter_mut().map(Vec::as_mut_slice));
    let loaded = reader.open_all(key, header, threads, &buffers);
    drop(buffers);
    match loaded {
        Ok(loaded) => Ok((loaded, memory)),
        Err(error) => {
            assert!(memory.iter().flatten().all(|b| *b == 0), "plaintext survived a failed load");
            Err(error)
        }
    }
}

/// The rule and the place of a refused sealed file.
pub fn refused<T>(result: Result<T, WeightsError>) -> (Place, SealedRule) {
    match result {
        Err(WeightsError::Sealed { place, rule, .. }) => (place, rule),
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("accepted"),
    }
}

/// A safetensors file of `U8` tensors with these lengths.
pub fn safetensors(lengths: &[usize]) -> Vec<u8> {
    let (mut entries, mut begin) = (vec![r#""__metadata__":{"made":"by hand"}"#.to_string()], 0);
    for (i, length) in lengths.iter().enumerate() {
        let end = begin + length;
        entries.push(format!(
            r#""layer.{i}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#
        ));
        begin = end;
    }
    let data: Vec<u8> = (0..begin).map(|i| (i % 251) as u8).collect();
    with_header(&format!("{{{}}}", entries.join(",")), &data)
}

/// A file with this header, whatever it says.
pub fn with_header(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

pub fn threads(n: usize) -> Threads {
    Threads(NonZeroUsize::new(n).expect("not zero"))
}

/// The files in a folder, so that a test sees what was left behind.
pub fn listing(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("the folder exists");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
