//! Pages and process flags from the kernel: the only unsafe code of this crate.
//!
//! Chapter 70. A [`Pages`] is zeroed when made, page-aligned, never inherited by a child, never in a
//! core dump, and overwritten before it goes back to the kernel. Where the kernel has
//! `memfd_secret`, nobody else can read it through the kernel either.
//! It does not stop whoever can run code inside this process: a debugger is kept out by
//! [`harden`](crate::harden()) only as far as the kernel's rules go.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd};
use std::ptr::{self, NonNull};
use std::slice;

/// Where pages come from. [RST-5]
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backing {
    /// `memfd_secret`: absent from the kernel's own map of memory, so that reads through
    /// `/proc/<pid>/mem` fail even for root.
    MemfdSecret,
    /// Ordinary anonymous memory, kept out of core dumps; root can read it.
    Anonymous {
        /// Why `memfd_secret` was not to be had, and what else did not work.
        why: String,
    },
}

/// Zeroed pages of this process's own.
pub(crate) struct Pages {
    start: NonNull<u8>,
    length: usize,
    backing: Backing,
}

impl Pages {
    /// Maps at least `length` bytes, secret where the kernel can.
    pub(crate) fn map(length: usize) -> io::Result<Self> {
        let length = round_to_pages(length)?;
        match Self::map_secret(length) {
            Ok(pages) => Ok(pages),
            Err(refused) => Self::map_anonymous(length, &refused),
        }
    }

    /// Maps ordinary memory, with the reason for the report.
    pub(crate) fn map_anonymous(length: usize, refused: &io::Error) -> io::Result<Self> {
        let length = round_to_pages(length)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let mut why = format!("memfd_secret: {refused}");
        let start = map(length, flags, None)?;
        for (advice, name) in
            [(libc::MADV_DONTDUMP, "MADV_DONTDUMP"), (libc::MADV_DONTFORK, "MADV_DONTFORK")]
        {
            if let Err(error) = advise(start, length, advice) {
                why.push_str(&format!("; {name}: {error}"));
            }
        }
        if let Err(error) = lock(start, length) {
            why.push_str(&format!("; mlock: {error}"));
        }
        Ok(Self { start, length, backing: Backing::Anonymous { why } })
    }

    fn map_secret(length: usize) -> io::Result<Self> {
        let file = memfd_secret()?;
        file.set_len(length as u64)?;
        // The descriptor closes when this returns: only the mapping keeps the pages.
        let start = map(length, libc::MAP_SHARED, Some(&file))?;
        let pages = Self { start, length, backing: Backing::MemfdSecret };
        // A shared mapping would otherwise live on in a child.
        advise(start, length, libc::MADV_DONTFORK)?;
        Ok(pages)
    }

    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: `start` is the base of a live mapping of `length` readable bytes, initialised by
        // the kernel, owned by `self` alone and unmapped only in `drop`.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the mapping is writable, and `&mut self` makes the borrow unique.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.bytes_mut().fill(0);
        // SAFETY: the range is exactly what `map` returned, and no borrow outlives `self`. The call
        // is foreign to the compiler, so the writes before it cannot be dropped as dead.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.length) };
    }
}

// SAFETY: `Pages` owns its mapping; nothing in it is tied to a thread, and access follows the usual
// rules of borrowing.
unsafe impl Send for Pages {}
// SAFETY: as above; `&Pages` gives shared reads only.
unsafe impl Sync for Pages {}

/// Keeps other processes of this user from attaching, and the kernel from writing core files.
pub(crate) fn refuse_dumps() -> io::Result<()> {
    // SAFETY: takes integers only; the unused arguments are zero as the call demands.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) })
}

/// Sets the size of core files to zero, for good.
pub(crate) fn refuse_core_files() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live, initialised `rlimit` that the call only reads.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &none) })
}

/// Raises how much memory may be locked to the most that this user may.
pub(crate) fn raise_lock_limit() -> io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a live `rlimit` that the call fills.
    check(unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) })?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a live, initialised `rlimit` that the call only reads.
    check(unsafe { libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit) })
}

fn memfd_secret() -> io::Result<File> {
    // SAFETY: takes one integer flag; a kernel without the call answers `ENOSYS`.
    let fd = unsafe { libc::syscall(SYS_MEMFD_SECRET, libc::c_long::from(libc::O_CLOEXEC)) };
    let fd = i32::try_from(fd).map_err(|_| io::ErrorKind::Other)?;
    check(fd)?;
    // SAFETY: the kernel just returned this descriptor and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd) })
}

fn map(length: usize, flags: i32, file: Option<&File>) -> io::Result<NonNull<u8>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let fd = file.map_or(-1, AsRawFd::as_raw_fd);
    // SAFETY: the kernel chooses the address, so no mapping of ours is replaced.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, access, flags, fd, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(start.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn advise(start: NonNull<u8>, length: usize, advice: i32) -> io::Result<()> {
    // SAFETY: the range is a live mapping, and neither advice used here changes its contents.
    check(unsafe { libc::madvise(start.as_ptr().cast(), length, advice) })
}

fn lock(start: NonNull<u8>, length: usize) -> io::Result<()> {
    // SAFETY: the range is a live mapping; locking does not change its contents.
    check(unsafe { libc::mlock(start.as_ptr().cast(), length) })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn round_to_pages(length: usize) -> io::Result<usize> {
    length
        .max(1)
        .checked_next_multiple_of(PAGE_BYTES)
        .filter(|length| isize::try_from(*length).is_ok())
        .ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// The same number on every architecture that has the call.
const SYS_MEMFD_SECRET: libc::c_long = 447;
/// Covers every page size of the machines we run on.
const PAGE_BYTES: usize = 65_536;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    fn read_through_proc(pages: &Pages) -> io::Result<()> {
        let memory = File::open("/proc/self/mem")?;
        memory.read_exact_at(&mut [0; 16], pages.start.as_ptr() as u64)
    }

    #[test]
    fn rst_2_secret_pages_cannot_be_read_through_the_kernel() {
        let mut pages = Pages::map(100).unwrap();
        if let Backing::Anonymous { why } = pages.backing() {
            println!("skipped: this kernel gives no secret pages: {why}");
            return;
        }
        pages.bytes_mut().fill(7);
        assert!(read_through_proc(&pages).is_err());
        assert!(pages.bytes().iter().all(|byte| *byte == 7));
    }

    #[test]
    fn rst_2_the_fallback_says_why_and_works_as_memory() {
        let refused = io::Error::from_raw_os_error(libc::ENOSYS);
        let mut pages = Pages::map_anonymous(1, &refused).unwrap();
        assert!(pages.bytes().iter().all(|byte| *byte == 0));
        pages.bytes_mut().fill(7);
        read_through_proc(&pages).expect("ordinary memory, as the report says");
        let Backing::Anonymous { why } = pages.backing() else {
            panic!("the fallback calls itself secret");
        };
        assert!(why.contains("memfd_secret: Function not implemented"), "{why}");
    }

    #[test]
    fn rst_5_a_length_that_no_mapping_has_is_an_error() {
        assert!(Pages::map(usize::MAX).is_err());
        assert!(Pages::map(isize::MAX as usize).is_err());
        assert!(!Pages::map(0).unwrap().bytes().is_empty());
    }
}
