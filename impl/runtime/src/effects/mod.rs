//! Executors: who answers what a machine asks, off the driver's task.
//!
//! Chapters 20 to 80. Every question is answered once, also when the code behind it panics, where
//! the protocol has an answer that says "failed"; where it has none (re-reading, anchor, erasure)
//! nothing is answered and the machine goes no further. [AUD-2] [RST-3]
//! Which store, keys, appraiser or device stand behind it is for the caller; [`SoftCustodian`] is
//! the one in software.

mod custodian;
mod device;
mod lane;
mod soft;
#[cfg(test)]
mod tests;

pub use custodian::{AnchorFailed, Outage, ReleaseOrder};
pub use custodian::{Appraiser, CommitOutcome, CommitStore, CustodianEffects, CustodyKeys};
pub use device::{Cancel, DeviceBackend, DeviceEffects, PlantLeaf};
pub use soft::{Booted, SoftCustodian};

use split_custody_protocol::ids::Ticket;
use tokio::sync::mpsc;

use crate::machine::Machine;

/// Starts effects of one kind of machine.
pub trait Effects<M: Machine>: Send + 'static {
    /// Returns at once; the answer comes through `answers`.
    fn start(&mut self, ticket: Ticket, effect: M::Effect, answers: &Answers<M>);
}

/// The way back to the driver.
pub struct Answers<M: Machine>(mpsc::UnboundedSender<(Ticket, M::Answer)>);

impl<M: Machine> Answers<M> {
    pub(crate) const fn new(sender: mpsc::UnboundedSender<(Ticket, M::Answer)>) -> Self {
        Self(sender)
    }

    pub fn answer(&self, ticket: Ticket, answer: M::Answer) {
        // A driver that ended needs no answers.
        let _ = self.0.send((ticket, answer));
    }

    /// A promise of one answer; `otherwise` is given if it is dropped unkept.
    pub(crate) fn promise(&self, ticket: Ticket, otherwise: Option<M::Answer>) -> Promise<M> {
        Promise { ticket, answers: self.clone(), otherwise }
    }
}

impl<M: Machine> Clone for Answers<M> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// One answer, owed.
pub(crate) struct Promise<M: Machine> {
    ticket: Ticket,
    answers: Answers<M>,
    otherwise: Option<M::Answer>,
}

impl<M: Machine> Promise<M> {
    pub(crate) fn keep(mut self, answer: M::Answer) {
        self.otherwise = Some(answer);
    }
}

impl<M: Machine> Drop for Promise<M> {
    fn drop(&mut self) {
        if let Some(answer) = self.otherwise.take() {
            self.answers.answer(self.ticket, answer);
        }
    }
}
