//! Stories of chapter 80.

use crate::pair::owner::{
    Owner, activate, list, operator, order_digest, revoke, submit, the_device,
};
use crate::pair::{From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::Principal;
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{Anchor, CustodianAnswer};
use split_custody_protocol::ids::{CustodianId, DeploymentId, Epoch, Generation, ShareSetId};
use split_custody_protocol::suite::{Digest, Nonce};
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::standing::{Activation, StandingCode};

/// Custodian 1 holds its share and waits for an activation.
fn provisioned() -> Pair {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.provision(1);
    pair
}

/// What an operator's activation with one thing wrong is refused for.
fn activated_with(change: impl FnOnce(&mut Activation)) -> Vec<Violation> {
    let mut pair = provisioned();
    let status = pair.status(1);
    let mut activation = pair.owner.activation(&status);
    change(&mut activation);
    pair.tell(1, activate(&activation, &[operator(1)]));
    assert_eq!(pair.node(1).machine.standing().state_name(), "Recovering");
    pair.refusals(1)
}

fn standing(pair: &mut Pair, id: u8) -> &'static str {
    pair.node(id).machine.standing().state_name()
}

#[test]
fn aud_1_a_provision_is_said_only_when_it_is_written() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    pair.node(1).script.push((Kind::CommitProvision, Reply::Hold));
    assert_eq!(pair.provision(1), []);
    assert_eq!(standing(&mut pair, 1), "Unprovisioned");
    pair.resume(1);
    assert_eq!(standing(&mut pair, 1), "Recovering");
}

#[test]
fn aud_1_a_renewal_is_said_only_when_it_is_written() {
    let mut pair = Pair::serving();
    pair.node(1).script.push((Kind::CommitRenewal, Reply::Hold));
    pair.wait(2_000);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal), []);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Renewal).len(), 1);
}

#[test]
fn aud_2_an_unknown_grant_is_read_again_and_not_written_again() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::WrittenAnd(CustodianAnswer::Unknown)));
    pair.acquire();
    assert_eq!(pair.node(1).count(Kind::CommitGrant), 1);
    assert_eq!(pair.node(1).count(Kind::Reread), 1);
    assert_eq!(pair.device.counting(pair.now), 3);
}

#[test]
fn aud_2_a_grant_that_was_not_written_is_refused() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Answer(CustodianAnswer::Unknown)));
    pair.acquire();
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Refused).len(), 1);
    assert_eq!(pair.node(1).leases().len(), 0);
}

#[test]
fn aud_2_an_unknown_provision_is_read_again() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    let unknown = Reply::WrittenAnd(CustodianAnswer::Unknown);
    pair.node(1).script.push((Kind::CommitProvision, unknown));
    assert!(matches!(pair.provision(1).as_slice(), [Message::Provisioned(_)]));
    assert_eq!(pair.node(1).count(Kind::CommitProvision), 1);
}

#[test]
fn aud_2_an_unknown_activation_is_read_again() {
    let mut pair = provisioned();
    let unknown = Reply::WrittenAnd(CustodianAnswer::Unknown);
    pair.node(1).script.push((Kind::CommitActivation, unknown));
    assert!(matches!(pair.activate(1).as_slice(), [Message::Activated(_)]));
    assert_eq!(pair.node(1).count(Kind::CommitActivation), 1);
}

#[test]
fn aud_3_a_new_generation_voids_challenges() {
    let mut pair = Pair::new();
    pair.script.push((Kind::CollectEvidence, Reply::Hold));
    pair.acquire();
    let channel = pair.channel(1);
    pair.restart(1);
    pair.device_resume();
    let late = pair.sent_by(From::Device, MessageType::Request);
    assert_eq!(late.len(), 2, "the first custodian's channel broke");
    assert_ne!(channel, 0);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn aud_3_a_new_generation_voids_unsent_grants() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, Reply::Hold));
    pair.acquire();
    pair.restart(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
    assert_eq!(pair.node(1).machine.generation(), Generation::new(2));
    assert_eq!(pair.node(1).machine.ledger().iter().count(), 1, "the lease was written");
}

#[test]
fn aud_4_a_store_at_its_anchor_serves_again() {
    let mut pair = Pair::new();
    pair.order(1, &revoke(the_device(), 0));
    pair.restart(1);
    assert_eq!(standing(&mut pair, 1), "Serving");
}

#[test]
fn aud_4_a_store_that_forgot_an_order_is_recovering() {
    let mut pair = Pair::new();
    let backup = pair.node(1).written.clone();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).written = backup;
    pair.restart(1);
    assert_eq!(standing(&mut pair, 1), "Recovering");
}

#[test]
fn aud_4_a_store_of_an_older_generation_is_recovering() {
    let mut pair = Pair::new();
    let ahead = Anchor { generation: Generation::new(9), epoch: Epoch::new(0), orders: vec![] };
    pair.node(1).anchor = Some(ahead);
    pair.restart(1);
    assert_eq!(standing(&mut pair, 1), "Recovering");
}

#[test]
fn aud_4_a_store_of_a_lower_epoch_is_recovering() {
    let mut pair = Pair::new();
    let ahead = Anchor { generation: Generation::new(1), epoch: Epoch::new(1), orders: vec![] };
    pair.node(1).anchor = Some(ahead);
    pair.restart(1);
    assert_eq!(standing(&mut pair, 1), "Recovering");
}

#[test]
fn aud_4_a_lost_anchor_is_recovering() {
    let mut pair = Pair::new();
    pair.node(1).anchor = None;
    pair.restart(1);
    assert_eq!(standing(&mut pair, 1), "Recovering");
}

#[test]
fn aud_5_an_activation_of_another_deployment_is_refused() {
    let refused = activated_with(|a| a.deployment = DeploymentId::new([9; 16]));
    assert_eq!(refused, [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_of_another_custodian_is_refused() {
    let refused = activated_with(|a| a.custodian = CustodianId::new(2));
    assert_eq!(refused, [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_of_another_share_set_is_refused() {
    let refused = activated_with(|a| a.set = ShareSetId::new([9; 16]));
    assert_eq!(refused, [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_of_another_manifest_is_refused() {
    let refused = activated_with(|a| a.manifest = Digest::new([9; 32]));
    assert_eq!(refused, [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_with_an_older_nonce_is_refused() {
    let refused = activated_with(|a| a.nonce = Nonce::new([9; 32]));
    assert_eq!(refused, [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_of_an_earlier_generation_is_refused() {
    let mut pair = provisioned();
    let status = pair.status(1);
    let activation = pair.owner.activation(&status);
    pair.restart(1);
    pair.tell(1, activate(&activation, &[operator(1)]));
    assert_eq!(pair.refusals(1), [Violation::ActivationNotOurs]);
}

#[test]
fn aud_5_an_activation_by_nobody_is_refused() {
    let mut pair = provisioned();
    let status = pair.status(1);
    let activation = pair.owner.activation(&status);
    pair.tell(1, activate(&activation, &[Principal::Stranger]));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
}

#[test]
fn aud_5_an_activation_needs_m_change_operators() {
    let mut owner = Owner::new(3, 2, 0);
    let keys = (1..=3).map(|number| operator(number).verify_key()).collect();
    owner.deployment.operators = list(keys);
    (owner.deployment.m_revoke, owner.deployment.m_change) = (2, 3);
    let mut pair = Pair::unprovisioned(owner);
    pair.provision(1);
    let status = pair.status(1);
    let activation = pair.owner.activation(&status);
    pair.tell(1, activate(&activation, &[operator(1), operator(2)]));
    assert_eq!(pair.refusals(1), [Violation::TooFewOperators]);
    pair.tell(1, activate(&activation, &[operator(1), operator(2), operator(3)]));
    assert_eq!(standing(&mut pair, 1), "Serving");
}

#[test]
fn aud_5_a_serving_custodian_takes_no_activation() {
    let mut pair = Pair::new();
    pair.activate(1);
    assert_eq!(pair.refusals(1), [Violation::Unexpected]);
    assert_eq!(standing(&mut pair, 1), "Serving");
}

#[test]
fn aud_5_activation_is_said_only_when_it_is_anchored() {
    let mut pair = provisioned();
    pair.node(1).script.push((Kind::Anchor, Reply::Hold));
    assert_eq!(pair.activate(1), []);
    assert_eq!(standing(&mut pair, 1), "Activating");
    pair.resume(1);
    assert_eq!(standing(&mut pair, 1), "Serving");
}

#[test]
fn aud_6_an_activation_that_lacks_an_order_held_here_is_refused() {
    let mut pair = provisioned();
    pair.tell(1, submit(&revoke(the_device(), 0), &[operator(1)]));
    let status = pair.status(1);
    let mut activation = pair.owner.activation(&status);
    activation.orders = list(vec![]);
    pair.tell(1, activate(&activation, &[operator(1)]));
    assert_eq!(pair.refusals(1), [Violation::ActivationLacksOrder]);
}

#[test]
fn aud_6_an_activation_that_lists_an_order_not_held_here_is_refused() {
    let refused = activated_with(|a| {
        a.orders = list(vec![order_digest(&revoke(the_device(), 0))]);
    });
    assert_eq!(refused, [Violation::ActivationLacksOrder]);
}

#[test]
fn aud_6_an_activation_that_lacks_an_order_of_the_anchor_is_refused() {
    let mut pair = Pair::new();
    let backup = pair.node(1).written.clone();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).written = backup;
    pair.restart(1);
    pair.activate(1);
    assert_eq!(pair.refusals(1), [Violation::ActivationLacksOrder]);
}

#[test]
fn aud_6_after_the_missing_order_was_submitted_an_activation_is_taken() {
    let mut pair = Pair::new();
    let backup = pair.node(1).written.clone();
    pair.order(1, &revoke(the_device(), 0));
    pair.node(1).written = backup;
    pair.restart(1);
    pair.order(1, &revoke(the_device(), 0));
    pair.activate(1);
    assert_eq!(standing(&mut pair, 1), "Serving");
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn aud_7_a_leaf_names_a_grant_by_its_digest_alone() {
    let mut pair = Pair::serving();
    let leaf = pair.node(1).written.last().expect("a grant").leaf;
    let encoded = split_custody_protocol::wire::encode(&leaf);
    let device = *crate::pair::owner::enrolled().as_bytes();
    assert!(!encoded.windows(16).any(|window| window == &device[..16]));
    assert!(encoded.len() < 64);
}

#[test]
fn aud_5_a_status_shows_where_a_custodian_stands() {
    let mut pair = Pair::unprovisioned(Owner::new(3, 2, 0));
    assert_eq!(pair.status(1).standing, StandingCode::Unprovisioned);
    pair.provision(1);
    assert_eq!(pair.status(1).standing, StandingCode::Recovering);
    pair.activate(1);
    assert_eq!(pair.status(1).standing, StandingCode::Serving);
}

#[test]
fn hs_20_a_second_provision_of_another_manifest_is_refused() {
    let mut pair = Pair::new();
    let other = Owner::new(3, 3, 0);
    pair.tell(1, other.provision(1));
    assert_eq!(pair.refusals(1), [Violation::ManifestDiffers]);
    assert!(matches!(pair.provision(1).as_slice(), [Message::Provisioned(_)]), "the same is well");
}
