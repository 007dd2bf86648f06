//! Sealing: weights become a file that opens only whole, and only under its key.
//!
//! Chapter 15. A safetensors file is sealed tensor by tensor with Cobblestone-256 under one fresh
//! DEK; the result is again a safetensors file, of `U8` tensors with public names. What the manifest
//! must say about it is a [`SealedTable`].
//!
//! When [`seal()`] returns, the target is complete, durable and in place; on an error the target is as
//! it was. When [`Reader::open`] returns, the file agrees with the signed table and no key was used.
//! When [`Reader::open_all`] returns a [`Loaded`], every chunk of every tensor carried a good tag in
//! the caller's own memory, and the Merkle root agreed; on an error that memory is zeroed.
//!
//! It does not sign or check manifests, hold shares, or decide who may open. Sizes and the number of
//! tensors stay visible. No digest of plaintext is published. [SEAL-12]
//!
//! ```text
//!   source --seal--> sealed file + SealedTable --(manifest)--> Reader --open_header--> Header
//!                                                                 \--open_all--> Loaded
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod bench;
mod compare;
pub mod container;
mod context;
mod destination;
mod elsewhere;
mod error;
mod header;
mod ids;
mod inspect;
mod manifest;
mod merkle;
mod open;
mod pool;
mod restore;
mod seal;
mod staged;
mod storage;

pub use destination::{Buffers, Destination, RUN_BYTES, Sink};
pub use elsewhere::{SealedMessage, TagDigest, tags_of};
pub use error::{Place, SealedRule, SourceRule, TableRule, WeightsError};
pub use header::{Header, OpenedTensor};
pub use ids::{Dek, Ids, Threads};
pub use inspect::inspect;
pub use manifest::{SealedTable, SealedTensor};
pub use open::{Loaded, Reader};
pub use restore::restore;
pub use seal::seal;
pub use staged::Target;
pub use storage::ReadAt;
