//! `Grant`, its signed statement and `Refused`. Chapter 30.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::ids::{
    Budget, CorrelationId, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion,
    ShareIndex, ShareSetId,
};
use crate::suite::{Digest, Incarnation, SealedShare, SuiteId};
use crate::time::Span;
use crate::wire::codec;
use crate::wire::signed::{ObjectKind, Signed};

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

/// What a grant's signature covers, up to its last field: the digest of the sealed share.
///
/// Whoever wraps the share appends that digest and signs, in one step. [REL-14]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct GrantDraft(Vec<u8>);

impl GrantDraft {
    /// The draft of a statement, whatever its `sealed` is.
    pub fn of(statement: &GrantStatement) -> Self {
        let mut message = Signed::message_over(ObjectKind::Grant, &codec::encode(statement));
        // INVARIANT: `sealed` ends the statement, and the statement ends the message.
        message.truncate(message.len().saturating_sub(Digest::SIZE));
        Self(message)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// All that is signed, once the share is sealed.
    pub fn message(&self, sealed: &Digest) -> Vec<u8> {
        [self.as_bytes(), sealed.as_bytes()].concat()
    }
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
