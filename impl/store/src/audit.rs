//! The audit log as a Merkle tree, RFC 6962 section 2.1, and its checkpoints.
//!
//! Chapter 80. An entry is `H("leaf", encoded leaf)`; the tree's leaf hash is SHA-256 over `0x00`
//! and the entry, a node's over `0x01` and its children. A checkpoint is the body of a C2SP
//! tlog-checkpoint; signing and witnessing it happen elsewhere.

use std::fmt;

use base64ct::{Base64, Encoding};
use sha2::{Digest as _, Sha256};
use split_custody_keys::hash_label;
use split_custody_protocol::ids::LogIndex;
use split_custody_protocol::suite::{Digest, Label};
use split_custody_protocol::wire::audit::Leaf;
use split_custody_protocol::wire::encode;

/// A hash in the tree.
pub type Hash = [u8; 32];

/// What the log holds for a leaf: its labelled digest. [AUD-7]
pub fn entry(leaf: &Leaf) -> Digest {
    hash_label(Label::Leaf, &[&encode(leaf)])
}

/// The tree's hash of an entry.
pub fn leaf_hash(entry: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// A growing tree, kept as the roots of its perfect subtrees: 64 hashes at most.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tree {
    size: u64,
    /// Largest subtree first; one for each bit that is set in `size`.
    subtrees: Vec<Hash>,
}

impl Tree {
    pub const fn size(&self) -> u64 {
        self.size
    }

    pub fn push(&mut self, leaf: Hash) {
        // Each trailing one of the size is a subtree that the new one completes.
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.subtrees.pop() {
                hash = node_hash(&left, &hash);
            }
        }
        self.subtrees.push(hash);
        self.size += 1;
    }

    /// The root; SHA-256 of nothing for an empty tree.
    pub fn root(&self) -> Hash {
        let mut subtrees = self.subtrees.iter().rev();
        let Some(last) = subtrees.next() else { return Sha256::digest([]).into() };
        subtrees.fold(*last, |right, left| node_hash(left, &right))
    }
}

/// That one leaf is in the log of one size and root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Inclusion {
    pub index: LogIndex,
    pub size: u64,
    /// Siblings from the leaf up.
    pub path: Vec<Hash>,
    pub root: Hash,
}

/// The proof does not lead from the leaf to the root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the inclusion proof does not lead from this leaf to this root")]
pub struct NotIncluded;

impl Inclusion {
    /// Proves the leaf at `index` among all leaf hashes; `None` beyond the end.
    pub fn prove(leaves: &[Hash], index: usize) -> Option<Self> {
        if index >= leaves.len() {
            return None;
        }
        let mut path = Vec::new();
        let root = subtree(leaves, Some(index), &mut path);
        Some(Self { index: LogIndex::new(index as u64), size: leaves.len() as u64, path, root })
    }

    /// Checks that this leaf leads to this root. RFC 9162 section 2.1.3.2.
    pub fn verify(&self, leaf: &Leaf) -> Result<(), NotIncluded> {
        self.verify_hash(leaf_hash(entry(leaf).as_bytes()))
    }

    /// As [`Inclusion::verify`], from the tree's hash of the entry.
    pub fn verify_hash(&self, leaf: Hash) -> Result<(), NotIncluded> {
        if self.index.value() >= self.size {
            return Err(NotIncluded);
        }
        let (mut place, mut last, mut hash) = (self.index.value(), self.size - 1, leaf);
        for sibling in &self.path {
            if last == 0 {
                return Err(NotIncluded);
            }
            if place & 1 == 1 || place == last {
                hash = node_hash(sibling, &hash);
                // A right edge has no sibling on the levels where it stands alone.
                while place & 1 == 0 && place != 0 {
                    place >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            place >>= 1;
            last >>= 1;
        }
        (last == 0 && hash == self.root).then_some(()).ok_or(NotIncluded)
    }
}

/// The root of a subtree; collects the siblings of `index` from the leaf up.
fn subtree(leaves: &[Hash], index: Option<usize>, path: &mut Vec<Hash>) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        leaves => {
            // The largest power of two below the size. RFC 6962 section 2.1.
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            let is_left = index.is_some_and(|index| index < split);
            let left_hash = subtree(left, index.filter(|_| is_left), path);
            let right_index = index.filter(|_| !is_left).map(|index| index - split);
            let right_hash = subtree(right, right_index, path);
            if index.is_some() {
                path.push(if is_left { right_hash } else { left_hash });
            }
            node_hash(&left_hash, &right_hash)
        }
    }
}

/// A log's size and root under its origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

impl fmt::Display for Checkpoint {
    /// The body of a C2SP tlog-checkpoint: origin, size, root in Base64, each ending its line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, Base64::encode_string(&self.root))
    }
}

/// Whether a string can be the origin of a log and, later, the name of its signing key.
pub(crate) fn is_origin(origin: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    !origin.is_empty() && origin.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of RFC 6962 section 2.1, word for word.
    fn slow_root(leaves: &[Hash]) -> Hash {
        let n = leaves.len();
        if n == 0 {
            return Sha256::digest([]).into();
        }
        if n == 1 {
            return leaves[0];
        }
        let mut k = 1;
        while k * 2 < n {
            k *= 2;
        }
        node_hash(&slow_root(&leaves[..k]), &slow_root(&leaves[k..]))
    }

    fn hashes(count: usize) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    fn tree(leaves: &[Hash]) -> Tree {
        let mut tree = Tree::default();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    fn hex(hash: Hash) -> String {
        Digest::new(hash).to_string()
    }

    /// The entries and roots that Certificate Transparency's reference code is tested with.
    #[test]
    fn aud_1_roots_agree_with_certificate_transparency() {
        let entries: [&[u8]; 8] = [
            b"",
            &[0x00],
            &[0x10],
            &[0x20, 0x21],
            &[0x30, 0x31],
            &[0x40, 0x41, 0x42, 0x43],
            &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
            &[
                0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d,
                0x6e, 0x6f,
            ],
        ];
        let mut tree = Tree::default();
        assert_eq!(hex(tree.root()), ROOTS[0]);
        for (entry, root) in entries.iter().zip(&ROOTS[1..]) {
            tree.push(leaf_hash(entry));
            assert_eq!(hex(tree.root()), *root, "size {}", tree.size());
        }
    }

    #[test]
    fn aud_1_root_agrees_with_the_definition_at_every_size() {
        let leaves = hashes(130);
        for size in 0..=leaves.len() {
            assert_eq!(tree(&leaves[..size]).root(), slow_root(&leaves[..size]), "size {size}");
        }
    }

    #[test]
    fn aud_8_every_leaf_of_every_size_proves_its_inclusion() {
        let leaves = hashes(40);
        for size in 1..=leaves.len() {
            for index in 0..size {
                let proof = Inclusion::prove(&leaves[..size], index).unwrap();
                assert_eq!(proof.root, slow_root(&leaves[..size]));
                assert_eq!(proof.verify_hash(leaves[index]), Ok(()), "{index} of {size}");
            }
        }
        assert_eq!(Inclusion::prove(&leaves, 40), None);
    }

    #[test]
    fn aud_8_proof_holds_for_its_leaf_place_and_path_only() {
        let leaves = hashes(13);
        let proof = Inclusion::prove(&leaves, 5).unwrap();
        assert_eq!(proof.verify_hash(leaves[6]), Err(NotIncluded));
        let shifted = Inclusion { index: LogIndex::new(6), ..proof.clone() };
        assert_eq!(shifted.verify_hash(leaves[5]), Err(NotIncluded));
        let beyond = Inclusion { index: LogIndex::new(13), ..proof.clone() };
        assert_eq!(beyond.verify_hash(leaves[5]), Err(NotIncluded));
        let empty = Inclusion { size: 0, ..proof.clone() };
        assert_eq!(empty.verify_hash(leaves[5]), Err(NotIncluded));
        let mut longer = proof.clone();
        longer.path.push([0; 32]);
        assert_eq!(longer.verify_hash(leaves[5]), Err(NotIncluded));
        let mut shorter = proof.clone();
        shorter.path.pop();
        assert_eq!(shorter.verify_hash(leaves[5]), Err(NotIncluded));
    }

    #[test]
    fn aud_3_checkpoint_is_origin_size_and_root_on_three_lines() {
        let checkpoint =
            Checkpoint { origin: "example.org/log".into(), size: 0, root: Tree::default().root() };
        let text = "example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        assert_eq!(checkpoint.to_string(), text);
    }

    proptest! {
        #[test]
        fn aud_8_changed_path_proves_nothing(
            size in 2usize..60,
            place in any::<prop::sample::Index>(),
            change in any::<(prop::sample::Index, prop::sample::Index)>(),
            bit in 0u8..8,
        ) {
            let leaves = hashes(size);
            let index = place.index(size);
            let mut proof = Inclusion::prove(&leaves, index).unwrap();
            let sibling = change.0.index(proof.path.len());
            proof.path[sibling][change.1.index(32)] ^= 1 << bit;
            prop_assert_eq!(proof.verify_hash(leaves[index]), Err(NotIncluded));
        }
    }

    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
}
