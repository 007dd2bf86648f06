//! Peers that do not speak the protocol, offered to a running custodian. It refuses each, says why
//! in one line, and goes on serving.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{Deployment, good, json, refused};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion};
use split_custody_protocol::ids::{CustodianId, DeploymentId};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::standing::Query;
use split_custody_runtime::pki::{
    DeploymentCa, DeviceLeaf, Identity, NodeIssuer, Validity, custodian_name, read_certificates,
};
use split_custody_runtime::transport::{Channel, ClientTls, Limits, read_frame};
use tokio::io::AsyncWriteExt;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn address(deployment: &Deployment) -> SocketAddr {
    deployment.addresses[0].split_once('=').unwrap().1.parse().unwrap()
}

fn issuer(deployment: &Deployment) -> NodeIssuer {
    let folder = deployment.path().join("keys/operators");
    let certificate = read_certificates(&folder.join("issuer.pem")).unwrap().remove(0);
    let key = std::fs::read_to_string(folder.join("issuer.key")).unwrap();
    NodeIssuer::from_pem(certificate, &key).unwrap()
}

fn identity(issuer: &NodeIssuer, validity: Validity) -> Identity {
    let leaf = DeviceLeaf::generate().unwrap();
    let chain = issuer.certify(&leaf.request().unwrap(), validity).unwrap();
    leaf.with_chain(chain).unwrap()
}

fn roots(folder: &Path) -> Vec<CertificateDer<'static>> {
    read_certificates(&folder.join("keys/operators/root.pem")).unwrap()
}

fn an_hour() -> Validity {
    Validity::starting_now(Duration::from_secs(3600))
}

/// Opens a channel and waits for its first frame or its end.
fn first_answer(deployment: &Deployment, identity: Identity, sent: &[u8]) -> Option<Message> {
    let tls = ClientTls::new(identity, &roots(deployment.path())).unwrap();
    runtime().block_on(async {
        let stream = tokio::net::TcpStream::connect(address(deployment)).await.unwrap();
        let mut channel: Channel =
            tls.connect(CustodianId::new(1), stream, &Limits::default()).await.ok()?;
        channel.writer.write_all(sent).await.ok()?;
        channel.writer.flush().await.ok()?;
        let frame = read_frame(&mut channel.reader, Duration::from_secs(5)).await.ok()??;
        Message::from_frame(&frame).ok()
    })
}

fn query(deployment: &Deployment) -> Vec<u8> {
    let about = std::fs::read(deployment.path().join("keys/operators/deployment.json")).unwrap();
    let about: serde_json::Value = serde_json::from_slice(&about).unwrap();
    let text = about["deployment"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    let id = DeploymentId::new(std::array::from_fn(byte));
    Message::from(Query { deployment: id }).to_frame()
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(frame);
    bytes
}

/// An honest question is answered, whatever happened before.
fn still_serves(deployment: &Deployment) {
    let honest = identity(&issuer(deployment), an_hour());
    let answer = first_answer(deployment, honest, &framed(&query(deployment)));
    assert!(matches!(answer, Some(Message::Status(_))), "{answer:?}");
}

/// The custodian's log says this, in one line of its own.
fn says(deployment: &Deployment, part: &str) {
    let line = deployment.custodians[0].line_with(part);
    assert!(line.starts_with("custodian 1: "), "{line}");
}

#[test]
fn hs_1_peers_that_are_not_of_this_deployment_get_no_channel() {
    let deployment = Deployment::custodians();
    still_serves(&deployment);

    let stranger = DeploymentCa::generate("stranger").unwrap().issue_node("stranger").unwrap();
    assert!(
        first_answer(&deployment, identity(&stranger, an_hour()), &framed(&query(&deployment)))
            .is_none()
    );
    says(&deployment, "UnknownIssuer");

    let (now, hour) = (SystemTime::now(), Duration::from_secs(3600));
    let past = Validity { not_before: now - 2 * hour, not_after: now - hour };
    let expired = identity(&issuer(&deployment), past);
    assert!(first_answer(&deployment, expired, &framed(&query(&deployment))).is_none());
    says(&deployment, "xpired");

    plain_tcp(&deployment);
    tls_1_2(&deployment);
    still_serves(&deployment);
}

fn plain_tcp(deployment: &Deployment) {
    let mut stream = TcpStream::connect(address(deployment)).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: custodian\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut answer = Vec::new();
    // Closed, at most with an alert; never an answer in the clear.
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    says(deployment, "received corrupt message");
}

fn tls_1_2(deployment: &Deployment) {
    assert!(shake_hands(deployment, &rustls::version::TLS12).is_err());
    says(deployment, "connection refused");
}

/// A handshake of this version without a client certificate.
fn shake_hands(
    deployment: &Deployment,
    version: &'static SupportedProtocolVersion,
) -> Result<(), String> {
    let mut trusted = RootCertStore::empty();
    roots(deployment.path()).into_iter().for_each(|root| trusted.add(root).unwrap());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(trusted)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"split-custody/1".to_vec()];
    let name = custodian_name(CustodianId::new(1));
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(address(deployment)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn wire_1_and_2_messages_that_break_the_codec_are_refused() {
    let deployment = Deployment::custodians();
    let ask =
        |bytes: &[u8]| first_answer(&deployment, identity(&issuer(&deployment), an_hour()), bytes);

    // Longer than any frame: the channel is closed before any body is read.
    assert!(ask(&[0x7f, 0xff, 0xff, 0xff]).is_none());

    // The same value with an integer in a longer form, a byte more, and an unknown type.
    let frame = query(&deployment);
    let mut long_form = vec![0x83, 0x18, 0x01];
    long_form.extend_from_slice(&frame[2..]);
    let mut trailing = frame.clone();
    trailing.push(0);
    let unknown = [0x83, 0x01, 0x18, 99, 0xa0];
    for bad in [&long_form[..], &trailing, &unknown] {
        let answer = ask(&framed(bad));
        assert!(matches!(answer, Some(Message::Refused(_))), "{answer:?}");
    }
    says(&deployment, "not the one encoding of its value [WIRE-2]");
    says(&deployment, "unknown message type [WIRE-3]");
    still_serves(&deployment);
}

#[test]
fn port_and_store_that_are_taken_are_refused() {
    let deployment = Deployment::custodians();
    let taken = address(&deployment).to_string();
    let folder = deployment.path();
    good(&common::custody(folder, &["keygen", "more"]));
    let listen = ["custodian", "--dir", "more/custodian-1", "--listen", &taken];
    refused(&common::custody(folder, &listen), &[&taken, "cannot listen", "in use"]);
    let twice = ["custodian", "--dir", "keys/custodian-1"];
    refused(&common::custody(folder, &twice), &["store.sqlite", "another process holds it"]);
    still_serves(&deployment);
}

#[test]
fn rel_3_custodian_killed_mid_release_leaves_a_device_that_can_go_on() {
    let mut deployment = Deployment::serving();
    let address = deployment.addresses[2].split_once('=').unwrap().1.to_owned();
    for round in 0..8 {
        let kill = deployment.custodians[2].pid().to_string();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_micros(500 * round));
            std::process::Command::new("kill").args(["-9", &kill]).status().unwrap()
        });
        let output = deployment.load("model.sealed");
        assert!(killer.join().unwrap().success());
        // Two custodians are enough; the third may be left out or not.
        good(&output);
        deployment.custodians[2].end();
        deployment.custodians[2] = deployment.custodian(3, &address);
    }
    // Two killed: the last one cannot do it alone.
    deployment.custodians[1].end();
    deployment.custodians[2].end();
    refused(&deployment.load("model.sealed"), &["have 1 of 2", "custodian 2", "custodian 3"]);
    assert_eq!(deployment.lease()["custody"], "Idle");
    let revoke =
        ["revoke", "--model", "model.sealed", "--keys", "keys", "--everything", "--wait", "--json"];
    let output = deployment.run_with_custodians(&revoke);
    refused(&output, &["not effective: have 1 of 2", "no bound is claimed"]);
    assert!(json(&output)["error"].as_str().unwrap().contains("have 1 of 2"));
}
