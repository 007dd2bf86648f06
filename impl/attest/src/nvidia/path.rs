//! From a leaf to a pinned root: signatures, names, roles and time, with nothing left out.

use std::sync::LazyLock;

use base64ct::{Base64, Encoding};

use super::UnixTime;
use super::cache::Cache;
use super::cert::Cert;
use super::provider::{Form, Provider};
use super::reason::Reason;

/// The roots to which chains must lead.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) device: Cert,
    pub(super) rim: Cert,
}

impl Roots {
    /// NVIDIA's two roots, as pinned in this crate.
    pub(super) fn nvidia() -> &'static Self {
        static ROOTS: LazyLock<Roots> = LazyLock::new(|| {
            // INVARIANT: the two files are part of this crate, and a test reads them.
            let root = |text: &str| {
                let ders = read_pem(text.as_bytes()).expect("a pinned root is PEM");
                let der = ders.first().expect("a pinned root is one certificate");
                Cert::parse(der).expect("a pinned root is a certificate of its profile")
            };
            Roots {
                device: root(include_str!("roots/device.pem")),
                rim: root(include_str!("roots/rim.pem")),
            }
        });
        &ROOTS
    }
}

/// A certificate, counted from the leaf, and the rule that it broke.
pub(super) type Broken = (Reason, u8);

/// Verifies all but time: `certs` leads from a leaf to `root`, which stands last and is the pin.
///
/// The root that was sent counts for nothing: it must be the pinned one, byte for byte. [HS-23]
pub(super) fn verify_path(
    certs: &[Cert],
    root: &Cert,
    provider: Provider,
    links: &Cache<()>,
) -> Result<(), Broken> {
    let (Some(sent), Some(leaf)) = (certs.last(), certs.first()) else {
        return Err((Reason::ChainLength, 0));
    };
    if sent.der() != root.der() {
        return Err((Reason::ChainRoot, place(certs.len().saturating_sub(1))));
    }
    if !leaf.is_leaf() {
        return Err((Reason::ChainRole, 0));
    }
    for (at, pair) in certs.windows(2).enumerate() {
        let [below, above] = pair else { continue };
        // Certificate `at + 1` has `at` certificate authorities between it and the leaf.
        if !above.may_issue(at) {
            return Err((Reason::ChainRole, place(at + 1)));
        }
        if below.issuer() != above.subject() {
            return Err((Reason::ChainIssuer, place(at)));
        }
        let verify = || {
            provider
                .verify(Form::Asn1, above.point(), below.tbs(), below.signature())
                .map_err(|_| (Reason::ChainSignature, place(at)))
        };
        if at >= SHARED {
            let key = [above.spki(), below.der()].concat();
            links.or_verify(&key, verify)?;
        } else {
            verify()?;
        }
    }
    Ok(())
}

/// Every certificate is valid at this time. Never cached. [HS-30]
pub(super) fn valid_at(certs: &[Cert], at: UnixTime) -> Result<(), u8> {
    for (place_of, cert) in certs.iter().enumerate() {
        let (from, until) = cert.validity();
        if at < from || at > until {
            return Err(place(place_of));
        }
    }
    Ok(())
}

/// The certificates of a PEM file: whole lines of base64, only line ends between them.
pub(super) fn read_pem(bytes: &[u8]) -> Result<Vec<Vec<u8>>, Reason> {
    let text = std::str::from_utf8(bytes).map_err(|_| Reason::ChainMalformed)?;
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.trim_matches('\n').is_empty() {
        let body = rest.trim_start_matches('\n').strip_prefix(BEGIN);
        let (body, after) =
            body.and_then(|body| body.split_once(END)).ok_or(Reason::ChainMalformed)?;
        if found.len() >= MOST {
            return Err(Reason::ChainLength);
        }
        found.push(read_base64(body)?);
        rest = after;
    }
    Ok(found)
}

/// Base64 in lines.
pub(super) fn read_base64(text: &str) -> Result<Vec<u8>, Reason> {
    let joined: String = text.split('\n').collect();
    Base64::decode_vec(&joined).map_err(|_| Reason::ChainMalformed)
}

pub(super) fn place(at: usize) -> u8 {
    // BOUND: no chain has more than `MOST` certificates.
    u8::try_from(at).unwrap_or(u8::MAX)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----\n";
const END: &str = "-----END CERTIFICATE-----";
/// More certificates than any chain that is read.
const MOST: usize = 8;
/// From this certificate on, others below the same issuers share the link.
const SHARED: usize = 2;
