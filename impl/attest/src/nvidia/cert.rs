//! One certificate, as far as these chains go: P-384, few extensions, one encoding.

use der::asn1::{ObjectIdentifier, Utf8StringRef};
use der::{Decode, Encode};
use split_custody_protocol::suite::LeafKey;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::{Certificate, Version};

use super::UnixTime;
use super::reason::Reason;

/// A certificate whose form holds; nobody vouches for it yet.
#[derive(Clone, Debug)]
pub(super) struct Cert {
    der: Vec<u8>,
    tbs: Vec<u8>,
    signature: Vec<u8>,
    spki: Vec<u8>,
    point: Vec<u8>,
    certificate: Certificate,
    /// Some where the certificate may sign others: how many certificate authorities may follow.
    ca: Option<Option<u8>>,
    usage: Option<KeyUsage>,
}

impl Cert {
    /// Reads DER. What is kept for verifying is what was received: other encodings are refused.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Reason> {
        let malformed = |_| Reason::ChainMalformed;
        let certificate = Certificate::from_der(bytes).map_err(malformed)?;
        if certificate.to_der().map_err(malformed)? != bytes {
            return Err(Reason::ChainMalformed);
        }
        let tbs = &certificate.tbs_certificate;
        let signed = &certificate.signature_algorithm;
        let key = &tbs.subject_public_key_info;
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.decode_as().ok());
        let well = signed.oid == ECDSA_SHA384
            && signed.parameters.is_none()
            && tbs.signature == *signed
            && key.algorithm.oid == EC_PUBLIC_KEY
            && curve == Some(SECP384R1)
            && tbs.version == Version::V3;
        let point = key.subject_public_key.as_bytes().filter(|point| point.len() == 97);
        let (true, Some(point), Some(signature)) = (well, point, certificate.signature.as_bytes())
        else {
            return Err(Reason::ChainAlgorithm);
        };
        let (ca, usage) = extensions(&certificate)?;
        Ok(Self {
            der: bytes.to_vec(),
            tbs: tbs.to_der().map_err(malformed)?,
            signature: signature.to_vec(),
            spki: key.to_der().map_err(malformed)?,
            point: point.to_vec(),
            ca,
            usage,
            certificate,
        })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The key as an uncompressed point.
    pub(super) fn point(&self) -> &[u8] {
        &self.point
    }

    /// How revocation names it: the SHA-256 of its SubjectPublicKeyInfo.
    pub(super) fn key_digest(&self) -> LeafKey {
        use sha2::Digest as _;
        LeafKey::new(sha2::Sha256::digest(&self.spki).into())
    }

    pub(super) fn issuer(&self) -> &Name {
        &self.certificate.tbs_certificate.issuer
    }

    pub(super) fn subject(&self) -> &Name {
        &self.certificate.tbs_certificate.subject
    }

    /// Both ends are within.
    pub(super) fn validity(&self) -> (UnixTime, UnixTime) {
        let validity = &self.certificate.tbs_certificate.validity;
        let seconds = |time: &x509_cert::time::Time| time.to_unix_duration().as_secs();
        (UnixTime::new(seconds(&validity.not_before)), UnixTime::new(seconds(&validity.not_after)))
    }

    /// Whether it may sign certificates with this many certificate authorities between it and the
    /// leaf.
    pub(super) fn may_issue(&self, between: usize) -> bool {
        let depth = match self.ca {
            None => return false,
            Some(depth) => depth,
        };
        depth.is_none_or(|depth| usize::from(depth) >= between)
            && self.usage.is_some_and(|usage| usage.key_cert_sign())
    }

    /// Whether it signs reports or RIMs, and no certificates.
    pub(super) fn is_leaf(&self) -> bool {
        self.ca.is_none()
            && self.usage.is_some_and(|usage| usage.digital_signature() && !usage.key_cert_sign())
    }

    /// The one common name.
    pub(super) fn common_name(&self) -> Option<&str> {
        let names = &self.subject().0;
        let mut found = names
            .iter()
            .flat_map(|set| set.0.iter())
            .filter(|attribute| attribute.oid == COMMON_NAME);
        let one = found.next().filter(|_| found.next().is_none())?;
        std::str::from_utf8(one.value.value()).ok()
    }

    /// The device that a leaf names, as `NVIDIA:GH100:48B02D…`.
    pub(super) fn device_name(&self) -> Option<String> {
        let names = SubjectAltName::from_der(self.extension(SUBJECT_ALT_NAME)?).ok()?;
        let [GeneralName::OtherName(name)] = names.0.as_slice() else { return None };
        let text: Utf8StringRef<'_> = name.value.decode_as().ok()?;
        (name.type_id == DMTF_DEVICE).then(|| text.as_str().to_owned())
    }

    /// The value of an extension.
    pub(super) fn extension(&self, id: ObjectIdentifier) -> Option<&[u8]> {
        let extensions = self.certificate.tbs_certificate.extensions.as_deref()?;
        let found = extensions.iter().find(|extension| extension.extn_id == id)?;
        Some(found.extn_value.as_bytes())
    }
}

type Roles = (Option<Option<u8>>, Option<KeyUsage>);

/// No extension twice, no critical one that we do not know, and what the known ones say.
fn extensions(certificate: &Certificate) -> Result<Roles, Reason> {
    let (mut ca, mut usage) = (None, None);
    let extensions = certificate.tbs_certificate.extensions.as_deref().unwrap_or_default();
    if extensions.len() > MOST_EXTENSIONS {
        return Err(Reason::ChainExtension);
    }
    for (at, extension) in extensions.iter().enumerate() {
        let id = extension.extn_id;
        if extensions.iter().skip(at + 1).any(|other| other.extn_id == id) {
            return Err(Reason::ChainExtension);
        }
        let value = extension.extn_value.as_bytes();
        match id {
            BASIC_CONSTRAINTS => {
                let constraints =
                    BasicConstraints::from_der(value).map_err(|_| Reason::ChainExtension)?;
                ca = constraints.ca.then_some(constraints.path_len_constraint);
            }
            KEY_USAGE => {
                usage = Some(KeyUsage::from_der(value).map_err(|_| Reason::ChainExtension)?);
            }
            _ if extension.critical => return Err(Reason::ChainExtension),
            _ => {}
        }
    }
    Ok((ca, usage))
}

/// More than any certificate of these chains has; each is compared with every other.
const MOST_EXTENSIONS: usize = 32;
const ECDSA_SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const SECP384R1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
const DMTF_DEVICE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.412.274.1");
