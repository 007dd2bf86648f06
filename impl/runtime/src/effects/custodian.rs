//! A custodian's effects: store and anchor in order, keys and appraisal in parallel.
//!
//! Chapters 30, 60 and 80. Transactions that wait together share one durable write. An anchor that
//! cannot be moved, and handles that cannot be destroyed, are tried again until they can; nothing is
//! acknowledged before. [REV-4] [REV-7]

use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use split_custody_keys::Released;
use split_custody_protocol::effect::{
    Anchor, CustodianAnswer, CustodianEffect, Transaction, Verdict,
};
use split_custody_protocol::ids::{LogIndex, ShareIndex, ShareSetId, Ticket};
use split_custody_protocol::suite::{AgreementKey, Digest, Signature, SuiteId};
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::grant::GrantDraft;

use crate::effects::lane::{Lane, Queue};
use crate::effects::{Answers, Effects, Promise};
use crate::machine::Machine;

/// The durable store and its anchor. Called from one thread each.
pub trait CommitStore: Send + Sync + 'static {
    /// Writes each transaction whole or not at all, in order, with its leaf; one outcome each.
    /// One durable write may carry them all. [REL-3]
    fn commit(&self, group: Vec<(Ticket, Transaction)>) -> Vec<CommitOutcome>;

    /// Whether that transaction was written; never writes. Asked again until it is known. [AUD-2]
    fn reread(&self, commit: Ticket) -> CommitOutcome;

    /// Moves the anchor; may be called again with the same value. [REV-4]
    fn anchor(&self, anchor: &Anchor) -> Result<(), AnchorFailed>;
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommitOutcome {
    Committed(LogIndex),
    /// The store does not know.
    Unknown,
    /// Not written: another generation or epoch holds the store.
    Fenced,
}

/// The anchor could not be moved now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnchorFailed;

/// The custodian's keys. Called from several threads.
pub trait CustodyKeys: Send + Sync + 'static {
    /// Unwraps the share, seals it to the device key, and signs the grant. [REL-4] [REL-14]
    fn release(&self, order: &ReleaseOrder) -> Result<Released, Outage>;

    /// Signs with the grant key what is no grant.
    fn sign(&self, message: &[u8]) -> Result<Signature, Outage>;

    /// Destroys cached handles of unwrapped shares; no `release` runs meanwhile. Tried again until
    /// it succeeds. [REV-7]
    fn destroy_handles(&self) -> Result<(), Outage>;
}

/// What to release, to whom, under what, with which grant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReleaseOrder {
    pub set: ShareSetId,
    pub index: ShareIndex,
    pub suite: SuiteId,
    pub to: AgreementKey,
    pub context: Digest,
    pub draft: GrantDraft,
}

/// The keys cannot be used now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Outage;

/// Judges Evidence against endorsements and wall time. Called from several threads.
pub trait Appraiser: Send + Sync + 'static {
    /// `None` rejects.
    fn appraise(&self, evidence: &Evidence) -> Option<Verdict>;
}

/// Executes a custodian's effects.
pub struct CustodianEffects<M: Machine> {
    store: Lane<StoreJob<M>>,
    orders: Lane<OrderJob<M>>,
    pool: Lane<PoolJob<M>>,
}

enum StoreJob<M: Machine> {
    Commit(Ticket, Box<Transaction>, Promise<M>),
    Reread(Ticket, Promise<M>),
}

/// A step of an order that has no other answer than success.
enum OrderJob<M: Machine> {
    Anchor(Anchor, Promise<M>),
    DestroyHandles(Promise<M>),
}

struct PoolJob<M: Machine> {
    effect: CustodianEffect,
    promise: Promise<M>,
}

impl<M> CustodianEffects<M>
where
    M: Machine<Answer = CustodianAnswer, Effect = CustodianEffect>,
{
    /// Starts its threads; they end when this is dropped.
    pub fn new(
        store: Arc<dyn CommitStore>,
        keys: Arc<dyn CustodyKeys>,
        appraiser: Arc<dyn Appraiser>,
    ) -> io::Result<Self> {
        let anchors = Arc::clone(&store);
        let executor = Arc::new(Executor { keys, appraiser, handles: RwLock::new(()) });
        let destroyer = Arc::clone(&executor);
        let threads = available_parallelism().map_or(2, usize::from);
        Ok(Self {
            store: Lane::start("store", 1, move |queue| serve_store(&*store, queue))?,
            orders: Lane::start("orders", 1, move |queue| {
                serve_orders(&*anchors, &destroyer, queue)
            })?,
            pool: Lane::start("keys", threads, move |queue: &Queue<PoolJob<M>>| {
                let job = queue.next()?;
                executor.execute(job.effect, job.promise);
                Some(())
            })?,
        })
    }
}

impl<M> Effects<M> for CustodianEffects<M>
where
    M: Machine<Answer = CustodianAnswer, Effect = CustodianEffect>,
{
    fn start(&mut self, ticket: Ticket, effect: CustodianEffect, answers: &Answers<M>) {
        use CustodianEffect as E;
        let promise = answers.promise(ticket, on_failure(&effect));
        match effect {
            E::Commit(transaction) => {
                self.store.put(StoreJob::Commit(ticket, Box::new(transaction), promise));
            }
            E::Reread { commit } => self.store.put(StoreJob::Reread(commit, promise)),
            E::Anchor(anchor) => self.orders.put(OrderJob::Anchor(anchor, promise)),
            E::DestroyHandles => self.orders.put(OrderJob::DestroyHandles(promise)),
            // INVARIANT: exports are answered by the driver; one that comes here has failed.
            E::Export { .. } => drop(promise),
            E::Appraise { .. } | E::Release { .. } | E::Sign { .. } => {
                self.pool.put(PoolJob { effect, promise });
            }
        }
    }
}

/// The answer of an effect whose execution panicked.
const fn on_failure(effect: &CustodianEffect) -> Option<CustodianAnswer> {
    use CustodianEffect as E;
    Some(match effect {
        E::Export { .. } => CustodianAnswer::ExportFailed,
        E::Appraise { .. } => CustodianAnswer::Rejected,
        E::Commit(_) => CustodianAnswer::Unknown,
        E::Release { .. } | E::Sign { .. } => CustodianAnswer::HsmFailed,
        E::Reread { .. } | E::Anchor(_) | E::DestroyHandles => return None,
    })
}

/// Takes a job and every commit that waits behind it.
fn serve_store<M>(store: &dyn CommitStore, queue: &Queue<StoreJob<M>>) -> Option<()>
where
    M: Machine<Answer = CustodianAnswer>,
{
    let (mut group, mut promises) = (Vec::new(), Vec::new());
    let mut job = Some(queue.next()?);
    while let Some(StoreJob::Commit(ticket, transaction, promise)) = job {
        group.push((ticket, *transaction));
        promises.push(promise);
        job = if group.len() < GROUP { queue.ready() } else { None };
    }
    if !group.is_empty() {
        let outcomes = store.commit(group);
        // A store that answers for fewer leaves the rest unknown, by their promises.
        promises.into_iter().zip(outcomes).for_each(|(promise, outcome)| {
            promise.keep(outcome.into());
        });
    }
    if let Some(StoreJob::Reread(commit, promise)) = job {
        promise.keep(known(store, commit).into());
    }
    Some(())
}

/// A machine that is told `Unknown` would ask for the outcome of its question, which no store knows.
fn known(store: &dyn CommitStore, commit: Ticket) -> CommitOutcome {
    loop {
        match store.reread(commit) {
            CommitOutcome::Unknown => sleep(PAUSE),
            outcome => return outcome,
        }
    }
}

fn serve_orders<M>(
    store: &dyn CommitStore,
    executor: &Executor,
    queue: &Queue<OrderJob<M>>,
) -> Option<()>
where
    M: Machine<Answer = CustodianAnswer>,
{
    match queue.next()? {
        OrderJob::Anchor(anchor, promise) => {
            while store.anchor(&anchor).is_err() {
                sleep(PAUSE);
            }
            promise.keep(CustodianAnswer::Anchored);
        }
        OrderJob::DestroyHandles(promise) => {
            while executor.destroy_handles().is_err() {
                sleep(PAUSE);
            }
            promise.keep(CustodianAnswer::HandlesDestroyed);
        }
    }
    Some(())
}

impl From<CommitOutcome> for CustodianAnswer {
    fn from(outcome: CommitOutcome) -> Self {
        match outcome {
            CommitOutcome::Committed(index) => Self::Committed(index),
            CommitOutcome::Unknown => Self::Unknown,
            CommitOutcome::Fenced => Self::Fenced,
        }
    }
}

struct Executor {
    keys: Arc<dyn CustodyKeys>,
    appraiser: Arc<dyn Appraiser>,
    /// Shared by releases, held alone while handles are destroyed: a release under way would
    /// otherwise leave a handle behind that was said to be destroyed. [REV-7]
    handles: RwLock<()>,
}

impl Executor {
    fn execute<M>(&self, effect: CustodianEffect, promise: Promise<M>)
    where
        M: Machine<Answer = CustodianAnswer>,
    {
        use CustodianEffect as E;
        let answer = match effect {
            E::Appraise { evidence } => self.appraise(&evidence),
            E::Release { set, index, suite, to, context, draft } => {
                self.release(&ReleaseOrder { set, index, suite, to, context, draft })
            }
            E::Sign { message } => self.sign(&message),
            E::Export { .. }
            | E::Commit(_)
            | E::Reread { .. }
            | E::Anchor(_)
            | E::DestroyHandles => return,
        };
        promise.keep(answer);
    }

    fn appraise(&self, evidence: &Evidence) -> CustodianAnswer {
        let verdict = self.appraiser.appraise(evidence);
        verdict.map_or(CustodianAnswer::Rejected, CustodianAnswer::Appraised)
    }

    fn release(&self, order: &ReleaseOrder) -> CustodianAnswer {
        let _shared = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        match self.keys.release(order) {
            Ok(Released { sealed, signature }) => CustodianAnswer::Released { sealed, signature },
            Err(Outage) => CustodianAnswer::HsmFailed,
        }
    }

    fn sign(&self, message: &[u8]) -> CustodianAnswer {
        match self.keys.sign(message) {
            Ok(signature) => CustodianAnswer::Signed(signature),
            Err(Outage) => CustodianAnswer::HsmFailed,
        }
    }

    fn destroy_handles(&self) -> Result<(), Outage> {
        let _alone = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        self.keys.destroy_handles()
    }
}

/// Transactions of one durable write, at most.
const GROUP: usize = 64;
const PAUSE: Duration = Duration::from_millis(50);
