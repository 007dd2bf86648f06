//! The development PKI: who may open a channel, and what a channel's ends are called.
//!
//! Chapter 20. When a chain verifies, the device's leaf was certified by a node issuer of this
//! deployment, and the custodian's leaf names the custodian that was dialled. It does not decide
//! which issuers are enrolled (that is policy), and nothing here is fit for production keys: the
//! authorities lie in files.
//!
//! ```text
//!   deployment CA --> node issuer (clientAuth, no further CA) --> device leaf
//!   custodian root --> custodian leaf (serverAuth, custodian-<id>.split-custody.internal)
//! ```

mod authority;
mod files;
mod leaf;
mod remote;

pub use authority::{CustodianRoot, DeploymentCa, NodeIssuer, Validity};
pub use files::{load_identity, read_certificates, save_identity, write_private};
pub use leaf::{DeviceLeaf, SpkiDigest};
pub use remote::{RemoteSign, remote_identity};

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SigningKey;
use split_custody_protocol::ids::CustodianId;

/// A chain and the key of its leaf: what one end of a channel shows.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Leaf first; the root is never sent.
    pub chain: Vec<CertificateDer<'static>>,
    /// Signs handshakes. [`DeviceLeaf`] keys have no way out of it.
    pub key: Arc<dyn SigningKey>,
}

/// The name that the certificate of this custodian bears.
pub fn custodian_name(custodian: CustodianId) -> ServerName<'static> {
    // INVARIANT: digits and fixed labels are a DNS name.
    ServerName::try_from(custodian_dns(custodian)).expect("a custodian's name is a DNS name")
}

pub(crate) fn custodian_dns(custodian: CustodianId) -> String {
    format!("custodian-{custodian}.split-custody.internal")
}

/// A certificate, key or file of the PKI is not what it should be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PkiError {
    #[error("cannot make a certificate")]
    Certificate(#[from] rcgen::Error),
    #[error("the certificate is not valid DER")]
    Der,
    #[error("the private key is not usable")]
    Key,
    #[error("no randomness")]
    Random,
    #[error("`{path}` {what}")]
    File { path: String, what: &'static str },
    #[error("cannot use `{path}`")]
    Io { path: String, source: std::io::Error },
}
