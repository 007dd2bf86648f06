//! What only a device has: marks, the trap, the sizes of structs; and that the shim notices harm.

mod common;

use split_custody_kernels::device::{DeviceError, Driver, Launch};
use split_custody_kernels::operations::{OperationError, Operations};
use split_custody_kernels::shim::{Shim, shim, shim_one_table};
use split_custody_kernels::{
    ChunkError, InputKey, OpenTensors, Salt, SealedTensor, open_message, seal_message,
};

#[test]
fn rst_5_a_lost_mark_opens_nothing_and_computes_nothing() {
    let mut device = shim();
    let (key, plain) = (InputKey::new([1; 32]), common::pattern(40_000));
    let message = seal_message(&device, &key, &Salt([2; 24]), b"ctx", &plain).unwrap();
    device.plant_mark([7; 32]).unwrap();
    assert!(*open_message(&device, &key, b"ctx", &message).unwrap() == plain);
    let mac = device.hmac_sha256(b"key", b"prefix", &plain);
    assert_eq!(mac, split_custody_kernels::Portable.hmac_sha256(b"key", b"prefix", &plain));

    device.insecure_lose_mark().unwrap();
    let refused = open_message(&device, &key, b"ctx", &message);
    assert_eq!(refused, Err(ChunkError::MarkMismatch));
    let refused = device.hmac_sha256(b"key", b"prefix", &plain);
    assert_eq!(refused, Err(OperationError::MarkMismatch));

    let (header, sealed) = message.split_first_chunk().unwrap();
    let mut out = vec![0xEE; plain.len()];
    let mut tensors = [SealedTensor { context: b"ctx", header, sealed, plain: &mut out }];
    assert_eq!(device.open_tensors(&key, &mut tensors), [Err(ChunkError::MarkMismatch)]);
    assert!(out.iter().all(|byte| *byte == 0));
}

#[test]
fn rst_3_trap_fails_the_launch() {
    let refused = shim().trap();
    let reason = "trap".to_string();
    assert_eq!(refused, Err(DeviceError::Kernel { kernel: "sc_trap", reason }));
}

#[test]
fn sizes_of_structs_are_those_of_the_compiler() {
    assert_eq!(Shim::FOUR.sizes_that_differ(), Vec::<String>::new());
    assert_eq!(Shim::ONE.sizes_that_differ(), Vec::<String>::new());
}

#[test]
fn launches_that_do_not_fit_a_kernel_are_refused() {
    let launch = Launch { kernel: "sc_settle", blocks: 1, threads: 256, shared: 1024 };
    let why = |launch: &Launch, args: &[u8]| match Shim::FOUR.launch(launch, args) {
        Err(DeviceError::Kernel { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&launch, &[0; 8]), "the kernel's arguments have another size");
    assert_eq!(why(&Launch { kernel: "sc_none", ..launch }, &[0; 16]), "no such kernel");
    let wide = Launch { threads: 512, ..launch };
    assert_eq!(why(&wide, &[0; 16]), "more threads than the kernel's bound");
    let big = Launch { shared: 300 << 10, ..launch };
    assert_eq!(why(&big, &[0; 16]), "the launch has a shape that no GPU has");
}

#[test]
fn copies_that_do_not_fit_their_memory_are_refused() {
    let mut memory = Shim::FOUR.allocate(10).unwrap();
    let refused = Err(DeviceError::OutOfBounds { bytes: 11, room: 10 });
    assert_eq!(Shim::FOUR.write(&mut memory, &[0; 11]), refused);
    assert_eq!(Shim::FOUR.read(&memory, &mut [0; 11]), refused);
}

/// What a GPU gives, launch after launch: healthy, no sample a copy of its neighbour's, not the same
/// again, and far above the claim of half a bit by the estimates of SP 800-90B sections 6.3.1 and 6.3.3.
#[cfg(feature = "gpu-tests")]
mod cuda {
    use std::collections::BTreeMap;

    use split_custody_kernels::operations::Operations;

    /// Bits for each sample, when the likeliest guess is right so often.
    fn bits(right: usize, of: usize) -> f64 {
        -(right as f64 / of as f64).log2()
    }

    fn most_common(bytes: impl Iterator<Item = u64>) -> usize {
        let mut counts = BTreeMap::new();
        bytes.for_each(|byte| *counts.entry(byte).or_insert(0) += 1);
        counts.into_values().max().unwrap_or(0)
    }

    #[test]
    fn rst_4_jitter_of_the_gpu_is_worth_ten_times_its_claim() {
        let gpu = crate::common::gpu();
        let launches: Vec<Vec<u32>> = (0..8).map(|_| gpu.collect_entropy(8192).unwrap()).collect();
        let low = |launch: &[u32]| launch.iter().map(|s| u64::from(s & 255)).collect::<Vec<_>>();
        let all: Vec<u64> = launches.iter().flat_map(|launch| low(launch)).collect();
        let common = bits(most_common(all.iter().copied()), all.len());
        // After each value, the likeliest next one.
        let mut after = BTreeMap::<u64, Vec<u64>>::new();
        all.windows(2).for_each(|pair| after.entry(pair[0]).or_default().push(pair[1]));
        let guessed = after.values().map(|next| most_common(next.iter().copied())).sum();
        let markov = bits(guessed, all.len() - 1);
        let pairs = launches.windows(2).flat_map(|two| two[0].iter().zip(&two[1]));
        let again = bits(pairs.filter(|(one, other)| one == other).count(), 7 * 8192);
        println!(
            "bits per sample: {common:.2} most common, {markov:.2} Markov, {again:.2} restarts"
        );
        assert!(common >= 5.0 && markov >= 4.0 && again >= 4.0);
        for launch in &launches {
            assert!(gpu.condition_entropy(launch, &[0; 32]).is_ok());
            let equal = launch.windows(2).filter(|pair| pair[0] == pair[1]).count();
            assert!(equal < launch.len() / 8, "{equal} of {} are copies", launch.len());
        }
    }
}

#[test]
fn rst_4_collected_jitter_of_the_shim_passes_the_health_tests() {
    // The shim's clock is a sequence that looks like jitter: this shows the path, not the source.
    let samples = shim().collect_entropy(8192).unwrap();
    assert_eq!(samples.len(), 8192);
    assert!(shim().condition_entropy(&samples, &[0; 32]).is_ok());
    assert!(shim_one_table().condition_entropy(&samples[..8000], &[0; 32]).is_err());
}
