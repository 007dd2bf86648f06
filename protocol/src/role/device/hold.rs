//! While the model is held: renewals, notices, and the passing of time.

use super::{Custody, CustodyInput, Device, Link, Misuse, Rejection};
use crate::effect::{Report, StopCause};
use crate::ids::CustodianId;
use crate::lease::RenewalCheck;
use crate::release::Coverage;
use crate::revocation::{Novelty, verify_order};
use crate::suite::{LeafKey, Suite};
use crate::time::Instant;
use crate::wire::lease::Renewal;
use crate::wire::order::{Notice, Verb};

impl Device {
    pub(super) fn on_timeout(
        &mut self,
        now: Instant,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        self.advance(now, suite)?;
        self.send_due(now);
        Ok(())
    }

    /// Renewals that are due leave on an open channel, or make the device dial. [LEA-7]
    pub(super) fn send_due(&mut self, now: Instant) {
        let Some(model) = &mut self.model else { return };
        if model.custody.dek().is_none() {
            return;
        }
        let due = model.holder.due(now);
        for (custodian, frame) in due {
            match self.lease_channel(custodian) {
                Some(channel) => self.out.transmit(channel, frame),
                None => self.out.dial(custodian),
            }
        }
    }

    /// A channel between the two leaf keys that the session bound. [LEA-8]
    fn lease_channel(&self, custodian: CustodianId) -> Option<crate::ids::ChannelId> {
        let model = self.model.as_ref()?;
        let (_, held) = model.holder.leases().find(|(id, _)| *id == custodian)?;
        let leaves = (held.device_leaf, held.custodian_leaf);
        let fits =
            |link: &Link| link.custodian == custodian && (link.own_leaf, link.peer_leaf) == leaves;
        model.links.iter().find(|(_, link)| fits(link)).map(|(channel, _)| *channel)
    }

    pub(super) fn on_renewal(
        &mut self,
        now: Instant,
        link: Link,
        renewal: &Renewal,
    ) -> Result<(), Rejection> {
        let model = self.model.as_mut().ok_or(Misuse::WrongState)?;
        let leaves = (link.own_leaf, link.peer_leaf);
        let ttl_max = model.manifest.ttl_max;
        let custodian = link.custodian;
        let check = model.holder.on_renewal(now, custodian, renewal, leaves, ttl_max)?;
        if let RenewalCheck::Renewed(counter) = check {
            let lease = renewal.lease;
            self.out.report(Report::LeaseCounts { custodian, lease, counter });
        }
        Ok(())
    }

    /// An order that covers this device stops it, whoever carried it. [REV-12]
    pub(super) fn on_notice(
        &mut self,
        notice: &Notice,
        suite: &mut impl Suite,
    ) -> Result<(), Rejection> {
        let model = self.model.as_ref().ok_or(Misuse::WrongState)?;
        let order = verify_order(&notice.approvals, &model.deployment, suite)?;
        // The serial rule is for those who hold every order: one that this device never heard of
        // may have admitted it since, and what operators revoked stops it all the same. [REV-12]
        let judged = match self.orders.judge(&order) {
            Err(_) if order.order().verb == Verb::Revoke => Novelty::New,
            judged => judged?,
        };
        if judged == Novelty::New {
            self.orders.insert(&order);
            self.out.report(Report::Applied {
                order: *order.digest(),
                epoch: crate::ids::Epoch::new(0),
            });
        }
        let leaves: alloc::vec::Vec<LeafKey> =
            model.links.values().map(|link| link.own_leaf).collect();
        let names = model.names.with(&self.config.device, &leaves);
        if self.orders.coverage(&names) == Coverage::Revoked {
            return self.stop_or_abandon();
        }
        Ok(())
    }

    fn stop_or_abandon(&mut self) -> Result<(), Rejection> {
        let Some(model) = &self.model else {
            return Ok(());
        };
        match &model.custody {
            Custody::Loading { .. } | Custody::Serving { .. } => self.stop(StopCause::Revoked),
            Custody::Idle | Custody::Erasing => Ok(()),
            // An attempt under way; the table of chapter 40 leaves through the same doors.
            Custody::Attesting { .. } => self.abandon(CustodyInput::EvidenceFailed),
            Custody::Gathering { .. } | Custody::Requesting { .. } => {
                self.abandon(CustodyInput::TooFew)
            }
        }
    }
}
