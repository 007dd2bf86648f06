//! The device's side: counting leases, renewals, and admission of uses.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::{Rule, Violation};
use crate::handshake::ReadyEntry;
use crate::ids::{Attempt, Budget, Counter, CustodianId, LeaseId};
use crate::release::Checked;
use crate::require::{enforce, require};
use crate::suite::{Incarnation, LeafKey};
use crate::time::{Instant, Rebase, Span};
use crate::wire::lease::{Renew, Renewal, RenewalAnswer};
use crate::wire::message::Message;

/// The leases of one (incarnation, manifest).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Holder {
    threshold: usize,
    margin: Span,
    leases: BTreeMap<CustodianId, Held>,
    /// k counted once; fewer now is the end. [LEA-5]
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Phase {
    Filling,
    Counting,
    Lost,
}

/// One custodian's lease.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Held {
    pub lease: LeaseId,
    /// The leaf keys that the session bound. [LEA-8]
    pub device_leaf: LeafKey,
    pub custodian_leaf: LeafKey,
    /// Answered so far; the grant is 0.
    pub counter: Counter,
    /// Before the first sending of what granted the running term. [LEA-1]
    since: Instant,
    /// Counts while now is before this.
    end: Instant,
    /// The term of renewals.
    term: Span,
    budget: Budget,
    used: u64,
    renewing: Renewing,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Renewing {
    /// Asks at this instant.
    Due(Instant),
    /// Asked: the same bytes again at `again`, the first sending counts. [LEA-7]
    Asked { frame: Vec<u8>, first_sent: Instant, again: Instant },
    /// The custodian will not renew; the running term still counts.
    Ended,
}

/// Proof that a use was admitted and charged. [LEA-2] [LEA-4]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Admission {
    incarnation: Incarnation,
    attempt: Attempt,
}

impl Admission {
    pub(super) const fn new(incarnation: Incarnation, attempt: Attempt) -> Self {
        Self { incarnation, attempt }
    }

    /// The life of the device that admitted the use; its mark is an argument of the launch.
    pub const fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    /// The attempt whose model was used: a later one's leases let nothing of it out. [LEA-3]
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }
}

/// What a renewal answer did.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RenewalCheck {
    Renewed(Counter),
    Ended,
    Retry,
}

impl Holder {
    pub const fn new(threshold: usize, margin: Span) -> Self {
        Self { threshold, margin, leases: BTreeMap::new(), phase: Phase::Filling }
    }

    /// A checked grant adds a lease, whether or not its share was needed. [QRM-6]
    pub fn add(&mut self, now: Instant, grant: &Checked, entry: &ReadyEntry, sent: Instant) {
        let terms = grant.terms();
        let end = self.end_of(sent, terms.first);
        let ask = Renewing::Due(sent.after(third(terms.first)));
        let held = Held {
            lease: grant.lease(),
            device_leaf: entry.device_leaf,
            custodian_leaf: entry.custodian_leaf,
            counter: Counter::new(0),
            since: sent,
            end,
            term: terms.term,
            budget: terms.budget,
            used: 0,
            // Over before it came: an alarm for it would ring for ever.
            renewing: if now < end { ask } else { Renewing::Ended },
        };
        self.leases.insert(grant.custodian(), held);
        self.settle(now);
    }

    /// Device end = t0 + term − m, t0 before the first send. [LEA-1]
    const fn end_of(&self, sent: Instant, term: Span) -> Instant {
        sent.after(term.minus(self.margin))
    }

    /// How many leases count at `now`.
    pub fn counting(&self, now: Instant) -> usize {
        self.leases.values().filter(|held| now < held.end).count()
    }

    /// Notices that k count, or that they no longer do; the latter is final. [LEA-5]
    pub fn settle(&mut self, now: Instant) {
        let enough = self.counting(now) >= self.threshold;
        self.phase = match (self.phase, enough) {
            (Phase::Filling | Phase::Counting, true) => Phase::Counting,
            (Phase::Filling, false) => Phase::Filling,
            // Without the rule, a late renewal undoes the loss.
            (Phase::Counting, false) => {
                enforce(Rule::LEA_5).map_or(Phase::Lost, |()| Phase::Counting)
            }
            (Phase::Lost, _) => Phase::Lost,
        };
    }

    pub const fn is_lost(&self) -> bool {
        matches!(self.phase, Phase::Lost)
    }

    /// Whether k counted when last settled: without that no DEK is kept. [LEA-5]
    pub const fn is_counting(&self) -> bool {
        matches!(self.phase, Phase::Counting)
    }

    /// Admits one use and charges it once, to every counting lease with budget. [LEA-2] [LEA-4]
    pub fn admit(
        &mut self,
        now: Instant,
        incarnation: Incarnation,
        attempt: Attempt,
    ) -> Result<Admission, Violation> {
        self.settle(now);
        let able = self
            .leases
            .values()
            .filter(|held| now < held.end && held.budget.charged().is_some())
            .count();
        require!(LEA_2, !self.is_lost() && able >= self.threshold);
        self.charge(now, 1);
        Ok(Admission::new(incarnation, attempt))
    }

    /// Charges uses, each once, to every counting lease that has budget. [LEA-4]
    pub fn charge(&mut self, now: Instant, uses: u64) {
        for held in self.leases.values_mut().filter(|held| now < held.end) {
            if let Some(left) = held.budget.less(uses) {
                held.budget = left;
                held.used = held.used.saturating_add(uses);
            }
        }
    }

    /// Until when k leases without a limit of uses count, and until when k of any kind do.
    ///
    /// `None` unless k counted when last settled. [LEA-2] [LEA-3] [LEA-16]
    pub fn until(&self) -> Option<(Instant, Instant)> {
        let unlimited = |held: &&Held| held.budget == Budget::UNLIMITED;
        let admits = self.kth_latest(self.leases.values().filter(unlimited));
        let leaves = self.kth_latest(self.leases.values())?;
        self.is_counting().then_some((admits.unwrap_or_default(), leaves))
    }

    /// With leases ending in order, k count until the k-th latest end.
    fn kth_latest<'a>(&self, leases: impl Iterator<Item = &'a Held>) -> Option<Instant> {
        let mut ends: Vec<_> = leases.map(|held| held.end).collect();
        ends.sort_unstable();
        ends.len().checked_sub(self.threshold).and_then(|at| ends.get(at)).copied()
    }

    /// Whether an admitted use's output may leave. [LEA-3]
    pub fn may_leave(&self, now: Instant) -> Result<(), Violation> {
        require!(LEA_3, !self.is_lost() && self.counting(now) >= self.threshold);
        Ok(())
    }

    /// The renewals to send now, each with the custodian it is for.
    ///
    /// The clock is read before the first sending; a retry repeats the bytes. [LEA-1] [LEA-7]
    pub fn due(&mut self, now: Instant) -> Vec<(CustodianId, Vec<u8>)> {
        let mut frames = Vec::new();
        for (custodian, held) in &mut self.leases {
            if now >= held.end {
                held.on_over();
                continue;
            }
            if let Some(frame) = held.on_due(now) {
                frames.push((*custodian, frame));
            }
        }
        frames
    }

    /// Takes an answer that came on a channel between these two leaf keys.
    pub fn on_renewal(
        &mut self,
        now: Instant,
        custodian: CustodianId,
        answer: &Renewal,
        leaves: (LeafKey, LeafKey),
        ttl_max: Span,
    ) -> Result<RenewalCheck, Violation> {
        let margin = self.margin;
        let held = self.leases.get_mut(&custodian).ok_or(Violation::RenewalUnanswered)?;
        require!(LEA_8, leaves == (held.device_leaf, held.custodian_leaf));
        let Renewing::Asked { first_sent, .. } = held.renewing else {
            return Err(Violation::RenewalUnanswered); // [LEA-7]
        };
        require!(LEA_7, answer.lease == held.lease && answer.counter == held.counter.next());
        match answer.answer {
            RenewalAnswer::Retry => return Ok(RenewalCheck::Retry),
            RenewalAnswer::Ended => {
                held.renewing = Renewing::Ended;
                return Ok(RenewalCheck::Ended);
            }
            RenewalAnswer::Renewed => {}
        }
        require!(REL_11, answer.term <= ttl_max && answer.term > margin);
        held.counter = answer.counter;
        held.since = first_sent;
        held.end = first_sent.after(answer.term.minus(margin));
        held.term = answer.term;
        held.budget = answer.budget; // [LEA-13] set, not added
        held.used = 0;
        held.renewing = Renewing::Due(first_sent.after(third(answer.term)));
        let counter = held.counter;
        self.settle(now);
        Ok(RenewalCheck::Renewed(counter))
    }

    /// A channel to this custodian is open again: what awaits an answer is sent again at once.
    pub fn reconnected(&mut self, now: Instant, custodian: CustodianId) {
        if let Some(held) = self.leases.get_mut(&custodian)
            && let Renewing::Asked { again, .. } = &mut held.renewing
        {
            *again = now;
        }
    }

    /// When something is due: a renewal, or the instant at which fewer than k count.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let renewal = self.leases.values().filter_map(Held::next_ask).min();
        let last_with_k = self.kth_latest(self.leases.values());
        let loss = matches!(self.phase, Phase::Counting).then_some(last_with_k).flatten();
        [renewal, loss].into_iter().flatten().min()
    }

    pub fn leases(&self) -> impl Iterator<Item = (CustodianId, &Held)> {
        self.leases.iter().map(|(id, held)| (*id, held))
    }
}

impl Held {
    fn on_due(&mut self, now: Instant) -> Option<Vec<u8>> {
        match &mut self.renewing {
            Renewing::Due(at) if now >= *at => {
                let renew =
                    Renew { lease: self.lease, counter: self.counter.next(), used: self.used };
                let frame = Message::Renew(renew).to_frame();
                let again = now.after(third(self.term));
                self.renewing = Renewing::Asked { frame: frame.clone(), first_sent: now, again };
                Some(frame)
            }
            Renewing::Asked { frame, again, .. } if now >= *again => {
                *again = now.after(third(self.term));
                Some(frame.clone())
            }
            _ => None,
        }
    }

    /// Its alarms end with it; an answer that is under way still finds its question.
    fn on_over(&mut self) {
        match &mut self.renewing {
            Renewing::Due(_) => self.renewing = Renewing::Ended,
            Renewing::Asked { again, .. } => *again = self.end.max(*again),
            Renewing::Ended => {}
        }
    }

    /// No asking past the end: it could not count any more.
    fn next_ask(&self) -> Option<Instant> {
        let at = match &self.renewing {
            Renewing::Due(at) => *at,
            Renewing::Asked { again, .. } => *again,
            Renewing::Ended => return None,
        };
        (at < self.end).then_some(at)
    }

    /// The instant from which this lease no longer counts.
    pub const fn end(&self) -> Instant {
        self.end
    }

    /// Before the first sending of what granted the running term.
    pub const fn since(&self) -> Instant {
        self.since
    }

    pub const fn budget(&self) -> Budget {
        self.budget
    }

    /// Uses that the running term was charged with.
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// The state's name in the table of chapter 50.
    pub fn state_name(&self, now: Instant) -> &'static str {
        match &self.renewing {
            _ if now >= self.end => "Over",
            Renewing::Due(_) => "Counting",
            Renewing::Asked { .. } => "Renewing",
            Renewing::Ended => "Ending",
        }
    }
}

/// Three tries fit into a term.
const fn third(term: Span) -> Span {
    Span::from_millis(term.as_millis() / 3)
}

impl Rebase for Held {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.since.rebase(by, floor);
        self.end.rebase(by, floor);
        match &mut self.renewing {
            Renewing::Due(at) => at.rebase(by, floor),
            Renewing::Asked { first_sent, again, .. } => {
                first_sent.rebase(by, floor);
                again.rebase(by, floor);
            }
            Renewing::Ended => {}
        }
    }
}

impl Rebase for Holder {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.leases.rebase(by, floor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Instant = Instant::from_millis;
    const TERM: Span = Span::from_millis(10);
    const LEAVES: (LeafKey, LeafKey) = (LeafKey::new([1; 32]), LeafKey::new([2; 32]));

    /// One lease of one custodian, from 0 to 9, whose renewal was asked for at 5.
    fn asked() -> Holder {
        let held = Held {
            lease: LeaseId::new([1; 16]),
            device_leaf: LEAVES.0,
            custodian_leaf: LEAVES.1,
            counter: Counter::new(0),
            since: AT(0),
            end: AT(9),
            term: TERM,
            budget: Budget::UNLIMITED,
            used: 0,
            renewing: Renewing::Asked { frame: Vec::new(), first_sent: AT(5), again: AT(8) },
        };
        let leases = BTreeMap::from([(CustodianId::new(1), held)]);
        let mut holder =
            Holder { threshold: 1, margin: Span::from_millis(1), leases, phase: Phase::Filling };
        holder.settle(AT(0));
        holder
    }

    fn renewed(holder: &mut Holder, now: Instant, term: Span) -> Result<RenewalCheck, Violation> {
        let answer = Renewal {
            lease: LeaseId::new([1; 16]),
            counter: Counter::new(1),
            answer: RenewalAnswer::Renewed,
            term,
            budget: Budget::UNLIMITED,
        };
        holder.on_renewal(now, CustodianId::new(1), &answer, LEAVES, TERM)
    }

    #[test]
    fn lea_5_a_loss_is_final_even_where_a_late_renewal_counts_again() {
        let mut holder = asked();
        assert_eq!(holder.may_leave(AT(8)), Ok(()));
        holder.settle(AT(9));
        assert!(holder.is_lost());
        let late = renewed(&mut holder, AT(10), TERM);
        assert_eq!(late, Ok(RenewalCheck::Renewed(Counter::new(1))));
        assert_eq!(holder.counting(AT(10)), 1, "the lease itself counts again");
        assert_eq!(holder.may_leave(AT(10)), Err(Violation::OutputAfterLease));
        let admitted = holder.admit(AT(10), Incarnation::new([1; 32]), Attempt::new(1));
        assert_eq!(admitted, Err(Violation::TooFewLeases), "nor is a use admitted [LEA-2]");
    }

    #[test]
    fn rel_11_a_renewal_that_the_margin_uses_up_is_refused() {
        let term = |millis| renewed(&mut asked(), AT(6), Span::from_millis(millis));
        assert_eq!(term(1), Err(Violation::TermsOutOfBounds));
        assert_eq!(term(2), Ok(RenewalCheck::Renewed(Counter::new(1))));
        assert_eq!(term(11), Err(Violation::TermsOutOfBounds), "above ttl-max");
    }
}
