//! Owner-signed objects, checked.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;

use crate::error::Violation;
use crate::ids::CustodianId;
use crate::require::require;
use crate::suite::{Digest, Label, Suite, VerifyKey};
use crate::time::Span;
use crate::wire::manifest::{CustodianEntry, Deployment, Manifest, Policy};
use crate::wire::signed::{ObjectKind, Signed};

/// A manifest that the owner signed and whose parameters hold together. [QRM-7] [LEA-12]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KnownManifest {
    manifest: Arc<Manifest>,
    digest: Digest,
}

impl KnownManifest {
    /// Verifies over the bytes received, then decodes, then checks every parameter.
    pub fn verify(
        suite: &mut impl Suite,
        owner: &VerifyKey,
        signed: &Signed,
    ) -> Result<Self, Violation> {
        let message = signed.message(ObjectKind::Manifest);
        require!(WIRE_4, suite.verify(owner, &message, signed.signature())); // [WIRE-4]
        let manifest: Manifest = signed.payload()?;
        require!(QRM_7, parameters_hold(&manifest));
        require!(LEA_12, terms_hold(&manifest));
        let digest = suite.hash(Label::Manifest, &[signed.payload_bytes()]);
        Ok(Self { manifest: Arc::new(manifest), digest })
    }

    pub const fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn custodian(&self, id: CustodianId) -> Option<&CustodianEntry> {
        self.manifest.custodians.iter().find(|entry| entry.id == id)
    }

    /// No lease term is shorter. [LEA-12]
    pub fn least_term(&self) -> Span {
        least_term(&self.manifest.policy)
    }

    /// How many shares, and how many counting leases, are needed.
    pub fn threshold(&self) -> usize {
        usize::from(self.manifest.k)
    }
}

impl core::ops::Deref for KnownManifest {
    type Target = Manifest;

    fn deref(&self) -> &Manifest {
        &self.manifest
    }
}

/// `1 <= k <= n <= 255`, `f < k`, n custodians ascending, share indices distinct and not zero.
fn parameters_hold(manifest: &Manifest) -> bool {
    let custodians = manifest.custodians.as_slice();
    let ascending = custodians.windows(2).all(|pair| match pair {
        [a, b] => a.id < b.id,
        _ => true,
    });
    let indices: BTreeSet<_> = custodians.iter().map(|entry| entry.index).collect();
    manifest.k <= manifest.n
        && manifest.f < manifest.k // so k is not 0
        && custodians.len() == usize::from(manifest.n)
        && ascending
        && custodians.iter().all(|entry| entry.id.value() != 0 && entry.index.value() != 0)
        && indices.len() == custodians.len()
}

/// Every term within ttl-max and at least four margins plus the gather window.
fn terms_hold(manifest: &Manifest) -> bool {
    let policy = &manifest.policy;
    let least = least_term(policy);
    let sixty_seconds = Span::from_millis(60_000);
    [policy.first, policy.term].iter().all(|term| *term >= least && *term <= manifest.ttl_max)
        && policy.challenge_max <= sixty_seconds
        && policy.challenge_max > Span::ZERO
}

const fn least_term(policy: &Policy) -> Span {
    policy.margin.times(4).plus(policy.gather)
}

/// A deployment record that the owner signed and whose thresholds intersect.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KnownDeployment(Arc<Deployment>);

impl KnownDeployment {
    /// Verifies over the bytes received, then decodes, then checks the thresholds.
    pub fn verify(
        suite: &mut impl Suite,
        owner: &VerifyKey,
        signed: &Signed,
    ) -> Result<Self, Violation> {
        let message = signed.message(ObjectKind::Deployment);
        require!(WIRE_4, suite.verify(owner, &message, signed.signature()));
        let deployment: Deployment = signed.payload()?;
        require!(REV_2, thresholds_intersect(&deployment));
        Ok(Self(Arc::new(deployment)))
    }
}

impl core::ops::Deref for KnownDeployment {
    type Target = Deployment;

    fn deref(&self) -> &Deployment {
        &self.0
    }
}

/// `1 <= m_revoke <= m_change <= o` and `m_revoke + m_change > o`; a sole operator is 1 and 1.
fn thresholds_intersect(deployment: &Deployment) -> bool {
    let operators = deployment.operators.len();
    let (revoke, change) = (usize::from(deployment.m_revoke), usize::from(deployment.m_change));
    // With a sum above o and `change` at most o, `revoke` is not 0.
    revoke <= change && change <= operators && revoke + change > operators
}
