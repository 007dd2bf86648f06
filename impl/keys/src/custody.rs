//! What a custodian asks of its keys, wherever they lie. Chapters 30 and 35.

use split_custody_protocol::suite::{
    AgreementKey, Digest, SealedShare, Signature, SuiteId, VerifyKey,
};

use crate::error::HsmError;
use crate::sealed::KekPublic;

/// A custodian's keys: in software, or in an HSM. Called from several threads.
///
/// A share goes in sealed and comes out sealed; there is no method that gives it in clear. [HSM-4]
pub trait Custody: Send + Sync + 'static {
    /// Opens the provisioned share and seals it to the device key under `context`. [REL-4]
    ///
    /// # Errors
    /// Why it did not, by class: only [`HsmError::is_client_fault`] is the peer's doing. [HSM-9]
    fn rewrap(
        &self,
        provisioned: &SealedShare,
        provision_context: &Digest,
        suite: SuiteId,
        to: &AgreementKey,
        context: &Digest,
    ) -> Result<SealedShare, HsmError>;

    /// Signs with the grant key: ES256 over `message`.
    ///
    /// # Errors
    /// When the keys cannot be used now.
    fn sign(&self, message: &[u8]) -> Result<Signature, HsmError>;

    /// Destroys cached handles of unwrapped shares. [REV-7]
    ///
    /// # Errors
    /// When it cannot be told that they are gone; asked again until it can.
    fn destroy_handles(&self) -> Result<(), HsmError>;

    /// What the owner seals this custodian's shares to.
    fn kek_public(&self) -> KekPublic;

    /// What verifies this custodian's grants.
    fn grant_public(&self) -> VerifyKey;
}
