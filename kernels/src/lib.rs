//! Cobblestone-256 and the primitives of a release: one operation, one name, any backend.
//!
//! Chapter 15. The format is <https://c2sp.org/chunked-encryption>: HKDF-Expand-SHA-512 gives a key,
//! a base nonce and a commitment per message; the message travels in chunks of 16 KiB, the last of
//! which is always shorter. [`operations`] has what chapters 20, 30, 40 and 70 ask of a device.
//!
//! When [`Opener::new`] returns, the commitment agreed in constant time, so key, salt and context
//! are the sealer's; when an `open` call returns `Ok`, every chunk in it carried a good tag. On any
//! failure the output of that call is zeroed.
//!
//! [`Portable`] runs everywhere and is what other crates use. The CUDA code in `cu/` is the other
//! implementation: `cuda` (a feature) runs it on a GPU, `shim` (a feature, and in every test) on the
//! CPU. Both are [`device`] backends. `docs/kernels.md` says more.
//!
//! It does not choose salts, read files, or bind names and shapes: that is `split-custody-weights`.
//! The portable backend leans on `ring`, whose expanded keys cannot be erased through its API;
//! [`Portable`] overwrites them in place on drop, as well as safe code can.
//!
//! ```
//! use split_custody_kernels::{InputKey, Portable, Salt, open_message, seal_message};
//!
//! let key = InputKey::new([7; 32]);
//! let sealed = seal_message(&Portable, &key, &Salt([1; 24]), b"context", b"a message")?;
//! let opened = open_message(&Portable, &key, b"context", &sealed)?;
//! assert_eq!(&opened[..], b"a message");
//! # Ok::<(), split_custody_kernels::ChunkError>(())
//! ```

#![cfg_attr(not(any(feature = "shim", feature = "cuda")), forbid(unsafe_code))]
#![deny(unsafe_code)]
#![warn(missing_docs)]

mod backend;
mod batch;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod device;
pub mod hazmat;
mod layout;
mod message;
pub mod operations;
mod portable;
pub mod prebuilt;
#[cfg(feature = "cuda")]
#[allow(unsafe_code)]
pub mod resident;
#[cfg(feature = "shim")]
pub mod shim;

pub use backend::{Backend, ChunkError, Commitment, Derived, InputKey, Salt, Tag};
pub use batch::{OpenTensors, SealedTensor};
pub use layout::{CHUNK_BYTES, CHUNKS_MAX, HEADER_BYTES, Layout, STRIDE_BYTES, TAG_BYTES};
pub use message::{Opener, Sealer, open_message, seal_message};
pub use portable::Portable;
