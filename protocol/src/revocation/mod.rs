//! Revocation: orders only accumulate, and what they cover stops within a bound.
//!
//! Chapter 60. When [`Progress`] reaches `Acknowledged`, the order is durable and anchored, no
//! grant or renewal answer that it covers can still leave this custodian, and cached shares are
//! gone. When [`effective()`] yields [`Effective`], no honest device uses the subject's model after
//! ttl-max. It does not carry orders: anyone may.
//!
//! ```text
//!  Draining --Committed--> Anchoring --Anchored--> Destroying --Destroyed--> Acknowledging --> Acknowledged
//! ```

mod effective;
mod orders;
mod progress;

pub use effective::{AckSet, Effective, NotEffective, effective, required};
pub use orders::{Held, KnownOrder, Novelty, OrderSet, verify_approvals, verify_order};
pub use progress::{Progress, ProgressInput};
