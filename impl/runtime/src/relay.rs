//! The node's relay: carries opaque TLS bytes between its device and the custodians.
//!
//! Chapter 20 (HS-2). A device opens the node's Unix socket and names a custodian by one byte; from
//! then on both directions are copied untouched. The byte 0 asks the node's issuer to certify a
//! leaf key instead. The node is the adversary's machine: nothing depends on it but availability,
//! and [`Harm`] is where tests make it misbehave. [HS-18]

mod certify;
mod copy;
mod harm;

pub use certify::request_certificate;
pub use harm::{Deed, Direction, Faithful, Harm};

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use split_custody_protocol::ids::CustodianId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::pki::NodeIssuer;
use crate::transport::Dialer;

/// A node's relay.
pub struct Relay {
    addresses: BTreeMap<CustodianId, SocketAddr>,
    issuer: Option<NodeIssuer>,
    harm: Arc<dyn Harm>,
}

impl Relay {
    /// Relays faithfully to these custodians; certifies leaves if it has an issuer.
    pub fn new(addresses: BTreeMap<CustodianId, SocketAddr>, issuer: Option<NodeIssuer>) -> Self {
        Self { addresses, issuer, harm: Arc::new(Faithful) }
    }

    /// The same relay, misbehaving.
    #[must_use]
    pub fn with_harm(self, harm: Arc<dyn Harm>) -> Self {
        Self { harm, ..self }
    }

    /// Serves until dropped.
    pub async fn serve(self, listener: UnixListener) {
        let relay = Arc::new(self);
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                // A connection that fails is the device's to notice.
                let _ = relay.carry(stream).await;
                drop(permit);
            });
        }
    }

    async fn carry(&self, mut device: UnixStream) -> io::Result<()> {
        let named = timeout(PATIENCE, device.read_u8()).await??;
        if named == CERTIFY {
            let issuer = self.issuer.as_ref().ok_or(io::ErrorKind::Unsupported)?;
            return timeout(PATIENCE, certify::answer(issuer, device)).await?;
        }
        let custodian = CustodianId::new(named);
        let address = self.addresses.get(&custodian).ok_or(io::ErrorKind::NotFound)?;
        if self.harm.on_open(custodian) == Deed::Cut {
            return Ok(());
        }
        let peer = timeout(PATIENCE, TcpStream::connect(address)).await??;
        peer.set_nodelay(true)?;
        copy::both_ways(device, peer, custodian, &*self.harm).await
    }
}

/// Binds the relay's socket; only its owner may connect.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// The device's way to custodians through its node.
#[derive(Clone, Debug)]
pub struct RelayDialer {
    pub socket: PathBuf,
}

impl Dialer for RelayDialer {
    type Stream = UnixStream;

    async fn dial(&self, custodian: CustodianId) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_u8(custodian.value()).await?;
        Ok(stream)
    }
}

/// Asks for a certificate where a custodian would be named; no custodian has this id.
const CERTIFY: u8 = 0;
const CONNECTIONS: usize = 1024;
const PATIENCE: Duration = Duration::from_secs(5);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
