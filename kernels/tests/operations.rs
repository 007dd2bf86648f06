//! The other operations against published vectors: one body per operation, run over every backend.

mod common;

use serde_json::Value;
use split_custody_kernels::operations::{
    Aead, ENTROPY_SAMPLES_MIN, Hpke, Kdf, Kem, OperationError, Operations,
};

use common::{hex, load, text, unhex};

/// The five lines of a backend, once for each operation.
macro_rules! backend {
    ($name:ident, $backend:expr) => {
        mod $name {
            backend!(@each $backend,
                hs_15_wycheproof_x25519 => x25519_vectors,
                hs_15_wycheproof_ecdh_p256 => p256_vectors,
                hs_15_public_keys_agree_both_ways => public_keys,
                hs_15_private_keys_out_of_range_are_refused => private_keys,
                rel_4_wycheproof_hkdf_sha256 => hkdf_sha256_vectors,
                rel_4_wycheproof_hkdf_sha512 => hkdf_sha512_vectors,
                rel_4_x963_is_a_hash_of_secret_counter_and_info => x963,
                rst_5_wycheproof_hmac_sha256 => hmac_vectors,
                rel_4_wycheproof_aes_kw => kw_vectors,
                rel_4_wycheproof_aes_kwp => kwp_vectors,
                rel_4_nist_aes_kw => kw_nist,
                rel_4_nist_aes_kwp => kwp_nist,
                rel_4_every_flipped_bit_of_a_wrapped_share_is_noticed => wrap_tampering,
                rel_4_wycheproof_aes_gcm_with_data => gcm_vectors,
                rel_4_nist_aes_gcm => gcm_nist,
                rel_4_rfc_9180_hpke => hpke_vectors,
                rel_4_every_field_of_hpke_is_bound => hpke_tampering,
                qrm_4_any_k_shares_give_the_secret => shares,
                qrm_7_bad_indices_are_refused => bad_indices,
                rst_4_health_tests_refuse_at_their_cut_offs => entropy,
                rst_3_zeroize_and_verify_zero_at_every_length => zeroing,
            );
        }
    };
    (@each $backend:expr, $($test:ident => $body:ident,)*) => {
        $(
            #[test]
            fn $test() {
                super::$body(&$backend);
            }
        )*
    };
}

backend!(portable, split_custody_kernels::Portable);
backend!(shim, split_custody_kernels::shim::shim());
#[cfg(feature = "cuda")]
backend!(cuda, crate::common::gpu());

fn x25519_vectors<O: Operations>(backend: &O) {
    let (mut agreed, mut refused) = (0, 0);
    for (_, test) in wycheproof("x25519_test.json") {
        let (secret, peer) = (array(&test["private"]), array(&test["public"]));
        match backend.agree_x25519(&secret, &peer) {
            Ok(shared) => {
                assert_eq!(hex(&shared[..]), test["shared"], "{} {}", backend.name(), test["tcId"]);
                agreed += 1;
            }
            Err(error) => {
                assert_eq!(error, OperationError::KeyInvalid, "{}", test["tcId"]);
                assert!(has(&test, "ZeroSharedSecret"), "{} {}", backend.name(), test["tcId"]);
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (365, 24));
}

fn p256_vectors<O: Operations>(backend: &O) {
    let (mut agreed, mut refused, mut compressed) = (0, 0, 0);
    for (_, test) in wycheproof("ecdh_secp256r1_ecpoint_test.json") {
        let at = format!("{} {}", backend.name(), test["tcId"]);
        let mut secret = bytes(&test["private"]);
        let extra = secret.len().saturating_sub(32);
        assert!(secret.drain(..extra).all(|byte| byte == 0), "{at}");
        let mut padded = [0; 32];
        padded[32 - secret.len()..].copy_from_slice(&secret);
        // Only the uncompressed form has a place in the type.
        let Ok(peer) = <[u8; 65]>::try_from(bytes(&test["public"])) else {
            assert_ne!(test["result"], "valid", "{at}");
            compressed += 1;
            continue;
        };
        match backend.agree_p256(&padded, &peer) {
            Ok(shared) => {
                assert_eq!(
                    (hex(&shared[..]).into(), "valid".into()),
                    (test["shared"].clone(), test["result"].clone()),
                    "{at}"
                );
                agreed += 1;
            }
            Err(error) => {
                assert_eq!(error, OperationError::KeyInvalid, "{at}");
                assert_eq!(test["result"], "invalid", "{at}");
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused, compressed), (248, 12, 7));
}

fn public_keys<O: Operations>(backend: &O) {
    let (one, other) = ([7; 32], [9; 32]);
    let (one_public, other_public) =
        (backend.public_x25519(&one).unwrap(), backend.public_x25519(&other).unwrap());
    let agreed = backend.agree_x25519(&one, &other_public).unwrap();
    assert_eq!(agreed, backend.agree_x25519(&other, &one_public).unwrap());
    let (one_public, other_public) =
        (backend.public_p256(&one).unwrap(), backend.public_p256(&other).unwrap());
    let agreed = backend.agree_p256(&one, &other_public).unwrap();
    assert_eq!(agreed, backend.agree_p256(&other, &one_public).unwrap());
    // The generator itself: SEC 2, section 2.4.2.
    let mut unit = [0; 32];
    unit[31] = 1;
    let generator = backend.public_p256(&unit).unwrap();
    let x = "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296";
    assert_eq!(hex(&generator[1..33]), x);
}

fn private_keys<O: Operations>(backend: &O) {
    let order = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: [u8; 32] = unhex(order).try_into().unwrap();
    let mut below = order;
    below[31] -= 1;
    assert_eq!(backend.public_p256(&[0; 32]), Err(OperationError::KeyInvalid));
    assert_eq!(backend.public_p256(&order), Err(OperationError::KeyInvalid));
    assert_eq!(backend.public_p256(&[0xff; 32]), Err(OperationError::KeyInvalid));
    // The negative of the generator: the same x.
    let mut unit = [0; 32];
    unit[31] = 1;
    let (minus, plus) = (backend.public_p256(&below).unwrap(), backend.public_p256(&unit).unwrap());
    assert_eq!(minus[..33], plus[..33]);
    assert_ne!(minus[33..], plus[33..]);
    // A point off the curve, and one whose coordinate is not below p.
    let mut off = plus;
    off[64] ^= 1;
    assert_eq!(backend.agree_p256(&unit, &off), Err(OperationError::KeyInvalid));
    let mut large = plus;
    large[1..33].fill(0xff);
    assert_eq!(backend.agree_p256(&unit, &large), Err(OperationError::KeyInvalid));
}

type KdfOf<O> = fn(&O, &Kdf<'_>, &mut [u8]) -> Result<(), OperationError>;

fn hkdf_sha256_vectors<O: Operations>(backend: &O) {
    assert_eq!(hkdf_vectors(backend, "hkdf_sha256_test.json", O::hkdf_sha256), (63, 2));
}

fn hkdf_sha512_vectors<O: Operations>(backend: &O) {
    assert_eq!(hkdf_vectors(backend, "hkdf_sha512_test.json", O::hkdf_sha512), (61, 2));
}

fn hkdf_vectors<O: Operations>(backend: &O, file: &str, hkdf: KdfOf<O>) -> (usize, usize) {
    let (mut good, mut refused) = (0, 0);
    for (_, test) in wycheproof(file) {
        let at = format!("{} {file} {}", backend.name(), test["tcId"]);
        let (secret, salt, info) =
            (bytes(&test["ikm"]), bytes(&test["salt"]), bytes(&test["info"]));
        let mut out = vec![0; test["size"].as_u64().unwrap() as usize];
        match hkdf(backend, &Kdf { secret: &secret, salt: &salt, info: &info }, &mut out) {
            Ok(()) => {
                assert_eq!(test["okm"], hex(&out), "{at}");
                good += 1;
            }
            Err(error) => {
                assert_eq!(error, OperationError::LengthWrong, "{at}");
                assert!(has(&test, "SizeTooLarge"), "{at}");
                refused += 1;
            }
        }
    }
    (good, refused)
}

fn x963<O: Operations>(backend: &O) {
    for (length, info) in [(1, 0), (31, 7), (32, 32), (33, 64), (64, 100), (65, 1), (200, 513)] {
        let (secret, info) = (common::pattern(length + 10), common::pattern(info));
        let mut expected: Vec<u8> = Vec::new();
        for counter in 1u32..8 {
            let input = [&secret[..], &counter.to_be_bytes(), &info].concat();
            expected.extend(ring::digest::digest(&ring::digest::SHA256, &input).as_ref());
        }
        let mut out = vec![0; length];
        let input = Kdf { secret: &secret, salt: b"", info: &info };
        backend.x963_sha256(&input, &mut out).unwrap();
        assert_eq!(out, expected[..length], "{}", backend.name());
    }
}

fn hmac_vectors<O: Operations>(backend: &O) {
    let mut whole = 0;
    for (group, test) in wycheproof("hmac_sha256_test.json") {
        let (key, message, tag) = (bytes(&test["key"]), bytes(&test["msg"]), bytes(&test["tag"]));
        // Every way to cut the message in two.
        for cut in [0, message.len() / 2, message.len()] {
            let mac = backend.hmac_sha256(&key, &message[..cut], &message[cut..]).unwrap();
            let agrees = mac[..tag.len()] == tag[..];
            assert_eq!(agrees, test["result"] == "valid", "{} {}", backend.name(), test["tcId"]);
        }
        whole += usize::from(group["tagSize"] == 256);
    }
    assert!(whole > 50);
}

type UnwrapOf<O> = fn(&O, &[u8; 32], &[u8]) -> Result<zeroize::Zeroizing<Vec<u8>>, OperationError>;

fn kw_vectors<O: Operations>(backend: &O) {
    assert_eq!(wrap_vectors(backend, "aes_wrap_test.json", O::unwrap_kw), (10, 41));
}

fn kwp_vectors<O: Operations>(backend: &O) {
    assert_eq!(wrap_vectors(backend, "aes_kwp_test.json", O::unwrap_kwp), (19, 52));
}

fn wrap_vectors<O: Operations>(backend: &O, file: &str, unwrap: UnwrapOf<O>) -> (usize, usize) {
    let (mut good, mut refused) = (0, 0);
    for (group, test) in wycheproof(file).filter(|(group, _)| group["keySize"] == 256) {
        let at = format!("{} {file} {} {}", backend.name(), test["tcId"], group["keySize"]);
        let opened = unwrap(backend, &array(&test["key"]), &bytes(&test["ct"]));
        match opened {
            Ok(key) => {
                assert_eq!(test["msg"], hex(&key), "{at}");
                assert_ne!(test["result"], "invalid", "{at}");
                good += 1;
            }
            Err(_) => {
                assert_ne!(test["result"], "valid", "{at}");
                refused += 1;
            }
        }
    }
    (good, refused)
}

fn kw_nist<O: Operations>(backend: &O) {
    assert_eq!(wrap_nist(backend, "nist-cavp/KW_AD_256.txt", O::unwrap_kw), (400, 100));
}

fn kwp_nist<O: Operations>(backend: &O) {
    assert_eq!(wrap_nist(backend, "nist-cavp/KWP_AD_256.txt", O::unwrap_kwp), (400, 100));
}

fn wrap_nist<O: Operations>(backend: &O, file: &str, unwrap: UnwrapOf<O>) -> (usize, usize) {
    let (mut good, mut refused) = (0, 0);
    for case in nist(file) {
        let key = unhex(case.field("K")).try_into().unwrap();
        match unwrap(backend, &key, &unhex(case.field("C"))) {
            Ok(key) => {
                assert_eq!(hex(&key), case.field("P"), "{file} {}", case.field("COUNT"));
                good += 1;
            }
            Err(error) => {
                assert_eq!(error, OperationError::WrapWrong);
                assert!(case.fails, "{file} {}", case.field("COUNT"));
                refused += 1;
            }
        }
    }
    (good, refused)
}

fn wrap_tampering<O: Operations>(backend: &O) {
    // RFC 3394 section 4.6: 256 bits of data under a 256-bit key.
    let kek = unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let kek: [u8; 32] = kek.try_into().unwrap();
    let wrapped = unhex(concat!(
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326",
        "cbc7f0e71a99f43bfb988b9b7a02dd21"
    ));
    let share = "00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f";
    assert_eq!(hex(&backend.unwrap_kw(&kek, &wrapped).unwrap()), share);
    for bit in 0..wrapped.len() * 8 {
        let mut bad = wrapped.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(backend.unwrap_kw(&kek, &bad), Err(OperationError::WrapWrong), "bit {bit}");
        assert_eq!(backend.unwrap_kwp(&kek, &bad), Err(OperationError::WrapWrong), "bit {bit}");
    }
    for length in (0..wrapped.len()).filter(|length| length % 8 != 0 || *length < 16) {
        let cut = &wrapped[..length];
        assert_eq!(backend.unwrap_kw(&kek, cut), Err(OperationError::LengthWrong));
        assert_eq!(backend.unwrap_kwp(&kek, cut), Err(OperationError::LengthWrong));
    }
    assert_eq!(backend.unwrap_kw(&[0; 32], &wrapped), Err(OperationError::WrapWrong));
}

fn gcm_vectors<O: Operations>(backend: &O) {
    let mut good = 0;
    let shape = |group: &Value| group["keySize"] == 256 && group["ivSize"] == 96;
    for (_, test) in wycheproof("aes_gcm_test.json").filter(|(group, _)| shape(group)) {
        let (nonce, aad) = (array12(&test["iv"]), bytes(&test["aad"]));
        let sealed = [bytes(&test["ct"]), bytes(&test["tag"])].concat();
        let key = array(&test["key"]);
        let message = Aead { key: &key, nonce: &nonce, aad: &aad, sealed: &sealed };
        good +=
            judge_aead(backend, &message, (test["result"] == "valid").then(|| bytes(&test["msg"])));
    }
    assert_eq!(good, 29);
}

fn gcm_nist<O: Operations>(backend: &O) {
    for (file, expected) in
        [("nist-cavp/gcmDecrypt256.rsp", 91), ("nist-cavp/gcmEncryptExtIV256.rsp", 195)]
    {
        let mut good = 0;
        for case in nist(file) {
            let key = unhex(case.field("Key")).try_into().unwrap();
            let nonce = unhex(case.field("IV")).try_into().unwrap();
            let (aad, tag) = (unhex(case.field("AAD")), unhex(case.field("Tag")));
            let sealed = [unhex(case.field("CT")), tag].concat();
            let message = Aead { key: &key, nonce: &nonce, aad: &aad, sealed: &sealed };
            good += judge_aead(backend, &message, (!case.fails).then(|| unhex(case.field("PT"))));
        }
        assert_eq!(good, expected, "{file}");
    }
}

fn judge_aead<O: Operations>(backend: &O, message: &Aead<'_>, expected: Option<Vec<u8>>) -> usize {
    let opened = backend.open_aead(message).map(|plain| plain.to_vec());
    assert_eq!(opened, expected.clone().ok_or(OperationError::TagWrong), "{}", backend.name());
    usize::from(expected.is_some())
}

fn hpke_vectors<O: Operations>(backend: &O) {
    let file: Value = load("hpke-rfc9180/test-vectors.json");
    let mut seen = Vec::new();
    for entry in file.as_array().unwrap() {
        if (&entry["mode"], &entry["kdf_id"], &entry["aead_id"])
            != (&0.into(), &1.into(), &2.into())
        {
            continue;
        }
        let kem = if entry["kem_id"] == 0x10 { Kem::P256 } else { Kem::X25519 };
        assert_eq!(entry["kem_id"], kem.id());
        let first = &entry["encryptions"][0];
        let (secret, enc, info) =
            (array(&entry["skRm"]), bytes(&entry["enc"]), bytes(&entry["info"]));
        let (aad, sealed) = (bytes(&first["aad"]), bytes(&first["ct"]));
        let message =
            Hpke { kem, secret: &secret, enc: &enc, info: &info, aad: &aad, sealed: &sealed };
        assert_eq!(hex(&backend.open_hpke(&message).unwrap()), first["pt"], "{}", backend.name());
        seen.push(kem);
    }
    assert_eq!(seen.len(), 2);
    assert!(seen.contains(&Kem::P256) && seen.contains(&Kem::X25519));
}

fn hpke_tampering<O: Operations>(backend: &O) {
    let file: Value = load("hpke-rfc9180/test-vectors.json");
    let base = |entry: &&Value| {
        (&entry["mode"], &entry["kdf_id"], &entry["aead_id"]) == (&0.into(), &1.into(), &2.into())
    };
    for entry in file.as_array().unwrap().iter().filter(base) {
        let kem = if entry["kem_id"] == 0x10 { Kem::P256 } else { Kem::X25519 };
        let first = &entry["encryptions"][0];
        let secret = array(&entry["skRm"]);
        let fields = [&entry["enc"], &entry["info"], &first["aad"], &first["ct"]].map(bytes);
        for (field, original) in fields.iter().enumerate() {
            // The first byte, the last, and one between them.
            for at in [0, original.len() / 2, original.len() - 1] {
                let mut bad = fields.clone();
                bad[field][at] ^= 0x10;
                let [enc, info, aad, sealed] = &bad;
                let message = Hpke { kem, secret: &secret, enc, info, aad, sealed };
                let refused = backend.open_hpke(&message);
                let key_or_tag = [OperationError::KeyInvalid, OperationError::TagWrong];
                assert!(key_or_tag.contains(refused.as_ref().unwrap_err()), "{field} {at}");
                assert!(field == 0 || refused == Err(OperationError::TagWrong), "{field} {at}");
            }
        }
        let [enc, info, aad, sealed] = &fields;
        let cut = Hpke { kem, secret: &secret, enc, info, aad, sealed: &sealed[..15] };
        assert_eq!(backend.open_hpke(&cut), Err(OperationError::LengthWrong));
        let short = Hpke { kem, secret: &secret, enc: &enc[1..], info, aad, sealed };
        assert_eq!(backend.open_hpke(&short), Err(OperationError::KeyInvalid));
    }
    // An encapsulation of low order agrees on zero. [HS-15]
    let zero = Hpke {
        kem: Kem::X25519,
        secret: &[7; 32],
        enc: &[0; 32],
        info: b"",
        aad: b"",
        sealed: &[0; 48],
    };
    assert_eq!(backend.open_hpke(&zero), Err(OperationError::KeyInvalid));
}

/// A line through the secret at zero: share i is secret + i * slope, byte by byte.
fn shares<O: Operations>(backend: &O) {
    let secret: [u8; 32] = common::pattern(32).try_into().unwrap();
    let slope: [u8; 32] = std::array::from_fn(|i| (i * 37 + 11) as u8);
    let share =
        |index: u8| (index, std::array::from_fn(|i| secret[i] ^ slow_gf256_mul(index, slope[i])));
    for (one, other) in [(1, 2), (3, 1), (255, 7), (128, 129)] {
        assert_eq!(*backend.combine_shares(&[share(one), share(other)]).unwrap(), secret);
    }
    // One too many does no harm; shares of another line give something else.
    assert_eq!(*backend.combine_shares(&[share(9), share(4), share(200)]).unwrap(), secret);
    assert_ne!(*backend.combine_shares(&[share(9), (4, [0; 32])]).unwrap(), secret);
    assert_eq!(*backend.combine_shares(&[(77, secret)]).unwrap(), secret);
    let all: Vec<_> = (1..=255).map(share).collect();
    assert_eq!(*backend.combine_shares(&all).unwrap(), secret);
}

fn bad_indices<O: Operations>(backend: &O) {
    let wrong = Err(OperationError::IndexWrong);
    assert_eq!(backend.combine_shares(&[]), wrong);
    assert_eq!(backend.combine_shares(&[(0, [1; 32])]), wrong);
    assert_eq!(backend.combine_shares(&[(1, [1; 32]), (0, [2; 32])]), wrong);
    assert_eq!(backend.combine_shares(&[(4, [1; 32]), (4, [2; 32])]), wrong);
    assert_eq!(backend.combine_shares(&[(4, [1; 32]), (5, [2; 32]), (4, [1; 32])]), wrong);
}

fn entropy<O: Operations>(backend: &O) {
    let condition = |samples: &[u32]| backend.condition_entropy(samples, &[5; 32]);
    // The low bytes walk through all values; the high ones do not count for the tests.
    let good: Vec<u32> = (0..ENTROPY_SAMPLES_MIN as u32).map(|i| i * 0x0100_0193).collect();
    let seed = condition(&good).unwrap();
    assert_ne!(*seed, [0; 32]);
    let mut other = good.clone();
    other[17] ^= 0x8000_0000;
    assert_ne!(condition(&other).unwrap(), seed, "every bit of a sample counts");
    assert_ne!(backend.condition_entropy(&good, &[6; 32]).unwrap(), seed);
    assert_eq!(condition(&good[1..]), Err(OperationError::TooFewSamples));

    let mut stuck = good.clone();
    stuck[1000..1060].fill(0xAB12_3477);
    assert!(condition(&stuck).is_ok(), "60 in a row");
    stuck[1060] = 0x77;
    assert_eq!(condition(&stuck), Err(OperationError::SourceStuck), "61 in a row");

    // In the second window, its first value again and again, broken before it counts as stuck.
    let mut biased = good.clone();
    let repeat = |biased: &mut [u32], share: usize| {
        let places = (512..1024).filter(|i| i % 6 != 5);
        places.take(share).for_each(|i| biased[i] = 0x33);
        let others = (512..1024).filter(|i| i % 6 == 5);
        others.enumerate().for_each(|(n, i)| biased[i] = 0x44 + n as u32);
        let rest = (512..1024).filter(|i| i % 6 != 5).skip(share);
        rest.enumerate().for_each(|(n, i)| biased[i] = 0x99 + n as u32 % 64);
    };
    repeat(&mut biased, 421);
    assert!(condition(&biased).is_ok(), "421 of 512");
    repeat(&mut biased, 422);
    assert_eq!(condition(&biased), Err(OperationError::SourceBiased), "422 of 512");
}

fn zeroing<O: Operations>(backend: &O) {
    for length in [0, 1, 14, 15, 16, 17, 31, 32, 33, 255, 4095, 4096, 4097, 70_001] {
        let mut bytes = vec![0x5A; length];
        backend.zeroize(&mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 0), "{length}");
        assert_eq!(backend.verify_zero(&bytes), Ok(()), "{length}");
        for at in [0, length / 3, length.saturating_sub(1)].into_iter().filter(|at| *at < length) {
            bytes[at] = 0x80;
            assert_eq!(backend.verify_zero(&bytes), Err(OperationError::NotZero), "{length} {at}");
            bytes[at] = 0;
        }
    }
}

/// Schoolbook: multiply as polynomials, then divide by the polynomial.
fn slow_gf256_mul(a: u8, b: u8) -> u8 {
    let wide = (0..8).filter(|bit| b >> bit & 1 == 1).fold(0u16, |w, bit| w ^ u16::from(a) << bit);
    (8..16).rev().fold(wide, |w, bit| if w >> bit & 1 == 1 { w ^ 0x11b << (bit - 8) } else { w })
        as u8
}

/// Every test of a Wycheproof file, with its group.
fn wycheproof(file: &str) -> impl Iterator<Item = (Value, Value)> + use<> {
    let json: Value = load(file);
    let groups = json["testGroups"].as_array().unwrap().clone();
    let count: usize = groups.iter().map(|group| group["tests"].as_array().unwrap().len()).sum();
    assert_eq!(json["numberOfTests"], count);
    groups.into_iter().flat_map(|group| {
        let tests = group["tests"].as_array().unwrap().clone();
        tests.into_iter().map(move |test| (group.clone(), test))
    })
}

/// One case of a NIST file: `NAME = value` lines up to an empty one.
struct NistCase {
    fields: Vec<(String, String)>,
    fails: bool,
}

impl NistCase {
    fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        &field.expect("the case has this field").1
    }
}

fn nist(file: &str) -> Vec<NistCase> {
    let cases = text(file).replace('\r', "");
    let cases =
        cases.split("\n\n").filter(|case| case.trim_start().to_lowercase().starts_with("count"));
    cases
        .map(|case| NistCase {
            fields: case
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.trim().into(), value.trim().into()))
                .collect(),
            fails: case.lines().any(|line| line == "FAIL"),
        })
        .collect()
}

fn has(test: &Value, flag: &str) -> bool {
    test["flags"].as_array().unwrap().iter().any(|f| f == flag)
}

fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

fn array12(value: &Value) -> [u8; 12] {
    bytes(value).try_into().unwrap()
}
