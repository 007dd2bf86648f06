//! The device's suite: one, shared by the driver that computes with it and the backend that loads
//! and erases.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use split_custody_keys::ByteSuite;
use split_custody_protocol::Suite;
use split_custody_protocol::ids::{ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceSecret, Differs, Digest, InvalidKey, Label, Nonce,
    NotOpened, SealedShare, ShareHandle, SharePlace, Signature, SuiteId, VerifyKey,
};

/// A [`ByteSuite`] behind a lock that is held for one operation.
#[derive(Clone)]
pub struct SharedSuite(Arc<Mutex<ByteSuite>>);

impl SharedSuite {
    pub fn new(suite: ByteSuite) -> Self {
        Self(Arc::new(Mutex::new(suite)))
    }

    pub fn lock(&self) -> MutexGuard<'_, ByteSuite> {
        // A panic inside leaves handles that stand for nothing, which every use refuses.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Suite for SharedSuite {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        self.lock().hash(label, fields)
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        self.lock().same(a, b)
    }

    fn fresh(&mut self, slot: u64) -> Nonce {
        self.lock().fresh(slot)
    }

    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey) {
        self.lock().generate(suite, slot)
    }

    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.lock().verify(key, signed, signature)
    }

    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        self.lock().validate_key(suite, key)
    }

    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        self.lock().open_share(suite, secret, context, sealed)
    }

    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.lock().check_share(share, place, commitment)
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        self.lock().combine(shares)
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.lock().check_dek(dek, weights, version, commitment)
    }
}
