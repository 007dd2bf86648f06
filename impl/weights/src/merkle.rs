//! The Merkle root over commitments and tags (RFC 6962 hashing, SHA-256).
//!
//! Chapter 15. Two sealed files with one root have the same commitments and the same tags in the same
//! order. [SEAL-9] It binds ciphertext only: no digest of plaintext is published. [SEAL-12]

use ring::digest::{SHA256, digest};

/// The leaf data of one tensor.
pub(crate) fn leaf(index: u32, commitment: &[u8; 32], tags: &[u8; 32]) -> [u8; 32] {
    hash(&[&[0], &index.to_be_bytes(), commitment, tags])
}

/// The root over leaf hashes.
pub(crate) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => hash(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            hash(&[&[1], &root(left), &root(right)])
        }
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, &parts.concat()).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seal_9_root_splits_at_the_largest_power_of_two_below() {
        let leaves: Vec<[u8; 32]> = (0..5u8).map(|i| [i; 32]).collect();
        let node = |l: [u8; 32], r: [u8; 32]| hash(&[&[1], &l, &r]);
        let four = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]));
        assert_eq!(root(&leaves), node(four, leaves[4]));
        assert_eq!(root(&leaves[..4]), four);
        assert_eq!(
            root(&leaves[..3]),
            node(node(leaves[0], leaves[1]), leaves[2])
        );
    }
}
