//! Transcripts: what binds an exchange, a session and a grant together.
//!
//! Chapters 20 and 30. Every value here is a labelled hash over length-framed fields [WIRE-5]; a
//! message enters as the bytes that were received, never encoded again [WIRE-6].
//! It checks nothing: comparing is the machines' part.

use alloc::vec::Vec;

use crate::ids::{CustodianId, LogIndex, WeightsId, WeightsVersion};
use crate::suite::{
    AgreementKey, DeviceId, Digest, Exporter, Incarnation, Label, LeafKey, SealedShare, Suite,
    SuiteId,
};
use crate::wire::evidence::Entry;
use crate::wire::grant::GrantStatement;

/// The role byte of an entry: reflection of an entry into the other role fails.
const ROLE_DEVICE: &[u8] = b"device";

/// The context of the TLS exporter. [HS-2]
pub fn exporter_context(suite: &mut impl Suite, hello: &[u8]) -> Digest {
    suite.hash(Label::Hello, &[hello])
}

/// What both sides said before Evidence: versions and suites cannot be stripped.
pub fn th1(suite: &mut impl Suite, hello: &[u8], challenge: &[u8]) -> Digest {
    suite.hash(Label::Th1, &[hello, challenge])
}

/// Everything up to and including the request.
pub fn th2(suite: &mut impl Suite, th1: &Digest, request: &[u8]) -> Digest {
    suite.hash(Label::Th2, &[th1.as_bytes(), request])
}

/// What one custodian's entry of a session is made from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct EntryInput<'a> {
    pub exporter: &'a Exporter,
    pub device_leaf: &'a LeafKey,
    pub custodian_leaf: &'a LeafKey,
    pub th1: &'a Digest,
    pub suite: SuiteId,
    pub device_key: &'a AgreementKey,
}

/// `e_i`: one channel, its two ends, its transcript, and the key that the share is sealed to.
pub fn entry(suite: &mut impl Suite, input: &EntryInput<'_>) -> Digest {
    suite.hash(
        Label::Entry,
        &[
            ROLE_DEVICE,
            input.exporter.as_bytes(),
            input.device_leaf.as_bytes(),
            input.custodian_leaf.as_bytes(),
            input.th1.as_bytes(),
            &input.suite.value().to_be_bytes(),
            input.device_key.as_bytes(),
        ],
    )
}

/// `S`: one attempt of one incarnation of one device to acquire one manifest.
pub fn session(
    suite: &mut impl Suite,
    manifest: &Digest,
    device: &DeviceId,
    incarnation: &Incarnation,
    entries: &[Entry],
) -> Digest {
    let count = (entries.len() as u32).to_be_bytes();
    let ids: Vec<[u8; 1]> = entries.iter().map(|e| [e.custodian.value()]).collect();
    let mut fields: Vec<&[u8]> =
        alloc::vec![manifest.as_bytes(), device.as_bytes(), incarnation.as_bytes(), &count];
    for (id, entry) in ids.iter().zip(entries) {
        fields.push(id);
        fields.push(entry.digest.as_bytes());
    }
    suite.hash(Label::Session, &fields)
}

/// The nonce that the GPU report must carry. [HS-11]
pub fn gpu_nonce(suite: &mut impl Suite, session: &Digest) -> Digest {
    suite.hash(Label::Gpu, &[session.as_bytes()])
}

/// The report data that the CPU report must carry: it covers the GPU's Evidence. [HS-12]
pub fn cpu_data(suite: &mut impl Suite, session: &Digest, gpu_evidence: &[u8]) -> Digest {
    let evidence = suite.hash(Label::Evidence, &[gpu_evidence]);
    suite.hash(Label::Cpu, &[session.as_bytes(), evidence.as_bytes()])
}

/// How a grant names the device key.
pub fn device_key(suite: &mut impl Suite, key: &AgreementKey) -> Digest {
    suite.hash(Label::DeviceKey, &[key.as_bytes()])
}

/// How a grant and a provision name a sealed share.
pub fn sealed(suite: &mut impl Suite, share: &SealedShare) -> Digest {
    suite.hash(Label::Sealed, &[share.as_bytes()])
}

/// `auth_i`: everything that a release decides, before the log gives it an index.
///
/// Takes a statement whose `index_in_log` and `sealed` are not yet meant.
pub fn auth(suite: &mut impl Suite, grant: &GrantStatement) -> Digest {
    let terms = &grant.terms;
    suite.hash(
        Label::Auth,
        &[
            grant.session.as_bytes(),
            grant.th2.as_bytes(),
            &grant.suite.value().to_be_bytes(),
            &[grant.custodian.value()],
            &grant.generation.value().to_be_bytes(),
            grant.lease.as_bytes(),
            grant.set.as_bytes(),
            &[grant.index.value()],
            grant.manifest.as_bytes(),
            grant.device_key.as_bytes(),
            grant.incarnation.as_bytes(),
            &terms.first.as_millis().to_be_bytes(),
            &terms.term.as_millis().to_be_bytes(),
            &terms.budget.value().to_be_bytes(),
            &terms.max_age.as_millis().to_be_bytes(),
            &grant.epoch.value().to_be_bytes(),
            &grant.policy.value().to_be_bytes(),
        ],
    )
}

/// `ctx`: what a share is sealed under. [REL-4]
pub fn grant_context(suite: &mut impl Suite, auth: &Digest, index: LogIndex) -> Digest {
    suite.hash(Label::Grant, &[auth.as_bytes(), &index.value().to_be_bytes()])
}

/// How orders name a version of weights.
pub fn weights_subject(
    suite: &mut impl Suite,
    weights: WeightsId,
    version: WeightsVersion,
) -> Digest {
    suite.hash(Label::Weights, &[weights.as_bytes(), &version.value().to_be_bytes()])
}

/// How an owner seals a share to a custodian's KEK.
pub fn provision_context(
    suite: &mut impl Suite,
    manifest: &Digest,
    set: &crate::ids::ShareSetId,
    custodian: CustodianId,
    index: crate::ids::ShareIndex,
    kek: &Digest,
) -> Digest {
    suite.hash(
        Label::Provision,
        &[
            manifest.as_bytes(),
            set.as_bytes(),
            &[custodian.value()],
            &[index.value()],
            kek.as_bytes(),
        ],
    )
}
