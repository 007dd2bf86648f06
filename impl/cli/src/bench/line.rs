//! A warm channel over loopback whose other end answers, in one process.

use std::sync::Arc;
use std::time::Duration;

use split_custody_runtime::transport::{
    Channel, Limits, ServerTls, TcpAcceptor, read_frame, serve, write_frame,
};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::link::{CUSTODIAN, Ends};
use crate::failure::Failure;

/// The device's end of a channel over loopback; the other end answers each frame.
pub struct Line {
    runtime: Runtime,
    channel: Channel,
}

impl Line {
    /// Opens it; the custodian's end runs on a thread of its own.
    pub fn open(
        ends: &Ends,
        answer: impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let (sender, bound) = std::sync::mpsc::channel();
        let (tls, answer) = (ends.server.clone(), Arc::new(answer));
        // It ends with this process.
        std::thread::spawn(move || custodian(tls, &sender, answer));
        let address = bound.recv().map_err(|_| Failure::refused("nobody listens"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let channel = runtime.block_on(async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let channel = ends.client.connect(CUSTODIAN, stream, &Limits::default()).await?;
            Ok::<_, Failure>(channel)
        })?;
        Ok(Self { runtime, channel })
    }

    /// One frame there and one back.
    pub fn ask(&mut self, frame: &[u8]) -> Result<Vec<u8>, Failure> {
        let channel = &mut self.channel;
        self.runtime.block_on(async {
            write_frame(&mut channel.writer, frame).await?;
            let answer = read_frame(&mut channel.reader, PATIENCE).await?;
            answer.ok_or_else(|| Failure::refused("the channel ended"))
        })
    }
}

fn custodian(
    tls: ServerTls,
    bound: &std::sync::mpsc::Sender<std::net::SocketAddr>,
    answer: Arc<impl Fn(Vec<u8>) -> Vec<u8> + Send + Sync + 'static>,
) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let Ok(acceptor) = TcpAcceptor::bind(address) else { return };
        let Ok(address) = acceptor.local_addr() else { return };
        let _ = bound.send(address);
        let opened = move |mut channel: Channel| {
            let answer = Arc::clone(&answer);
            async move {
                while let Ok(Some(frame)) = read_frame(&mut channel.reader, PATIENCE).await {
                    if write_frame(&mut channel.writer, &answer(frame)).await.is_err() {
                        return;
                    }
                }
            }
        };
        serve(acceptor, tls, Limits::default(), opened, drop).await;
    });
}

const PATIENCE: Duration = Duration::from_secs(60);
