//! One body per operation, over every backend.

mod common;

use common::fake::{Fake, on_gpu};
use common::{Model, Owner, clean, sim};
use proptest::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

use split_custody_gpu::{GpuDevice, GpuError, Load, TensorSlice, slice_checksum};
use split_custody_weights::{Threads, WeightsError};

/// Runs `body` on each backend that this build and machine have, and names the ones they lack.
fn on_every_backend(body: fn(&dyn GpuDevice, &Owner)) {
    let owner = Owner::new();
    body(&sim(&owner), &owner);
    // The backend `cuda`: on the fake driver, which is all of it but the hardware, or on a GPU.
    let driver = Fake::begin();
    let device = driver.device(&owner);
    body(&device, &owner);
    match on_gpu() {
        true => println!("backend `cuda`: run on an NVIDIA GPU"),
        false => println!("backend `cuda`: run on the fake driver; not run on an NVIDIA GPU"),
    }
}

fn slice(tensor: &str, range: std::ops::Range<u64>) -> TensorSlice {
    TensorSlice { tensor: tensor.into(), range }
}

#[test]
fn rst_1_a_device_starts_tainted_and_refuses_work() {
    on_every_backend(|device, owner| {
        let model = Model::of_sizes(&[100]);
        let nonce = owner.sign(&split_custody_gpu::Incarnation([0; 32]));
        assert!(matches!(model.load(device), Err(GpuError::Tainted)));
        let computed = device.compute(&slice("size-100-0", 0..1), &[0; 32]);
        assert!(matches!(computed, Err(GpuError::Tainted)));
        assert!(matches!(device.prove(&nonce), Err(GpuError::Tainted)));
    });
}

#[test]
fn rst_3_zeroise_scrub_and_plant_in_another_order_are_refused() {
    on_every_backend(|device, _| {
        let out_of_order = |result| matches!(result, Err(GpuError::OutOfOrder { .. }));
        assert!(out_of_order(device.scrub().map(drop)));
        assert!(out_of_order(device.plant().map(drop)));
        device.zeroise().unwrap();
        assert!(out_of_order(device.plant().map(drop)));
        device.scrub().unwrap();
        device.plant().unwrap();
        assert!(out_of_order(device.plant().map(drop)));
        assert!(out_of_order(device.scrub().map(drop)));
    });
}

#[test]
fn rst_3_scrub_leaves_no_byte_of_a_loaded_model() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[1_000_000]);
        clean(device);
        model.load(device).unwrap();
        assert!(matches!(device.verify_zero(), Err(GpuError::NotZero { .. })));
        device.zeroise().unwrap();
        let scrubbed = device.scrub().unwrap();
        assert!(scrubbed.bytes >= 1_000_000);
        assert_eq!(device.verify_zero().unwrap(), scrubbed_without_mark(scrubbed));
        device.plant().unwrap();
        let computed = device.compute(&slice("size-1000000-0", 0..1), &[0; 32]);
        assert!(matches!(computed, Err(GpuError::NoModel)));
    });
}

/// `verify_zero` leaves out the mark's slot, which is not zero in a clean incarnation.
fn scrubbed_without_mark(scrubbed: split_custody_gpu::Scrubbed) -> split_custody_gpu::Scrubbed {
    let bytes = scrubbed.bytes - split_custody_gpu::sim::KEY_BYTES_MAX as u64;
    split_custody_gpu::Scrubbed { bytes }
}

#[test]
fn rst_4_each_scrub_begins_another_incarnation() {
    on_every_backend(|device, _| {
        let (first, second) = (clean(device), clean(device));
        assert_ne!(first, second);
    });
}

#[test]
fn rst_5_every_tensor_is_proven_equal_without_reading_back() {
    on_every_backend(|device, owner| {
        let model = Model::of_sizes(&[0, 1, 15, 16, 17, 255, 256, 257, 16_383, 16_384, 16_385, 0]);
        let incarnation = clean(device);
        assert_eq!(model.load(device).unwrap(), model.tensors());
        let request = owner.sign(&incarnation);
        assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn rst_5_tensors_of_any_sizes_are_proven_equal(
        sizes in prop::collection::vec(0..70_000u64, 0..12)
    ) {
        let (owner, model) = (Owner::new(), Model::of_sizes(&sizes));
        let device = sim(&owner);
        let request = owner.sign(&clean(&device));
        prop_assert_eq!(model.load(&device).unwrap(), model.tensors());
        prop_assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
    }
}

#[test]
fn rst_5_the_real_model_is_proven_equal_without_reading_back() {
    on_every_backend(|device, owner| {
        let model = Model::real();
        let incarnation = clean(device);
        assert_eq!(model.load(device).unwrap(), model.tensors());
        let request = owner.sign(&incarnation);
        assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
    });
}

/// Longer than the staging ring of a small GPU, so that its slots are used again.
#[test]
fn rst_5_a_model_longer_than_the_ring_is_proven_equal() {
    on_every_backend(|device, owner| {
        let model = Model::of_sizes(&[5_000_001, 70_000]);
        let incarnation = clean(device);
        assert_eq!(model.load(device).unwrap(), model.tensors());
        let request = owner.sign(&incarnation);
        assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
    });
}

#[test]
fn rst_5_a_proof_that_the_owner_did_not_ask_for_is_refused() {
    on_every_backend(|device, owner| {
        let model = Model::of_sizes(&[64]);
        let incarnation = clean(device);
        model.load(device).unwrap();
        let of_a_stranger = Owner::new().sign(&incarnation);
        assert!(matches!(device.prove(&of_a_stranger), Err(GpuError::BadSignature)));
        let mut changed = owner.sign(&incarnation);
        changed.nonce[0] ^= 1;
        assert!(matches!(device.prove(&changed), Err(GpuError::BadSignature)));
    });
}

#[test]
fn rst_5_a_proof_asked_of_an_earlier_incarnation_is_refused() {
    on_every_backend(|device, owner| {
        let model = Model::of_sizes(&[64]);
        let request = owner.sign(&clean(device));
        clean(device);
        model.load(device).unwrap();
        assert!(matches!(device.prove(&request), Err(GpuError::BadSignature)));
    });
}

#[test]
fn rst_5_a_use_computes_the_checksum_of_its_slice() {
    on_every_backend(|device, _| {
        let (model, key) = (Model::of_sizes(&[7, 100_001]), [9; 32]);
        clean(device);
        model.load(device).unwrap();
        let (name, bytes) = ("size-100001-1", model.bytes("size-100001-1"));
        let middle = device.compute(&slice(name, 4097..70_000), &key).unwrap();
        assert_eq!(middle, slice_checksum(&key, name, 4097, &bytes[4097..70_000]));
        let whole = device.compute(&slice(name, 0..100_001), &key).unwrap();
        assert_eq!(whole, slice_checksum(&key, name, 0, bytes));
        let nothing = device.compute(&slice(name, 100_001..100_001), &key).unwrap();
        assert_eq!(nothing, slice_checksum(&key, name, 100_001, &[]));
    });
}

#[test]
fn rst_5_a_slice_outside_its_tensor_is_refused() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[10, 10]);
        clean(device);
        model.load(device).unwrap();
        let compute = |tensor: &str, range| device.compute(&slice(tensor, range), &[0; 32]);
        let outside = |result| matches!(result, Err(GpuError::OutOfRange { .. }));
        assert!(outside(compute("size-10-0", 0..11)));
        assert!(outside(compute("size-10-0", 11..11)));
        assert!(outside(compute("size-10-0", u64::MAX - 1..u64::MAX)));
        #[expect(clippy::reversed_empty_ranges, reason = "the hostile case")]
        let reversed = compute("size-10-0", 5..4);
        assert!(outside(reversed));
        let unknown = compute("size-10-9", 0..1);
        assert!(matches!(unknown, Err(GpuError::NoSuchTensor { .. })));
    });
}

#[test]
fn rst_5_a_second_model_waits_until_the_first_is_erased() {
    on_every_backend(|device, _| {
        let (first, second) = (Model::of_sizes(&[500]), Model::of_sizes(&[900, 3]));
        clean(device);
        first.load(device).unwrap();
        assert!(matches!(second.load(device), Err(GpuError::Occupied)));
        device.erase_model().unwrap();
        assert_eq!(second.load(device).unwrap(), second.tensors());
    });
}

#[test]
fn rst_10_keys_die_with_the_incarnation() {
    on_every_backend(|device, _| {
        clean(device);
        let slot = device.store_key(&[5; 32]).unwrap();
        clean(device);
        device.verify_zero().unwrap();
        assert!(matches!(device.erase_key(slot), Err(GpuError::NoSuchKey)));
        let next = device.store_key(&[6; 32]).unwrap();
        assert_ne!(slot, next);
        device.erase_key(next).unwrap();
        device.verify_zero().unwrap();
    });
}

#[test]
fn rst_10_erased_model_leaves_zeros_and_the_incarnation_stands() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[200_000]);
        clean(device);
        let dek = device.store_key(model.dek.expose()).unwrap();
        device.erase_key(dek).unwrap();
        model.load(device).unwrap();
        assert!(device.erase_model().unwrap().bytes >= 200_000);
        model.load(device).unwrap();
    });
}

#[test]
fn seal_9_a_tampered_file_leaves_zeros() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[2_000_000, 1_000_000]);
        clean(device);
        model.tamper(1);
        let refused = model.load(device);
        assert!(matches!(refused, Err(GpuError::NotLoaded(WeightsError::Sealed { .. }))));
        assert_no_plaintext(device);
        model.tamper(1);
        assert_eq!(model.load(device).unwrap(), model.tensors());
    });
}

#[test]
fn lea_5_a_load_that_is_given_up_leaves_zeros() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[3_000_000]);
        clean(device);
        let (dek, cancel) = (device.store_key(model.dek.expose()).unwrap(), AtomicBool::new(false));
        let loaded = device.load(&Load {
            sealed: &model.sealed,
            table: &model.table,
            dek,
            threads: Threads::one(),
            cancel: &cancel,
            progress: &|_| cancel.store(true, Ordering::SeqCst),
        });
        assert!(matches!(loaded, Err(GpuError::Interrupted)), "{loaded:?}");
        assert_no_plaintext(device);
    });
}

#[test]
fn seal_9_a_wrong_dek_leaves_zeros() {
    on_every_backend(|device, _| {
        let mut model = Model::of_sizes(&[100_000]);
        model.dek = split_custody_weights::Dek::new([3; 32]);
        clean(device);
        assert!(matches!(model.load(device), Err(GpuError::NotLoaded(_))));
        assert_no_plaintext(device);
    });
}

#[test]
fn seal_9_a_missing_file_is_named() {
    on_every_backend(|device, _| {
        let model = Model::of_sizes(&[100]);
        clean(device);
        std::fs::remove_file(&model.sealed).unwrap();
        let Err(GpuError::NotLoaded(error)) = model.load(device) else {
            panic!("loaded a file that is not there");
        };
        assert!(error.to_string().contains("model.sealed.safetensors"));
        assert_no_plaintext(device);
    });
}

/// The DEK's slot is still taken; after zeroise nothing at all may be left, without a scrub.
fn assert_no_plaintext(device: &dyn GpuDevice) {
    device.zeroise().unwrap();
    device.verify_zero().unwrap();
    clean(device);
}
