//! The first k valid grants become one key.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::error::Violation;
use crate::handshake::ReadyEntry;
use crate::ids::{CustodianId, ShareIndex};
use crate::release::Checked;
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::suite::{DekHandle, Digest, ShareHandle, SharePlace, Suite};

/// Shares of one session, opened and matched, while there are fewer than k.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Tally {
    session: Digest,
    threshold: usize,
    shares: BTreeMap<CustodianId, (ShareIndex, ShareHandle)>,
    /// Shares that matched, and that no DEK came of: they count no more and wait to be erased.
    spoilt: Vec<ShareHandle>,
}

/// Proof that k shares made the DEK that the owner committed to. [QRM-3]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Combined(DekHandle);

impl Combined {
    pub const fn dek(self) -> DekHandle {
        self.0
    }
}

/// What a valid grant led to.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// Fewer than k so far.
    Waiting,
    Combined(Combined),
}

impl Tally {
    pub const fn new(session: Digest, threshold: usize) -> Self {
        Self { session, threshold, shares: BTreeMap::new(), spoilt: Vec::new() }
    }

    /// Opens a checked grant's share and, with the k-th, combines.
    ///
    /// An error names what this one custodian did; as many shares count as before. [QRM-5]
    pub fn add(
        &mut self,
        grant: &Checked,
        entry: &ReadyEntry,
        manifest: &KnownManifest,
        suite: &mut impl Suite,
    ) -> Result<Outcome, Violation> {
        require!(
            QRM_4,
            suite.same(grant.session().as_bytes(), self.session.as_bytes()).is_ok()
                && grant.set() == manifest.set
        );
        let commitment = manifest
            .custodian(grant.custodian())
            .map(|custodian| custodian.commitment)
            .ok_or(Violation::GrantNotForUs)?;
        let share = suite
            .open_share(entry.suite, entry.secret, grant.context(), grant.sealed())
            .map_err(|_| Violation::SealedShareSwapped)?;
        let place =
            SharePlace { set: grant.set(), custodian: grant.custodian(), index: grant.index() };
        require!(QRM_2, suite.check_share(share, place, &commitment));
        self.shares.insert(grant.custodian(), (grant.index(), share));
        if self.shares.len() < self.threshold {
            return Ok(Outcome::Waiting);
        }
        let combined = self.combine(manifest, suite);
        if combined.is_err()
            && let Some((_, share)) = self.shares.remove(&grant.custodian())
        {
            self.spoilt.push(share); // [QRM-8]
        }
        combined.map(Outcome::Combined)
    }

    fn combine(
        &self,
        manifest: &KnownManifest,
        suite: &mut impl Suite,
    ) -> Result<Combined, Violation> {
        let shares: Vec<_> = self.shares.values().copied().collect();
        let dek = suite.combine(&shares).map_err(|_| Violation::DekDiffers)?;
        require!(QRM_3, suite.check_dek(dek, manifest.weights, manifest.version, &manifest.dek));
        Ok(Combined(dek))
    }

    /// The opened shares, to be erased. [QRM-8]
    pub fn shares(&self) -> Vec<ShareHandle> {
        self.shares.values().map(|(_, share)| *share).chain(self.spoilt.iter().copied()).collect()
    }

    pub fn count(&self) -> usize {
        self.shares.len()
    }
}
