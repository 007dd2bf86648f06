//! TLS as this protocol uses it: version, certificates, ALPN, and everything switched off. [HS-1]

use std::sync::Arc;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion, RootCertStore, ServerConfig};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::LeafKey;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::pki::{Identity, SpkiDigest, custodian_name};
use crate::transport::verifier::NodeChain;
use crate::transport::{Channel, Limits, Stream, TransportError};

/// The application protocol; a channel that does not name it is closed. [HS-1]
pub const ALPN: &[u8] = b"split-custody/1";
/// The exporter's label. [HS-2]
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-split-custody-v1";
/// The label under which both ends export a connection's name for their event logs.
pub(crate) const NAME_LABEL: &[u8] = b"EXPORTER-split-custody-event-log-v1";

/// The custodian's end.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    own_leaf: LeafKey,
}

impl ServerTls {
    /// Accepts chains of exactly leaf and node issuer that end at one of `deployment_cas`.
    pub fn new(
        identity: Identity,
        deployment_cas: &[CertificateDer<'static>],
    ) -> Result<Self, TransportError> {
        let own_leaf = leaf_of(&identity)?;
        let roots = roots(deployment_cas)?;
        let inner = WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
        let certified = CertifiedKey::new(identity.chain, identity.key);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(NodeChain::new(inner)))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // Nothing to resume with, and nothing early to replay. [HS-1]
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.max_early_data_size = 0;
        Ok(Self { config: Arc::new(config), own_leaf })
    }

    /// One handshake, bounded in time.
    pub async fn accept(
        &self,
        stream: impl Stream,
        limits: &Limits,
    ) -> Result<Channel, TransportError> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.config));
        let stream = timeout(limits.handshake, acceptor.accept(stream))
            .await
            .map_err(|_| TransportError::HandshakeTimeout)??;
        established(stream.into(), self.own_leaf, None)
    }
}

/// The device's end, for one incarnation's leaf.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    own_leaf: LeafKey,
}

impl ClientTls {
    /// Accepts a chain that ends at one of `custodian_roots` and names the dialled custodian.
    pub fn new(
        identity: Identity,
        custodian_roots: &[CertificateDer<'static>],
    ) -> Result<Self, TransportError> {
        let own_leaf = leaf_of(&identity)?;
        let roots = roots(custodian_roots)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build()?;
        let certified = CertifiedKey::new(identity.chain, identity.key);
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_webpki_verifier(verifier)
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::disabled(); // [HS-1]
        config.enable_early_data = false;
        Ok(Self { config: Arc::new(config), own_leaf })
    }

    /// One handshake with this custodian, bounded in time.
    pub async fn connect(
        &self,
        custodian: CustodianId,
        stream: impl Stream,
        limits: &Limits,
    ) -> Result<Channel, TransportError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let handshake = connector.connect(custodian_name(custodian), stream);
        let stream = timeout(limits.handshake, handshake)
            .await
            .map_err(|_| TransportError::HandshakeTimeout)??;
        established(stream.into(), self.own_leaf, Some(custodian))
    }

    /// The SPKI digest of this end's leaf.
    pub const fn own_leaf(&self) -> LeafKey {
        self.own_leaf
    }
}

/// What both ends check once the library is content.
fn established(
    stream: TlsStream<impl Stream>,
    own_leaf: LeafKey,
    custodian: Option<CustodianId>,
) -> Result<Channel, TransportError> {
    let (_, state) = stream.get_ref();
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TransportError::WrongAlpn); // [HS-1]
    }
    let full = matches!(
        state.handshake_kind(),
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
    );
    if !full || state.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(TransportError::NotFullHandshake); // [HS-1]
    }
    let chain = state.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(SpkiDigest::spki_digest).collect::<Result<Vec<LeafKey>, _>>()?;
    let peer_leaf = *chain.first().ok_or(TransportError::NoCertificate)?;
    Ok(Channel::over_tls(stream, custodian, own_leaf, peer_leaf, chain))
}

fn leaf_of(identity: &Identity) -> Result<LeafKey, TransportError> {
    let leaf = identity.chain.first().ok_or(TransportError::NoCertificate)?;
    Ok(leaf.spki_digest()?)
}

fn roots(certificates: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, TransportError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone())?;
    }
    Ok(Arc::new(roots))
}

/// Named explicitly: no process-wide default decides what this protocol runs on.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
