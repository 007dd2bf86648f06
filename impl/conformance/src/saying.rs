//! What a machine asks and is answered, compared field by field.

use split_custody_protocol::effect::{
    Change, CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, LeaseRecord, Transaction,
};
use split_custody_protocol::ids::Ticket;
use split_custody_protocol::wire::encode;

use crate::dictionary::Dictionary;
use crate::divergence::Divergence;

/// A question, where a commit is named by the ticket that each side gave it.
pub trait Question: std::fmt::Debug {
    fn meets(
        &self,
        real: &Self,
        commit: &dyn Fn(Ticket) -> Option<Ticket>,
        words: &mut Dictionary,
    ) -> Result<(), Divergence>;
}

/// Something of the model's that the implementation says too.
pub trait Saying {
    /// Everything that both say of the same is the same.
    fn meets(&self, real: &Self, words: &mut Dictionary) -> Result<(), Divergence>;
}

fn other<T>() -> Result<T, Divergence> {
    Err(Divergence::new("another question or answer"))
}

fn equal<T: PartialEq + std::fmt::Debug>(model: &T, real: &T) -> Result<(), Divergence> {
    if model == real {
        Ok(())
    } else {
        Err(Divergence::new(format!("{real:?}, the model says {model:?}")))
    }
}

impl Question for DeviceEffect {
    fn meets(
        &self,
        real: &Self,
        _: &dyn Fn(Ticket) -> Option<Ticket>,
        words: &mut Dictionary,
    ) -> Result<(), Divergence> {
        use DeviceEffect as E;
        match (self, real) {
            (E::Export { channel, context }, E::Export { channel: c, context: x }) => {
                equal(channel, c)?;
                words.meet(context.as_bytes(), x.as_bytes())
            }
            (
                E::CollectEvidence { session, gpu, attempt },
                E::CollectEvidence { session: s, gpu: g, attempt: a },
            ) => {
                equal(attempt, a)?;
                words.meet(session.as_bytes(), s.as_bytes())?;
                words.meet(gpu.as_bytes(), g.as_bytes())
            }
            // Handles are each process's own.
            (E::Erase { secrets }, E::Erase { secrets: s }) => {
                equal(&secrets.keys.len(), &s.keys.len())?;
                equal(&secrets.shares.len(), &s.shares.len())?;
                equal(&secrets.dek.is_some(), &s.dek.is_some())
            }
            (E::Load { .. }, E::Load { .. })
            | (E::Zeroise, E::Zeroise)
            | (E::Scrub, E::Scrub)
            | (E::Plant, E::Plant) => Ok(()),
            _ => other(),
        }
    }
}

impl Question for CustodianEffect {
    fn meets(
        &self,
        real: &Self,
        asked_as: &dyn Fn(Ticket) -> Option<Ticket>,
        words: &mut Dictionary,
    ) -> Result<(), Divergence> {
        use CustodianEffect as E;
        match (self, real) {
            (E::Export { channel, context }, E::Export { channel: c, context: x }) => {
                equal(channel, c)?;
                words.meet(context.as_bytes(), x.as_bytes())
            }
            (E::Appraise { evidence }, E::Appraise { evidence: e }) => {
                words.meet(&encode(evidence), &encode(e))
            }
            (E::Commit(transaction), E::Commit(t)) => transaction.meets(t, words),
            (E::Reread { commit }, E::Reread { commit: c }) => equal(&asked_as(*commit), &Some(*c)),
            (
                E::Release { set, index, suite, to, context, draft },
                E::Release { set: s, index: i, suite: u, to: t, context: c, draft: d },
            ) => {
                equal(&(set, index, suite), &(s, i, u))?;
                words.meet(to.as_bytes(), t.as_bytes())?;
                words.meet(context.as_bytes(), c.as_bytes())?;
                // A draft ends before its digest: any that both know makes a message of it.
                words.meet(&draft.message(context), &d.message(c))
            }
            (E::Sign { message }, E::Sign { message: m }) => words.meet(message, m),
            (E::Anchor(anchor), E::Anchor(a)) => {
                equal(&(anchor.generation, anchor.epoch), &(a.generation, a.epoch))?;
                words.meet_orders(&anchor.orders, &a.orders)
            }
            (E::DestroyHandles, E::DestroyHandles) => Ok(()),
            _ => other(),
        }
    }
}

impl Saying for Transaction {
    fn meets(&self, real: &Self, words: &mut Dictionary) -> Result<(), Divergence> {
        equal(&(self.generation, self.epoch), &(real.generation, real.epoch))?;
        words.meet(&encode(&self.leaf), &encode(&real.leaf))?;
        match (&self.change, &real.change) {
            (Change::Grant(record), Change::Grant(r)) => record.meets(r, words),
            (Change::Renew { lease, counter }, Change::Renew { lease: l, counter: c }) => {
                equal(counter, c)?;
                words.meet(lease.as_bytes(), l.as_bytes())
            }
            (
                Change::Order { approvals, digest, epoch },
                Change::Order { approvals: a, digest: d, epoch: e },
            ) => {
                equal(epoch, e)?;
                words.meet(approvals, a)?;
                words.meet(digest.as_bytes(), d.as_bytes())
            }
            (Change::Provision { provision }, Change::Provision { provision: p }) => {
                words.meet(provision, p)
            }
            (Change::Activate { manifest }, Change::Activate { manifest: m }) => {
                words.meet(manifest.as_bytes(), m.as_bytes())
            }
            _ => other(),
        }
    }
}

impl Saying for LeaseRecord {
    fn meets(&self, real: &Self, words: &mut Dictionary) -> Result<(), Divergence> {
        equal(&self.terms, &real.terms)?;
        equal(&self.chain.len(), &real.chain.len())?;
        let chain = self.chain.iter().zip(&real.chain);
        let pairs =
            [(&self.device_leaf, &real.device_leaf), (&self.custodian_leaf, &real.custodian_leaf)];
        for (model, real) in chain.chain(pairs) {
            words.meet(model.as_bytes(), real.as_bytes())?;
        }
        words.meet(self.lease.as_bytes(), real.lease.as_bytes())?;
        words.meet(self.device.as_bytes(), real.device.as_bytes())?;
        words.meet(self.incarnation.as_bytes(), real.incarnation.as_bytes())?;
        words.meet(self.manifest.as_bytes(), real.manifest.as_bytes())
    }
}

impl Saying for DeviceAnswer {
    fn meets(&self, real: &Self, words: &mut Dictionary) -> Result<(), Divergence> {
        use DeviceAnswer as A;
        match (self, real) {
            (A::Exported(model), A::Exported(real)) => {
                words.meet(model.as_bytes(), real.as_bytes())
            }
            (A::EvidenceCollected(model), A::EvidenceCollected(real)) => {
                words.meet(&encode(model), &encode(real))
            }
            (A::Planted(model), A::Planted(real)) => words.meet(model.as_bytes(), real.as_bytes()),
            (model, real) => equal(model, real),
        }
    }
}

impl Saying for CustodianAnswer {
    fn meets(&self, real: &Self, words: &mut Dictionary) -> Result<(), Divergence> {
        use CustodianAnswer as A;
        match (self, real) {
            (A::Exported(model), A::Exported(real)) => {
                words.meet(model.as_bytes(), real.as_bytes())
            }
            (A::Appraised(model), A::Appraised(real)) => {
                equal(&model.mode, &real.mode)?;
                equal(&model.measurements, &real.measurements)?;
                words.meet(model.report_nonce.as_bytes(), real.report_nonce.as_bytes())?;
                words.meet(model.report_data.as_bytes(), real.report_data.as_bytes())?;
                words.meet(model.device.as_bytes(), real.device.as_bytes())
            }
            (A::Released { sealed, signature }, A::Released { sealed: real, signature: by }) => {
                words.meet(sealed.as_bytes(), real.as_bytes())?;
                words.meet(signature.as_bytes(), by.as_bytes())
            }
            (A::Signed(model), A::Signed(real)) => words.meet(model.as_bytes(), real.as_bytes()),
            (model, real) => equal(model, real),
        }
    }
}
