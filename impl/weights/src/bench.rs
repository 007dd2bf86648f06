//! How fast sealing and opening are, beside the raw AEAD in the same run.
//!
//! Chapter 15. Each repeat times, one after the other on the same number of threads: the provider's
//! AES-256-GCM alone over 16 KiB chunks, in place and from one memory to another; ours from memory to
//! memory; ours from and to files in the page cache; and a plain read of the source into memory.
//! `ratio` compares with the raw step of the same shape, `of_cipher` with the cipher in place, both of
//! the same repeat. It judges nothing.

mod floor;
mod report;
mod shelf;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
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
use crate::staged::Target;

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
    let io =
        |source| WeightsError::Io { path: scratch.into(), action: "create a directory in", source };
    let folder = tempfile::tempdir_in(scratch).map_err(io)?;
    let source = folder.path().join("source.safetensors");
    fs::write(&source, &plain).map_err(io)?;
    let case = Case { plain: &plain, source, sealed: folder.path().join("sealed.safetensors") };
    let mut figures = Vec::new();
    for threads in threads {
        let mut samples = Samples::default();
        for _ in 0..repeats.max(1) {
            case.measure(*threads, &mut samples)?;
        }
        figures.extend(samples.figures(*threads));
    }
    Ok(Report { bytes: plain.len() as u64, repeats: repeats.max(1), figures })
}

struct Case<'a> {
    plain: &'a [u8],
    source: PathBuf,
    sealed: PathBuf,
}

/// Seconds of each step, one entry for each repeat.
#[derive(Default)]
struct Samples {
    seal_in_place: Vec<f64>,
    open_in_place: Vec<f64>,
    seal_moved: Vec<f64>,
    open_moved: Vec<f64>,
    seal_memory: Vec<f64>,
    open_memory: Vec<f64>,
    seal_file: Vec<f64>,
    open_file: Vec<f64>,
    read_file: Vec<f64>,
}

impl Samples {
    fn figures(self, threads: Threads) -> [Figure; 9] {
        let seal = |step, ours: &_| {
            Figure::new(step, threads, ours, &self.seal_moved, &self.seal_in_place)
        };
        let open = |step, ours: &_| {
            Figure::new(step, threads, ours, &self.open_moved, &self.open_in_place)
        };
        [
            seal("raw seal in place", &self.seal_in_place),
            seal("raw seal, memory to memory", &self.seal_moved),
            seal("seal, memory to memory", &self.seal_memory),
            seal("seal, file to file, durable", &self.seal_file),
            open("raw open in place", &self.open_in_place),
            open("raw open, memory to memory", &self.open_moved),
            open("open, memory to memory", &self.open_memory),
            open("open, file to memory", &self.open_file),
            open("plain read, file to memory", &self.read_file),
        ]
    }
}

impl Case<'_> {
    fn measure(&self, threads: Threads, samples: &mut Samples) -> Result<(), WeightsError> {
        let mut floor = Floor::new(self.plain.len(), threads)?;
        samples.seal_moved.push(seconds(|| floor.seal_moved()));
        floor.turn();
        samples.open_moved.push(seconds(|| floor.open_moved()));
        samples.seal_in_place.push(seconds(|| floor.seal_in_place()));
        samples.open_in_place.push(seconds(|| floor.open_in_place()));
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
        let target = Target::Replace(&self.sealed);
        let table = seal(&self.source, target, &key, &ids, threads, &|_| ())?;
        samples.seal_file.push(start.elapsed().as_secs_f64());
        samples.open_file.push(open(&Reader::open(&self.sealed, &table)?, &key, threads)?);
        samples.read_file.push(self.read_plain(threads)?);
        Ok(())
    }

    /// What loading the plain file into memory costs, on as many threads.
    fn read_plain(&self, threads: Threads) -> Result<f64, WeightsError> {
        let io = |source| WeightsError::Io {
            path: self.source.clone(),
            action: "read the file",
            source,
        };
        let (file, mut memory) = (File::open(&self.source).map_err(io)?, vec![1; self.plain.len()]);
        let share = memory.len().div_ceil(threads.0.get()).max(1);
        let start = Instant::now();
        let read: io::Result<Vec<()>> = thread::scope(|scope| {
            let shares = memory.chunks_mut(share).zip((0..).step_by(share));
            let spawned: Vec<_> = shares
                .map(|(part, at)| {
                    let file = &file;
                    scope.spawn(move || file.read_exact_at(part, at as u64))
                })
                .collect();
            spawned.into_iter().map(|t| t.join().expect("reading does not panic")).collect()
        });
        read.map_err(io)?;
        Ok(start.elapsed().as_secs_f64())
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
        // Touched before the clock starts: page faults are not the sealer's.
        let mut sealed = vec![1; plan.table.file_len() as usize];
        let shelf = Shelf::new(&mut sealed);
        let start = Instant::now();
        let (from, to) = (At { bytes: &self.plain, path }, At { bytes: &shelf, path });
        let table = plan.seal(from, to, threads, &|_| ())?;
        let elapsed = planned + start.elapsed().as_secs_f64();
        Ok((sealed, table, elapsed))
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
