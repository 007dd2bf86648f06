//! A leaf whose key is elsewhere: in an HSM, behind a call. Chapter 35.

use std::fmt;
use std::sync::Arc;

use rcgen::PublicKeyData;
use rustls::pki_types::CertificateDer;
use rustls::sign::{Signer, SigningKey};
use rustls::{SignatureAlgorithm, SignatureScheme};
use split_custody_protocol::suite::{Signature, VerifyKey};

use crate::pki::{Identity, PkiError, SpkiDigest};

/// Signs where the key lies. Called on the thread of a handshake, which waits for it.
pub trait RemoteSign: Send + Sync + 'static {
    /// ES256 over `message`; `None` when the key cannot be used now.
    fn sign(&self, message: &[u8]) -> Option<Signature>;
}

/// The public half of a key that is elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct RemotePublic(pub VerifyKey);

impl PublicKeyData for RemotePublic {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

/// The identity under `chain`, whose leaf must bear this very public key.
pub fn remote_identity(
    chain: Vec<CertificateDer<'static>>,
    public: VerifyKey,
    key: Arc<dyn RemoteSign>,
) -> Result<Identity, PkiError> {
    let spki = RemotePublic(public).subject_public_key_info();
    let leaf = chain.first().ok_or(PkiError::Der)?;
    if leaf.spki_digest()? != super::leaf::digest_of(&spki) {
        return Err(PkiError::Key);
    }
    Ok(Identity { chain, key: Arc::new(RemoteKey(key)) })
}

#[derive(Clone)]
struct RemoteKey(Arc<dyn RemoteSign>);

impl SigningKey for RemoteKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP256_SHA256)
            .then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for RemoteKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let failed = || rustls::Error::General("the key's HSM does not sign now".into());
        let signature = self.0.sign(message).ok_or_else(failed)?;
        let signature = p256::ecdsa::Signature::from_slice(signature.as_bytes());
        Ok(signature.map_err(|_| failed())?.to_der().as_bytes().to_vec())
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

impl fmt::Debug for RemoteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKey")
    }
}
