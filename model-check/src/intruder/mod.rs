//! The intruder: what an adversary can compose from what it knows, found by asking the machines.
//!
//! All chapters. It knows every frame that an honest machine ever sent, owns a key, a genuine device
//! and the channels that it opened, and plays every corrupt custodian. What it may send next is not a
//! list of attacks: a message is a template of *holes*, the unmodified production step runs on it,
//! and the suite says with which value a hole is compared. If that value can be derived the hole
//! becomes it and the step runs again; if not, the message was in vain. Nothing here knows what a
//! machine checks, in which order, or whether it checks at all.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`knowledge`] | what was seen, and what can be derived from it |
//! | [`oracle`] | the comparison at which a step met a hole |
//! | `template` | message variants with holes, one for each that an adversary can send |
//! | `narrow` | from templates to the ground messages that make a difference |
//! | [`eager`] | the twin: every well-typed message, to show that none is missed |
//!
//! Perfect cryptography; typed messages (a digest is never taken for a key); a field that nobody
//! compares is one constant, except where a machine keeps it: those range over what is known.

mod approvals;
pub mod eager;
pub mod knowledge;
mod narrow;
pub mod oracle;

mod template;
pub mod twin;

pub use narrow::{Composed, compositions};
