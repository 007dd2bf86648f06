//! Stories of chapter 15: what the owner signed, and nothing else, is believed.

use crate::pair::Pair;
use crate::pair::owner::{Owner, sign};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::Violation;
use split_custody_protocol::ids::{CustodianId, DeploymentId, ShareIndex, ShareSetId};
use split_custody_protocol::role::{DeviceInput, Rejection};
use split_custody_protocol::sealing::KnownManifest;
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::ProvisionStatement;

fn verified(signed: &Signed) -> Result<KnownManifest, Violation> {
    let suite = &mut crate::pair::owner::suite(Principal::Device);
    KnownManifest::verify(suite, &Principal::Owner.verify_key(), signed)
}

/// What a provision with one thing wrong is refused for.
fn provisioned_with(change: impl FnOnce(&mut ProvisionStatement)) -> Vec<Violation> {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    let mut statement = pair.owner.provision_statement(1);
    change(&mut statement);
    let message = pair.owner.provision_with(1, &statement, Principal::Owner);
    pair.tell(1, message);
    assert_eq!(pair.node(1).machine.standing().state_name(), "Unprovisioned");
    pair.refusals(1)
}

#[test]
fn wire_4_a_manifest_that_a_stranger_signed_is_refused() {
    let payload = encode(&Owner::new(3, 2, 0).manifest);
    let forged = sign(Principal::Stranger, ObjectKind::Manifest, payload);
    assert_eq!(verified(&forged).err(), Some(Violation::SignatureInvalid));
}

#[test]
fn wire_4_a_manifest_signed_as_another_object_is_refused() {
    let payload = encode(&Owner::new(3, 2, 0).manifest);
    let confused = sign(Principal::Owner, ObjectKind::Deployment, payload);
    assert_eq!(verified(&confused).err(), Some(Violation::SignatureInvalid));
}

#[test]
fn wire_4_a_manifest_changed_after_signing_is_refused() {
    let owner = Owner::new(3, 2, 0);
    let signature = *owner.signed_manifest().signature();
    let mut changed = owner.manifest;
    changed.k = 1;
    let forged = Signed::new(encode(&changed), signature);
    assert_eq!(verified(&forged).err(), Some(Violation::SignatureInvalid));
}

#[test]
fn wire_4_a_provision_that_a_stranger_signed_is_refused() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    let statement = pair.owner.provision_statement(1);
    let forged = pair.owner.provision_with(1, &statement, Principal::Stranger);
    pair.tell(1, forged);
    assert_eq!(pair.refusals(1), [Violation::SignatureInvalid]);
}

#[test]
fn wire_4_a_device_loads_under_no_other_owner() {
    let mut pair = Pair::new();
    let manifest = encode(&pair.owner.manifest);
    let manifest = sign(Principal::Stranger, ObjectKind::Manifest, manifest);
    let deployment = pair.owner.signed_deployment();
    pair.device_input(DeviceInput::Acquire { manifest, deployment });
    let refused = Rejection::Violation(Violation::SignatureInvalid);
    assert_eq!((pair.device_rejections.as_slice(), pair.custody()), (&[refused][..], "Idle"));
}

#[test]
fn wire_4_a_deployment_that_a_stranger_signed_is_refused() {
    let mut pair = Pair::new();
    let deployment = encode(&pair.owner.deployment);
    let deployment = sign(Principal::Stranger, ObjectKind::Deployment, deployment);
    let manifest = pair.owner.signed_manifest();
    pair.device_input(DeviceInput::Acquire { manifest, deployment });
    assert_eq!(pair.device_rejections, [Rejection::Violation(Violation::SignatureInvalid)]);
}

#[test]
fn hs_4_a_device_loads_no_manifest_of_another_deployment() {
    let mut other = Owner::new(3, 2, 0);
    other.manifest.deployment = DeploymentId::new([9; 16]);
    let own = Owner::new(3, 2, 0).signed_deployment();
    assert_eq!(acquired(other.signed_manifest(), own), MANIFEST_UNKNOWN);
}

#[test]
fn hs_4_a_device_loads_nothing_under_another_deployment() {
    let mut other = Owner::new(3, 2, 0);
    other.deployment.deployment = DeploymentId::new([9; 16]);
    let own = Owner::new(3, 2, 0).signed_manifest();
    assert_eq!(acquired(own, other.signed_deployment()), MANIFEST_UNKNOWN);
}

#[test]
fn hs_4_a_provision_for_another_custodian_is_refused() {
    let refused = provisioned_with(|said| said.custodian = CustodianId::new(2));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_of_another_index_is_refused() {
    let refused = provisioned_with(|said| said.index = ShareIndex::new(2));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_of_another_share_set_is_refused() {
    let refused = provisioned_with(|said| said.set = ShareSetId::new([9; 16]));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_under_another_manifest_is_refused() {
    let refused = provisioned_with(|said| said.manifest = Digest::new([9; 32]));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_to_another_kek_is_refused() {
    let refused = provisioned_with(|said| said.kek = Digest::new([9; 32]));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn hs_4_a_provision_whose_share_was_exchanged_is_refused() {
    let refused = provisioned_with(|said| said.sealed = Digest::new([9; 32]));
    assert_eq!(refused, [Violation::ManifestUnknown]);
}

#[test]
fn wire_2_a_signed_payload_with_a_second_encoding_is_refused() {
    let mut payload = encode(&Owner::new(3, 2, 0).manifest);
    payload.push(0);
    let signed = sign(Principal::Owner, ObjectKind::Manifest, payload);
    let refused = verified(&signed).err();
    let trailing = split_custody_protocol::DecodeError::NotCanonical;
    assert_eq!(refused, Some(Violation::Undecodable(trailing)));
    assert!(matches!(Owner::new(3, 2, 0).provision(1), Message::Provision(_)));
}

/// What the device says to a manifest and a deployment of its owner's.
fn acquired(manifest: Signed, deployment: Signed) -> Vec<Rejection> {
    let mut pair = Pair::new();
    pair.device_input(DeviceInput::Acquire { manifest, deployment });
    pair.device_rejections
}

const MANIFEST_UNKNOWN: [Rejection; 1] = [Rejection::Violation(Violation::ManifestUnknown)];
