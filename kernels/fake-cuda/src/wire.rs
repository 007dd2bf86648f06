//! What the driver and the GPU's process say to each other over a socket.
//!
//! ```text
//!   request = call u32 | bytes u32 | six arguments u64 | payload
//!   answer  = result u32 | bytes u32 | value u64 | payload
//! ```

use std::io::{self, Read, Write};

/// What the GPU can be asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub enum Call {
    /// Allocate: context, bytes. Value: the address.
    Allocate = 1,
    /// Free: address.
    Free,
    /// Copy in: address; the payload.
    Write,
    /// Copy out: address, bytes. The payload.
    Read,
    /// Fill: address, value, bytes.
    Fill,
    /// Copy inside: to, from, bytes.
    Copy,
    /// Reserve addresses: bytes. Value: the address.
    Reserve,
    /// Give reserved addresses back: address, bytes.
    Unreserve,
    /// Make memory without an address: bytes. Value: its handle.
    Create,
    /// Give it up: handle.
    Release,
    /// Map: address, bytes, handle.
    Map,
    /// Unmap: address, bytes.
    Unmap,
    /// Allow or refuse access: address, bytes, 1 or 0.
    Protect,
    /// Run a kernel: blocks, threads, shared bytes. Payload: name, zero byte, arguments.
    Launch,
    /// Bytes of a kernel's arguments. Payload: its name. Value: bytes, or 0.
    Arguments,
    /// A context ends: context.
    EndContext,
    /// Value: free bytes; payload: all bytes as u64.
    Info,
    /// The GPU goes away.
    Die,
}

impl Call {
    /// The call of this number.
    pub fn of(number: u32) -> Option<Self> {
        use Call as C;
        let all = [
            C::Allocate,
            C::Free,
            C::Write,
            C::Read,
            C::Fill,
            C::Copy,
            C::Reserve,
            C::Unreserve,
            C::Create,
            C::Release,
            C::Map,
            C::Unmap,
            C::Protect,
            C::Launch,
            C::Arguments,
            C::EndContext,
            C::Info,
            C::Die,
        ];
        all.into_iter().find(|call| *call as u32 == number)
    }
}

/// Arguments of a request.
pub type Arguments = [u64; 6];

/// Sends the head of a request and its payload, which is copied nowhere.
pub fn send(to: &mut impl Write, call: Call, args: Arguments, payload: &[u8]) -> io::Result<()> {
    let mut head = Vec::with_capacity(56);
    head.extend_from_slice(&(call as u32).to_le_bytes());
    head.extend_from_slice(&length(payload)?.to_le_bytes());
    args.iter().for_each(|arg| head.extend_from_slice(&arg.to_le_bytes()));
    to.write_all(&head)?;
    to.write_all(payload)
}

/// Receives the head of a request, and the length of its payload.
pub fn receive(from: &mut impl Read) -> io::Result<(u32, Arguments, usize)> {
    let (call, bytes) = (word(from)?, word(from)?);
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = long(from)?;
    }
    Ok((call, args, bytes as usize))
}

/// Sends an answer.
pub fn answer(to: &mut impl Write, result: u32, value: u64, payload: &[u8]) -> io::Result<()> {
    let mut head = Vec::with_capacity(16);
    head.extend_from_slice(&result.to_le_bytes());
    head.extend_from_slice(&length(payload)?.to_le_bytes());
    head.extend_from_slice(&value.to_le_bytes());
    to.write_all(&head)?;
    to.write_all(payload)
}

/// Receives an answer straight into `out`, which must be as long as its payload.
pub fn answered(from: &mut impl Read, out: &mut [u8]) -> io::Result<(u32, u64)> {
    let (result, bytes, value) = (word(from)?, word(from)?, long(from)?);
    if bytes as usize > out.len() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    from.read_exact(&mut out[..bytes as usize])?;
    Ok((result, value))
}

fn length(payload: &[u8]) -> io::Result<u32> {
    u32::try_from(payload.len()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn word(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn long(from: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Results of the driver API that the fake one gives. Numbers of `cuda.h`.
pub mod result {
    /// It worked.
    pub const SUCCESS: u32 = 0;
    /// An argument is wrong.
    pub const INVALID_VALUE: u32 = 1;
    /// No memory is left.
    pub const OUT_OF_MEMORY: u32 = 2;
    /// No `cuInit` came before.
    pub const NOT_INITIALIZED: u32 = 3;
    /// The GPU is gone.
    pub const DEVICE_UNAVAILABLE: u32 = 46;
    /// There is no GPU.
    pub const NO_DEVICE: u32 = 100;
    /// No such GPU.
    pub const INVALID_DEVICE: u32 = 101;
    /// The code is none.
    pub const INVALID_IMAGE: u32 = 200;
    /// No context is current, or it is none.
    pub const INVALID_CONTEXT: u32 = 201;
    /// No such stream, event, module.
    pub const INVALID_HANDLE: u32 = 400;
    /// No such kernel or symbol.
    pub const NOT_FOUND: u32 = 500;
    /// Work is under way.
    pub const NOT_READY: u32 = 600;
    /// A copy or kernel touched what is not mapped.
    pub const ILLEGAL_ADDRESS: u32 = 700;
    /// A kernel failed.
    pub const LAUNCH_FAILED: u32 = 719;
    /// What this driver does not do.
    pub const NOT_SUPPORTED: u32 = 801;
}
