//! Harm done to every field of a message: status says which rule, output is zero, neighbours live.

mod common;

use common::pattern;
use split_custody_kernels::{
    CHUNK_BYTES, ChunkError, HEADER_BYTES, InputKey, OpenTensors, STRIDE_BYTES, Salt, SealedTensor,
    seal_message,
};

/// The five lines of a backend.
macro_rules! backend {
    ($name:ident, $backend:expr) => {
        mod $name {
            #[test]
            fn seal_5_6_7_each_harm_has_its_rule_and_neighbours_live() {
                super::harms(&$backend);
            }

            #[test]
            fn seal_7_every_bit_of_a_tag_counts() {
                super::tag_bits(&$backend);
            }

            #[test]
            fn seal_7_every_block_of_a_chunk_counts() {
                super::body_places(&$backend);
            }

            #[test]
            fn seal_5_every_byte_of_a_header_counts() {
                super::header_bytes(&$backend);
            }

            #[test]
            fn seal_6_every_length_class_opens_and_no_other() {
                super::length_classes(&$backend);
            }

            #[test]
            fn seal_9_many_small_tensors_open_at_once() {
                super::many_tensors(&$backend);
            }
        }
    };
}

backend!(portable, split_custody_kernels::Portable);
backend!(shim, split_custody_kernels::shim::shim());
#[cfg(feature = "gpu-tests")]
backend!(cuda, crate::common::gpu());
backend!(shim_one_table, split_custody_kernels::shim::shim_one_table());
backend!(
    shim_two_warps,
    split_custody_kernels::device::DeviceBackend::with_mapping(
        split_custody_kernels::shim::Shim::FOUR,
        split_custody_kernels::device::Mapping::TwoWarps
    )
);
backend!(
    shim_four_warps,
    split_custody_kernels::device::DeviceBackend::with_mapping(
        split_custody_kernels::shim::Shim::ONE,
        split_custody_kernels::device::Mapping::FourWarps
    )
);

backend!(
    shim_tensor_cores,
    split_custody_kernels::device::DeviceBackend::with_mapping(
        split_custody_kernels::shim::Shim::FOUR,
        split_custody_kernels::device::Mapping::TensorCores
    )
);

const KEY: [u8; 32] = [0x42; 32];

/// A message with the harm that a test wants to do to it.
struct Message {
    context: Vec<u8>,
    header: [u8; HEADER_BYTES],
    sealed: Vec<u8>,
    plain: Vec<u8>,
}

impl Message {
    fn new(number: u8, size: usize) -> Self {
        let plain: Vec<u8> = pattern(size + usize::from(number))[usize::from(number)..].to_vec();
        let context = vec![number; 40];
        let sealed = seal_message(
            &split_custody_kernels::Portable,
            &InputKey::new(KEY),
            &Salt([number; 24]),
            &context,
            &plain,
        )
        .expect("far below the bound");
        let (header, sealed) = sealed.split_first_chunk().expect("longer than its header");
        Self { context, header: *header, sealed: sealed.to_vec(), plain }
    }

    fn harmed(mut self, harm: impl FnOnce(&mut Self)) -> Self {
        harm(&mut self);
        self
    }
}

/// Opens all at once into memory that is not zero; the plaintext of each, or why not.
fn open_all<B: OpenTensors>(
    backend: &B,
    key: &[u8; 32],
    messages: &[Message],
) -> Vec<Result<Vec<u8>, ChunkError>> {
    let mut outs: Vec<Vec<u8>> = messages.iter().map(|m| vec![0xEE; m.plain.len()]).collect();
    let mut tensors: Vec<_> = messages
        .iter()
        .zip(&mut outs)
        .map(|(m, plain)| SealedTensor {
            context: &m.context,
            header: &m.header,
            sealed: &m.sealed,
            plain,
        })
        .collect();
    let verdicts = backend.open_tensors(&InputKey::new(*key), &mut tensors);
    assert_eq!(verdicts.len(), messages.len());
    let results = verdicts.into_iter().zip(outs);
    results
        .map(|(verdict, out)| match verdict {
            Ok(()) => Ok(out),
            Err(error) => {
                assert!(out.iter().all(|byte| *byte == 0), "{error}: the output is not zero");
                Err(error)
            }
        })
        .collect()
}

fn open_one<B: OpenTensors>(backend: &B, message: Message) -> Result<Vec<u8>, ChunkError> {
    open_all(backend, &KEY, &[message]).remove(0)
}

fn harms<B: OpenTensors>(backend: &B) {
    let size = 2 * CHUNK_BYTES + 100;
    let tampered = |index| Err(ChunkError::ChunkTampered { index });
    let cases: Vec<(&str, Message, Result<(), ChunkError>)> = vec![
        ("whole", Message::new(1, size), Ok(())),
        (
            "context",
            Message::new(2, size).harmed(|m| m.context[3] ^= 1),
            Err(ChunkError::CommitmentMismatch),
        ),
        (
            "longer context",
            Message::new(3, size).harmed(|m| m.context.push(0)),
            Err(ChunkError::CommitmentMismatch),
        ),
        (
            "salt",
            Message::new(4, size).harmed(|m| m.header[23] ^= 0x80),
            Err(ChunkError::CommitmentMismatch),
        ),
        (
            "commitment",
            Message::new(5, size).harmed(|m| m.header[55] ^= 1),
            Err(ChunkError::CommitmentMismatch),
        ),
        ("neighbour of the harmed", Message::new(6, 5), Ok(())),
        ("first chunk", Message::new(7, size).harmed(|m| m.sealed[0] ^= 1), tampered(0)),
        (
            "second chunk",
            Message::new(8, size).harmed(|m| m.sealed[STRIDE_BYTES + 7] ^= 1),
            tampered(1),
        ),
        (
            "tag of the first",
            Message::new(9, size).harmed(|m| m.sealed[CHUNK_BYTES] ^= 1),
            tampered(0),
        ),
        (
            "last byte",
            Message::new(10, size).harmed(|m| *m.sealed.last_mut().unwrap() ^= 1),
            tampered(2),
        ),
        ("empty", Message::new(11, 0), Ok(())),
        ("empty, tag", Message::new(12, 0).harmed(|m| m.sealed[5] ^= 1), tampered(0)),
        (
            "chunks exchanged",
            Message::new(13, size).harmed(|m| {
                let (one, other) = m.sealed.split_at_mut(STRIDE_BYTES);
                one.swap_with_slice(&mut other[..STRIDE_BYTES]);
            }),
            tampered(0),
        ),
        (
            "chunk repeated",
            Message::new(14, size).harmed(|m| m.sealed.copy_within(..STRIDE_BYTES, STRIDE_BYTES)),
            tampered(1),
        ),
        (
            "cut by a byte",
            Message::new(15, size).harmed(|m| {
                m.sealed.pop();
                m.plain.pop();
            }),
            tampered(2),
        ),
        (
            "cut by its last chunk",
            Message::new(16, size).harmed(|m| m.sealed.truncate(2 * STRIDE_BYTES)),
            Err(ChunkError::BadLength),
        ),
        (
            "cut into its last tag",
            Message::new(17, size).harmed(|m| m.sealed.truncate(2 * STRIDE_BYTES + 15)),
            Err(ChunkError::BadLength),
        ),
        (
            "a byte more",
            Message::new(18, size).harmed(|m| {
                m.sealed.push(0);
                m.plain.push(0);
            }),
            tampered(2),
        ),
        (
            "no bytes at all",
            Message::new(19, size).harmed(|m| m.sealed.clear()),
            Err(ChunkError::BadLength),
        ),
        ("whole, the last of many", Message::new(20, size), Ok(())),
    ];
    let (names, rest): (Vec<_>, Vec<_>) = cases.into_iter().map(|(n, m, e)| (n, (m, e))).unzip();
    let (messages, expected): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
    let results = open_all(backend, &KEY, &messages);
    for (((name, result), message), expected) in
        names.iter().zip(results).zip(&messages).zip(expected)
    {
        match expected {
            Ok(()) => assert!(result.as_ref() == Ok(&message.plain), "{name}"),
            Err(error) => assert_eq!(result, Err(error), "{name}"),
        }
    }
    // Another key harms every one that has a length.
    for result in open_all(backend, &[0x43; 32], &messages) {
        assert!(matches!(result, Err(ChunkError::CommitmentMismatch | ChunkError::BadLength)));
    }
}

fn tag_bits<B: OpenTensors>(backend: &B) {
    let flipped =
        |bit: usize| Message::new(1, 33).harmed(|m| m.sealed[33 + bit / 8] ^= 1 << (bit % 8));
    let messages: Vec<_> = (0..128).map(flipped).collect();
    for (bit, result) in open_all(backend, &KEY, &messages).into_iter().enumerate() {
        assert_eq!(result, Err(ChunkError::ChunkTampered { index: 0 }), "bit {bit}");
    }
}

fn body_places<B: OpenTensors>(backend: &B) {
    // One bit in every 11th block, so that every lane and every step of it comes up.
    let size = CHUNK_BYTES + 1;
    let flipped = |at: usize| Message::new(1, size).harmed(|m| m.sealed[at] ^= 1 << (at % 8));
    let places: Vec<usize> = (0..CHUNK_BYTES).step_by(11 * 16 + 1).collect();
    let messages: Vec<_> = places.iter().map(|at| flipped(*at)).collect();
    for (at, result) in places.iter().zip(open_all(backend, &KEY, &messages)) {
        assert_eq!(result, Err(ChunkError::ChunkTampered { index: 0 }), "byte {at}");
    }
}

fn header_bytes<B: OpenTensors>(backend: &B) {
    let flipped = |at: usize| Message::new(1, 20).harmed(|m| m.header[at] ^= 1 << (at % 8));
    let messages: Vec<_> = (0..HEADER_BYTES).map(flipped).collect();
    for (at, result) in open_all(backend, &KEY, &messages).into_iter().enumerate() {
        assert_eq!(result, Err(ChunkError::CommitmentMismatch), "byte {at}");
    }
}

fn length_classes<B: OpenTensors>(backend: &B) {
    // Both sides of a block, of a warp's step (512 bytes), of two and four warps' and of a chunk.
    let edges = [
        0,
        16,
        32,
        512,
        1024,
        2048,
        4096,
        15_872,
        CHUNK_BYTES,
        CHUNK_BYTES + 16,
        2 * CHUNK_BYTES,
        17 * CHUNK_BYTES,
    ];
    for edge in edges {
        for size in edge.saturating_sub(1)..=edge + 1 {
            let message = Message::new(3, size);
            let plain = message.plain.clone();
            assert!(open_one(backend, message) == Ok(plain), "size {size}");
            let cut = Message::new(3, size).harmed(|m| {
                m.sealed.pop();
                m.plain.pop();
            });
            assert!(open_one(backend, cut).is_err(), "size {size}, cut by one");
            let longer = Message::new(3, size).harmed(|m| m.plain.push(0));
            assert_eq!(open_one(backend, longer), Err(ChunkError::BadLength), "size {size}");
        }
    }
}

fn many_tensors<B: OpenTensors>(backend: &B) {
    let messages: Vec<_> = (0..120u8).map(|i| Message::new(i, usize::from(i) * 37)).collect();
    for (message, result) in messages.iter().zip(open_all(backend, &KEY, &messages)) {
        assert!(result.as_ref() == Ok(&message.plain), "{} bytes", message.plain.len());
    }
}
