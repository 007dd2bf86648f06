//! Who a sealed file is, its key, and how many threads may work on it.
//!
//! Chapter 15. The key is zeroed on drop and never printed. It does not say where keys come from in a
//! running device: shares are combined elsewhere.

use std::num::NonZeroUsize;
use std::thread;

use ring::rand::{SecureRandom, SystemRandom};
use split_custody_kernels::InputKey;
use zeroize::Zeroizing;

use crate::error::WeightsError;

/// The data encryption key of one container. One fresh DEK per container. [SEAL-1]
#[derive(Clone)]
pub struct Dek(InputKey);

impl Dek {
    /// Draws a fresh DEK. [SEAL-1]
    pub fn generate() -> Result<Self, WeightsError> {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut bytes[..])?;
        Ok(Self::new(*bytes))
    }

    /// Takes a DEK that was combined from shares. The caller erases its own copy.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(InputKey::new(bytes))
    }

    /// The bytes, for whoever splits the DEK into shares.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }

    pub(crate) fn input_key(&self) -> &InputKey {
        &self.0
    }
}

/// The identity of a sealed file, bound into every tensor's context. [SEAL-2]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Ids {
    /// This container; new for every seal.
    pub container: [u8; 16],
    /// The weights, the same through all their versions.
    pub weights: [u8; 16],
    /// The version of the weights; it only rises.
    pub version: u64,
}

impl Ids {
    /// Ids of a new container, drawn at random.
    pub fn fresh(weights: [u8; 16], version: u64) -> Result<Self, WeightsError> {
        let mut container = [0; 16];
        fill_random(&mut container)?;
        Ok(Self { container, weights, version })
    }
}

/// How many threads may work at once, the caller's included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Threads(pub NonZeroUsize);

impl Threads {
    /// One per core that this process may use.
    pub fn all() -> Self {
        Self(thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    /// The caller's thread alone.
    pub fn one() -> Self {
        Self(NonZeroUsize::MIN)
    }
}

pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), WeightsError> {
    SystemRandom::new().fill(bytes).map_err(|_| WeightsError::NoRandomness)
}
