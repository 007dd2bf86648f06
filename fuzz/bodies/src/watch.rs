//! What must hold of a machine, seen from outside: what it was told and what it said.
//!
//! Chapters 20 to 80. A [`CustodianWatch`] and a [`DeviceWatch`] are told each answer before the
//! machine hears it and each frame as it leaves; a broken rule panics with its id. They trust no
//! state of the machine beyond what it publishes, and judge no liveness.

use std::collections::{BTreeMap, BTreeSet};

use split_custody_protocol::effect::{Change, CustodianAnswer, CustodianEffect, Transaction};
use split_custody_protocol::ids::{Counter, Epoch, LeaseId, LogIndex};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::Message;
use split_custody_protocol::wire::grant::GrantStatement;
use split_custody_protocol::wire::lease::RenewalAnswer;
use split_custody_protocol::wire::order::Acknowledgement;

use crate::wire_decode::whole_message;

/// Everything that leaves a machine is a message in its one encoding. [WIRE-2]
pub fn sent(frame: &[u8]) -> Message {
    assert!(whole_message(frame).is_some(), "said what does not decode [WIRE-2]");
    Message::from_frame(frame).expect("it decoded a line above")
}

/// What one custodian, in one life, may still say.
#[derive(Clone, Debug, Default)]
pub struct CustodianWatch {
    epoch: Epoch,
    /// Grants whose commit was answered, and which have not left.
    committed: BTreeMap<LeaseId, LogIndex>,
    renewed: BTreeSet<(LeaseId, Counter)>,
    anchored: BTreeSet<Digest>,
}

impl CustodianWatch {
    /// A life that begins with what its anchor holds.
    pub fn new(anchored: impl IntoIterator<Item = Digest>) -> Self {
        Self { anchored: anchored.into_iter().collect(), ..Self::default() }
    }

    /// An answer to a question; `transaction` is the one that a commit or its re-reading is about.
    pub fn told(
        &mut self,
        question: &CustodianEffect,
        transaction: Option<&Transaction>,
        answer: &CustodianAnswer,
    ) {
        match (question, transaction, answer) {
            (_, Some(transaction), CustodianAnswer::Committed(index)) => {
                match &transaction.change {
                    Change::Grant(record) => drop(self.committed.insert(record.lease, *index)),
                    Change::Renew { lease, counter } => {
                        self.renewed.insert((*lease, *counter));
                    }
                    _ => {}
                }
            }
            (CustodianEffect::Anchor(anchor), _, CustodianAnswer::Anchored) => {
                self.anchored.extend(anchor.orders.iter().copied());
            }
            _ => {}
        }
    }

    /// A frame that leaves.
    pub fn sent(&mut self, frame: &[u8]) {
        match sent(frame) {
            Message::Grant(grant) => {
                let said: GrantStatement = grant.statement.payload().expect("it decoded whole");
                // Taken away: a second grant of one commit finds nothing.
                let index = self.committed.remove(&said.lease);
                assert_eq!(index, Some(said.index_in_log), "a grant without its commit [REL-5]");
            }
            Message::Renewal(renewal) if renewal.answer == RenewalAnswer::Renewed => {
                let of = (renewal.lease, renewal.counter);
                assert!(self.renewed.contains(&of), "a renewal without its commit [AUD-1]");
            }
            Message::Acknowledged(acknowledged) => {
                let said: Acknowledgement =
                    acknowledged.statement.payload().expect("it decoded whole");
                let anchored = self.anchored.contains(&said.order);
                assert!(anchored, "an acknowledgement without its anchor [REV-4]");
            }
            _ => {}
        }
    }

    /// What the machine publishes after an input.
    pub fn stands_at(&mut self, epoch: Epoch) {
        assert!(epoch >= self.epoch, "the epoch fell from {} to {epoch} [REV-14]", self.epoch);
        self.epoch = epoch;
    }
}

/// What one device may say and do.
#[derive(Clone, Debug, Default)]
pub struct DeviceWatch {
    /// Between a taint and the next plant.
    tainted: bool,
    loaded: bool,
    /// Leases that a custodian granted it, by custodian.
    granted: BTreeSet<(u8, LeaseId)>,
    renews: BTreeMap<(LeaseId, Counter), Vec<u8>>,
}

impl DeviceWatch {
    pub fn tainted(&mut self) {
        (self.tainted, self.loaded) = (true, false);
    }

    pub fn planted(&mut self) {
        self.tainted = false;
    }

    pub fn loaded(&mut self) {
        self.loaded = true;
    }

    pub fn stopped(&mut self) {
        self.loaded = false;
    }

    /// A grant that a custodian sent, or that a lying one signed.
    pub fn granted(&mut self, custodian: u8, lease: LeaseId) {
        self.granted.insert((custodian, lease));
    }

    /// A frame that leaves.
    pub fn sent(&mut self, frame: &[u8]) -> Message {
        let message = sent(frame);
        assert!(!self.tainted, "a tainted device spoke [RST-10]");
        if let Message::Renew(renew) = &message {
            let first = self.renews.entry((renew.lease, renew.counter));
            let first = first.or_insert_with(|| frame.to_vec());
            assert!(first == frame, "a renewal was asked for in other bytes [LEA-7]");
        }
        message
    }

    /// A use was admitted while these leases counted.
    pub fn admitted(&self, threshold: usize, counting: usize) {
        assert!(!self.tainted, "a use on a tainted device [RST-5]");
        assert!(self.loaded, "a use of a model that is not loaded [QRM-3]");
        assert!(counting >= threshold, "a use under {counting} leases [LEA-2]");
    }

    /// A lease that the device holds.
    pub fn holds(&self, custodian: u8, lease: LeaseId) {
        let granted = self.granted.contains(&(custodian, lease));
        assert!(granted, "a lease that custodian {custodian} never granted [REL-7]");
    }
}
