//! Every hash and the combination, compared with the specification's reference and vectors.

use proptest::prelude::*;
use serde_json::Value;
use split_custody_keys::shamir::combine;
use split_custody_keys::{
    Dek, KekSecret, hash_label, manifest_digest, order_digest, provision_context, sealed_digest,
    share_digest,
};
use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{Digest, Label, SealedShare, SharePlace};
use split_custody_spec::reference;

proptest! {
    #[test]
    fn wire_5_labelled_hash_agrees_with_the_reference(
        fields in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
    ) {
        let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
        let ours = hash_label(Label::Auth, &fields);
        prop_assert_eq!(ours.as_bytes(), &reference::h("auth", &fields));
    }

    #[test]
    fn qrm_2_commitments_agree_with_the_reference(
        (set, weights) in any::<([u8; 16], [u8; 16])>(),
        (custodian, index, version) in any::<(u8, u8, u64)>(),
        secret in any::<[u8; 32]>(),
    ) {
        let place = SharePlace {
            set: ShareSetId::new(set),
            custodian: CustodianId::new(custodian),
            index: ShareIndex::new(index),
        };
        let ours = share_digest(place, &secret);
        let theirs = reference::share_commitment(&set, custodian, index, &secret);
        prop_assert_eq!(ours.as_bytes(), &theirs);
        let dek = Dek::from_bytes(&secret);
        let ours = dek.commitment(WeightsId::new(weights), WeightsVersion::new(version));
        prop_assert_eq!(ours.as_bytes(), &reference::dek_commitment(&weights, version, &secret));
    }

    #[test]
    fn seal_8_names_of_objects_agree_with_the_reference(
        bytes in prop::collection::vec(any::<u8>(), 1..200),
        (manifest, set, custodian, index) in any::<([u8; 32], [u8; 16], u8, u8)>(),
    ) {
        prop_assert_eq!(manifest_digest(&bytes), Digest::new(reference::manifest_digest(&bytes)));
        prop_assert_eq!(order_digest(&bytes), Digest::new(reference::order_digest(&bytes)));
        let sealed = SealedShare::new(bytes.clone()).unwrap();
        prop_assert_eq!(sealed_digest(&sealed), Digest::new(reference::sealed_digest(&bytes)));
        let kek = KekSecret::generate().public();
        let kek_digest = reference::kek_digest(kek.as_bytes());
        prop_assert_eq!(kek.digest(), Digest::new(kek_digest));
        let ours = provision_context(
            &Digest::new(manifest),
            &ShareSetId::new(set),
            CustodianId::new(custodian),
            ShareIndex::new(index),
            &kek.digest(),
        );
        let theirs =
            reference::provision_context(&manifest, &set, custodian, index, &kek_digest);
        prop_assert_eq!(ours.as_bytes(), &theirs);
    }
}

#[test]
fn qrm_4_combination_agrees_with_the_specifications_vectors() {
    let text = include_str!("../../../spec/vectors/quorum.json");
    let vectors: Vec<Value> = serde_json::from_str(text).unwrap();
    let cases = vectors.iter().filter(|v| v["name"].as_str().unwrap().starts_with("combine"));
    let mut seen = 0;
    for case in cases {
        let shares: Vec<(u8, [u8; 32])> = case["input"]["shares"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| (s["index"].as_u64().unwrap() as u8, bytes(s["share"].as_str().unwrap())))
            .collect();
        let shares: Vec<(u8, &[u8; 32])> = shares.iter().map(|(i, s)| (*i, s)).collect();
        let expected = case["expect"]["accept"].as_str().map(bytes);
        assert_eq!(combine(&shares).ok().map(|dek| *dek), expected, "{}", case["name"]);
        seen += 1;
    }
    assert_eq!(seen, 8);
}

fn bytes(hex: &str) -> [u8; 32] {
    let byte = |at: usize| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap();
    std::array::from_fn(byte)
}
