//! The grow-only set of orders, and whom it covers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::error::{Rule, Violation};
use crate::ids::Serial;
use crate::release::Coverage;
use crate::require::{enforce, require};
use crate::sealing::KnownDeployment;
use crate::suite::{Digest, Label, Suite};
use crate::wire::codec;
use crate::wire::order::{Approvals, Order, Subject, SubjectKind, Verb};
use crate::wire::signed::ObjectKind;

/// An order that enough operators signed. [REV-1] [REV-2]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KnownOrder {
    order: Order,
    digest: Digest,
    /// As they were received, to be stored and carried on.
    approvals: Vec<u8>,
}

/// Counts distinct operator keys that signed this one payload, over the bytes received. [REV-2]
pub fn verify_approvals(
    approvals: &Approvals,
    kind: ObjectKind,
    deployment: &KnownDeployment,
    suite: &mut impl Suite,
) -> Result<usize, Violation> {
    let [first, ..] = approvals.as_slice() else {
        return Err(Violation::TooFewOperators);
    };
    let mut signers = BTreeSet::new();
    for approval in approvals.iter() {
        require!(REV_2, suite.same(approval.payload_bytes(), first.payload_bytes()));
        let message = approval.message(kind);
        let signer = deployment
            .operators
            .iter()
            .position(|key| suite.verify(key, &message, approval.signature()).is_ok());
        signers.extend(signer);
    }
    Ok(signers.len())
}

/// Verifies an order's approvals, then decodes it.
pub fn verify_order(
    approvals: &Approvals,
    deployment: &KnownDeployment,
    suite: &mut impl Suite,
) -> Result<KnownOrder, Violation> {
    let signers = verify_approvals(approvals, ObjectKind::Order, deployment, suite)?;
    let [first, ..] = approvals.as_slice() else {
        return Err(Violation::TooFewOperators);
    };
    let order: Order = first.payload()?;
    let needed = match order.verb {
        Verb::Revoke => deployment.m_revoke,
        Verb::Admit => deployment.m_change,
    };
    require!(REV_2, signers >= usize::from(needed));
    require!(REV_1, order.deployment == deployment.deployment);
    let digest = suite.hash(Label::Order, &[first.payload_bytes()]);
    Ok(KnownOrder { order, digest, approvals: codec::encode(approvals) })
}

impl KnownOrder {
    pub const fn order(&self) -> &Order {
        &self.order
    }

    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The encoded [`Approvals`].
    pub fn approvals(&self) -> &[u8] {
        &self.approvals
    }
}

/// Every order that is held, by subject.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct OrderSet {
    subjects: BTreeMap<Subject, Held>,
    orders: BTreeMap<Digest, Order>,
}

/// What is held about one subject.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Held {
    pub revoked: Option<Serial>,
    pub admitted: Option<Serial>,
}

impl Held {
    /// The highest serial decides; revocation wins ties. [REV-3]
    fn coverage(&self) -> Coverage {
        let Some(revoked) = self.revoked else {
            return Coverage::Clear;
        };
        match self.admitted.cmp(&Some(revoked)) {
            Ordering::Greater => Coverage::Clear,
            // Without the rule, the admission that came before the revocation.
            Ordering::Equal => enforce(Rule::REV_3).map_or(Coverage::Revoked, |()| Coverage::Clear),
            Ordering::Less => Coverage::Revoked,
        }
    }

    fn highest(&self) -> Serial {
        self.revoked.max(self.admitted).unwrap_or_default()
    }
}

/// What an order is to a set.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Novelty {
    New,
    AlreadyHeld,
    /// A newer order of the same subject is held. [REV-13]
    Superseded,
}

impl OrderSet {
    /// Judges an order by the serial rule, without changing anything. [REV-3]
    pub fn judge(&self, known: &KnownOrder) -> Result<Novelty, Violation> {
        let order = &known.order;
        let held = self.subjects.get(&order.subject).copied().unwrap_or_default();
        if self.orders.contains_key(&known.digest) {
            // Held and overridden: acknowledging it again would say that it is in force. [REV-13]
            let overridden = order.serial < held.highest();
            return Ok(if overridden { Novelty::Superseded } else { Novelty::AlreadyHeld });
        }
        match order.verb {
            Verb::Revoke => {
                // Enrolment is an admission of serial 0: no serial can lock a subject out for ever.
                require!(REV_3, order.serial <= held.admitted.unwrap_or_default());
                if order.serial < held.highest() {
                    return Ok(Novelty::Superseded);
                }
            }
            Verb::Admit => {
                require!(
                    REV_3,
                    order.serial == held.highest().next() && may_be_lifted(order.subject.kind)
                );
            }
        }
        Ok(Novelty::New)
    }

    /// Adds an order that was judged new; the set only grows.
    pub fn insert(&mut self, known: &KnownOrder) {
        let held = self.subjects.entry(known.order.subject).or_default();
        let place = match known.order.verb {
            Verb::Revoke => &mut held.revoked,
            Verb::Admit => &mut held.admitted,
        };
        *place = (*place).max(Some(known.order.serial));
        self.orders.insert(known.digest, known.order);
    }

    /// Whether any of these names is revoked. [REL-6] [LEA-9]
    pub fn coverage(&self, names: &[Subject]) -> Coverage {
        let revoked = names.iter().any(|name| {
            self.subjects.get(name).is_some_and(|held| held.coverage() == Coverage::Revoked)
        });
        if revoked { Coverage::Revoked } else { Coverage::Clear }
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.orders.contains_key(digest)
    }

    pub fn get(&self, digest: &Digest) -> Option<&Order> {
        self.orders.get(digest)
    }

    pub fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.orders.keys()
    }

    pub fn len(&self) -> usize {
        self.orders.len()
    }

    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }
}

/// Certificates and versions of weights are never lifted.
const fn may_be_lifted(kind: SubjectKind) -> bool {
    !matches!(kind, SubjectKind::Certificate | SubjectKind::Weights)
}
