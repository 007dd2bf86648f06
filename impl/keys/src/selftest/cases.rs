//! One function per algorithm and backend: runs one vector.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use ring::{aead, hkdf as ring_hkdf, hmac};
use serde_json::Value;
use sha2::Sha256;
use split_custody_protocol::suite::{Signature, VerifyKey};

use crate::es256;
use crate::sealed;
use crate::selftest::vectors::{Expected, bytes, expected, number, text};

/// An implementation of an algorithm.
pub(super) struct Backend {
    pub(super) name: &'static str,
    pub(super) run: fn(&Value, &Value) -> Option<Outcome>,
}

pub(super) enum Outcome {
    Passed,
    Failed,
    /// Parameters that are not in use.
    Skipped,
}

impl Outcome {
    pub(super) fn of(good: bool) -> Self {
        if good { Self::Passed } else { Self::Failed }
    }
}

/// Every implementation in use of an algorithm; none where it is not in use.
pub(super) fn backends(algorithm: &str) -> &'static [Backend] {
    match algorithm {
        "AES-GCM" => &[
            Backend { name: "ring", run: aes_gcm_ring },
            Backend { name: "aes-gcm", run: aes_gcm_rust },
        ],
        "HKDF-SHA-256" => &[
            Backend { name: "ring", run: hkdf_sha256_ring },
            Backend { name: "hkdf", run: hkdf_sha256_rust },
        ],
        "HKDF-SHA-512" => &[Backend { name: "ring", run: hkdf_sha512_ring }],
        "HMACSHA256" => &[Backend { name: "ring", run: hmac_sha256_ring }],
        "XDH" => &[Backend { name: "x25519-dalek", run: x25519 }],
        "ECDSA" => &[Backend { name: "ring", run: ecdsa_p256 }],
        "HPKE" => &[Backend { name: "hpke", run: hpke_x25519 }],
        _ => &[],
    }
}

/// Compares what came out with what the vector wants; a refusal is `None`.
fn judge(test: &Value, got: Option<&[u8]>, wanted: &[u8]) -> Option<Outcome> {
    Some(Outcome::of(match expected(test)? {
        Expected::Valid => got == Some(wanted),
        Expected::Invalid => got.is_none(),
        Expected::Acceptable => got.is_none_or(|got| got == wanted),
    }))
}

fn is_gcm_in_use(group: &Value) -> Option<bool> {
    let size = |field| number(group, field);
    Some(size("keySize")? == 256 && size("ivSize")? == 96 && size("tagSize")? == 128)
}

fn aes_gcm_ring(group: &Value, test: &Value) -> Option<Outcome> {
    if !is_gcm_in_use(group)? {
        return Some(Outcome::Skipped);
    }
    let key = aead::UnboundKey::new(&aead::AES_256_GCM, &bytes(test, "key")?).ok()?;
    let key = aead::LessSafeKey::new(key);
    let (iv, aad, msg) = (bytes(test, "iv")?, bytes(test, "aad")?, bytes(test, "msg")?);
    let nonce = || aead::Nonce::try_assume_unique_for_key(&iv).ok();
    let mut sealed = [bytes(test, "ct")?, bytes(test, "tag")?].concat();
    let mut again = msg.clone();
    key.seal_in_place_append_tag(nonce()?, aead::Aad::from(&aad), &mut again).ok()?;
    if expected(test)? == Expected::Valid && again != sealed {
        return Some(Outcome::Failed);
    }
    let opened = key.open_in_place(nonce()?, aead::Aad::from(&aad), &mut sealed).ok();
    judge(test, opened.as_deref(), &msg)
}

fn aes_gcm_rust(group: &Value, test: &Value) -> Option<Outcome> {
    if !is_gcm_in_use(group)? {
        return Some(Outcome::Skipped);
    }
    let key = aes_gcm::Aes256Gcm::new_from_slice(&bytes(test, "key")?).ok()?;
    let iv: [u8; 12] = bytes(test, "iv")?.try_into().ok()?;
    let (aad, msg) = (bytes(test, "aad")?, bytes(test, "msg")?);
    let sealed = [bytes(test, "ct")?, bytes(test, "tag")?].concat();
    let again = key.encrypt(&iv.into(), Payload { msg: &msg, aad: &aad }).ok()?;
    if expected(test)? == Expected::Valid && again != sealed {
        return Some(Outcome::Failed);
    }
    let opened = key.decrypt(&iv.into(), Payload { msg: &sealed, aad: &aad }).ok();
    judge(test, opened.as_deref(), &msg)
}

/// What an HKDF vector says: keying material, salt, info and the output's size.
struct Hkdf {
    ikm: Vec<u8>,
    salt: Vec<u8>,
    info: Vec<u8>,
    size: usize,
    okm: Vec<u8>,
}

impl Hkdf {
    fn read(test: &Value) -> Option<Self> {
        Some(Self {
            ikm: bytes(test, "ikm")?,
            salt: bytes(test, "salt")?,
            info: bytes(test, "info")?,
            size: number(test, "size")?.try_into().ok()?,
            okm: bytes(test, "okm")?,
        })
    }
}

fn hkdf_sha256_rust(_: &Value, test: &Value) -> Option<Outcome> {
    let case = Hkdf::read(test)?;
    // BOUND: RFC 5869 ends at 255 hashes; a vector that asks for more is one to refuse.
    let mut out = vec![0; case.size.min(1 << 16)];
    let hkdf = hkdf::Hkdf::<Sha256>::new(Some(&case.salt), &case.ikm);
    let got = hkdf.expand(&case.info, &mut out).ok().map(|()| &out[..]);
    judge(test, got, &case.okm)
}

/// An output length as `ring` takes it.
#[derive(Clone, Copy, Debug)]
struct Length(usize);

impl ring_hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn hkdf_ring(algorithm: ring_hkdf::Algorithm, test: &Value) -> Option<Outcome> {
    let case = Hkdf::read(test)?;
    let mut out = vec![0; case.size.min(1 << 16)];
    let prk = ring_hkdf::Salt::new(algorithm, &case.salt).extract(&case.ikm);
    let filled =
        prk.expand(&[&case.info], Length(out.len())).and_then(|okm| okm.fill(&mut out)).is_ok();
    judge(test, filled.then_some(&out[..]), &case.okm)
}

fn hkdf_sha256_ring(_: &Value, test: &Value) -> Option<Outcome> {
    hkdf_ring(ring_hkdf::HKDF_SHA256, test)
}

fn hkdf_sha512_ring(_: &Value, test: &Value) -> Option<Outcome> {
    hkdf_ring(ring_hkdf::HKDF_SHA512, test)
}

fn hmac_sha256_ring(group: &Value, test: &Value) -> Option<Outcome> {
    // Truncated tags are not in use.
    if number(group, "tagSize")? != 256 {
        return Some(Outcome::Skipped);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, &bytes(test, "key")?);
    let verified = hmac::verify(&key, &bytes(test, "msg")?, &bytes(test, "tag")?).is_ok();
    Some(Outcome::of(verified == (expected(test)? == Expected::Valid)))
}

/// A vector whose shared secret is zero must be refused as a key. [HS-15]
fn x25519(group: &Value, test: &Value) -> Option<Outcome> {
    if text(group, "curve")? != "curve25519" {
        return Some(Outcome::Skipped);
    }
    let public: [u8; 32] = bytes(test, "public")?.try_into().ok()?;
    let private: [u8; 32] = bytes(test, "private")?.try_into().ok()?;
    let wanted = bytes(test, "shared")?;
    if !sealed::is_contributory(&public) {
        let zero = wanted.iter().all(|byte| *byte == 0);
        return Some(Outcome::of(zero && expected(test)? != Expected::Valid));
    }
    let shared = x25519_dalek::StaticSecret::from(private)
        .diffie_hellman(&x25519_dalek::PublicKey::from(public));
    judge(test, Some(shared.as_bytes()), &wanted)
}

fn ecdsa_p256(group: &Value, test: &Value) -> Option<Outcome> {
    let key = group.get("publicKey")?;
    let form = text(group, "type")?;
    let hash = text(group, "sha")?;
    if form != "EcdsaP1363Verify" || text(key, "curve")? != "secp256r1" || hash != "SHA-256" {
        return Some(Outcome::Skipped);
    }
    let key = VerifyKey::new(bytes(key, "uncompressed")?.try_into().ok()?);
    let valid = expected(test)? == Expected::Valid;
    // A signature of another length has no place in the type; refusing it is right.
    let Ok(signature) = <[u8; 64]>::try_from(bytes(test, "sig")?) else {
        return Some(Outcome::of(!valid));
    };
    let verified = es256::verify(&key, &bytes(test, "msg")?, &Signature::new(signature)).is_ok();
    Some(Outcome::of(verified == valid))
}

/// The first encryption of an entry is what a single-shot `open` opens.
fn hpke_x25519(_: &Value, entry: &Value) -> Option<Outcome> {
    let id = |field| number(entry, field);
    if (id("mode")?, id("kem_id")?, id("kdf_id")?, id("aead_id")?) != (0, 0x20, 1, 2) {
        return Some(Outcome::Skipped);
    }
    let first = entry.get("encryptions")?.get(0)?;
    let secret: [u8; 32] = bytes(entry, "skRm")?.try_into().ok()?;
    let sealed = [bytes(entry, "enc")?, bytes(first, "ct")?].concat();
    let aad = bytes(first, "aad")?;
    let opened = sealed::open_with(&secret, &bytes(entry, "info")?, &aad, &sealed);
    Some(Outcome::of(opened.is_some_and(|opened| Some(opened.to_vec()) == bytes(first, "pt"))))
}
