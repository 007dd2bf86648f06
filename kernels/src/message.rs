//! One message: a backend's operations joined to the layout, so that no rule can be skipped.
//!
//! Chapter 15. An [`Opener`] exists only after the commitment agreed; it opens any run of chunks, in
//! any order, and knows from the layout which chunk must be the short one.
//! It does not remember which chunks were opened: a message is whole only when all of them were.

use std::ops::Range;

use zeroize::Zeroizing;

use crate::backend::{Backend, ChunkError, Commitment, InputKey, Salt, Tag};
use crate::layout::{HEADER_BYTES, Layout};

/// A message whose commitment agreed. [SEAL-5]
pub struct Opener<'b, B: Backend> {
    backend: &'b B,
    schedule: B::Schedule,
    layout: Layout,
}

impl<'b, B: Backend> Opener<'b, B> {
    /// Derives the keys of a message and checks its commitment. [SEAL-5]
    pub fn new(
        backend: &'b B,
        key: &InputKey,
        context: &[u8],
        layout: Layout,
        header: &[u8; HEADER_BYTES],
    ) -> Result<Self, ChunkError> {
        let (salt, received) = split_header(header);
        let derived = backend.derive(key, &salt, context);
        derived.commitment.check(&received)?; // [SEAL-5]
        Ok(Self { backend, schedule: derived.schedule, layout })
    }

    /// The layout it was made for.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Opens a run of chunks from `sealed` into `plain`, which is zeroed on failure.
    pub fn open_run(
        &self,
        run: Range<u64>,
        sealed: &[u8],
        plain: &mut [u8],
    ) -> Result<(), ChunkError> {
        let fits = self.check_plain(&run, plain.len());
        let opened = fits.and_then(|()| {
            check_len(self.layout.ciphertext_range(&run), sealed.len())?;
            self.backend.open_chunks(&self.schedule, run.start, sealed, plain)
        });
        opened.inspect_err(|_| plain.fill(0))
    }

    /// Opens a run of chunks where it lies, without a copy; it is zeroed on failure.
    pub fn open_run_in_place(
        &self,
        run: Range<u64>,
        tags: &[Tag],
        chunks: &mut [u8],
    ) -> Result<(), ChunkError> {
        let fits = self.check_plain(&run, chunks.len()).and_then(|()| {
            if tags.len() as u64 == run.end - run.start {
                Ok(())
            } else {
                Err(ChunkError::BadLength)
            }
        });
        let opened = fits.and_then(|()| {
            self.backend.open_chunks_in_place(&self.schedule, run.start, tags, chunks)
        });
        opened.inspect_err(|_| chunks.fill(0))
    }

    fn check_plain(&self, run: &Range<u64>, plain: usize) -> Result<(), ChunkError> {
        self.layout.check_run(run)?;
        check_len(self.layout.plaintext_range(run), plain) // [SEAL-7] the last chunk is the short one
    }
}

/// A message being sealed under one fresh salt.
pub struct Sealer<'b, B: Backend> {
    backend: &'b B,
    schedule: B::Schedule,
    layout: Layout,
    header: [u8; HEADER_BYTES],
}

impl<'b, B: Backend> Sealer<'b, B> {
    /// Derives the keys of a message. `salt` must never have been used with `key`. [SEAL-1]
    pub fn new(
        backend: &'b B,
        key: &InputKey,
        salt: &Salt,
        context: &[u8],
        layout: Layout,
    ) -> Self {
        let derived = backend.derive(key, salt, context);
        let mut header = [0; HEADER_BYTES];
        header[..24].copy_from_slice(&salt.0);
        header[24..].copy_from_slice(&derived.commitment.0);
        Self { backend, schedule: derived.schedule, layout, header }
    }

    /// Salt and commitment, the first bytes of the message.
    pub fn header(&self) -> &[u8; HEADER_BYTES] {
        &self.header
    }

    /// The layout it was made for.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Seals a run of chunks from `plain` into `sealed`.
    pub fn seal_run(
        &self,
        run: Range<u64>,
        plain: &[u8],
        sealed: &mut [u8],
    ) -> Result<(), ChunkError> {
        self.layout.check_run(&run)?;
        check_len(self.layout.plaintext_range(&run), plain.len())?;
        check_len(self.layout.ciphertext_range(&run), sealed.len())?;
        self.backend.seal_chunks(&self.schedule, run.start, plain, sealed)
    }

    /// Seals a run of chunks where it lies, at the stride of the message, and fills in the tags.
    pub fn seal_run_in_place(&self, run: Range<u64>, sealed: &mut [u8]) -> Result<(), ChunkError> {
        self.layout.check_run(&run)?;
        check_len(self.layout.ciphertext_range(&run), sealed.len())?;
        self.backend.seal_chunks_in_place(&self.schedule, run.start, sealed)
    }
}

/// Opens a whole message in memory.
pub fn open_message<B: Backend>(
    backend: &B,
    key: &InputKey,
    context: &[u8],
    message: &[u8],
) -> Result<Zeroizing<Vec<u8>>, ChunkError> {
    let layout = Layout::of_ciphertext(message.len() as u64)?; // [SEAL-6]
    let (header, sealed) = message.split_first_chunk().ok_or(ChunkError::BadLength)?;
    let opener = Opener::new(backend, key, context, layout, header)?; // [SEAL-5]
    let len = usize::try_from(layout.plaintext_len()).map_err(|_| ChunkError::BadLength)?;
    let mut plain = Zeroizing::new(vec![0; len]);
    opener.open_run(0..layout.chunks(), sealed, &mut plain)?;
    Ok(plain)
}

/// Seals a whole message in memory.
pub fn seal_message<B: Backend>(
    backend: &B,
    key: &InputKey,
    salt: &Salt,
    context: &[u8],
    plain: &[u8],
) -> Result<Vec<u8>, ChunkError> {
    let layout = Layout::of_plaintext(plain.len() as u64)?;
    let sealer = Sealer::new(backend, key, salt, context, layout);
    let len = usize::try_from(layout.ciphertext_len()).map_err(|_| ChunkError::BadLength)?;
    let mut message = vec![0; len];
    message[..HEADER_BYTES].copy_from_slice(sealer.header());
    sealer.seal_run(0..layout.chunks(), plain, &mut message[HEADER_BYTES..])?;
    Ok(message)
}

pub(crate) fn split_header(header: &[u8; HEADER_BYTES]) -> (Salt, Commitment) {
    let (mut salt, mut commitment) = ([0; 24], [0; 32]);
    salt.copy_from_slice(&header[..24]);
    commitment.copy_from_slice(&header[24..]);
    (Salt(salt), Commitment(commitment))
}

fn check_len(range: Range<u64>, len: usize) -> Result<(), ChunkError> {
    if range.end - range.start == len as u64 { Ok(()) } else { Err(ChunkError::BadLength) }
}
