//! Quorum: k of n custodians, one session, one key.
//!
//! Chapter 40. When a [`Tally`] is [`Combined`], k shares of distinct custodians, all granted for
//! this session and matching their commitments, made a DEK that matches the owner's commitment.
//! A custodian that lies or fails closes its own exchange only, and is named. [QRM-5]
//!
//! ```text
//!  Idle -> Gathering -> Attesting -> Requesting -> Loading -> Serving -> Erasing -> Idle
//!             \-------------\------------\--- TooFew, failures ---> Idle
//! ```

mod custody;
mod tally;

pub use custody::{Custody, CustodyInput};
pub use tally::{Combined, Outcome, Tally};
