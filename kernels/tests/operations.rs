//! Agreement, derivation, shares, entropy and erasure against published vectors, over every backend.

#[macro_use]
mod common;

use split_custody_kernels::operations::{ENTROPY_SAMPLES_MIN, Kdf, OperationError, Operations};

use common::{array, bytes, has, hex, unhex, wycheproof};

operations! {
    hs_15_wycheproof_x25519 => x25519_vectors,
    hs_15_wycheproof_ecdh_p256 => p256_vectors,
    hs_15_public_keys_agree_both_ways => public_keys,
    hs_15_private_keys_out_of_range_are_refused => private_keys,
    rel_4_wycheproof_hkdf_sha256 => hkdf_sha256_vectors,
    rel_4_wycheproof_hkdf_sha512 => hkdf_sha512_vectors,
    rel_4_x963_is_a_hash_of_secret_counter_and_info => x963,
    rst_5_wycheproof_hmac_sha256 => hmac_vectors,
    qrm_4_any_k_shares_give_the_secret => shares,
    qrm_7_bad_indices_are_refused => bad_indices,
    rst_4_health_tests_refuse_at_their_cut_offs => entropy,
    rst_3_zeroize_and_verify_zero_at_every_length => zeroing,
}

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
    for [(x, y), (same_x, same_y)] in SECOND_NAMES {
        let point = |x: &str, y: &str| unhex(&format!("04{x}{y}")).try_into().unwrap();
        assert!(backend.agree_p256(&TWO, &point(x, y)).is_ok(), "a point of the curve");
        let again = backend.agree_p256(&TWO, &point(same_x, same_y));
        assert_eq!(again, Err(OperationError::KeyInvalid), "the same point, not reduced");
    }
}

const TWO: [u8; 32] = {
    let mut two = [0; 32];
    two[31] = 2;
    two
};

/// Points with a coordinate below 2^256 - p, and then with p added to it: on the curve as far as
/// arithmetic modulo p can see, and still not a public key (SP 800-56A, 5.6.2.3.3, step 2).
const SECOND_NAMES: [[(&str, &str); 2]; 2] = [
    // x = 0, y the root of b; then x = p.
    [
        (
            "0000000000000000000000000000000000000000000000000000000000000000",
            "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4",
        ),
        (
            "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
            "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4",
        ),
    ],
    // y = 5, x a root of x^3 - 3x + b - 25; then y = p + 5.
    [
        (
            "d7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7",
            "0000000000000000000000000000000000000000000000000000000000000005",
        ),
        (
            "d7325d7646cd60d80a92738ceb345f844cffaf35841022cab176f692de8de1d7",
            "ffffffff00000001000000000000000000000001000000000000000000000004",
        ),
    ],
];

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
