//! Orders of operators, what custodians say of them, and who may be their subject. Chapter 60.

use minicbor::{Decode, Encode};

use crate::ids::{CustodianId, DeploymentId, Epoch, Generation, Serial};
use crate::suite::Digest;
use crate::wire::codec::List;
use crate::wire::signed::Signed;

/// The same payload, signed by distinct operators. [REV-2]
pub type Approvals = List<Signed, 1, 16>;

/// What operators order; a grow-only set that anyone may carry.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Order {
    #[n(1)]
    pub deployment: DeploymentId,
    #[n(2)]
    pub verb: Verb,
    #[n(3)]
    pub subject: Subject,
    #[n(4)]
    pub serial: Serial,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(index_only)]
pub enum Verb {
    /// Needs `m_revoke` operators.
    #[n(1)]
    Revoke,
    /// Lifts a revocation; needs `m_change` operators.
    #[n(2)]
    Admit,
}

/// Whom an order is about.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(map)]
pub struct Subject {
    #[n(1)]
    pub kind: SubjectKind,
    /// A device id; an SPKI digest; `H("weights", id, version)`; `H("policy", version)`;
    /// `H("everything", deployment)`.
    #[n(2)]
    pub value: Digest,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[cbor(index_only)]
pub enum SubjectKind {
    #[n(1)]
    Device,
    /// Any certificate in a presented chain; never lifted.
    #[n(2)]
    Certificate,
    /// A version of weights; never lifted.
    #[n(3)]
    Weights,
    #[n(4)]
    Policy,
    #[n(5)]
    Everything,
}

/// Carries an order to a custodian.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Submit {
    #[n(1)]
    pub approvals: Approvals,
}

/// Carries an order to a device.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Notice {
    #[n(1)]
    pub approvals: Approvals,
}

/// The order is durable and anchored here and nothing it covers can still leave.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Acknowledged {
    #[n(1)]
    pub statement: Signed,
}

/// What [`Acknowledged`] signs.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Acknowledgement {
    #[n(1)]
    pub order: Digest,
    #[n(2)]
    pub custodian: CustodianId,
    #[n(3)]
    pub generation: Generation,
    /// The newest manifest that this custodian holds.
    #[n(4)]
    pub manifest: Digest,
    #[n(5)]
    pub epoch: Epoch,
}

/// Asks to be told when every lease under this order is dead.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct AwaitDead {
    #[n(1)]
    pub order: Digest,
}

/// Every lease under the order has lapsed here. [REV-10]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Dead {
    #[n(1)]
    pub statement: Signed,
}

/// What [`Dead`] signs.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct DeadStatement {
    #[n(1)]
    pub order: Digest,
    #[n(2)]
    pub custodian: CustodianId,
    #[n(3)]
    pub generation: Generation,
}

/// A newer order of the same subject is held. [REV-13]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Superseded {
    #[n(1)]
    pub order: Digest,
}
