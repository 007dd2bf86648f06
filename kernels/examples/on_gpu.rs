//! Figures of a GPU, as `docs/benchmarks-gpu.md` shows them. `kernels/on-gpu` runs it.
//!
//! Without an argument it needs a driver; `--shim` runs the same code on the CPU at toy sizes, which
//! shows that it works and says nothing about speed.

use std::process::ExitCode;
use std::time::Instant;

use split_custody_kernels::device::bench::OpenBench;
use split_custody_kernels::device::{DeviceBackend, DeviceError, Driver, Mapping};
use split_custody_kernels::operations::{Hpke, Kdf, Kem, OperationError, Operations};
use split_custody_kernels::{InputKey, Portable, Salt, open_message, prebuilt, seal_message};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        None => on_gpu(),
        Some("--shim") => on_shim(),
        Some(_) => {
            eprintln!("usage: on_gpu [--shim]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Device(DeviceError::NoDriver | DeviceError::NoGpu)) => {
            eprintln!("no NVIDIA GPU with its driver on this machine");
            ExitCode::from(3)
        }
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Device(#[from] DeviceError),
    #[error("{0}")]
    Operation(#[from] OperationError),
    #[error("{0} came out wrong")]
    Wrong(&'static str),
}

/// How much to do: what a GPU needs to be busy, or what a CPU bears.
struct Scale {
    tensors: &'static [(usize, usize)],
    repeats: usize,
    samples: u32,
}

#[cfg(feature = "cuda")]
const GPU: Scale = Scale {
    tensors: &[
        (1, 64 << 10),
        (1, 1 << 20),
        (1, 16 << 20),
        (1, 256 << 20),
        (1, 4 << 30),
        (1000, 4 << 10),
        (1000, 256 << 10),
    ],
    repeats: 20,
    samples: 65_536,
};
const TOY: Scale = Scale { tensors: &[(1, 64 << 10), (4, 4 << 10)], repeats: 2, samples: 8192 };

#[cfg(feature = "cuda")]
fn on_gpu() -> Result<(), Failure> {
    use split_custody_kernels::cuda::{gpu, gpu_with};
    let device = gpu()?;
    let code = device.driver().code();
    println!("GPU: {}, {} multiprocessors", device.driver().describe()?, device.driver().blocks());
    report(&device, code, &GPU, |mapping| Ok(gpu_with(mapping)?))
}

#[cfg(not(feature = "cuda"))]
fn on_gpu() -> Result<(), Failure> {
    Err(DeviceError::NoDriver.into())
}

fn on_shim() -> Result<(), Failure> {
    use split_custody_kernels::shim::{Shim, shim};
    println!("GPU: none, this is the CPU shim at toy sizes; no figure below is one of a GPU");
    let with = |mapping| Ok(DeviceBackend::with_mapping(Shim::FOUR, mapping));
    report(&shim(), "sm_90", &TOY, with)
}

fn report<D: Driver>(
    device: &DeviceBackend<D>,
    code: &str,
    scale: &Scale,
    with: impl Fn(Mapping) -> Result<DeviceBackend<D>, Failure>,
) -> Result<(), Failure> {
    let measured = prebuilt::measurement(code).ok_or(Failure::Wrong("the measurement"))?;
    let digits: String = measured.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("kernels: {code}, SHA-256 {digits}\n");
    correctness(device)?;
    println!(
        "| tensors | bytes each | 1 warp per chunk, GB/s | 2 warps | 4 warps | hash on tensor cores |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mappings = [Mapping::OneWarp, Mapping::TwoWarps, Mapping::FourWarps, Mapping::TensorCores];
    let devices = mappings.map(with).into_iter().collect::<Result<Vec<_>, _>>()?;
    for (count, bytes) in scale.tensors {
        let speeds = devices.iter().map(|device| speed(device, *count, *bytes, scale.repeats));
        let speeds = speeds.map(|s| s.unwrap_or_else(|why| why.to_string())).collect::<Vec<_>>();
        println!("| {count} | {bytes} | {} |", speeds.join(" | "));
    }
    latencies(device, scale)?;
    entropy(device, scale)
}

/// A message of each kind through the twin and the device, both ways; a broken one refused.
fn correctness<D: Driver>(device: &DeviceBackend<D>) -> Result<(), Failure> {
    let (key, salt) = (InputKey::new([1; 32]), Salt([2; 24]));
    for size in [0, 1, 15, 16, 17, 511, 513, 16_383, 16_384, 16_385, 100_000, 1 << 20] {
        let plain: Vec<u8> = (0..size).map(|i| (i % 251) as u8).collect();
        let ours = seal_message(device, &key, &salt, b"on-gpu", &plain);
        let mut theirs = seal_message(&Portable, &key, &salt, b"on-gpu", &plain)
            .map_err(|_| Failure::Wrong("the twin's seal"))?;
        if ours.as_ref() != Ok(&theirs) {
            return Err(Failure::Wrong("seal"));
        }
        if open_message(device, &key, b"on-gpu", &theirs).map(|p| *p == plain) != Ok(true) {
            return Err(Failure::Wrong("open"));
        }
        if let Some(last) = theirs.last_mut() {
            *last ^= 1;
        }
        if open_message(device, &key, b"on-gpu", &theirs).is_ok() {
            return Err(Failure::Wrong("a broken tag"));
        }
    }
    println!("seal, open and refusal agree with the portable twin\n");
    Ok(())
}

/// The best of some openings.
fn speed<D: Driver>(
    device: &DeviceBackend<D>,
    count: usize,
    bytes: usize,
    repeats: usize,
) -> Result<String, Failure> {
    let bench = OpenBench::new(device, count, bytes)?;
    let mut best = f64::INFINITY;
    for _ in 0..repeats {
        let took = bench.open()?.map_err(|_| Failure::Wrong("an opening"))?;
        best = best.min(took.as_secs_f64());
    }
    Ok(format!("{:.1}", bench.bytes() as f64 / best / 1e9))
}

fn latencies<D: Driver>(device: &DeviceBackend<D>, scale: &Scale) -> Result<(), Failure> {
    println!("\n| operation, with its copies | best of {}, ms |", scale.repeats);
    println!("| --- | --- |");
    let secret = [7; 32];
    let (x25519, p256) = (device.public_x25519(&[9; 32])?, device.public_p256(&[9; 32])?);
    let row = |name: &str, run: &dyn Fn() -> Result<(), Failure>| -> Result<(), Failure> {
        let mut best = f64::INFINITY;
        for _ in 0..scale.repeats {
            let begun = Instant::now();
            run()?;
            best = best.min(begun.elapsed().as_secs_f64());
        }
        println!("| {name} | {:.3} |", best * 1e3);
        Ok(())
    };
    row("agree on X25519", &|| Ok(device.agree_x25519(&secret, &x25519).map(drop)?))?;
    row("agree on P-256", &|| Ok(device.agree_p256(&secret, &p256).map(drop)?))?;
    row("X9.63 to 32 bytes", &|| {
        let input = Kdf { secret: &secret, salt: b"", info: &[3; 64] };
        Ok(device.x963_sha256(&input, &mut [0; 32])?)
    })?;
    row("unwrap a share, AES-KW (refused)", &|| match device.unwrap_kw(&secret, &[5; 40]) {
        Err(OperationError::WrapWrong) => Ok(()),
        _ => Err(Failure::Wrong("a wrap of nothing")),
    })?;
    row("open a share, HPKE X25519 (refused)", &|| {
        let (kem, enc) = (Kem::X25519, &x25519[..]);
        let message =
            Hpke { kem, secret: &secret, enc, info: &[4; 32], aad: b"", sealed: &[6; 48] };
        match device.open_hpke(&message) {
            Err(OperationError::TagWrong) => Ok(()),
            _ => Err(Failure::Wrong("a share of nothing")),
        }
    })
}

/// What the health tests see, and the most common value's estimate of min-entropy per sample.
fn entropy<D: Driver>(device: &DeviceBackend<D>, scale: &Scale) -> Result<(), Failure> {
    let samples = device.collect_entropy(scale.samples)?;
    let mut counts = [0u32; 256];
    samples.iter().for_each(|sample| counts[(sample & 255) as usize] += 1);
    let share = f64::from(counts.into_iter().max().unwrap_or(0)) / samples.len() as f64;
    // SP 800-90B section 6.3.1: the upper end of the 99 % interval of the largest share.
    let upper = share + 2.576 * (share * (1.0 - share) / (samples.len() as f64 - 1.0)).sqrt();
    println!("\nentropy: {} samples; most common low byte {share:.4},", samples.len());
    println!(
        "an estimate of {:.2} bits per sample by that alone (0.5 is claimed)",
        -upper.min(1.0).log2()
    );
    match device.condition_entropy(&samples, &[0; 32]) {
        Ok(_) => println!("health tests: passed"),
        Err(error) => println!("health tests: {error}"),
    }
    Ok(())
}
