//! A GPU's certificate chain: five certificates from its attestation key to the pinned root.
//!
//! Chapter 20. A [`DeviceChain`] is only made of a chain that verified; whether it is valid at a
//! time is asked each time. The attestation key changes with firmware; the certificate above it is
//! the device's identity. [HS-23] [HS-24]

use der::asn1::{AnyRef, ObjectIdentifier, OctetStringRef};
use der::{Decode, Encode, Reader, SliceReader, Tag, TagNumber, Tagged};
use split_custody_protocol::suite::LeafKey;

use super::UnixTime;
use super::cache::Cache;
use super::cert::Cert;
use super::path::{Broken, place, read_pem, valid_at, verify_path};
use super::provider::Provider;
use super::reason::{Finding, Place, Reason};

/// A chain that leads to the root.
#[derive(Clone, Debug)]
pub struct DeviceChain {
    certs: Vec<Cert>,
    chip: String,
    device: String,
    fwid: Option<[u8; 48]>,
    keys: Vec<LeafKey>,
}

impl DeviceChain {
    /// Verifies everything but time. [HS-23]
    pub(super) fn verify(
        pem: &[u8],
        root: &Cert,
        provider: Provider,
        links: &Cache<()>,
    ) -> Result<Self, Finding> {
        let broken = |(reason, at): Broken| Finding::at(reason, Place::Certificate(at));
        if pem.len() > CHAIN_CAP {
            return Err(Reason::ChainTooLong.into());
        }
        let ders = read_pem(pem)?;
        if ders.len() != CERTIFICATES {
            return Err(Reason::ChainLength.into());
        }
        let parse =
            |(at, der): (usize, &Vec<u8>)| Cert::parse(der).map_err(|r| broken((r, place(at))));
        let certs = ders.iter().enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
        verify_path(&certs, root, provider, links).map_err(broken)?;
        let (Some(leaf), Some(identity)) = (certs.first(), certs.get(1)) else {
            return Err(Reason::ChainLength.into());
        };
        let chip = chip(leaf, identity).ok_or(broken((Reason::ChainNotGpu, 0)))?.to_owned();
        let device = device(leaf, &chip).ok_or(broken((Reason::ChainDeviceId, 0)))?;
        let fwid = fwid(leaf, identity, &chip)?;
        let keys = certs.iter().map(Cert::key_digest).collect();
        Ok(Self { chip, device, fwid, keys, certs })
    }

    /// [HS-30]
    pub(super) fn check_time(&self, at: UnixTime) -> Result<(), Finding> {
        valid_at(&self.certs, at)
            .map_err(|at| Finding::at(Reason::ChainValidity, Place::Certificate(at)))
    }

    /// `GH100`.
    pub fn chip(&self) -> &str {
        &self.chip
    }

    /// `NVIDIA:GH100:48B02D…`, from the leaf.
    pub fn device(&self) -> &str {
        &self.device
    }

    /// The firmware for which the attestation key was made.
    pub const fn fwid(&self) -> Option<&[u8; 48]> {
        self.fwid.as_ref()
    }

    /// The attestation key, as a point.
    pub(super) fn attestation_key(&self) -> &[u8] {
        self.certs.first().map_or(&[], Cert::point)
    }

    /// SubjectPublicKeyInfo of the certificate above the attestation key. [HS-13]
    pub fn identity_spki(&self) -> &[u8] {
        self.certs.get(1).map_or(&[], Cert::spki)
    }

    /// How revocation names each certificate, from the leaf.
    pub fn keys(&self) -> &[LeafKey] {
        &self.keys
    }

    /// Subject and validity of each certificate, from the leaf.
    pub fn certificates(&self) -> impl Iterator<Item = (String, UnixTime, UnixTime)> {
        self.certs.iter().map(|cert| {
            let (from, until) = cert.validity();
            (cert.common_name().unwrap_or("?").to_owned(), from, until)
        })
    }
}

/// `GH100` of `GH100 A01 GSP FMC LF`, where the certificate above is of the same chip's boot ROM.
fn chip<'a>(leaf: &'a Cert, identity: &Cert) -> Option<&'a str> {
    let name = leaf.common_name()?.strip_suffix(LEAF_NAME)?;
    let above = identity.common_name()?.strip_suffix(IDENTITY_NAME)?;
    let (chip, _) = name.split_once(' ')?;
    (name == above && CHIPS.contains(&chip)).then_some(chip)
}

fn device(leaf: &Cert, chip: &str) -> Option<String> {
    let name = leaf.device_name()?;
    let serial = name.strip_prefix("NVIDIA:")?.strip_prefix(chip)?.strip_prefix(':')?;
    let plain = serial.len() == 16 && serial.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then_some(name)
}

/// The firmware id in a leaf, in one of its two forms; none is none, a malformed one is an error.
fn fwid(leaf: &Cert, identity: &Cert, chip: &str) -> Result<Option<[u8; 48]>, Finding> {
    let malformed = Finding::at(Reason::FwidMalformed, Place::Certificate(0));
    match (leaf.extension(COMPOSITE_DEVICE_ID), leaf.extension(TCB_INFO)) {
        (None, None) => Ok(None),
        (Some(value), None) => {
            composite_device_id(value, identity.spki()).map(Some).ok_or(malformed)
        }
        (None, Some(value)) => tcb_info(value, chip).map(Some).ok_or(malformed),
        (Some(_), Some(_)) => Err(malformed),
    }
}

/// `SEQ { 1, device key, SEQ { sha384, digest } }`; the device key is the one above.
fn composite_device_id(value: &[u8], identity: &[u8]) -> Option<[u8; 48]> {
    let mut reader = SliceReader::new(value).ok()?;
    let found = reader
        .sequence(|body| {
            let version = u8::decode(body)?;
            let key = AnyRef::decode(body)?;
            let fwid = body.sequence(digest)?;
            Ok((version, key.to_der()?, fwid))
        })
        .ok()?;
    let (version, key, fwid) = found;
    (reader.is_finished() && version == 1 && key == identity).then_some(fwid?)
}

/// DICE TcbInfo: implicit fields 0 to 9, of which the digests and the flags decide.
fn tcb_info(value: &[u8], chip: &str) -> Option<[u8; 48]> {
    let mut reader = SliceReader::new(value).ok()?;
    let mut fields: Vec<(TagNumber, &[u8])> = Vec::new();
    let read = reader.sequence(|body| {
        while !body.is_finished() {
            let field = AnyRef::decode(body)?;
            match field.tag() {
                Tag::ContextSpecific { number, .. } => fields.push((number, field.value())),
                other => return Err(other.value_error()),
            }
        }
        Ok(())
    });
    let ascending = fields.windows(2).all(|pair| matches!(pair, [a, b] if a.0 < b.0));
    if read.is_err() || !reader.is_finished() || !ascending {
        return None;
    }
    let find = |n| fields.iter().find(|(number, _)| *number == n).map(|(_, value)| *value);
    let vendor = find(TagNumber::N0)? == b"NVIDIA";
    let model = find(TagNumber::N1)?.strip_prefix(chip.as_bytes()).is_some();
    // Not secure, recovery, debug: flags 1 to 3, in the first byte after the count of unused bits.
    let secure = match find(TagNumber::N7) {
        None => true,
        Some([_, flags, ..]) => flags & 0b0111_0000 == 0,
        Some(_) => false,
    };
    let mut digests = SliceReader::new(find(TagNumber::N6)?).ok()?;
    let first = digests.sequence(digest).ok()??;
    (vendor && model && secure).then_some(first)
}

/// `sha384, digest`; none where either is another.
fn digest<'a, R: Reader<'a>>(body: &mut R) -> der::Result<Option<[u8; 48]>> {
    let algorithm = ObjectIdentifier::decode(body)?;
    let value = OctetStringRef::decode(body)?;
    Ok(value.as_bytes().try_into().ok().filter(|_| algorithm == SHA384))
}

/// NVML's buffer for a chain.
pub const CHAIN_CAP: usize = 5120;
const CERTIFICATES: usize = 5;
const LEAF_NAME: &str = " GSP FMC LF";
const IDENTITY_NAME: &str = " GSP BROM";
/// Hopper and Blackwell, as far as Evidence of them is known.
const CHIPS: [&str; 2] = ["GH100", "GB100"];
const COMPOSITE_DEVICE_ID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1");
const TCB_INFO: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.23.133.5.4.1.1");
const SHA384: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
