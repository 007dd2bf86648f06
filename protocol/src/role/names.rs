//! Under which names orders can cover a device, a lease or a release.

use alloc::vec::Vec;

use crate::sealing::KnownManifest;
use crate::suite::{DeviceId, Digest, Label, LeafKey, Suite};
use crate::transcript;
use crate::wire::order::{Subject, SubjectKind};

/// The names that follow from a manifest alone.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct ManifestNames([Subject; 3]);

impl ManifestNames {
    pub(super) fn of(manifest: &KnownManifest, suite: &mut impl Suite) -> Self {
        let weights = transcript::weights_subject(suite, manifest.weights, manifest.version);
        let policy = manifest.policy.version.value().to_be_bytes();
        let policy = suite.hash(Label::Policy, &[&policy]);
        let everything = suite.hash(Label::Everything, &[manifest.deployment.as_bytes()]);
        Self([
            Subject { kind: SubjectKind::Weights, value: weights },
            Subject { kind: SubjectKind::Policy, value: policy },
            Subject { kind: SubjectKind::Everything, value: everything },
        ])
    }

    /// Every name of a device that came with these certificates for this manifest. [REL-6]
    pub(super) fn with(&self, device: &DeviceId, certificates: &[LeafKey]) -> Vec<Subject> {
        let mut names = self.0.to_vec();
        names.push(Subject { kind: SubjectKind::Device, value: Digest::new(*device.as_bytes()) });
        names.extend(certificates.iter().map(|certificate| Subject {
            kind: SubjectKind::Certificate,
            value: Digest::new(*certificate.as_bytes()),
        }));
        names
    }
}
