//! The interposer, in a process that has it preloaded: this test starts itself again for that.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::fake::{Fake, ON_GPU, folder, on_gpu};
use common::{Model, Owner, clean};
use split_custody_gpu::GpuDevice;
use split_custody_gpu::cuda::Reason;
use split_custody_gpu::cuda::probe::CALLS;

fn interposer() -> PathBuf {
    let folder = match std::env::var_os(ON_GPU) {
        Some(folder) => PathBuf::from(folder),
        None => folder().parent().unwrap().into(),
    };
    let library = folder.join("libsplit_custody_interposer.so");
    assert!(library.exists(), "kernels/fake-driver and kernels/on-gpu build it");
    library
}

/// Runs one test of this file with the interposer preloaded.
#[track_caller]
fn run_preloaded(test: &str, preload: &Path) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--test-threads", "1", "--nocapture"]);
    command.env("LD_PRELOAD", preload);
    if !on_gpu() {
        command.env("LD_LIBRARY_PATH", folder());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn rst_13_every_call_that_reads_trips_and_leaves_zeros() {
    run_preloaded("preloaded_every_call_trips", &interposer());
}

#[test]
fn rst_13_calls_that_read_nothing_guarded_go_on() {
    run_preloaded("preloaded_other_calls_go_on", &interposer());
}

#[test]
#[ignore = "runs in a process that has the interposer"]
fn preloaded_every_call_trips() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), Model::of_sizes(&[70_000]));
    let device = fake.device(&owner);
    assert!(device.is_interposed());
    for call in CALLS {
        clean(&device);
        model.load(&device).unwrap();
        let before = fake.count(if call == "GetProcAddress" { "cuMemcpyDtoH_v2" } else { call });
        let tried = device.danger_attempt(call).unwrap();
        assert!(tried.is_refused(), "{call}: {tried:?}");
        let trip = device.last_trip().unwrap();
        let named = if call == "GetProcAddress" { "cuMemcpyDtoH_v2" } else { call };
        assert_eq!(trip.reason, Reason::ForeignRead { call: named.into() });
        assert!(trip.scrubbed && !trip.failed(), "{call}: {trip:?}");
        // The trip itself reads verdicts and zeroes; the attempt never reached the driver.
        let ours = if named == "cuMemcpyDtoH_v2" { 2 } else { 0 };
        let after = fake.count(named);
        assert!(after <= before + ours, "{call}: reached the driver");
        assert!(model.load(&device).is_err(), "{call}: usable after a trip");
    }
    println!("{} calls tried", CALLS.len());
}

#[test]
#[ignore = "runs in a process that has the interposer"]
fn preloaded_other_calls_go_on() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), Model::real());
    let device = fake.device(&owner);
    let incarnation = clean(&device);
    model.load(&device).unwrap();
    // Proofs copy MACs out of open memory, and shares move inside guarded memory: none of it trips.
    let request = owner.sign(&incarnation);
    assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
    let (one, _) = device.generate_key().unwrap();
    device.combine(&[(1, one)]).unwrap();
    assert!(device.last_trip().is_none());
    assert_eq!(device.incarnation().unwrap(), incarnation);
}

/// On a GPU: copies of the mark by foreign code do yield it where the interposer is not. Only copies:
/// a driver may crash on the other calls, whose arguments are as poor as the fake one allows.
#[test]
#[ignore = "on a GPU only"]
fn without_the_interposer_a_gpu_yields_the_mark() {
    let (driver, owner) = (Fake::begin(), Owner::new());
    let device = driver.device(&owner);
    assert!(on_gpu() && !device.is_interposed());
    for call in ["cuMemcpy", "cuMemcpyDtoH_v2", "cuMemcpyDtoHAsync_v2", "GetProcAddress"] {
        clean(&device);
        device.generate_key().unwrap(); // the context is current on this thread
        let tried = device.danger_attempt(call).unwrap();
        assert!(tried.yielded, "{call}: {tried:?}");
        println!("{call}: yielded the mark");
    }
}

/// What the interposer is for: without it, the same calls on the same driver do give the mark away.
#[test]
fn rst_13_without_the_interposer_the_fake_driver_yields_what_a_driver_would() {
    let (fake, owner) = (Fake::begin(), Owner::new());
    let device = fake.device(&owner);
    assert!(!device.is_interposed());
    let mut yielded = Vec::new();
    for call in CALLS {
        clean(&device);
        device.generate_key().unwrap(); // the context is current on this thread
        let tried = device.danger_attempt(call).unwrap();
        assert!(!tried.is_refused(), "{call}");
        if tried.yielded {
            yielded.push(call);
        }
    }
    let copies = [
        "cuMemcpy",
        "cuMemcpyAsync",
        "cuMemcpyDtoH_v2",
        "cuMemcpyDtoHAsync_v2",
        "cuMemcpyPeer",
        "cuMemcpy2D_v2",
        "cuMemcpy3D_v2",
        "cuMemcpy3DPeerAsync",
        "cuMemcpyBatchAsync_v2",
        "cuIpcGetMemHandle",
        "cuMemRetainAllocationHandle",
        "cuPointerGetAttribute",
        "GetProcAddress",
    ];
    for call in copies {
        assert!(yielded.contains(&call), "{call} yields nothing even without a guard: {yielded:?}");
    }
}
