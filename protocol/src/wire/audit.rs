//! What the audit log holds: one leaf per thing that happened. Chapter 80.

use minicbor::{Decode, Encode};

use crate::ids::{Epoch, Generation};
use crate::suite::Digest;

/// One leaf; digests only, no secrets and no device id in the clear. [AUD-7]
#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Leaf {
    #[n(1)]
    pub kind: LeafKind,
    #[n(2)]
    pub generation: Generation,
    #[n(3)]
    pub epoch: Epoch,
    /// `auth` of a release; the request digest of a renewal; an order, manifest or activation
    /// digest; the count digest of aggregated refusals.
    #[n(4)]
    pub subject: Digest,
}

#[derive(Clone, Copy, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(index_only)]
pub enum LeafKind {
    #[n(1)]
    Release,
    #[n(2)]
    Renewal,
    #[n(3)]
    Order,
    #[n(4)]
    Generation,
    #[n(5)]
    Provision,
    #[n(6)]
    Activation,
    #[n(7)]
    Refusals,
}
