//! What the worker's side does by itself, seen inside the process that holds the token.

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Dealt, Module, deal, statement};
use split_custody_keys::{KekPublic, Released, sealed_digest, verify};
use split_custody_pkcs11::{Attr, Class, Error, Hsm, KEYS, Leftovers, Order, Sessions, code};
use split_custody_protocol::Suite;
use split_custody_protocol::suite::{AgreementKey, SealedShare, SuiteId, VerifyKey};
use split_custody_protocol::wire::grant::GrantDraft;

#[test]
#[ignore = "makes the tokens of the other tests"]
fn init() {
    common::init_as_child();
}

/// Runs a story in the process of a token of its own, with so many ephemerals that lie ready.
fn inside(story: &str, pool: usize) {
    let Some(mut bench) = Module::SoftHsm.bench() else { return };
    bench.change(|config| config.pool = pool);
    let done = common::child(&bench, story);
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

struct Inside {
    hsm: Hsm,
    lane: Sessions,
    dealt: Dealt,
    to: AgreementKey,
}

impl Inside {
    fn open() -> Self {
        let hsm = Hsm::open(common::of_child()).unwrap();
        let mut lane = hsm.sessions().unwrap();
        hsm.rest(&mut lane, Leftovers::default());
        let dealt = deal(KekPublic::p256(hsm.suite(), &hsm.kek_point()).unwrap());
        let (_, to) = split_custody_keys::ByteSuite::new().generate(hsm.suite(), 0);
        Self { hsm, lane, dealt, to }
    }

    fn ask(&mut self, sealed: &SealedShare, suite: SuiteId, to: &[u8]) -> Result<Released, Error> {
        let (result, left) = self.ask_and_leave(sealed, suite, to);
        self.hsm.rest(&mut self.lane, left);
        result
    }

    /// Without what comes after an answer.
    fn ask_and_leave(
        &mut self,
        sealed: &SealedShare,
        suite: SuiteId,
        to: &[u8],
    ) -> (Result<Released, Error>, Leftovers) {
        let draft = GrantDraft::of(&statement(0));
        let order = Order {
            provisioned: sealed,
            provision_context: &self.dealt.context,
            suite,
            to,
            context: &common::CONTEXT,
            draft: draft.as_bytes(),
        };
        self.hsm.release(&mut self.lane, &order)
    }

    fn release(&mut self) -> Result<Released, Error> {
        let (sealed, to) = (self.dealt.sealed.sealed.clone(), self.to.clone());
        let released = self.ask(&sealed, self.hsm.suite(), to.as_bytes())?;
        let message = GrantDraft::of(&statement(0)).message(&sealed_digest(&released.sealed));
        let public = VerifyKey::new(self.hsm.grant_point());
        assert_eq!(verify(&public, &message, &released.signature), Ok(()));
        Ok(released)
    }

    /// Session objects of a class.
    fn objects(&self, class: u64) -> Vec<u64> {
        let session = self.hsm.token().session().unwrap();
        let wanted = [Attr::Number(code::CKA_CLASS, class), Attr::Flag(code::CKA_TOKEN, false)];
        self.hsm.token().raw.find(session.handle(), &wanted).unwrap()
    }

    /// Ephemerals, and unwrapped or derived secrets.
    fn left(&self) -> (usize, usize) {
        (self.objects(code::CKO_PRIVATE_KEY).len(), self.objects(code::CKO_SECRET_KEY).len())
    }

    /// Destroys the unwrapped shares behind the custodian's back.
    fn lose_shares(&self) {
        let session = self.hsm.token().session().unwrap();
        let shares = self.objects(code::CKO_SECRET_KEY);
        assert!(!shares.is_empty());
        for share in shares {
            self.hsm.token().raw.destroy(session.handle(), share).unwrap();
        }
    }
}

#[test]
fn hsm_1_worker_refuses_a_bad_point_and_a_suite_by_itself() {
    inside("bad_input", 0);
}

#[test]
#[ignore = "runs in the process of a token"]
fn bad_input() {
    let mut inside = Inside::open();
    let (sealed, suite) = (inside.dealt.sealed.sealed.clone(), inside.hsm.suite());
    let good = inside.to.as_bytes().to_vec();
    let (mut off, mut compressed) = (good.clone(), good.clone());
    off[64] ^= 1;
    compressed[0] = 2;
    for bad in [&off[..], &compressed, &good[..33], &[4; 65], &[]] {
        let refused = inside.ask(&sealed, suite, bad).expect_err("no point");
        assert_eq!(refused.class(), Class::Client);
        assert!(refused.to_string().contains("HSM-1"), "before the token sees it: {refused}");
    }
    let refused = inside.ask(&sealed, SuiteId::P256_X963_KW, &good).expect_err("another suite");
    assert!(matches!(refused, Error::OtherSuite), "{refused}");
    assert_eq!(inside.left(), (0, 0), "nothing was made for any of these");
    inside.release().unwrap();
}

#[test]
fn hsm_3_nothing_of_a_release_stays_in_the_token() {
    inside("leftovers", 0);
}

#[test]
#[ignore = "runs in the process of a token"]
fn leftovers() {
    let mut inside = Inside::open();
    for _ in 0..5 {
        inside.release().unwrap();
        assert_eq!(inside.left(), (0, 1), "the unwrapped share and nothing else");
    }
    // A release that fails once its ephemeral was used, and is tried again with another.
    inside.lose_shares();
    inside.release().unwrap();
    assert_eq!(inside.left(), (0, 1));
    // One that fails for good.
    let mut bytes = inside.dealt.sealed.sealed.as_bytes().to_vec();
    bytes[100] ^= 1;
    let (bent, to) = (SealedShare::new(bytes).unwrap(), inside.to.clone());
    let refused = inside.ask(&bent, inside.hsm.suite(), to.as_bytes()).expect_err("a changed blob");
    assert_eq!(refused.class(), Class::Client, "{refused}");
    assert_eq!(inside.left(), (0, 1));
    inside.hsm.destroy_handles().unwrap();
    assert_eq!(inside.left(), (0, 0));
}

#[test]
fn hsm_3_ephemeral_that_lay_ready_is_given_to_one_release() {
    inside("ready_ones", POOL);
}

#[test]
#[ignore = "runs in the process of a token"]
fn ready_ones() {
    let mut inside = Inside::open();
    while inside.hsm.ready() < POOL {
        std::thread::sleep(Duration::from_millis(5));
    }
    let (sealed, to) = (inside.dealt.sealed.sealed.clone(), inside.to.clone());
    let (mut points, mut all) = (BTreeSet::new(), Vec::new());
    // More than half stay, so nobody fills up meanwhile; none is destroyed before all are taken.
    for taken in 1..=POOL / 2 {
        let suite = inside.hsm.suite();
        let (released, left) = inside.ask_and_leave(&sealed, suite, to.as_bytes());
        assert!(points.insert(released.unwrap().sealed.as_bytes()[..65].to_vec()), "used twice");
        assert_eq!(inside.hsm.ready(), POOL - taken);
        all.push(left);
    }
    for left in all {
        inside.hsm.rest(&mut inside.lane, left);
    }
    assert_eq!(inside.left().0, inside.hsm.ready(), "those that were used are gone");
}

/// Ephemerals that lie ready.
const POOL: usize = 8;

#[test]
fn hsm_6_handles_that_went_away_are_found_again_within_one_request() {
    inside("lost_handles", 0);
}

#[test]
#[ignore = "runs in the process of a token"]
fn lost_handles() {
    let mut inside = Inside::open();
    for _ in 0..3 {
        inside.release().unwrap();
        inside.lose_shares();
        inside.release().unwrap();
    }
}

#[test]
fn hsm_6_key_that_became_weak_is_refused_when_the_keys_are_looked_up_again() {
    inside("weak_later", 0);
}

#[test]
#[ignore = "runs in the process of a token"]
fn weak_later() {
    let mut inside = Inside::open();
    inside.release().unwrap();
    let session = inside.hsm.token().session().unwrap();
    // Beside the good KEK, one that leaves the token.
    let attrs = [
        Attr::Bytes(code::CKA_LABEL, b"split-custody-share-kek".to_vec()),
        Attr::Bytes(code::CKA_ID, vec![1; 16]),
        Attr::Number(code::CKA_VALUE_LEN, 32),
        Attr::Flag(code::CKA_TOKEN, true),
        Attr::Flag(code::CKA_PRIVATE, true),
        Attr::Flag(code::CKA_SENSITIVE, true),
        Attr::Flag(code::CKA_EXTRACTABLE, true),
    ];
    let raw = inside.hsm.token().raw;
    let weak = raw.generate(session.handle(), code::CKM_AES_KEY_GEN, &attrs).unwrap();
    inside.release().unwrap();
    inside.lose_shares();
    let refused = inside.release().expect_err("a weak key");
    assert_eq!(refused.class(), Class::Operator);
    assert!(refused.to_string().contains("`share-kek` is weak: `EXTRACTABLE`"), "{refused}");
    raw.destroy(session.handle(), weak).unwrap();
    inside.hsm.check().unwrap();
    inside.release().unwrap();
}

#[test]
fn hsm_6_signature_that_was_begun_under_an_earlier_key_is_not_used() {
    inside("begun_before", 0);
}

#[test]
#[ignore = "runs in the process of a token"]
fn begun_before() {
    let mut inside = Inside::open();
    let signed = |inside: &mut Inside| {
        let signature = inside.hsm.sign_grant(&mut inside.lane, b"message").unwrap();
        verify(&VerifyKey::new(inside.hsm.grant_point()), b"message", &signature)
    };
    // Begun, not begun, and begun again.
    assert_eq!(signed(&mut inside), Ok(()));
    assert_eq!(signed(&mut inside), Ok(()));
    inside.hsm.rest(&mut inside.lane, Leftovers::default());
    let before = inside.hsm.grant_point();
    Hsm::destroy(&common::of_child(), &KEYS).unwrap();
    Hsm::init(&common::of_child()).unwrap();
    inside.hsm.check().unwrap();
    assert_ne!(inside.hsm.grant_point(), before);
    assert_eq!(signed(&mut inside), Ok(()), "by the key that is there now");
    inside.hsm.rest(&mut inside.lane, Leftovers::default());
    assert_eq!(signed(&mut inside), Ok(()));
}
