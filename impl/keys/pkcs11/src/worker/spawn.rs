//! The worker process, and the lanes that it inherits.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::{LANES, Starter};
use crate::config::Config;

/// The worker process, and this side of each of its lanes.
pub(super) fn spawn(starter: &Starter, config: &Config) -> io::Result<(Child, Vec<UnixStream>)> {
    let pairs = (0..config.lanes.max(1)).map(|_| UnixStream::pair());
    let (ours, theirs): (Vec<_>, Vec<_>) =
        pairs.collect::<io::Result<Vec<_>>>()?.into_iter().unzip();
    let theirs: Vec<OwnedFd> = theirs.into_iter().map(OwnedFd::from).collect();
    let numbers: Vec<i32> = theirs.iter().map(AsRawFd::as_raw_fd).collect();
    let named: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    let mut command = Command::new(&starter.program);
    command
        .args(&starter.arguments)
        .env(LANES, named.join(","))
        .envs(&config.env)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // SAFETY: between fork and exec only `fcntl` is called, which is safe there; the
    // descriptors are open until `spawn` has returned.
    unsafe {
        command.pre_exec(move || {
            for number in &numbers {
                if libc::fcntl(*number, libc::F_SETFD, 0) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    drop(theirs);
    Ok((child, ours))
}
