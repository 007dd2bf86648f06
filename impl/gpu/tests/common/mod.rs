//! What the tests share: an owner, a source model, its sealed file, and a device made clean.
#![allow(dead_code)] // Each test binary takes what it needs.

pub mod fake;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use split_custody_gpu::sim::{SimConfig, SimDevice};
use split_custody_gpu::{
    GpuDevice, GpuError, Incarnation, Load, OwnerKey, SignedNonce, TensorInfo, TensorProof,
    nonce_message, tensor_mac,
};
use split_custody_weights::container::Container;
use split_custody_weights::{Dek, Ids, SealedTable, Threads, seal};
use tempfile::TempDir;

pub const MIB: u64 = 1 << 20;

/// Signs nonces.
pub struct Owner(EcdsaKeyPair);

impl Owner {
    pub fn new() -> Self {
        let (rng, algorithm) = (SystemRandom::new(), &ECDSA_P256_SHA256_FIXED_SIGNING);
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &rng).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &rng).unwrap())
    }

    pub fn key(&self) -> OwnerKey {
        OwnerKey(self.0.public_key().as_ref().try_into().unwrap())
    }

    pub fn sign(&self, incarnation: &Incarnation) -> SignedNonce {
        let (rng, mut nonce) = (SystemRandom::new(), [0; 32]);
        rng.fill(&mut nonce).unwrap();
        let signature = self.0.sign(&rng, &nonce_message(&nonce, incarnation)).unwrap();
        let signature = signature.as_ref().try_into().unwrap();
        SignedNonce { nonce, signature }
    }
}

/// A source as the owner has it, beside its sealed file.
pub struct Model {
    pub dek: Dek,
    pub sealed: PathBuf,
    pub table: SealedTable,
    source: Vec<u8>,
    container: Container,
    folder: TempDir,
}

impl Model {
    pub fn seal(source: &Path) -> Self {
        let folder = TempDir::new().unwrap();
        let sealed = folder.path().join("model.sealed.safetensors");
        let (dek, ids) = (Dek::generate().unwrap(), Ids::fresh([7; 16], 1).unwrap());
        let table = seal(source, &sealed, &dek, &ids, Threads::all(), &|_| {}).unwrap();
        let source_bytes = fs::read(source).unwrap();
        let container = Container::read(&source_bytes.as_slice(), source).unwrap();
        Self { dek, sealed, table, source: source_bytes, container, folder }
    }

    /// Tensors of these sizes, named `size-<n>-<i>`, with bytes that repeat with a prime period.
    pub fn of_sizes(sizes: &[u64]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("source.safetensors");
        fs::write(&path, safetensors(sizes)).unwrap();
        Self::seal(&path)
    }

    /// The small real model of the repository.
    pub fn real() -> Self {
        Self::seal(&real_path())
    }

    pub fn bytes(&self, name: &str) -> &[u8] {
        let tensor = self.container.contents.tensors.iter().find(|t| t.name == name).unwrap();
        let begin = (self.container.data_offset() + tensor.begin) as usize;
        &self.source[begin..][..tensor.length as usize]
    }

    pub fn tensors(&self) -> Vec<TensorInfo> {
        let info = |t: &split_custody_weights::container::Tensor| TensorInfo {
            name: t.name.clone(),
            dtype: t.dtype.clone(),
            shape: t.shape.clone(),
            length: t.length,
        };
        self.container.contents.tensors.iter().map(info).collect()
    }

    /// What an honest device must answer.
    pub fn proofs(&self, nonce: &[u8; 32]) -> Vec<TensorProof> {
        let prove = |tensor: TensorInfo| TensorProof {
            mac: tensor_mac(nonce, &tensor, self.bytes(&tensor.name)),
            name: tensor.name,
        };
        self.tensors().into_iter().map(prove).collect()
    }

    /// Flips one bit of the sealed file, counted from its end.
    pub fn tamper(&self, from_end: usize) {
        let mut bytes = fs::read(&self.sealed).unwrap();
        let at = bytes.len() - from_end;
        bytes[at] ^= 1;
        fs::write(&self.sealed, bytes).unwrap();
    }

    pub fn load(&self, device: &dyn GpuDevice) -> Result<Vec<TensorInfo>, GpuError> {
        let dek = device.store_key(self.dek.expose())?;
        device.load(&Load {
            sealed: &self.sealed,
            table: &self.table,
            dek,
            threads: Threads::all(),
            cancel: &AtomicBool::new(false),
            progress: &|_| {},
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// Zeroise, scrub, plant: the only way to a clean incarnation.
pub fn clean(device: &dyn GpuDevice) -> Incarnation {
    device.zeroise().unwrap();
    device.scrub().unwrap();
    device.plant().unwrap()
}

pub fn sim(owner: &Owner) -> SimDevice {
    let config = SimConfig { reserve: 4 * MIB, limit: 512 * MIB, owner: owner.key() };
    SimDevice::new(config).unwrap()
}

pub fn real_path() -> PathBuf {
    // A machine with a GPU may have the models elsewhere than the machine that built this.
    let folder = std::env::var_os("SPLIT_CUSTODY_MODELS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/models"), PathBuf::from);
    folder.join("silero_vad_16k.safetensors")
}

pub fn safetensors(sizes: &[u64]) -> Vec<u8> {
    let mut begin = 0;
    let entry = |(i, size): (usize, &u64)| {
        let (from, to) = (begin, begin + size);
        begin = to;
        format!(
            r#""size-{size}-{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{from},{to}]}}"#
        )
    };
    let entries: Vec<_> = sizes.iter().enumerate().map(entry).collect();
    let header = format!("{{{}}}", entries.join(","));
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..begin).map(|i| (i * 37 % 251) as u8));
    file
}
