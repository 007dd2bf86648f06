//! How a lease record lies in the store: deterministic CBOR, read back strictly.

use minicbor::{Decode, Encode};
use split_custody_protocol::effect::LeaseRecord;
use split_custody_protocol::ids::LeaseId;
use split_custody_protocol::suite::{DeviceId, Digest, Incarnation, LeafKey};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::grant::Terms;
use split_custody_protocol::wire::{decode, encode};

#[derive(Decode, Encode)]
#[cbor(map)]
struct Stored {
    #[n(1)]
    lease: LeaseId,
    #[n(2)]
    device: DeviceId,
    #[n(3)]
    incarnation: Incarnation,
    #[n(4)]
    manifest: Digest,
    #[n(5)]
    device_leaf: LeafKey,
    #[n(6)]
    custodian_leaf: LeafKey,
    #[n(7)]
    terms: Terms,
    #[n(8)]
    chain: List<LeafKey, 0, CHAIN>,
}

/// No chain is longer.
const CHAIN: usize = 256;
/// No stored record is longer: its fixed fields and the longest chain.
const CAP: usize = 512 + CHAIN * 40;

/// The record's bytes; `None` when its chain is longer than any chain.
pub(crate) fn encode_lease(record: &LeaseRecord) -> Option<Vec<u8>> {
    Some(encode(&Stored {
        lease: record.lease,
        device: record.device,
        incarnation: record.incarnation,
        manifest: record.manifest,
        device_leaf: record.device_leaf,
        custodian_leaf: record.custodian_leaf,
        terms: record.terms,
        chain: List::new(record.chain.clone())?,
    }))
}

/// The record whose one encoding is `bytes`.
pub(crate) fn decode_lease(bytes: &[u8]) -> Option<LeaseRecord> {
    let stored: Stored = decode(bytes, CAP).ok()?;
    Some(LeaseRecord {
        lease: stored.lease,
        device: stored.device,
        incarnation: stored.incarnation,
        manifest: stored.manifest,
        device_leaf: stored.device_leaf,
        custodian_leaf: stored.custodian_leaf,
        terms: stored.terms,
        chain: stored.chain.as_slice().to_vec(),
    })
}
