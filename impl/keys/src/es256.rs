//! ES256: ECDSA over P-256 with SHA-256, signatures as r || s. [WIRE-4]

use std::fmt;

use minicbor::Encode;
use pkcs8::SecretDocument;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    UnparsedPublicKey,
};
use split_custody_protocol::suite::{BadSignature, Signature, VerifyKey};
use split_custody_protocol::wire::{ObjectKind, Signed, encode};

use crate::error::KeyError;

/// A private ES256 key; its PKCS#8 form is erased when dropped.
pub struct SigningKey {
    pair: EcdsaKeyPair,
    document: SecretDocument,
    public: VerifyKey,
}

impl SigningKey {
    pub fn generate() -> Result<Self, KeyError> {
        let rng = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng)
            .map_err(|_| KeyError::Signing)?;
        Self::from_pkcs8(der.as_ref())
    }

    /// A key in PKCS#8, its public half included.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let rng = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &rng)
            .map_err(|_| KeyError::NotPkcs8)?;
        let document = SecretDocument::try_from(der).map_err(|_| KeyError::NotPkcs8)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::NotPkcs8)?;
        Ok(Self { pair, document, public: VerifyKey::new(public) })
    }

    pub const fn public(&self) -> VerifyKey {
        self.public
    }

    /// PKCS#8 DER: for a TLS stack, and for key files.
    pub fn pkcs8_der(&self) -> &[u8] {
        self.document.as_bytes()
    }

    /// Signs `message`, which for objects is a COSE `Sig_structure`.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, KeyError> {
        let rng = SystemRandom::new();
        let signature = self.pair.sign(&rng, message).map_err(|_| KeyError::Signing)?;
        signature.as_ref().try_into().map(Signature::new).map_err(|_| KeyError::Signing)
    }

    /// Signs the one encoding of `payload` as an object of `kind`.
    pub fn sign_object<T: Encode<()>>(
        &self,
        kind: ObjectKind,
        payload: &T,
    ) -> Result<Signed, KeyError> {
        let payload = encode(payload);
        if payload.len() > Signed::CAP {
            return Err(KeyError::PayloadTooLong { length: payload.len(), cap: Signed::CAP });
        }
        let signature = self.sign(&Signed::message_over(kind, &payload))?;
        Ok(Signed::new(payload, signature))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public)
    }
}

/// Verifies an ES256 signature over `message` as received. [WIRE-4]
pub fn verify(key: &VerifyKey, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.as_bytes())
        .verify(message, signature.as_bytes())
        .map_err(|_| BadSignature)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wire_4_signature_holds_for_its_kind_payload_and_key_only() {
        let key = SigningKey::generate().unwrap();
        let signed = key.sign_object(ObjectKind::Order, &7u64).unwrap();
        let check = |key: &VerifyKey, message: &[u8]| verify(key, message, signed.signature());

        assert_eq!(check(&key.public(), &signed.message(ObjectKind::Order)), Ok(()));
        let other_kind = signed.message(ObjectKind::Activation);
        assert_eq!(check(&key.public(), &other_kind), Err(BadSignature));
        let other_payload = Signed::message_over(ObjectKind::Order, &encode(&8u64));
        assert_eq!(check(&key.public(), &other_payload), Err(BadSignature));
        let other_key = SigningKey::generate().unwrap().public();
        assert_eq!(check(&other_key, &signed.message(ObjectKind::Order)), Err(BadSignature));
    }

    #[test]
    fn wire_4_point_that_is_not_on_the_curve_verifies_nothing() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign(b"message").unwrap();
        let mut point = *key.public().as_bytes();
        point[64] ^= 1;
        assert_eq!(verify(&VerifyKey::new(point), b"message", &signature), Err(BadSignature));
    }

    #[test]
    fn wire_1_payload_above_the_cap_is_not_signed() {
        let key = SigningKey::generate().unwrap();
        let long = vec![0u32; Signed::CAP];
        let refused = key.sign_object(ObjectKind::Manifest, &long).map(|_| ());
        assert!(matches!(refused, Err(KeyError::PayloadTooLong { .. })));
    }
}
