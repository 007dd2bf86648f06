//! Device memory: one file without a name, allocated page by page and mapped where a client asks.
//!
//! An address is a pointer of this process, so that kernels can follow it. Memory begins full of 0xA5
//! and is never cleaned: what a client reads as zero, it has zeroed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr;

use crate::wire::result as R;

/// All of it.
pub struct Memory {
    file: File,
    /// The whole file, mapped.
    base: u64,
    used: Vec<bool>,
    allocated: BTreeMap<u64, Allocation>,
    created: BTreeMap<u64, Allocation>,
    reserved: BTreeMap<u64, (u64, u64)>,
    mapped: BTreeMap<u64, Mapping>,
    last: u64,
}

struct Allocation {
    client: u64,
    context: u64,
    offset: u64,
    bytes: u64,
}

struct Mapping {
    bytes: u64,
    open: bool,
    client: u64,
}

impl Memory {
    /// So many bytes of it.
    pub fn new(bytes: u64) -> io::Result<Self> {
        // SAFETY: the name is a constant that ends with a zero byte.
        let fd = unsafe { libc::memfd_create(c"fake-gpu".as_ptr(), libc::MFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just gave this descriptor, and nobody else has it.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(bytes)?;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let base = map(ptr::null_mut(), bytes, access, libc::MAP_SHARED, Some((&file, 0)))?;
        // SAFETY: the mapping was just made, is writable and that long.
        unsafe { ptr::write_bytes(base as *mut u8, 0xA5, bytes as usize) };
        let used = vec![false; (bytes / PAGE) as usize];
        let empty = BTreeMap::new;
        Ok(Self {
            file,
            base,
            used,
            allocated: empty(),
            created: BTreeMap::new(),
            reserved: BTreeMap::new(),
            mapped: BTreeMap::new(),
            last: 0,
        })
    }

    /// Free bytes, and all of them.
    pub fn info(&self) -> (u64, u64) {
        let free = self.used.iter().filter(|used| !**used).count() as u64;
        (free * PAGE, self.used.len() as u64 * PAGE)
    }

    pub fn allocate(&mut self, client: u64, context: u64, bytes: u64) -> Result<u64, u32> {
        let (offset, bytes) = self.take(bytes)?;
        let address = self.base + offset;
        self.allocated.insert(address, Allocation { client, context, offset, bytes });
        Ok(address)
    }

    pub fn free(&mut self, address: u64) -> Result<(), u32> {
        let gone = self.allocated.remove(&address).ok_or(R::INVALID_VALUE)?;
        self.give_back(&gone);
        Ok(())
    }

    pub fn create(&mut self, client: u64, bytes: u64) -> Result<u64, u32> {
        if !bytes.is_multiple_of(GRANULE) {
            return Err(R::INVALID_VALUE);
        }
        let (offset, bytes) = self.take(bytes)?;
        self.last += 1;
        self.created.insert(self.last, Allocation { client, context: 0, offset, bytes });
        Ok(self.last)
    }

    pub fn release(&mut self, handle: u64) -> Result<(), u32> {
        let gone = self.created.remove(&handle).ok_or(R::INVALID_VALUE)?;
        self.give_back(&gone);
        Ok(())
    }

    pub fn reserve(&mut self, client: u64, bytes: u64) -> Result<u64, u32> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // Room to align to what a driver promises.
        let start = map(ptr::null_mut(), bytes + GRANULE, libc::PROT_NONE, flags, None);
        let start = start.map_err(|_| R::OUT_OF_MEMORY)?.next_multiple_of(GRANULE);
        self.reserved.insert(start, (bytes, client));
        Ok(start)
    }

    pub fn unreserve(&mut self, address: u64, bytes: u64) -> Result<(), u32> {
        if self.mapped.contains_key(&address) {
            return Err(R::INVALID_VALUE);
        }
        let known = self.reserved.remove(&address).is_some_and(|(length, _)| length == bytes);
        if known { Ok(()) } else { Err(R::INVALID_VALUE) }
    }

    pub fn map(&mut self, client: u64, address: u64, bytes: u64, handle: u64) -> Result<(), u32> {
        let reserved = self.reserved.get(&address).is_some_and(|(length, _)| *length >= bytes);
        let memory = self.created.get(&handle).filter(|memory| memory.bytes == bytes);
        let (true, Some(memory)) = (reserved, memory) else {
            return Err(R::INVALID_VALUE);
        };
        let (flags, file) = (libc::MAP_SHARED | libc::MAP_FIXED, (&self.file, memory.offset));
        map(address as *mut _, bytes, libc::PROT_NONE, flags, Some(file))
            .map_err(|_| R::OUT_OF_MEMORY)?;
        self.mapped.insert(address, Mapping { bytes, open: false, client });
        Ok(())
    }

    pub fn protect(&mut self, address: u64, bytes: u64, open: bool) -> Result<(), u32> {
        let mapping = self.mapped.get_mut(&address).filter(|mapping| mapping.bytes == bytes);
        let mapping = mapping.ok_or(R::INVALID_VALUE)?;
        let access = if open { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
        // SAFETY: the range is a mapping of ours, made in `map`.
        if unsafe { libc::mprotect(address as *mut _, bytes as usize, access) } != 0 {
            return Err(R::INVALID_VALUE);
        }
        mapping.open = open;
        Ok(())
    }

    pub fn unmap(&mut self, address: u64, bytes: u64) -> Result<(), u32> {
        if self.mapped.get(&address).is_none_or(|mapping| mapping.bytes != bytes) {
            return Err(R::INVALID_VALUE);
        }
        self.mapped.remove(&address);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        // The addresses stay reserved, and whoever follows them ends.
        map(address as *mut _, bytes, libc::PROT_NONE, flags, None)
            .map_err(|_| R::OUT_OF_MEMORY)?;
        Ok(())
    }

    /// Bytes that a copy may touch.
    pub fn bytes(&mut self, address: u64, bytes: u64) -> Result<&mut [u8], u32> {
        let inside = |start: u64, length: u64| {
            address >= start && address - start <= length && length - (address - start) >= bytes
        };
        let allocated = self.allocated.range(..=address).next_back();
        let mapped = self.mapped.range(..=address).next_back();
        let good = allocated.is_some_and(|(start, a)| inside(*start, a.bytes))
            || mapped.is_some_and(|(start, m)| m.open && inside(*start, m.bytes));
        if !good {
            return Err(R::ILLEGAL_ADDRESS);
        }
        // SAFETY: the range is mapped, readable and writable, and lives as long as this does; kernels
        // run under the same lock.
        Ok(unsafe { std::slice::from_raw_parts_mut(address as *mut u8, bytes as usize) })
    }

    /// A context ends: what was allocated in it is free. What was created stays, as documented.
    pub fn end_context(&mut self, client: u64, context: u64) {
        self.drop_allocated(|a| a.client == client && a.context == context);
    }

    /// A client ends: everything of its is free, with what is in it.
    pub fn end_client(&mut self, client: u64) {
        self.drop_allocated(|a| a.client == client);
        let mine: Vec<_> = self
            .mapped
            .iter()
            .filter(|(_, m)| m.client == client)
            .map(|(a, m)| (*a, m.bytes))
            .collect();
        for (address, bytes) in mine {
            // It is ours and mapped, so it can be unmapped.
            let _ = self.unmap(address, bytes);
        }
        self.reserved.retain(|_, (_, owner)| *owner != client);
        let mine: Vec<u64> =
            self.created.iter().filter(|(_, a)| a.client == client).map(|(h, _)| *h).collect();
        for handle in mine {
            let _ = self.release(handle);
        }
    }

    fn drop_allocated(&mut self, goes: impl Fn(&Allocation) -> bool) {
        let mine: Vec<u64> =
            self.allocated.iter().filter(|(_, a)| goes(a)).map(|(address, _)| *address).collect();
        for address in mine {
            let _ = self.free(address);
        }
    }

    fn take(&mut self, bytes: u64) -> Result<(u64, u64), u32> {
        let pages = bytes.max(1).div_ceil(PAGE) as usize;
        let mut run = 0;
        for page in 0..self.used.len() {
            run = if self.used[page] { 0 } else { run + 1 };
            if run == pages {
                let first = page + 1 - pages;
                self.used[first..=page].fill(true);
                return Ok((first as u64 * PAGE, pages as u64 * PAGE));
            }
        }
        Err(R::OUT_OF_MEMORY)
    }

    fn give_back(&mut self, gone: &Allocation) {
        let first = (gone.offset / PAGE) as usize;
        self.used[first..][..(gone.bytes / PAGE) as usize].fill(false);
    }
}

fn map(
    at: *mut libc::c_void,
    bytes: u64,
    access: i32,
    flags: i32,
    file: Option<(&File, u64)>,
) -> io::Result<u64> {
    let (fd, offset) = file.map_or((-1, 0), |(file, offset)| (file.as_raw_fd(), offset));
    // SAFETY: without MAP_FIXED the kernel chooses; with it, the range is one that we reserved.
    let start = unsafe { libc::mmap(at, bytes as usize, access, flags, fd, offset as libc::off_t) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start as u64) }
}

const PAGE: u64 = 4096;
/// What memory without an address is made in; as on real GPUs.
const GRANULE: u64 = 2 << 20;
