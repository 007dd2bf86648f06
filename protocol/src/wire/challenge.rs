//! `Challenge`: a custodian's choice and its nonce. Chapter 20.

use minicbor::{Decode, Encode};

use crate::ids::{CustodianId, Generation};
use crate::suite::{Nonce, SuiteId};

/// Belongs to one connection; burnt by any use or error. [HS-6]
#[derive(Clone, Debug, Encode, Decode, Eq, Hash, PartialEq)]
#[cbor(map)]
pub struct Challenge {
    #[n(1)]
    pub custodian: CustodianId,
    /// A grant of an older life of this custodian cannot answer.
    #[n(2)]
    pub generation: Generation,
    /// Evidence made before it is not fresh.
    #[n(3)]
    pub nonce: Nonce,
    #[n(4)]
    pub version: u16,
    /// Fixed here: no message chooses an algorithm after it.
    #[n(5)]
    pub suite: SuiteId,
}
