//! Three custodians, a node, a device and an operator, each over real sockets.

use split_custody_attest::{Measurements, SoftwareAttester};
use split_custody_keys::{
    ByteSuite, Dealing, Dek, OperatorKey, OwnerKey, Recipient, SigningKey, SoftCustody,
    manifest_digest,
};
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Report};
use split_custody_protocol::ids::{
    Budget, ContainerId, CustodianId, DeploymentId, PolicyVersion, Serial, ShareIndex, ShareSetId,
    WeightsId, WeightsVersion,
};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::{
    Custodian, CustodianConfig, CustodianInput, Device, DeviceConfig, DeviceInput,
};
use split_custody_protocol::suite::{DeviceId, Digest, Incarnation, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::evidence::EvidenceKind;
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest, Policy};
use split_custody_protocol::wire::message::frame_of;
use split_custody_protocol::wire::order::{Order, Subject, SubjectKind, Submit, Verb};
use split_custody_protocol::wire::standing::{Activate, Activation, Query};
use split_custody_protocol::wire::{Message, Signed, codec};
use split_custody_runtime::clock::BootClock;
use split_custody_runtime::driver::{Config, Handle, Observed, spawn};
use split_custody_runtime::effects::{
    Cancel, CustodianEffects, DeviceBackend, DeviceEffects, PlantLeaf, SoftCustodian,
};
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
use tokio::time::timeout;

use crate::support;

const DEPLOYMENT: DeploymentId = DeploymentId::new([1; 16]);
const WEIGHTS: WeightsId = WeightsId::new([2; 16]);
const VERSION: WeightsVersion = WeightsVersion::new(1);
const SET: ShareSetId = ShareSetId::new([3; 16]);

/// Whether the device keeps an event log.
#[derive(Clone, Copy)]
pub enum Log {
    Kept,
    Off,
}

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
        let manifest = owner.sign_manifest(&manifest(&dek, &dealing, &custodies)).expect("signed");
        let deployment = deployment(&operator, attester.device_id(), &pki);
        let deployment = owner.sign_deployment(&deployment).expect("signed");
        let dealt = dealing.seal(&manifest_digest(manifest.payload_bytes())).expect("sealed");

        let (mut addresses, mut handles) = (BTreeMap::new(), Vec::new());
        for (place, custody) in custodies.into_iter().enumerate() {
            let id = custodian_id(place);
            let (address, handle) = custodian(id, custody, &owner, &pki, folder.path()).await;
            addresses.insert(id, address);
            handles.push(handle);
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
        let (device, reports) = device(config, backend, &pki, folder.path(), log);
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

fn attester() -> SoftwareAttester {
    let key = || SigningKey::generate().expect("a key");
    SoftwareAttester::new(key(), key(), measurements(), 1)
}

fn measurements() -> Measurements {
    Measurements { gpu: Digest::new([7; 32]), cpu: Digest::new([8; 32]) }
}

fn custodian_id(place: usize) -> CustodianId {
    CustodianId::new(u8::try_from(place + 1).expect("few custodians"))
}

fn recipients(custodies: &[SoftCustody]) -> Vec<Recipient> {
    let recipient = |(place, custody): (usize, &SoftCustody)| {
        let custodian = custodian_id(place);
        let index = ShareIndex::new(custodian.value());
        Recipient { custodian, index, kek: custody.kek_public() }
    };
    custodies.iter().enumerate().map(recipient).collect()
}

fn manifest(dek: &Dek, dealing: &Dealing, custodies: &[SoftCustody]) -> Manifest {
    let commitments = dealing.commitments();
    let entry = |(commitment, custody): (&_, &SoftCustody)| entry(commitment, custody);
    let custodians = commitments.iter().zip(custodies).map(entry).collect();
    Manifest {
        deployment: DEPLOYMENT,
        weights: WEIGHTS,
        version: VERSION,
        container: ContainerId::new([4; 16]),
        dek: dek.commitment(WEIGHTS, VERSION),
        set: SET,
        k: 2,
        n: 3,
        f: 0,
        custodians: codec::List::new(custodians).expect("three"),
        table: Digest::new([5; 32]),
        root: Digest::new([6; 32]),
        ttl_max: Span::from_millis(5000),
        policy: policy(),
        earlier: codec::List::new(Vec::new()).expect("none"),
    }
}

fn entry(
    commitment: &split_custody_keys::dealing::Commitment,
    custody: &SoftCustody,
) -> CustodianEntry {
    CustodianEntry {
        id: commitment.custodian,
        grant_key: custody.grant_public(),
        suites: codec::List::new(vec![SuiteId::HPKE_X25519]).expect("one"),
        index: commitment.index,
        commitment: commitment.share,
        kek: commitment.kek,
    }
}

fn policy() -> Policy {
    let Measurements { gpu, cpu } = measurements();
    Policy {
        version: PolicyVersion::new(1),
        kinds: codec::List::new(vec![EvidenceKind::SOFTWARE]).expect("one"),
        measurements: codec::List::new(vec![gpu, cpu]).expect("two"),
        modes: codec::List::new(vec![1]).expect("one"),
        first: Span::from_millis(2000),
        term: Span::from_millis(3000),
        budget: Budget::UNLIMITED,
        max_age: Span::from_millis(60_000),
        gather: Span::from_millis(1000),
        margin: Span::from_millis(50),
        challenge_max: Span::from_millis(10_000),
    }
}

fn deployment(operator: &OperatorKey, id: DeviceId, pki: &support::Deployment) -> Deployment {
    Deployment {
        deployment: DEPLOYMENT,
        version: 1,
        operators: codec::List::new(vec![operator.public()]).expect("one"),
        m_revoke: 1,
        m_change: 1,
        devices: codec::List::new(vec![id]).expect("one"),
        issuers: codec::List::new(vec![pki.node.spki().expect("a key")]).expect("one"),
    }
}

async fn custodian(
    id: CustodianId,
    custody: SoftCustody,
    owner: &OwnerKey,
    pki: &support::Deployment,
    folder: &Path,
) -> (SocketAddr, Handle<Custodian>) {
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
    let (handle, _) =
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
    tokio::spawn(serve(acceptor, pki.server_with(identity), support::limits(), opened, drop));
    (address, handle)
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
        Log::Off => Recorder::off(),
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
) -> (Handle<Device>, UnboundedReceiver<Observed>) {
    let (suite, leaf) = (backend.suite.clone(), LeafSlot::default());
    let clients: Vec<_> = (0..8).map(|_| pki.client()).collect();
    let mut clients = clients.into_iter();
    let make = Box::new(move || Ok(clients.next().expect("few incarnations")));
    let backend = PlantLeaf { inner: backend, slot: leaf.clone(), make };
    let dialer = RelayDialer { socket: folder.join("node.sock") };
    let connector = Arc::new(Connector { dialer, leaf, limits: support::limits() });
    let effects = DeviceEffects::new(backend).expect("a thread");
    let (config_of_driver, reports) = driver(effects, Some(connector), &"", folder, log);
    let (handle, _) = spawn(Device::new(config), suite, config_of_driver);
    (handle, reports)
}

/// A device whose memory is its suite; it loads by comparing keys.
struct Backend {
    attester: SoftwareAttester,
    suite: SharedSuite<ByteSuite>,
    dek: Dek,
    life: u8,
}

impl DeviceBackend for Backend {
    fn execute(&mut self, effect: DeviceEffect, _: &Cancel) -> DeviceAnswer {
        match effect {
            DeviceEffect::Export { .. } => DeviceAnswer::ExportFailed,
            DeviceEffect::CollectEvidence { session, gpu, .. } => {
                let collected = self.attester.collect(&session, &gpu);
                collected.map_or(DeviceAnswer::EvidenceFailed, DeviceAnswer::EvidenceCollected)
            }
            DeviceEffect::Load { dek } => {
                let is_ours = |key: &[u8; 32]| key == self.dek.expose();
                match self.suite.lend(|suite| suite.with_dek(dek, is_ours)) {
                    Some(true) => DeviceAnswer::Loaded,
                    _ => DeviceAnswer::LoadFailed,
                }
            }
            DeviceEffect::Erase { secrets } => {
                self.suite.lend(|suite| suite.erase(&secrets));
                DeviceAnswer::Erased
            }
            DeviceEffect::Zeroise => {
                self.suite.lend(ByteSuite::erase_all);
                DeviceAnswer::Zeroised
            }
            DeviceEffect::Scrub => DeviceAnswer::Scrubbed,
            DeviceEffect::Plant => {
                self.life += 1;
                DeviceAnswer::Planted(Incarnation::new([self.life; 32]))
            }
        }
    }
}
