//! The kernels' text beside the portable twin and beside `ring`, over random inputs.

use proptest::prelude::*;
use ring::aead;
use split_custody_kernels::hazmat::RawMode;
use split_custody_kernels::operations::{Aead, Hpke, Kdf, Kem, Operations};
use split_custody_kernels::shim::{shim, shim_one_table};
use split_custody_kernels::{
    Backend, CHUNK_BYTES, InputKey, Portable, STRIDE_BYTES, Salt, Tag, open_message, seal_message,
};

/// Sizes of every kind, with those near boundaries more often than they deserve.
fn size() -> impl Strategy<Value = usize> {
    let edge = prop::sample::select(vec![0, 16, 512, CHUNK_BYTES, 2 * CHUNK_BYTES]);
    prop_oneof![
        0..600usize,
        0..3 * CHUNK_BYTES,
        (edge, 0..40usize).prop_map(|(edge, more)| (edge + more).saturating_sub(20)),
    ]
}

fn bytes(size: usize, seed: u64) -> Vec<u8> {
    let mut x = seed | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x as u8
    };
    (0..size).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn seal_7_messages_agree_with_the_portable_twin(
        key: [u8; 32], salt: [u8; 24], context in prop::collection::vec(any::<u8>(), 0..300),
        size in size(), seed: u64,
    ) {
        let (key, salt, plain) = (InputKey::new(key), Salt(salt), bytes(size, seed));
        let expected = seal_message(&Portable, &key, &salt, &context, &plain).unwrap();
        for backend in [shim(), shim_one_table()] {
            let sealed = seal_message(&backend, &key, &salt, &context, &plain).unwrap();
            prop_assert!(sealed == expected);
            prop_assert!(*open_message(&backend, &key, &context, &expected).unwrap() == plain);
        }
    }

    #[test]
    fn seal_7_chunks_agree_with_ring_at_any_number(
        key: [u8; 32], nonce: [u8; 12], size in size(), first in 0..1u64 << 38, seed: u64,
    ) {
        let (plain, backend) = (bytes(size, seed), shim());
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap();
        let ring = aead::LessSafeKey::new(unbound);
        let mut expected = Vec::new();
        for (chunk, index) in plain.chunks(CHUNK_BYTES).zip(first..) {
            let mut at = nonce;
            at[4..].iter_mut().zip(index.to_be_bytes()).for_each(|(n, i)| *n ^= i);
            let mut body = chunk.to_vec();
            let at = aead::Nonce::assume_unique_for_key(at);
            ring.seal_in_place_append_tag(at, aead::Aad::empty(), &mut body).unwrap();
            expected.extend(body);
        }
        let schedule = backend.raw_schedule(&key, nonce);
        let mut sealed = vec![0; expected.len()];
        backend.seal_chunks(&schedule, first, &plain, &mut sealed).unwrap();
        prop_assert!(sealed == expected);
        let mut opened = vec![1; plain.len()];
        backend.open_chunks(&schedule, first, &expected, &mut opened).unwrap();
        prop_assert!(opened == plain);
        // And where they lie.
        let (mut bodies, mut tags) = (Vec::new(), Vec::new());
        for sealed in expected.chunks(STRIDE_BYTES) {
            let (body, tag) = sealed.split_last_chunk().unwrap();
            bodies.extend_from_slice(body);
            tags.push(Tag(*tag));
        }
        backend.open_chunks_in_place(&schedule, first, &tags, &mut bodies).unwrap();
        prop_assert!(bodies == plain);
    }

    #[test]
    fn seal_7_one_flipped_bit_fails_in_both(
        size in size(), seed: u64, place: prop::sample::Index, bit in 0..8u32,
    ) {
        let (key, backend) = ([9; 32], shim());
        let chunk = &bytes(size.min(CHUNK_BYTES), seed)[..];
        let schedule = Portable.raw_schedule(&key, [3; 12]);
        let mut sealed = vec![0; chunk.len() + 16];
        Portable.seal_chunks(&schedule, 5, chunk, &mut sealed).unwrap();
        let at = place.index(sealed.len());
        sealed[at] ^= 1 << bit;
        let mut outs = [vec![0xEE; chunk.len()], vec![0xEE; chunk.len()]];
        let twin = Portable.open_chunks(&schedule, 5, &sealed, &mut outs[0]);
        let ours = backend.open_chunks(&backend.raw_schedule(&key, [3; 12]), 5, &sealed, &mut outs[1]);
        prop_assert!(ours.is_err());
        prop_assert_eq!(ours, twin);
        prop_assert!(outs.iter().flatten().all(|byte| *byte == 0));
    }

    #[test]
    fn hs_15_agreements_agree(secret: [u8; 32], other: [u8; 32]) {
        let backend = shim();
        let public = Portable.public_x25519(&other).unwrap();
        prop_assert_eq!(backend.public_x25519(&other).unwrap(), public);
        prop_assert_eq!(backend.agree_x25519(&secret, &public), Portable.agree_x25519(&secret, &public));
        // Any 32 bytes are a point of the curve or of its twist.
        prop_assert_eq!(backend.agree_x25519(&secret, &other), Portable.agree_x25519(&secret, &other));
        prop_assert_eq!(backend.public_p256(&other), Portable.public_p256(&other));
        if let Ok(public) = Portable.public_p256(&other) {
            prop_assert_eq!(backend.agree_p256(&secret, &public), Portable.agree_p256(&secret, &public));
        }
    }

    #[test]
    fn rel_4_derivations_agree(
        secret in prop::collection::vec(any::<u8>(), 0..200),
        salt in prop::collection::vec(any::<u8>(), 0..200),
        info in prop::collection::vec(any::<u8>(), 0..300), length in 0..700usize,
    ) {
        let (backend, input) = (shim(), Kdf { secret: &secret, salt: &salt, info: &info });
        let mut outs = [vec![1; length], vec![2; length]];
        backend.hkdf_sha256(&input, &mut outs[0]).unwrap();
        Portable.hkdf_sha256(&input, &mut outs[1]).unwrap();
        prop_assert_eq!(&outs[0], &outs[1]);
        backend.hkdf_sha512(&input, &mut outs[0]).unwrap();
        Portable.hkdf_sha512(&input, &mut outs[1]).unwrap();
        prop_assert_eq!(&outs[0], &outs[1]);
        backend.x963_sha256(&input, &mut outs[0]).unwrap();
        Portable.x963_sha256(&input, &mut outs[1]).unwrap();
        prop_assert_eq!(&outs[0], &outs[1]);
        let mac = backend.hmac_sha256(&secret, &salt, &info);
        prop_assert_eq!(mac, Portable.hmac_sha256(&secret, &salt, &info));
    }

    #[test]
    fn rel_4_small_openings_agree(
        key: [u8; 32], nonce: [u8; 12], aad in prop::collection::vec(any::<u8>(), 0..70),
        sealed in prop::collection::vec(any::<u8>(), 0..120), seed: u64,
    ) {
        let backend = shim();
        let unbound = aead::UnboundKey::new(&aead::AES_256_GCM, &key).unwrap();
        let mut good = bytes(sealed.len(), seed);
        let at = aead::Nonce::assume_unique_for_key(nonce);
        aead::LessSafeKey::new(unbound)
            .seal_in_place_append_tag(at, aead::Aad::from(&aad), &mut good)
            .unwrap();
        for sealed in [&sealed, &good] {
            let message = Aead { key: &key, nonce: &nonce, aad: &aad, sealed };
            prop_assert_eq!(backend.open_aead(&message), Portable.open_aead(&message));
            prop_assert_eq!(backend.unwrap_kw(&key, sealed), Portable.unwrap_kw(&key, sealed));
            prop_assert_eq!(backend.unwrap_kwp(&key, sealed), Portable.unwrap_kwp(&key, sealed));
        }
    }

    #[test]
    fn rel_4_hpke_agrees(secret: [u8; 32], enc: [u8; 32], info: Vec<u8>, sealed: Vec<u8>) {
        let (kem, secret, enc) = (Kem::X25519, &secret, &enc);
        let message = Hpke { kem, secret, enc, info: &info, aad: b"", sealed: &sealed };
        prop_assert_eq!(shim().open_hpke(&message), Portable.open_hpke(&message));
    }

    #[test]
    fn qrm_4_combinations_agree(shares in prop::collection::vec(any::<(u8, [u8; 32])>(), 0..12)) {
        prop_assert_eq!(shim().combine_shares(&shares), Portable.combine_shares(&shares));
    }

    #[test]
    fn rst_4_seeds_agree(seed: u64, low in 1..=255u32, more in 0..100usize) {
        let samples: Vec<u32> =
            bytes(8150 + more, seed).into_iter().map(|byte| u32::from(byte) % low).collect();
        let both = (shim().condition_entropy(&samples, &[1; 32]), Portable.condition_entropy(&samples, &[1; 32]));
        prop_assert_eq!(both.0, both.1);
    }
}
