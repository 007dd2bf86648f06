//! Channels: TLS 1.3 between two leaf keys, and frames in it.
//!
//! Chapter 20 (HS-1, HS-2) and 10 (WIRE-1). When a [`Channel`] exists, both certificates were
//! verified in a full handshake of TLS 1.3 with this protocol's ALPN, and its exporter is that
//! handshake's. It decides nothing about devices or custodians beyond their chains, and decodes no
//! frame.

mod channel;
mod dial;
mod frame;
mod listen;
mod tls;
mod verifier;

pub use channel::{Channel, Export, Permit};
pub use dial::{Connect, Connector, Dialer, LeafSlot, TcpDialer};
pub(crate) use frame::put_frame;
pub use frame::{FrameError, read_frame, write_frame};
pub use listen::{Listener, TcpAcceptor, serve};
pub(crate) use tls::NAME_LABEL;
pub use tls::{ALPN, ClientTls, EXPORTER_LABEL, ServerTls};

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::pki::PkiError;

/// A byte stream under a channel.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// Bounds on what a peer can make this process hold or wait for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the first byte to a verified channel.
    pub handshake: Duration,
    /// From the first byte of a frame to its last.
    pub frame: Duration,
    /// From a channel's opening to its first frame.
    pub first_frame: Duration,
    /// For one write to go through, and for a closing channel to drain.
    pub write: Duration,
    /// Handshakes under way at one time.
    pub handshakes: usize,
    /// Channels open at one time.
    pub channels: usize,
    /// Channels open at one time under one node issuer.
    pub per_issuer: usize,
    /// Frames that wait to be written to one channel.
    pub queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(5),
            frame: Duration::from_secs(10),
            first_frame: Duration::from_secs(15),
            write: Duration::from_secs(10),
            handshakes: 256,
            channels: 4096,
            per_issuer: 512,
            queue: 64,
        }
    }
}

/// A channel did not come to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    #[error("cannot reach the peer")]
    Io(#[from] io::Error),
    #[error("the handshake took too long")]
    HandshakeTimeout,
    #[error("the peer did not agree on `split-custody/1` [HS-1]")]
    WrongAlpn,
    #[error("the handshake was not a full one of TLS 1.3 [HS-1]")]
    NotFullHandshake,
    #[error("the peer showed no certificate [HS-1]")]
    NoCertificate,
    #[error("this end has no leaf: its incarnation is not clean [RST-10]")]
    NoLeaf,
    #[error("too many channels")]
    TooManyChannels,
    #[error("too many channels under this node issuer")]
    TooManyOfIssuer,
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
    #[error("cannot verify chains")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
    #[error("a certificate cannot be read")]
    Pki(#[from] PkiError),
}
