//! The labelled hash over length-framed fields. [WIRE-5]

use sha2::{Digest as _, Sha256};
use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId};
use split_custody_protocol::suite::{Digest, Label, SealedShare, SharePlace, secret_label};

/// `H(label, fields…)` = SHA-256 over the framed label text and the framed fields; a frame is the
/// length as `u32`, big endian, then the bytes.
pub fn hash(label: &str, fields: &[&[u8]]) -> Digest {
    let mut state = Sha256::new();
    absorb(&mut state, label.as_bytes());
    for field in fields {
        absorb(&mut state, field);
    }
    Digest::new(state.finalize().into())
}

/// [`hash`] under one of the protocol's labels.
pub fn hash_label(label: Label, fields: &[&[u8]]) -> Digest {
    hash(label.text(), fields)
}

fn absorb(state: &mut Sha256, field: &[u8]) {
    // INVARIANT: every field is a wire value with a cap far below 4 GiB.
    let length = u32::try_from(field.len()).expect("a field below 4 GiB");
    state.update(length.to_be_bytes());
    state.update(field);
}

/// How everything names a manifest: by the payload bytes that the owner signed.
pub fn manifest_digest(payload: &[u8]) -> Digest {
    hash_label(Label::Manifest, &[payload])
}

/// How everything names an order: by the payload bytes that operators signed.
pub fn order_digest(payload: &[u8]) -> Digest {
    hash_label(Label::Order, &[payload])
}

/// How grants and provisions name a sealed share. [REL-10]
pub fn sealed_digest(sealed: &SealedShare) -> Digest {
    hash_label(Label::Sealed, &[sealed.as_bytes()])
}

/// The context under which the owner seals a share to one custodian's KEK.
pub fn provision_context(
    manifest: &Digest,
    set: &ShareSetId,
    custodian: CustodianId,
    index: ShareIndex,
    kek: &Digest,
) -> Digest {
    let place = [set.as_bytes().as_slice(), &[custodian.value()], &[index.value()]];
    let [set, custodian, index] = place;
    hash_label(Label::Provision, &[manifest.as_bytes(), set, custodian, index, kek.as_bytes()])
}

/// `H("share", set, custodian, index, share)`: the commitment in the manifest. [QRM-2]
pub fn share_digest(place: SharePlace, share: &[u8; 32]) -> Digest {
    hash(
        secret_label::SHARE,
        &[place.set.as_bytes(), &[place.custodian.value()], &[place.index.value()], share],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected values come from a few lines of Python over `hashlib`, not from this code.
    #[test]
    fn wire_5_label_and_fields_are_framed_with_their_length() {
        let digest = hash("split-custody/v1/th1", &[b"hello", b""]);
        assert_eq!(digest.to_string(), EXPECTED_TH1);
    }

    #[test]
    fn wire_5_moving_a_byte_between_fields_changes_the_hash() {
        let one = hash_label(Label::Th1, &[b"ab", b"c"]);
        let other = hash_label(Label::Th1, &[b"a", b"bc"]);
        assert_ne!(one, other);
    }

    #[test]
    fn wire_5_another_label_gives_another_hash() {
        assert_ne!(hash_label(Label::Th1, &[b"a"]), hash_label(Label::Th2, &[b"a"]));
    }

    const EXPECTED_TH1: &str = "64ba5f25a901d43d5a83360e55ded4737cc6eee0736d02e4c0d04d9ae2d8b06a";
}
