//! What opens a share, against published vectors and against harm, over every backend.

#[macro_use]
mod common;

use serde_json::Value;
use split_custody_kernels::operations::{Aead, Hpke, Kem, OperationError, Operations};

use common::{array, array12, bytes, hex, load, nist, unhex, wycheproof};

operations! {
    rel_4_wycheproof_aes_kw => kw_vectors,
    rel_4_wycheproof_aes_kwp => kwp_vectors,
    rel_4_nist_aes_kw => kw_nist,
    rel_4_nist_aes_kwp => kwp_nist,
    rel_4_every_flipped_bit_of_a_wrapped_share_is_noticed => wrap_tampering,
    rel_4_every_byte_of_the_initial_value_is_compared => wrap_initial_values,
    rel_4_wycheproof_aes_gcm_with_data => gcm_vectors,
    rel_4_nist_aes_gcm => gcm_nist,
    rel_4_rfc_9180_hpke => hpke_vectors,
    rel_4_every_field_of_hpke_is_bound => hpke_tampering,
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

/// A flipped bit changes all of the initial value, so half a comparison would notice it. These were
/// wrapped under the key and over the share of the test above, with another initial value: RFC 3394
/// with any `A`, as its section 2.2.1 allows.
fn wrap_initial_values<O: Operations>(backend: &O) {
    let kek: [u8; 32] = std::array::from_fn(|at| at as u8);
    // The AIV of RFC 5649 for 32 bytes: right, then with one byte wrong.
    let padded = [
        "4a8029243027353b0694cf1bd8fc745bb0ce8a739b19b1960b12426d4c39cfeda926d103ab34e9f6",
        "8d55fdedb89586c318191a3d3eda412a574ae287d80a91c38b398e6e6bdbd62a3b600c1eb6d6cf9d",
        "4881e25ea27e58de0e5a45f1f1474ed3e226e88cf935632cb7d39841ed4d209e2c8b094a168aaabd",
    ];
    // A6A6A6A6A6A6A6A7, and A7A6A6A6A6A6A6A6.
    let plain = [
        "7035afe3a1f6314570a750c0447e20eade73322d40ec4bfc1380bf097b0dc638bc275cb34c63803a",
        "6e60c3a2bb569fe1d6f3add1e84023a686c9a1af96e76dd9e422ccc6ae24ca737acdbb36846c1567",
    ];
    assert_eq!(backend.unwrap_kwp(&kek, &unhex(padded[0])).unwrap().len(), 32);
    for wrapped in &padded[1..] {
        assert_eq!(backend.unwrap_kwp(&kek, &unhex(wrapped)), Err(OperationError::WrapWrong));
    }
    for wrapped in plain.iter().chain(&padded) {
        assert_eq!(backend.unwrap_kw(&kek, &unhex(wrapped)), Err(OperationError::WrapWrong));
    }
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
