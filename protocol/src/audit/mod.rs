//! Audit: what a custodian knows it has done, and when it may act at all.
//!
//! Chapter 80. A [`Standing`] that is `Serving` was provisioned by the owner and activated by
//! operators in this very store, and the store is not behind its anchor. Leaves are written by the
//! transactions of the other chapters; the log itself is `impl/store`.
//!
//! ```text
//!  Unprovisioned --Provisioned--> Recovering --Activate--> Activating --Anchored--> Serving
//!                                    ^------------- Fenced -------------/
//! ```

mod standing;

pub use standing::{Knows, Standing, StandingInput, check_activation, recover};
