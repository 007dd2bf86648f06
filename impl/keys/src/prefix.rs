//! What goes into a labelled hash before a secret, for a device that hashes the secret where it lies.
//!
//! Chapter 40. SHA-256 over a prefix and then the secret is the commitment in the manifest. [QRM-2]
//! [QRM-3]

use split_custody_protocol::ids::{WeightsId, WeightsVersion};
use split_custody_protocol::suite::{SharePlace, secret_label};

/// Before a share of 32 bytes. [QRM-2]
pub fn share_prefix(place: SharePlace) -> Vec<u8> {
    let fields = [&place.set.as_bytes()[..], &[place.custodian.value()], &[place.index.value()]];
    prefix(secret_label::SHARE, &fields)
}

/// Before a DEK. [QRM-3]
pub fn dek_prefix(weights: WeightsId, version: WeightsVersion) -> Vec<u8> {
    prefix(secret_label::DEK, &[weights.as_bytes(), &version.value().to_be_bytes()])
}

fn prefix(label: &str, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in [label.as_bytes()].iter().chain(fields) {
        // INVARIANT: labels and ids are a few dozen bytes.
        let length = u32::try_from(field.len()).expect("a field below 4 GiB");
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(field);
    }
    out.extend_from_slice(&32u32.to_be_bytes());
    out
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};
    use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId};

    use super::*;
    use crate::dealing::dek_digest;
    use crate::hash::share_digest;

    fn hashed(prefix: Vec<u8>, secret: &[u8; 32]) -> [u8; 32] {
        Sha256::digest([&prefix[..], secret].concat()).into()
    }

    #[test]
    fn qrm_2_prefix_and_share_hash_to_the_commitment() {
        let place = SharePlace {
            set: ShareSetId::new([3; 16]),
            custodian: CustodianId::new(7),
            index: ShareIndex::new(2),
        };
        let expected = share_digest(place, &[9; 32]);
        assert_eq!(hashed(share_prefix(place), &[9; 32]), *expected.as_bytes());
    }

    #[test]
    fn qrm_3_prefix_and_dek_hash_to_the_commitment() {
        let (weights, version) = (WeightsId::new([5; 16]), WeightsVersion::new(11));
        let expected = dek_digest(weights, version, &[9; 32]);
        assert_eq!(hashed(dek_prefix(weights, version), &[9; 32]), *expected.as_bytes());
    }
}
