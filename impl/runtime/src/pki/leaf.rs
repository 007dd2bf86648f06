//! The device's leaf: a key that is made, used and destroyed in one place. Chapter 20.

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

use p256::SecretKey;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rcgen::{CertificateParams, PublicKeyData};
use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use split_custody_protocol::suite::LeafKey;
use x509_cert::der::{Decode, Encode};
use zeroize::{Zeroize, Zeroizing};

use crate::pki::{Identity, PkiError};

/// A P-256 key of one incarnation. No method returns the private half; it is overwritten when the
/// last user drops it. [HS-8] [RST-10]
#[derive(Clone, Debug)]
pub struct DeviceLeaf {
    key: Arc<LeafSecret>,
}

impl DeviceLeaf {
    pub fn generate() -> Result<Self, PkiError> {
        Ok(Self { key: Arc::new(LeafSecret::generate()?) })
    }

    /// A certification request: proves possession of the key and names nobody.
    pub fn request(&self) -> Result<Vec<u8>, PkiError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        Ok(params.serialize_request(&*self.key)?.der().to_vec())
    }

    /// The identity under `chain`, whose leaf must bear this very key.
    pub fn with_chain(&self, chain: Vec<CertificateDer<'static>>) -> Result<Identity, PkiError> {
        let leaf = chain.first().ok_or(PkiError::Der)?;
        if leaf.spki_digest()? != self.spki() {
            return Err(PkiError::Key);
        }
        Ok(Identity { chain, key: Arc::new(LeafSigner(Arc::clone(&self.key))) })
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub fn spki(&self) -> LeafKey {
        digest_of(&self.key.subject_public_key_info())
    }
}

/// Names a certificate by its key.
pub trait SpkiDigest {
    /// SHA-256 of the DER SubjectPublicKeyInfo.
    fn spki_digest(&self) -> Result<LeafKey, PkiError>;
}

impl SpkiDigest for CertificateDer<'_> {
    fn spki_digest(&self) -> Result<LeafKey, PkiError> {
        let certificate = x509_cert::Certificate::from_der(self).map_err(|_| PkiError::Der)?;
        let spki = certificate.tbs_certificate.subject_public_key_info;
        Ok(digest_of(&spki.to_der().map_err(|_| PkiError::Der)?))
    }
}

pub(super) fn digest_of(spki: &[u8]) -> LeafKey {
    let mut bytes = [0; LeafKey::SIZE];
    bytes.copy_from_slice(digest::digest(&digest::SHA256, spki).as_ref());
    LeafKey::new(bytes)
}

/// A key pair whose memory is overwritten on drop; the library that signs does not do it.
struct LeafSecret {
    pair: Box<MaybeUninit<EcdsaKeyPair>>,
    point: Vec<u8>,
    random: SystemRandom,
}

impl LeafSecret {
    fn generate() -> Result<Self, PkiError> {
        let random = SystemRandom::new();
        let secret = draw(&random)?;
        let point = secret.public_key().to_encoded_point(false).as_bytes().to_vec();
        let scalar = Zeroizing::new(secret.to_bytes());
        let pair = EcdsaKeyPair::from_private_key_and_public_key(
            &ECDSA_P256_SHA256_ASN1_SIGNING,
            &scalar,
            &point,
            &random,
        )
        .map_err(|_| PkiError::Key)?;
        Ok(Self { pair: Box::new(MaybeUninit::new(pair)), point, random })
    }

    fn sign_message(&self, message: &[u8]) -> Result<Vec<u8>, ring::error::Unspecified> {
        // SAFETY: `generate` is the only constructor and initializes `pair`; only `drop`
        // overwrites it.
        let pair = unsafe { self.pair.assume_init_ref() };
        Ok(pair.sign(&self.random, message)?.as_ref().to_vec())
    }
}

impl Drop for LeafSecret {
    fn drop(&mut self) {
        // The pair is plain memory without a destructor of its own, so nothing is skipped.
        const { assert!(!std::mem::needs_drop::<EcdsaKeyPair>()) };
        self.pair.zeroize();
    }
}

/// A scalar in range; a draw out of range has a chance of 2^-32.
fn draw(random: &SystemRandom) -> Result<SecretKey, PkiError> {
    let mut bytes = Zeroizing::new([0; 32]);
    for _ in 0..4 {
        random.fill(&mut *bytes).map_err(|_| PkiError::Random)?;
        if let Ok(secret) = SecretKey::from_slice(&*bytes) {
            return Ok(secret);
        }
    }
    Err(PkiError::Random)
}

impl PublicKeyData for LeafSecret {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for LeafSecret {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.sign_message(message).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// The key as the TLS library holds it: by reference count, for as long as a handshake lasts.
#[derive(Clone, Debug)]
struct LeafSigner(Arc<LeafSecret>);

impl SigningKey for LeafSigner {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for LeafSigner {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign_message(message).map_err(|_| rustls::Error::General("signing failed".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl fmt::Debug for LeafSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeafSecret")
    }
}
