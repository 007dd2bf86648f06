//! The open channels of one driver: a reader and a writer task each.

use std::collections::BTreeMap;
use std::sync::Arc;

use split_custody_protocol::ids::{ChannelId, CustodianId};
use split_custody_protocol::suite::{Digest, Exporter};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::transport::{Channel, Export, FrameError, Limits, Permit, TransportError};
use crate::transport::{put_frame, read_frame};

/// What comes from sockets to the driver, in bounded number.
#[derive(Debug)]
pub(super) enum Arrival {
    Frame(ChannelId, Vec<u8>),
    Closed(ChannelId),
    Dialled(CustodianId, Box<Result<Channel, TransportError>>),
}

/// The channel table.
pub(super) struct Channels {
    open: BTreeMap<ChannelId, Open>,
    last: ChannelId,
    limits: Limits,
    arrivals: mpsc::Sender<Arrival>,
}

struct Open {
    exporter: Arc<dyn Export>,
    writer: mpsc::Sender<Vec<u8>>,
    /// Dropped to tell the reader that nobody listens any more.
    _listening: oneshot::Sender<()>,
}

impl Channels {
    pub(super) fn new(limits: Limits, arrivals: mpsc::Sender<Arrival>) -> Self {
        Self { open: BTreeMap::new(), last: ChannelId::new(0), limits, arrivals }
    }

    /// Starts the channel's tasks and names it. The reader starts to read at once; what it reads
    /// queues behind the input that announces the channel.
    pub(super) fn insert(&mut self, channel: Channel) -> ChannelId {
        self.last = self.last.next();
        let id = self.last;
        let (writer, frames) = mpsc::channel(self.limits.queue);
        let (listening, ended) = oneshot::channel();
        let reader = Reader {
            id,
            limits: self.limits,
            arrivals: self.arrivals.clone(),
            _permit: channel.permit,
        };
        tokio::spawn(reader.run(channel.reader, ended));
        tokio::spawn(write(id, channel.writer, frames, self.limits, self.arrivals.clone()));
        self.open.insert(id, Open { exporter: channel.exporter, writer, _listening: listening });
        id
    }

    pub(super) fn is_open(&self, id: ChannelId) -> bool {
        self.open.contains_key(&id)
    }

    /// Queues a frame; an error says that the channel was closed because its peer does not read.
    pub(super) fn transmit(&mut self, id: ChannelId, frame: Vec<u8>) -> Result<(), Overflow> {
        let Some(channel) = self.open.get(&id) else { return Ok(()) };
        if channel.writer.try_send(frame).is_err() {
            self.open.remove(&id);
            return Err(Overflow);
        }
        Ok(())
    }

    /// Ends the channel after what was transmitted before. Nothing of it arrives any more.
    pub(super) fn close(&mut self, id: ChannelId) -> bool {
        self.open.remove(&id).is_some()
    }

    pub(super) fn name(&self, id: ChannelId) -> Option<Exporter> {
        self.open.get(&id)?.exporter.name()
    }

    pub(super) fn export(&self, id: ChannelId, context: &Digest) -> Option<Exporter> {
        self.open.get(&id)?.exporter.export(context)
    }
}

/// A queue of frames is full.
#[derive(Debug)]
pub(super) struct Overflow;

struct Reader {
    id: ChannelId,
    limits: Limits,
    arrivals: mpsc::Sender<Arrival>,
    _permit: Option<Permit>,
}

impl Reader {
    async fn run<R: AsyncRead + Unpin>(self, mut stream: R, mut ended: oneshot::Receiver<()>) {
        tokio::select! {
            _ = &mut ended => {}
            _ = self.read(&mut stream) => {
                let _ = self.arrivals.send(Arrival::Closed(self.id)).await;
                let _ = ended.await;
            }
        }
        // A socket closed with unread bytes is reset, and the last frame sent may be lost with it.
        let mut rest = stream.take(LINGER_BYTES);
        let mut nowhere = tokio::io::sink();
        let drain = tokio::io::copy(&mut rest, &mut nowhere);
        let _ = timeout(self.limits.write, drain).await;
    }

    async fn read<R: AsyncRead + Unpin>(&self, stream: &mut R) -> Result<(), FrameError> {
        let first = read_frame(stream, self.limits.frame);
        let mut next =
            timeout(self.limits.first_frame, first).await.map_err(|_| FrameError::TooSlow)??;
        while let Some(frame) = next {
            if self.arrivals.send(Arrival::Frame(self.id, frame)).await.is_err() {
                return Ok(());
            }
            next = read_frame(stream, self.limits.frame).await?;
        }
        Ok(())
    }
}

async fn write<W: AsyncWrite + Unpin>(
    id: ChannelId,
    mut stream: W,
    mut frames: mpsc::Receiver<Vec<u8>>,
    limits: Limits,
    arrivals: mpsc::Sender<Arrival>,
) {
    while let Some(frame) = frames.recv().await {
        let written = async {
            put_frame(&mut stream, &frame).await?;
            // What waits already goes out under the same flush.
            while let Ok(frame) = frames.try_recv() {
                put_frame(&mut stream, &frame).await?;
            }
            Ok::<(), FrameError>(stream.flush().await?)
        };
        if !matches!(timeout(limits.write, written).await, Ok(Ok(()))) {
            let _ = arrivals.send(Arrival::Closed(id)).await;
            return;
        }
    }
    let _ = timeout(limits.write, stream.shutdown()).await;
}

const LINGER_BYTES: u64 = 64 * 1024;
