//! The device's suite: one, shared by the driver that computes with it and the backend that loads
//! and erases. Secrets are in its memory, or with a GPU in device memory.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use split_custody_gpu::{GpuError, KeySlot};
use split_custody_keys::ByteSuite;
use split_custody_protocol::Suite;
use split_custody_protocol::effect::Secrets;
use split_custody_protocol::ids::{ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceSecret, Differs, Digest, InvalidKey, Label, Nonce,
    NotOpened, SealedShare, ShareHandle, SharePlace, Signature, SuiteId, VerifyKey,
};

use super::accelerator::Accelerator;
#[cfg(feature = "cuda")]
use super::resident::Resident;

/// Two parts behind a lock that is held for one operation.
#[derive(Clone)]
pub struct SharedSuite(Arc<Mutex<Parts>>);

/// What needs no secret, and where secrets are.
struct Parts {
    bytes: ByteSuite,
    #[cfg(feature = "cuda")]
    resident: Option<Resident>,
}

/// Runs on the GPU where there is one, else over bytes.
macro_rules! where_secrets_are {
    ($suite:expr, $part:ident => $on_gpu:expr, $bytes:ident => $over_bytes:expr) => {{
        let mut parts = $suite.lock();
        #[cfg(feature = "cuda")]
        if let Some($part) = &mut parts.resident {
            return $on_gpu;
        }
        let $bytes = &mut parts.bytes;
        $over_bytes
    }};
}

impl SharedSuite {
    pub fn new(accelerator: &Accelerator) -> Self {
        let parts = Parts {
            bytes: ByteSuite::new(),
            #[cfg(feature = "cuda")]
            resident: match accelerator {
                Accelerator::Sim(_) => None,
                Accelerator::Cuda(device) => Some(Resident::new(device.clone())),
            },
        };
        #[cfg(not(feature = "cuda"))]
        let Accelerator::Sim(_) = accelerator;
        Self(Arc::new(Mutex::new(parts)))
    }

    /// Puts a DEK into device memory, where it is not there already, and erases the copy here.
    pub fn dek_slot(
        &self,
        dek: DekHandle,
        accelerator: &Accelerator,
    ) -> Option<Result<KeySlot, GpuError>> {
        where_secrets_are!(self,
        resident => resident.dek(dek).map(Ok),
        bytes => {
            let stored = bytes.with_dek(dek, |key| accelerator.gpu().store_key(key));
            // From here on the only copy lies in device memory.
            bytes.erase(&Secrets { dek: Some(dek), ..Secrets::default() });
            stored
        })
    }

    /// Executes an erase effect. [RST-3]
    pub fn erase(&self, secrets: &Secrets) {
        where_secrets_are!(self,
            resident => resident.erase(secrets),
            bytes => bytes.erase(secrets))
    }

    /// Erases every key of this incarnation. [RST-3] [RST-10]
    pub fn erase_all(&self) {
        where_secrets_are!(self,
            resident => resident.forget(),
            bytes => bytes.erase_all())
    }

    fn lock(&self) -> MutexGuard<'_, Parts> {
        // A panic inside leaves handles that stand for nothing, which every use refuses.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Suite for SharedSuite {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        self.lock().bytes.hash(label, fields)
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        self.lock().bytes.same(a, b)
    }

    fn fresh(&mut self, slot: u64) -> Nonce {
        self.lock().bytes.fresh(slot)
    }

    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey) {
        where_secrets_are!(self,
            resident => resident.generate(suite),
            bytes => bytes.generate(suite, slot))
    }

    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        self.lock().bytes.verify(key, signed, signature)
    }

    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        self.lock().bytes.validate_key(suite, key)
    }

    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        where_secrets_are!(self,
            resident => resident.open_share(suite, secret, context, sealed),
            bytes => bytes.open_share(suite, secret, context, sealed))
    }

    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        where_secrets_are!(self,
            resident => resident.check_share(share, place, commitment),
            bytes => bytes.check_share(share, place, commitment))
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        where_secrets_are!(self,
            resident => resident.combine(shares),
            bytes => bytes.combine(shares))
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        where_secrets_are!(self,
            resident => resident.check_dek(dek, weights, version, commitment),
            bytes => bytes.check_dek(dek, weights, version, commitment))
    }
}
