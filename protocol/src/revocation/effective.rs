//! When an order is effective: a pure count that leaves a proof. [REV-8]

use alloc::collections::BTreeSet;
use core::fmt;

use crate::error::Violation;
use crate::ids::CustodianId;
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::suite::{Digest, Suite};
use crate::wire::order::{Acknowledgement, DeadStatement};
use crate::wire::signed::{ObjectKind, Signed};

/// Distinct custodians of one share set that signed the same thing about one order.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct AckSet {
    order: Digest,
    custodians: BTreeSet<CustodianId>,
}

/// Proof: no new grant, and no honest use from ttl-max after the last acknowledgement.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Effective {
    acknowledged: usize,
}

/// Too few acknowledged: no bound is claimed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NotEffective {
    pub have: usize,
    pub need: usize,
}

impl fmt::Display for NotEffective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not effective: have {} of {}", self.have, self.need)
    }
}

impl core::error::Error for NotEffective {}

/// `n - k + 1 + f`: then at most k - 1 custodians, liars included, can keep a lease alive.
pub fn required(manifest: &KnownManifest) -> usize {
    usize::from(manifest.n) + 1 + usize::from(manifest.f) - usize::from(manifest.k)
}

impl AckSet {
    pub const fn new(order: Digest) -> Self {
        Self { order, custodians: BTreeSet::new() }
    }

    /// Counts an acknowledgement that a custodian of this manifest signed. [REV-9]
    pub fn add(
        &mut self,
        manifest: &KnownManifest,
        signed: &Signed,
        suite: &mut impl Suite,
    ) -> Result<CustodianId, Violation> {
        let said: Acknowledgement = signed.payload()?;
        require!(REV_9, suite.same(said.manifest.as_bytes(), manifest.digest().as_bytes()));
        self.admit(manifest, signed, ObjectKind::Acknowledgement, said.order, said.custodian, suite)
    }

    /// Counts a statement that every covered lease is dead. [REV-10]
    pub fn add_dead(
        &mut self,
        manifest: &KnownManifest,
        signed: &Signed,
        suite: &mut impl Suite,
    ) -> Result<CustodianId, Violation> {
        let said: DeadStatement = signed.payload()?;
        self.admit(manifest, signed, ObjectKind::Dead, said.order, said.custodian, suite)
    }

    fn admit(
        &mut self,
        manifest: &KnownManifest,
        signed: &Signed,
        kind: ObjectKind,
        order: Digest,
        custodian: CustodianId,
        suite: &mut impl Suite,
    ) -> Result<CustodianId, Violation> {
        // The key to verify with is the one of the custodian that the statement names.
        let entry = manifest.custodian(custodian).ok_or(Violation::AcknowledgementForged)?;
        let message = signed.message(kind);
        require!(REV_9, suite.verify(&entry.grant_key, &message, signed.signature()));
        require!(REV_9, suite.same(order.as_bytes(), self.order.as_bytes()));
        self.custodians.insert(custodian);
        Ok(custodian)
    }

    pub fn count(&self) -> usize {
        self.custodians.len()
    }

    pub fn custodians(&self) -> impl Iterator<Item = CustodianId> {
        self.custodians.iter().copied()
    }
}

/// Whether an order is effective in the manifest's share set; v1 has one set per DEK. [REV-8]
pub fn effective(manifest: &KnownManifest, acks: &AckSet) -> Result<Effective, NotEffective> {
    let (have, need) = (acks.count(), required(manifest));
    if have >= need && manifest.earlier.is_empty() {
        Ok(Effective { acknowledged: have })
    } else {
        Err(NotEffective { have, need })
    }
}

impl Effective {
    pub const fn acknowledged(self) -> usize {
        self.acknowledged
    }
}
