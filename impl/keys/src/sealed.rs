//! Sealing a share to a key: `HPKE_X25519`, RFC 9180 base mode.
//!
//! Chapter 30. DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM; `info` is the context digest
//! and the AAD is empty. A sealed share is `enc(32) || ciphertext(32) || tag(16)`. [REL-4]

use std::fmt;

use hpke::aead::{AeadTag, AesGcm256};
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::rand_core::CryptoRng;
use hpke::{Deserializable, Kem, OpModeR, OpModeS, Serializable};
use rand_core::{OsRng, TryRngCore};
use split_custody_protocol::suite::{AgreementKey, Digest, Label, SealedShare, SuiteId};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::hash::hash_label;
use crate::p256kw::{self, Point};
use crate::shamir::Secret;

type PrivateKey = <X25519HkdfSha256 as Kem>::PrivateKey;

const ENC: usize = 32;
const SHARE: usize = 32;
const TAG: usize = 16;

/// A custodian's key-encryption key, public half: what the owner seals shares to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KekPublic(Kek);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kek {
    X25519([u8; 32]),
    P256(SuiteId, Point),
}

impl KekPublic {
    /// An X25519 key; `None` for a point of low order, under which nothing would be secret. [HS-15]
    pub fn new(bytes: [u8; 32]) -> Option<Self> {
        is_contributory(&bytes).then_some(Self(Kek::X25519(bytes)))
    }

    /// The import key of an HSM; `None` for an invalid point or a suite that is not of P-256.
    pub fn p256(suite: SuiteId, point: &[u8]) -> Option<Self> {
        p256kw::Profile::of(suite)?;
        Some(Self(Kek::P256(suite, p256kw::valid_point(point)?))) // [HSM-1]
    }

    /// 32 bytes of X25519, or a point of 65 bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Kek::X25519(bytes) => bytes,
            Kek::P256(_, point) => point,
        }
    }

    /// The suite in which shares are sealed to it, and in which its custodian serves.
    pub const fn suite(&self) -> SuiteId {
        match &self.0 {
            Kek::X25519(_) => SuiteId::HPKE_X25519,
            Kek::P256(suite, _) => *suite,
        }
    }

    /// `H("kek", key)`: how manifests and provisions name it.
    pub fn digest(&self) -> Digest {
        hash_label(Label::Kek, &[self.as_bytes()])
    }

    /// Seals a value that is no secret: for known-answer tests of a token. [HSM-7]
    pub fn seal_known_answer(&self, context: &Digest, value: &[u8; 32]) -> Option<SealedShare> {
        self.seal(context, value)
    }

    /// Seals a share to it under the provision context, with an ephemeral of its own. [HSM-5]
    pub(crate) fn seal(&self, context: &Digest, share: &[u8; 32]) -> Option<SealedShare> {
        match &self.0 {
            Kek::X25519(key) => seal_share(key, context, share),
            Kek::P256(suite, point) => p256kw::seal_provision(*suite, point, context, share),
        }
    }
}

/// A custodian's KEK in software.
pub struct KekSecret {
    suite: SuiteId,
    secret: Secret,
}

impl KekSecret {
    /// An X25519 key.
    pub fn generate() -> Self {
        let mut secret = Zeroizing::new([0; 32]);
        crate::memory::fill_random(&mut secret[..]);
        Self { suite: SuiteId::HPKE_X25519, secret }
    }

    /// A P-256 key: the software twin of an HSM's import key. `None` for a suite not of P-256.
    pub fn generate_p256(suite: SuiteId) -> Option<Self> {
        p256kw::Profile::of(suite)?;
        Some(Self { suite, secret: p256kw::generate() })
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self { suite: SuiteId::HPKE_X25519, secret: Zeroizing::new(*bytes) }
    }

    pub fn public(&self) -> KekPublic {
        KekPublic(match self.suite {
            SuiteId::HPKE_X25519 => Kek::X25519(public_of(&self.secret)),
            // INVARIANT: a P-256 secret is drawn in range.
            suite => Kek::P256(suite, p256kw::public_of(&self.secret).expect("a scalar in range")),
        })
    }

    /// Opens what was sealed to it by [`KekPublic::seal`].
    pub(crate) fn open(&self, context: &Digest, sealed: &SealedShare) -> Option<Secret> {
        match self.suite {
            SuiteId::HPKE_X25519 => open_share(&self.secret, context, sealed.as_bytes()),
            suite => p256kw::open_provision(suite, &self.secret, context, sealed.as_bytes()),
        }
    }

    pub(crate) fn expose(&self) -> &[u8; 32] {
        &self.secret
    }
}

impl fmt::Debug for KekSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KekSecret(public {})", self.public().digest())
    }
}

/// The public half of an X25519 private key.
pub(crate) fn public_of(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

/// Whether agreement with this key gives a secret that depends on both sides. [HS-15]
///
/// Any clamped scalar is a multiple of the cofactor, so one trial finds every low-order point.
pub(crate) fn is_contributory(key: &[u8; 32]) -> bool {
    StaticSecret::from([0x5a; 32]).diffie_hellman(&PublicKey::from(*key)).was_contributory()
}

/// Seals a share to a public key under `context`; `None` when the key is not valid.
pub(crate) fn seal_share(to: &[u8], context: &Digest, share: &[u8; 32]) -> Option<SealedShare> {
    seal_with(to, context.as_bytes(), share, &mut OsRng.unwrap_err())
}

fn seal_with(
    to: &[u8],
    info: &[u8],
    plaintext: &[u8],
    rng: &mut impl CryptoRng,
) -> Option<SealedShare> {
    let to = Deserializable::from_bytes(to).ok()?;
    // In place: the buffer holds the share until it holds the ciphertext, and is erased if neither.
    let mut buffer = Zeroizing::new(plaintext.to_vec());
    let (enc, tag) = hpke::single_shot_seal_in_place_detached::<
        AesGcm256,
        HkdfSha256,
        X25519HkdfSha256,
        _,
    >(&OpModeS::Base, &to, info, &mut buffer, &[], rng)
    .ok()?;
    SealedShare::new([&enc.to_bytes()[..], &buffer[..], &tag.to_bytes()[..]].concat())
}

/// Opens a sealed share; `None` on any failure, without saying which.
pub(crate) fn open_share(secret: &[u8; 32], context: &Digest, sealed: &[u8]) -> Option<Secret> {
    let opened = open_with(secret, context.as_bytes(), &[], sealed)?;
    let mut share = Zeroizing::new([0; SHARE]);
    (opened.len() == SHARE).then(|| share.copy_from_slice(&opened))?;
    Some(share)
}

/// Opens any length; also what the self-test runs over the published vectors.
pub(crate) fn open_with(
    secret: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let secret = PrivateKey::from_bytes(secret).ok()?;
    let (enc, rest) = sealed.split_at_checked(ENC)?;
    let (ciphertext, tag) = rest.split_at_checked(rest.len().checked_sub(TAG)?)?;
    let enc = Deserializable::from_bytes(enc).ok()?;
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).ok()?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    hpke::single_shot_open_in_place_detached::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &secret,
        &enc,
        info,
        &mut buffer,
        aad,
        &tag,
    )
    .ok()?;
    Some(buffer)
}

/// The 32 bytes of an X25519 key on the wire; `None` for another length or a low-order point.
pub(crate) fn valid_agreement_key(key: &AgreementKey) -> Option<&[u8; 32]> {
    let bytes: &[u8; 32] = key.as_bytes().try_into().ok()?;
    is_contributory(bytes).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use hpke::rand_core::RngCore;

    use super::*;

    const CONTEXT: Digest = Digest::new([3; 32]);

    #[test]
    fn rel_4_share_opens_only_under_its_context_and_key() {
        let (ours, theirs) = (KekSecret::generate(), KekSecret::generate());
        let sealed = seal_share(ours.public().as_bytes(), &CONTEXT, &[9; 32]).unwrap();
        let open = |key: &KekSecret, context: &Digest| {
            open_share(key.expose(), context, sealed.as_bytes())
        };

        assert_eq!(*open(&ours, &CONTEXT).unwrap(), [9; 32]);
        assert!(open(&ours, &Digest::new([4; 32])).is_none());
        assert!(open(&theirs, &CONTEXT).is_none());
    }

    #[test]
    fn rel_4_sealed_share_is_eighty_bytes_and_every_flipped_bit_is_noticed() {
        let key = KekSecret::generate();
        let sealed = seal_share(key.public().as_bytes(), &CONTEXT, &[9; 32]).unwrap();
        assert_eq!(sealed.as_bytes().len(), 80);
        for bit in 0..sealed.as_bytes().len() * 8 {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // X25519 ignores the top bit of a point by definition (RFC 7748 section 5), but the
            // encapsulation's bytes enter the key schedule.
            assert!(open_share(key.expose(), &CONTEXT, &bytes).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn wire_1_truncated_sealed_share_does_not_open() {
        let key = KekSecret::generate();
        let sealed = seal_share(key.public().as_bytes(), &CONTEXT, &[9; 32]).unwrap();
        for length in 0..80 {
            assert!(open_share(key.expose(), &CONTEXT, &sealed.as_bytes()[..length]).is_none());
        }
    }

    #[test]
    fn hs_15_low_order_points_are_not_keys() {
        // RFC 7748 section 6.1 and the list of small-order points of Curve25519.
        for point in LOW_ORDER {
            let bytes: [u8; 32] = crate::files::hex(point).unwrap().try_into().unwrap();
            assert!(!is_contributory(&bytes), "{point}");
            assert!(seal_share(&bytes, &CONTEXT, &[9; 32]).is_none(), "{point}");
        }
        assert!(
            KekPublic::new(
                *KekSecret::from_bytes(&[7; 32]).public().as_bytes().first_chunk().unwrap()
            )
            .is_some()
        );
    }

    /// Gives out the vector's `ikmE`, once.
    struct Given(Vec<u8>);

    impl RngCore for Given {
        fn next_u32(&mut self) -> u32 {
            unreachable!("key generation fills bytes")
        }

        fn next_u64(&mut self) -> u64 {
            unreachable!("key generation fills bytes")
        }

        fn fill_bytes(&mut self, out: &mut [u8]) {
            out.copy_from_slice(&std::mem::take(&mut self.0));
        }
    }

    impl CryptoRng for Given {}

    #[test]
    fn rel_4_setup_of_sender_and_receiver_agree_with_rfc_9180() {
        let text = include_str!("../vectors/hpke-rfc9180/test-vectors.json");
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        let vector = &vectors[0];
        let bytes = |name: &str| crate::files::hex(vector[name].as_str().unwrap()).unwrap();

        // Receiver: the private key given, the exporter secret of the same key schedule compared.
        let secret = PrivateKey::from_bytes(&bytes("skRm")).unwrap();
        let enc = Deserializable::from_bytes(&bytes("enc")).unwrap();
        let receiver = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeR::Base,
            &secret,
            &enc,
            &bytes("info"),
        )
        .unwrap();
        for export in vector["exports"].as_array().unwrap() {
            let of = |name: &str| crate::files::hex(export[name].as_str().unwrap()).unwrap();
            let mut out = vec![0; export["L"].as_u64().unwrap() as usize];
            receiver.export(&of("exporter_context"), &mut out).unwrap();
            assert_eq!(out, of("exported_value"));
        }

        // Sender: the ephemeral's keying material given, `enc` and the exports compared.
        let to = Deserializable::from_bytes(&bytes("pkRm")).unwrap();
        let (enc, mut sender) = hpke::setup_sender::<AesGcm256, HkdfSha256, X25519HkdfSha256, _>(
            &OpModeS::Base,
            &to,
            &bytes("info"),
            &mut Given(bytes("ikmE")),
        )
        .unwrap();
        assert_eq!(&enc.to_bytes()[..], bytes("enc"));
        let first = &vector["encryptions"][0];
        let of = |name: &str| crate::files::hex(first[name].as_str().unwrap()).unwrap();
        assert_eq!(sender.seal(&of("pt"), &of("aad")).unwrap(), of("ct"));
    }

    const LOW_ORDER: [&str; 7] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
}
