//! Accepting channels, within caps. Chapter 20.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use split_custody_protocol::suite::LeafKey;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use crate::transport::{Channel, Limits, ServerTls, Stream, TransportError};

/// Gives streams that peers opened.
pub trait Listener: Send + 'static {
    type Stream: Stream;

    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// A TCP listener with a backlog that a burst of devices does not overflow.
#[derive(Debug)]
pub struct TcpAcceptor(TcpListener);

impl TcpAcceptor {
    /// Binds; port 0 picks a free one.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        // A full accept queue costs the peer a one-second retransmission.
        Ok(Self(socket.listen(BACKLOG)?))
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Listener for TcpAcceptor {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        // A peer whose host is gone gives its place back within two minutes.
        let keepalive =
            TcpKeepalive::new().with_time(SILENCE).with_interval(PROBES).with_retries(4);
        SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
        Ok(stream)
    }
}

/// Accepts until dropped; hands every verified channel to `opened`, every failure to `failed`.
pub async fn serve<L, O, F>(
    mut listener: L,
    tls: ServerTls,
    limits: Limits,
    opened: impl Fn(Channel) -> O + Clone + Send + Sync + 'static,
    failed: F,
) where
    L: Listener,
    O: Future<Output = ()> + Send,
    F: Fn(TransportError) + Clone + Send + Sync + 'static,
{
    let handshakes = Arc::new(Semaphore::new(limits.handshakes));
    let quota = Arc::new(Quota::new(limits));
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                failed(error.into());
                // Out of descriptors, most likely: let some channels end first.
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            failed(TransportError::TooManyChannels);
            continue;
        };
        let (tls, quota) = (tls.clone(), Arc::clone(&quota));
        let (opened, failed) = (opened.clone(), failed.clone());
        tokio::spawn(async move {
            let accepted = tls.accept(stream, &limits).await;
            drop(permit);
            match accepted.and_then(|channel| quota.admit(channel)) {
                Ok(channel) => opened(channel).await,
                Err(error) => failed(error),
            }
        });
    }
}

/// Counts open channels, in all and by node issuer.
struct Quota {
    limits: Limits,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    all: usize,
    by_issuer: BTreeMap<LeafKey, usize>,
}

impl Quota {
    fn new(limits: Limits) -> Self {
        Self { limits, open: Mutex::default() }
    }

    /// The channel with its place taken, until it is dropped.
    fn admit(self: &Arc<Self>, mut channel: Channel) -> Result<Channel, TransportError> {
        // INVARIANT: a verified chain has two certificates; the leaf stands in were it not so.
        let issuer = *channel.chain.last().unwrap_or(&channel.peer_leaf);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.limits.channels {
            return Err(TransportError::TooManyChannels);
        }
        let of_issuer = open.by_issuer.entry(issuer).or_default();
        if *of_issuer >= self.limits.per_issuer {
            return Err(TransportError::TooManyOfIssuer);
        }
        *of_issuer += 1;
        open.all += 1;
        channel.permit = Some(Box::new(Place { quota: Arc::clone(self), issuer }));
        Ok(channel)
    }
}

/// One channel's place in the quota.
struct Place {
    quota: Arc<Quota>,
    issuer: LeafKey,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.quota.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        if let Some(of_issuer) = open.by_issuer.get_mut(&self.issuer) {
            *of_issuer -= 1;
            if *of_issuer == 0 {
                open.by_issuer.remove(&self.issuer);
            }
        }
    }
}

const BACKLOG: u32 = 4096;
const SILENCE: Duration = Duration::from_secs(60);
const PROBES: Duration = Duration::from_secs(15);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
