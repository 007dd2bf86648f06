//! Cobblestone-256: one test body per operation, run over every backend.

mod common;

use ring::digest::{SHA512, digest};
use serde::Deserialize;

use split_custody_kernels::hazmat::RawMode;
use split_custody_kernels::{
    CHUNK_BYTES, ChunkError, HEADER_BYTES, InputKey, Layout, Opener, STRIDE_BYTES, Salt, Tag,
    open_message, seal_message,
};

use common::{hex, inflate, load, pattern, unhex};

/// The five lines of a backend.
macro_rules! backend {
    ($name:ident, $backend:expr) => {
        mod $name {
            #[test]
            fn seal_7_wycheproof_chunked() {
                super::chunked_vectors(&$backend);
            }

            #[test]
            fn seal_7_wycheproof_aes_gcm() {
                super::gcm_vectors(&$backend);
            }

            #[test]
            fn seal_7_every_boundary_round_trips() {
                super::boundaries(&$backend);
            }

            #[test]
            fn seal_7_failure_zeroes_the_output() {
                super::failure_zeroes(&$backend);
            }

            #[test]
            fn seal_7_random_access() {
                super::random_access(&$backend);
            }
        }
    };
}

backend!(portable, split_custody_kernels::Portable);
backend!(shim, split_custody_kernels::shim::shim());
#[cfg(feature = "gpu-tests")]
backend!(cuda, crate::common::gpu());
backend!(shim_one_table, split_custody_kernels::shim::shim_one_table());

/// Every vector, whole and by its final chunk, with the outcome that its flags ask for.
fn chunked_vectors<B: RawMode>(backend: &B) {
    let file: VectorFile<ChunkedCase> = load("c2sp_chunked_encryption_aes_256_gcm_test.json");
    let cases: Vec<_> = file.test_groups.into_iter().flat_map(|g| g.tests).collect();
    assert_eq!(cases.len(), file.number_of_tests);
    for case in &cases {
        let at = format!("{} case {} ({})", backend.name(), case.id, case.comment);
        let Ok(key) = <[u8; 32]>::try_from(unhex(&case.key)) else {
            assert!(case.has("InvalidKeySize"), "{at}");
            continue;
        };
        let (key, ctx, message) = (InputKey::new(key), unhex(&case.ctx), inflate(&unhex(&case.ct)));
        match open_message(backend, &key, &ctx, &message) {
            Ok(plain) => {
                assert_eq!(case.result, "valid", "{at}");
                assert_eq!(Some(plain.len()), case.msg_length, "{at}");
                assert_eq!(Some(hex(digest(&SHA512, &plain).as_ref())), case.msg_sha512, "{at}");
                let salt = Salt(message[..24].try_into().expect("a valid message has a salt"));
                assert_eq!(
                    seal_message(backend, &key, &salt, &ctx, &plain).as_ref(),
                    Ok(&message),
                    "{at}"
                );
                raw_opens(backend, case, &message, &plain);
            }
            Err(error) => {
                assert_eq!(case.result, "invalid", "{at}");
                assert_eq!(error, case.expected(&message), "{at}");
            }
        }
        assert_eq!(
            final_chunk_opens(backend, &key, &ctx, &message),
            case.final_chunk_is_good(),
            "{at}"
        );
    }
}

fn raw_opens<B: RawMode>(backend: &B, case: &ChunkedCase, message: &[u8], expected: &[u8]) {
    let key = unhex(case.aead_key.as_ref().expect("a valid case names its key"));
    let nonce = unhex(case.base_nonce.as_ref().expect("a valid case names its nonce"));
    let schedule = backend
        .raw_schedule(&key.try_into().expect("32 bytes"), nonce.try_into().expect("12 bytes"));
    let mut plain = vec![0; expected.len()];
    backend
        .open_chunks(&schedule, 0, &message[HEADER_BYTES..], &mut plain)
        .expect("a valid case opens");
    assert_eq!(plain, expected);
}

fn final_chunk_opens<B: RawMode>(backend: &B, key: &InputKey, ctx: &[u8], message: &[u8]) -> bool {
    let Ok(layout) = Layout::of_ciphertext(message.len() as u64) else {
        return false;
    };
    let header = message.first_chunk().expect("the length class has a header");
    let Ok(opener) = Opener::new(backend, key, ctx, layout, header) else {
        return false;
    };
    let run = layout.chunks() - 1..layout.chunks();
    let sealed = layout.ciphertext_range(&run);
    let plain = layout.plaintext_range(&run);
    let mut plain = vec![0; (plain.end - plain.start) as usize];
    opener.open_run(run, &message[sealed.start as usize..sealed.end as usize], &mut plain).is_ok()
}

fn gcm_vectors<B: RawMode>(backend: &B) {
    let file: VectorFile<GcmCase> = load("aes_gcm_test.json");
    let groups =
        file.test_groups.into_iter().filter(|g| (g.key_size, g.iv_size) == (Some(256), Some(96)));
    let cases: Vec<_> = groups.flat_map(|g| g.tests).filter(|c| c.aad.is_empty()).collect();
    assert!(cases.len() > 10, "the file has cases of this shape");
    for case in &cases {
        let at = format!("{} case {}", backend.name(), case.id);
        let key = unhex(&case.key).try_into().expect("32 bytes");
        let schedule = backend.raw_schedule(&key, unhex(&case.iv).try_into().expect("12 bytes"));
        let (plain, sealed) = (unhex(&case.msg), [unhex(&case.ct), unhex(&case.tag)].concat());
        let mut opened = vec![0xAA; plain.len()];
        let result = backend.open_chunks(&schedule, 0, &sealed, &mut opened);
        if case.result == "valid" {
            assert_eq!((result, &opened), (Ok(()), &plain), "{at}");
            let mut again = vec![0; sealed.len()];
            backend.seal_chunks(&schedule, 0, &plain, &mut again).expect("the shapes fit");
            assert_eq!(again, sealed, "{at}");
        } else {
            assert_eq!(result, Err(ChunkError::ChunkTampered { index: 0 }), "{at}");
            assert!(opened.iter().all(|b| *b == 0), "{at}");
        }
    }
}

fn boundaries<B: RawMode>(backend: &B) {
    let sizes =
        [0, 1, 15, 16, 16_383, 16_384, 16_385, 32_767, 32_768, 32_769, 3 * 16_384, 3 * 16_384 + 7];
    for size in sizes {
        let (key, salt, plain) = (InputKey::new([3; 32]), Salt([9; 24]), pattern(size));
        let message =
            seal_message(backend, &key, &salt, b"ctx", &plain).expect("far below the bound");
        assert_eq!(
            message.len(),
            HEADER_BYTES + size + (size / CHUNK_BYTES + 1) * 16,
            "size {size}"
        );
        let opened = open_message(backend, &key, b"ctx", &message).expect("it was just sealed");
        assert!(*opened == plain, "size {size}");
        in_place_agrees(backend, &message, &plain);
        let cut = open_message(backend, &key, b"ctx", &message[..message.len() - 1]);
        assert!(cut.is_err(), "size {size}, cut by one");
    }
}

fn in_place_agrees<B: RawMode>(backend: &B, message: &[u8], plain: &[u8]) {
    let derived = backend.derive(&InputKey::new([3; 32]), &Salt([9; 24]), b"ctx");
    let (mut chunks, mut tags, mut strided) = (Vec::new(), Vec::new(), Vec::new());
    for sealed in message[HEADER_BYTES..].chunks(STRIDE_BYTES) {
        let (body, tag) = sealed.split_last_chunk().expect("every chunk has a tag");
        chunks.extend_from_slice(body);
        tags.push(Tag(*tag));
    }
    backend
        .open_chunks_in_place(&derived.schedule, 0, &tags, &mut chunks)
        .expect("it was just sealed");
    assert!(chunks == plain);
    let mut rest = plain;
    for _ in &tags {
        let (body, after) = rest.split_at(rest.len().min(CHUNK_BYTES));
        strided.extend_from_slice(body);
        strided.extend_from_slice(&[0; 16]);
        rest = after;
    }
    backend.seal_chunks_in_place(&derived.schedule, 0, &mut strided).expect("the shape fits");
    assert!(strided == message[HEADER_BYTES..]);
}

fn failure_zeroes<B: RawMode>(backend: &B) {
    let (key, size) = (InputKey::new([3; 32]), 3 * CHUNK_BYTES + 7);
    let mut message =
        seal_message(backend, &key, &Salt([9; 24]), b"", &pattern(size)).expect("small");
    let last = message.len() - 1;
    message[last] ^= 1;
    let layout = Layout::of_ciphertext(message.len() as u64).expect("a message has this length");
    let (header, sealed) = message.split_first_chunk().expect("longer than its header");
    let opener = Opener::new(backend, &key, b"", layout, header).expect("the header is untouched");
    let mut plain = vec![0xAA; size];
    let result = opener.open_run(0..4, sealed, &mut plain);
    assert_eq!(result, Err(ChunkError::ChunkTampered { index: 3 }));
    assert!(plain.iter().all(|b| *b == 0));
    let mut plain = vec![0xAA; size - 1];
    assert_eq!(opener.open_run(0..4, sealed, &mut plain), Err(ChunkError::BadLength));
    assert!(plain.iter().all(|b| *b == 0));
}

fn random_access<B: RawMode>(backend: &B) {
    let (key, plain) = (InputKey::new([3; 32]), pattern(5 * CHUNK_BYTES + 7));
    let message = seal_message(backend, &key, &Salt([9; 24]), b"", &plain).expect("small");
    let layout = Layout::of_ciphertext(message.len() as u64).expect("a message has this length");
    let header = message.first_chunk().expect("longer than its header");
    let opener =
        Opener::new(backend, &key, b"", layout, header).expect("key and context are right");
    for run in [3..4, 5..6, 0..2, 2..6, 4..4] {
        let (sealed, part) = (layout.ciphertext_range(&run), layout.plaintext_range(&run));
        let mut opened = vec![0; (part.end - part.start) as usize];
        let sealed = &message[sealed.start as usize..sealed.end as usize];
        opener.open_run(run.clone(), sealed, &mut opened).expect("the run is part of the message");
        assert!(opened == plain[part.start as usize..part.end as usize], "run {run:?}");
    }
    assert_eq!(opener.open_run(6..7, &[], &mut []), Err(ChunkError::BadLength));
    let swapped = &message[HEADER_BYTES..HEADER_BYTES + STRIDE_BYTES];
    let moved = opener.open_run(1..2, swapped, &mut vec![0; CHUNK_BYTES]);
    assert_eq!(moved, Err(ChunkError::ChunkTampered { index: 1 }));
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VectorFile<C> {
    number_of_tests: usize,
    test_groups: Vec<Group<C>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group<C> {
    iv_size: Option<u32>,
    key_size: Option<u32>,
    tests: Vec<C>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChunkedCase {
    #[serde(rename = "tcId")]
    id: u32,
    comment: String,
    key: String,
    ctx: String,
    ct: String,
    aead_key: Option<String>,
    base_nonce: Option<String>,
    msg_length: Option<usize>,
    msg_sha512: Option<String>,
    result: String,
    flags: Vec<String>,
}

impl ChunkedCase {
    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    fn final_chunk_is_good(&self) -> bool {
        self.result == "valid" || self.has("ValidFinalChunk")
    }

    /// The error that the case must give: length before commitment, commitment before chunks.
    fn expected(&self, message: &[u8]) -> ChunkError {
        if Layout::of_ciphertext(message.len() as u64).is_err() {
            ChunkError::BadLength
        } else if self.has("HeaderFailure") {
            ChunkError::CommitmentMismatch
        } else {
            ChunkError::ChunkTampered { index: (self.msg_length.unwrap_or(0) / CHUNK_BYTES) as u64 }
        }
    }
}

#[derive(Deserialize)]
struct GcmCase {
    #[serde(rename = "tcId")]
    id: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    result: String,
}
