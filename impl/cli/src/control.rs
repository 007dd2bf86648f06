//! The control socket of a role: one line of JSON asks, lines of JSON answer.
//!
//! The host speaks on it, so nothing that comes over it is believed: a load names files that are
//! verified, a use is admitted by the machine. Only the socket's owner may connect.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::sync::mpsc;

use crate::failure::{Failure, io_at};

/// What a device is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum DeviceAsk {
    /// Acquire the model and load it; answers progress, then how it went.
    Load {
        model: PathBuf,
    },
    /// Give the model up.
    Release,
    Status,
    /// MACs of every tensor under the owner's nonce.
    Prove {
        nonce: String,
        signature: String,
    },
    /// One request under the lease: a keyed checksum of a tensor slice.
    Use {
        tensor: String,
        start: u64,
        end: u64,
        key: String,
    },
    /// Tries one call of the driver upon guarded memory, as foreign code would. It trips.
    Attempt {
        call: String,
    },
    /// The signed grants, without the shares.
    Receipts,
}

/// What a custodian is asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", tag = "ask")]
pub enum CustodianAsk {
    /// Switches the key store off or on again, as if its HSM went down.
    Outage { down: bool },
    /// The process that holds the HSM's module, where there is one.
    Worker,
    /// The audit log: its size and root, and every leaf.
    Audit,
}

/// One line of an answer.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    Progress { opened: u64, total: u64 },
    Done(Value),
    Refused(String),
}

/// Asks once and waits for the end of the answer.
pub fn ask(socket: &Path, question: &impl Serialize) -> Result<Value, Failure> {
    ask_with(socket, question, PATIENCE, &mut |_, _| ())
}

/// The same, hearing of progress.
pub fn ask_with(
    socket: &Path,
    question: &impl Serialize,
    patience: Duration,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Value, Failure> {
    let mut stream = UnixStream::connect(socket)
        .map_err(|e| io_at(socket, "reach the process behind this socket", &e))?;
    let failed = |e: std::io::Error| io_at(socket, "talk over the socket", &e);
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    let mut line = serde_json::to_string(question)?;
    line.push('\n');
    stream.write_all(line.as_bytes()).map_err(failed)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line.map_err(failed)?)? {
            Line::Progress { opened, total } => progress(opened, total),
            Line::Done(value) => return Ok(value),
            Line::Refused(why) => return Err(Failure::Refused(why)),
        }
    }
    Err(Failure::refused(format!("`{}`: the process ended without an answer", socket.display())))
}

/// Where an answer goes, line by line.
#[derive(Clone)]
pub struct Answer(mpsc::UnboundedSender<Line>);

impl Answer {
    pub fn progress(&self, opened: u64, total: u64) {
        // Who asked may have gone.
        let _ = self.0.send(Line::Progress { opened, total });
    }
}

/// Binds a control socket that only its owner may use; one left by a dead process is replaced.
pub fn bind(path: &Path) -> Result<UnixListener, Failure> {
    if UnixStream::connect(path).is_err() {
        let _ = std::fs::remove_file(path);
    }
    let listener = UnixListener::bind(path).map_err(|e| io_at(path, "open the socket", &e))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
        .map_err(|e| io_at(path, "protect the socket", &e))?;
    Ok(listener)
}

/// Serves questions until dropped, each connection on its own.
pub async fn serve<Q, H, F>(listener: UnixListener, handle: H)
where
    Q: DeserializeOwned + Send + 'static,
    H: Fn(Q, Answer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Value, Failure>> + Send,
{
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let handle = handle.clone();
        tokio::spawn(async move {
            // A connection that breaks concerns nobody else.
            let _ = converse(stream, handle).await;
        });
    }
}

async fn converse<Q, H, F>(stream: tokio::net::UnixStream, handle: H) -> std::io::Result<()>
where
    Q: DeserializeOwned,
    H: Fn(Q, Answer) -> F,
    F: Future<Output = Result<Value, Failure>>,
{
    let (reader, mut writer) = stream.into_split();
    let mut lines = tokio::io::BufReader::new(reader.take(QUESTIONS)).lines();
    while let Some(line) = lines.next_line().await? {
        let (sender, mut sent) = mpsc::unbounded_channel();
        let answering = async {
            let result = match serde_json::from_str(&line) {
                Ok(question) => handle(question, Answer(sender.clone())).await,
                Err(error) => Err(Failure::refused(format!("not a question: {error}"))),
            };
            let _ = sender.send(match result {
                Ok(value) => Line::Done(value),
                Err(failure) => Line::Refused(failure.text().to_owned()),
            });
            drop(sender);
        };
        let writing = async {
            while let Some(line) = sent.recv().await {
                // INVARIANT: a line holds strings and numbers, which have a JSON form.
                let mut text = serde_json::to_vec(&line).expect("plain fields");
                text.push(b'\n');
                writer.write_all(&text).await?;
                if !matches!(line, Line::Progress { .. }) {
                    break;
                }
            }
            Ok::<(), std::io::Error>(())
        };
        let ((), written) = tokio::join!(answering, writing);
        written?;
    }
    Ok(())
}

const PATIENCE: Duration = Duration::from_secs(60);
/// Of one connection, in bytes.
const QUESTIONS: u64 = 16 << 20;
