//! A custodian's keys in an HSM, over PKCS#11.
//!
//! Chapter 35. [`Token`] is a module's token, opened and logged in; [`Hsm`] holds a custodian's keys
//! in it and releases; [`conform`] tries what a token really does. [`WorkerCustody`] is what a
//! custodian uses: the module runs in a process of its own (`serve`), behind a deadline.
//!
//! A share is in clear inside the token only. What it does not do: stop a host that is actively
//! compromised and logged in (chapter 35 says why); `tests/attacks.rs` shows both halves.

mod config;
pub mod conform;
mod error;
mod hsm;
mod keys;
mod pin;
mod pool;
mod raw;
mod serve;
mod table;
mod token;
mod wire;
mod worker;

pub use config::{Config, find_softhsm};
pub use error::{Class, Error};
pub use hsm::{Hsm, Leftovers, Order, Sessions};
pub use keys::{KEYS, Kind};
pub use pin::PinSource;
pub use raw::{Attr, Mech, Raw, code};
pub use serve::serve;
pub use table::{Table, builtin};
pub use token::Token;
pub use token::create;
pub use worker::{LANES, Starter, TlsKey, WorkerCustody};
