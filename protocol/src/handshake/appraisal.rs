//! From a public verdict to a proof: the only way to [`Appraised`].

use crate::effect::Verdict;
use crate::error::Violation;
use crate::ids::ChannelId;
use crate::require::require;
use crate::sealing::{KnownDeployment, KnownManifest};
use crate::suite::{AgreementKey, DeviceId, Digest, Incarnation, LeafKey, Suite, SuiteId};
use crate::time::{Instant, Rebase, Span};
use crate::transcript;
use crate::wire::evidence::EvidenceKind;

/// A request whose own entry was found and whose reports are at the appraiser.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Appraiser {
    pub(super) claims: Appraised,
    pub(super) kind: EvidenceKind,
    pub(super) gpu_nonce: Digest,
    pub(super) cpu_data: Digest,
}

/// Proof: this device, this key, this channel, this session, after this challenge.
///
/// Made only by `Appraiser::conclude`; later chapters take it by type.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Appraised {
    pub(super) channel: ChannelId,
    pub(super) session: Digest,
    pub(super) th2: Digest,
    pub(super) suite: SuiteId,
    pub(super) device: DeviceId,
    pub(super) incarnation: Incarnation,
    pub(super) device_key: AgreementKey,
    pub(super) device_leaf: LeafKey,
    pub(super) custodian_leaf: LeafKey,
    pub(super) challenged: Instant,
}

impl Appraiser {
    /// Compares what the appraiser read with what this session demands. [HS-11] to [HS-16]
    pub(super) fn conclude(
        self,
        verdict: &Verdict,
        manifest: &KnownManifest,
        deployment: &KnownDeployment,
        suite: &mut impl Suite,
    ) -> Result<Appraised, Violation> {
        let claims = self.claims;
        require!(HS_11, suite.same(verdict.report_nonce.as_bytes(), self.gpu_nonce.as_bytes()));
        require!(HS_12, suite.same(verdict.report_data.as_bytes(), self.cpu_data.as_bytes()));
        require!(HS_13, suite.same(verdict.device.as_bytes(), claims.device.as_bytes()));
        require!(HS_14, deployment.devices.iter().any(|device| *device == verdict.device));
        require!(HS_16, admits(manifest, self.kind, verdict));
        Ok(claims)
    }
}

/// Default deny: the kind, the mode and every measurement must be named by the floor policy.
fn admits(manifest: &KnownManifest, kind: EvidenceKind, verdict: &Verdict) -> bool {
    let policy = &manifest.policy;
    policy.kinds.iter().any(|named| *named == kind)
        && policy.modes.iter().any(|named| *named == verdict.mode)
        && !verdict.measurements.is_empty()
        && verdict
            .measurements
            .iter()
            .all(|found| policy.measurements.iter().any(|named| named == found))
}

/// The two report values that a session demands. [HS-11] [HS-12]
pub(super) fn expected_reports(
    suite: &mut impl Suite,
    session: &Digest,
    gpu_evidence: &[u8],
) -> (Digest, Digest) {
    (transcript::gpu_nonce(suite, session), transcript::cpu_data(suite, session, gpu_evidence))
}

impl Appraised {
    pub const fn channel(&self) -> ChannelId {
        self.channel
    }

    pub const fn session(&self) -> &Digest {
        &self.session
    }

    pub const fn th2(&self) -> &Digest {
        &self.th2
    }

    pub const fn suite(&self) -> SuiteId {
        self.suite
    }

    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    pub const fn incarnation(&self) -> &Incarnation {
        &self.incarnation
    }

    pub const fn device_key(&self) -> &AgreementKey {
        &self.device_key
    }

    pub const fn device_leaf(&self) -> &LeafKey {
        &self.device_leaf
    }

    pub const fn custodian_leaf(&self) -> &LeafKey {
        &self.custodian_leaf
    }

    /// When the challenge was issued: Evidence age counts from here. [LEA-10]
    pub const fn challenged(&self) -> Instant {
        self.challenged
    }
}

impl Rebase for Appraised {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.challenged.rebase(by, floor);
    }
}

impl Rebase for Appraiser {
    fn rebase(&mut self, by: Span, floor: Instant) {
        self.claims.rebase(by, floor);
    }
}
