//! What can go wrong with a token, and whose business it is. No message carries a secret.

use std::io;
use std::path::PathBuf;

use cryptoki_sys::CK_RV;
use split_custody_keys::HsmError;

/// A token, or what is kept for it, does not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("`{path}`: not a PKCS#11 module that loads: {text}", path = .0.display(), text = .1)]
    Module(PathBuf, String),
    #[error("`{path}`: no token with the label `{label}`", path = .0.display(), label = .1)]
    NoToken(PathBuf, String),
    #[error("the module lacks `{0}`")]
    NoFunction(&'static str),
    #[error("{function} returned `{rv:#x}`")]
    Returned { function: &'static str, rv: CK_RV },
    #[error("the PIN is not accepted; it was tried once and will not be tried again [HSM-10]")]
    Pin,
    #[error("the PIN of `{0}` cannot be had: {1} [HSM-10]")]
    PinSource(String, String),
    #[error("attribute `{0:#x}` is not there or too long")]
    NoAttribute(u64),
    #[error("the token has no key `{0}`; make it with `custody hsm init`")]
    NoKey(&'static str),
    #[error("a share lies under a KEK that the token does not have")]
    UnknownKek,
    #[error("the token has a key `{0}` already, and keys are never overwritten")]
    KeyExists(&'static str),
    #[error("the key `{key}` is weak: `{attribute}` must be {must} [HSM-6]")]
    WeakKey { key: &'static str, attribute: &'static str, must: bool },
    #[error("known-answer test `{0}` failed: the token does not compute it as it must [HSM-7]")]
    KnownAnswer(&'static str),
    #[error("{told}", told = .0)]
    Worker(String),
    #[error("{told}", told = .0)]
    WorkerMissing(String),
    #[error("no profile of this specification works with this token [HSM-8]")]
    NoProfile,
    #[error("the input is not valid: {0} [HSM-9]")]
    Input(&'static str),
    #[error("the suite is not the one of this token's keys [REL-12]")]
    OtherSuite,
    #[error("`{path}`: {what}", path = .0.display(), what = .1)]
    File(PathBuf, &'static str),
    #[error("`{path}`: cannot be read or written", path = .0.display())]
    Io(PathBuf, #[source] io::Error),
    #[error("`{path}`: not a configuration of an HSM: {what}", path = .0.display(), what = .1)]
    Config(PathBuf, String),
}

/// What a custodian does about an error. Chapter 35, *Errors*.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Open the sessions again, once.
    Session,
    /// End the worker; the next request starts another.
    Device,
    /// Client or device: one question after the session decides.
    Doubtful,
    /// Stop asking until a person acts.
    Operator,
    /// Refuse this request.
    Client,
}

impl Error {
    /// The class of this error.
    pub const fn class(&self) -> Class {
        match self {
            Self::Returned { rv, .. } => class_of(*rv),
            Self::Input(_) | Self::OtherSuite => Class::Client,
            // A rotation beside this process: the new KEK is found by looking again.
            Self::UnknownKek => Class::Session,
            Self::NoFunction(_) | Self::NoAttribute(_) | Self::Io(..) | Self::NoToken(..) => {
                Class::Device
            }
            _ => Class::Operator,
        }
    }

    /// The same as a custodian's machine hears it.
    pub const fn as_hsm_error(&self) -> HsmError {
        match self.class() {
            Class::Client => {
                HsmError::Refused("the input, or its suite, is not valid for this token")
            }
            Class::Operator => HsmError::Operator("see the operator's log"),
            Class::Session | Class::Device | Class::Doubtful => {
                HsmError::Unavailable("the token does not answer as it must")
            }
        }
    }

    /// Whether something is missing on this machine, not wrong.
    pub const fn is_missing(&self) -> bool {
        matches!(self, Self::Module(..) | Self::NoToken(..) | Self::WorkerMissing(..))
    }
}

const fn class_of(rv: CK_RV) -> Class {
    use cryptoki_sys as ck;
    match rv {
        ck::CKR_SESSION_HANDLE_INVALID
        | ck::CKR_SESSION_CLOSED
        | ck::CKR_OBJECT_HANDLE_INVALID
        | ck::CKR_KEY_HANDLE_INVALID
        | ck::CKR_WRAPPING_KEY_HANDLE_INVALID
        | ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID
        | ck::CKR_USER_NOT_LOGGED_IN => Class::Session,
        ck::CKR_DEVICE_REMOVED
        | ck::CKR_TOKEN_NOT_PRESENT
        | ck::CKR_CRYPTOKI_NOT_INITIALIZED
        | ck::CKR_DEVICE_MEMORY
        | ck::CKR_HOST_MEMORY => Class::Device,
        ck::CKR_GENERAL_ERROR | ck::CKR_DEVICE_ERROR | ck::CKR_FUNCTION_FAILED => Class::Doubtful,
        ck::CKR_PIN_INCORRECT
        | ck::CKR_PIN_INVALID
        | ck::CKR_PIN_LEN_RANGE
        | ck::CKR_PIN_EXPIRED
        | ck::CKR_PIN_LOCKED
        | ck::CKR_TOKEN_NOT_RECOGNIZED => Class::Operator,
        _ => Class::Client,
    }
}

impl From<cryptoki::error::Error> for Error {
    fn from(error: cryptoki::error::Error) -> Self {
        use cryptoki::error::{Error as E, RvError};
        match error {
            E::Pkcs11(
                RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked,
                _,
            ) => Self::Pin,
            E::Pkcs11(RvError::TokenNotPresent | RvError::DeviceRemoved, _) => {
                Self::Returned { function: "cryptoki", rv: cryptoki_sys::CKR_TOKEN_NOT_PRESENT }
            }
            _ => Self::Returned { function: "cryptoki", rv: cryptoki_sys::CKR_GENERAL_ERROR },
        }
    }
}

#[cfg(test)]
mod tests {
    use cryptoki_sys as ck;

    use super::*;

    fn class(rv: CK_RV) -> Class {
        Error::Returned { function: "C_Any", rv }.class()
    }

    #[test]
    fn hsm_9_what_tokens_say_is_of_the_class_of_chapter_35() {
        let session = [
            ck::CKR_SESSION_HANDLE_INVALID,
            ck::CKR_SESSION_CLOSED,
            ck::CKR_OBJECT_HANDLE_INVALID,
            ck::CKR_KEY_HANDLE_INVALID,
            ck::CKR_WRAPPING_KEY_HANDLE_INVALID,
            ck::CKR_UNWRAPPING_KEY_HANDLE_INVALID,
            ck::CKR_USER_NOT_LOGGED_IN,
        ];
        let device = [
            ck::CKR_DEVICE_REMOVED,
            ck::CKR_TOKEN_NOT_PRESENT,
            ck::CKR_CRYPTOKI_NOT_INITIALIZED,
            ck::CKR_DEVICE_MEMORY,
            ck::CKR_HOST_MEMORY,
        ];
        let doubtful = [ck::CKR_GENERAL_ERROR, ck::CKR_DEVICE_ERROR, ck::CKR_FUNCTION_FAILED];
        let operator = [
            ck::CKR_PIN_INCORRECT,
            ck::CKR_PIN_INVALID,
            ck::CKR_PIN_LEN_RANGE,
            ck::CKR_PIN_EXPIRED,
            ck::CKR_PIN_LOCKED,
        ];
        let client = [
            ck::CKR_WRAPPED_KEY_INVALID,
            ck::CKR_WRAPPED_KEY_LEN_RANGE,
            ck::CKR_MECHANISM_PARAM_INVALID,
            ck::CKR_DATA_LEN_RANGE,
            ck::CKR_ENCRYPTED_DATA_INVALID,
            ck::CKR_ARGUMENTS_BAD,
        ];
        assert!(session.into_iter().all(|rv| class(rv) == Class::Session));
        assert!(device.into_iter().all(|rv| class(rv) == Class::Device));
        assert!(doubtful.into_iter().all(|rv| class(rv) == Class::Doubtful));
        assert!(operator.into_iter().all(|rv| class(rv) == Class::Operator));
        assert!(client.into_iter().all(|rv| class(rv) == Class::Client));
    }

    #[test]
    fn hsm_9_only_the_class_client_is_told_as_the_clients_fault() {
        let told = |rv| Error::Returned { function: "C_Any", rv }.as_hsm_error();
        assert!(told(ck::CKR_WRAPPED_KEY_INVALID).is_client_fault());
        for rv in [
            ck::CKR_SESSION_HANDLE_INVALID,
            ck::CKR_DEVICE_REMOVED,
            ck::CKR_GENERAL_ERROR,
            ck::CKR_PIN_LOCKED,
        ] {
            assert!(!told(rv).is_client_fault(), "{rv:#x}");
        }
        let weak = Error::WeakKey { key: "share-kek", attribute: "EXTRACTABLE", must: false };
        for error in [weak, Error::Pin, Error::KnownAnswer("a")] {
            assert_eq!(error.class(), Class::Operator, "{error}");
        }
        assert_eq!(Error::OtherSuite.class(), Class::Client);
        assert_eq!(Error::Input("a").class(), Class::Client);
        assert_eq!(Error::UnknownKek.class(), Class::Session);
    }
}
