//! The guard on the fake driver: what a trip does, and what every failure of every step leaves.

mod common;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::fake::{Fake, gpu_process};
use common::{MIB, Model, Owner, clean};
use split_custody_gpu::cuda::{CudaConfig, CudaDevice, NotLent, Reason, Step, TripReport};
use split_custody_gpu::scan::{Needle, ScanReport, scan_process};
use split_custody_gpu::{GpuDevice, GpuError, Load, TensorSlice};
use split_custody_weights::Threads;

/// A model whose every window is worth looking for.
fn model() -> Model {
    Model::of_sizes(&[700_001, 33_000, 5])
}

fn needles(model: &Model) -> Vec<Needle> {
    vec![
        Needle::new("DEK", model.dek.expose()),
        Needle::new("plaintext", model.bytes("size-700001-0")),
    ]
}

fn in_gpu(model: &Model) -> ScanReport {
    scan_process(gpu_process(), &needles(model)).unwrap()
}

fn loaded(fake: &Fake, owner: &Owner, model: &Model) -> CudaDevice {
    let device = fake.device(owner);
    clean(&device);
    model.load(&device).unwrap();
    let found = in_gpu(model);
    let has = |name: &str| found.findings.iter().any(|finding| finding.needle == name);
    assert!(has("plaintext"), "a scan that does not see what is there shows nothing");
    device
}

fn steps(report: &TripReport) -> Vec<(Step, bool)> {
    report.steps.iter().map(|step| (step.step, step.failed.is_none())).collect()
}

#[track_caller]
fn assert_nothing_left(model: &Model) {
    let found = in_gpu(model);
    assert!(found.findings.is_empty(), "{:?}", found.findings);
}

/// A new life after a trip, whole again.
#[track_caller]
fn assert_lives_again(device: &CudaDevice, owner: &Owner, model: &Model) {
    let incarnation = clean(device);
    assert_nothing_left(model);
    assert_eq!(model.load(device).unwrap(), model.tensors());
    let request = owner.sign(&incarnation);
    assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
}

#[test]
fn rst_13_a_read_is_denied_and_leaves_zeros_at_once() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
    let device = loaded(&fake, &owner, &model);
    let told = Arc::new(Mutex::new(0));
    let tell = told.clone();
    device.on_trip(move |_| *tell.lock().unwrap() += 1);
    let mut out = [0; 64];
    let denied = device.read_to_host("size-700001-0", &mut out);
    assert!(matches!(denied, GpuError::ReadDenied));
    assert_eq!(out, [0; 64]);
    assert_nothing_left(&model); // before any scrub of a next life
    let report = device.last_trip().unwrap();
    assert_eq!(report.reason, Reason::Read);
    assert!(report.scrubbed && !report.failed(), "{report:?}");
    let all =
        [Step::Block, Step::ZeroKeys, Step::ZeroWeights, Step::Verify, Step::Unmap, Step::Reset];
    assert_eq!(steps(&report), all.map(|step| (step, true)));
    assert_eq!(*told.lock().unwrap(), 1);
    // Everything is refused, and a second read trips nothing more.
    let slice = TensorSlice { tensor: "size-5-2".into(), range: 0..1 };
    assert!(matches!(device.compute(&slice, &[0; 32]), Err(GpuError::Tainted)));
    assert!(matches!(model.load(&device), Err(GpuError::Tainted)));
    device.read_to_host("size-5-2", &mut out);
    assert_eq!(*told.lock().unwrap(), 1);
    assert_lives_again(&device, &owner, &model);
}

#[test]
fn rst_3_this_process_never_holds_key_or_plaintext() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), Model::real());
    let device = fake.device(&owner);
    clean(&device);
    let (key, public) = device.generate_key().unwrap();
    assert_ne!(public, [0; 32]);
    let before = fake.count("bytes-out");
    model.load(&device).unwrap();
    // The header, status words, verdicts: far less than the weights.
    let out = fake.count("bytes-out") - before;
    assert!(out < 64 << 10, "{out} bytes came out while {} went in", model.tensors().len());
    device.erase_key(key).unwrap();
    assert_eq!(fake.count("cuMemAllocManaged"), 0);
}

/// Every step of a trip made to fail, one at a time: it still ends, says so, and the next life has
/// erased what was left before it begins.
#[test]
fn rst_14_a_trip_whose_step_fails_traps_and_the_next_life_sweeps() {
    for (fault, step) in [
        ("cuMemsetD8Async=719", Step::ZeroKeys),
        ("cuMemsetD8Async:2=719", Step::ZeroWeights),
        ("kernel/sc_verify_zero=719", Step::Verify),
        ("cuMemsetD8Async=drop", Step::Verify),
        ("cuMemsetD8Async:2=drop", Step::Verify),
    ] {
        let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
        let device = loaded(&fake, &owner, &model);
        fake.fail(fault);
        device.trip(Reason::Read);
        fake.heal();
        let report = device.last_trip().unwrap();
        let failed = report.steps.iter().find(|step| step.failed.is_some()).expect(fault);
        assert_eq!(failed.step, step, "{fault}: {report:?}");
        assert!(!report.scrubbed, "{fault}");
        let trapped = report.steps.iter().any(|step| step.step == Step::Trap);
        assert!(trapped && report.steps.last().unwrap().step == Step::Reset, "{fault}");
        assert_lives_again(&device, &owner, &model);
    }
}

#[test]
fn rst_3_memory_that_cannot_be_given_back_ends_the_device_for_this_process() {
    for fault in ["cuMemSetAccess=999", "cuMemUnmap=999", "cuMemRelease=999"] {
        let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
        let device = loaded(&fake, &owner, &model);
        fake.fail(fault);
        device.trip(Reason::Read);
        fake.heal();
        let report = device.last_trip().unwrap();
        assert!(report.scrubbed, "{fault}: it was wiped before");
        assert_nothing_left(&model);
        device.zeroise().unwrap();
        assert!(matches!(device.scrub(), Err(GpuError::Stranded)), "{fault}");
        assert!(matches!(device.plant(), Err(GpuError::OutOfOrder { .. })), "{fault}");
    }
}

#[test]
fn rst_3_a_scrub_that_lies_or_fails_begins_no_life() {
    for fault in ["cuMemsetD8Async:*=drop", "kernel/sc_verify_zero:*=719", "cuCtxCreate_v4:*=999"] {
        let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
        let device = loaded(&fake, &owner, &model);
        device.trip(Reason::Read);
        fake.fail(fault);
        let begun = device.zeroise().and_then(|()| device.scrub().map(drop));
        assert!(begun.is_err(), "{fault}");
        assert!(device.plant().is_err(), "{fault}");
        fake.heal();
        assert_lives_again(&device, &owner, &model);
    }
}

#[test]
fn rst_5_a_device_lost_in_mid_load_gives_nothing_and_begins_anew() {
    for fault in [
        "kernel/sc_open_chunks:2=die",
        "cuMemcpyHtoDAsync_v2:9=die",
        "kernel/sc_settle:2=719",
        "kernel/sc_derive=719",
        "cuMemAlloc_v2=999",
        "cuStreamSynchronize:3=719",
        "cuEventRecord=719",
        "cuMemHostAlloc=999",
    ] {
        let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
        let device = fake.device(&owner);
        clean(&device);
        let dek = device.store_key(model.dek.expose()).unwrap();
        fake.fail(fault);
        let refused = device.load(&Load {
            sealed: &model.sealed,
            table: &model.table,
            dek,
            threads: Threads::one(),
            cancel: &AtomicBool::new(false),
            progress: &|_| {},
        });
        assert!(refused.is_err(), "{fault}");
        let slice = TensorSlice { tensor: "size-5-2".into(), range: 0..1 };
        assert!(device.compute(&slice, &[0; 32]).is_err(), "{fault}");
        assert!(matches!(device.last_trip().unwrap().reason, Reason::Driver { .. }), "{fault}");
        fake.heal();
        if fault.ends_with("die") {
            // The GPU does not come back to this process.
            assert!(device.zeroise().and_then(|()| device.scrub().map(drop)).is_err(), "{fault}");
            continue;
        }
        assert_lives_again(&device, &owner, &model);
    }
}

#[test]
fn rst_5_lost_memory_is_tamper_at_the_next_use() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
    let device = loaded(&fake, &owner, &model);
    device.insecure_lose_memory().unwrap();
    let slice = TensorSlice { tensor: "size-5-2".into(), range: 0..1 };
    assert!(matches!(device.compute(&slice, &[0; 32]), Err(GpuError::Tamper)));
    assert!(matches!(device.compute(&slice, &[0; 32]), Err(GpuError::Tainted)));
    assert!(matches!(device.generate_key(), Err(GpuError::Tainted)));
    assert_lives_again(&device, &owner, &model);
}

#[test]
fn hs_15_a_gpu_without_jitter_makes_no_key() {
    let (fake, owner) = (Fake::begin(), Owner::new());
    let device = fake.device(&owner);
    clean(&device);
    fake.fail("kernel/sc_collect_entropy=drop");
    // Samples that no kernel wrote are all the same.
    assert!(device.generate_key().is_err());
    fake.heal();
    let (one, other) = (device.generate_key().unwrap(), device.generate_key().unwrap());
    assert_ne!(one.1, other.1);
}

#[test]
fn lea_2_a_tensor_is_lent_only_while_a_lease_admits_it() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
    let device = loaded(&fake, &owner, &model);
    let lend = || device.lend("size-33000-1", |tensor| (tensor.address, tensor.bytes));
    assert!(matches!(lend(), Err(NotLent::NoLease)), "before anybody says");
    let counts = Arc::new(AtomicBool::new(true));
    let admits = counts.clone();
    device.lease(move || admits.load(std::sync::atomic::Ordering::SeqCst));
    let (address, bytes) = lend().unwrap();
    assert!(address != 0 && bytes == 33_000);
    counts.store(false, std::sync::atomic::Ordering::SeqCst);
    assert!(matches!(lend(), Err(NotLent::NoLease)));
    counts.store(true, std::sync::atomic::Ordering::SeqCst);
    device.trip(Reason::Read);
    assert!(matches!(lend(), Err(NotLent::Device(GpuError::Tainted))));
}

#[test]
fn rst_3_a_consumer_that_does_not_let_go_loses_its_context() {
    let (fake, owner, model) = (Fake::begin(), Owner::new(), model());
    let config = CudaConfig {
        deadline: Duration::from_millis(200),
        ..CudaConfig::new(owner.key(), 64 * MIB)
    };
    let device = CudaDevice::open(config).unwrap();
    clean(&device);
    model.load(&device).unwrap();
    device.lease(|| true);
    // The trip comes while the tensor is lent, and from the consumer's own thread.
    device.lend("size-33000-1", |_| device.trip(Reason::Read)).unwrap();
    let report = device.last_trip().unwrap();
    assert_eq!(steps(&report)[0], (Step::Block, false), "{report:?}");
    assert!(report.scrubbed && report.steps.iter().any(|step| step.step == Step::Trap));
    assert_nothing_left(&model);
    assert_lives_again(&device, &owner, &model);
    drop(fake);
}

#[test]
fn rst_1_too_little_memory_and_no_gpu_are_told_before_anything_else() {
    let (fake, owner) = (Fake::begin(), Owner::new());
    for (fault, text) in [
        ("cuInit=100", "no device: no GPU on this machine"),
        ("cuMemCreate:*=2", "no device: not enough device memory"),
        ("cuCtxCreate_v4=999", "no device: driver call `cuCtxCreate` failed"),
        ("cuModuleLoadData=200", "no device: driver call `cuModuleLoadData` failed"),
        ("cuModuleGetFunction=500", "no device: driver call `cuModuleGetFunction` failed"),
    ] {
        fake.fail(fault);
        let refused = CudaDevice::open(CudaConfig::new(owner.key(), MIB)).map(drop);
        let text_seen = refused.map_err(|error| error.to_string()).expect_err(fault);
        assert!(text_seen.starts_with(text), "{fault}: {text_seen}");
        fake.heal();
    }
}
