//! The custodian's side of a release: commit, re-wrap and sign, and only then send. [REL-5]

use alloc::vec::Vec;
use core::mem;

use super::policy::Decided;
use crate::effect::{Change, CustodianEffect, LeaseRecord, Transaction};
use crate::error::Violation;
use crate::ids::{
    CustodianId, Epoch, Generation, LeaseId, LogIndex, ShareIndex, ShareSetId, Ticket,
};
use crate::sealing::KnownManifest;
use crate::suite::{Digest, LeafKey, SealedShare, Signature, Suite};
use crate::time::{Instant, Rebase, Span};
use crate::transcript;
use crate::wire::audit::{Leaf, LeafKind};
use crate::wire::codec;
use crate::wire::grant::{Grant, GrantDraft, GrantStatement};
use crate::wire::message::Message;
use crate::wire::signed::Signed;

/// One release on its way.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Granter {
    decided: Decided,
    record: LeaseRecord,
    /// `index_in_log` and `sealed` are filled as they become known.
    statement: GrantStatement,
    state: State,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum State {
    Committing,
    Releasing,
    Retrying,
    Granted,
    Closed,
}

/// What happens to a [`Granter`].
#[derive(Clone, Debug)]
pub enum GranterInput {
    Committed(LogIndex),
    /// The store does not know; the ticket names the commit to read back. [AUD-2]
    Unknown(Ticket),
    Fenced,
    Released {
        sealed: SealedShare,
        signature: Signature,
    },
    HsmFailed,
    /// An order covers the release. [REV-5]
    Cancelled,
}

/// What came of an input.
#[derive(Debug)]
pub enum GranterStep {
    Ask(CustodianEffect),
    /// The lease is committed: it counts from now, whatever becomes of the grant. [LEA-6]
    CommittedAndAsk(CustodianEffect),
    /// The grant may leave. [REL-5]
    Send(Vec<u8>),
    /// No grant will leave; the peer is refused.
    Refuse,
}

/// What a release takes from its custodian.
#[derive(Clone, Copy, Debug)]
pub struct Grantor<'a> {
    pub custodian: CustodianId,
    pub generation: Generation,
    pub epoch: Epoch,
    pub manifest: &'a KnownManifest,
    pub chain: &'a [LeafKey],
}

impl Granter {
    /// Begins with the one durable transaction: lease and leaf, or nothing. [REL-3] [AUD-1]
    pub fn begin(
        decided: Decided,
        lease: LeaseId,
        grantor: &Grantor<'_>,
        suite: &mut impl Suite,
    ) -> Result<(Self, CustodianEffect), Violation> {
        let appraised = &decided.appraised;
        let manifest = grantor.manifest;
        let entry = manifest.custodian(grantor.custodian).ok_or(Violation::PolicyRefuses)?;
        let statement = GrantStatement {
            session: *appraised.session(),
            th2: *appraised.th2(),
            suite: appraised.suite(),
            custodian: grantor.custodian,
            generation: grantor.generation,
            lease,
            set: manifest.set,
            index: entry.index,
            manifest: *manifest.digest(),
            device_key: transcript::device_key(suite, appraised.device_key()),
            incarnation: *appraised.incarnation(),
            terms: decided.terms,
            epoch: grantor.epoch,
            policy: decided.policy,
            index_in_log: LogIndex::new(0),
            sealed: Digest::new([0; 32]),
        };
        let record = LeaseRecord {
            lease,
            device: *appraised.device(),
            incarnation: *appraised.incarnation(),
            manifest: *manifest.digest(),
            device_leaf: *appraised.device_leaf(),
            custodian_leaf: *appraised.custodian_leaf(),
            terms: decided.terms,
            chain: grantor.chain.to_vec(),
        };
        let transaction = Transaction {
            generation: grantor.generation,
            epoch: grantor.epoch,
            change: Change::Grant(record.clone()),
            leaf: Leaf {
                kind: LeafKind::Release,
                generation: grantor.generation,
                epoch: grantor.epoch,
                subject: transcript::auth(suite, &statement),
            },
        };
        let granter = Self { decided, record, statement, state: State::Committing };
        Ok((granter, CustodianEffect::Commit(transaction)))
    }

    /// Takes one input; what is not listed closes the release.
    pub fn handle(
        &mut self,
        input: GranterInput,
        suite: &mut impl Suite,
    ) -> Result<GranterStep, Violation> {
        use GranterInput as I;
        let state = mem::replace(&mut self.state, State::Closed);
        match (state, input) {
            (State::Committing, I::Committed(index)) => {
                self.statement.index_in_log = index;
                self.state = State::Releasing;
                Ok(GranterStep::CommittedAndAsk(self.release(suite)))
            }
            (State::Committing, I::Unknown(commit)) => {
                self.state = State::Committing;
                Ok(GranterStep::Ask(CustodianEffect::Reread { commit })) // [AUD-2]
            }
            (State::Releasing | State::Retrying, I::Released { sealed, signature }) => {
                Ok(GranterStep::Send(self.on_released(sealed, signature, suite)))
            }
            (State::Releasing, I::HsmFailed) => {
                self.state = State::Retrying;
                Ok(GranterStep::Ask(self.release(suite))) // [REL-13]
            }
            (State::Committing, I::Fenced) | (State::Retrying, I::HsmFailed) => {
                Ok(GranterStep::Refuse)
            }
            (State::Committing | State::Releasing | State::Retrying, I::Cancelled) => {
                Ok(GranterStep::Refuse) // [REV-5]
            }
            _ => Err(Violation::Unexpected),
        }
    }

    /// The share goes to the attested key under `ctx`, with the grant that names it. [REL-4]
    fn release(&self, suite: &mut impl Suite) -> CustodianEffect {
        let auth = transcript::auth(suite, &self.statement);
        CustodianEffect::Release {
            set: self.statement.set,
            index: self.statement.index,
            suite: self.statement.suite,
            to: self.decided.appraised.device_key().clone(),
            context: transcript::grant_context(suite, &auth, self.statement.index_in_log),
            draft: GrantDraft::of(&self.statement), // [REL-14]
        }
    }

    fn on_released(
        &mut self,
        sealed: SealedShare,
        signature: Signature,
        suite: &mut impl Suite,
    ) -> Vec<u8> {
        self.statement.sealed = transcript::sealed(suite, &sealed); // [REL-10]
        self.state = State::Granted;
        let statement = Signed::new(codec::encode(&self.statement), signature);
        Message::Grant(Grant { statement, sealed }).to_frame()
    }

    /// The lease that this release made or will make.
    pub const fn record(&self) -> &LeaseRecord {
        &self.record
    }

    pub const fn log_index(&self) -> LogIndex {
        self.statement.index_in_log
    }

    pub const fn challenged(&self) -> Instant {
        self.decided.appraised.challenged()
    }

    /// Whether a grant may still leave.
    pub const fn is_open(&self) -> bool {
        !matches!(self.state, State::Granted | State::Closed)
    }

    /// The state's name in the table of chapter 30.
    pub const fn state_name(&self) -> &'static str {
        match self.state {
            State::Committing => "Committing",
            State::Releasing => "Releasing",
            State::Retrying => "Retrying",
            State::Granted => "Granted",
            State::Closed => "Closed",
        }
    }

    pub const fn place(&self) -> (ShareSetId, ShareIndex) {
        (self.statement.set, self.statement.index)
    }
}

impl Rebase for Granter {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.decided.appraised.rebase(by, floor);
    }
}
