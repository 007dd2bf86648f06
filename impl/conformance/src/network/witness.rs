//! A second opinion on every exporter: beside each driver, and without its code. Chapter 20.
//!
//! It reads the first frame that goes from the device to the custodian off each connection, makes the
//! context of HS-2 of it, and exports under that itself. What the driver at either end of the same
//! connection logged has to be the same. That the connection exports under the label of HS-2 is a
//! known answer in the tests of `impl/runtime`.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use ring::digest::{SHA256, digest};
use split_custody_keys::hash;
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::trace::{Answer, Effect, Entry, Hex, Input, Output};
use split_custody_runtime::transport::{Channel, Connect, Export, TransportError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What HS-2 says of each connection, by the connection's name.
#[derive(Clone, Debug, Default)]
pub(super) struct Witness(Arc<Mutex<BTreeMap<Hex, Exported>>>);

/// A context and the digest of what was exported under it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Exported {
    context: Hex,
    exporter: Hex,
}

impl Witness {
    /// The custodian's end, heard from here on.
    pub(super) fn at_custodian(&self, mut channel: Channel) -> Channel {
        let first = First::of(&channel, self);
        channel.reader = Box::new(Beside { stream: channel.reader, first });
        channel
    }

    /// The device's end.
    fn at_device(&self, mut channel: Channel) -> Channel {
        let first = First::of(&channel, self);
        channel.writer = Box::new(Beside { stream: channel.writer, first });
        channel
    }

    /// How many logged exports are those of HS-2; an error names the first that is not. A device's
    /// whose Hello never left is not counted.
    pub(super) fn agrees(&self, logs: &[Vec<Entry>]) -> Result<usize, String> {
        let expected = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut agreed = 0;
        for log in logs {
            for (name, logged) in exports(log) {
                let role = log.first().map_or("", |entry| &entry.role);
                match expected.get(&name) {
                    Some(given) if *given == logged => agreed += 1,
                    None if role == "device" => {}
                    given => {
                        return Err(format!("`{role}` exported {logged:?}, HS-2 gives {given:?}"));
                    }
                }
            }
        }
        Ok(agreed)
    }
}

/// Each export of a log, by the name of its connection.
fn exports(log: &[Entry]) -> Vec<(Hex, Exported)> {
    let (mut names, mut asked, mut exports) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for entry in log {
        match &entry.input {
            Input::ChannelOpened { channel, connection: Some(name), .. } => {
                names.insert(*channel, name.clone());
            }
            Input::Done { ticket, answer: Answer::Exported { exporter } } => {
                if let Some((Some(name), context)) = asked.remove(ticket) {
                    exports.push((name, Exported { context, exporter: exporter.clone() }));
                }
            }
            _ => {}
        }
        for output in &entry.outputs {
            if let Output::Effect { ticket, effect: Effect::Export { channel, context } } = output {
                asked.insert(*ticket, (names.get(channel).cloned(), context.clone()));
            }
        }
    }
    exports
}

/// A device's connector whose channels are heard.
pub(super) struct Heard<C> {
    pub(super) inner: Arc<C>,
    pub(super) witness: Witness,
}

impl<C: Connect> Connect for Heard<C> {
    fn connect(
        self: Arc<Self>,
        custodian: CustodianId,
    ) -> Pin<Box<dyn Future<Output = Result<Channel, TransportError>> + Send>> {
        Box::pin(async move {
            let channel = Arc::clone(&self.inner).connect(custodian).await?;
            Ok(self.witness.at_device(channel))
        })
    }
}

/// The bytes of a connection's first frame, until it is whole.
struct First {
    bytes: Vec<u8>,
    exporter: Arc<dyn Export>,
    witness: Option<Witness>,
}

impl First {
    fn of(channel: &Channel, witness: &Witness) -> Self {
        let exporter = Arc::clone(&channel.exporter);
        Self { bytes: Vec::new(), exporter, witness: Some(witness.clone()) }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.witness.is_none() {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        let Some((length, rest)) = self.bytes.split_first_chunk() else { return };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some(hello) = rest.get(..length) else { return };
        let context = hash(HELLO, &[hello]);
        let exported = (self.exporter.name(), self.exporter.export(&context));
        if let ((Some(name), Some(exporter)), Some(witness)) = (exported, self.witness.take()) {
            let (name, exporter) = (sha256(name.as_bytes()), sha256(exporter.as_bytes()));
            let exported = Exported { context: context.as_bytes().into(), exporter };
            let mut known = witness.0.lock().unwrap_or_else(PoisonError::into_inner);
            let before = known.insert(name, exported.clone());
            assert!(before.is_none_or(|before| before == exported), "two ends, two exporters");
        }
    }
}

/// A stream, and what passes through it.
struct Beside<S> {
    stream: S,
    first: First,
}

impl<S: AsyncRead + Unpin> AsyncRead for Beside<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.first.take(&buf.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Beside<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(written)) = &polled {
            self.first.take(&bytes[..*written]);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn sha256(bytes: &[u8]) -> Hex {
    digest(&SHA256, bytes).as_ref().into()
}

/// The label of the context. [HS-2]
const HELLO: &str = "split-custody/v1/hello";
