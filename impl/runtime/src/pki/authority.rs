//! Authorities: deployment CA, node issuer, custodian root. Chapter 20.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    PublicKeyData, SanType,
};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer,
};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::{LeafKey, VerifyKey};

use crate::pki::files::pem_of;
use crate::pki::leaf::SpkiDigest;
use crate::pki::remote::RemotePublic;
use crate::pki::{Identity, PkiError, custodian_dns};

/// When a certificate is valid, in wall time.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    pub not_before: SystemTime,
    pub not_after: SystemTime,
}

impl Validity {
    /// From five minutes ago, for clocks that differ, for this long.
    pub fn starting_now(length: Duration) -> Self {
        let now = SystemTime::now();
        Self { not_before: now - CLOCK_SLACK, not_after: now + length }
    }

    fn apply(self, params: &mut CertificateParams) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
        params.not_before = epoch + since(self.not_before);
        params.not_after = epoch + since(self.not_after);
    }
}

/// Certifies node issuers; its certificate is the root that custodians trust.
#[derive(Debug)]
pub struct DeploymentCa(Authority);

impl DeploymentCa {
    pub fn generate(name: &str) -> Result<Self, PkiError> {
        let mut params = authority(&format!("{name} deployment CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        Authority::root(&params).map(Self)
    }

    /// From what [`DeploymentCa::certificate`] and [`DeploymentCa::key_pem`] gave.
    pub fn from_pem(certificate: CertificateDer<'static>, key: &str) -> Result<Self, PkiError> {
        Authority::new(certificate, KeyPair::from_pem(key)?).map(Self)
    }

    /// An issuer for one node: client certificates only, and no CA below it.
    pub fn issue_node(&self, name: &str) -> Result<NodeIssuer, PkiError> {
        let key = KeyPair::generate()?;
        let mut params = authority(&format!("{name} node issuer"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = self.0.sign(&params, &key)?;
        Authority::new(certificate, key).map(NodeIssuer)
    }

    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    pub fn key_pem(&self) -> String {
        self.0.issuer.key().serialize_pem()
    }
}

/// Certifies device leaves on one node; the host holds it and may certify any key.
#[derive(Debug)]
pub struct NodeIssuer(Authority);

impl NodeIssuer {
    /// From what [`NodeIssuer::certificate`] and [`NodeIssuer::key_pem`] gave.
    pub fn from_pem(certificate: CertificateDer<'static>, key: &str) -> Result<Self, PkiError> {
        Authority::new(certificate, KeyPair::from_pem(key)?).map(Self)
    }

    /// The chain for the key in `request`; nothing but the key is taken from it.
    pub fn certify(
        &self,
        request: &[u8],
        validity: Validity,
    ) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let request = CertificateSigningRequestDer::from(request);
        let request = CertificateSigningRequestParams::from_der(&request)?;
        let mut params = end_entity("device leaf", validity);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let leaf = self.0.sign(&params, &request.public_key)?;
        Ok(vec![leaf, self.0.certificate.clone()])
    }

    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    /// The digest by which a deployment record enrols this issuer. [HS-19]
    pub fn spki(&self) -> Result<LeafKey, PkiError> {
        self.0.certificate.spki_digest()
    }

    pub fn key_pem(&self) -> String {
        self.0.issuer.key().serialize_pem()
    }
}

/// Certifies custodians; its certificate is the root that devices trust.
#[derive(Debug)]
pub struct CustodianRoot(Authority);

impl CustodianRoot {
    pub fn generate(name: &str) -> Result<Self, PkiError> {
        let mut params = authority(&format!("{name} custodian root"));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Authority::root(&params).map(Self)
    }

    /// From what [`CustodianRoot::certificate`] and [`CustodianRoot::key_pem`] gave.
    pub fn from_pem(certificate: CertificateDer<'static>, key: &str) -> Result<Self, PkiError> {
        Authority::new(certificate, KeyPair::from_pem(key)?).map(Self)
    }

    /// A leaf that names the custodian, and its new key as PEM.
    pub fn issue(&self, custodian: CustodianId) -> Result<(Identity, String), PkiError> {
        let key = KeyPair::generate()?;
        let identity = self.issue_for(custodian, key.serialized_der())?;
        Ok((identity, key.serialize_pem()))
    }

    /// A leaf in PEM that names the custodian, for a P-256 key that lies elsewhere.
    pub fn certify(&self, custodian: CustodianId, key: VerifyKey) -> Result<String, PkiError> {
        let params = custodian_params(custodian)?;
        pem_of(&self.0.sign(&params, &RemotePublic(key))?)
    }

    /// A leaf that names the custodian, for its own P-256 key in PKCS#8.
    pub fn issue_for(&self, custodian: CustodianId, pkcs8: &[u8]) -> Result<Identity, PkiError> {
        let der = PrivatePkcs8KeyDer::from(pkcs8);
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)?;
        let chain = vec![self.0.sign(&custodian_params(custodian)?, &key)?];
        let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(der)).map_err(|_| PkiError::Key)?;
        Ok(Identity { chain, key })
    }

    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.0.certificate
    }

    pub fn key_pem(&self) -> String {
        self.0.issuer.key().serialize_pem()
    }
}

/// A certificate that may sign others, and its key.
#[derive(Debug)]
struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn root(params: &CertificateParams) -> Result<Self, PkiError> {
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.der().clone();
        Self::new(certificate, key)
    }

    fn new(certificate: CertificateDer<'static>, key: KeyPair) -> Result<Self, PkiError> {
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        Ok(Self { certificate, issuer })
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, PkiError> {
        Ok(params.signed_by(key, &self.issuer)?.der().clone())
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name, Validity::starting_now(AUTHORITY_LIFE));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn end_entity(name: &str, validity: Validity) -> CertificateParams {
    let mut params = named(name, validity);
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params
}

fn custodian_params(custodian: CustodianId) -> Result<CertificateParams, PkiError> {
    let name = custodian_dns(custodian);
    let mut params = end_entity(&name, Validity::starting_now(CUSTODIAN_LIFE));
    params.subject_alt_names = vec![SanType::DnsName(Ia5String::try_from(name)?)];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    Ok(params)
}

fn named(name: &str, validity: Validity) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
    validity.apply(&mut params);
    params
}

const CLOCK_SLACK: Duration = Duration::from_secs(300);
const AUTHORITY_LIFE: Duration = Duration::from_secs(5 * 365 * 86_400);
const CUSTODIAN_LIFE: Duration = Duration::from_secs(90 * 86_400);
