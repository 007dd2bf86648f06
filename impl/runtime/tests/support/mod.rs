//! A small deployment for tests: one CA, one node, one custodian root.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use split_custody_protocol::ids::CustodianId;
use split_custody_runtime::pki::{
    CustodianRoot, DeploymentCa, DeviceLeaf, Identity, NodeIssuer, Validity,
};
use split_custody_runtime::transport::{
    ALPN, Channel, ClientTls, Limits, ServerTls, TransportError,
};
use tokio::io::DuplexStream;

pub const CUSTODIAN: CustodianId = CustodianId::new(1);

pub struct Deployment {
    pub ca: DeploymentCa,
    pub node: NodeIssuer,
    pub root: CustodianRoot,
}

impl Deployment {
    pub fn new() -> Self {
        let ca = DeploymentCa::generate("test").expect("a CA");
        let node = ca.issue_node("node-a").expect("an issuer");
        Self { ca, node, root: CustodianRoot::generate("test").expect("a root") }
    }

    pub fn server(&self) -> ServerTls {
        let (identity, _) = self.root.issue(CUSTODIAN).expect("a leaf");
        self.server_with(identity)
    }

    pub fn server_with(&self, identity: Identity) -> ServerTls {
        ServerTls::new(identity, &[self.ca.certificate().clone()]).expect("a server")
    }

    pub fn client(&self) -> ClientTls {
        self.client_with(device_identity(&self.node, week()))
    }

    pub fn client_with(&self, identity: Identity) -> ClientTls {
        ClientTls::new(identity, &[self.root.certificate().clone()]).expect("a client")
    }

    /// A client whose every setting a test may get wrong.
    pub fn raw_client(
        &self,
        identity: Option<Identity>,
        versions: &[&'static SupportedProtocolVersion],
        alpn: Option<&[u8]>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.certificate().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder.with_client_cert_resolver(Arc::new(
                SingleCertAndKey::from(CertifiedKey::new(chain, key)),
            )),
        };
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        Arc::new(config)
    }
}

pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

pub fn our_alpn() -> Option<&'static [u8]> {
    Some(ALPN)
}

pub fn week() -> Validity {
    Validity::starting_now(Duration::from_secs(7 * 86_400))
}

pub fn last_year() -> Validity {
    let then = SystemTime::now() - Duration::from_secs(365 * 86_400);
    Validity { not_before: then, not_after: then + Duration::from_secs(86_400) }
}

pub fn device_identity(node: &NodeIssuer, validity: Validity) -> Identity {
    let leaf = DeviceLeaf::generate().expect("a key");
    let request = leaf.request().expect("a request");
    let chain = node.certify(&request, validity).expect("a chain");
    leaf.with_chain(chain).expect("an identity")
}

/// The leaf's chain with other certificates behind the leaf.
pub fn behind_leaf(identity: Identity, rest: &[&CertificateDer<'static>]) -> Identity {
    let leaf = identity.chain[0].clone();
    let chain = [leaf].into_iter().chain(rest.iter().map(|c| (*c).clone())).collect();
    Identity { chain, ..identity }
}

pub fn limits() -> Limits {
    Limits { handshake: Duration::from_secs(3), ..Limits::default() }
}

pub type Met = Result<Channel, TransportError>;

/// Both ends of one handshake, without a network.
pub async fn meet(server: &ServerTls, client: &ClientTls) -> (Met, Met) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let limits = limits();
    tokio::join!(server.accept(far, &limits), client.connect(CUSTODIAN, near, &limits))
}

/// The server's end against a client made by a test; the client's stream is kept until both ended.
pub async fn meet_raw(
    server: &ServerTls,
    client: Arc<ClientConfig>,
) -> (Met, std::io::Result<tokio_rustls::client::TlsStream<DuplexStream>>) {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let limits = limits();
    let name = split_custody_runtime::pki::custodian_name(CUSTODIAN);
    let connector = tokio_rustls::TlsConnector::from(client);
    tokio::join!(server.accept(far, &limits), connector.connect(name, near))
}
