//! Receipts: the signed grants that reach this device, kept for auditors. [AUD-8]
//!
//! A receipt is the statement without the sealed share. It is taken from the channel as it is read;
//! whether it is a valid grant is the machine's to say and an auditor's.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::message::Message;
use split_custody_runtime::transport::{Channel, Connect, TransportError};
use tokio::io::{AsyncRead, ReadBuf};

/// Encoded signed statements, in order of arrival.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<Vec<Vec<u8>>>>);

impl Receipts {
    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, receipt: Vec<u8>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // BOUND: a device that runs for ever keeps the last ones.
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push(receipt);
    }
}

/// A way to custodians that reads along.
pub struct Noting {
    pub inner: Arc<dyn Connect>,
    pub receipts: Receipts,
}

impl Connect for Noting {
    fn connect(
        self: Arc<Self>,
        custodian: CustodianId,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + Send>> {
        Box::pin(async move {
            let mut channel = Arc::clone(&self.inner).connect(custodian).await?;
            let nothing: Box<dyn AsyncRead + Send + Unpin> = Box::new(tokio::io::empty());
            let reader = std::mem::replace(&mut channel.reader, nothing);
            let receipts = self.receipts.clone();
            channel.reader = Box::new(Tap { reader, frame: Vec::new(), receipts });
            Ok(channel)
        })
    }
}

struct Tap {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    /// What was read of the frame that is not yet whole.
    frame: Vec<u8>,
    receipts: Receipts,
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = &polled {
            let fresh = buf.filled().get(before..).unwrap_or_default();
            self.frame.extend_from_slice(fresh);
            self.take_frames();
        }
        polled
    }
}

impl Tap {
    fn take_frames(&mut self) {
        while let Some((length, rest)) = self.frame.split_first_chunk() {
            let length = u32::from_be_bytes(*length) as usize;
            if length > Message::CAP {
                // The channel's own reader refuses it and closes.
                self.frame.clear();
                return;
            }
            let Some(frame) = rest.get(..length) else { return };
            if let Ok(Message::Grant(grant)) = Message::from_frame(frame) {
                self.receipts.keep(encode(&grant.statement));
            }
            self.frame.drain(..4 + length);
        }
    }
}

const KEPT: usize = 4096;
