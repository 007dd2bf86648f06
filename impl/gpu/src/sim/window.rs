//! The bus of a simulated device: a socket on which a host may ask to read, and is refused.
//!
//! Chapter 70. Under [`OnHostRead::Reset`] the device is told before the host has its refusal, so
//! that the read itself traps [RST-2]; under [`OnHostRead::Block`] nothing else happens [RST-8].
//! An [`Answer`] has no room for memory. A reset that the host makes is not reported to the device:
//! it must notice by its mark. [RST-5]
//!
//! ```text
//!   request = kind u8 (1 read, 2 reset) | offset u64be | length u32be      13 bytes
//!   answer  = u8 (1 refused, 2 reset, 3 malformed; then it closes)         1 byte
//! ```

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What a host read does to the device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnHostRead {
    /// The read yields nothing, and nothing else happens. [RST-8]
    Block,
    /// The read yields nothing, and taints the device. [RST-2]
    Reset,
}

/// What the host asked for, as the device hears of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HostRead {
    /// Where the host wanted to read.
    pub offset: u64,
    /// How much.
    pub length: u32,
}

/// All that a host ever hears.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// A read yields nothing.
    Refused,
    /// The device was reset; its memory is lost.
    Reset,
    /// The request is not one.
    Malformed,
}

/// What a host reaches over the bus beside reads, which it is refused.
pub trait Bus: Send + Sync {
    /// Loses all contents, the mark among them, and tells nobody.
    fn reset(&self);
}

/// The window, open while this lives.
pub struct Window {
    shared: Arc<Shared>,
    path: PathBuf,
    accepting: Option<JoinHandle<()>>,
}

impl Window {
    /// Opens the window at `path`, which must not exist. `on_read` is called under
    /// [`OnHostRead::Reset`] alone, before the host has its answer.
    pub fn open(
        path: &Path,
        memory: Box<dyn Bus>,
        on_host_read: OnHostRead,
        on_read: impl Fn(HostRead) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let shared = Arc::new(Shared {
            memory,
            on_host_read,
            on_read: Box::new(on_read),
            refused: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        });
        let accepting = {
            let shared = shared.clone();
            let accept = move || shared.accept(&listener);
            thread::Builder::new().name("bus-window".into()).spawn(accept)?
        };
        Ok(Self { shared, path: path.into(), accepting: Some(accepting) })
    }

    /// How many reads were refused.
    pub fn refused(&self) -> u64 {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the accepting thread. If it cannot be woken it is left behind, with the socket.
        if UnixStream::connect(&self.path).is_ok() {
            self.accepting.take().map(JoinHandle::join);
        }
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The host's end of the bus: what an untrusted process can do with it.
pub struct HostPort(UnixStream);

impl HostPort {
    /// Connects to a window.
    pub fn connect(path: &Path) -> io::Result<Self> {
        UnixStream::connect(path).map(Self)
    }

    /// Asks to read device memory.
    pub fn read(&mut self, offset: u64, length: u32) -> io::Result<Answer> {
        self.ask(READ, offset, length)
    }

    /// Resets the device behind its driver's back.
    pub fn reset(&mut self) -> io::Result<Answer> {
        self.ask(RESET, 0, 0)
    }

    fn ask(&mut self, kind: u8, offset: u64, length: u32) -> io::Result<Answer> {
        let mut request = [0; REQUEST_BYTES];
        request[0] = kind;
        request[1..9].copy_from_slice(&offset.to_be_bytes());
        request[9..].copy_from_slice(&length.to_be_bytes());
        self.0.write_all(&request)?;
        let mut answer = [0; 1];
        self.0.read_exact(&mut answer)?;
        Answer::decode(answer[0]).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl Answer {
    fn encode(self) -> u8 {
        match self {
            Self::Refused => 1,
            Self::Reset => 2,
            Self::Malformed => 3,
        }
    }

    fn decode(byte: u8) -> Option<Self> {
        [Self::Refused, Self::Reset, Self::Malformed].into_iter().find(|a| a.encode() == byte)
    }
}

struct Shared {
    memory: Box<dyn Bus>,
    on_host_read: OnHostRead,
    on_read: Box<dyn Fn(HostRead) + Send + Sync>,
    refused: AtomicU64,
    open: AtomicUsize,
    closed: AtomicBool,
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &UnixListener) {
        for stream in listener.incoming() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            // The host may open as many connections as it likes; beyond the cap they just close.
            let Ok(stream) = stream else {
                thread::sleep(PAUSE);
                continue;
            };
            if self.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                self.open.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let shared = self.clone();
            let serve = move || {
                // An error ends this connection; the host knows why its own end broke.
                let _ = shared.serve(stream);
                shared.open.fetch_sub(1, Ordering::SeqCst);
            };
            if thread::Builder::new().name("bus-host".into()).spawn(serve).is_err() {
                self.open.fetch_sub(1, Ordering::SeqCst);
            }
        }
    }

    fn serve(&self, mut stream: UnixStream) -> io::Result<()> {
        stream.set_read_timeout(Some(IDLE))?;
        stream.set_write_timeout(Some(IDLE))?;
        let mut request = [0; REQUEST_BYTES];
        while !self.closed.load(Ordering::SeqCst) {
            stream.read_exact(&mut request)?;
            let answer = self.answer(&request);
            stream.write_all(&[answer.encode()])?;
            if answer == Answer::Malformed {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, request: &[u8; REQUEST_BYTES]) -> Answer {
        let [kind, place @ ..] = request;
        let [o0, o1, o2, o3, o4, o5, o6, o7, l0, l1, l2, l3] = *place;
        let offset = u64::from_be_bytes([o0, o1, o2, o3, o4, o5, o6, o7]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        match (*kind, offset, length) {
            (READ, offset, length) => self.refuse(HostRead { offset, length }),
            (RESET, 0, 0) => {
                self.memory.reset();
                Answer::Reset
            }
            _ => Answer::Malformed,
        }
    }

    fn refuse(&self, read: HostRead) -> Answer {
        if self.on_host_read == OnHostRead::Reset {
            (self.on_read)(read); // [RST-2] the read traps before it is answered
        }
        self.refused.fetch_add(1, Ordering::SeqCst);
        Answer::Refused
    }
}

const READ: u8 = 1;
const RESET: u8 = 2;
const REQUEST_BYTES: usize = 13;
const CONNECTIONS_MAX: usize = 16;
/// Out of descriptors, say: do not spin.
const PAUSE: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_secs(5);
