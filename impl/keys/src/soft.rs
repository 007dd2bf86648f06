//! A custodian's keys in software: executes its key effects where there is no HSM.
//!
//! Chapter 30. What an HSM would do inside, this does in process memory: during a re-wrap the share
//! is in clear for microseconds and is then overwritten; policy may refuse suites for which that
//! is so. A switch makes every call fail, as an HSM that is down would.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use split_custody_protocol::suite::{
    AgreementKey, Digest, SealedShare, Signature, SuiteId, VerifyKey,
};

use crate::custody::{Custody, Release, Released};
use crate::error::{HsmError, KeyError, KeyFileError};
use crate::es256::SigningKey;
use crate::files::{write_kek_public, write_verify_key};
use crate::hash::sealed_digest;
use crate::p256kw;
use crate::sealed::{KekPublic, KekSecret, seal_share, valid_agreement_key};

/// A custodian's software keys.
pub struct SoftCustody {
    kek: KekSecret,
    grant: SigningKey,
    tls: SigningKey,
    outage: Outage,
}

impl SoftCustody {
    /// The private key files in a custodian's folder.
    pub const FILES: [&str; 3] = ["kek.pem", "grant.pem", "tls.pem"];
    /// The public key files beside them: for the owner, who seals to the one and names the other.
    pub const PUBLIC_FILES: [&str; 2] = ["kek.pub.pem", "grant.pub.pem"];

    pub const fn new(kek: KekSecret, grant: SigningKey, tls: SigningKey, outage: Outage) -> Self {
        Self { kek, grant, tls, outage }
    }

    /// Fresh keys that lie in memory alone.
    pub fn generate() -> Result<Self, KeyError> {
        let (grant, tls) = (SigningKey::generate()?, SigningKey::generate()?);
        Ok(Self::new(KekSecret::generate(), grant, tls, Outage::default()))
    }

    /// Fresh keys in memory whose KEK is what an HSM of this suite would have: its software twin.
    /// `None` for a suite that is not of P-256.
    pub fn twin(suite: SuiteId) -> Option<Result<Self, KeyError>> {
        let kek = KekSecret::generate_p256(suite)?;
        let make = || {
            let (grant, tls) = (SigningKey::generate()?, SigningKey::generate()?);
            Ok(Self::new(kek, grant, tls, Outage::default()))
        };
        Some(make())
    }

    /// Fresh keys, one file each, in an existing folder; existing files are never touched.
    pub fn create(folder: &Path) -> Result<Self, KeyFileError> {
        let [kek, grant, tls] = Self::FILES.map(|name| folder.join(name));
        let [kek_public, grant_public] = Self::PUBLIC_FILES.map(|name| folder.join(name));
        let custody = Self::new(
            KekSecret::create(&kek)?,
            SigningKey::create(&grant)?,
            SigningKey::create(&tls)?,
            Outage::default(),
        );
        write_kek_public(&kek_public, &custody.kek_public())?;
        write_verify_key(&grant_public, &custody.grant_public())?;
        Ok(custody)
    }

    /// Reads the keys that [`SoftCustody::create`] made.
    pub fn load(folder: &Path) -> Result<Self, KeyFileError> {
        let [kek, grant, tls] = Self::FILES.map(|name| folder.join(name));
        Ok(Self::new(
            KekSecret::load(&kek)?,
            SigningKey::load(&grant)?,
            SigningKey::load(&tls)?,
            Outage::default(),
        ))
    }

    pub fn kek_public(&self) -> KekPublic {
        self.kek.public()
    }

    pub const fn grant_public(&self) -> VerifyKey {
        self.grant.public()
    }

    /// The key of the custodian's TLS leaf; no HSM call, so an outage does not reach it.
    pub const fn tls_key(&self) -> &SigningKey {
        &self.tls
    }

    /// The switch; clones switch the same custody.
    pub fn outage(&self) -> Outage {
        self.outage.clone()
    }

    /// Opens the provisioned share and seals it to the device key under `context`. [REL-4]
    pub fn rewrap(
        &self,
        provisioned: &SealedShare,
        provision_context: &Digest,
        suite: SuiteId,
        to: &AgreementKey,
        context: &Digest,
    ) -> Result<SealedShare, HsmError> {
        self.outage.check()?;
        // [REL-12] No suite stands in for another.
        if !suite.is_implemented() {
            return Err(HsmError::SuiteNotImplemented(suite.value()));
        }
        let valid = match suite {
            SuiteId::HPKE_X25519 => valid_agreement_key(to).is_some(),
            _ => p256kw::valid_point(to.as_bytes()).is_some(), // [HSM-1]
        };
        if !valid {
            return Err(HsmError::DeviceKeyInvalid);
        }
        let share = self.kek.open(provision_context, provisioned);
        let share = share.ok_or(HsmError::ShareNotOpened)?;
        let sealed = match suite {
            SuiteId::HPKE_X25519 => seal_share(to.as_bytes(), context, &share),
            suite => p256kw::seal(suite, to.as_bytes(), context, &share),
        };
        sealed.ok_or(HsmError::DeviceKeyInvalid)
    }

    /// Signs with the grant key.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        self.outage.check()?;
        self.grant.sign(message).map_err(|_| HsmError::Signing)
    }

    /// Destroys cached handles of unwrapped shares; this custody never caches one. [REV-7]
    pub fn destroy_handles(&self) -> Result<(), HsmError> {
        self.outage.check()
    }
}

impl Custody for SoftCustody {
    fn release(&self, order: &Release<'_>) -> Result<Released, HsmError> {
        let Release { provisioned, provision_context, suite, to, context, draft } = *order;
        let sealed = self.rewrap(provisioned, provision_context, suite, to, context)?;
        let signature = self.sign(&draft.message(&sealed_digest(&sealed)))?;
        Ok(Released { sealed, signature })
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        Self::sign(self, message)
    }

    fn destroy_handles(&self) -> Result<(), HsmError> {
        Self::destroy_handles(self)
    }

    fn kek_public(&self) -> KekPublic {
        Self::kek_public(self)
    }

    fn grant_public(&self) -> VerifyKey {
        Self::grant_public(self)
    }
}

impl fmt::Debug for SoftCustody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftCustody")
            .field("kek", &self.kek)
            .field("grant", &self.grant)
            .finish_non_exhaustive()
    }
}

/// Whether the key store is down: while on, every call fails.
#[derive(Clone, Debug, Default)]
pub struct Outage(Arc<AtomicBool>);

impl Outage {
    pub fn begin(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Whether it is down now.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), HsmError> {
        if self.is_on() { Err(HsmError::Outage) } else { Ok(()) }
    }
}
