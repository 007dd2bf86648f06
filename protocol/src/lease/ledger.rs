//! The custodian's side: what was leased, until when it may count, and whether it is renewed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::effect::LeaseRecord;
use crate::error::Violation;
use crate::ids::{Counter, LeaseId};
use crate::release::{Coverage, Life, Serving};
use crate::require::{perform, require};
use crate::suite::{DeviceId, Incarnation, LeafKey};
use crate::time::{Instant, Rebase, Span};
use crate::wire::lease::{Renew, Renewal, RenewalAnswer};
use crate::wire::message::Message;

/// All leases of one custodian.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Ledger {
    leases: BTreeMap<LeaseId, Lease>,
    /// The incarnation that was leased last, by device.
    latest: BTreeMap<DeviceId, Incarnation>,
    /// Incarnations that a later one of the same device replaced. [RST-7]
    superseded: BTreeSet<Incarnation>,
}

/// One lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Lease {
    record: LeaseRecord,
    /// `None` where the age is not known: read back by a later generation. Never renewed.
    challenged: Option<Instant>,
    /// Commit + term + m: no honest device counts it from here. [LEA-6]
    lapse: Instant,
    /// The last renewal that was committed.
    counter: Counter,
    /// Its answer, for retries. [LEA-7]
    answer: Option<Vec<u8>>,
    standing: LeaseStanding,
}

/// Whether a lease may be renewed.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LeaseStanding {
    Live,
    /// A newer lease of the same incarnation and manifest, or a later incarnation. [LEA-14]
    Superseded,
    Revoked,
    /// The device was told that there is no more; that is final. [LEA-11]
    Ended,
}

/// What a renewal decision looks at.
#[derive(Clone, Copy, Debug)]
pub struct RenewInput {
    pub now: Instant,
    /// The leaf keys of the channel that the request came on.
    pub device_leaf: LeafKey,
    pub custodian_leaf: LeafKey,
    pub serving: Serving,
    pub coverage: Coverage,
}

/// What a custodian does about a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RenewDecision {
    /// Commit, then answer with the frame.
    Commit { counter: Counter, answer: Vec<u8>, lapse: Instant },
    /// The same request again: the stored answer. [LEA-7]
    Repeat(Vec<u8>),
    /// No more terms.
    End(Vec<u8>),
}

impl Ledger {
    /// A committed grant: counts from now, and ends what it replaces. [LEA-6] [RST-6]
    ///
    /// What has lapsed counts nowhere and is forgotten here; which lives are over is not. [RST-7]
    pub fn insert(&mut self, now: Instant, record: LeaseRecord, challenged: Instant, margin: Span) {
        self.leases.retain(|_, lease| now < lease.lapse);
        self.appraised(&record.device, &record.incarnation);
        // A later life was appraised while this was written: the lease counts, and ends nothing.
        let standing = match self.life(&record.incarnation) {
            Life::Latest => LeaseStanding::Live,
            Life::Superseded => LeaseStanding::Superseded,
        };
        let replaces = standing == LeaseStanding::Live;
        let of_device = |lease: &&mut Lease| replaces && lease.record.device == record.device;
        for lease in self.leases.values_mut().filter(of_device) {
            if lease.record.incarnation != record.incarnation {
                perform!(RST_6, lease.end(LeaseStanding::Superseded));
            } else if lease.record.manifest == record.manifest {
                lease.end(LeaseStanding::Superseded);
            }
        }
        let lapse = now.after(record.terms.first).after(margin);
        self.leases.insert(
            record.lease,
            Lease {
                record,
                challenged: Some(challenged),
                lapse,
                counter: Counter::new(0),
                answer: None,
                standing,
            },
        );
    }

    /// A lease read back at boot counts as committed at the start. [REV-10]
    pub fn read_back(&mut self, now: Instant, record: LeaseRecord, ttl_max: Span, margin: Span) {
        self.appraised(&record.device, &record.incarnation);
        self.leases.insert(
            record.lease,
            Lease {
                record,
                challenged: None,
                lapse: now.after(ttl_max).after(margin),
                counter: Counter::new(0),
                answer: None,
                standing: LeaseStanding::Live,
            },
        );
    }

    /// A release to this life was decided: an earlier one of its device is over from now on, also
    /// while that release is still being written. [RST-11]
    pub fn appraised(&mut self, device: &DeviceId, incarnation: &Incarnation) {
        if self.superseded.contains(incarnation) {
            return; // what is over ends nothing
        }
        let before = self.latest.insert(*device, *incarnation);
        self.superseded.extend(before.filter(|before| before != incarnation));
    }

    /// Whether an incarnation is its device's latest here. [RST-7]
    pub fn life(&self, incarnation: &Incarnation) -> Life {
        if self.superseded.contains(incarnation) { Life::Superseded } else { Life::Latest }
    }

    pub fn get(&self, lease: &LeaseId) -> Option<&Lease> {
        self.leases.get(lease)
    }

    /// Decides one renewal; an error is a peer's broken rule and is answered by `refused`.
    pub fn decide(
        &mut self,
        request: &Renew,
        input: &RenewInput,
        ttl_max: Span,
        margin: Span,
    ) -> Result<RenewDecision, Violation> {
        let lease = self.leases.get_mut(&request.lease).ok_or(Violation::LeaseOfAnotherChannel)?;
        require!(
            LEA_8,
            input.device_leaf == lease.record.device_leaf
                && input.custodian_leaf == lease.record.custodian_leaf
        );
        let last = request.counter == lease.counter && lease.counter > Counter::new(0);
        if last
            && input.now < lease.lapse
            && let Some(answer) = &lease.answer
        {
            return Ok(RenewDecision::Repeat(answer.clone())); // [LEA-7]
        }
        // The stored answer is gone, so the lease has ended: an honest retry hears `ended`, and so
        // does every counter of a lease that was read back, whose own counter is not known.
        let forgotten = last || lease.challenged.is_none();
        require!(LEA_15, request.counter == lease.counter.next() || forgotten);
        match lease.may_renew(input) {
            Ok(()) => Ok(lease.renew(request, input.now, ttl_max, margin)),
            Err(_) => {
                if lease.standing == LeaseStanding::Live {
                    lease.end(LeaseStanding::Ended);
                }
                Ok(RenewDecision::End(lease.answer_frame(request, RenewalAnswer::Ended)))
            }
        }
    }

    /// A renewal is durable: the lease counts on, and its answer is stored and may leave. [LEA-6]
    ///
    /// `None` where the lease ended while the renewal was written: its answer never leaves.
    pub fn renewed(
        &mut self,
        id: &LeaseId,
        counter: Counter,
        answer: Vec<u8>,
        lapse: Instant,
    ) -> Option<Vec<u8>> {
        let lease = self.leases.get_mut(id)?;
        lease.counter = counter;
        lease.lapse = lease.lapse.max(lapse);
        // [LEA-11] [LEA-14] What ended while it was written is not said.
        if lease.standing != LeaseStanding::Live {
            perform!(LEA_11, return None);
        }
        lease.answer = Some(answer);
        lease.answer.clone()
    }

    /// Ends covered leases and drops their stored answers. [REV-6] [LEA-9]
    pub fn revoke(&mut self, mut covered: impl FnMut(&LeaseRecord) -> bool) {
        for lease in self.leases.values_mut().filter(|lease| covered(&lease.record)) {
            lease.end(LeaseStanding::Revoked);
        }
    }

    /// The instant from which no covered lease counts anywhere. [REV-10]
    pub fn last_lapse(&self, mut covered: impl FnMut(&LeaseRecord) -> bool) -> Option<Instant> {
        self.leases.values().filter(|lease| covered(&lease.record)).map(|lease| lease.lapse).max()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&LeaseId, &Lease)> {
        self.leases.iter()
    }
}

impl Lease {
    pub const fn record(&self) -> &LeaseRecord {
        &self.record
    }

    pub const fn standing(&self) -> LeaseStanding {
        self.standing
    }

    pub const fn lapse(&self) -> Instant {
        self.lapse
    }

    pub const fn counter(&self) -> Counter {
        self.counter
    }

    /// Drops the stored answer: what was not yet sent must not be. [REV-6]
    fn end(&mut self, standing: LeaseStanding) {
        perform!(REV_6, self.answer = None);
        if self.standing != LeaseStanding::Revoked {
            self.standing = standing;
        }
    }

    fn may_renew(&self, input: &RenewInput) -> Result<(), Violation> {
        require!(REL_2, input.serving == Serving::Yes);
        require!(
            LEA_9,
            input.coverage == Coverage::Clear && self.standing != LeaseStanding::Revoked
        );
        require!(LEA_14, self.standing != LeaseStanding::Superseded);
        require!(LEA_11, input.now < self.lapse && self.standing != LeaseStanding::Ended);
        require!(
            LEA_10,
            self.challenged.is_some_and(|at| input.now < at.after(self.record.terms.max_age))
        );
        Ok(())
    }

    fn renew(&self, request: &Renew, now: Instant, ttl_max: Span, margin: Span) -> RenewDecision {
        let term = self.record.terms.term.min(ttl_max);
        RenewDecision::Commit {
            counter: request.counter,
            answer: self.answer_frame(request, RenewalAnswer::Renewed),
            lapse: now.after(term).after(margin),
        }
    }

    fn answer_frame(&self, request: &Renew, answer: RenewalAnswer) -> Vec<u8> {
        let terms = &self.record.terms;
        Message::Renewal(Renewal {
            lease: request.lease,
            counter: request.counter,
            answer,
            term: terms.term,
            budget: terms.budget,
        })
        .to_frame()
    }

    /// The state's name in the table of chapter 50.
    pub fn state_name(&self, now: Instant) -> &'static str {
        match self.standing {
            _ if now >= self.lapse => "Dead",
            LeaseStanding::Live => "Live",
            LeaseStanding::Superseded | LeaseStanding::Revoked | LeaseStanding::Ended => "Ending",
        }
    }

    pub const fn device(&self) -> &DeviceId {
        &self.record.device
    }
}

impl Rebase for Lease {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.challenged.rebase(by, floor);
        self.lapse.rebase(by, floor);
    }
}

impl Rebase for Ledger {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.leases.rebase(by, floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Budget;
    use crate::suite::Digest;
    use crate::wire::grant::Terms;

    const MARGIN: Span = Span::from_millis(1);

    fn record(lease: u8, life: u8) -> LeaseRecord {
        LeaseRecord {
            lease: LeaseId::new([lease; 16]),
            device: DeviceId::new([1; 32]),
            incarnation: Incarnation::new([life; 32]),
            manifest: Digest::new([2; 32]),
            device_leaf: LeafKey::new([3; 32]),
            custodian_leaf: LeafKey::new([4; 32]),
            terms: Terms {
                first: Span::from_millis(10),
                term: Span::from_millis(10),
                budget: Budget::new(1),
                max_age: Span::from_millis(100),
            },
            chain: Vec::new(),
        }
    }

    #[test]
    fn lea_6_a_lease_that_lapsed_is_forgotten_and_its_life_is_not() {
        let mut ledger = Ledger::default();
        let at = Instant::from_millis;
        ledger.insert(at(0), record(1, 1), at(0), MARGIN);
        ledger.insert(at(10), record(2, 2), at(10), MARGIN);
        assert_eq!(ledger.iter().count(), 2, "it counts for one moment more, with the margin");
        ledger.insert(at(11), record(3, 2), at(11), MARGIN);
        assert!(ledger.get(&LeaseId::new([1; 16])).is_none());
        assert_eq!(ledger.iter().count(), 2);
        assert_eq!(ledger.life(&Incarnation::new([1; 32])), Life::Superseded);
        assert_eq!(ledger.life(&Incarnation::new([2; 32])), Life::Latest);
    }

    #[test]
    fn rst_11_a_life_is_over_once_a_later_one_was_appraised() {
        let mut ledger = Ledger::default();
        let at = Instant::from_millis;
        ledger.insert(at(0), record(1, 1), at(0), MARGIN);
        // A release to life 2 is decided while one to life 1 is still being written.
        ledger.appraised(&DeviceId::new([1; 32]), &Incarnation::new([2; 32]));
        assert_eq!(ledger.life(&Incarnation::new([1; 32])), Life::Superseded);
        ledger.insert(at(1), record(2, 1), at(0), MARGIN);
        assert_eq!(ledger.life(&Incarnation::new([2; 32])), Life::Latest);
        let late = ledger.get(&LeaseId::new([2; 16])).expect("it was committed and counts");
        assert_eq!(late.standing(), LeaseStanding::Superseded);
        ledger.insert(at(2), record(3, 2), at(2), MARGIN);
        let latest = ledger.get(&LeaseId::new([3; 16])).expect("a lease");
        assert_eq!(latest.standing(), LeaseStanding::Live);
    }

    #[test]
    fn rst_7_lives_are_superseded_in_the_order_in_which_they_are_read_back() {
        let mut ledger = Ledger::default();
        let at = Instant::from_millis;
        for (lease, life) in [(1, 1), (2, 1), (3, 2), (4, 3)] {
            ledger.read_back(at(0), record(lease, life), Span::from_millis(10), MARGIN);
        }
        let superseded = |life| ledger.life(&Incarnation::new([life; 32])) == Life::Superseded;
        assert_eq!([1, 2, 3].map(superseded), [true, true, false]);
    }

    /// The first renewal of [`record`], on the channel that its session bound.
    fn renewal(channel: (u8, u8), coverage: Coverage) -> Result<RenewDecision, Violation> {
        let mut ledger = Ledger::default();
        let at = Instant::from_millis;
        ledger.insert(at(0), record(1, 1), at(0), MARGIN);
        let request = Renew { lease: LeaseId::new([1; 16]), counter: Counter::new(1), used: 0 };
        let input = RenewInput {
            now: at(5),
            device_leaf: LeafKey::new([channel.0; 32]),
            custodian_leaf: LeafKey::new([channel.1; 32]),
            serving: Serving::Yes,
            coverage,
        };
        ledger.decide(&request, &input, Span::from_millis(10), MARGIN)
    }

    #[test]
    fn lea_8_a_renewal_is_decided_only_between_both_bound_leaves() {
        assert!(matches!(renewal((3, 4), Coverage::Clear), Ok(RenewDecision::Commit { .. })));
        let elsewhere = Err(Violation::LeaseOfAnotherChannel);
        assert_eq!(renewal((9, 4), Coverage::Clear), elsewhere, "another device leaf");
        assert_eq!(renewal((3, 9), Coverage::Clear), elsewhere, "another leaf of the custodian");
    }

    #[test]
    fn lea_9_an_order_ends_a_lease_that_it_has_not_reached_yet() {
        let decision = renewal((3, 4), Coverage::Revoked);
        assert!(matches!(decision, Ok(RenewDecision::End(_))), "{decision:?}");
    }
}
