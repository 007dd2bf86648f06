//! The fake GPU's process: device memory, and the kernels' text on the CPU.
//!
//! `fake-gpu` serves the socket that is its standard input and ends with it. `fake-gpu SOCKET` stays,
//! as hardware does: it serves one client after the other, and what one leaves in memory is there
//! when the next allocates. Nothing is ever zeroed for anybody. For tests only.

mod memory;
mod serve;
#[path = "../wire.rs"]
#[allow(dead_code)]
mod wire;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Mutex;

use memory::Memory;

fn main() -> std::io::Result<()> {
    let megabytes = std::env::var("FAKE_CUDA_MEMORY_MB").ok().and_then(|text| text.parse().ok());
    let memory = Mutex::new(Memory::new(megabytes.unwrap_or(64) << 20)?);
    match std::env::args_os().nth(1) {
        None => {
            let input: OwnedFd = std::io::stdin().as_fd().try_clone_to_owned()?;
            serve::client(UnixStream::from(input), &memory, 1)
        }
        Some(path) => {
            let listener = UnixListener::bind(path)?;
            // Whoever started it waits for this line.
            File::create("/dev/stdout")
                .and_then(|mut out| std::io::Write::write_all(&mut out, b"ready\n"))?;
            std::thread::scope(|scope| {
                for (number, stream) in listener.incoming().enumerate() {
                    let (stream, memory) = (stream?, &memory);
                    // The end of a client is its own affair.
                    scope.spawn(move || serve::client(stream, memory, number as u64 + 1));
                }
                Ok(())
            })
        }
    }
}
