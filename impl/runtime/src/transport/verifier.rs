//! What a device's chain must look like, beyond being valid. [HS-1] [HS-19]

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use x509_cert::der::{Decode, Encode};

/// Exactly a leaf and the node issuer that signed it.
///
/// The library accepts certificates that its path does not use. Such a passenger would be taken
/// for the node issuer by those who look for an enrolled one in the presented chain: a leaf of one
/// node could travel under the name of another. [HS-19]
#[derive(Debug)]
pub(super) struct NodeChain {
    inner: Arc<dyn ClientCertVerifier>,
}

impl NodeChain {
    pub(super) fn new(inner: Arc<dyn ClientCertVerifier>) -> Self {
        Self { inner }
    }

    /// With these names the only path is leaf, issuer, root.
    fn check_shape(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
    ) -> Result<(), Error> {
        let [issuer] = intermediates else {
            return Err(CertificateError::UnknownIssuer.into());
        };
        let signer = names(leaf)?.issuer;
        let is_root = self.inner.root_hint_subjects().iter().any(|root| root.as_ref() == signer);
        if signer != names(issuer)?.subject || is_root {
            return Err(CertificateError::UnknownIssuer.into());
        }
        Ok(())
    }
}

impl ClientCertVerifier for NodeChain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.inner.verify_client_cert(end_entity, intermediates, now)?;
        self.check_shape(end_entity, intermediates)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

struct Names {
    subject: Vec<u8>,
    issuer: Vec<u8>,
}

fn names(certificate: &CertificateDer<'_>) -> Result<Names, Error> {
    let malformed = |_| Error::from(CertificateError::BadEncoding);
    let certificate = x509_cert::Certificate::from_der(certificate).map_err(malformed)?;
    let body = certificate.tbs_certificate;
    Ok(Names {
        subject: body.subject.to_der().map_err(malformed)?,
        issuer: body.issuer.to_der().map_err(malformed)?,
    })
}
