//! An open channel: two halves, an exporter, and who is at the ends. Chapter 20.

use std::any::Any;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::{Digest, Exporter, LeafKey};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use crate::transport::dial::Retired;
use crate::transport::{EXPORTER_LABEL, NAME_LABEL, Stream};

/// Gives keying material of one handshake. [HS-2]
pub trait Export: Send + Sync {
    /// 32 bytes under this context; `None` fails that exchange.
    fn export(&self, context: &Digest) -> Option<Exporter>;

    /// What names this connection in the event logs of both ends; no message carries it.
    fn name(&self) -> Option<Exporter>;
}

/// Held while a channel lives; its drop makes room for another.
pub type Permit = Box<dyn Any + Send + Sync>;

/// A verified channel, not yet known to a machine.
pub struct Channel {
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    pub writer: Box<dyn AsyncWrite + Send + Unpin>,
    pub exporter: Arc<dyn Export>,
    /// Whom this end dialled; `None` where it was dialled.
    pub custodian: Option<CustodianId>,
    pub own_leaf: LeafKey,
    pub peer_leaf: LeafKey,
    /// SPKI digests of every certificate that the peer presented, leaf first.
    pub chain: Vec<LeafKey>,
    pub permit: Option<Permit>,
    pub(crate) retired: Retired,
}

impl Channel {
    pub(super) fn over_tls(
        stream: TlsStream<impl Stream>,
        custodian: Option<CustodianId>,
        own_leaf: LeafKey,
        peer_leaf: LeafKey,
        chain: Vec<LeafKey>,
    ) -> Self {
        let shared = Shared(Arc::new(Mutex::new(stream)));
        Self {
            reader: Box::new(shared.clone()),
            writer: Box::new(shared.clone()),
            exporter: Arc::new(shared),
            custodian,
            own_leaf,
            peer_leaf,
            chain,
            permit: None,
            retired: Retired::default(),
        }
    }

    /// Whether the leaf that it was opened with has died since. [RST-10]
    pub(crate) fn is_retired(&self) -> bool {
        self.retired.is_set()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("custodian", &self.custodian)
            .field("own_leaf", &self.own_leaf)
            .field("peer_leaf", &self.peer_leaf)
            .finish_non_exhaustive()
    }
}

/// One TLS stream behind a lock that is held for a poll or an export, never across a wait.
struct Shared<T>(Arc<Mutex<TlsStream<T>>>);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Stream> Shared<T> {
    fn poll_with<R>(&self, poll: impl FnOnce(Pin<&mut TlsStream<T>>) -> R) -> R {
        poll(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl<T: Stream> Shared<T> {
    fn export_as(&self, label: &[u8], context: Option<&[u8]>) -> Option<Exporter> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let output = [0; Exporter::SIZE];
        let exported = match &*stream {
            TlsStream::Client(s) => s.get_ref().1.export_keying_material(output, label, context),
            TlsStream::Server(s) => s.get_ref().1.export_keying_material(output, label, context),
        };
        exported.ok().map(Exporter::new)
    }
}

impl<T: Stream> Export for Shared<T> {
    fn export(&self, context: &Digest) -> Option<Exporter> {
        self.export_as(EXPORTER_LABEL, Some(context.as_bytes()))
    }

    fn name(&self) -> Option<Exporter> {
        // Another label, another value: of the protocol's exporter it says nothing.
        self.export_as(NAME_LABEL, None)
    }
}

impl<T: Stream> AsyncRead for Shared<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_with(|stream| stream.poll_read(cx, buf))
    }
}

impl<T: Stream> AsyncWrite for Shared<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_with(|stream| stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|stream| stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_with(|stream| stream.poll_shutdown(cx))
    }
}
