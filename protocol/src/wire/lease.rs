//! `Renew` and `Renewal`. Chapter 50.

use minicbor::{Decode, Encode};

use crate::ids::{Budget, Counter, LeaseId};
use crate::time::Span;

/// Asks for the next term of a lease, on any connection of the leaf that it is bound to. [LEA-8]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Renew {
    #[n(1)]
    pub lease: LeaseId,
    #[n(2)]
    pub counter: Counter,
    /// Uses charged in the term that ends: metering.
    #[n(3)]
    pub used: u64,
}

/// The answer; authenticated by the channel it comes on. [LEA-8]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Renewal {
    #[n(1)]
    pub lease: LeaseId,
    #[n(2)]
    pub counter: Counter,
    #[n(3)]
    pub answer: RenewalAnswer,
    #[n(4)]
    pub term: Span,
    #[n(5)]
    pub budget: Budget,
}

/// What a custodian decided.
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(index_only)]
pub enum RenewalAnswer {
    /// One more term, counted from the first sending of this request.
    #[n(1)]
    Renewed,
    /// No more terms; the running one still counts.
    #[n(2)]
    Ended,
    /// Not now; ask again with the same bytes.
    #[n(3)]
    Retry,
}
