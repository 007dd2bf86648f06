//! Every type that crosses a boundary, and the one codec for all of them.
//!
//! Chapter 10. What decodes here is the one encoding of its value, within its caps, with nothing
//! after it. Whether the value is acceptable is for the machines.

pub mod audit;
pub mod challenge;
pub mod codec;
pub mod evidence;
pub mod grant;
pub mod hello;
pub mod lease;
pub mod manifest;
pub mod message;
pub mod order;
pub mod signed;
pub mod standing;

pub use codec::{decode, encode};
pub use message::{Message, MessageType};
pub use signed::{ObjectKind, Signed};
