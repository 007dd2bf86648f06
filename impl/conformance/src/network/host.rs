//! The hosts: a custodian, a device, an operator, each as its process would be.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use split_custody_attest::SoftwareAttester;
use split_custody_keys::{ByteSuite, Dek};
use split_custody_model_check::symbolic::{Hardware, Principal};
use split_custody_model_check::world::{DEPLOYMENT, SET, Setup};
use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect};
use split_custody_protocol::ids::{CustodianId, Serial};
use split_custody_protocol::lease::Admission;
use split_custody_protocol::role::{Custodian, CustodianInput, Device, DeviceInput};
use split_custody_protocol::suite::{Digest, Incarnation};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::message::frame_of;
use split_custody_protocol::wire::order::{Order, Subject, SubjectKind, Submit, Verb};
use split_custody_protocol::wire::standing::{Activate, Activation, Query};
use split_custody_protocol::wire::{Message, ObjectKind, Signed};
use split_custody_runtime::driver::{Config, Handle, spawn};
use split_custody_runtime::effects::{Cancel, DeviceBackend, PlantLeaf, SoftCustodian};
use split_custody_runtime::pki::{CustodianRoot, DeploymentCa, DeviceLeaf, NodeIssuer, Validity};
use split_custody_runtime::record::Recorder;
use split_custody_runtime::suite::SharedSuite;
use split_custody_runtime::transport::{
    Channel, ClientTls, Connector, Dialer, LeafSlot, Limits, Listener, ServerTls, TransportError,
    read_frame, serve, write_frame,
};
use split_custody_store::{MemoryDisk, MemoryStore};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{sleep, timeout};
use turmoil::net::{TcpListener, TcpStream};

use super::inline::{CustodianDesk, DeviceDesk, SimClock};
use super::witness::{Heard, Witness};
use crate::keyring::Keyring;
use crate::owner::Objects;
use crate::system::{custodian_config, device_config};

/// A custodian's name on the network, and in its log.
pub(super) fn name(id: u8) -> String {
    format!("custodian-{id}")
}

/// What every host knows, and the disks that outlive them.
#[derive(Clone)]
pub(super) struct Deployment(Arc<Shared>);

struct Shared {
    setup: Setup,
    ring: Keyring,
    objects: Objects,
    node: NodeIssuer,
    root: CustodianRoot,
    servers: BTreeMap<u8, ServerTls>,
    disks: BTreeMap<u8, MemoryDisk>,
    folder: PathBuf,
    lives: AtomicU32,
    witness: Witness,
}

impl Deployment {
    pub(super) fn new(setup: &Setup, folder: &Path) -> Self {
        let ca = DeploymentCa::generate("simulation").expect("a CA");
        let node = ca.issue_node("node").expect("an issuer");
        let root = CustodianRoot::generate("simulation").expect("a root");
        let (ring, dealing) = Keyring::generate(setup);
        let issuer = node.spki().expect("a key");
        let objects = Objects::make(setup, &ring, dealing, Some(issuer));
        let server = |id: u8| {
            let (identity, _) = root.issue(CustodianId::new(id)).expect("a leaf");
            ServerTls::new(identity, &[ca.certificate().clone()]).expect("a server")
        };
        let ids = 1..=setup.n;
        Self(Arc::new(Shared {
            servers: ids.clone().map(|id| (id, server(id))).collect(),
            disks: ids.map(|id| (id, MemoryDisk::default())).collect(),
            setup: setup.clone(),
            ring,
            objects,
            node,
            root,
            folder: folder.to_path_buf(),
            lives: AtomicU32::new(0),
            witness: Witness::default(),
        }))
    }

    pub(super) fn witness(&self) -> Witness {
        self.0.witness.clone()
    }

    pub(super) fn custodian(&self, id: u8) -> CustodianHost {
        CustodianHost { deployment: self.clone(), id }
    }

    pub(super) fn device(&self) -> DeviceHost {
        DeviceHost(self.clone())
    }

    pub(super) fn operator(&self, revokes_at: Option<Duration>) -> OperatorHost {
        OperatorHost { deployment: self.clone(), revokes_at }
    }

    /// A log for each life of a process.
    fn recorder(&self, role: &str) -> Recorder {
        let life = self.0.lives.fetch_add(1, Ordering::Relaxed);
        let path = self.0.folder.join(format!("{life:03}-{role}.jsonl"));
        Recorder::to_file(&path, role).expect("a log")
    }

    /// A leaf that the node's issuer certified.
    fn client(&self) -> Result<ClientTls, TransportError> {
        let leaf = DeviceLeaf::generate()?;
        let validity = Validity::starting_now(Duration::from_secs(86_400));
        let chain = self.0.node.certify(&leaf.request()?, validity)?;
        ClientTls::new(leaf.with_chain(chain)?, &[self.0.root.certificate().clone()])
    }
}

/// One custodian's process.
#[derive(Clone)]
pub(super) struct CustodianHost {
    deployment: Deployment,
    id: u8,
}

impl CustodianHost {
    pub(super) async fn run(self) -> turmoil::Result {
        let shared = &self.deployment.0;
        let store = MemoryStore::open(&shared.disks[&self.id], "simulation")?;
        let booted = SoftCustodian::boot(Box::new(store), shared.ring.custody(self.id).0)?;
        let config = custodian_config(&shared.setup, &shared.ring, self.id);
        let (observer, _reports) = unbounded_channel();
        let driver = Config {
            clock: SimClock,
            effects: CustodianDesk::start(booted.custodian),
            connect: None,
            limits: limits(),
            recorder: self.deployment.recorder(&name(self.id)),
            observer,
        };
        let machine = Custodian::new(config, booted.recovered);
        let (handle, _) = spawn(machine, ByteSuite::new(), driver);
        handle.input(CustodianInput::Booted).await?;
        let listener = Accepting(TcpListener::bind(("0.0.0.0", PORT)).await?);
        let witness = shared.witness.clone();
        let opened = move |channel| {
            let (handle, channel) = (handle.clone(), witness.at_custodian(channel));
            async move { handle.opened(channel).await.unwrap_or_default() }
        };
        serve(listener, shared.servers[&self.id].clone(), limits(), opened, drop).await;
        Ok(())
    }
}

struct Accepting(TcpListener);

impl Listener for Accepting {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }
}

struct Dialling;

impl Dialer for Dialling {
    type Stream = TcpStream;

    async fn dial(&self, custodian: CustodianId) -> io::Result<TcpStream> {
        TcpStream::connect((name(custodian.value()), PORT)).await
    }
}

/// The device's process, and what a node asks of it.
#[derive(Clone)]
pub(super) struct DeviceHost(Deployment);

impl DeviceHost {
    pub(super) async fn run(self) -> turmoil::Result {
        let (handle, _reports) = self.start();
        handle.input(DeviceInput::PoweredOn).await?;
        let mut served = 0_u32;
        loop {
            sleep(Duration::from_millis(170)).await;
            let state = |device: &mut Device, _| device.state_names();
            match handle.call("status", state).await? {
                ("Clean", "Idle") => {
                    let Objects { manifest, deployment, .. } = &self.0.0.objects;
                    let (manifest, deployment) = (manifest.clone(), deployment.clone());
                    handle.input(DeviceInput::Acquire { manifest, deployment }).await?;
                }
                ("Clean", "Serving") => {
                    served += 1;
                    use_once(&handle).await?;
                    if served.is_multiple_of(25) {
                        handle.input(DeviceInput::HostRead).await?;
                    }
                }
                _ => {}
            }
        }
    }

    fn start(
        &self,
    ) -> (
        Handle<Device>,
        tokio::sync::mpsc::UnboundedReceiver<split_custody_runtime::driver::Observed>,
    ) {
        let shared = &self.0.0;
        let suite = SharedSuite::new(ByteSuite::new());
        let leaf = LeafSlot::default();
        let backend = Backend {
            attester: shared.ring.attester(),
            suite: suite.clone(),
            deployment: self.0.clone(),
        };
        let deployment = self.0.clone();
        let make = Box::new(move || deployment.client());
        let backend = PlantLeaf { inner: backend, slot: leaf.clone(), make };
        let (observer, reports) = unbounded_channel();
        let inner = Arc::new(Connector { dialer: Dialling, leaf, limits: limits() });
        let driver = Config {
            clock: SimClock,
            effects: DeviceDesk::start(backend),
            connect: Some(Arc::new(Heard { inner, witness: self.0.witness() })),
            limits: limits(),
            recorder: self.0.recorder("device"),
            observer,
        };
        let machine = Device::new(device_config(&shared.setup, &shared.ring));
        (spawn(machine, suite, driver).0, reports)
    }
}

async fn use_once(handle: &Handle<Device>) -> turmoil::Result {
    let admit = |device: &mut Device, now| device.admit(now);
    if let Ok(admission) = handle.call("admit", admit).await? {
        sleep(Duration::from_millis(3)).await;
        leave(handle, admission).await?;
    }
    Ok(())
}

async fn leave(handle: &Handle<Device>, admission: Admission) -> turmoil::Result {
    let leaves = move |device: &mut Device, now| device.release_output(now, &admission);
    // Refused where the lease was lost in the meantime.
    let _ = handle.call("release-output", leaves).await?;
    Ok(())
}

/// A device whose memory is its suite; it loads by comparing keys.
struct Backend {
    attester: SoftwareAttester,
    suite: SharedSuite<ByteSuite>,
    deployment: Deployment,
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
                let ours = self.deployment.0.ring.dek.expose();
                match self.suite.lend(|suite| suite.with_dek(dek, |key| key == ours)) {
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
                DeviceAnswer::Planted(Incarnation::new(*Dek::generate().expose()))
            }
        }
    }
}

/// Owner and operators: provision and activate each custodian, and revoke when the time has come.
pub(super) struct OperatorHost {
    deployment: Deployment,
    revokes_at: Option<Duration>,
}

impl OperatorHost {
    pub(super) async fn run(self) -> turmoil::Result {
        let ids: Vec<u8> = self.deployment.0.disks.keys().copied().collect();
        for id in &ids {
            while !matches!(self.provision(*id).await, Some(Message::Activated(_))) {
                sleep(PAUSE).await;
            }
        }
        let Some(at) = self.revokes_at else { return Ok(()) };
        while turmoil::sim_elapsed().unwrap_or_default() < at {
            sleep(PAUSE).await;
        }
        for id in &ids {
            while !matches!(self.revoke(*id).await, Some(Message::Acknowledged(_))) {
                sleep(PAUSE).await;
            }
        }
        Ok(())
    }

    async fn provision(&self, id: u8) -> Option<Message> {
        let shared = &self.deployment.0;
        let mut channel = self.open(id).await?;
        ask(&mut channel, shared.objects.provisions[&id].clone()).await?;
        let query = frame_of(Query { deployment: DEPLOYMENT });
        let Message::Status(status) = ask(&mut channel, query).await? else { return None };
        let activation = Activation {
            deployment: DEPLOYMENT,
            custodian: CustodianId::new(id),
            set: SET,
            manifest: status.manifest,
            nonce: status.nonce,
            orders: status.orders,
        };
        let approvals = List::new(vec![self.sign(ObjectKind::Activation, &activation)?])?;
        ask(&mut channel, frame_of(Activate { approvals })).await
    }

    async fn revoke(&self, id: u8) -> Option<Message> {
        let device = self.deployment.0.ring.device(Hardware::Enrolled, Hardware::Enrolled);
        let value = Digest::new(*device.as_bytes());
        let subject = Subject { kind: SubjectKind::Device, value };
        let (verb, serial) = (Verb::Revoke, Serial::new(0));
        let order = Order { deployment: DEPLOYMENT, verb, subject, serial };
        let approvals = List::new(vec![self.sign(ObjectKind::Order, &order)?])?;
        let mut channel = self.open(id).await?;
        ask(&mut channel, frame_of(Submit { approvals })).await
    }

    fn sign<T: minicbor::Encode<()>>(&self, kind: ObjectKind, payload: &T) -> Option<Signed> {
        self.deployment.0.ring.signer(Principal::Operator)?.sign_object(kind, payload).ok()
    }

    async fn open(&self, id: u8) -> Option<Channel> {
        let client = self.deployment.client().ok()?;
        let stream = timeout(PATIENCE, TcpStream::connect((name(id), PORT))).await.ok()?.ok()?;
        client.connect(CustodianId::new(id), stream, &limits()).await.ok()
    }
}

async fn ask(channel: &mut Channel, frame: Vec<u8>) -> Option<Message> {
    let asked = async {
        write_frame(&mut channel.writer, &frame).await.ok()?;
        read_frame(&mut channel.reader, PATIENCE).await.ok()?
    };
    Message::from_frame(&timeout(PATIENCE, asked).await.ok()??).ok()
}

fn limits() -> Limits {
    let short = Duration::from_millis(1200);
    Limits { handshake: short, frame: short, first_frame: short, write: short, ..Limits::default() }
}

const PORT: u16 = 7000;
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
