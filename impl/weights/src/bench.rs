//! How fast sealing and opening are, beside the raw AEAD in the same run.
//!
//! Chapter 15. Each repeat times, one after the other on the same number of threads: the provider's
//! AES-256-GCM alone over 16 KiB chunks, in place and from one memory to another; ours from memory to
//! memory; ours from and to files in the page cache; a plain read of the source into memory; and, where
//! a Python interpreter is named, what libraries that people use today do with the same file. `ratio`
//! compares with the raw step of the same shape, `of_cipher` with the cipher in place, both of the same
//! repeat. It judges nothing.

mod floor;
mod memory;
mod peers;
mod report;
mod shelf;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use crate::bench::floor::Floor;
use crate::bench::peers::{Peer, Running, Sample};
use crate::bench::shelf::Shelf;
use crate::container::Container;
use crate::destination::Buffers;
use crate::error::WeightsError;
use crate::ids::{Dek, Ids, Threads, fill_random};
use crate::manifest::SealedTable;
use crate::open::Reader;
use crate::seal::{At, Plan, seal};
use crate::staged::Target;

pub use memory::Peak;
pub use report::{Figure, Report, Spread, Standing};

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

/// How to measure.
pub struct Settings<'a> {
    /// A directory for the files, which are removed afterwards.
    pub scratch: &'a Path,
    /// Each step runs on each of these numbers of threads.
    pub threads: &'a [Threads],
    /// How often each step runs; at least once.
    pub repeats: u32,
    /// A Python interpreter that has `safetensors` and `cryptotensors`; none, and they are left out.
    pub python: Option<&'a Path>,
}

/// Measures.
pub fn run(input: &Input, settings: &Settings<'_>) -> Result<Report, WeightsError> {
    let plain = match input {
        Input::File(path) => read(path)?,
        Input::Synthetic { bytes } => synthetic(*bytes)?,
    };
    let scratch = settings.scratch;
    let io =
        |source| WeightsError::Io { path: scratch.into(), action: "create a directory in", source };
    let folder = tempfile::tempdir_in(scratch).map_err(io)?;
    let at = |name| folder.path().join(name);
    let source = at("source.safetensors");
    fs::write(&source, &plain).map_err(io)?;
    let case = Case { plain: &plain, source, sealed: at("sealed.safetensors") };
    let repeats = settings.repeats.max(1);
    let (mut figures, mut peers) = (Vec::new(), Vec::new());
    for threads in settings.threads {
        let mut others: Vec<_> = settings
            .python
            .iter()
            .flat_map(|python| Peer::ALL.map(|peer| (peer, python)))
            .map(|(peer, python)| {
                let target = at(peer.package());
                Beside::start(peer, python, &case.source, &target, *threads)
            })
            .collect();
        let mut samples = Samples::default();
        for _ in 0..repeats {
            case.measure(*threads, &mut samples)?;
            others.iter_mut().for_each(Beside::measure);
        }
        for beside in others {
            figures.extend(beside.figures(*threads, &samples));
            peers.push(beside.standing(*threads));
        }
        figures.extend(samples.figures(*threads));
    }
    figures.sort_by_key(|f| f.threads);
    Ok(Report { bytes: plain.len() as u64, repeats, figures, peers })
}

/// A library beside ours, until it fails.
struct Beside {
    peer: Peer,
    running: Result<Running, String>,
    samples: Vec<[Sample; 2]>,
}

impl Beside {
    fn start(peer: Peer, python: &Path, source: &Path, target: &Path, threads: Threads) -> Self {
        let running = Running::start(peer, python, source, target, threads);
        Self { peer, running, samples: Vec::new() }
    }

    fn measure(&mut self) {
        let Ok(running) = &mut self.running else { return };
        match running.measure() {
            Ok(sample) => self.samples.push(sample),
            Err(why) => self.running = Err(why),
        }
    }

    /// None where it failed: half a series compares with nothing.
    fn figures(&self, threads: Threads, ours: &Samples) -> Vec<Figure> {
        if self.running.is_err() {
            return Vec::new();
        }
        let floor =
            [(&ours.seal_moved, &ours.seal_in_place), (&ours.open_moved, &ours.open_in_place)];
        let figure = |at: usize| {
            let seconds: Vec<f64> = self.samples.iter().map(|pair| pair[at].seconds).collect();
            let peak = self.samples.iter().map(|pair| pair[at].peak).max();
            let (moved, in_place) = floor[at];
            Figure::new(self.peer.steps()[at], threads, &seconds, moved, in_place).peaking(peak)
        };
        [SAVE, LOAD].map(figure).into()
    }

    fn standing(self, threads: Threads) -> Standing {
        let (version, not_run) = match &self.running {
            Ok(running) => (Some(running.version.clone()), None),
            Err(why) => (None, Some(why.clone())),
        };
        Standing { name: self.peer.package(), threads: threads.0.get(), version, not_run }
    }
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
    open_fresh: Vec<f64>,
    read_file: Vec<f64>,
    seal_file_peak: Option<u64>,
    open_file_peak: Option<u64>,
}

impl Samples {
    fn figures(self, threads: Threads) -> [Figure; 10] {
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
            seal("seal, file to file, durable", &self.seal_file).peaking(self.seal_file_peak),
            open("raw open in place", &self.open_in_place),
            open("raw open, memory to memory", &self.open_moved),
            open("open, memory to memory", &self.open_memory),
            open("open, file to memory", &self.open_file).peaking(self.open_file_peak),
            open("open, file to fresh memory", &self.open_fresh),
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
        let reader = Reader::over(&sealed[..], &self.sealed, &table)?;
        samples.open_memory.push(open(&reader, &key, threads, Memory::Touched)?.0);
        drop(reader);
        drop(sealed);
        let (peak, start) = (Peak::start(), Instant::now());
        let target = Target::Replace(&self.sealed);
        let table = seal(&self.source, target, &key, &ids, threads, &|_| ())?;
        samples.seal_file.push(start.elapsed().as_secs_f64());
        samples.seal_file_peak = samples.seal_file_peak.max(peak.grown());
        let reader = Reader::open(&self.sealed, &table)?;
        let (elapsed, peak) = open(&reader, &key, threads, Memory::Touched)?;
        samples.open_file.push(elapsed);
        samples.open_file_peak = samples.open_file_peak.max(peak);
        samples.open_fresh.push(open(&reader, &key, threads, Memory::Fresh)?.0);
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

/// What the target of an opening is.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Memory {
    /// Touched before the clock starts, as a device's memory is.
    Touched,
    /// Allocated under the clock, as the libraries beside ours do.
    Fresh,
}

/// Seconds, and how far memory rose: above the target, where that was touched before.
fn open<S: crate::storage::ReadAt>(
    reader: &Reader<S>,
    key: &Dek,
    threads: Threads,
    target: Memory,
) -> Result<(f64, Option<u64>), WeightsError> {
    let lengths: Vec<_> =
        reader.tensors(key)?.into_iter().map(|tensor| tensor.length as usize).collect();
    // Zeros come from the system untouched.
    let of = |byte: u8| lengths.iter().map(|length| vec![byte; *length]).collect::<Vec<_>>();
    let touched = (target == Memory::Touched).then(|| of(1));
    let (peak, start) = (Peak::start(), Instant::now());
    let mut memory = touched.unwrap_or_else(|| of(0));
    let buffers = Buffers::new(memory.iter_mut().map(Vec::as_mut_slice));
    let header = reader.open_header(key)?;
    reader.open_all(key, &header, threads, &buffers)?;
    Ok((start.elapsed().as_secs_f64(), peak.grown()))
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
/// Where a pair of samples has which step.
const SAVE: usize = 0;
const LOAD: usize = 1;
