//! A reference integrity manifest: the vendor's signed list of measurements of one firmware.
//!
//! Chapter 20. [`Rim`] is only made of a document whose digest, signature and chain verified, and
//! holds only what was read from the canonical bytes that the signature covers. Several signed RIMs
//! exist for one version, so whether this one counts is the policy's to say, by its SHA-256; so is
//! time, which is asked each time. [HS-25]

use std::collections::BTreeMap;

use sha2::Digest as _;
use split_custody_protocol::suite::{Digest, LeafKey};

use super::UnixTime;
use super::cache::Cache;
use super::cert::Cert;
use super::content::{self, Content};
use super::dsig::Signature;
use super::path::{place, valid_at, verify_path};
use super::provider::Provider;
use super::reason::{Finding, Place, Reason};
use super::xml::{DOCUMENT_CAP, Xml};

/// Verified reference values of one firmware.
#[derive(Clone, Debug)]
pub struct Rim {
    sha256: Digest,
    content: Content,
    certs: Vec<Cert>,
    keys: Vec<LeafKey>,
}

/// What is known of a RIM that does not hold: its rules, and its certificates where they were read.
#[derive(Clone, Debug)]
pub(super) struct BadRim {
    findings: Vec<Finding>,
    certs: Vec<Cert>,
}

impl Rim {
    /// Verifies everything but time and pins; every rule that does not hold is told. [HS-25]
    pub(super) fn verify(
        bytes: &[u8],
        number: u8,
        root: &Cert,
        provider: Provider,
        links: &Cache<()>,
    ) -> Result<Self, BadRim> {
        let bad = |reason| BadRim {
            findings: vec![Finding::at(reason, Place::Rim(number))],
            certs: Vec::new(),
        };
        if bytes.len() > DOCUMENT_CAP {
            return Err(bad(Reason::RimTooLong));
        }
        let xml = Xml::parse(bytes).ok_or_else(|| bad(Reason::RimMalformed))?;
        let signature = Signature::read(&xml).map_err(bad)?;
        let certs = certificates(&signature).map_err(bad)?;
        let findings = faults(&signature, &certs, number, root, provider, links);
        if !findings.is_empty() {
            return Err(BadRim { findings, certs });
        }
        // Content comes from the bytes that were signed, never from the document. [HS-25]
        let content = content::read(&signature.covered).ok_or_else(|| bad(Reason::RimContent))?;
        let keys = certs.iter().map(Cert::key_digest).collect();
        let sha256 = Digest::new(sha2::Sha256::digest(bytes).into());
        Ok(Self { sha256, content, certs, keys })
    }

    /// [HS-30]
    pub(super) fn check_time(&self, number: u8, at: UnixTime) -> Result<(), Finding> {
        check_time(&self.certs, number, at)
    }

    /// How policy pins it.
    pub const fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// The driver's or the VBIOS' version.
    pub fn version(&self) -> &str {
        &self.content.version
    }

    /// The chip it is for.
    pub fn product(&self) -> &str {
        &self.content.product
    }

    /// Reference values by index, active ones only; each has at least one alternative.
    pub const fn golden(&self) -> &BTreeMap<u8, Vec<[u8; 48]>> {
        &self.content.golden
    }

    pub(super) fn keys(&self) -> &[LeafKey] {
        &self.keys
    }

    /// From when to when all of its certificates are valid.
    pub fn validity(&self) -> (UnixTime, UnixTime) {
        let each = || self.certs.iter().map(Cert::validity);
        let from = each().map(|(from, _)| from).max().unwrap_or_default();
        let until = each().map(|(_, until)| until).min().unwrap_or_default();
        (from, until)
    }
}

impl BadRim {
    /// Every finding; a RIM that does not hold may be old too.
    pub(super) fn all(&self, number: u8, at: UnixTime) -> Vec<Finding> {
        let old = check_time(&self.certs, number, at).err();
        self.findings.iter().copied().chain(old).collect()
    }
}

fn check_time(certs: &[Cert], number: u8, at: UnixTime) -> Result<(), Finding> {
    valid_at(certs, at)
        .map_err(|cert| Finding::at(Reason::RimExpired, Place::RimCertificate(number, cert)))
}

fn certificates(signature: &Signature) -> Result<Vec<Cert>, Reason> {
    if signature.certificates.is_empty() || signature.certificates.len() > CERTIFICATES {
        return Err(Reason::RimChainLength);
    }
    let parse = |der: &Vec<u8>| Cert::parse(der).map_err(|_| Reason::RimChain);
    signature.certificates.iter().map(parse).collect()
}

/// Digest, signature and chain, each for itself.
fn faults(
    signature: &Signature,
    certs: &[Cert],
    number: u8,
    root: &Cert,
    provider: Provider,
    links: &Cache<()>,
) -> Vec<Finding> {
    let at = Place::Rim(number);
    let mut findings = Vec::new();
    if !signature.digest_holds() {
        findings.push(Finding::at(Reason::RimDigest, at));
    }
    let signer = certs.first().map_or(&[][..], Cert::point);
    if !signature.verifies(provider, signer) {
        findings.push(Finding::at(Reason::RimSignature, at));
    }
    if certs.len() != CERTIFICATES {
        let last = Place::RimCertificate(number, place(certs.len().saturating_sub(1)));
        findings.push(Finding::at(Reason::RimChainLength, last));
    } else if let Err((_, cert)) = verify_path(certs, root, provider, links) {
        findings.push(Finding::at(Reason::RimChain, Place::RimCertificate(number, cert)));
    }
    findings
}

const CERTIFICATES: usize = 4;
