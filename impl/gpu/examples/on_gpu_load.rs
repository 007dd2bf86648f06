//! The CUDA device on hardware: end-to-end load beside a plain pinned copy of the same bytes, unwrap,
//! trips, and what NVML says of confidential computing. `kernels/on-gpu` runs it.
//!
//! usage: on_gpu_load [MB [THREADS]]    (1024 where it is not named, and as many as there are)
//!
//! On the fake driver it runs too, at a few MB, and says nothing about speed.

use std::error::Error;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use split_custody_gpu::cuda::{CudaConfig, CudaDevice, Reason};
use split_custody_gpu::{GpuDevice, GpuError, Load, OwnerKey};
use split_custody_kernels::resident::{Context, Open, Pinned, Stream, Wrapped};
use split_custody_weights::{Dek, Ids, SealedTable, Threads, seal};
use tempfile::TempDir;

fn main() -> ExitCode {
    let megabytes = std::env::args().nth(1).map_or(Ok(1024), |text| text.parse::<u64>());
    let threads =
        std::env::args().nth(2).map_or(Some(Threads::all()), |text| text.parse().ok().map(Threads));
    let (Ok(megabytes), Some(threads)) = (megabytes, threads) else {
        eprintln!("usage: on_gpu_load [MB [THREADS]]");
        return ExitCode::from(2);
    };
    match run(megabytes << 20, threads) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            let missing = matches!(error.downcast_ref(), Some(GpuError::NoDevice(_)));
            ExitCode::from(if missing { 3 } else { 1 })
        }
    }
}

fn run(bytes: u64, threads: Threads) -> Result<(), Box<dyn Error>> {
    let device = CudaDevice::open(CudaConfig::new(OwnerKey([4; 65]), bytes + (64 << 20)))?;
    let facts = device.facts().ok_or("no facts")?;
    println!("GPU: {}, {} multiprocessors, code {}", facts.name, facts.multiprocessors, facts.code);
    println!("confidential computing: {}", conf_compute());
    println!("swept before the first life: {:.1} MB\n", device.swept() as f64 / 1e6);
    let model = Model::seal(bytes, threads)?;
    loads(&device, &model, bytes)?;
    unwrap(&device)?;
    trips(&device, &model)
}

/// Bytes that no two places share a period in.
fn scatter(bytes: &mut [u8]) {
    let Threads(threads) = Threads::all();
    let each = bytes.len().div_ceil(threads.get()).max(1);
    std::thread::scope(|scope| {
        for (part, bytes) in bytes.chunks_mut(each).enumerate() {
            scope.spawn(move || {
                for (byte, i) in bytes.iter_mut().zip((part * each) as u64..) {
                    *byte = (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8;
                }
            });
        }
    });
}

/// Random weights, sealed, in a folder of their own: better one in memory.
struct Model {
    folder: TempDir,
    dek: Dek,
    table: SealedTable,
    threads: Threads,
}

impl Model {
    fn seal(bytes: u64, threads: Threads) -> Result<Self, Box<dyn Error>> {
        let folder = TempDir::new()?;
        let (source, sealed) = (folder.path().join("source"), folder.path().join("sealed"));
        let each = bytes / TENSORS;
        let entry = |i| {
            let (from, to) = (i * each, (i + 1) * each);
            format!(r#""t{i}":{{"dtype":"U8","shape":[{each}],"data_offsets":[{from},{to}]}}"#)
        };
        let header = format!("{{{}}}", (0..TENSORS).map(entry).collect::<Vec<_>>().join(","));
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header.as_bytes());
        let begin = file.len();
        file.resize(begin + (each * TENSORS) as usize, 0);
        scatter(&mut file[begin..]);
        std::fs::write(&source, file)?;
        let (dek, ids) = (Dek::generate()?, Ids::fresh([7; 16], 1)?);
        let table = seal(&source, &sealed, &dek, &ids, Threads::all(), &|_| {})?;
        std::fs::remove_file(&source)?;
        Ok(Self { folder, dek, table, threads })
    }

    fn load(&self, device: &CudaDevice) -> Result<Duration, GpuError> {
        let dek = device.store_key(self.dek.expose())?;
        let begun = Instant::now();
        device.load(&Load {
            sealed: &self.folder.path().join("sealed"),
            table: &self.table,
            dek,
            threads: self.threads,
            cancel: &AtomicBool::new(false),
            progress: &|_| {},
        })?;
        let took = begun.elapsed();
        device.erase_key(dek)?;
        Ok(took)
    }
}

fn begin(device: &CudaDevice) -> Result<(), GpuError> {
    device.zeroise()?;
    device.scrub()?;
    device.plant().map(drop)
}

/// The floor in the same run: the same bytes from pinned memory, and nothing else.
fn plain_copy(bytes: u64) -> Result<Duration, Box<dyn Error>> {
    let context = Context::open()?;
    let (stream, slot) = (Stream::new(&context)?, 8usize << 20);
    let (open, pinned) = (Open::allocate(&context, slot)?, Pinned::allocate(&context, slot)?);
    let begun = Instant::now();
    for _ in 0..bytes.div_ceil(slot as u64) {
        stream.write(open.whole(), &pinned, 0)?;
    }
    stream.finish()?;
    Ok(begun.elapsed())
}

/// The other floor: the sealed file into pinned memory, by as many threads, and nothing else.
fn plain_read(file: &Path, Threads(threads): Threads) -> Result<Duration, Box<dyn Error>> {
    let (context, file) = (Context::open()?, std::fs::File::open(file)?);
    let (length, next, slot) = (file.metadata()?.len(), AtomicU64::new(0), 4u64 << 20);
    let pinned = |_| Pinned::allocate(&context, slot as usize);
    let mut pinned = (0..threads.get()).map(pinned).collect::<Result<Vec<_>, _>>()?;
    let begun = Instant::now();
    let read = |pinned: &mut Pinned| -> std::io::Result<()> {
        loop {
            let at = next.fetch_add(slot, Ordering::Relaxed);
            if at >= length {
                return Ok(());
            }
            let bytes = slot.min(length - at) as usize;
            file.read_exact_at(&mut pinned.bytes_mut()[..bytes], at)?;
        }
    };
    let read = &read;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            pinned.iter_mut().map(|each| scope.spawn(move || read(each))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("reading does not panic"))
    })?;
    Ok(begun.elapsed())
}

fn loads(device: &CudaDevice, model: &Model, bytes: u64) -> Result<(), Box<dyn Error>> {
    let (mut ours, mut copies, mut reads) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        begin(device)?;
        copies.push(plain_copy(bytes)?);
        reads.push(plain_read(&model.folder.path().join("sealed"), model.threads)?);
        ours.push(model.load(device)?);
    }
    let report = device.last_load().ok_or("no load")?;
    let speed = |took: Duration| bytes as f64 / took.as_secs_f64() / 1e9;
    println!("first load, which makes the ring and the memory: {:.2} GB/s", speed(ours[0]));
    let (ours, copies, reads) = (spread(ours), spread(copies), spread(reads));
    println!("| {} MB | min GB/s | median GB/s |\n| --- | --- | --- |", bytes >> 20);
    for (name, of) in [
        ("pinned memory to GPU, plain", copies),
        ("file to pinned memory, plain", reads),
        ("file to opened weights", ours),
    ] {
        println!("| {name} | {:.2} | {:.2} |", speed(of.1), speed(of.0));
    }
    let part = |floor: Duration| floor.as_secs_f64() / ours.0.as_secs_f64();
    println!("part of the plain copy, medians: {:.3} (goal 0.95)", part(copies.0));
    println!("the last load: {report:.1?}");
    println!("part of the slower of both floors: {:.3}\n", part(copies.0.max(reads.0)));
    Ok(())
}

/// A share of nothing: refused at its tag, after all the work.
fn unwrap(device: &CudaDevice) -> Result<(), Box<dyn Error>> {
    begin(device)?;
    let (key, public) = device.generate_key()?;
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        let begun = Instant::now();
        let opened =
            device.open_share(key, &Wrapped { enc: &public, sealed: &[6; 48], info: &[4; 32] });
        times.push(begun.elapsed());
        if opened.is_ok() {
            return Err("a share of nothing was opened".into());
        }
    }
    let (median, worst) = spread(times);
    println!("unwrap of a share (refused): median {median:?}, worst {worst:?} (goal 10 ms)\n");
    Ok(())
}

fn trips(device: &CudaDevice, model: &Model) -> Result<(), Box<dyn Error>> {
    let mut times = Vec::new();
    for _ in 0..REPEATS {
        begin(device)?;
        model.load(device)?;
        device.trip(Reason::Read);
        let trip = device.last_trip().ok_or("no trip")?;
        if !trip.scrubbed || trip.failed() {
            return Err(format!("a trip failed: {:?}", trip.steps).into());
        }
        times.push(trip.took);
    }
    let (median, worst) = spread(times);
    println!("trip to scrubbed, unmapped and reset: median {median:?}, worst {worst:?}");
    Ok(())
}

/// Median and the slowest.
fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() - 1])
}

/// What NVML says of the system, if it is there.
fn conf_compute() -> String {
    /// `nvmlConfComputeSystemState_t`.
    #[repr(C)]
    #[derive(Default)]
    struct State {
        environment: u32,
        feature: u32,
        dev_tools: u32,
    }
    // SAFETY: the library's own functions, of the types of `nvml.h`; the state is a local.
    unsafe {
        let library = libc::dlopen(c"libnvidia-ml.so.1".as_ptr(), libc::RTLD_NOW);
        if library.is_null() {
            return "not asked: no NVML on this machine".into();
        }
        let find = |name: &std::ffi::CStr| libc::dlsym(library, name.as_ptr());
        let (init, ask) = (find(c"nvmlInit_v2"), find(c"nvmlSystemGetConfComputeState"));
        if init.is_null() || ask.is_null() {
            return "not asked: this NVML has no such call".into();
        }
        let init: unsafe extern "C" fn() -> u32 = std::mem::transmute(init);
        let ask: unsafe extern "C" fn(*mut State) -> u32 = std::mem::transmute(ask);
        let mut state = State::default();
        match (init(), ask(&mut state)) {
            (0, 0) => format!(
                "environment {}, feature {}, developer tools {} (1 is on; 2 is production)",
                state.environment, state.feature, state.dev_tools
            ),
            (init, ask) => format!("NVML said {init} and {ask}"),
        }
    }
}

const TENSORS: u64 = 16;
const REPEATS: usize = 5;
