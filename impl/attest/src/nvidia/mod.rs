//! NVIDIA Evidence: reports of GPUs, verified offline against pinned roots and the owner's rules.
//!
//! Chapter 20. When [`Verifier::examine`] gives [`Accepted`], each GPU of the set is a genuine one
//! of the policy, reported with the nonce that is in it, and runs firmware whose every measurement
//! equals a reference value of a RIM that the policy pins. [HS-22] to [HS-30]
//!
//! It asks no service and no clock. It does not show who asked for the report: a GPU signs whatever
//! nonce its host hands it, so the CPU's half ties it to a session. [HS-11] [HS-12]
//!
//! ```text
//!   report --parse--> nonce --> chain to the root --> signature --> firmware id --> mode
//!     --> revocations --> policy --> RIMs --> every measurement --> the set --> Accepted
//! ```

mod appraiser;
mod bytes;
mod cache;
mod cert;
mod chain;
pub mod collect;
mod compare;
mod content;
mod dsig;
mod evidence;
mod examine;
mod log;
mod opaque;
mod path;
mod policy;
mod provider;
mod reason;
mod report;
mod rim;
#[cfg(test)]
mod tests;
mod token;
mod verifier;
mod xml;

pub use appraiser::Appraiser;
pub use chain::{CHAIN_CAP, DeviceChain};
pub use evidence::{GpuEvidence, GpuHalf, device_id};
pub use log::{Depth, Entry, Log, State, Step};
pub use opaque::{Mode, Opaque};
pub use policy::{KnownPolicy, KnownRevocations, Policy, Revocations, SIGNED_CAP, Text};
pub use provider::{Form, Provider};
pub use reason::{Finding, Place, Reason};
pub use report::{BLOCKS, REPORT_CAP, Report};
pub use rim::Rim;
pub use token::{Confirmed, CpuHalf, Token, platform_id};
pub use verifier::{
    Accepted, Case, Examination, ExaminedGpu, Gpu, MOST_GPUS, MOST_RIMS, Rules, Verifier,
};
pub use xml::DOCUMENT_CAP;

use crate::time::UnixTime;
