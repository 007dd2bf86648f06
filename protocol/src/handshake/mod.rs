//! Handshake: one exchange per custodian, one Evidence for all of them.
//!
//! Chapter 20. When a [`Verifier`] yields [`Appraised`], the device that its Evidence names holds
//! the device key of this request, ends this TLS channel, and made its reports for this session
//! after this challenge. It does not decide whether that device may have a share (chapter 30).
//!
//! ```text
//!  Attester   AwaitChannel -> AwaitExporter -> AwaitChallenge -> Ready -> AwaitGrant
//!                                  Hello ->         <- Challenge    Request ->
//!  Verifier   AwaitHello -> AwaitExporter -> AwaitRequest -> Appraising -> Appraised
//! ```
//! Any error, anywhere, leads to `Closed` and burns the challenge.

mod appraisal;
mod attester;
mod verifier;

pub use appraisal::{Appraised, Appraiser};
pub use attester::{Attester, AttesterInput, ReadyEntry};
pub use verifier::{Verifier, VerifierContext, VerifierInput, VerifierStep};
