//! How fast sealing and opening are, beside the raw AEAD in the same run.
//!
//! Chapter 15. Each repeat times, one after the other on the same number of threads: the provider's
//! AES-256-GCM alone over 16 KiB chunks in place (the floor), then ours from memory to memory, then
//! ours from file to memory and from file to file, with the files in the page cache.
//! Ratios are ours to the floor of the same repeat. It judges nothing.

mod floor;
mod report;
mod shelf;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bench::floor::Floor;
use crate::bench::shelf::Shelf;
use crate::container::Container;
use crate::destination::Buffers;
use crate::error::WeightsError;
use crate::ids::{Dek, Ids, Threads, fill_random};
use crate::manifest::SealedTable;
use crate::open::Reader;
use crate::seal::{At, Plan, seal};

pub use report::{Figure, Report, Spread};

/// What to seal and open.
pub enum Input {
    /// A safetensors file; it is read into memory.
    File(PathBuf),
    /// Random bytes in tensors of 32 MiB.
    Synthetic {
        /// How many.
        bytes: u64,
    },
}

/// Measures. `scratch` is a directory for the files, removed afterwards.
pub fn run(
    input: &Input,
    scratch: &Path,
    threads: &[Threads],
    repeats: u32,
) -> Result<Report, WeightsError> {
    let plain = match input {
        Input::File(path) => read(path)?,
        Input::Synthetic { bytes } => synthetic(*bytes)?,
    };
    let io = |source| WeightsError::Io {
        path: scratch.into(),
        action: "create a directory in",
        source,
    };
    let folder = tempfile::tempdir_in(scratch).map_err(io)?;
    let source = folder.path().join("source.safetensors");
    fs::write(&source, &plain).map_err(io)?;
    let case = Case {
        plain: &plain,
        source,
        sealed: folder.path().join("sealed.safetensors"),
    };
    let mut figures = Vec::new();
    for threads in threads {
        let mut samples = Samples::default();
        for _ in 0..repeats.max(1) {
            case.measure(*threads, &mut samples)?;
        }
        figures.extend(samples.figures(*threads));
    }
    Ok(Report {
        bytes: plain.len() as u64,
        repeats: repeats.max(1),
        figures,
    })
}

struct Case<'a> {
    plain: &'a [u8],
    source: PathBuf,
    sealed: PathBuf,
}

/// Seconds of each step, one entry for each repeat.
#[derive(Default)]
struct Samples {
    raw_seal: Vec<f64>,
    raw_open: Vec<f64>,
    seal_memory: Vec<f64>,
    open_memory: Vec<f64>,
    seal_file: Vec<f64>,
    open_file: Vec<f64>,
}

impl Samples {
    fn figures(self, threads: Threads) -> Vec<Figure> {
        [
            Figure::new("raw seal", threads, &self.raw_seal, &self.raw_seal),
            Figure::new(
                "seal, memory to memory",
                threads,
                &self.seal_memory,
                &self.raw_seal,
            ),
            Figure::new(
                "seal, file to file, durable",
                threads,
                &self.seal_file,
                &self.raw_seal,
            ),
            Figure::new("raw open", threads, &self.raw_open, &self.raw_open),
            Figure::new(
                "open, memory to memory",
                threads,
                &self.open_memory,
                &self.raw_open,
            ),
            Figure::new(
                "open, file to memory",
                threads,
                &self.open_file,
                &self.raw_open,
            ),
        ]
        .into()
    }
}

impl Case<'_> {
    fn measure(&self, threads: Threads, samples: &mut Samples) -> Result<(), WeightsError> {
        let mut floor = Floor::new(self.plain.len(), threads)?;
        samples.raw_seal.push(seconds(|| floor.seal()));
        samples.raw_open.push(seconds(|| floor.open()));
        drop(floor);
        let (key, ids) = (Dek::generate()?, Ids::fresh([7; 16], 1)?);
        let (sealed, table, elapsed) = self.seal_in_memory(&key, &ids, threads)?;
        samples.seal_memory.push(elapsed);
        samples.open_memory.push(open(
            &Reader::over(&sealed[..], &self.sealed, &table)?,
            &key,
            threads,
        )?);
        drop(sealed);
        let start = Instant::now();
        let table = seal(&self.source, &self.sealed, &key, &ids, threads, &|_| ())?;
        samples.seal_file.push(start.elapsed().as_secs_f64());
        samples
            .open_file
            .push(open(&Reader::open(&self.sealed, &table)?, &key, threads)?);
        Ok(())
    }

    fn seal_in_memory(
        &self,
        key: &Dek,
        ids: &Ids,
        threads: Threads,
    ) -> Result<(Vec<u8>, SealedTable, f64), WeightsError> {
        let path = self.source.as_path();
        let container = Container::read(&self.plain, path)?;
        let start = Instant::now();
        let plan = Plan::new(&container, key, ids, path)?;
        let planned = start.elapsed().as_secs_f64();
        let shelf = Shelf::new(plan.table.file_len());
        let start = Instant::now();
        let (from, to) = (
            At {
                bytes: &self.plain,
                path,
            },
            At {
                bytes: &shelf,
                path,
            },
        );
        let table = plan.seal(from, to, threads, &|_| ())?;
        let elapsed = planned + start.elapsed().as_secs_f64();
        Ok((shelf.into_bytes(), table, elapsed))
    }
}

/// Opens everything into memory that was touched before, as a device's memory is.
fn open<S: crate::storage::ReadAt>(
    reader: &Reader<S>,
    key: &Dek,
    threads: Threads,
) -> Result<f64, WeightsError> {
    let lengths = reader.tensors(key)?.into_iter().map(|t| t.length as usize);
    let mut memory: Vec<Vec<u8>> = lengths.map(|length| vec![1; length]).collect();
    let buffers = Buffers::new(memory.iter_mut().map(Vec::as_mut_slice));
    let start = Instant::now();
    let header = reader.open_header(key)?;
    reader.open_all(key, &header, threads, &buffers)?;
    Ok(start.elapsed().as_secs_f64())
}

fn seconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn read(path: &Path) -> Result<Vec<u8>, WeightsError> {
    fs::read(path).map_err(|source| WeightsError::Io {
        path: path.into(),
        action: "read the file",
        source,
    })
}

/// A safetensors file of random bytes.
fn synthetic(bytes: u64) -> Result<Vec<u8>, WeightsError> {
    let (mut json, mut begin) = (String::from("{"), 0);
    while begin < bytes {
        let end = bytes.min(begin + TENSOR_BYTES);
        let comma = if begin == 0 { "" } else { "," };
        let shape = end - begin;
        json += &format!(
            r#"{comma}"layer.{:04}":{{"dtype":"U8","shape":[{shape}],"data_offsets":[{begin},{end}]}}"#,
            begin / TENSOR_BYTES
        );
        begin = end;
    }
    json.push('}');
    let mut file = (json.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(json.as_bytes());
    let data = file.len();
    file.resize(data + bytes as usize, 0);
    fill_random(&mut file[data..])?;
    Ok(file)
}

const TENSOR_BYTES: u64 = 32 << 20;
