//! The kernels' operations against the same vectors: one function per algorithm, any backend.
//!
//! Backends that are in the program: the portable twin always; the CPU shim with feature `shim`; a
//! GPU with feature `cuda`, where there is one.

use std::io::Read;
#[cfg(any(feature = "shim", feature = "cuda"))]
use std::sync::OnceLock;

use flate2::read::ZlibDecoder;
use ring::digest;
use serde_json::Value;
#[cfg(any(feature = "shim", feature = "cuda"))]
use split_custody_kernels::device::DeviceBackend;
use split_custody_kernels::operations::{Aead, Hpke, Kdf, Kem, OperationError, Operations};
use split_custody_kernels::{Backend as Chunks, InputKey, Portable, open_message};

use crate::selftest::cases::{Backend, Outcome};
use crate::selftest::vectors::{Expected, bytes, expected, number, text};

/// A backend of the kernels, opened once.
trait Opened {
    type On: Operations + Chunks + 'static;
    fn on() -> &'static Self::On;
}

struct Twin;

impl Opened for Twin {
    type On = Portable;
    fn on() -> &'static Portable {
        &Portable
    }
}

#[cfg(feature = "shim")]
struct Shim;

#[cfg(feature = "shim")]
impl Opened for Shim {
    type On = DeviceBackend<split_custody_kernels::shim::Shim>;
    fn on() -> &'static Self::On {
        static SHIM: OnceLock<DeviceBackend<split_custody_kernels::shim::Shim>> = OnceLock::new();
        SHIM.get_or_init(split_custody_kernels::shim::shim)
    }
}

#[cfg(feature = "cuda")]
struct Gpu;

#[cfg(feature = "cuda")]
impl Opened for Gpu {
    type On = DeviceBackend<split_custody_kernels::cuda::Gpu>;
    fn on() -> &'static Self::On {
        // INVARIANT: `backends` lists it only where it opened.
        gpu().as_ref().expect("a GPU that was there a moment ago")
    }
}

#[cfg(feature = "cuda")]
fn gpu() -> &'static Result<<Gpu as Opened>::On, split_custody_kernels::device::DeviceError> {
    static GPU: OnceLock<Result<<Gpu as Opened>::On, split_custody_kernels::device::DeviceError>> =
        OnceLock::new();
    GPU.get_or_init(split_custody_kernels::cuda::gpu)
}

/// Every backend of the kernels that is present, for an algorithm.
pub(super) fn backends(algorithm: &str) -> Vec<Backend> {
    let mut found = Vec::new();
    found.extend(on::<Twin>(algorithm, "kernels/portable"));
    #[cfg(feature = "shim")]
    found.extend(on::<Shim>(algorithm, "kernels/shim"));
    #[cfg(feature = "cuda")]
    if gpu().is_ok() {
        found.extend(on::<Gpu>(algorithm, "kernels/cuda"));
    }
    found
}

fn on<M: Opened>(algorithm: &str, name: &'static str) -> Option<Backend> {
    let run: fn(&Value, &Value) -> Option<Outcome> = match algorithm {
        "AES-GCM" => aes_gcm::<M>,
        "HKDF-SHA-256" => hkdf_sha256::<M>,
        "HKDF-SHA-512" => hkdf_sha512::<M>,
        "HMACSHA256" => hmac_sha256::<M>,
        "XDH" => x25519::<M>,
        "ECDH" => ecdh_p256::<M>,
        "AES-WRAP" => aes_kw::<M>,
        "AES-KWP" => aes_kwp::<M>,
        "Cobblestone-256" => cobblestone_256::<M>,
        "HPKE" => hpke::<M>,
        _ => return None,
    };
    Some(Backend { name, run })
}

/// A refusal is right where the vector is invalid or left open; bytes are right where they agree.
fn judge<T: AsRef<[u8]>>(
    test: &Value,
    got: Result<T, OperationError>,
    wanted: &[u8],
) -> Option<Outcome> {
    let expected = expected(test)?;
    Some(Outcome::of(match got {
        Ok(got) => got.as_ref() == wanted && expected != Expected::Invalid,
        // A device that did not work has not refused.
        Err(OperationError::Device(_)) => false,
        Err(_) => expected != Expected::Valid,
    }))
}

fn aes_gcm<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    let size = |field| number(group, field);
    if (size("keySize")?, size("ivSize")?, size("tagSize")?) != (256, 96, 128) {
        return Some(Outcome::Skipped);
    }
    let (key, nonce) = (array(test, "key")?, bytes(test, "iv")?.try_into().ok()?);
    let aad = bytes(test, "aad")?;
    let sealed = [bytes(test, "ct")?, bytes(test, "tag")?].concat();
    let message = Aead { key: &key, nonce: &nonce, aad: &aad, sealed: &sealed };
    judge(test, M::on().open_aead(&message), &bytes(test, "msg")?)
}

type Derive<O> = fn(&O, &Kdf<'_>, &mut [u8]) -> Result<(), OperationError>;

fn hkdf<M: Opened>(test: &Value, derive: Derive<M::On>) -> Option<Outcome> {
    let (secret, salt, info) = (bytes(test, "ikm")?, bytes(test, "salt")?, bytes(test, "info")?);
    // BOUND: RFC 5869 ends at 255 hashes; a vector that asks for more is one to refuse.
    let mut out = vec![0; usize::try_from(number(test, "size")?).ok()?.min(1 << 16)];
    let input = Kdf { secret: &secret, salt: &salt, info: &info };
    let derived = derive(M::on(), &input, &mut out);
    judge(test, derived.map(|()| &out), &bytes(test, "okm")?)
}

fn hkdf_sha256<M: Opened>(_: &Value, test: &Value) -> Option<Outcome> {
    hkdf::<M>(test, M::On::hkdf_sha256)
}

fn hkdf_sha512<M: Opened>(_: &Value, test: &Value) -> Option<Outcome> {
    hkdf::<M>(test, M::On::hkdf_sha512)
}

fn hmac_sha256<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    // Truncated tags are not in use.
    if number(group, "tagSize")? != 256 {
        return Some(Outcome::Skipped);
    }
    let mac = M::on().hmac_sha256(&bytes(test, "key")?, &[], &bytes(test, "msg")?).ok()?;
    let agrees = mac[..] == bytes(test, "tag")?[..];
    Some(Outcome::of(agrees == (expected(test)? == Expected::Valid)))
}

fn x25519<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    if text(group, "curve")? != "curve25519" {
        return Some(Outcome::Skipped);
    }
    let agreed = M::on().agree_x25519(&array(test, "private")?, &array(test, "public")?);
    judge(test, agreed, &bytes(test, "shared")?)
}

fn ecdh_p256<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    if text(group, "curve")? != "secp256r1" || text(group, "encoding")? != "ecpoint" {
        return Some(Outcome::Skipped);
    }
    let secret = bytes(test, "private")?;
    let secret = secret.get(secret.iter().position(|byte| *byte != 0).unwrap_or(0)..)?;
    let mut padded = [0; 32];
    padded.get_mut(32usize.checked_sub(secret.len())?..)?.copy_from_slice(secret);
    // The compressed form has no place in the type; refusing it is right.
    let Ok(peer) = bytes(test, "public")?.try_into() else {
        return Some(Outcome::of(expected(test)? != Expected::Valid));
    };
    judge(test, M::on().agree_p256(&padded, &peer), &bytes(test, "shared")?)
}

fn aes_kw<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    if number(group, "keySize")? != 256 {
        return Some(Outcome::Skipped);
    }
    let opened = M::on().unwrap_kw(&array(test, "key")?, &bytes(test, "ct")?);
    judge(test, opened.map(|key| key.to_vec()), &bytes(test, "msg")?)
}

fn aes_kwp<M: Opened>(group: &Value, test: &Value) -> Option<Outcome> {
    if number(group, "keySize")? != 256 {
        return Some(Outcome::Skipped);
    }
    let opened = M::on().unwrap_kwp(&array(test, "key")?, &bytes(test, "ct")?);
    judge(test, opened.map(|key| key.to_vec()), &bytes(test, "msg")?)
}

/// `ct` is zlib-compressed and the message is given by length and digest.
fn cobblestone_256<M: Opened>(_: &Value, test: &Value) -> Option<Outcome> {
    let (mut sealed, packed) = (Vec::new(), bytes(test, "ct")?);
    // BOUND: 64 MiB, far above any published vector.
    ZlibDecoder::new(&packed[..]).take(64 << 20).read_to_end(&mut sealed).ok()?;
    let valid = expected(test)? == Expected::Valid;
    let Ok(key) = <[u8; 32]>::try_from(bytes(test, "key")?) else {
        return Some(Outcome::of(!valid));
    };
    let opened = open_message(M::on(), &InputKey::new(key), &bytes(test, "ctx")?, &sealed);
    let Ok(message) = opened else {
        return Some(Outcome::of(!valid));
    };
    let digest = digest::digest(&digest::SHA512, &message);
    let same = message.len() as u64 == number(test, "msgLength")?
        && digest.as_ref() == bytes(test, "msgSha512")?;
    Some(Outcome::of(valid && same))
}

/// The first encryption of an entry is what a single-shot `open` opens.
fn hpke<M: Opened>(_: &Value, entry: &Value) -> Option<Outcome> {
    let id = |field| number(entry, field);
    let kem = match (id("mode")?, id("kem_id")?, id("kdf_id")?, id("aead_id")?) {
        (0, 0x10, 1, 2) => Kem::P256,
        (0, 0x20, 1, 2) => Kem::X25519,
        _ => return Some(Outcome::Skipped),
    };
    let first = entry.get("encryptions")?.get(0)?;
    let (secret, enc, info) = (array(entry, "skRm")?, bytes(entry, "enc")?, bytes(entry, "info")?);
    let (aad, sealed) = (bytes(first, "aad")?, bytes(first, "ct")?);
    let message = Hpke { kem, secret: &secret, enc: &enc, info: &info, aad: &aad, sealed: &sealed };
    let opened = M::on().open_hpke(&message).ok();
    Some(Outcome::of(opened.is_some_and(|opened| Some(opened.to_vec()) == bytes(first, "pt"))))
}

fn array(value: &Value, field: &str) -> Option<[u8; 32]> {
    bytes(value, field)?.try_into().ok()
}
