//! What can go wrong with keys; no message carries a secret.

use std::io;
use std::path::PathBuf;

use split_custody_protocol::wire::ObjectKind;

/// A key could not be made or used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    #[error("not a P-256 private key in PKCS#8 with its public half")]
    NotPkcs8,
    #[error("signing failed in the cryptographic provider")]
    Signing,
    #[error("the payload is `{length}` bytes where at most `{cap}` are allowed [WIRE-1]")]
    PayloadTooLong { length: usize, cap: usize },
    #[error("this role does not sign objects of kind `{0:?}`")]
    KindOfAnotherRole(ObjectKind),
}

/// A key file breaks a rule; the message names the file and the rule.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    #[error("`{}`: exists already, and key files are never overwritten", path.display())]
    Exists { path: PathBuf },
    #[error("`{}`: cannot be written", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("`{}`: cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}`: mode `{mode:03o}` lets others read it; a key file must be 600 or 400", path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("`{}`: {rule}", path.display())]
    Malformed { path: PathBuf, rule: &'static str },
    #[error("no key could be made")]
    Key(#[from] KeyError),
}

/// A custodian's key effect failed; it may run once more. [REL-13]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HsmError {
    #[error("the key store is switched off")]
    Outage,
    #[error("suite `{0:#06x}` is not implemented here [REL-12]")]
    SuiteNotImplemented(u16),
    #[error("the provisioned share does not open under this context and key")]
    ShareNotOpened,
    #[error("the device key is not valid for its suite [HS-15]")]
    DeviceKeyInvalid,
    #[error("signing failed in the cryptographic provider")]
    Signing,
    #[error("the HSM's worker is not there: {0}")]
    Unavailable(&'static str),
    #[error("the HSM did not answer within its deadline [HSM-11]")]
    Deadline,
    #[error("the HSM needs a person: {0}")]
    Operator(&'static str),
    #[error("the HSM refused it: {0}")]
    Refused(&'static str),
}

impl HsmError {
    /// Whether the peer's input is to blame, and nothing else. [HSM-9]
    pub const fn is_client_fault(self) -> bool {
        matches!(self, Self::DeviceKeyInvalid | Self::SuiteNotImplemented(_) | Self::Refused(_))
    }
}

/// A dealing or a combination is not possible.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DealError {
    #[error("k is `{k}` and n is `{n}` where 1 <= k <= n <= 255 is needed [QRM-7]")]
    ParametersInvalid { k: usize, n: usize },
    #[error("index `{0}` is zero or appears twice [QRM-7]")]
    IndexInvalid(u8),
    #[error("custodian id `{0}` is zero or appears twice [QRM-7]")]
    CustodianInvalid(u8),
    #[error("the KEK of custodian `{0}` is not a valid public key")]
    KekInvalid(u8),
}
