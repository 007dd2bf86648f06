//! One suite, shared between a machine and the effects that need what lies behind its handles.
//!
//! Chapters 15 to 40. A device's machine combines a DEK in its suite; loading and erasing happen in
//! effects, on another thread. [`SharedSuite::lend`] is for moments: whoever holds the suite keeps
//! the machine waiting, so a loader takes what it needs and gives it back.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use split_custody_protocol::Suite;
use split_custody_protocol::ids::{ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceSecret, Differs, Digest, InvalidKey, Label, Nonce,
    NotOpened, SealedShare, ShareHandle, SharePlace, Signature, SuiteId, VerifyKey,
};

/// A suite that several threads of one process use, one at a time.
pub struct SharedSuite<S>(Arc<Mutex<S>>);

impl<S> SharedSuite<S> {
    pub fn new(suite: S) -> Self {
        Self(Arc::new(Mutex::new(suite)))
    }

    /// Runs `with` on the suite; nobody else uses it meanwhile.
    pub fn lend<T>(&self, with: impl FnOnce(&mut S) -> T) -> T {
        with(&mut self.hold())
    }

    fn hold(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Clone for SharedSuite<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for SharedSuite<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSuite")
    }
}

impl<S: Suite> Suite for SharedSuite<S> {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        self.hold().hash(label, fields)
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        self.hold().same(a, b)
    }

    fn fresh(&mut self, slot: u64) -> Nonce {
        self.hold().fresh(slot)
    }

    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey) {
        self.hold().generate(suite, slot)
    }

    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.hold().verify(key, signed, signature)
    }

    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        self.hold().validate_key(suite, key)
    }

    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        self.hold().open_share(suite, secret, context, sealed)
    }

    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.hold().check_share(share, place, commitment)
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        self.hold().combine(shares)
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.hold().check_dek(dek, weights, version, commitment)
    }
}
