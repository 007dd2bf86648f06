//! Many tensors on a device: one launch for the keys, one for the chunks, one for the verdicts.

use crate::backend::{ChunkError, InputKey};
use crate::batch::{OpenTensors, SealedTensor};
use crate::device::chunks::{DeriveArgs, PLAIN, SEALED, TAG, TAGS_BEHIND, TensorArgs};
use crate::device::{DeviceBackend, DeviceError, Driver, sizes};
use crate::layout::STRIDE_BYTES;

impl<D: Driver> OpenTensors for DeviceBackend<D> {
    fn open_tensors(
        &self,
        key: &InputKey,
        tensors: &mut [SealedTensor<'_>],
    ) -> Vec<Result<(), ChunkError>> {
        let mut verdicts: Vec<_> =
            tensors.iter().map(|tensor| tensor.layout().map(|_| ())).collect(); // [SEAL-6]
        let fit = tensors.iter_mut().zip(&mut verdicts).filter(|(_, verdict)| verdict.is_ok());
        let (mut fit, mut open): (Vec<_>, Vec<_>) = fit.unzip();
        match self.open_fitting(key, &mut fit) {
            Ok(settled) => open.iter_mut().zip(settled).for_each(|(to, verdict)| **to = verdict),
            Err(_) => open.iter_mut().for_each(|to| **to = Err(ChunkError::DeviceFailed)),
        }
        for (tensor, verdict) in tensors.iter_mut().zip(&verdicts) {
            if verdict.is_err() {
                tensor.plain.fill(0); // [SEAL-7]
            }
        }
        verdicts
    }
}

/// What one tensor needs in device memory.
struct Placed<D: Driver> {
    salt: D::Memory,
    expected: D::Memory,
    context: D::Memory,
    schedule: D::Memory,
    sealed: D::Memory,
    plain: D::Memory,
    status: D::Memory,
}

impl<D: Driver> DeviceBackend<D> {
    fn open_fitting(
        &self,
        key: &InputKey,
        tensors: &mut [&mut SealedTensor<'_>],
    ) -> Result<Vec<Result<(), ChunkError>>, DeviceError> {
        if tensors.is_empty() {
            return Ok(Vec::new());
        }
        let key = self.upload(key.expose())?;
        let placed = tensors.iter().map(|tensor| self.place(tensor));
        let placed: Vec<_> = placed.collect::<Result<_, _>>()?;
        let pairs = || tensors.iter().zip(&placed);
        let jobs: Vec<_> = pairs()
            .map(|(tensor, placed)| DeriveArgs {
                key: self.at(&key),
                salt: self.at(&placed.salt),
                context: self.at(&placed.context),
                context_bytes: tensor.context.len() as u64,
                expected: self.at(&placed.expected),
                commitment: 0,
                schedule: self.at(&placed.schedule),
            })
            .collect();
        self.run_derive(&jobs)?; // [SEAL-5]
        let described: Vec<_> = pairs()
            .map(|(tensor, placed)| TensorArgs {
                schedule: self.at(&placed.schedule),
                sealed: self.at(&placed.sealed),
                tags: TAGS_BEHIND,
                plain: self.at(&placed.plain),
                status: self.at(&placed.status),
                bytes: tensor.plain.len() as u64,
                first: 0,
                chunks: tensor.sealed.len().div_ceil(STRIDE_BYTES) as u64,
                stride: SEALED,
                plain_stride: PLAIN,
                tag_stride: TAG,
            })
            .collect();
        let settled = self.open_tensor_args(&described)?;
        for (tensor, placed) in tensors.iter_mut().zip(&placed) {
            self.driver.read(&placed.plain, tensor.plain)?;
        }
        Ok(settled.iter().map(|settled| settled.verdict()).collect())
    }

    fn place(&self, tensor: &SealedTensor<'_>) -> Result<Placed<D>, DeviceError> {
        let (salt, commitment) = tensor.split_header();
        Ok(Placed {
            salt: self.upload(&salt.0)?,
            expected: self.upload(&commitment.0)?,
            context: self.upload(tensor.context)?,
            schedule: self.room(sizes::SCHEDULE)?,
            sealed: self.upload(tensor.sealed)?,
            plain: self.room(tensor.plain.len())?,
            status: self.room(4 * tensor.sealed.len().div_ceil(STRIDE_BYTES))?,
        })
    }
}
