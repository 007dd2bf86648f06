//! What the owner signs: manifest, tensor table, deployment record. Chapter 15.

use minicbor::{Decode, Encode};

use crate::ids::{
    Budget, ContainerId, CustodianId, DeploymentId, PolicyVersion, ShareIndex, ShareSetId,
    WeightsId, WeightsVersion,
};
use crate::suite::{DeviceId, Digest, LeafKey, SuiteId, VerifyKey};
use crate::time::Span;
use crate::wire::codec::List;
use crate::wire::evidence::EvidenceKind;

/// One model version, its key's custody, and the floor of its policy.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Manifest {
    #[n(1)]
    pub deployment: DeploymentId,
    #[n(2)]
    pub weights: WeightsId,
    /// Monotone: a custodian keeps a floor.
    #[n(3)]
    pub version: WeightsVersion,
    #[n(4)]
    pub container: ContainerId,
    /// `H("dek", weights, version, DEK)`. [QRM-3]
    #[n(5)]
    pub dek: Digest,
    #[n(6)]
    pub set: ShareSetId,
    #[n(7)]
    pub k: u8,
    #[n(8)]
    pub n: u8,
    #[n(9)]
    pub f: u8,
    /// Ascending by id. [QRM-7]
    #[n(10)]
    pub custodians: List<CustodianEntry, 1, 255>,
    /// `H("table", bytes)` of the encoded [`Table`].
    #[n(11)]
    pub table: Digest,
    /// Merkle root over commitments and tags. [SEAL-9]
    #[n(12)]
    pub root: Digest,
    /// No lease term is longer.
    #[n(13)]
    pub ttl_max: Span,
    #[n(14)]
    pub policy: Policy,
    /// Every earlier share set of the same DEK that is not retired. [REV-8]
    #[n(15)]
    pub earlier: List<EarlierSet, 0, 16>,
}

/// One custodian of a share set.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct CustodianEntry {
    #[n(1)]
    pub id: CustodianId,
    /// Verifies grants and acknowledgements; the algorithm is pinned with the key.
    #[n(2)]
    pub grant_key: VerifyKey,
    #[n(3)]
    pub suites: List<SuiteId, 1, 16>,
    #[n(4)]
    pub index: ShareIndex,
    /// `H("share", set, custodian, index, share)`. [QRM-2]
    #[n(5)]
    pub commitment: Digest,
    /// `H("kek", key)` of the key that the share was sealed to.
    #[n(6)]
    pub kek: Digest,
}

/// The floor policy: nothing is admitted that it does not name. [HS-16]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Policy {
    #[n(1)]
    pub version: PolicyVersion,
    #[n(2)]
    pub kinds: List<EvidenceKind, 1, 8>,
    #[n(3)]
    pub measurements: List<Digest, 1, 256>,
    #[n(4)]
    pub modes: List<u8, 1, 8>,
    #[n(5)]
    pub first: Span,
    #[n(6)]
    pub term: Span,
    #[n(7)]
    pub budget: Budget,
    #[n(8)]
    pub max_age: Span,
    /// How long a device waits for custodians to answer.
    #[n(9)]
    pub gather: Span,
    /// The one clock bound m: two readings of one clock within ttl-max and m err by at most this.
    #[n(10)]
    pub margin: Span,
    /// At most 60 seconds. [HS-7]
    #[n(11)]
    pub challenge_max: Span,
}

/// An earlier share set of the same DEK.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct EarlierSet {
    #[n(1)]
    pub set: ShareSetId,
    #[n(2)]
    pub n: u8,
    #[n(3)]
    pub k: u8,
    #[n(4)]
    pub f: u8,
    #[n(5)]
    pub manifest: Digest,
}

/// The public tensor table, beside the manifest: names stay sealed in tensor 0.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Table {
    #[n(1)]
    pub container: ContainerId,
    /// Where the data section begins in the sealed file.
    #[n(2)]
    pub data_offset: u64,
    #[n(3)]
    pub tensors: List<TableRow, 1, 1_048_576>,
}

impl Table {
    /// The longest encoded table.
    pub const CAP: usize = 134_217_728;
}

/// One sealed tensor; tensor 0 is the original header.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct TableRow {
    #[n(1)]
    pub index: u32,
    /// From the beginning of the data section.
    #[n(2)]
    pub offset: u64,
    /// Of the ciphertext, in bytes.
    #[n(3)]
    pub length: u64,
    #[cbor(n(4), with = "minicbor::bytes")]
    pub salt: [u8; 24],
    #[n(5)]
    pub commitment: Digest,
}

/// Who operates a deployment and which devices are enrolled in it.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Deployment {
    #[n(1)]
    pub deployment: DeploymentId,
    /// Monotone.
    #[n(2)]
    pub version: u64,
    #[n(3)]
    pub operators: List<VerifyKey, 1, 16>,
    #[n(4)]
    pub m_revoke: u8,
    #[n(5)]
    pub m_change: u8,
    /// Both halves of each are enrolled together. [HS-14]
    #[n(6)]
    pub devices: List<DeviceId, 0, 1024>,
    /// SPKI digests of node issuers. [HS-19]
    #[n(7)]
    pub issuers: List<LeafKey, 1, 64>,
}
