//! Stories of chapter 30.

use crate::pair::bench::custodian_suite;
use crate::pair::node::swapped;
use crate::pair::owner::{
    Owner, certificate, everything, list, revoke, sign, the_device, the_policy, the_weights,
};
use crate::pair::{Fate, From, Kind, Pair, Reply};
use split_custody_model_check::symbolic::{Principal, incarnation, sealed_parts};
use split_custody_protocol::Violation;
use split_custody_protocol::effect::{CustodianAnswer, CustodianEffect, Report, StopCause};
use split_custody_protocol::ids::{Budget, CustodianId, ShareIndex, ShareSetId};
use split_custody_protocol::role::Rejection;
use split_custody_protocol::suite::{Digest, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::transcript;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::grant::{Grant, GrantDraft, GrantStatement};
use split_custody_protocol::wire::message::{Message, MessageType};
use split_custody_protocol::wire::order::{Notice, Subject};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};

fn hsm_failed() -> Reply<CustodianAnswer> {
    Reply::Answer(CustodianAnswer::HsmFailed)
}

/// Custodian 1 lies in its grant and signs the lie.
fn with_lie(lie: fn(Message) -> Message) -> Pair {
    let mut pair = Pair::new();
    pair.network.push((From::Custodian(1), MessageType::Grant, Fate::Change(lie)));
    pair.acquire();
    pair
}

fn liar(message: Message, lie: impl FnOnce(&mut GrantStatement)) -> Message {
    let Message::Grant(grant) = message else { panic!("not a grant") };
    let mut statement: GrantStatement = grant.statement.payload().expect("an honest grant");
    lie(&mut statement);
    let statement = sign(Principal::Custodian(1), ObjectKind::Grant, encode(&statement));
    Message::Grant(Grant { statement, sealed: grant.sealed })
}

fn grant_of(pair: &Pair, id: u8) -> (GrantStatement, Grant) {
    let sent = pair.sent_by(From::Custodian(id), MessageType::Grant);
    let [Message::Grant(grant)] = sent.as_slice() else { panic!("one grant, not {sent:?}") };
    (grant.statement.payload().expect("a statement"), grant.clone())
}

fn refused_under(subject: Subject) -> Pair {
    let mut pair = Pair::new();
    pair.order(1, &revoke(subject, 0));
    pair.acquire();
    pair
}

#[test]
fn rel_1_a_policy_without_uses_releases_nothing() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.budget = Budget::new(0);
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::PolicyRefuses]);
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn rel_1_a_policy_without_age_releases_nothing() {
    let mut owner = Owner::new(3, 2, 0);
    owner.manifest.policy.max_age = Span::ZERO;
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::PolicyRefuses]);
}

#[test]
fn rel_2_a_recovering_custodian_does_not_grant() {
    let mut pair = Pair::new();
    pair.node(1).anchor = None;
    pair.restart(1);
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::NotServing]);
    assert_eq!(pair.node(1).leases().len(), 0);
}

#[test]
fn rel_3_the_share_is_asked_for_only_after_the_commit() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Hold));
    pair.acquire();
    assert_eq!(pair.node(1).count(Kind::Release), 0);
    pair.resume(1);
    assert_eq!(pair.node(1).count(Kind::Release), 1);
}

#[test]
fn rel_3_a_fenced_commit_is_refused_and_leaves_no_lease() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::CommitGrant, Reply::Answer(CustodianAnswer::Fenced)));
    pair.acquire();
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Refused).len(), 1);
    assert_eq!(pair.node(1).machine.ledger().iter().count(), 0);
}

#[test]
fn rel_4_the_share_is_sealed_to_the_device_key_under_ctx() {
    let pair = Pair::serving();
    let (statement, grant) = grant_of(&pair, 1);
    let suite = &mut crate::pair::suite_of(Principal::Device, 1);
    let auth = transcript::auth(suite, &statement);
    let ctx = transcript::grant_context(suite, &auth, statement.index_in_log);
    let requests = pair.sent_by(From::Device, MessageType::Request);
    let Message::Request(request) = &requests[0] else { panic!("{requests:?}") };
    let (to, under, _) = sealed_parts(&grant.sealed).expect("a sealed share");
    assert_eq!((to, under), (request.device_key.as_bytes(), ctx.as_bytes().as_slice()));
}

#[test]
fn rel_5_no_grant_leaves_before_its_signature() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, Reply::Hold));
    pair.acquire();
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant), []);
    pair.resume(1);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Grant).len(), 1);
}

#[test]
fn rel_14_the_grant_is_the_draft_that_was_asked_for_and_the_digest_of_its_share() {
    let mut pair = Pair::serving();
    let (statement, grant) = grant_of(&pair, 1);
    let asked = pair.node(1).asked.iter();
    let drafts: Vec<GrantDraft> = asked
        .filter_map(|effect| match effect {
            CustodianEffect::Release { draft, .. } => Some(draft.clone()),
            _ => None,
        })
        .collect();
    let digest = transcript::sealed(&mut custodian_suite(), &grant.sealed);
    assert_eq!(statement.sealed, digest);
    let [draft] = &drafts[..] else { panic!("{drafts:?}") };
    assert_eq!(draft.message(&digest), grant.statement.message(ObjectKind::Grant));
}

#[test]
fn rel_6_a_revoked_device_is_refused() {
    let pair = refused_under(the_device());
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_a_revoked_leaf_is_refused() {
    let pair = refused_under(certificate(&Principal::Device.leaf(1)));
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_a_revoked_issuer_anywhere_in_the_chain_is_refused() {
    let pair = refused_under(certificate(&Principal::issuer()));
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_revoked_weights_are_refused() {
    let pair = refused_under(the_weights());
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_a_revoked_policy_is_refused() {
    let pair = refused_under(the_policy());
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_everything_revoked_is_refused() {
    let pair = refused_under(everything());
    assert_eq!(pair.refusals(1), [Violation::SubjectRevoked]);
}

#[test]
fn rel_6_a_revoked_leaf_of_somebody_else_is_no_reason() {
    let pair = refused_under(certificate(&Principal::Stranger.leaf(1)));
    assert_eq!(pair.refusals(1), []);
}

#[test]
fn rel_6_a_device_that_heard_of_its_revocation_does_not_ask() {
    let mut pair = Pair::serving();
    let approvals = crate::pair::owner::approvals(
        &revoke(the_weights(), 0),
        &[crate::pair::owner::operator(1)],
    );
    pair.device_receives(1, &Message::Notice(Notice { approvals })).expect("a good notice");
    assert!(pair.device_reports.contains(&Report::Stopped { cause: StopCause::Revoked }));
    pair.acquire();
    let refused = Rejection::Violation(Violation::SubjectRevoked);
    assert_eq!(pair.device_rejections, [refused]);
    assert_eq!(pair.custody(), "Idle");
}

#[test]
fn rel_7_a_grant_signed_by_another_custodian_is_refused() {
    let pair = with_lie(|m| {
        let Message::Grant(grant) = m else { panic!("not a grant") };
        let payload = grant.statement.payload_bytes().to_vec();
        let statement = sign(Principal::Custodian(2), ObjectKind::Grant, payload);
        Message::Grant(Grant { statement, sealed: grant.sealed })
    });
    assert_eq!(pair.failures(1), [Some(Violation::GrantForged)]);
}

#[test]
fn rel_7_a_signature_over_another_kind_of_object_is_refused() {
    let pair = with_lie(|m| {
        let Message::Grant(grant) = m else { panic!("not a grant") };
        let payload = grant.statement.payload_bytes().to_vec();
        let statement = sign(Principal::Custodian(1), ObjectKind::Acknowledgement, payload);
        Message::Grant(Grant { statement, sealed: grant.sealed })
    });
    assert_eq!(pair.failures(1), [Some(Violation::GrantForged)]);
}

#[test]
fn rel_7_a_payload_changed_under_its_signature_is_refused() {
    let pair = with_lie(|m| {
        let Message::Grant(grant) = m else { panic!("not a grant") };
        let mut said: GrantStatement = grant.statement.payload().expect("an honest grant");
        said.terms.term = Span::from_millis(11_000);
        let statement = Signed::new(encode(&said), *grant.statement.signature());
        Message::Grant(Grant { statement, sealed: grant.sealed })
    });
    assert_eq!(pair.failures(1), [Some(Violation::GrantForged)]);
}

#[test]
fn rel_8_a_grant_of_another_session_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.session = Digest::new([9; 32])));
    assert_eq!(pair.failures(1), [Some(Violation::GrantOfAnotherSession)]);
}

#[test]
fn rel_8_a_grant_for_another_request_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.th2 = Digest::new([9; 32])));
    assert_eq!(pair.failures(1), [Some(Violation::GrantOfAnotherSession)]);
}

#[test]
fn rel_9_a_grant_in_another_custodians_name_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.custodian = CustodianId::new(2)));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_in_another_suite_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.suite = SuiteId::P256_X963_KWP));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_of_another_share_set_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.set = ShareSetId::new([9; 16])));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_of_another_index_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.index = ShareIndex::new(2)));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_of_another_manifest_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.manifest = Digest::new([9; 32])));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_for_another_device_key_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.device_key = Digest::new([9; 32])));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_9_a_grant_for_another_incarnation_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.incarnation = incarnation(9)));
    assert_eq!(pair.failures(1), [Some(Violation::GrantNotForUs)]);
}

#[test]
fn rel_10_a_share_swapped_under_its_signature_is_refused() {
    let pair = with_lie(|m| {
        let Message::Grant(grant) = m else { panic!("not a grant") };
        Message::Grant(Grant { sealed: swapped(&grant.sealed), ..grant })
    });
    assert_eq!(pair.failures(1), [Some(Violation::SealedShareSwapped)]);
}

#[test]
fn rel_10_a_share_sealed_under_another_context_does_not_open() {
    // The liar signs another log index: ctx differs from what the share was sealed under.
    let pair = with_lie(|m| liar(m, |said| said.index_in_log = said.index_in_log.next()));
    assert_eq!(pair.failures(1), [Some(Violation::SealedShareSwapped)]);
}

#[test]
fn rel_11_a_first_term_above_ttl_max_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.terms.first = Span::from_millis(12_001)));
    assert_eq!(pair.failures(1), [Some(Violation::TermsOutOfBounds)]);
}

#[test]
fn rel_11_a_term_of_ten_years_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.terms.term = Span::from_millis(315_360_000_000)));
    assert_eq!(pair.failures(1), [Some(Violation::TermsOutOfBounds)]);
}

#[test]
fn rel_11_a_first_term_below_the_least_is_refused() {
    // Four margins of 500 and a gather window of 1000.
    let pair = with_lie(|m| liar(m, |said| said.terms.first = Span::from_millis(2_999)));
    assert_eq!(pair.failures(1), [Some(Violation::TermsOutOfBounds)]);
}

#[test]
fn rel_11_a_term_below_the_least_is_refused() {
    let pair = with_lie(|m| liar(m, |said| said.terms.term = Span::from_millis(2_999)));
    assert_eq!(pair.failures(1), [Some(Violation::TermsOutOfBounds)]);
}

#[test]
fn rel_11_terms_exactly_at_both_bounds_are_accepted() {
    let pair = with_lie(|m| {
        liar(m, |said| {
            said.terms.first = Span::from_millis(3_000);
            said.terms.term = Span::from_millis(12_000);
        })
    });
    // Not the share's context any more: refused for that, and only after the terms passed.
    assert_eq!(pair.failures(1), [Some(Violation::SealedShareSwapped)]);
}

#[test]
fn rel_12_a_device_offers_no_suite_that_it_does_not_implement() {
    let mut owner = Owner::new(3, 2, 0);
    let mut entries = owner.manifest.custodians.as_slice().to_vec();
    entries[0].suites = list(vec![SuiteId::new(0x0fff)]);
    owner.manifest.custodians = list(entries);
    let mut pair = Pair::of(owner);
    pair.acquire();
    assert_eq!(pair.failures(1), [Some(Violation::NothingInCommon)]);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn rel_12_a_custodian_chooses_no_suite_that_it_does_not_implement() {
    let mut owner = Owner::new(3, 2, 0);
    let mut entries = owner.manifest.custodians.as_slice().to_vec();
    entries[0].suites = list(vec![SuiteId::new(0x0fff), SuiteId::HPKE_X25519]);
    owner.manifest.custodians = list(entries);
    let mut pair = Pair::of(owner);
    pair.network.push((
        From::Device,
        MessageType::Hello,
        Fate::Change(|m| {
            let Message::Hello(mut hello) = m else { panic!("not a hello") };
            hello.suites = list(vec![SuiteId::new(0x0fff)]);
            Message::Hello(hello)
        }),
    ));
    pair.acquire();
    assert_eq!(pair.refusals(1), [Violation::NothingInCommon]);
}

#[test]
fn rel_12_custodians_of_different_suites_serve_one_session() {
    let mut owner = Owner::new(3, 2, 0);
    let mut entries = owner.manifest.custodians.as_slice().to_vec();
    entries[0].suites = list(vec![SuiteId::P256_X963_KW]);
    entries[1].suites = list(vec![SuiteId::P256_CBCD_KW, SuiteId::HPKE_X25519]);
    owner.manifest.custodians = list(entries);
    let mut pair = Pair::of(owner);
    pair.acquire();
    let suites = [1, 2, 3].map(|custodian| grant_of(&pair, custodian).0.suite);
    assert_eq!(suites, [SuiteId::P256_X963_KW, SuiteId::P256_CBCD_KW, SuiteId::HPKE_X25519]);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 3));
}

#[test]
fn rel_13_an_hsm_that_fails_once_is_asked_again_under_the_same_ctx() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, hsm_failed()));
    pair.acquire();
    let asked = pair.node(1).asked.iter();
    let contexts: Vec<Digest> = asked
        .filter_map(|effect| match effect {
            CustodianEffect::Release { context, .. } => Some(*context),
            _ => None,
        })
        .collect();
    assert_eq!(contexts.len(), 2);
    assert_eq!(contexts[0], contexts[1]);
    assert_eq!(pair.device.counting(pair.now), 3);
}

#[test]
fn rel_13_an_hsm_that_fails_twice_is_not_asked_again() {
    let mut pair = Pair::new();
    pair.node(1).script.push((Kind::Release, hsm_failed()));
    pair.node(1).script.push((Kind::Release, hsm_failed()));
    pair.acquire();
    assert_eq!(pair.node(1).count(Kind::Release), 2);
    assert_eq!(pair.sent_by(From::Custodian(1), MessageType::Refused).len(), 1);
    assert_eq!((pair.custody(), pair.device.counting(pair.now)), ("Serving", 2));
}

#[test]
fn aud_8_the_grant_is_a_receipt_whose_leaf_an_auditor_finds() {
    let mut pair = Pair::serving();
    let (statement, _) = grant_of(&pair, 1);
    let auth = transcript::auth(&mut crate::pair::suite_of(Principal::Stranger, 0), &statement);
    let place = usize::try_from(statement.index_in_log.value()).expect("a small log") - 1;
    assert_eq!(pair.node(1).written[place].leaf.subject, auth);
}
