//! Bytes by position: a file or memory, read and written by many threads at once.
//!
//! Chapter 15. Reads are exact or fail. Nothing here is trusted, kept or interpreted.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any position, from any thread.
pub trait ReadAt: Sync {
    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buffer` from `offset` on, or fails.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// Fills the buffers one after the other, in one call where the system can.
    fn read_exact_vectored_at(
        &self,
        buffers: &mut [IoSliceMut<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        for buffer in buffers {
            self.read_exact_at(buffer, offset)?;
            offset += buffer.len() as u64;
        }
        Ok(())
    }

    /// The bytes themselves, where they already lie in memory and cannot change.
    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        let _ = range;
        None
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buffer, offset)
    }

    fn read_exact_vectored_at(
        &self,
        mut buffers: &mut [IoSliceMut<'_>],
        mut offset: u64,
    ) -> io::Result<()> {
        // Empty buffers in front would make a read of nothing look like the end of the file.
        IoSliceMut::advance_slices(&mut buffers, 0);
        while !buffers.is_empty() {
            match rustix::io::preadv(self, buffers, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    offset += read as u64;
                    IoSliceMut::advance_slices(&mut buffers, read);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl ReadAt for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buffer.len() as u64);
        let bytes = end.and_then(|end| self.bytes(offset..end));
        buffer.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn bytes(&self, range: Range<u64>) -> Option<&[u8]> {
        self.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }
}

/// A place that takes bytes at any position, from any thread.
pub(crate) trait WriteAt: Sync {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Calls `fill` with the place itself, exactly that long, where it is memory that nobody else was
    /// given; else `None`, and `fill` was not called.
    fn with_slice<T>(&self, range: Range<u64>, fill: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        let _ = (range, fill);
        None
    }
}

impl WriteAt for File {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, offset)
    }
}
