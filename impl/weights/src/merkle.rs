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
pub(crate) mod tests {
    use super::*;

    #[test]
    fn seal_9_root_splits_at_the_largest_power_of_two_below() {
        let leaves: Vec<[u8; 32]> = (0..5u8).map(|i| [i; 32]).collect();
        let node = |l: [u8; 32], r: [u8; 32]| hash(&[&[1], &l, &r]);
        let four = node(node(leaves[0], leaves[1]), node(leaves[2], leaves[3]));
        assert_eq!(root(&leaves), node(four, leaves[4]));
        assert_eq!(root(&leaves[..4]), four);
        assert_eq!(root(&leaves[..3]), node(node(leaves[0], leaves[1]), leaves[2]));
    }

    #[test]
    fn seal_9_root_agrees_with_the_specification() {
        let mut count = 0;
        for case in spec_vectors().iter().filter(|c| c["expect"]["root"].is_string()) {
            let tensors = case["input"]["tensors"].as_array().expect("an array");
            let leaves: Vec<_> = tensors.iter().map(leaf_of).collect();
            assert_eq!(root(&leaves).to_vec(), unhex(&case["expect"]["root"]), "{}", case["name"]);
            count += 1;
        }
        assert!(count >= 3);
    }

    fn leaf_of(tensor: &serde_json::Value) -> [u8; 32] {
        let tags: Vec<u8> =
            tensor["tags"].as_array().expect("an array").iter().flat_map(unhex).collect();
        let tags = digest(&SHA256, &tags).as_ref().try_into().expect("32 bytes");
        let index = tensor["index"].as_u64().expect("a number") as u32;
        leaf(index, &unhex(&tensor["commitment"]).try_into().expect("32 bytes"), &tags)
    }

    pub(crate) fn spec_vectors() -> Vec<serde_json::Value> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/vectors/sealing.json");
        let text = std::fs::read_to_string(path).expect("the vectors are in the repository");
        serde_json::from_str(&text).expect("the vectors are JSON")
    }

    pub(crate) fn unhex(text: &serde_json::Value) -> Vec<u8> {
        let text = text.as_str().expect("hexadecimal text");
        let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal text");
        (0..text.len()).step_by(2).map(digit).collect()
    }
}
