//! The loaded model's place: one piece of guarded memory, tensors one after the other.

use split_custody_kernels::resident::{Guarded, Secret};

use crate::backend::{TensorInfo, TensorSlice};
use crate::error::GpuError;

/// Guarded memory for a model, and the model in it; the memory stays when the model goes.
pub(super) struct Weights {
    pub(super) memory: Guarded,
    /// Where each tensor is; `None` while no whole model is loaded.
    pub(super) model: Option<Vec<Region>>,
}

/// One tensor and its place.
pub(super) struct Region {
    pub(super) tensor: TensorInfo,
    pub(super) offset: usize,
    pub(super) length: usize,
}

impl Weights {
    /// The tensors of the model.
    pub(super) fn regions(&self) -> Result<&[Region], GpuError> {
        self.model.as_deref().ok_or(GpuError::NoModel)
    }

    pub(super) fn place(&self, region: &Region) -> Result<Secret, GpuError> {
        Ok(self.memory.part(region.offset, region.length)?)
    }

    pub(super) fn find(&self, name: &str) -> Result<&Region, GpuError> {
        let found = self.regions()?.iter().find(|region| region.tensor.name == name);
        found.ok_or_else(|| GpuError::NoSuchTensor { name: name.into() })
    }

    pub(super) fn slice(&self, slice: &TensorSlice) -> Result<Secret, GpuError> {
        let region = self.find(&slice.tensor)?;
        let (start, end) = (slice.range.start, slice.range.end);
        let length = region.length as u64;
        if start > end || end > length {
            return Err(GpuError::OutOfRange { start, end, length });
        }
        Ok(self.place(region)?.part(start as usize, (end - start) as usize)?)
    }
}

/// Where each tensor goes, and how much memory that is.
pub(super) fn lay_out(tensors: &[TensorInfo]) -> Option<(Vec<Region>, usize)> {
    let mut offset = 0usize;
    let mut regions = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let length = usize::try_from(tensor.length).ok()?;
        regions.push(Region { tensor: tensor.clone(), offset, length });
        offset = offset.checked_add(length)?.checked_next_multiple_of(ALIGN)?;
    }
    Some((regions, offset))
}

/// As kernels and consumers want tensors.
const ALIGN: usize = 256;
