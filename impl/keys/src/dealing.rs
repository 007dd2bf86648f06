//! Dealing a DEK to custodians: shares and commitments first, sealing after the manifest.
//!
//! Chapter 15. Commitments go into the manifest and the manifest's digest goes into the context
//! under which each share is sealed; so a dealing is made, then the manifest, then
//! [`Dealing::seal`] ends it. No share leaves the dealer in clear.

use std::fmt;

use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{Digest, SealedShare, SharePlace, secret_label};
use zeroize::Zeroizing;

use crate::error::DealError;
use crate::hash::{hash, provision_context, share_digest};
use crate::memory::fill_random;
use crate::sealed::KekPublic;
use crate::shamir::{self, Secret};

/// A data-encryption key at its owner; erased when dropped.
pub struct Dek(Secret);

impl Dek {
    /// A fresh key; each sealed file has its own.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        fill_random(&mut bytes[..]);
        Self(bytes)
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*bytes))
    }

    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// `H("dek", weights, version, DEK)`: the commitment in the manifest. [QRM-3]
    pub fn commitment(&self, weights: WeightsId, version: WeightsVersion) -> Digest {
        dek_digest(weights, version, &self.0)
    }
}

impl fmt::Debug for Dek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dek(..)")
    }
}

/// `H("dek", weights, version, DEK)`. [QRM-3]
pub(crate) fn dek_digest(weights: WeightsId, version: WeightsVersion, dek: &[u8; 32]) -> Digest {
    hash(secret_label::DEK, &[weights.as_bytes(), &version.value().to_be_bytes(), dek])
}

/// One custodian of a dealing.
#[derive(Clone, Copy, Debug)]
pub struct Recipient {
    pub custodian: CustodianId,
    pub index: ShareIndex,
    pub kek: KekPublic,
}

/// What the manifest says of one share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Commitment {
    pub custodian: CustodianId,
    pub index: ShareIndex,
    /// `H("share", set, custodian, index, share)`. [QRM-2]
    pub share: Digest,
    /// `H("kek", key)`.
    pub kek: Digest,
}

/// Shares of one DEK, dealt and not yet sealed; erased when dropped.
pub struct Dealing {
    set: ShareSetId,
    shares: Vec<(Recipient, Secret)>,
}

/// A share as one custodian receives it.
#[derive(Clone, Debug)]
pub struct SealedFor {
    pub set: ShareSetId,
    pub custodian: CustodianId,
    pub index: ShareIndex,
    pub kek: Digest,
    pub sealed: SealedShare,
}

impl Dealing {
    /// Splits `dek` so that any `k` of the recipients' shares give it back. [QRM-7]
    pub fn deal(
        dek: &Dek,
        set: ShareSetId,
        k: u8,
        recipients: &[Recipient],
    ) -> Result<Self, DealError> {
        for (place, recipient) in recipients.iter().enumerate() {
            let id = recipient.custodian;
            let earlier = recipients.iter().take(place);
            if id.value() == 0 || earlier.into_iter().any(|other| other.custodian == id) {
                return Err(DealError::CustodianInvalid(id.value()));
            }
        }
        let indices: Vec<u8> = recipients.iter().map(|r| r.index.value()).collect();
        let shares = shamir::split(&dek.0, k, &indices)?;
        Ok(Self { set, shares: recipients.iter().copied().zip(shares).collect() })
    }

    /// What the manifest must say, in the order of the recipients.
    pub fn commitments(&self) -> Vec<Commitment> {
        let commit = |(recipient, share): &(Recipient, Secret)| {
            let place = SharePlace {
                set: self.set,
                custodian: recipient.custodian,
                index: recipient.index,
            };
            Commitment {
                custodian: recipient.custodian,
                index: recipient.index,
                share: share_digest(place, share),
                kek: recipient.kek.digest(),
            }
        };
        self.shares.iter().map(commit).collect()
    }

    /// Copies of the shares in clear, for an owner who looks for them where they must not be.
    pub fn expose(&self) -> Vec<(CustodianId, Secret)> {
        self.shares.iter().map(|(to, share)| (to.custodian, share.clone())).collect()
    }

    /// Seals each share to its custodian, with an ephemeral of its own, and erases it here.
    pub fn seal(self, manifest: &Digest) -> Result<Vec<SealedFor>, DealError> {
        let set = self.set;
        let seal = |(recipient, share): &(Recipient, Secret)| {
            let Recipient { custodian, index, kek } = *recipient;
            let digest = kek.digest();
            let context = provision_context(manifest, &set, custodian, index, &digest);
            let sealed =
                kek.seal(&context, share).ok_or(DealError::KekInvalid(custodian.value()))?;
            Ok(SealedFor { set, custodian, index, kek: digest, sealed })
        };
        self.shares.iter().map(seal).collect()
    }
}

impl fmt::Debug for Dealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dealing({} shares of {:?})", self.shares.len(), self.set)
    }
}
