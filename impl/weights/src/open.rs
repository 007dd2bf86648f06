//! Opens a sealed file into memory that the caller owns.
//!
//! Chapter 15. The file is untrusted. It is compared with the signed table before any key is used
//! [SEAL-8]; then tensor 0 is opened, because the other contexts need it [SEAL-4]; then the rest, in
//! parallel. A [`Loaded`] exists only when every tensor opened and the root agreed. [SEAL-9]
//! It does not know who signed the table.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};

use split_custody_kernels::{CHUNK_BYTES, ChunkError, Layout, Opener, Portable, STRIDE_BYTES, Tag};
use zeroize::{Zeroize, Zeroizing};

use crate::compare::compare;
use crate::context::Context;
use crate::destination::{Destination, Sink};
use crate::error::{Place, SealedRule, WeightsError};
use crate::header::{Header, OpenedTensor};
use crate::ids::{Dek, Threads};
use crate::manifest::SealedTable;
use crate::merkle;
use crate::pool::{Queue, Run, TagDigests};
use crate::seal::BATCH_CHUNKS;
use crate::staged;
use crate::storage::ReadAt;

/// A sealed file that agrees with its table. No key was used to make it. [SEAL-8]
pub struct Reader<S = File> {
    source: S,
    path: PathBuf,
    table: SealedTable,
    layouts: Vec<Layout>,
}

/// Proof of a whole load: every tensor, every tag, and the root. [SEAL-9]
#[derive(Debug)]
pub struct Loaded {
    tensors: usize,
    bytes: u64,
}

impl Loaded {
    /// Of a load whose every tensor opened and whose root agreed.
    pub(crate) fn new(layouts: &[Layout]) -> Self {
        let bytes = layouts.iter().map(Layout::plaintext_len).sum();
        Self { tensors: layouts.len(), bytes }
    }

    /// How many tensors, the header not counted.
    pub fn tensors(&self) -> usize {
        self.tensors
    }

    /// Bytes of plaintext, the header not counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Reader<File> {
    /// Opens a file and compares it with its table. [SEAL-8]
    pub fn open(path: &Path, table: &SealedTable) -> Result<Self, WeightsError> {
        let not_a_file = || WeightsError::Sealed {
            path: path.into(),
            place: Place::File,
            rule: SealedRule::NotSealed("not a regular file"),
        };
        let file = staged::open_regular(path)?.ok_or_else(not_a_file)?;
        Self::over(file, path, table)
    }
}

impl<S: ReadAt> Reader<S> {
    /// The same over any bytes; `path` is for errors. [SEAL-8]
    pub fn over(source: S, path: &Path, table: &SealedTable) -> Result<Self, WeightsError> {
        let layouts = table.check()?; // [SEAL-6]
        let reader = Self { source, path: path.into(), table: table.clone(), layouts };
        compare(&reader.source, path, table)?;
        Ok(reader)
    }

    /// The table that the file agreed with.
    pub fn table(&self) -> &SealedTable {
        &self.table
    }

    pub(crate) fn layouts(&self) -> &[Layout] {
        &self.layouts
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<(), WeightsError> {
        let read = self.source.read_exact_vectored_at(&mut [IoSliceMut::new(out)], offset);
        read.map_err(|source| self.cannot_read(source))
    }

    /// Opens tensor 0. [SEAL-4]
    pub fn open_header(&self, key: &Dek) -> Result<Header, WeightsError> {
        let layout = self.layouts[0];
        let (ids, count) = (self.table.ids(), self.layouts.len() as u32);
        let context = Context::of_header(&ids, count, layout.plaintext_len());
        let opener = self.opener(key, 0, &context)?;
        let mut bytes = Zeroizing::new(vec![0; layout.plaintext_len() as usize]);
        let mut tags = Vec::new();
        self.open_run(&opener, 0, 0..layout.chunks(), &mut bytes, &mut tags)?;
        let header = Header::check(bytes, &tags, &self.layouts[1..]);
        header.ok_or_else(|| self.refuse(Place::Sealed(0), SealedRule::HeaderDisagrees)) // [SEAL-4]
    }

    /// The tensors of the original file.
    pub fn tensors(&self, key: &Dek) -> Result<Vec<OpenedTensor>, WeightsError> {
        Ok(self.open_header(key)?.tensors())
    }

    /// Opens one tensor, in order and with little memory. This is no load: the root is not checked.
    pub fn open_tensor(
        &self,
        key: &Dek,
        header: &Header,
        index: u32,
        sink: &mut dyn Sink,
    ) -> Result<(), WeightsError> {
        let opener = self.tensor_opener(key, header, index)?;
        let (layout, mut tags) = (opener.layout(), Vec::new());
        let mut buffer = Zeroizing::new(vec![0; BATCH_CHUNKS * CHUNK_BYTES]);
        for start in (0..layout.chunks()).step_by(BATCH_CHUNKS) {
            let run = start..layout.chunks().min(start + BATCH_CHUNKS as u64);
            let plain = layout.plaintext_range(&run);
            let out = &mut buffer[..(plain.end - plain.start) as usize];
            tags.clear();
            self.open_run(&opener, index, run, out, &mut tags)?; // [SEAL-7]
            let place = Place::Sealed(index);
            sink.chunk(plain.start, out)
                .map_err(|source| WeightsError::Destination { place, source })?;
            out.zeroize();
        }
        Ok(())
    }

    /// Opens every tensor into the caller's memory; on any error all of it is zeroed. [SEAL-9]
    pub fn open_all(
        &self,
        key: &Dek,
        header: &Header,
        threads: Threads,
        destination: &dyn Destination,
    ) -> Result<Loaded, WeightsError> {
        if header.contents().tensors.len() + 1 != self.layouts.len() {
            return Err(self.refuse(Place::Sealed(0), SealedRule::HeaderDisagrees));
        }
        let layouts = &self.layouts[1..];
        let queue = Queue::new(layouts, threads);
        let mut wipe = Wipe { queue: &queue, layouts, destination, armed: true };
        let digests = queue.drive(|| {
            let mut current: Option<(usize, Opener<'_, Portable>)> = None;
            move |run: &Run, tags: &mut Vec<Tag>| {
                let index = run.tensor as u32 + 1;
                let opener = match current.take() {
                    Some((tensor, opener)) if tensor == run.tensor => opener,
                    _ => self.tensor_opener(key, header, index)?,
                };
                self.open_into(&opener, index, run, destination, tags)?;
                current = Some((run.tensor, opener));
                Ok(())
            }
        })?;
        self.check_root(header, digests)?; // [SEAL-9]
        wipe.armed = false;
        Ok(Loaded::new(layouts))
    }

    fn open_into(
        &self,
        opener: &Opener<'_, Portable>,
        index: u32,
        run: &Run,
        destination: &dyn Destination,
        tags: &mut Vec<Tag>,
    ) -> Result<(), WeightsError> {
        let range = opener.layout().plaintext_range(&run.chunks);
        if range.is_empty() {
            return self.open_run(opener, index, run.chunks.clone(), &mut [], tags);
        }
        let refuse = |source| WeightsError::Destination { place: Place::Sealed(index), source };
        let (len, mut opened) = (range.end - range.start, None);
        destination
            .with_slice(index, range, &mut |out| {
                let fits = out.len() as u64 == len && opened.is_none();
                opened = Some(match fits {
                    true => self.open_run(opener, index, run.chunks.clone(), out, tags),
                    false => Err(refuse(io::Error::other("slice has the wrong length"))),
                });
            })
            .map_err(refuse)?;
        opened.unwrap_or_else(|| Err(refuse(io::Error::other("slice was not given"))))
    }

    /// Opens some chunks of a tensor into `out`, which is zeroed on failure. [SEAL-7]
    fn open_run(
        &self,
        opener: &Opener<'_, Portable>,
        index: u32,
        run: Range<u64>,
        out: &mut [u8],
        tags: &mut Vec<Tag>,
    ) -> Result<(), WeightsError> {
        let begin = self.table.data_offset + self.table.tensors[index as usize].offset;
        let opened = self.open_batches(opener, begin, run, out, tags);
        opened.map_err(|error| {
            out.zeroize(); // [SEAL-7]
            match error {
                Stopped::Read(source) => self.cannot_read(source),
                Stopped::Chunk(error) => self.chunk_error(error, index),
            }
        })
    }

    fn open_batches(
        &self,
        opener: &Opener<'_, Portable>,
        begin: u64,
        run: Range<u64>,
        out: &mut [u8],
        tags: &mut Vec<Tag>,
    ) -> Result<(), Stopped> {
        let range = opener.layout().ciphertext_range(&run);
        if let Some(sealed) = self.source.bytes(begin + range.start..begin + range.end) {
            tags.extend(
                sealed.chunks(STRIDE_BYTES).filter_map(<[u8]>::last_chunk).map(|t| Tag(*t)),
            );
            return opener.open_run(run, sealed, out).map_err(Stopped::Chunk);
        }
        let mut out = out;
        for start in run.clone().step_by(BATCH_CHUNKS) {
            let batch = start..run.end.min(start + BATCH_CHUNKS as u64);
            let plain = opener.layout().plaintext_range(&batch);
            let (bodies, rest) = out.split_at_mut((plain.end - plain.start) as usize);
            let first = tags.len();
            tags.resize(first + (batch.end - batch.start) as usize, Tag([0; 16]));
            let mut buffers = Vec::with_capacity(2 * BATCH_CHUNKS);
            let mut chunks = bodies.chunks_mut(CHUNK_BYTES);
            for tag in &mut tags[first..] {
                buffers.extend(chunks.next().map(IoSliceMut::new));
                buffers.push(IoSliceMut::new(&mut tag.0));
            }
            let at = begin + opener.layout().ciphertext_range(&batch).start;
            self.source.read_exact_vectored_at(&mut buffers, at).map_err(Stopped::Read)?;
            opener.open_run_in_place(batch, &tags[first..], bodies).map_err(Stopped::Chunk)?;
            out = rest;
        }
        Ok(())
    }

    fn tensor_opener(
        &self,
        key: &Dek,
        header: &Header,
        index: u32,
    ) -> Result<Opener<'static, Portable>, WeightsError> {
        let tensor = index.checked_sub(1).and_then(|i| header.contents().tensors.get(i as usize));
        let layout = self.layouts.get(index as usize);
        let (Some(tensor), Some(layout)) = (tensor, layout) else {
            return Err(WeightsError::NoSuchTensor { path: self.path.clone(), index });
        };
        let (name, dtype, shape) = (&tensor.name, &tensor.dtype, &tensor.shape);
        let (count, length) = (self.layouts.len() as u32, layout.plaintext_len());
        let context = Context { ids: &self.table.ids(), index, count, name, dtype, shape, length };
        self.opener(key, index, &context)
    }

    fn opener(
        &self,
        key: &Dek,
        index: u32,
        context: &Context<'_>,
    ) -> Result<Opener<'static, Portable>, WeightsError> {
        // From the table, not from the file: the file may have changed since it was compared.
        let header = self.table.tensors[index as usize].header();
        let layout = self.layouts[index as usize];
        Opener::new(&Portable, key.input_key(), &context.encode(), layout, &header)
            .map_err(|error| self.chunk_error(error, index)) // [SEAL-5]
    }

    pub(crate) fn check_root(
        &self,
        header: &Header,
        digests: TagDigests,
    ) -> Result<(), WeightsError> {
        let tags = std::iter::once(header.tags()).chain(&digests);
        let leaves = self.table.tensors.iter().zip(tags);
        let leaves: Vec<_> =
            leaves.map(|(t, tags)| merkle::leaf(t.index, &t.commitment, tags)).collect();
        if leaves.len() == self.layouts.len() && merkle::root(&leaves) == self.table.root {
            Ok(())
        } else {
            Err(self.refuse(Place::File, SealedRule::RootDiffers)) // [SEAL-9]
        }
    }

    pub(crate) fn chunk_error(&self, error: ChunkError, index: u32) -> WeightsError {
        match error {
            ChunkError::ChunkTampered { index: chunk } => {
                let within = self.layouts[index as usize].ciphertext_range(&(chunk..chunk)).start;
                let byte =
                    self.table.data_offset + self.table.tensors[index as usize].offset + within;
                self.refuse(Place::Chunk { tensor: index, chunk, byte }, SealedRule::ChunkTampered)
            }
            ChunkError::CommitmentMismatch => {
                self.refuse(Place::Sealed(index), SealedRule::CommitmentMismatch)
            }
            _ => self.refuse(Place::Sealed(index), SealedRule::BadLength),
        }
    }

    fn cannot_read(&self, source: io::Error) -> WeightsError {
        WeightsError::Io { path: self.path.clone(), action: "read the sealed tensors", source }
    }

    pub(crate) fn refuse(&self, place: Place, rule: SealedRule) -> WeightsError {
        WeightsError::Sealed { path: self.path.clone(), place, rule }
    }
}

enum Stopped {
    Read(io::Error),
    Chunk(ChunkError),
}

/// Zeroes what was handed out, unless the load became whole; also when a thread panics.
struct Wipe<'w, 'a> {
    queue: &'w Queue<'a>,
    layouts: &'a [Layout],
    destination: &'w dyn Destination,
    armed: bool,
}

impl Drop for Wipe<'_, '_> {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        for run in self.queue.taken() {
            let range = self.layouts[run.tensor].plaintext_range(&run.chunks);
            if !range.is_empty() {
                // A destination that refuses its memory now has it in its own hands.
                let _ = self
                    .destination
                    .with_slice(run.tensor as u32 + 1, range, &mut |out| out.zeroize());
            }
        }
    }
}
