//! Seals a safetensors file.
//!
//! Chapter 15. One message per tensor under one DEK, each with a fresh salt and its own context; the
//! original header is tensor 0. [SEAL-1] [SEAL-2] [SEAL-4] The target appears whole or not at all.
//! [SEAL-11] It does not make the DEK, and signs nothing.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem;
use std::path::Path;

use split_custody_kernels::{
    CHUNK_BYTES, HEADER_BYTES, Layout, Portable, STRIDE_BYTES, Salt, Sealer, TAG_BYTES, Tag,
};
use zeroize::{Zeroize, Zeroizing};

use crate::container::{Container, HEADER_MAX, PREFIX, TENSORS_MAX};
use crate::context::Context;
use crate::error::{Place, SourceRule, WeightsError};
use crate::ids::{Dek, Ids, Threads, fill_random};
use crate::manifest::{SealedTable, SealedTensor, public_header};
use crate::merkle;
use crate::pool::{Queue, RUN_CHUNKS, Run};
use crate::staged::{self, Access, Staged, Target};
use crate::storage::{ReadAt, WriteAt};

/// Seals `source` into `target` under a DEK that seals nothing else. [SEAL-1]
///
/// `progress` is called from any of the threads with the plaintext bytes sealed since its last call.
pub fn seal<'p>(
    source: &Path,
    target: impl Into<Target<'p>>,
    key: &Dek,
    ids: &Ids,
    threads: Threads,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<SealedTable, WeightsError> {
    let target = target.into();
    target.check(source)?; // [SEAL-11]
    let file = open_source(source)?;
    let container = Container::read(&file, source)?; // [SEAL-10]
    let plan = Plan::new(&container, key, ids, source)?;
    let staged = Staged::new(target, plan.table.file_len(), Access::Shared)?;
    let (from, to) =
        (At { bytes: &file, path: source }, At { bytes: staged.file(), path: target.path() });
    let table = plan.seal(from, to, threads, progress)?;
    staged.commit()?; // [SEAL-11]
    Ok(table)
}

/// Opens a source for reading.
pub(crate) fn open_source(path: &Path) -> Result<File, WeightsError> {
    let not_a_file = || WeightsError::Source {
        path: path.into(),
        place: Place::File,
        rule: SourceRule::NotAFile,
    };
    staged::open_regular(path)?.ok_or_else(not_a_file)
}

/// All that is known before the first byte is sealed: every length, salt and commitment.
pub(crate) struct Plan<'a> {
    container: &'a Container,
    key: &'a Dek,
    public: Vec<u8>,
    layouts: Vec<Layout>,
    pub table: SealedTable,
}

impl<'a> Plan<'a> {
    /// Draws the salts and derives the commitments.
    pub fn new(
        container: &'a Container,
        key: &'a Dek,
        ids: &Ids,
        path: &Path,
    ) -> Result<Self, WeightsError> {
        let refuse = || WeightsError::Source {
            path: path.into(),
            place: Place::File,
            rule: SourceRule::TooManyTensors,
        };
        let lengths = std::iter::once(container.header.len() as u64)
            .chain(container.contents.tensors.iter().map(|t| t.length));
        let layouts: Vec<Layout> = lengths
            .map(|length| Layout::of_plaintext(length).expect("far below the bound of a message"))
            .collect();
        let public = public_header(ids, layouts.iter().map(Layout::ciphertext_len));
        if layouts.len() > TENSORS_MAX || public.len() as u64 > PREFIX + HEADER_MAX {
            return Err(refuse()); // [SEAL-10]
        }
        let &Ids { container: id, weights, version } = ids;
        let (data_offset, root) = (public.len() as u64, [0; 32]);
        let table =
            SealedTable { container: id, weights, version, data_offset, tensors: Vec::new(), root };
        let mut plan = Self { container, key, public, layouts, table };
        plan.table.tensors = plan.tensors()?;
        Ok(plan)
    }

    fn tensors(&self) -> Result<Vec<SealedTensor>, WeightsError> {
        let mut salts = vec![[0; 24]; self.layouts.len()];
        fill_random(salts.as_flattened_mut())?; // [SEAL-1]
        let (mut tensors, mut offset) = (Vec::with_capacity(salts.len()), 0);
        for ((index, salt), layout) in (0u32..).zip(salts).zip(&self.layouts) {
            let sealer = self.sealer(index, &salt);
            let mut commitment = [0; 32];
            commitment.copy_from_slice(&sealer.header()[salt.len()..]);
            let length = layout.ciphertext_len();
            tensors.push(SealedTensor { index, offset, length, salt, commitment });
            offset += length;
        }
        Ok(tensors)
    }

    fn sealer(&self, index: u32, salt: &[u8; 24]) -> Sealer<'static, Portable> {
        let (ids, count, layout) =
            (self.table.ids(), self.layouts.len() as u32, self.layouts[index as usize]);
        let length = layout.plaintext_len();
        let context =
            match index.checked_sub(1).map(|i| &self.container.contents.tensors[i as usize]) {
                None => Context::of_header(&ids, count, length),
                Some(tensor) => {
                    let (name, dtype, shape) = (&tensor.name, &tensor.dtype, &tensor.shape);
                    Context { ids: &ids, index, count, name, dtype, shape, length }
                }
            };
        Sealer::new(&Portable, self.key.input_key(), &Salt(*salt), &context.encode(), layout) // [SEAL-2]
    }

    /// Seals every run, then knows the root.
    pub fn seal<R: ReadAt, W: WriteAt>(
        mut self,
        source: At<'_, R>,
        target: At<'_, W>,
        threads: Threads,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<SealedTable, WeightsError> {
        target
            .bytes
            .write_all_at(&self.public, 0)
            .map_err(|e| target.error("write the file", e))?;
        let plan = &self;
        let digests = Queue::new(&plan.layouts, threads).drive(|| {
            let buffer = Zeroizing::new(Vec::new());
            let mut worker = Worker { plan, source, target, buffer, current: None };
            move |run: &Run, tags: &mut Vec<Tag>| worker.seal_run(run, tags).map(progress)
        })?;
        let leaves = self.table.tensors.iter().zip(&digests);
        let leaves: Vec<_> =
            leaves.map(|(t, tags)| merkle::leaf(t.index, &t.commitment, tags)).collect();
        self.table.root = merkle::root(&leaves); // [SEAL-9] [SEAL-12]
        Ok(self.table)
    }
}

/// Bytes by position, and the path that errors name.
pub(crate) struct At<'p, T> {
    pub bytes: &'p T,
    pub path: &'p Path,
}

impl<T> Clone for At<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for At<'_, T> {}

impl<T> At<'_, T> {
    fn error(&self, action: &'static str, source: io::Error) -> WeightsError {
        WeightsError::Io { path: self.path.into(), action, source }
    }
}

/// One thread's part: its buffer, and the keys of the tensor that it is in.
struct Worker<'w, R, W> {
    plan: &'w Plan<'w>,
    source: At<'w, R>,
    target: At<'w, W>,
    /// Empty until a target turns out not to be memory.
    buffer: Zeroizing<Vec<u8>>,
    current: Option<(usize, Sealer<'static, Portable>)>,
}

impl<R: ReadAt, W: WriteAt> Worker<'_, R, W> {
    /// Reads, seals and writes one run; gives its plaintext bytes.
    fn seal_run(&mut self, run: &Run, tags: &mut Vec<Tag>) -> Result<u64, WeightsError> {
        let table = &self.plan.table;
        let tensor = &table.tensors[run.tensor];
        let sealer = match self.current.take() {
            Some((index, sealer)) if index == run.tensor => sealer,
            _ => self.plan.sealer(tensor.index, &tensor.salt),
        };
        let layout = sealer.layout();
        let (plain, sealed) =
            (layout.plaintext_range(&run.chunks), layout.ciphertext_range(&run.chunks));
        // The message's header goes out together with its first run.
        let begin = if run.chunks.start == 0 { 0 } else { sealed.start };
        let message = table.data_offset + tensor.offset;
        let range = message + begin..message + sealed.end;
        let direct = self
            .target
            .bytes
            .with_slice(range.clone(), |place| self.seal_into(&sealer, run, place, tags));
        match direct {
            Some(result) => result?,
            None => {
                let mut buffer = mem::take(&mut self.buffer);
                buffer.resize(PIECE_BYTES, 0);
                let piece = &mut buffer[..(range.end - range.start) as usize];
                self.seal_into(&sealer, run, piece, tags)?;
                let written = self.target.bytes.write_all_at(piece, range.start);
                written.map_err(|e| self.target.error("write the file", e))?;
                self.buffer = buffer;
            }
        }
        self.current = Some((run.tensor, sealer));
        Ok(plain.end - plain.start)
    }

    /// Puts one run into `place`, after the message's header if it is the first. Zeroed on failure.
    fn seal_into(
        &self,
        sealer: &Sealer<'_, Portable>,
        run: &Run,
        place: &mut [u8],
        tags: &mut Vec<Tag>,
    ) -> Result<(), WeightsError> {
        let first = run.chunks.start == 0;
        let (header, sealed) = place.split_at_mut(if first { HEADER_BYTES } else { 0 });
        header.copy_from_slice(&sealer.header()[..header.len()]);
        let filled = fill(self.plan, self.source.bytes, sealer, run, sealed);
        filled.map_err(|error| {
            sealed.zeroize(); // What was read and not yet sealed is plaintext.
            self.source.error("read the tensors", error)
        })?;
        tags.extend(sealed.chunks(STRIDE_BYTES).filter_map(<[u8]>::last_chunk).map(|t| Tag(*t)));
        Ok(())
    }
}

/// Puts the sealed chunks of one run into `sealed`, without a copy where the source is a file.
fn fill(
    plan: &Plan<'_>,
    source: &impl ReadAt,
    sealer: &Sealer<'_, Portable>,
    run: &Run,
    sealed: &mut [u8],
) -> io::Result<()> {
    let fits = "the buffers have the layout's own lengths";
    let plain = sealer.layout().plaintext_range(&run.chunks);
    let container = plan.container;
    let memory = match run.tensor.checked_sub(1) {
        None => Some(&container.header[plain.start as usize..plain.end as usize]), // [SEAL-4]
        Some(tensor) => source.bytes(container.file_range(tensor, &plain)),
    };
    if let Some(plain) = memory {
        sealer.seal_run(run.chunks.clone(), plain, sealed).expect(fits);
        return Ok(());
    }
    let mut at = container.file_range(run.tensor - 1, &plain).start;
    for (batch, first) in sealed
        .chunks_mut(BATCH_CHUNKS * STRIDE_BYTES)
        .zip((run.chunks.start..).step_by(BATCH_CHUNKS))
    {
        let chunks = batch.len().div_ceil(STRIDE_BYTES);
        let split =
            batch.chunks_mut(STRIDE_BYTES).filter_map(<[u8]>::split_last_chunk_mut::<TAG_BYTES>);
        let mut buffers: Vec<_> = split.map(|(body, _)| IoSliceMut::new(body)).collect();
        source.read_exact_vectored_at(&mut buffers, at)?;
        sealer.seal_run_in_place(first..first + chunks as u64, batch).expect(fits);
        at += (batch.len() - chunks * TAG_BYTES) as u64;
    }
    Ok(())
}

/// The most that is written at once: a header and a full run.
const PIECE_BYTES: usize = HEADER_BYTES + RUN_CHUNKS as usize * STRIDE_BYTES;
/// Chunks that are read and worked on at once: 256 KiB, which stays in a core's cache.
pub(crate) const BATCH_CHUNKS: usize = 16;
const _: () =
    assert!((RUN_CHUNKS as usize).is_multiple_of(BATCH_CHUNKS) && CHUNK_BYTES > TAG_BYTES);
