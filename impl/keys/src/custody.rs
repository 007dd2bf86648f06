//! What a custodian asks of its keys, wherever they lie. Chapters 30 and 35.

use split_custody_protocol::suite::{
    AgreementKey, Digest, SealedShare, Signature, SuiteId, VerifyKey,
};
use split_custody_protocol::wire::grant::GrantDraft;

use crate::error::HsmError;
use crate::sealed::KekPublic;

/// What a custodian's keys are asked for one grant.
#[derive(Clone, Copy, Debug)]
pub struct Release<'a> {
    /// The share as the owner sealed it to this custodian, and under what.
    pub provisioned: &'a SealedShare,
    pub provision_context: &'a Digest,
    pub suite: SuiteId,
    pub to: &'a AgreementKey,
    pub context: &'a Digest,
    /// What is signed, up to the digest of the sealed share.
    pub draft: &'a GrantDraft,
}

/// A share sealed to a device, and the signature over the grant that names it. [REL-14]
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Released {
    pub sealed: SealedShare,
    pub signature: Signature,
}

/// A custodian's keys: in software, or in an HSM. Called from several threads.
///
/// A share goes in sealed and comes out sealed; there is no method that gives it in clear. [HSM-4]
pub trait Custody: Send + Sync + 'static {
    /// Opens the provisioned share, seals it to the device key under `context`, and signs the draft
    /// with the digest of what it sealed: both or neither. [REL-4] [REL-14]
    ///
    /// # Errors
    /// Why it did not, by class: only [`HsmError::is_client_fault`] is the peer's doing. [HSM-9]
    fn release(&self, order: &Release<'_>) -> Result<Released, HsmError>;

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
