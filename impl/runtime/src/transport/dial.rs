//! Opening channels: a stream to a custodian, then TLS over it. Chapter 20.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use split_custody_protocol::ids::CustodianId;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::transport::{Channel, ClientTls, Limits, Stream, TransportError};

/// Reaches a custodian with a byte stream; what lies between is the adversary's.
pub trait Dialer: Send + Sync + 'static {
    type Stream: Stream;

    fn dial(&self, custodian: CustodianId)
    -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// Opens channels for a driver.
pub trait Connect: Send + Sync + 'static {
    fn connect(
        self: Arc<Self>,
        custodian: CustodianId,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + Send>>;
}

/// The leaf of the current incarnation, where there is one. [RST-10]
#[derive(Clone, Debug, Default)]
pub struct LeafSlot(Arc<RwLock<Option<Planted>>>);

#[derive(Clone, Debug)]
struct Planted {
    tls: ClientTls,
    retired: Retired,
}

/// Whether the incarnation that a channel was opened for is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retired(Arc<AtomicBool>);

impl Retired {
    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl LeafSlot {
    /// Begins an incarnation's channels.
    pub fn plant(&self, tls: ClientTls) {
        self.replace(Some(Planted { tls, retired: Retired::default() }));
    }

    /// Drops the leaf. No channel can be opened until another is planted, and one whose handshake
    /// is under way is not used.
    pub fn zeroise(&self) {
        self.replace(None);
    }

    fn replace(&self, next: Option<Planted>) {
        let mut slot = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = std::mem::replace(&mut *slot, next) {
            last.retired.0.store(true, Ordering::Release);
        }
    }

    fn current(&self) -> Option<Planted> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A [`Dialer`] and the leaf to shake hands with.
#[derive(Debug)]
pub struct Connector<D> {
    pub dialer: D,
    pub leaf: LeafSlot,
    pub limits: Limits,
}

impl<D: Dialer> Connect for Connector<D> {
    fn connect(
        self: Arc<Self>,
        custodian: CustodianId,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + Send>> {
        Box::pin(async move {
            let Planted { tls, retired } = self.leaf.current().ok_or(TransportError::NoLeaf)?;
            let stream = timeout(self.limits.handshake, self.dialer.dial(custodian))
                .await
                .map_err(|_| TransportError::HandshakeTimeout)??;
            let channel = tls.connect(custodian, stream, &self.limits).await?;
            Ok(Channel { retired, ..channel })
        })
    }
}

/// Dials custodians at known addresses, without a relay between.
#[derive(Clone, Debug, Default)]
pub struct TcpDialer(pub BTreeMap<CustodianId, SocketAddr>);

impl Dialer for TcpDialer {
    type Stream = TcpStream;

    async fn dial(&self, custodian: CustodianId) -> io::Result<TcpStream> {
        let address = self.0.get(&custodian).ok_or(io::ErrorKind::NotFound)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}
