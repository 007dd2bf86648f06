//! Three custodians, a node, a device and an operator, each over real sockets.
//!
//! Every test ends with [`World::finish`]: what its processes logged is replayed against the model.
//! A world that is dropped before fails its test.

mod backend;
mod objects;
mod replayed;

use split_custody_keys::{
    ByteSuite, Dealing, Dek, OperatorKey, OwnerKey, SoftCustody, manifest_digest,
};
use split_custody_model_check::world::Setup;
use split_custody_protocol::effect::Report;
use split_custody_protocol::ids::{
    CustodianId, DeploymentId, Serial, ShareSetId, WeightsId, WeightsVersion,
};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{
    Custodian, CustodianConfig, CustodianInput, Device, DeviceConfig, DeviceInput,
};
use split_custody_protocol::suite::{DeviceId, Digest};
use split_custody_protocol::wire::message::frame_of;
use split_custody_protocol::wire::order::{Order, Subject, SubjectKind, Submit, Verb};
use split_custody_protocol::wire::standing::{Activate, Activation, Query};
use split_custody_protocol::wire::{Message, Signed, codec};
use split_custody_runtime::clock::BootClock;
use split_custody_runtime::driver::{Config, Handle, Observed, spawn};
use split_custody_runtime::effects::{CustodianEffects, DeviceEffects, PlantLeaf, SoftCustodian};
use split_custody_runtime::record::Recorder;
use split_custody_runtime::relay::{Relay, RelayDialer, bind};
use split_custody_runtime::suite::SharedSuite;
use split_custody_runtime::transport::{
    Channel, Connector, LeafSlot, Limits, TcpAcceptor, read_frame, serve, write_frame,
};
use split_custody_store::{MemoryDisk, MemoryStore};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support;
use backend::Backend;
use objects::{attester, custodian_id, deployment, manifest, recipients};
use replayed::Finished;

const DEPLOYMENT: DeploymentId = DeploymentId::new([1; 16]);
const WEIGHTS: WeightsId = WeightsId::new([2; 16]);
const VERSION: WeightsVersion = WeightsVersion::new(1);
const SET: ShareSetId = ShareSetId::new([3; 16]);

/// Whether the device keeps an event log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Log {
    Kept,
    /// A reason is in [`UNLOGGED`] under the test's name.
    Off(&'static str),
}

/// The tests whose device keeps no log, and why: their custodians' logs say half of what happened and
/// are not replayed. Each has to be a test that starts its world so, under its own name.
pub const UNLOGGED: [(&str, &str); 3] = [
    (
        "lea_16_the_gate_of_a_driver_opens_with_the_model_and_shuts_with_an_order",
        "with a log the gate never opens: every use is an event, and the machine is asked for each",
    ),
    (
        "lea_16_after_the_word_of_a_host_read_was_sent_nothing_is_admitted",
        "asks an open gate, which there is without a log only",
    ),
    (
        "lea_16_uses_over_the_gate_are_charged_before_the_next_turn",
        "counts uses over an open gate, which there is without a log only",
    ),
];

/// Three custodians, one node, one device, one operator.
pub struct World {
    pub folder: TempDir,
    pki: support::Deployment,
    operator: OperatorKey,
    device_id: DeviceId,
    manifest: Signed,
    deployment: Signed,
    addresses: BTreeMap<CustodianId, SocketAddr>,
    pub outages: Vec<split_custody_keys::Outage>,
    pub device: Handle<Device>,
    reports: UnboundedReceiver<Observed>,
    _custodians: Vec<Handle<Custodian>>,
    /// Every driver, and what accepts for it.
    tasks: Vec<JoinHandle<()>>,
    setup: Setup,
    log: Log,
    finished: Finished,
}

impl World {
    pub async fn start(on_host_read: OnHostRead) -> Self {
        Self::start_with(on_host_read, Log::Kept).await
    }

    pub async fn start_with(on_host_read: OnHostRead, log: Log) -> Self {
        let (folder, pki) = (TempDir::new().expect("a folder"), support::Deployment::new());
        let (owner, operator) =
            (OwnerKey::generate().expect("a key"), OperatorKey::generate().expect("a key"));
        let attester = attester();
        let custodies: Vec<_> = (0..3).map(|_| SoftCustody::generate().expect("keys")).collect();
        let outages = custodies.iter().map(SoftCustody::outage).collect();
        let dek = Dek::generate();
        let dealing = Dealing::deal(&dek, SET, 2, &recipients(&custodies)).expect("dealt");
        let body = manifest(&dek, &dealing, &custodies);
        let setup = Setup::of_manifest(&body, on_host_read);
        let manifest = owner.sign_manifest(&body).expect("signed");
        let deployment = deployment(&operator, attester.device_id(), &pki);
        let deployment = owner.sign_deployment(&deployment).expect("signed");
        let dealt = dealing.seal(&manifest_digest(manifest.payload_bytes())).expect("sealed");

        let (mut addresses, mut handles, mut tasks) = (BTreeMap::new(), Vec::new(), Vec::new());
        for (place, custody) in custodies.into_iter().enumerate() {
            let id = custodian_id(place);
            let (address, handle, its) = custodian(id, custody, &owner, &pki, folder.path()).await;
            addresses.insert(id, address);
            handles.push(handle);
            tasks.extend(its);
        }
        let config = DeviceConfig {
            deployment: DEPLOYMENT,
            device: attester.device_id(),
            owner: owner.public(),
            on_host_read,
        };
        let socket = folder.path().join("node.sock");
        let relay = Relay::new(addresses.clone(), None);
        tokio::spawn(relay.serve(bind(&socket).expect("bound")));
        let device_id = attester.device_id();
        let backend = Backend { attester, suite: SharedSuite::new(ByteSuite::new()), dek, life: 0 };
        let (device, reports, task) = device(config, backend, &pki, folder.path(), log);
        tasks.push(task);
        let mut world = Self {
            folder,
            pki,
            operator,
            device_id,
            manifest,
            deployment,
            addresses,
            outages,
            device,
            reports,
            _custodians: handles,
            tasks,
            setup,
            log,
            finished: Finished::No,
        };
        for (place, share) in dealt.iter().enumerate() {
            let id = custodian_id(place).value();
            let provision = owner.provision(&world.manifest, &world.deployment, share, VERSION);
            let answer = world.ask(id, frame_of(provision.expect("signed"))).await;
            assert!(matches!(answer, Message::Provisioned(_)), "{answer:?}");
            world.activate(id).await;
        }
        world.device.input(DeviceInput::PoweredOn).await.expect("taken");
        world.wait_for(|r| matches!(r, Report::Clean { .. })).await;
        world
    }

    async fn activate(&self, id: u8) {
        let Message::Status(status) =
            self.ask(id, frame_of(Query { deployment: DEPLOYMENT })).await
        else {
            panic!("a status expected");
        };
        let activation = Activation {
            deployment: DEPLOYMENT,
            custodian: CustodianId::new(id),
            set: SET,
            manifest: status.manifest,
            nonce: status.nonce,
            orders: status.orders,
        };
        let approval = self.operator.approve_activation(&activation).expect("signed");
        let approvals = codec::List::new(vec![approval]).expect("one");
        let answer = self.ask(id, frame_of(Activate { approvals })).await;
        assert!(matches!(answer, Message::Activated(_)), "{answer:?}");
    }

    pub fn revocation(&self) -> Submit {
        let value = Digest::new(*self.device_id.as_bytes());
        let order = Order {
            deployment: DEPLOYMENT,
            verb: Verb::Revoke,
            subject: Subject { kind: SubjectKind::Device, value },
            serial: Serial::new(0),
        };
        let approval = self.operator.approve_order(&order).expect("signed");
        Submit { approvals: codec::List::new(vec![approval]).expect("one") }
    }

    pub async fn acquire(&mut self) {
        let (manifest, deployment) = (self.manifest.clone(), self.deployment.clone());
        self.device.input(DeviceInput::Acquire { manifest, deployment }).await.expect("taken");
        self.wait_for(|r| matches!(r, Report::Serving { .. })).await;
    }

    pub async fn wait_for(&mut self, is: impl Fn(&Report) -> bool) {
        let mut seen = Vec::new();
        let wait = async {
            while let Some(observed) = self.reports.recv().await {
                if matches!(&observed, Observed::Report(report) if is(report)) {
                    return;
                }
                seen.push(observed);
            }
        };
        if timeout(Duration::from_secs(10), wait).await.is_err() {
            panic!("not seen in time; seen instead: {seen:#?}");
        }
    }

    /// One question to one custodian on a channel of its own.
    pub async fn ask(&self, id: u8, frame: Vec<u8>) -> Message {
        let id = CustodianId::new(id);
        let stream = TcpStream::connect(self.addresses[&id]).await.expect("connected");
        let mut channel: Channel =
            self.pki.client().connect(id, stream, &support::limits()).await.expect("opened");
        write_frame(&mut channel.writer, &frame).await.expect("written");
        let answer = read_frame(&mut channel.reader, Duration::from_secs(5));
        let answer = timeout(Duration::from_secs(5), answer).await.expect("in time");
        Message::from_frame(&answer.expect("a frame").expect("an answer")).expect("a message")
    }
}

async fn custodian(
    id: CustodianId,
    custody: SoftCustody,
    owner: &OwnerKey,
    pki: &support::Deployment,
    folder: &Path,
) -> (SocketAddr, Handle<Custodian>, [JoinHandle<()>; 2]) {
    let config = CustodianConfig {
        id,
        deployment: DEPLOYMENT,
        owner: owner.public(),
        grant_key: custody.grant_public(),
        kek: custody.kek_public().digest(),
    };
    let store = MemoryStore::open(&MemoryDisk::default(), "test").expect("a store");
    let booted = SoftCustodian::boot(Box::new(store), custody).expect("booted");
    let desk = Arc::new(booted.custodian);
    let effects = CustodianEffects::new(desk.clone(), desk.clone(), desk).expect("threads");
    let machine = Custodian::new(config, booted.recovered);
    let (handle, task) =
        spawn(machine, ByteSuite::new(), driver(effects, None, &id, folder, Log::Kept).0);
    handle.input(CustodianInput::Booted).await.expect("taken");

    let (identity, _) = pki.root.issue(id).expect("a leaf");
    let acceptor = TcpAcceptor::bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = acceptor.local_addr().expect("an address");
    let open = handle.clone();
    let opened = move |channel| {
        let open = open.clone();
        async move { open.opened(channel).await.unwrap_or_default() }
    };
    let accepting = serve(acceptor, pki.server_with(identity), support::limits(), opened, drop);
    (address, handle, [task, tokio::spawn(accepting)])
}

fn driver<E>(
    effects: E,
    connect: Option<Arc<dyn split_custody_runtime::transport::Connect>>,
    id: &dyn std::fmt::Display,
    folder: &Path,
    log: Log,
) -> (Config<BootClock, E>, UnboundedReceiver<Observed>) {
    let role = if connect.is_some() { "device".into() } else { format!("custodian-{id}") };
    let path = folder.join(format!("{role}.jsonl"));
    let recorder = match log {
        Log::Kept => Recorder::to_file(&path, &role).expect("a log"),
        Log::Off(_) => Recorder::off(),
    };
    let (observer, reports) = unbounded_channel();
    let (clock, limits) = (BootClock, Limits::default());
    (Config { clock, effects, connect, limits, recorder, observer }, reports)
}

fn device(
    config: DeviceConfig,
    backend: Backend,
    pki: &support::Deployment,
    folder: &Path,
    log: Log,
) -> (Handle<Device>, UnboundedReceiver<Observed>, JoinHandle<()>) {
    let (suite, leaf) = (backend.suite.clone(), LeafSlot::default());
    let clients: Vec<_> = (0..8).map(|_| pki.client()).collect();
    let mut clients = clients.into_iter();
    let make = Box::new(move || Ok(clients.next().expect("few incarnations")));
    let backend = PlantLeaf { inner: backend, slot: leaf.clone(), make };
    let dialer = RelayDialer { socket: folder.join("node.sock") };
    let connector = Arc::new(Connector { dialer, leaf, limits: support::limits() });
    let effects = DeviceEffects::new(backend).expect("a thread");
    let (config_of_driver, reports) = driver(effects, Some(connector), &"", folder, log);
    let (handle, task) = spawn(Device::new(config), suite, config_of_driver);
    (handle, reports, task)
}
