//! Sealing a share in the suites that an HSM can serve: P-256, a KDF, and a key wrap. Chapter 35.
//!
//! What a receiver computes in software, and the software twin of what an HSM computes inside. A
//! sealed share is `HSM key(65) || wrapped(40)`; to an HSM, the suite stands before it. [HSM-2]

use aes_kw::KekAes256;
use p256::elliptic_curve::point::AffineCoordinates;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{PublicKey, SecretKey};
use sha2::{Digest as _, Sha256};
use split_custody_protocol::suite::{Digest, Label, SealedShare, SuiteId};
use zeroize::Zeroizing;

use crate::hash::hash_label;
use crate::memory::fill_random;
use crate::shamir::Secret;

/// An uncompressed point on P-256.
pub type Point = [u8; POINT];

/// Size of a [`Point`].
pub const POINT: usize = 65;
/// Size of a wrapped share.
pub const WRAPPED: usize = 40;

/// The key derivation and the wrap of one suite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Profile {
    kdf: Kdf,
    wrap: Wrap,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kdf {
    X963,
    Cbc,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrap {
    Kw,
    Kwp,
}

impl Profile {
    /// `None` for a suite that is none of P-256. [REL-12]
    pub const fn of(suite: SuiteId) -> Option<Self> {
        match suite {
            SuiteId::P256_X963_KW => Some(Self { kdf: Kdf::X963, wrap: Wrap::Kw }),
            SuiteId::P256_X963_KWP => Some(Self { kdf: Kdf::X963, wrap: Wrap::Kwp }),
            SuiteId::P256_CBCD_KW => Some(Self { kdf: Kdf::Cbc, wrap: Wrap::Kw }),
            _ => None,
        }
    }

    /// Wraps 32 bytes into 40.
    pub fn wrap(self, key: &[u8; 32], share: &[u8; 32]) -> [u8; WRAPPED] {
        let (kek, mut out) = (KekAes256::new(key.into()), [0; WRAPPED]);
        let wrapped = match self.wrap {
            Wrap::Kw => kek.wrap(share, &mut out),
            Wrap::Kwp => kek.wrap_with_padding(share, &mut out),
        };
        // INVARIANT: both wraps take 32 bytes to 40.
        wrapped.expect("32 bytes wrap into 40");
        out
    }

    /// `None` when the integrity value is another.
    pub fn unwrap(self, key: &[u8; 32], wrapped: &[u8; WRAPPED]) -> Option<Secret> {
        let (kek, mut out) = (KekAes256::new(key.into()), Zeroizing::new([0; 32]));
        match self.wrap {
            Wrap::Kw => kek.unwrap(wrapped, &mut *out).ok()?,
            Wrap::Kwp => {
                let length = kek.unwrap_with_padding(wrapped, &mut *out).ok()?.len();
                (length == 32).then_some(())?;
            }
        }
        Some(out)
    }

    /// The wrapping key from Z and the KDF's input.
    pub fn derive(self, z: &[u8; 32], info: &Digest) -> Secret {
        match self.kdf {
            Kdf::X963 => {
                let state = Sha256::new().chain_update(z).chain_update([0, 0, 0, 1]);
                Zeroizing::new(state.chain_update(info.as_bytes()).finalize().into())
            }
            Kdf::Cbc => cbc(z, info),
        }
    }
}

/// AES-256-CBC under Z of the info, with a zero vector: what SoftHSM derives by.
fn cbc(z: &[u8; 32], info: &Digest) -> Secret {
    use aes_gcm::aes::Aes256;
    use aes_gcm::aes::cipher::{BlockEncrypt, KeyInit};

    let cipher = Aes256::new(z.into());
    let mut out = Zeroizing::new(*info.as_bytes());
    let (first, second) = out.split_at_mut(16);
    cipher.encrypt_block(first.into());
    second.iter_mut().zip(&*first).for_each(|(byte, mask)| *byte ^= mask);
    cipher.encrypt_block(second.into());
    out
}

/// `H("kdf", context, sender, receiver)`.
pub fn kdf_input(context: &Digest, sender: &Point, receiver: &Point) -> Digest {
    hash_label(Label::Kdf, &[context.as_bytes(), sender, receiver])
}

/// A fresh scalar.
pub(crate) fn generate() -> Secret {
    loop {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut bytes[..]);
        // A draw out of range has a chance of 2^-32.
        if SecretKey::from_slice(&bytes[..]).is_ok() {
            return bytes;
        }
    }
}

/// The public point of a scalar; `None` for one out of range.
pub(crate) fn public_of(secret: &[u8; 32]) -> Option<Point> {
    let secret = SecretKey::from_slice(secret).ok()?;
    secret.public_key().to_encoded_point(false).as_bytes().try_into().ok()
}

/// The point of 65 bytes that lies on the curve and is not the identity. [HSM-1] [HS-15]
pub fn valid_point(bytes: &[u8]) -> Option<Point> {
    let point: Point = bytes.try_into().ok()?;
    // The form byte decides the encoding: compressed and hybrid forms are other lengths or bytes.
    (point.first() == Some(&4) && PublicKey::from_sec1_bytes(&point).is_ok()).then_some(point)
}

fn agree(secret: &[u8; 32], point: &Point) -> Option<Secret> {
    let theirs = PublicKey::from_sec1_bytes(point).ok()?;
    let ours = SecretKey::from_slice(secret).ok()?;
    let shared = (theirs.to_projective() * *ours.to_nonzero_scalar()).to_affine();
    Some(Zeroizing::new(shared.x().into()))
}

/// Seals a share in a P-256 suite; `None` for another suite or an invalid point. [HSM-2]
///
/// The ephemeral is made here, serves this once and is erased. [HSM-3]
pub(crate) fn seal(
    suite: SuiteId,
    to: &[u8],
    context: &Digest,
    share: &[u8; 32],
) -> Option<SealedShare> {
    SealedShare::new(seal_with(suite, &generate(), to, context, share)?)
}

fn seal_with(
    suite: SuiteId,
    ephemeral: &[u8; 32],
    to: &[u8],
    context: &Digest,
    share: &[u8; 32],
) -> Option<Vec<u8>> {
    let (profile, to) = (Profile::of(suite)?, valid_point(to)?);
    let sender = public_of(ephemeral)?;
    let z = agree(ephemeral, &to)?;
    let key = profile.derive(&z, &kdf_input(context, &sender, &to));
    Some([&sender[..], &profile.wrap(&key, share)].concat())
}

/// Opens a sealed share; `None` on any failure, without saying which. [HSM-1] [HSM-2]
pub(crate) fn open(
    suite: SuiteId,
    secret: &[u8; 32],
    context: &Digest,
    sealed: &[u8],
) -> Option<Secret> {
    let profile = Profile::of(suite)?;
    let (sender, wrapped) = sealed.split_at_checked(POINT)?;
    let (sender, wrapped) = (valid_point(sender)?, wrapped.try_into().ok()?);
    let z = agree(secret, &sender)?;
    let info = kdf_input(context, &sender, &public_of(secret)?);
    profile.unwrap(&profile.derive(&z, &info), wrapped)
}

/// Seals a share to an HSM's import key: the suite, then as to a device. [HSM-5]
pub(crate) fn seal_provision(
    suite: SuiteId,
    kek: &Point,
    context: &Digest,
    share: &[u8; 32],
) -> Option<SealedShare> {
    let sealed = seal(suite, kek, context, share)?;
    SealedShare::new([&suite.value().to_be_bytes()[..], sealed.as_bytes()].concat())
}

/// The owner's ephemeral and the wrapped share of what was sealed to a KEK of this suite. [HSM-5]
pub fn provision_parts(suite: SuiteId, sealed: &[u8]) -> Option<(Point, [u8; WRAPPED])> {
    let rest = sealed.strip_prefix(&suite.value().to_be_bytes())?;
    let (sender, wrapped) = rest.split_at_checked(POINT)?;
    Some((valid_point(sender)?, wrapped.try_into().ok()?))
}

/// Opens what the owner sealed to a KEK of this suite.
pub(crate) fn open_provision(
    suite: SuiteId,
    secret: &[u8; 32],
    context: &Digest,
    sealed: &[u8],
) -> Option<Secret> {
    open(suite, secret, context, sealed.strip_prefix(&suite.value().to_be_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::hex;

    /// The vectors of chapter 35, made by its slow reference.
    fn cases() -> Vec<serde_json::Value> {
        let text = include_str!("../../../spec/vectors/hsm.json");
        serde_json::from_str(text).unwrap()
    }

    fn bytes(value: &serde_json::Value) -> Vec<u8> {
        hex(value.as_str().unwrap()).unwrap()
    }

    fn array(value: &serde_json::Value) -> [u8; 32] {
        bytes(value).try_into().unwrap()
    }

    #[test]
    fn hsm_2_shares_of_the_vectors_open_and_seal_to_the_same_bytes() {
        let mut accepted = 0;
        for case in cases().iter().filter(|case| case["expect"]["accept"].is_string()) {
            let (input, expect) = (&case["input"], &case["expect"]);
            let suite = SuiteId::new(input["suite"].as_u64().unwrap() as u16);
            let (secret, share) = (array(&input["secret"]), array(&expect["accept"]));
            let context = Digest::new(array(&input["context"]));
            let sealed = bytes(&input["sealed"]);
            assert_eq!(
                *open(suite, &secret, &context, &sealed).unwrap(),
                share,
                "{}",
                case["name"]
            );
            let key = public_of(&secret).unwrap();
            assert_eq!(key[..], bytes(&expect["key"]));
            let ephemeral = array(&input["ephemeral"]);
            assert_eq!(seal_with(suite, &ephemeral, &key, &context, &share).unwrap(), sealed);
            let provision = bytes(&expect["provision"]);
            assert_eq!(*open_provision(suite, &secret, &context, &provision).unwrap(), share);
            accepted += 1;
        }
        assert_eq!(accepted, 3);
    }

    #[test]
    fn hsm_1_hostile_points_and_wraps_of_the_vectors_do_not_open() {
        let mut refused = 0;
        for case in cases().iter().filter(|case| case["expect"]["refuse"].is_string()) {
            let input = &case["input"];
            let suite = SuiteId::new(input["suite"].as_u64().unwrap() as u16);
            let context = Digest::new(array(&input["context"]));
            let opened = open(suite, &array(&input["secret"]), &context, &bytes(&input["sealed"]));
            assert!(opened.is_none(), "{}", case["name"]);
            refused += 1;
        }
        assert_eq!(refused, 21);
    }

    #[test]
    fn hsm_5_provision_opens_under_its_own_suite_and_context_only() {
        let (secret, share) = (generate(), [9; 32]);
        let (key, context) = (public_of(&secret).unwrap(), Digest::new([3; 32]));
        for suite in SuiteId::P256 {
            let sealed = seal_provision(suite, &key, &context, &share).unwrap();
            for other in SuiteId::P256 {
                let opened = open_provision(other, &secret, &context, sealed.as_bytes());
                assert_eq!(opened.is_some(), suite == other);
            }
            let elsewhere = Digest::new([4; 32]);
            assert!(open_provision(suite, &secret, &elsewhere, sealed.as_bytes()).is_none());
        }
    }

    #[test]
    fn hsm_5_provision_under_another_suite_point_or_length_never_reaches_a_token() {
        let (secret, suite) = (generate(), SuiteId::P256_CBCD_KW);
        let (key, context) = (public_of(&secret).unwrap(), Digest::new([3; 32]));
        let sealed = seal_provision(suite, &key, &context, &[9; 32]).unwrap();
        let good = sealed.as_bytes();
        assert!(provision_parts(suite, good).is_some());
        // The same bytes behind the name of another suite.
        for other in [1, 2, 0x7777].map(SuiteId::new) {
            let renamed = [&other.value().to_be_bytes()[..], &good[2..]].concat();
            assert!(provision_parts(suite, &renamed).is_none());
            assert!(open_provision(suite, &secret, &context, &renamed).is_none());
        }
        let (mut off, mut compressed) = (good.to_vec(), good.to_vec());
        off[1 + POINT] ^= 1;
        compressed[2] = 2;
        let long = [good, &[0]].concat();
        for bad in [&off, &compressed, &good[..106], &long, &[]] {
            assert!(provision_parts(suite, bad).is_none());
        }
    }

    #[test]
    fn hsm_3_every_seal_has_an_ephemeral_of_its_own() {
        let key = public_of(&generate()).unwrap();
        let seal = || seal(SuiteId::P256_CBCD_KW, &key, &Digest::new([3; 32]), &[9; 32]).unwrap();
        assert_ne!(seal().as_bytes()[..POINT], seal().as_bytes()[..POINT]);
    }

    #[test]
    fn hsm_2_cbc_derivation_has_the_known_answer() {
        let z = [1; 32];
        let profile = Profile::of(SuiteId::P256_CBCD_KW).unwrap();
        let derived = profile.derive(&z, &Digest::new([0x5a; 32]));
        let expected = "61b9ae6a4584323a3b9178b7414589a24904f0e714d305abfb4a545c4a04e32f";
        assert_eq!(derived[..], hex(expected).unwrap());
    }
}
