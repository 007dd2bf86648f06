//! Serves one client: takes a request, does it, answers.

use std::ffi::{CStr, c_char, c_uint, c_void};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::memory::Memory;
use crate::wire::{self, Arguments, Call, result as R};

/// Until the client goes; then everything of its is free, and full of what was in it.
pub fn client(stream: UnixStream, memory: &Mutex<Memory>, client: u64) -> io::Result<()> {
    let served = serve(stream, memory, client);
    lock(memory).end_client(client);
    match served {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        served => served,
    }
}

fn serve(stream: UnixStream, memory: &Mutex<Memory>, client: u64) -> io::Result<()> {
    let mut from = BufReader::new(stream.try_clone()?);
    let mut to = BufWriter::new(stream);
    loop {
        let (call, args, bytes) = wire::receive(&mut from)?;
        let mut payload = vec![0; bytes];
        from.read_exact(&mut payload)?;
        let call = Call::of(call).ok_or(io::ErrorKind::InvalidData)?;
        if call == Call::Die {
            std::process::exit(0);
        }
        let mut memory = lock(memory);
        match answer(&mut memory, client, call, args, &payload) {
            Ok((value, out)) => wire::answer(&mut to, R::SUCCESS, value, out)?,
            Err(result) => wire::answer(&mut to, result, 0, &[])?,
        }
        to.flush()?;
        // What passed through here may be a key; this process is the GPU, but its heap is not.
        payload.fill(0);
    }
}

fn answer<'m>(
    memory: &'m mut Memory,
    client: u64,
    call: Call,
    [a, b, c, ..]: Arguments,
    payload: &[u8],
) -> Result<(u64, &'m [u8]), u32> {
    let value = match call {
        Call::Allocate => memory.allocate(client, a, b)?,
        Call::Free => memory.free(a).map(|()| 0)?,
        Call::Write => {
            memory.bytes(a, payload.len() as u64)?.copy_from_slice(payload);
            0
        }
        Call::Read => return Ok((0, memory.bytes(a, b)?)),
        Call::Fill => {
            memory.bytes(a, c)?.fill(b as u8);
            0
        }
        Call::Copy => copy(memory, a, b, c)?,
        Call::Reserve => memory.reserve(client, a)?,
        Call::Unreserve => memory.unreserve(a, b).map(|()| 0)?,
        Call::Create => memory.create(client, a)?,
        Call::Release => memory.release(a).map(|()| 0)?,
        Call::Map => memory.map(client, a, b, c).map(|()| 0)?,
        Call::Unmap => memory.unmap(a, b).map(|()| 0)?,
        Call::Protect => memory.protect(a, b, c == 1).map(|()| 0)?,
        Call::Launch => launch(memory, a, b, c, payload)?,
        Call::Arguments => {
            let name = CStr::from_bytes_until_nul(payload).map_err(|_| R::INVALID_VALUE)?;
            // SAFETY: the name ends with a zero byte and is only read.
            unsafe { sc_fake_args(name.as_ptr()) as u64 }
        }
        Call::EndContext => {
            memory.end_context(client, a);
            0
        }
        Call::Info => {
            let (free, all) = memory.info();
            ((free / 4096) << 32) | (all / 4096)
        }
        Call::Die => 0,
    };
    Ok((value, &[]))
}

fn copy(memory: &mut Memory, to: u64, from: u64, bytes: u64) -> Result<u64, u32> {
    let from = memory.bytes(from, bytes)?.as_ptr();
    let to = memory.bytes(to, bytes)?.as_mut_ptr();
    // SAFETY: both ranges were found to be mapped and that long; they may overlap.
    unsafe { std::ptr::copy(from, to, bytes as usize) };
    Ok(0)
}

fn launch(
    memory: &mut Memory,
    grid: u64,
    threads: u64,
    shared: u64,
    payload: &[u8],
) -> Result<u64, u32> {
    let name = CStr::from_bytes_until_nul(payload).map_err(|_| R::INVALID_VALUE)?;
    let args = &payload[name.count_bytes() + 1..];
    // Aligned as the kernel's struct is.
    let mut aligned = vec![0u64; args.len().div_ceil(8)];
    for (word, bytes) in aligned.iter_mut().zip(args.chunks(8)) {
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_le_bytes(whole);
    }
    // SAFETY: the shim compares name, threads and size of the arguments with the kernel's. What the
    // arguments point to is the client's affair: on a real GPU a wild pointer ends the context, here
    // it ends this process, which is the GPU.
    let why = unsafe {
        let at = aligned.as_ptr().cast();
        let (grid, threads) = (grid as c_uint, threads as c_uint);
        sc_fake_launch(name.as_ptr(), grid, threads, shared as usize, at, args.len())
    };
    if !why.is_null() {
        // SAFETY: a text that lives until the next launch of this thread.
        let why = unsafe { CStr::from_ptr(why) }.to_string_lossy();
        eprintln!("fake-gpu: {}: {why}", name.to_string_lossy());
        return Err(R::LAUNCH_FAILED);
    }
    if name == c"sc_collect_entropy" {
        let per_warp = aligned.get(1).map_or(0, |word| word & 0xFFFF_FFFF);
        jitter(memory, aligned[0], 4 * grid * threads / 32 * per_warp)?;
    }
    Ok(0)
}

/// The shim's clock is the same in every run, so its samples are replaced by what a GPU has: jitter.
fn jitter(memory: &mut Memory, at: u64, bytes: u64) -> Result<(), u32> {
    let samples = memory.bytes(at, bytes)?;
    if std::env::var_os("FAKE_CUDA_STUCK").is_some() {
        samples.fill(7);
        return Ok(());
    }
    let mut random = std::fs::File::open("/dev/urandom").map_err(|_| R::LAUNCH_FAILED)?;
    random.read_exact(samples).map_err(|_| R::LAUNCH_FAILED)
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

unsafe extern "C" {
    fn sc_fake_args(name: *const c_char) -> usize;
    fn sc_fake_launch(
        name: *const c_char,
        blocks: c_uint,
        threads: c_uint,
        shared: usize,
        args: *const c_void,
        args_size: usize,
    ) -> *const c_char;
}
