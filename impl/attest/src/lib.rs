//! Evidence: who makes it, and what an appraiser reads from it.
//!
//! Chapter 20. [`appraise()`] gives a [`Verdict`](split_custody_protocol::effect::Verdict) or one
//! [`RejectReason`]; every check that fails rejects, and no check can be waived. A verdict is only
//! what the Evidence says: whether its nonce is this session's, its device enrolled and its
//! measurements admitted is decided by `protocol` alone. [HS-11] to [HS-16]
//!
//! Kind `software` is signed by two software keys, so it shows who signed and not where the code ran:
//! the isolation behind it is whatever the operating system gives. Kind NVIDIA is [`nvidia`]: reports
//! of GPUs, verified offline, and a token of the CPU's verifier. Policy must name the kind for it to
//! count. [HS-16]

#![forbid(unsafe_code)]

mod appraise;
mod attester;
mod measure;
pub mod nvidia;
mod software;
#[cfg(test)]
mod tests;
mod time;

pub use appraise::{Half, RejectReason, appraise};
pub use attester::{CollectError, SoftwareAttester};
pub use measure::Measurements;
pub use software::{device_id, platform_id};
pub use time::{NotATime, UnixTime};
