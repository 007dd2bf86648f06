//! A process that is killed between trip and scrub, on a GPU that stays: what it left is there, and the
//! next life erases it before anything else. [RST-3]

mod common;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::fake::{Fake, folder};
use common::{MIB, Model, Owner, clean};
use split_custody_gpu::cuda::{CudaConfig, CudaDevice, Reason};
use split_custody_gpu::scan::{Needle, scan_process};
use tempfile::TempDir;

/// A fake GPU that outlives its clients.
struct Gpu {
    process: Child,
    socket: PathBuf,
}

impl Gpu {
    fn start(folder_of_socket: &Path) -> Self {
        let socket = folder_of_socket.join("gpu.sock");
        let program = folder().parent().unwrap().join("fake-gpu");
        let mut process =
            Command::new(program).arg(&socket).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self { process, socket }
    }

    fn holds(&self, plaintext: &[u8]) -> bool {
        let needle = Needle::new("plaintext", plaintext);
        !scan_process(self.process.id(), &[needle]).unwrap().findings.is_empty()
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Ended by its id; one that is gone already is what was wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Bytes that both processes know, and nobody else has.
fn secret() -> Vec<u8> {
    (0..200_000u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 37) as u8).collect()
}

fn model(folder: &Path) -> Model {
    let path = folder.join("source.safetensors");
    let secret = secret();
    let header =
        format!(r#"{{"w":{{"dtype":"U8","shape":[{0}],"data_offsets":[0,{0}]}}}}"#, secret.len());
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(&secret);
    std::fs::write(&path, file).unwrap();
    Model::seal(&path)
}

fn config(owner: &Owner, folder: &Path) -> CudaConfig {
    let journal = Some(folder.join("trip.journal"));
    let deadline = Duration::from_millis(500);
    CudaConfig { journal, deadline, ..CudaConfig::new(owner.key(), 16 * MIB) }
}

/// Runs `life` in a process of its own with this GPU, and returns how it ended and what it said.
fn live(gpu: &Gpu, place: &Path, faults: &str, kill_at: Option<&str>) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["life", "--exact", "--ignored", "--nocapture", "--test-threads", "1"])
        .env("FAKE_CUDA_GPU", &gpu.socket)
        .env("LD_LIBRARY_PATH", folder())
        .env("LIFE_FOLDER", place)
        .env("LIFE_FAULTS", faults)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            break;
        }
        said.push_str(&line);
        if kill_at.is_some_and(|at| line.trim().ends_with(at)) {
            // The line says that it is about to trip; the journal says that it has.
            let begun = Instant::now();
            while !place.join("trip.journal").exists() {
                assert!(begun.elapsed() < Duration::from_secs(20), "no trip began");
                std::thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    said
}

#[test]
#[ignore = "one life of a device, in a process of its own"]
fn life() {
    let place = PathBuf::from(std::env::var_os("LIFE_FOLDER").unwrap());
    let (owner, fake) = (Owner::new(), Fake::begin());
    let device = CudaDevice::open(config(&owner, &place)).unwrap();
    println!("unfinished: {:?}", device.unfinished());
    println!("swept: {}", device.swept());
    clean(&device);
    let faults = std::env::var("LIFE_FAULTS").unwrap();
    if faults.is_empty() {
        println!("a clean life");
        return;
    }
    let inside = TempDir::new_in(&place).unwrap();
    model(inside.path()).load(&device).unwrap();
    fake.fail(&faults);
    println!("tripping");
    device.trip(Reason::Read);
    println!("the trip returned");
}

#[track_caller]
fn killed_between_trip_and_scrub(faults: &str, kill_at: Option<&str>) {
    let place = TempDir::new().unwrap();
    let gpu = Gpu::start(place.path());
    let said = live(&gpu, place.path(), faults, kill_at);
    assert!(said.contains("tripping") && !said.contains("the trip returned"), "{said}");
    assert!(place.path().join("trip.journal").exists(), "the journal says so");
    assert!(gpu.holds(&secret()), "the GPU keeps what the dead process left");
    let said = live(&gpu, place.path(), "", None);
    assert!(
        said.contains("unfinished: Some(\"tripped, not yet scrubbed: a read was asked for\")"),
        "{said}"
    );
    assert!(said.contains("a clean life"), "{said}");
    assert!(!gpu.holds(&secret()), "the next life swept it before anything else");
    assert!(!place.path().join("trip.journal").exists(), "and says that it is done");
}

#[test]
fn rst_14_killed_between_trip_and_scrub_the_next_life_scrubs() {
    killed_between_trip_and_scrub("cuMemsetD8Async=hang", Some("tripping"));
}

#[test]
fn rst_14_a_trip_that_hangs_ends_the_process_and_the_next_life_scrubs() {
    // Nobody kills it: its own watchdog does.
    killed_between_trip_and_scrub("cuMemsetD8Async=hang", None);
}
