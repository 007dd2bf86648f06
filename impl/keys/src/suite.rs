//! The suite over real bytes.
//!
//! Chapters 20 to 40. What machines compute on a device and in a custodian: nothing here blocks,
//! and secrets stay in [`SecretMemory`] behind handles. A suite that is not implemented gives an
//! error, never a panic and never another suite. [REL-12]

use std::fmt;
use std::hint::black_box;

use split_custody_protocol::Suite;
use split_custody_protocol::effect::Secrets;
use split_custody_protocol::ids::{ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceSecret, Differs, Digest, InvalidKey, Label, Nonce,
    NotOpened, SealedShare, ShareHandle, SharePlace, Signature, SuiteId, VerifyKey,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::dealing::dek_digest;
use crate::es256;
use crate::hash::{hash_label, share_digest};
use crate::memory::{Heap, Kind, SecretMemory, Slots, fill_random};
use crate::p256kw;
use crate::sealed::{open_share, public_of, valid_agreement_key};
use crate::shamir::{self, Secret};

/// A [`Suite`] over bytes, with the operating system's randomness.
pub struct ByteSuite {
    slots: Slots,
}

impl ByteSuite {
    /// Secrets in ordinary memory, overwritten when erased or dropped.
    pub fn new() -> Self {
        Self::with_memory(Box::new(Heap::with_slots(Self::SLOTS)))
    }

    /// Secrets in the caller's region, 32 bytes each: for memory that the host cannot read.
    pub fn with_memory(memory: Box<dyn SecretMemory>) -> Self {
        Self { slots: Slots::new(memory) }
    }

    /// Room for the keys and shares of eight attempts with 255 custodians.
    const SLOTS: usize = 4096;

    /// Executes an erase effect; unknown handles are erased already. [RST-3]
    pub fn erase(&mut self, secrets: &Secrets) {
        secrets.keys.iter().for_each(|key| self.slots.erase(Kind::Key, key.value()));
        secrets.shares.iter().for_each(|share| self.slots.erase(Kind::Share, share.value()));
        secrets.dek.iter().for_each(|dek| self.slots.erase(Kind::Dek, dek.value()));
    }

    /// Erases every key of this incarnation; no handle is given twice afterwards. [RST-3] [RST-10]
    pub fn erase_all(&mut self) {
        self.slots.erase_all();
    }

    /// Lends a DEK for loading; `None` when the handle stands for nothing.
    pub fn with_dek<T>(&self, dek: DekHandle, lend: impl FnOnce(&[u8; 32]) -> T) -> Option<T> {
        self.slots.secret(Kind::Dek, dek.value()).map(lend)
    }

    /// How many secrets are held; zero after an incarnation ended.
    pub fn held(&self) -> usize {
        self.slots.len()
    }

    fn agreement_secret(&self, secret: DeviceSecret) -> Option<&[u8; 32]> {
        self.slots.secret(Kind::Key, secret.value())
    }
}

impl Default for ByteSuite {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ByteSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteSuite({} secrets held)", self.held())
    }
}

/// A secret and its public key; `None` for a suite that is not implemented. [REL-12]
fn fresh_pair(suite: SuiteId) -> Option<(Secret, Vec<u8>)> {
    if suite == SuiteId::HPKE_X25519 {
        let mut secret = Zeroizing::new([0; 32]);
        fill_random(&mut secret[..]);
        let key = public_of(&secret).to_vec();
        return Some((secret, key));
    }
    p256kw::Profile::of(suite)?;
    let secret = p256kw::generate();
    let key = p256kw::public_of(&secret)?.to_vec();
    Some((secret, key))
}

impl Suite for ByteSuite {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        hash_label(label, fields)
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        if bool::from(a.ct_eq(b)) { Ok(()) } else { Err(Differs) }
    }

    fn fresh(&mut self, _: u64) -> Nonce {
        let mut bytes = [0; Nonce::SIZE];
        fill_random(&mut bytes);
        Nonce::new(bytes)
    }

    /// A suite that is not implemented, or a full region, gives a handle that stands for nothing
    /// and a key that no suite takes as valid: the exchange fails at its first use. [REL-12]
    fn generate(&mut self, suite: SuiteId, _: u64) -> (DeviceSecret, AgreementKey) {
        if let Some((secret, key)) = fresh_pair(suite)
            && let (Some(handle), Some(key)) =
                (self.slots.insert(Kind::Key, &secret), AgreementKey::new(key))
        {
            return (DeviceSecret::new(handle), key);
        }
        // INVARIANT: one byte is within the bounds of every `Bytes`.
        let unusable = AgreementKey::new(vec![0]).expect("one byte is within bounds");
        (DeviceSecret::new(self.slots.unused()), unusable)
    }

    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        es256::verify(key, signed, signature)
    }

    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        match suite {
            SuiteId::HPKE_X25519 => valid_agreement_key(key).map(|_| ()),
            suite => p256kw::Profile::of(suite)
                .and_then(|_| p256kw::valid_point(key.as_bytes()))
                .map(|_| ()), // [HSM-1]
        }
        .ok_or(InvalidKey) // [HS-15]
    }

    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        and_wiped(|| {
            let secret = self.agreement_secret(secret).ok_or(NotOpened)?;
            let opened = match suite {
                SuiteId::HPKE_X25519 => open_share(secret, context, sealed.as_bytes()),
                suite => p256kw::open(suite, secret, context, sealed.as_bytes()),
            };
            let share = opened.ok_or(NotOpened)?;
            self.slots.insert(Kind::Share, &share).map(ShareHandle::new).ok_or(NotOpened)
        })
    }

    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        let secret = self.slots.secret(Kind::Share, share.value()).ok_or(Differs)?;
        let digest = and_wiped(|| share_digest(place, secret));
        let same = self.same(digest.as_bytes(), commitment.as_bytes()); // [QRM-2]
        same.inspect_err(|_| self.slots.erase(Kind::Share, share.value())) // [QRM-8]
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        and_wiped(|| {
            let secret = |(index, share): &(ShareIndex, ShareHandle)| {
                Some((index.value(), self.slots.secret(Kind::Share, share.value())?))
            };
            let shares: Option<Vec<_>> = shares.iter().map(secret).collect();
            let dek = shamir::combine(&shares.ok_or(NotOpened)?).map_err(|_| NotOpened)?;
            self.slots.insert(Kind::Dek, &dek).map(DekHandle::new).ok_or(NotOpened)
        })
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        let secret = self.slots.secret(Kind::Dek, dek.value()).ok_or(Differs)?;
        let digest = and_wiped(|| dek_digest(weights, version, secret));
        let same = self.same(digest.as_bytes(), commitment.as_bytes()); // [QRM-3]
        same.inspect_err(|_| self.slots.erase(Kind::Dek, dek.value())) // [QRM-8]
    }
}

/// Runs what handles a secret, then overwrites the stack below the caller: values that were moved, and
/// the temporaries of ciphers and hashes, leave copies there. As well as safe code can; that nothing
/// is left is what the memory scan of the demo shows.
fn and_wiped<T>(run: impl FnOnce() -> T) -> T {
    let result = apart(run);
    overwrite_stack();
    result
}

/// A frame of its own, so that all that `run` leaves lies below the caller's.
#[inline(never)]
fn apart<T>(run: impl FnOnce() -> T) -> T {
    run()
}

#[inline(never)]
fn overwrite_stack() {
    black_box(&mut [0u8; STACK_BYTES]);
}

/// Deeper than any call of the suite goes.
const STACK_BYTES: usize = 64 * 1024;
