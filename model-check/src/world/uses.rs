//! Uses of the model, and what properties want to know of them.

use split_custody_protocol::lease::Lease;
use split_custody_protocol::role::Rejection;

use super::{Asked, Config, DeviceView, Fact, World};
use crate::symbolic;

impl World {
    pub(super) fn begin_use(&mut self, config: &Config) {
        let now = self.now();
        let asked = self.about_to_ask(|| Asked::Admit);
        let admission = match self.device.edit().machine.admit(now) {
            Ok(admission) => admission,
            Err(violation) => {
                self.spent.uses = self.spent.uses.saturating_add(1);
                let refused = if self.device.lost { Fact::Lost } else { Fact::OutOfBudget };
                self.record(config, refused);
                self.drain_device(config, asked, Some(violation.into()));
                return;
            }
        };
        self.charge(config);
        self.spent.uses = self.spent.uses.saturating_add(1);
        self.device.edit().using = Some(admission);
        self.record(config, Fact::Used);
        let live = self.custodians_that_lease(config);
        if live < usize::from(config.setup.k) {
            self.record(config, Fact::UseWithoutK);
        }
        if self.device.lost {
            self.record(config, Fact::UseAfterLoss);
        }
        self.check_use(config);
        self.drain_device(config, asked, None);
    }

    /// Charges an admitted use to every counting term, in the world's own books. [LEA-4]
    fn charge(&mut self, config: &Config) {
        let budget = config.setup.budget;
        if budget == u64::MAX {
            return;
        }
        let now = self.now();
        let counting = self.device.machine.leases().filter(|(_, held)| now < held.end());
        let terms: Vec<(u8, u64)> =
            counting.map(|(id, held)| (id.value(), held.counter.value())).collect();
        let charged = &mut self.device.edit().charged;
        let mut able = 0;
        for (id, counter) in terms {
            let (term, uses) = charged.entry(id).or_insert((counter, 0));
            if *term != counter {
                (*term, *uses) = (counter, 0); // a renewal sets the budget [LEA-13]
            }
            if *uses < budget {
                *uses += 1;
                able += 1;
            }
        }
        if able < usize::from(config.setup.k) {
            self.record(config, Fact::SpentBudget);
        }
    }

    fn drain_device(
        &mut self,
        config: &Config,
        asked: Option<(Asked, DeviceView)>,
        rejection: Option<Rejection>,
    ) {
        self.device_outputs(config, asked, rejection);
        if let Some(input) = self.prompt_device_answer(config) {
            self.device_input(config, input);
        }
    }

    pub(super) fn emit(&mut self, config: &Config) {
        let Some(admission) = self.device.edit().using.take() else { return };
        let old = *admission.incarnation() != symbolic::incarnation(self.device.life_name());
        let asked = self.about_to_ask(|| Asked::Emit);
        let stopped = self.device.machine.release_output(self.now(), &admission).err();
        let leaves = stopped.is_none();
        self.device_outputs(config, asked, stopped.map(Into::into));
        // Only a replay asks what became of it; in a search it would split states.
        self.output_left = leaves && self.said.is_some();
        if !leaves {
            self.record(config, if old { Fact::OldOutputRefused } else { Fact::LateOutputRefused });
            return;
        }
        self.record(config, Fact::Output);
        if old {
            self.record(config, Fact::OutputOfOtherLife);
        }
        if self.custodians_that_lease(config) < usize::from(config.setup.k) {
            self.record(config, Fact::OutputWithoutK);
        }
        self.check_use(config);
    }

    /// The bound of revocation, and the end of an incarnation.
    fn check_use(&mut self, config: &Config) {
        let bound = u8::try_from(config.setup.ttl_max).unwrap_or(u8::MAX);
        if self.since_effective.is_some_and(|ticks| ticks >= bound) {
            // Operators revoke the first device, and no other.
            let others = !self.is_the_revoked();
            self.record(config, if others { Fact::OtherGoesOn } else { Fact::UseAfterBound });
        }
        if self.custodians.values().any(|node| node.acknowledged) {
            self.record(config, Fact::UsedAfterAcknowledgement);
        }
        if self.device.read {
            self.record(config, Fact::UseAfterRead);
        }
    }

    /// Custodians in whose own books a lease of this device still counts; liars always lease.
    fn custodians_that_lease(&self, config: &Config) -> usize {
        let leases = |id: &u8| {
            let machine = self.custodians.get(id).and_then(|node| node.machine.as_ref());
            let counts = |machine: &split_custody_protocol::role::Custodian| {
                let ours = |lease: &Lease| self.is_of_this_device(config, &lease.record().device);
                let mut leases = machine.ledger().iter();
                leases.any(|(_, lease)| ours(lease) && self.now() < lease.lapse())
            };
            config.liars.contains(id) || machine.is_some_and(counts)
        };
        (1..=config.setup.n).filter(leases).count()
    }
}
