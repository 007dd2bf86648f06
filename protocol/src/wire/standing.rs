//! Provisioning, standing and activation of a custodian. Chapter 80.

use minicbor::{Decode, Encode};

use crate::ids::{
    CustodianId, DeploymentId, Epoch, Generation, ShareIndex, ShareSetId, WeightsVersion,
};
use crate::suite::{Digest, Nonce, SealedShare};
use crate::wire::codec::List;
use crate::wire::order::Approvals;
use crate::wire::signed::Signed;

/// Gives a custodian its share set, once, before its first release.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Provision {
    /// Owner-signed [`ProvisionStatement`].
    #[n(1)]
    pub statement: Signed,
    #[n(2)]
    pub manifest: Signed,
    #[n(3)]
    pub deployment: Signed,
    /// The share, sealed to the custodian's KEK by the owner.
    #[n(4)]
    pub sealed: SealedShare,
}

/// What the owner signs for one custodian.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct ProvisionStatement {
    #[n(1)]
    pub manifest: Digest,
    #[n(2)]
    pub set: ShareSetId,
    #[n(3)]
    pub custodian: CustodianId,
    #[n(4)]
    pub index: ShareIndex,
    #[n(5)]
    pub kek: Digest,
    #[n(6)]
    pub sealed: Digest,
    /// Older versions of the weights are refused.
    #[n(7)]
    pub floor: WeightsVersion,
}

/// The share set is durable here.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Provisioned {
    #[n(1)]
    pub custodian: CustodianId,
    #[n(2)]
    pub manifest: Digest,
}

/// Asks a custodian where it stands.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Query {
    #[n(1)]
    pub deployment: DeploymentId,
}

/// Where a custodian stands; not signed, and never a basis for a release.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Status {
    #[n(1)]
    pub custodian: CustodianId,
    #[n(2)]
    pub generation: Generation,
    #[n(3)]
    pub epoch: Epoch,
    #[n(4)]
    pub standing: StandingCode,
    /// Fresh per generation; an activation names it. [AUD-5]
    #[n(5)]
    pub nonce: Nonce,
    /// Zero where nothing is provisioned.
    #[n(6)]
    pub manifest: Digest,
    #[n(7)]
    pub orders: List<Digest, 0, 1024>,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(index_only)]
pub enum StandingCode {
    #[n(1)]
    Unprovisioned,
    #[n(2)]
    Recovering,
    #[n(3)]
    Serving,
}

/// Lets a recovering custodian serve. [AUD-5]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Activate {
    /// `m_change` operators over the same [`Activation`].
    #[n(1)]
    pub approvals: Approvals,
}

/// What operators sign to activate one custodian.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Activation {
    #[n(1)]
    pub deployment: DeploymentId,
    #[n(2)]
    pub custodian: CustodianId,
    #[n(3)]
    pub set: ShareSetId,
    #[n(4)]
    pub manifest: Digest,
    #[n(5)]
    pub nonce: Nonce,
    /// The complete set; the custodian refuses one that lacks an order it knows. [AUD-6]
    #[n(6)]
    pub orders: List<Digest, 0, 1024>,
}

/// The custodian serves.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Activated {
    #[n(1)]
    pub custodian: CustodianId,
    #[n(2)]
    pub generation: Generation,
    #[n(3)]
    pub epoch: Epoch,
}
