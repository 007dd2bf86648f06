//! `Grant`, its signed statement and `Refused`. Chapter 30.

use minicbor::{Decode, Encode};

use crate::ids::{
    Budget, CorrelationId, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion,
    ShareIndex, ShareSetId,
};
use crate::suite::{Digest, Incarnation, SealedShare, SuiteId};
use crate::time::Span;
use crate::wire::signed::Signed;

/// A share, sealed to the attested device key, and the receipt for it. [AUD-8]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Grant {
    /// COSE_Sign1 over [`GrantStatement`]; usable as a receipt without `sealed`.
    #[n(1)]
    pub statement: Signed,
    #[n(2)]
    pub sealed: SealedShare,
}

/// What a custodian signs when it releases its share.
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct GrantStatement {
    #[n(1)]
    pub session: Digest,
    #[n(2)]
    pub th2: Digest,
    #[n(3)]
    pub suite: SuiteId,
    #[n(4)]
    pub custodian: CustodianId,
    #[n(5)]
    pub generation: Generation,
    #[n(6)]
    pub lease: LeaseId,
    #[n(7)]
    pub set: ShareSetId,
    #[n(8)]
    pub index: ShareIndex,
    #[n(9)]
    pub manifest: Digest,
    #[n(10)]
    pub device_key: Digest,
    #[n(11)]
    pub incarnation: Incarnation,
    #[n(12)]
    pub terms: Terms,
    #[n(13)]
    pub epoch: Epoch,
    #[n(14)]
    pub policy: PolicyVersion,
    #[n(15)]
    pub index_in_log: LogIndex,
    #[n(16)]
    pub sealed: Digest,
}

/// The terms of a lease; durations only. [LEA-1]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Terms {
    /// The short first term, which renewal 1 confirms.
    #[n(1)]
    pub first: Span,
    /// The term of each renewal.
    #[n(2)]
    pub term: Span,
    /// Uses per term.
    #[n(3)]
    pub budget: Budget,
    /// No renewal once the Challenge is older than this. [LEA-10]
    #[n(4)]
    pub max_age: Span,
}

/// Every negative answer after `Challenge`. [HS-21]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Refused {
    #[n(1)]
    pub correlation: CorrelationId,
}
