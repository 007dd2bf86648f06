//! Executors over stores, keys and devices that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use split_custody_keys::Released;
use split_custody_protocol::effect::{
    Anchor, Change, CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, Secrets,
    Transaction, Verdict,
};
use split_custody_protocol::ids::{
    Budget, Counter, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
    ShareSetId, Ticket,
};
use split_custody_protocol::role::{Custodian, Device};
use split_custody_protocol::suite::{
    AgreementKey, DekHandle, Digest, Incarnation, SealedShare, Signature, SuiteId,
};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::audit::{Leaf, LeafKind};
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::grant::{GrantDraft, GrantStatement, Terms};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::effects::{
    AnchorFailed, Answers, Appraiser, Cancel, CommitOutcome, CommitStore, CustodianEffects,
    CustodyKeys, DeviceBackend, DeviceEffects, Effects, Outage, ReleaseOrder,
};

#[tokio::test]
async fn rel_3_commits_that_wait_together_share_one_write() {
    let desk = Desk::default();
    let (mut effects, answers, mut answered) = desk.start();
    // The first write is slow; the rest wait behind it.
    for ticket in 1..=10 {
        effects.start(Ticket::new(ticket), commit(), &answers);
    }
    for ticket in 1..=10 {
        let expected = (Ticket::new(ticket), CustodianAnswer::Committed(LogIndex::new(ticket)));
        assert_eq!(next(&mut answered).await, expected);
    }
    assert!(desk.writes.load(Ordering::SeqCst) < 10);
}

#[tokio::test]
async fn aud_2_store_that_panics_does_not_know() {
    let desk = Desk::default();
    desk.panics.store(true, Ordering::SeqCst);
    let (mut effects, answers, mut answered) = desk.start();
    effects.start(Ticket::new(1), commit(), &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), CustodianAnswer::Unknown));
    desk.panics.store(false, Ordering::SeqCst);
    effects.start(Ticket::new(2), CustodianEffect::Reread { commit: Ticket::new(1) }, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(2), CustodianAnswer::Fenced));
}

#[tokio::test]
async fn rel_13_keys_that_fail_are_said_to_fail() {
    let desk = Desk::default();
    desk.outage.store(true, Ordering::SeqCst);
    let (mut effects, answers, mut answered) = desk.start();
    effects.start(Ticket::new(1), CustodianEffect::Sign { message: vec![1] }, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), CustodianAnswer::HsmFailed));
    desk.panics.store(true, Ordering::SeqCst);
    effects.start(Ticket::new(2), CustodianEffect::Sign { message: vec![1] }, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(2), CustodianAnswer::HsmFailed));
}

#[tokio::test]
async fn rev_4_anchor_is_tried_until_it_moves() {
    let desk = Desk::default();
    desk.outage.store(true, Ordering::SeqCst);
    let (mut effects, answers, mut answered) = desk.start();
    effects.start(Ticket::new(1), CustodianEffect::Anchor(anchor()), &answers);
    assert!(timeout(Duration::from_millis(150), answered.recv()).await.is_err(), "not yet");
    desk.outage.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), CustodianAnswer::Anchored));
}

#[tokio::test]
async fn rev_7_handles_are_destroyed_after_the_rewrap_under_way() {
    let desk = Desk::default();
    let (mut effects, answers, mut answered) = desk.start();
    effects.start(Ticket::new(1), release(), &answers);
    while !desk.releasing.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    effects.start(Ticket::new(2), CustodianEffect::DestroyHandles, &answers);
    // Which answer comes first is open; that the work did not overlap is not.
    let answers = [next(&mut answered).await.1, next(&mut answered).await.1];
    assert!(answers.contains(&CustodianAnswer::HandlesDestroyed), "{answers:?}");
    assert!(!desk.overlapped.load(Ordering::SeqCst));
}

#[tokio::test]
async fn lea_5_erasure_of_its_key_ends_a_load() {
    let (mut effects, answers, mut answered) = device();
    effects.start(Ticket::new(1), DeviceEffect::Load { dek: DekHandle::new(1) }, &answers);
    let secrets = Secrets { dek: Some(DekHandle::new(1)), ..Secrets::default() };
    effects.start(Ticket::new(2), DeviceEffect::Erase { secrets }, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), DeviceAnswer::LoadFailed));
    assert_eq!(next(&mut answered).await, (Ticket::new(2), DeviceAnswer::Erased));
}

#[tokio::test]
async fn rst_3_zeroise_ends_a_load() {
    let (mut effects, answers, mut answered) = device();
    effects.start(Ticket::new(1), DeviceEffect::Load { dek: DekHandle::new(1) }, &answers);
    effects.start(Ticket::new(2), DeviceEffect::Zeroise, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), DeviceAnswer::LoadFailed));
    assert_eq!(next(&mut answered).await, (Ticket::new(2), DeviceAnswer::Zeroised));
}

#[tokio::test]
async fn qrm_6_erasure_of_spent_shares_leaves_a_load_alone() {
    let (mut effects, answers, mut answered) = device();
    effects.start(Ticket::new(1), DeviceEffect::Load { dek: DekHandle::new(0) }, &answers);
    let secrets = Secrets::default();
    effects.start(Ticket::new(2), DeviceEffect::Erase { secrets }, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), DeviceAnswer::Loaded));
}

#[tokio::test]
async fn rst_3_device_that_panics_while_scrubbing_has_not_scrubbed() {
    let (mut effects, answers, mut answered) = device();
    effects.start(Ticket::new(1), DeviceEffect::Scrub, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(1), DeviceAnswer::ScrubFailed));
    effects.start(Ticket::new(2), DeviceEffect::Zeroise, &answers);
    assert_eq!(next(&mut answered).await, (Ticket::new(2), DeviceAnswer::Zeroised));
}

/// A custodian's back office with switches.
#[derive(Clone, Default)]
struct Desk {
    writes: Arc<AtomicUsize>,
    outage: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    releasing: Arc<AtomicBool>,
    overlapped: Arc<AtomicBool>,
}

type Started =
    (CustodianEffects<Custodian>, Answers<Custodian>, UnboundedReceiver<(Ticket, CustodianAnswer)>);

impl Desk {
    fn start(&self) -> Started {
        let desk = || Arc::new(self.clone());
        let effects = CustodianEffects::new(desk(), desk(), desk()).expect("threads");
        let (sender, answered) = unbounded_channel();
        (effects, Answers::new(sender), answered)
    }

    fn check(&self) -> Result<(), Outage> {
        assert!(!self.panics.load(Ordering::SeqCst), "a fault, as asked");
        if self.outage.load(Ordering::SeqCst) { Err(Outage) } else { Ok(()) }
    }
}

impl CommitStore for Desk {
    fn commit(&self, group: Vec<(Ticket, Transaction)>) -> Vec<CommitOutcome> {
        assert!(!self.panics.load(Ordering::SeqCst), "a fault, as asked");
        self.writes.fetch_add(1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(50));
        let index = |ticket: &Ticket| LogIndex::new(ticket.value());
        group.iter().map(|(ticket, _)| CommitOutcome::Committed(index(ticket))).collect()
    }

    fn reread(&self, _: Ticket) -> CommitOutcome {
        CommitOutcome::Fenced
    }

    fn anchor(&self, _: &Anchor) -> Result<(), AnchorFailed> {
        self.check().map_err(|Outage| AnchorFailed)
    }
}

impl CustodyKeys for Desk {
    fn release(&self, order: &ReleaseOrder) -> Result<Released, Outage> {
        self.releasing.store(true, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        self.releasing.store(false, Ordering::SeqCst);
        let sealed = SealedShare::new(order.to.as_bytes().to_vec()).ok_or(Outage)?;
        Ok(Released { sealed, signature: Signature::new([1; 64]) })
    }

    fn sign(&self, _: &[u8]) -> Result<Signature, Outage> {
        self.check().map(|()| Signature::new([1; 64]))
    }

    fn destroy_handles(&self) -> Result<(), Outage> {
        self.overlapped.store(self.releasing.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }
}

impl Appraiser for Desk {
    fn appraise(&self, _: &Evidence) -> Option<Verdict> {
        None
    }
}

/// Loads until it is told to give up; a load of key 0 ends by itself. Cannot scrub.
struct Loader;

impl DeviceBackend for Loader {
    fn execute(&mut self, effect: DeviceEffect, cancel: &Cancel) -> DeviceAnswer {
        match effect {
            DeviceEffect::Load { dek } => load(dek, cancel),
            DeviceEffect::Erase { .. } => DeviceAnswer::Erased,
            DeviceEffect::Zeroise => DeviceAnswer::Zeroised,
            _ => panic!("a fault, as expected"),
        }
    }
}

fn load(dek: DekHandle, cancel: &Cancel) -> DeviceAnswer {
    let pieces = if dek.value() == 0 { 20 } else { 5000 };
    for _ in 0..pieces {
        if cancel.is_set() {
            return DeviceAnswer::LoadFailed;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    DeviceAnswer::Loaded
}

type StartedDevice =
    (DeviceEffects<Device>, Answers<Device>, UnboundedReceiver<(Ticket, DeviceAnswer)>);

fn device() -> StartedDevice {
    let (sender, answered) = unbounded_channel();
    (DeviceEffects::new(Loader).expect("a thread"), Answers::new(sender), answered)
}

fn commit() -> CustodianEffect {
    CustodianEffect::Commit(Transaction {
        generation: Generation::new(1),
        epoch: Epoch::new(0),
        change: Change::Renew { lease: LeaseId::new([0; 16]), counter: Counter::new(1) },
        leaf: Leaf {
            kind: LeafKind::Renewal,
            generation: Generation::new(1),
            epoch: Epoch::new(0),
            subject: Digest::new([0; 32]),
        },
    })
}

fn statement() -> GrantStatement {
    let (digest, span) = (Digest::new([0; 32]), Span::from_millis(1));
    GrantStatement {
        session: digest,
        th2: digest,
        suite: SuiteId::HPKE_X25519,
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        lease: LeaseId::new([0; 16]),
        set: ShareSetId::new([0; 16]),
        index: ShareIndex::new(1),
        manifest: digest,
        device_key: digest,
        incarnation: Incarnation::new([0; 32]),
        terms: Terms { first: span, term: span, budget: Budget::UNLIMITED, max_age: span },
        epoch: Epoch::new(0),
        policy: PolicyVersion::new(1),
        index_in_log: LogIndex::new(0),
        sealed: digest,
    }
}

fn release() -> CustodianEffect {
    CustodianEffect::Release {
        set: ShareSetId::new([0; 16]),
        index: ShareIndex::new(1),
        suite: SuiteId::HPKE_X25519,
        to: AgreementKey::new(vec![1; 32]).expect("within the cap"),
        context: Digest::new([0; 32]),
        draft: GrantDraft::of(&statement()),
    }
}

fn anchor() -> Anchor {
    Anchor { generation: Generation::new(1), epoch: Epoch::new(0), orders: Vec::new() }
}

async fn next<A>(answered: &mut UnboundedReceiver<(Ticket, A)>) -> (Ticket, A) {
    let answer = timeout(Duration::from_secs(10), answered.recv()).await;
    answer.expect("in time").expect("an answer")
}
