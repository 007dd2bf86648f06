//! The model at its owner: the bytes that everything on the device is compared with.

use std::path::{Path, PathBuf};

use split_custody_gpu::{TensorInfo, slice_checksum, tensor_mac};
use split_custody_weights::container::{Container, Tensor};
use zeroize::Zeroizing;

use crate::args::DemoArgs;
use crate::failure::{Failure, io_at};

/// A source file, whole in the owner's memory.
pub struct Source {
    pub path: PathBuf,
    pub name: String,
    bytes: Zeroizing<Vec<u8>>,
    container: Container,
}

impl Source {
    /// The named model, or the one that is linked in, written to `folder`.
    pub fn open(args: &DemoArgs, folder: &Path) -> Result<Self, Failure> {
        let path = match &args.model {
            Some(path) => path.clone(),
            None => unpack(folder)?,
        };
        let bytes = std::fs::read(&path).map_err(|e| io_at(&path, "open the file", &e))?;
        let bytes = Zeroizing::new(bytes);
        let container = Container::read(&&bytes[..], &path)?;
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Self { path, name, bytes, container })
    }

    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub fn tensors(&self) -> &[Tensor] {
        &self.container.contents.tensors
    }

    pub fn bytes_of(&self, tensor: &Tensor) -> &[u8] {
        let begin = usize::try_from(self.container.data_offset() + tensor.begin);
        let range = begin.ok().zip(usize::try_from(tensor.length).ok());
        // INVARIANT: the container was read from these very bytes.
        range.and_then(|(at, len)| self.bytes.get(at..at + len)).unwrap_or_default()
    }

    /// All tensor data, for memory scans.
    pub fn data(&self) -> &[u8] {
        let begin = usize::try_from(self.container.data_offset()).unwrap_or(usize::MAX);
        self.bytes.get(begin..).unwrap_or_default()
    }

    /// What the device must answer for a tensor under this nonce.
    pub fn mac(&self, tensor: &Tensor, nonce: &[u8; 32]) -> [u8; 32] {
        let info = TensorInfo {
            name: tensor.name.clone(),
            dtype: tensor.dtype.clone(),
            shape: tensor.shape.clone(),
            length: tensor.length,
        };
        tensor_mac(nonce, &info, self.bytes_of(tensor))
    }

    /// What the device must answer for a request.
    pub fn checksum(&self, tensor: &Tensor, start: usize, end: usize, key: &[u8; 32]) -> [u8; 32] {
        let slice = self.bytes_of(tensor).get(start..end).unwrap_or_default();
        slice_checksum(key, &tensor.name, start as u64, slice)
    }
}

#[cfg(feature = "demo")]
fn unpack(folder: &Path) -> Result<PathBuf, Failure> {
    let mut model = include_bytes!(concat!(env!("OUT_DIR"), "/model.masked")).to_vec();
    super::mask::apply(&mut model);
    let path = folder.join("silero_vad_16k.safetensors");
    crate::files::write_new(&path, &model, 0o600)?;
    Ok(path)
}

#[cfg(not(feature = "demo"))]
fn unpack(_: &Path) -> Result<PathBuf, Failure> {
    Err(Failure::Usage("--model FILE is needed: this build links no model".into()))
}
