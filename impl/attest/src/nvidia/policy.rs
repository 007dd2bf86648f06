//! What the owner admits: the appraisal policy and the revocation snapshot, both signed.
//!
//! Chapter 20. [`KnownPolicy`] and [`KnownRevocations`] are only made of objects that the owner's key
//! signed. Default deny: every list names what it admits, and an empty list does not decode.
//! [HS-27]

use minicbor::{Decode, Encode};
use split_custody_keys::{hash, verify};
use split_custody_protocol::suite::{Bytes, Digest, LeafKey, VerifyKey};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::message::Wire;
use split_custody_protocol::wire::{ObjectKind, Signed, decode};

use super::UnixTime;
use super::chain::DeviceChain;
use super::opaque::{Mode, Opaque};
use super::reason::{Finding, Place, Reason};

/// A version, chip or device name.
pub type Text = Bytes<64>;

/// What the owner admits of NVIDIA Evidence.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Policy {
    /// Monotone, for people; the manifest pins the digest.
    #[n(1)]
    pub version: u64,
    #[n(2)]
    pub not_before: UnixTime,
    #[n(3)]
    pub not_after: UnixTime,
    /// `GH100`.
    #[n(4)]
    pub chips: List<Text, 1, 8>,
    /// `NVIDIA:GH100:48B02D…`, as leaves name devices.
    #[n(5)]
    pub devices: List<Text, 1, 1024>,
    #[n(6)]
    pub drivers: List<Text, 1, 64>,
    /// No listed driver below this one counts.
    #[n(7)]
    pub driver_floor: Text,
    #[n(8)]
    pub vbios: List<Text, 1, 64>,
    #[n(9)]
    pub vbios_floor: Text,
    /// SHA-256 of each RIM: a signed RIM of the right version is not yet the right RIM. [HS-25]
    #[n(10)]
    pub rims: List<Digest, 2, 128>,
    /// The owner vouches that the pinned RIMs were valid then; without it they must be valid now.
    #[n(11)]
    pub rims_as_of: List<UnixTime, 0, 1>,
    #[n(12)]
    pub modes: List<u8, 1, 8>,
    /// How many GPUs a device has.
    #[n(13)]
    pub gpus: u8,
    /// No revocation snapshot below this serial counts.
    #[n(14)]
    pub revocations_floor: u64,
    /// Who may sign CPU tokens.
    #[n(15)]
    pub token_issuers: List<VerifyKey, 1, 8>,
    #[n(16)]
    pub token_measurements: List<Digest, 1, 64>,
}

/// Certificates that count no more, as of a time.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct Revocations {
    /// Monotone.
    #[n(1)]
    pub serial: u64,
    #[n(2)]
    pub issued: UnixTime,
    /// Not valid at this time any more.
    #[n(3)]
    pub expires: UnixTime,
    /// SHA-256 of the SubjectPublicKeyInfo of a certificate in a device's or a RIM's chain.
    #[n(4)]
    pub keys: List<LeafKey, 0, 1024>,
}

/// A policy that the owner signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownPolicy {
    policy: Policy,
    digest: Digest,
}

/// A revocation snapshot that the owner signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownRevocations(Revocations);

/// The longest signed policy or snapshot.
pub const SIGNED_CAP: usize = Signed::CAP + 128;

impl KnownPolicy {
    /// Verifies under the owner's key, then reads. [HS-27]
    pub fn verify(owner: &VerifyKey, bytes: &[u8]) -> Result<Self, Reason> {
        let reasons = (Reason::PolicyMalformed, Reason::PolicySignature);
        let (policy, payload): (Policy, _) =
            open(owner, bytes, ObjectKind::AppraisalPolicy, reasons)?;
        Ok(Self { policy, digest: hash(POLICY, &[&payload]) })
    }

    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How a manifest admits this policy, as one of its measurements. [HS-16]
    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// [HS-30]
    pub(super) fn check_time(&self, at: UnixTime) -> Result<(), Reason> {
        let now = at >= self.policy.not_before && at < self.policy.not_after;
        now.then_some(()).ok_or(Reason::PolicyNotNow)
    }

    /// When RIMs must be valid.
    pub(super) fn rim_time(&self, at: UnixTime) -> UnixTime {
        self.policy.rims_as_of.iter().next().copied().unwrap_or(at)
    }

    pub(super) fn pins(&self, rim: &Digest) -> bool {
        self.policy.rims.iter().any(|pin| pin == rim)
    }

    pub(super) fn admits_mode(&self, mode: Mode) -> bool {
        self.policy.modes.iter().any(|named| *named == mode.number())
    }

    /// Device, driver and VBIOS, all of which must be named. [HS-27]
    pub(super) fn check_gpu(&self, chain: &DeviceChain, opaque: &Opaque<'_>) -> Vec<Finding> {
        let Policy { chips, devices, drivers, driver_floor, vbios, vbios_floor, .. } = &self.policy;
        let named =
            |list: &[Text], text: &str| list.iter().any(|t| t.as_bytes() == text.as_bytes());
        let (driver, firmware) = (opaque.driver(), opaque.vbios());
        [
            (named(chips.as_slice(), chain.chip()), Reason::ChipNotListed),
            (named(devices.as_slice(), chain.device()), Reason::DeviceNotListed),
            (named(drivers.as_slice(), driver), Reason::DriverNotListed),
            (at_least(driver, driver_floor, 10), Reason::DriverBelowFloor),
            (named(vbios.as_slice(), firmware), Reason::VbiosNotListed),
            (at_least(firmware, vbios_floor, 16), Reason::VbiosBelowFloor),
        ]
        .into_iter()
        .filter(|(holds, _)| !holds)
        .map(|(_, reason)| reason.into())
        .collect()
    }
}

impl KnownRevocations {
    /// Verifies under the owner's key, then reads. [HS-27]
    pub fn verify(owner: &VerifyKey, bytes: &[u8]) -> Result<Self, Reason> {
        let reasons = (Reason::RevocationsMalformed, Reason::RevocationsSignature);
        Ok(Self(open(owner, bytes, ObjectKind::Revocations, reasons)?.0))
    }

    pub const fn revocations(&self) -> &Revocations {
        &self.0
    }

    /// Fresh at this time, and not older than the policy allows. [HS-27] [HS-30]
    pub(super) fn check(&self, policy: &KnownPolicy, at: UnixTime) -> Result<(), Reason> {
        if at < self.0.issued || at >= self.0.expires {
            return Err(Reason::RevocationsStale);
        }
        if self.0.serial < policy.policy.revocations_floor {
            return Err(Reason::RevocationsOld);
        }
        Ok(())
    }

    /// The certificates of a chain that are revoked.
    pub(super) fn among<'a>(&self, keys: &'a [LeafKey]) -> impl Iterator<Item = u8> + use<'a, '_> {
        let revoked = |key: &LeafKey| self.0.keys.iter().any(|revoked| revoked == key);
        (0u8..).zip(keys).filter(move |(_, key)| revoked(key)).map(|(at, _)| at)
    }

    pub(super) fn check_chain(&self, chain: &DeviceChain) -> Vec<Finding> {
        self.among(chain.keys())
            .map(|at| Finding::at(Reason::CertificateRevoked, Place::Certificate(at)))
            .collect()
    }
}

/// The payload of an object of the owner's, and its bytes.
fn open<T: Wire>(
    owner: &VerifyKey,
    bytes: &[u8],
    kind: ObjectKind,
    (malformed, unsigned): (Reason, Reason),
) -> Result<(T, Vec<u8>), Reason> {
    let signed: Signed = decode(bytes, SIGNED_CAP).map_err(|_| malformed)?;
    verify(owner, &signed.message(kind), signed.signature()).map_err(|_| unsigned)?;
    let payload = signed.payload().map_err(|_| malformed)?;
    Ok((payload, signed.payload_bytes().to_vec()))
}

/// Whether a dotted version is not below another; a floor that is no version lets nothing through.
fn at_least(version: &str, floor: &Text, radix: u32) -> bool {
    let parts = |text: &str| -> Option<Vec<u32>> {
        text.split('.').map(|part| u32::from_str_radix(part, radix).ok()).collect()
    };
    let floor = std::str::from_utf8(floor.as_bytes()).ok().and_then(parts);
    matches!((parts(version), floor), (Some(version), Some(floor)) if version >= floor)
}

const POLICY: &str = "split-custody/v1/appraisal-policy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_27_versions_are_compared_by_number() {
        let at_least = |version: &str, floor: &str, radix| {
            super::at_least(version, &Text::new(floor.into()).unwrap(), radix)
        };
        assert!(at_least("550.90.07", "550.90.07", 10));
        assert!(at_least("550.144.03", "550.90.07", 10));
        assert!(!at_least("99.0", "550.0", 10));
        assert!(!at_least("545.00", "550", 10));
        assert!(at_least("96.00.A5.00.01", "96.00.9F.00.01", 16));
        assert!(!at_least("96.00.5E.00.01", "96.00.9F.00.01", 16));
        assert!(!at_least("550.1", "latest", 10));
    }
}
