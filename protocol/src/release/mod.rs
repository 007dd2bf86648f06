//! Release: a custodian decides once, makes it durable, and only then lets its share go.
//!
//! Chapter 30. When a [`Granter`] yields its frame, the lease and its audit leaf are durable, the
//! share is sealed to the attested key under everything that was decided, and the grant is signed.
//! On the device a [`Checked`] grant answers this session's own request in every field.
//! Neither side opens a share: chapter 40 does.
//!
//! ```text
//!  Granter    Committing -> Releasing -> Granted
//!                  \            \-> Retrying -/
//!                   \---- Cancelled, Fenced, HsmFailed ----> Closed
//!  Requester  AwaitGrant -> Checked
//! ```

mod granter;
mod policy;
mod requester;

pub use granter::{Granter, GranterInput, GranterStep, Grantor};
pub use policy::{Coverage, Decided, Life, PolicyInput, Serving, decide};
pub use requester::{Checked, Expected, check_grant};
