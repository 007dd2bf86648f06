//! A deployment on a simulated network: the drivers that ship, TLS, and time that a seed decides.
//!
//! All chapters. Three custodians of which two are needed, a device and an operator, each a host of
//! its own with its driver loop, transport, event log and processes that die. The seed draws delays,
//! partitions, held links, crashes and restarts, a host read and a revocation. Afterwards the logs of
//! every process are replayed against the model. It simulates neither disks nor HSMs that fail; the
//! scripts do.

mod host;
mod inline;
mod schedule;
mod witness;

use std::path::Path;
use std::time::Duration;

use split_custody_model_check::replay::{Mismatch, Replayed, replay};
use split_custody_model_check::world::Setup;
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::suite::SuiteId;
use split_custody_protocol::trace::Entry;
use split_custody_runtime::record::read_log;

use host::Deployment;
use schedule::Schedule;
use witness::Witness;

/// What a run left behind.
#[derive(Debug)]
pub struct Run {
    pub logs: Vec<Vec<Entry>>,
    pub setup: Setup,
    /// What was done to the network and its hosts, in words.
    pub deeds: Vec<String>,
    witness: Witness,
}

impl Run {
    /// The run's own logs, as enabled actions of the model's world.
    pub fn replay(&self) -> Result<Replayed, Mismatch> {
        replay(&self.logs, &self.setup)
    }

    /// How many of the logged exports are what HS-2 gives for the first frame that was heard on
    /// their connections; an error names the first that is not.
    pub fn exports(&self) -> Result<usize, String> {
        self.witness.agrees(&self.logs)
    }
}

/// Runs one seed to its end; the folder takes the logs.
pub fn run(seed: u64, folder: &Path) -> Run {
    let setup = setup();
    let deployment = Deployment::new(&setup, folder);
    let mut schedule = Schedule::of(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(TICK)
        .simulation_duration(LENGTH * 2)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(schedule.latency())
        .tcp_capacity(1024)
        .enable_random_order()
        .build();
    for id in 1..=setup.n {
        let custodian = deployment.custodian(id);
        sim.host(host::name(id), move || custodian.clone().run());
    }
    let device = deployment.device();
    sim.host("device", move || device.clone().run());
    let operator = deployment.operator(schedule.revokes());
    sim.client("operator", operator.run());
    while sim.elapsed() < LENGTH {
        schedule.act(&mut sim);
        sim.step().expect("hosts end only when they are crashed");
    }
    drop(sim);
    Run { logs: logs(folder), setup, deeds: schedule.done(), witness: deployment.witness() }
}

fn logs(folder: &Path) -> Vec<Vec<Entry>> {
    let files = std::fs::read_dir(folder).expect("the folder is there");
    let mut paths: Vec<_> = files.map(|file| file.expect("readable").path()).collect();
    paths.sort();
    paths.iter().map(|path| read_log(path).expect("a log")).collect()
}

/// In milliseconds: short terms, so that a run renews often.
const fn setup() -> Setup {
    Setup {
        n: 3,
        k: 2,
        f: 0,
        first: 2000,
        term: 3000,
        ttl_max: 4000,
        gather: 800,
        margin: 50,
        challenge_max: 3000,
        max_age: 60_000,
        budget: u64::MAX,
        on_host_read: OnHostRead::Reset,
        suite: SuiteId::HPKE_X25519,
        ..Setup::smallest(1, 1, 0)
    }
}

const TICK: Duration = Duration::from_millis(5);
const LENGTH: Duration = Duration::from_secs(20);
