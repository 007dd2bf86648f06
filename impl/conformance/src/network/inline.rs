//! Executors that run on the simulation's own clock: each effect takes its time, in order.
//!
//! The threads of `impl/runtime` would answer at real times, which no seed decides. What they call
//! is called here: the same store, keys, appraiser and device.

use std::time::Duration;

use split_custody_keys::Released;
use split_custody_protocol::effect::{CustodianAnswer, CustodianEffect, DeviceEffect};
use split_custody_protocol::ids::Ticket;
use split_custody_protocol::role::{Custodian, Device};
use split_custody_protocol::time::Instant;
use split_custody_runtime::clock::Clock;
use split_custody_runtime::effects::{
    Answers, Appraiser, Cancel, CommitOutcome, CommitStore, CustodyKeys, DeviceBackend, Effects,
    ReleaseOrder, SoftCustodian,
};
use tokio::sync::mpsc;

/// The simulation's clock, the same on every host.
#[derive(Clone, Copy, Debug)]
pub(super) struct SimClock;

impl Clock for SimClock {
    fn now(&self) -> Instant {
        let elapsed = turmoil::sim_elapsed().unwrap_or_default();
        Instant::from_millis(BEGIN + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    async fn wait_until(&self, at: Instant) {
        while self.now() < at {
            let left = at.since(self.now()).as_millis();
            tokio::time::sleep(Duration::from_millis(left.clamp(1, 100))).await;
        }
    }
}

/// A custodian's: what a disk takes comes in order, before what keys and appraisal take.
pub(super) struct CustodianDesk {
    jobs: mpsc::UnboundedSender<(Ticket, CustodianEffect, Answers<Custodian>)>,
}

impl CustodianDesk {
    pub(super) fn start(desk: SoftCustodian) -> Self {
        let (jobs, mut queue) =
            mpsc::unbounded_channel::<(Ticket, CustodianEffect, Answers<Custodian>)>();
        tokio::spawn(async move {
            while let Some((ticket, effect, answers)) = queue.recv().await {
                tokio::time::sleep(time_of(&effect)).await;
                answers.answer(ticket, execute(&desk, ticket, effect));
            }
        });
        Self { jobs }
    }
}

impl Effects<Custodian> for CustodianDesk {
    fn start(&mut self, ticket: Ticket, effect: CustodianEffect, answers: &Answers<Custodian>) {
        // A desk that is gone went with its host.
        let _ = self.jobs.send((ticket, effect, answers.clone()));
    }
}

const fn time_of(effect: &CustodianEffect) -> Duration {
    Duration::from_millis(match effect {
        CustodianEffect::Commit(_) | CustodianEffect::Anchor(_) => 8,
        CustodianEffect::Release { .. } | CustodianEffect::Sign { .. } => 4,
        _ => 1,
    })
}

fn released(Released { sealed, signature }: Released) -> CustodianAnswer {
    CustodianAnswer::Released { sealed, signature }
}

fn execute(desk: &SoftCustodian, ticket: Ticket, effect: CustodianEffect) -> CustodianAnswer {
    match effect {
        CustodianEffect::Export { .. } => CustodianAnswer::ExportFailed,
        CustodianEffect::Appraise { evidence } => {
            desk.appraise(&evidence).map_or(CustodianAnswer::Rejected, CustodianAnswer::Appraised)
        }
        CustodianEffect::Commit(transaction) => {
            let outcome = desk.commit(vec![(ticket, transaction)]).pop();
            outcome.unwrap_or(CommitOutcome::Unknown).into()
        }
        CustodianEffect::Reread { commit } => desk.reread(commit).into(),
        CustodianEffect::Release { set, index, suite, to, context, draft } => desk
            .release(&ReleaseOrder { set, index, suite, to, context, draft })
            .map_or(CustodianAnswer::HsmFailed, released),
        CustodianEffect::Sign { message } => {
            desk.sign(&message).map_or(CustodianAnswer::HsmFailed, CustodianAnswer::Signed)
        }
        CustodianEffect::Anchor(anchor) => {
            desk.anchor(&anchor).expect("the disk in memory does not fail");
            CustodianAnswer::Anchored
        }
        CustodianEffect::DestroyHandles => {
            desk.destroy_handles().expect("no outage is begun here");
            CustodianAnswer::HandlesDestroyed
        }
    }
}

/// A device's: one at a time, in the order in which they were asked.
pub(super) struct DeviceDesk {
    jobs: mpsc::UnboundedSender<(Ticket, DeviceEffect, Answers<Device>)>,
}

impl DeviceDesk {
    pub(super) fn start(mut backend: impl DeviceBackend) -> Self {
        let (jobs, mut queue) =
            mpsc::unbounded_channel::<(Ticket, DeviceEffect, Answers<Device>)>();
        tokio::spawn(async move {
            while let Some((ticket, effect, answers)) = queue.recv().await {
                let slow = matches!(effect, DeviceEffect::Load { .. } | DeviceEffect::Scrub);
                tokio::time::sleep(Duration::from_millis(if slow { 30 } else { 2 })).await;
                answers.answer(ticket, backend.execute(effect, &Cancel::default()));
            }
        });
        Self { jobs }
    }
}

impl Effects<Device> for DeviceDesk {
    fn start(&mut self, ticket: Ticket, effect: DeviceEffect, answers: &Answers<Device>) {
        let _ = self.jobs.send((ticket, effect, answers.clone()));
    }
}

/// A host's clock has run before.
const BEGIN: u64 = 1000;
