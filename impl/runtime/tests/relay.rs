//! The node between device and custodian, faithful and not. Chapter 20: HS-2, HS-18.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::Digest;
use split_custody_runtime::pki::DeviceLeaf;
use split_custody_runtime::relay::{
    Deed, Direction, Harm, Relay, RelayDialer, bind, request_certificate,
};
use split_custody_runtime::transport::{
    Channel, Connect, Connector, LeafSlot, Limits, TcpAcceptor, TransportError, read_frame, serve,
    write_frame,
};
use support::{CUSTODIAN, Deployment};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// A custodian's port, a relay before it, and a device's connector through both.
struct Way {
    _folder: TempDir,
    socket: PathBuf,
    accepted: mpsc::UnboundedReceiver<Channel>,
    connector: Arc<Connector<RelayDialer>>,
}

impl Way {
    async fn open(harm: Option<Arc<dyn Harm>>) -> Self {
        let deployment = Deployment::new();
        let folder = TempDir::new().expect("a folder");
        let socket = folder.path().join("node.sock");
        let acceptor =
            TcpAcceptor::bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
        let addresses = [(CUSTODIAN, acceptor.local_addr().expect("an address"))].into();
        let (sender, accepted) = mpsc::unbounded_channel();
        let opened = move |channel| {
            let _ = sender.send(channel);
            std::future::ready(())
        };
        let limits = Limits { handshake: Duration::from_millis(800), ..Limits::default() };
        tokio::spawn(serve(acceptor, deployment.server(), limits, opened, drop));
        let leaf = LeafSlot::default();
        leaf.plant(deployment.client());
        let relay = Relay::new(addresses, Some(deployment.node));
        let relay = match harm {
            Some(harm) => relay.with_harm(harm),
            None => relay,
        };
        tokio::spawn(relay.serve(bind(&socket).expect("bound")));
        let dialer = RelayDialer { socket: socket.clone() };
        let connector = Arc::new(Connector { dialer, leaf, limits });
        Self { _folder: folder, socket, accepted, connector }
    }

    async fn connect(&self, custodian: CustodianId) -> Result<Channel, TransportError> {
        let connecting = Arc::clone(&self.connector).connect(custodian);
        timeout(Duration::from_secs(10), connecting).await.expect("within ten seconds")
    }
}

#[tokio::test]
async fn hs_2_exporter_reaches_through_a_relay() {
    let mut way = Way::open(None).await;
    let mut device = way.connect(CUSTODIAN).await.expect("opened");
    let mut custodian = way.accepted.recv().await.expect("accepted");
    let context = Digest::new([3; 32]);
    let at_device = device.exporter.export(&context).expect("exported");
    let at_custodian = custodian.exporter.export(&context).expect("exported");
    assert_eq!(at_device.as_bytes(), at_custodian.as_bytes());

    let sent = vec![5; 300_000];
    let (written, read) = tokio::join!(
        write_frame(&mut device.writer, &sent),
        read_frame(&mut custodian.reader, Duration::from_secs(5))
    );
    written.expect("written");
    assert_eq!(read.expect("read"), Some(sent));
}

#[tokio::test]
async fn hs_18_custodian_that_the_node_does_not_know_fails_soon() {
    let way = Way::open(None).await;
    assert!(way.connect(CustodianId::new(9)).await.is_err());
}

#[tokio::test]
async fn hs_18_cut_connection_fails_the_dial() {
    let way = Way::open(Some(Arc::new(At(Direction::ToDevice, 0, Deed::CutAfter(100))))).await;
    assert!(matches!(way.connect(CUSTODIAN).await, Err(TransportError::Io(_))));
}

#[tokio::test]
async fn hs_18_dropped_bytes_end_in_the_handshake_bound() {
    let way = Way::open(Some(Arc::new(At(Direction::ToCustodian, 0, Deed::Drop)))).await;
    assert!(matches!(way.connect(CUSTODIAN).await, Err(TransportError::HandshakeTimeout)));
}

#[tokio::test]
async fn hs_18_delayed_bytes_only_delay() {
    let delay = Duration::from_millis(200);
    let harm = At(Direction::ToDevice, 0, Deed::Delay(delay));
    let way = Way::open(Some(Arc::new(harm))).await;
    let begun = Instant::now();
    way.connect(CUSTODIAN).await.expect("opened");
    assert!(begun.elapsed() >= delay);
}

#[tokio::test]
async fn hs_2_changed_bytes_open_nothing() {
    let way = Way::open(Some(Arc::new(FlipOneBit))).await;
    assert!(way.connect(CUSTODIAN).await.is_err());
}

#[tokio::test]
async fn hs_18_connection_refused_by_the_node_fails_the_dial() {
    let way = Way::open(Some(Arc::new(Closed))).await;
    assert!(way.connect(CUSTODIAN).await.is_err());
}

#[tokio::test]
async fn hs_8_node_certifies_the_key_it_is_asked_for() {
    let way = Way::open(None).await;
    let leaf = DeviceLeaf::generate().expect("a key");
    let request = leaf.request().expect("a request");
    let chain = request_certificate(&way.socket, &request).await.expect("a chain");
    assert_eq!(leaf.with_chain(chain).expect("its own").chain.len(), 2);
}

#[tokio::test]
async fn hs_8_request_without_possession_is_not_certified() {
    let way = Way::open(None).await;
    let mut request = DeviceLeaf::generate().expect("a key").request().expect("a request");
    let last = request.last_mut().expect("a byte");
    *last ^= 1;
    assert!(request_certificate(&way.socket, &request).await.is_err());
}

/// One deed, done to the first bytes at or after a place, one way.
struct At(Direction, u64, Deed);

impl Harm for At {
    fn on_bytes(&self, _: CustodianId, way: Direction, before: u64, _: &mut [u8]) -> Deed {
        let Self(direction, place, deed) = self;
        if way == *direction && before == *place { *deed } else { Deed::Pass }
    }
}

struct FlipOneBit;

impl Harm for FlipOneBit {
    fn on_bytes(&self, _: CustodianId, way: Direction, before: u64, bytes: &mut [u8]) -> Deed {
        if way == Direction::ToDevice && before == 0 {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        Deed::Pass
    }
}

struct Closed;

impl Harm for Closed {
    fn on_open(&self, _: CustodianId) -> Deed {
        Deed::Cut
    }

    fn on_bytes(&self, _: CustodianId, _: Direction, _: u64, _: &mut [u8]) -> Deed {
        Deed::Pass
    }
}
