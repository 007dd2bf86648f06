//! Stories of the simulated device alone: tampering, the bus window, memory limits.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use common::{MIB, Model, Owner, clean, sim};
use split_custody_gpu::sim::{
    Answer, Bus, HostPort, HostRead, KEY_BYTES_MAX, KEY_SLOTS, OnHostRead, SimConfig, SimDevice,
    Window,
};
use split_custody_gpu::{GpuDevice, GpuError, Load, TensorSlice};
use split_custody_weights::Threads;

fn first_bytes(tensor: &str) -> TensorSlice {
    TensorSlice { tensor: tensor.into(), range: 0..8 }
}

#[test]
fn rst_2_a_host_read_under_reset_is_refused_and_traps_first() {
    let (model, device) = (Model::of_sizes(&[4096]), sim(&Owner::new()));
    clean(&device);
    let (told, hears) = mpsc::channel();
    let path = model.folder().join("bus");
    let on_read = move |read| told.send(read).unwrap();
    let window =
        Window::open(&path, Box::new(device.resettable()), OnHostRead::Reset, on_read).unwrap();
    let answer = HostPort::connect(&path).unwrap().read(64, 4096).unwrap();
    assert_eq!(answer, Answer::Refused);
    let expected = HostRead { offset: 64, length: 4096 };
    assert_eq!(hears.try_recv(), Ok(expected), "told before the host was answered");
    assert_eq!(window.refused(), 1);
}

#[test]
fn rst_8_a_host_read_under_block_is_refused_and_nothing_happens() {
    let owner = Owner::new();
    let (model, device) = (Model::of_sizes(&[4096]), sim(&owner));
    let incarnation = clean(&device);
    model.load(&device).unwrap();
    let path = model.folder().join("bus");
    let on_read = |_| panic!("under Block nobody is told");
    let window =
        Window::open(&path, Box::new(device.resettable()), OnHostRead::Block, on_read).unwrap();
    let mut host = HostPort::connect(&path).unwrap();
    assert_eq!(host.read(0, u32::MAX).unwrap(), Answer::Refused);
    assert_eq!(host.read(u64::MAX, 0).unwrap(), Answer::Refused);
    assert_eq!(window.refused(), 2);
    assert_eq!(device.incarnation().unwrap(), incarnation);
    let request = owner.sign(&incarnation);
    assert_eq!(device.prove(&request).unwrap(), model.proofs(&request.nonce));
}

#[test]
fn rst_2_a_reset_behind_the_drivers_back_is_tamper_at_the_next_use() {
    let (model, device) = (Model::of_sizes(&[4096]), sim(&Owner::new()));
    let before = clean(&device);
    model.load(&device).unwrap();
    let path = model.folder().join("bus");
    let on_read = |_| panic!("no read was made");
    let _window =
        Window::open(&path, Box::new(device.resettable()), OnHostRead::Reset, on_read).unwrap();
    let answer = HostPort::connect(&path).unwrap().reset().unwrap();
    assert_eq!(answer, Answer::Reset);
    device.verify_zero().expect("a reset loses memory");
    let used = device.compute(&first_bytes("size-4096-0"), &[0; 32]);
    assert!(matches!(used, Err(GpuError::Tamper)));
    let again = device.compute(&first_bytes("size-4096-0"), &[0; 32]);
    assert!(matches!(again, Err(GpuError::Tainted)), "refused until scrubbed");
    assert_ne!(clean(&device), before);
    model.load(&device).unwrap();
}

#[test]
fn rst_5_a_reset_is_noticed_by_the_next_load_and_the_next_proof() {
    let owner = Owner::new();
    let (model, device) = (Model::of_sizes(&[4096]), sim(&owner));
    clean(&device);
    device.resettable().reset();
    assert!(matches!(model.load(&device), Err(GpuError::Tamper)));
    let incarnation = clean(&device);
    model.load(&device).unwrap();
    device.resettable().reset();
    let proven = device.prove(&owner.sign(&incarnation));
    assert!(matches!(proven, Err(GpuError::Tamper)));
}

#[test]
fn rst_5_a_key_lost_in_a_reset_is_never_handed_out_as_zeros() {
    let device = sim(&Owner::new());
    clean(&device);
    let slot = device.store_key(&[5; 32]).unwrap();
    assert_eq!(device.with_key(slot, <[u8]>::to_vec).unwrap(), [5; 32]);
    device.resettable().reset();
    assert!(matches!(device.with_key(slot, <[u8]>::to_vec), Err(GpuError::Tamper)));
}

#[test]
fn rst_3_zeroise_stops_a_load_that_is_running_and_leaves_zeros() {
    let model = Model::of_sizes(&[32 * MIB]);
    let device = sim(&Owner::new());
    clean(&device);
    let dek = device.store_key(model.dek.expose()).unwrap();
    let (started, waits) = mpsc::channel();
    let seen = AtomicBool::new(false);
    let loaded = std::thread::scope(|scope| {
        let loading = scope.spawn(|| {
            let progress = |_| {
                if !seen.swap(true, Ordering::SeqCst) {
                    started.send(()).unwrap();
                }
            };
            device.load(&Load {
                sealed: &model.sealed,
                table: &model.table,
                dek,
                threads: Threads::one(),
                cancel: &AtomicBool::new(false),
                progress: &progress,
            })
        });
        waits.recv().unwrap();
        device.zeroise().unwrap();
        device.verify_zero().expect("zeroise returns after the load has ended");
        loading.join().unwrap()
    });
    assert!(matches!(loaded, Err(GpuError::Interrupted | GpuError::Tainted)));
    clean(&device);
    model.load(&device).unwrap();
}

#[test]
fn rst_10_keys_outside_device_memory_are_erased_through_their_hook() {
    let device = sim(&Owner::new());
    let erased = Arc::new(AtomicBool::new(false));
    let hook = erased.clone();
    device.on_zeroise(move || hook.store(true, Ordering::SeqCst));
    device.zeroise().unwrap();
    assert!(erased.load(Ordering::SeqCst));
}

#[test]
fn rst_5_a_panic_while_loading_leaves_zeros() {
    let model = Model::of_sizes(&[MIB]);
    let device = sim(&Owner::new());
    clean(&device);
    let dek = device.store_key(model.dek.expose()).unwrap();
    let cancel = AtomicBool::new(false);
    let panicked = std::thread::scope(|scope| {
        let load = Load {
            sealed: &model.sealed,
            table: &model.table,
            dek,
            threads: Threads::one(),
            cancel: &cancel,
            progress: &|_| panic!("a caller's progress bar broke"),
        };
        let device = &device;
        scope.spawn(move || device.load(&load).map(drop)).join().is_err()
    });
    assert!(panicked);
    device.erase_key(dek).unwrap();
    device.verify_zero().unwrap();
    model.load(&device).unwrap();
}

#[test]
fn rst_2_a_request_that_is_none_ends_its_connection_only() {
    let (model, device) = (Model::of_sizes(&[1]), sim(&Owner::new()));
    let path = model.folder().join("bus");
    let on_read = |_| panic!("no read was made");
    let window =
        Window::open(&path, Box::new(device.resettable()), OnHostRead::Reset, on_read).unwrap();
    let mut host = UnixStream::connect(&path).unwrap();
    host.write_all(&[7; 13]).unwrap();
    let mut answer = Vec::new();
    host.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [3], "malformed, then closed");
    assert_eq!(window.refused(), 0);
    let answer = HostPort::connect(&path).unwrap().reset().unwrap();
    assert_eq!(answer, Answer::Reset);
    drop(window);
    assert!(!path.exists());
}

#[test]
fn rst_2_connections_beyond_the_cap_are_closed() {
    let (model, device) = (Model::of_sizes(&[1]), sim(&Owner::new()));
    let path = model.folder().join("bus");
    let _window =
        Window::open(&path, Box::new(device.resettable()), OnHostRead::Block, |_| {}).unwrap();
    let mut hosts: Vec<_> = (0..16).map(|_| HostPort::connect(&path).unwrap()).collect();
    assert!(hosts.iter_mut().all(|host| host.read(0, 1).is_ok()));
    let mut one_more = HostPort::connect(&path).unwrap();
    assert!(one_more.read(0, 1).is_err());
    hosts[0].read(0, 1).expect("the others stay");
}

#[test]
fn rst_5_a_model_above_the_limit_is_refused_and_one_below_makes_memory_grow() {
    let (big, small) = (Model::of_sizes(&[3 * MIB]), Model::of_sizes(&[2 * MIB]));
    let config = SimConfig { reserve: 0, limit: 2 * MIB, owner: Owner::new().key() };
    let device = SimDevice::new(config).unwrap();
    clean(&device);
    let refused = big.load(&device);
    assert!(matches!(refused, Err(GpuError::OutOfMemory { limit: 0x20_0000, .. })));
    assert_eq!(small.load(&device).unwrap(), small.tensors());
}

#[test]
fn rst_5_slots_take_keys_up_to_their_length_and_number() {
    let device = sim(&Owner::new());
    clean(&device);
    let length = |key: &[u8]| matches!(device.store_key(key), Err(GpuError::KeyLength { .. }));
    assert!(length(&[]));
    assert!(length(&[1; KEY_BYTES_MAX + 1]));
    let slots: Vec<_> = (0..KEY_SLOTS).map(|_| device.store_key(&[1; KEY_BYTES_MAX])).collect();
    assert!(matches!(device.store_key(&[1]), Err(GpuError::SlotsFull)));
    let last = *slots.last().unwrap().as_ref().unwrap();
    device.erase_key(last).unwrap();
    let again = device.store_key(&[2; 3]).unwrap();
    assert_ne!(last, again);
    assert_eq!(device.with_key(again, <[u8]>::to_vec).unwrap(), [2; 3]);
}
