//! What opens a channel and what does not. Chapter 20: HS-1, HS-2, HS-19.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind, ServerConfig};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::Digest;
use split_custody_runtime::pki::{NodeIssuer, SpkiDigest};
use split_custody_runtime::transport::{
    Channel, Connect, Connector, LeafSlot, Limits, TcpAcceptor, TcpDialer, TransportError, serve,
};
use support::{
    CUSTODIAN, Deployment, behind_leaf, device_identity, last_year, limits, meet, meet_raw,
    our_alpn, provider, week,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

const CONTEXT: Digest = Digest::new([1; 32]);

#[tokio::test]
async fn hs_1_two_verified_ends_open_a_channel() {
    let deployment = Deployment::new();
    let (server, client) = (deployment.server(), deployment.client());
    let (at_custodian, at_device) = meet(&server, &client).await;
    let (at_custodian, at_device) = (at_custodian.expect("opened"), at_device.expect("opened"));

    assert_eq!(at_device.own_leaf, at_custodian.peer_leaf);
    assert_eq!(at_custodian.own_leaf, at_device.peer_leaf);
    assert_eq!(at_device.custodian, Some(CUSTODIAN));
    let issuer = deployment.node.spki().expect("a key");
    assert_eq!(at_custodian.chain, [at_device.own_leaf, issuer]);
}

#[tokio::test]
async fn hs_1_tls_1_2_is_refused() {
    let deployment = Deployment::new();
    let identity = device_identity(&deployment.node, week());
    let client = deployment.raw_client(Some(identity), &[&TLS12], our_alpn());
    let (refused, failed) = meet_raw(&deployment.server(), client).await;
    assert!(matches!(refused, Err(TransportError::Io(_))), "{refused:?}");
    assert!(failed.is_err());
}

#[tokio::test]
async fn hs_1_client_of_another_deployment_is_refused() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    let client = deployment.client_with(device_identity(&other.node, week()));
    let (refused, _) = meet(&deployment.server(), &client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_client_without_certificate_is_refused() {
    let deployment = Deployment::new();
    let client = deployment.raw_client(None, &[&TLS13], our_alpn());
    let (refused, _) = meet_raw(&deployment.server(), client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_expired_client_certificate_is_refused() {
    let deployment = Deployment::new();
    let client = deployment.client_with(device_identity(&deployment.node, last_year()));
    let (refused, _) = meet(&deployment.server(), &client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_custodian_certificate_is_no_client_certificate() {
    let deployment = Deployment::new();
    let (identity, _) = deployment.root.issue(CUSTODIAN).expect("a leaf");
    let (refused, _) = meet(&deployment.server(), &deployment.client_with(identity)).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_channel_without_alpn_is_refused() {
    let deployment = Deployment::new();
    let identity = device_identity(&deployment.node, week());
    let client = deployment.raw_client(Some(identity), &[&TLS13], None);
    let (refused, _) = meet_raw(&deployment.server(), client).await;
    assert!(matches!(refused, Err(TransportError::WrongAlpn)), "{refused:?}");
}

#[tokio::test]
async fn hs_1_channel_for_another_protocol_is_refused() {
    let deployment = Deployment::new();
    let identity = device_identity(&deployment.node, week());
    let client = deployment.raw_client(Some(identity), &[&TLS13], Some(b"h2"));
    let (refused, failed) = meet_raw(&deployment.server(), client).await;
    assert!(refused.is_err() && failed.is_err());
}

#[tokio::test]
async fn hs_1_custodian_that_names_no_protocol_is_refused() {
    let deployment = Deployment::new();
    let (identity, _) = deployment.root.issue(CUSTODIAN).expect("a leaf");
    let certified = CertifiedKey::new(identity.chain, identity.key);
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let (near, far) = tokio::io::duplex(64 * 1024);
    let (client, limits) = (deployment.client(), limits());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (_, refused) = tokio::join!(acceptor.accept(far), client.connect(CUSTODIAN, near, &limits));
    assert!(matches!(refused, Err(TransportError::WrongAlpn)), "{refused:?}");
}

#[tokio::test]
async fn hs_1_custodian_of_another_root_is_refused() {
    let (deployment, other) = (Deployment::new(), Deployment::new());
    let (identity, _) = other.root.issue(CUSTODIAN).expect("a leaf");
    let (_, refused) = meet(&deployment.server_with(identity), &deployment.client()).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_custodian_under_another_id_is_refused() {
    let deployment = Deployment::new();
    let (identity, _) = deployment.root.issue(CustodianId::new(2)).expect("a leaf");
    let (_, refused) = meet(&deployment.server_with(identity), &deployment.client()).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_device_leaf_is_no_server_certificate() {
    let deployment = Deployment::new();
    let identity = device_identity(&deployment.node, week());
    let server = deployment.server_with(identity.clone());
    let roots = [deployment.ca.certificate().clone()];
    let client =
        split_custody_runtime::transport::ClientTls::new(identity, &roots).expect("a client");
    let (_, refused) = meet(&server, &client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_1_second_handshake_is_full_too() {
    let deployment = Deployment::new();
    let server = deployment.server();
    let identity = device_identity(&deployment.node, week());
    let config = deployment.raw_client(Some(identity), &[&TLS13], our_alpn());
    let mut willing = ClientConfig::clone(&config);
    willing.resumption = Resumption::in_memory_sessions(8);
    willing.enable_early_data = true;
    let willing = Arc::new(willing);

    let first = handshake_kind(&server, &willing).await;
    let second = handshake_kind(&server, &willing).await;
    assert_eq!((first, second), (HandshakeKind::Full, HandshakeKind::Full));
}

#[tokio::test]
async fn hs_19_issuer_that_signed_nothing_does_not_travel_along() {
    let deployment = Deployment::new();
    let enrolled = deployment.ca.issue_node("node-b").expect("an issuer");
    let identity = device_identity(&deployment.node, week());
    let both = [deployment.node.certificate(), enrolled.certificate()];
    let client = deployment.client_with(behind_leaf(identity, &both));
    let (refused, _) = meet(&deployment.server(), &client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_19_leaf_of_the_root_itself_is_refused() {
    let deployment = Deployment::new();
    let (ca, key) = (deployment.ca.certificate().clone(), deployment.ca.key_pem());
    let root_as_issuer = NodeIssuer::from_pem(ca, &key).expect("an issuer");
    let identity = device_identity(&root_as_issuer, week());
    let passenger = behind_leaf(identity, &[deployment.node.certificate()]);
    let (refused, _) = meet(&deployment.server(), &deployment.client_with(passenger)).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_19_node_issuer_cannot_make_issuers() {
    let deployment = Deployment::new();
    let (certificate, key) = (deployment.node.certificate().clone(), deployment.node.key_pem());
    let as_ca =
        split_custody_runtime::pki::DeploymentCa::from_pem(certificate, &key).expect("a CA");
    let below = as_ca.issue_node("node-c").expect("an issuer");
    let identity = device_identity(&below, week());
    let chain = [below.certificate(), deployment.node.certificate()];
    let client = deployment.client_with(behind_leaf(identity, &chain));
    let (refused, _) = meet(&deployment.server(), &client).await;
    assert_certificate_refused(refused);
}

#[tokio::test]
async fn hs_2_exporter_is_equal_at_both_ends_and_nowhere_else() {
    let deployment = Deployment::new();
    let (server, client) = (deployment.server(), deployment.client());
    let (at_custodian, at_device) = meet(&server, &client).await;
    let (at_custodian, at_device) = (at_custodian.expect("opened"), at_device.expect("opened"));
    let (_, elsewhere) = meet(&server, &client).await;
    let elsewhere = elsewhere.expect("opened");

    let exported = export(&at_device, &CONTEXT);
    assert_eq!(exported, export(&at_custodian, &CONTEXT));
    assert_ne!(exported, export(&at_device, &Digest::new([2; 32])), "another context");
    assert_ne!(exported, export(&elsewhere, &CONTEXT), "another connection");
}

/// The other end is TLS alone, with the words of the chapter and without this crate's.
#[tokio::test]
async fn hs_2_exporter_is_the_known_answer_of_the_chapter() {
    let chapter = include_str!("../../../spec/20-handshake.md");
    assert!(chapter.contains("the label `EXPORTER-split-custody-v1`"));
    let deployment = Deployment::new();
    let identity = device_identity(&deployment.node, week());
    let client = deployment.raw_client(Some(identity), &[&TLS13], our_alpn());
    let (custodian, device) = meet_raw(&deployment.server(), client).await;
    let (custodian, device) = (custodian.expect("opened"), device.expect("opened"));
    let known = |label: &[u8], context: Option<&[u8]>| {
        device.get_ref().1.export_keying_material([0; 32], label, context).expect("exported")
    };
    let answer = known(b"EXPORTER-split-custody-v1", Some(&[1; 32]));
    assert_eq!(export(&custodian, &CONTEXT), answer);
    assert_ne!(answer, known(b"EXPORTER-split-custody-v1", None), "no context");
    assert_ne!(answer, known(b"EXPORTER-split-custody-v2", Some(&[1; 32])), "another label");
}

#[tokio::test]
async fn aud_1_a_connection_has_one_name_that_tells_nothing_of_its_exporter() {
    let deployment = Deployment::new();
    let (server, client) = (deployment.server(), deployment.client());
    let (at_custodian, at_device) = meet(&server, &client).await;
    let (at_custodian, at_device) = (at_custodian.expect("opened"), at_device.expect("opened"));
    let (_, elsewhere) = meet(&server, &client).await;

    let name = |channel: &Channel| *channel.exporter.name().expect("a name").as_bytes();
    assert_eq!(name(&at_device), name(&at_custodian));
    assert_ne!(name(&at_device), name(&elsewhere.expect("opened")));
    assert_ne!(name(&at_device), export(&at_device, &CONTEXT));
}

#[tokio::test]
async fn hs_1_plain_bytes_on_the_port_are_refused() {
    let (address, mut news) = listening(limits()).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(b"GET / HTTP/1.1\r\nHost: custodian\r\n\r\n").await.expect("written");
    let refused = within(news.recv()).await.expect("news");
    assert!(matches!(refused, Err(TransportError::Io(_))), "{refused:?}");
    within(read_to_end(&mut stream)).await;
}

#[tokio::test]
async fn hs_1_silence_on_the_port_is_ended_within_the_bound() {
    let limits = Limits { handshake: Duration::from_millis(200), ..limits() };
    let (address, mut news) = listening(limits).await;
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let refused = within(news.recv()).await.expect("news");
    assert!(matches!(refused, Err(TransportError::HandshakeTimeout)), "{refused:?}");
    within(read_to_end(&mut stream)).await;
    assert!(begun.elapsed() >= Duration::from_millis(190));
}

#[tokio::test]
async fn hs_1_channels_of_one_issuer_are_capped_until_one_ends() {
    let deployment = Deployment::new();
    let limits = Limits { per_issuer: 1, ..limits() };
    let (address, mut news) = listening_as(&deployment, limits).await;
    let connector = connector(&deployment, address);

    let first = within(Arc::clone(&connector).connect(CUSTODIAN)).await.expect("opened");
    let held = within(news.recv()).await.expect("news").expect("opened");
    let _second = within(Arc::clone(&connector).connect(CUSTODIAN)).await;
    let refused = within(news.recv()).await.expect("news");
    assert!(matches!(refused, Err(TransportError::TooManyOfIssuer)), "{refused:?}");

    drop((first, held));
    let _third = within(connector.connect(CUSTODIAN)).await.expect("opened");
    within(news.recv()).await.expect("news").expect("opened");
}

#[tokio::test]
async fn rst_10_no_channel_is_opened_without_a_leaf() {
    let deployment = Deployment::new();
    let (address, _news) = listening_as(&deployment, limits()).await;
    let connector = connector(&deployment, address);
    connector.leaf.zeroise();
    let refused = within(connector.connect(CUSTODIAN)).await;
    assert!(matches!(refused, Err(TransportError::NoLeaf)), "{refused:?}");
}

#[test]
fn hs_8_leaf_takes_no_chain_of_another_key() {
    let deployment = Deployment::new();
    let leaf = split_custody_runtime::pki::DeviceLeaf::generate().expect("a key");
    let other = device_identity(&deployment.node, week());
    assert_ne!(other.chain[0].spki_digest().expect("a key"), leaf.spki());
    assert!(leaf.with_chain(other.chain).is_err());
}

async fn handshake_kind(
    server: &split_custody_runtime::transport::ServerTls,
    client: &Arc<ClientConfig>,
) -> HandshakeKind {
    let (accepted, connected) = meet_raw(server, Arc::clone(client)).await;
    let (mut custodian, mut device) = (accepted.expect("opened"), connected.expect("opened"));
    // Tickets, were there any, come with the first bytes.
    custodian.writer.write_all(b"x").await.expect("written");
    custodian.writer.flush().await.expect("flushed");
    assert_eq!(device.read_u8().await.expect("read"), b'x');
    device.get_ref().1.handshake_kind().expect("a handshake")
}

fn export(channel: &Channel, context: &Digest) -> [u8; 32] {
    *channel.exporter.export(context).expect("exported").as_bytes()
}

fn assert_certificate_refused(result: Result<Channel, TransportError>) {
    let text = match &result {
        Err(TransportError::Io(error)) => error.to_string(),
        other => panic!("a refused certificate expected, not {other:?}"),
    };
    assert!(text.contains("certificate"), "{text}");
}

type News = mpsc::UnboundedReceiver<Result<Channel, TransportError>>;

async fn listening(limits: Limits) -> (SocketAddr, News) {
    listening_as(&Deployment::new(), limits).await
}

async fn listening_as(deployment: &Deployment, limits: Limits) -> (SocketAddr, News) {
    let acceptor = TcpAcceptor::bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let address = acceptor.local_addr().expect("an address");
    let (sender, news) = mpsc::unbounded_channel();
    let failures = sender.clone();
    let opened = move |channel| {
        let _ = sender.send(Ok(channel));
        std::future::ready(())
    };
    let failed = move |error| drop(failures.send(Err(error)));
    tokio::spawn(serve(acceptor, deployment.server(), limits, opened, failed));
    (address, news)
}

fn connector(deployment: &Deployment, address: SocketAddr) -> Arc<Connector<TcpDialer>> {
    let leaf = LeafSlot::default();
    leaf.plant(deployment.client());
    let dialer = TcpDialer([(CUSTODIAN, address)].into());
    Arc::new(Connector { dialer, leaf, limits: limits() })
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(10), wait).await.expect("within ten seconds")
}

/// An alert and an end, or a reset: the connection is over.
async fn read_to_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.len() < 64, "nothing but an alert");
}
