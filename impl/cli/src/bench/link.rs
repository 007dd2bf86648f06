//! Both ends of a channel, as the runtime opens them, with keys made for this run.

use std::time::Duration;

use split_custody_protocol::ids::CustodianId;
use split_custody_runtime::pki::{CustodianRoot, DeploymentCa, DeviceLeaf, Validity};
use split_custody_runtime::transport::{ClientTls, Limits, ServerTls};

use crate::failure::Failure;

/// Both ends' keys and certificates, made for this run.
pub struct Ends {
    pub server: ServerTls,
    pub client: ClientTls,
}

impl Ends {
    pub fn new() -> Result<Self, Failure> {
        let ca = DeploymentCa::generate("bench")?;
        let root = CustodianRoot::generate("bench")?;
        let leaf = DeviceLeaf::generate()?;
        let day = Validity::starting_now(Duration::from_secs(86_400));
        let chain = ca.issue_node("bench")?.certify(&leaf.request()?, day)?;
        let (identity, _) = root.issue(CUSTODIAN)?;
        Ok(Self {
            server: ServerTls::new(identity, &[ca.certificate().clone()])?,
            client: ClientTls::new(leaf.with_chain(chain)?, &[root.certificate().clone()])?,
        })
    }

    /// One full handshake, both ends on this thread, without a network.
    pub async fn shake_hands(&self) -> Result<(), Failure> {
        let (near, far) = tokio::io::duplex(64 << 10);
        let limits = Limits::default();
        let (server, client) = tokio::join!(
            self.server.accept(far, &limits),
            self.client.connect(CUSTODIAN, near, &limits)
        );
        server?;
        client?;
        Ok(())
    }
}

/// The custodian at the other end.
pub const CUSTODIAN: CustodianId = CustodianId::new(1);
