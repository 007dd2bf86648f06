//! `Request` and the Evidence in it. Chapter 20.

use minicbor::{Decode, Encode};

use crate::ids::CustodianId;
use crate::suite::{AgreementKey, Bytes, DeviceId, Digest, Incarnation};
use crate::wire::codec::List;

/// Asks one custodian for its share; its bytes enter th2. [WIRE-6]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Request {
    #[n(1)]
    pub manifest: Digest,
    #[n(2)]
    pub device: DeviceId,
    #[n(3)]
    pub incarnation: Incarnation,
    /// Every custodian of the session, ascending. [HS-9]
    #[n(4)]
    pub entries: List<Entry, 1, 255>,
    /// For this custodian and attempt alone. [HS-8]
    #[n(5)]
    pub device_key: AgreementKey,
    #[n(6)]
    pub evidence: Evidence,
}

/// One custodian's part of the session.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Entry {
    #[n(1)]
    pub custodian: CustodianId,
    #[n(2)]
    pub digest: Digest,
}

/// Evidence of both halves of a device; opaque here, hashed as received.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Evidence {
    #[n(1)]
    pub kind: EvidenceKind,
    #[n(2)]
    pub gpu: Bytes<524_288>,
    #[n(3)]
    pub cpu: Bytes<262_144>,
}

/// What kind of Evidence; policy names the kinds it admits. [HS-16]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(transparent)]
pub struct EvidenceKind(#[n(0)] u16);

impl EvidenceKind {
    /// Development: two software keys sign. Isolation is whatever the operating system gives.
    pub const SOFTWARE: Self = Self(1);
    /// GPU reports, and a token of the CPU's verifier.
    pub const NVIDIA_CC: Self = Self(2);

    pub const fn new(kind: u16) -> Self {
        Self(kind)
    }

    pub const fn value(self) -> u16 {
        self.0
    }
}
