//! Transcripts: what binds an exchange, a session and a grant together.
//!
//! Chapters 20 and 30. Every value here is a labelled hash over length-framed fields [WIRE-5]; a
//! message enters as the bytes that were received, never encoded again [WIRE-6].
//! It checks nothing: comparing is the machines' part.

use alloc::vec::Vec;

use crate::ids::{CustodianId, LogIndex, WeightsId, WeightsVersion};
use crate::require::bound;
use crate::suite::{
    AgreementKey, DeviceId, Digest, Exporter, Incarnation, Label, LeafKey, SealedShare, Suite,
    SuiteId,
};
use crate::wire::evidence::Entry;
use crate::wire::grant::GrantStatement;

/// Declares the fields that transcripts bind.
macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// A field of a transcript: its name in tables, and for the double that leaves it out.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Field { $($(#[$doc])* $field,)* }

        impl Field {
            /// Every field, transcript by transcript.
            pub const ALL: &'static [Self] = &[$(Self::$field,)*];
        }
    };
}

fields! {
    /// The hello, in the context of the TLS exporter. [HS-2]
    ContextHello,
    /// What the device offered, in `th1`.
    Th1Hello,
    /// The nonce and what was chosen, in `th1`.
    Th1Challenge,
    /// `th1`, in `th2`.
    Th2Th1,
    /// The request, in `th2`.
    Th2Request,
    /// The role, in an entry.
    EntryRole,
    /// The channel, in an entry.
    EntryExporter,
    /// The device's end, in an entry.
    EntryDeviceLeaf,
    /// The custodian's end, in an entry.
    EntryCustodianLeaf,
    /// What was said before Evidence, in an entry.
    EntryTh1,
    /// The suite of the device key, in an entry.
    EntrySuite,
    /// The key that the share is sealed to, in an entry.
    EntryDeviceKey,
    /// What is asked for, in `S`.
    SessionManifest,
    /// Who asks, in `S`.
    SessionDevice,
    /// Which life of it asks, in `S`.
    SessionIncarnation,
    /// How many entries there are, in `S`.
    SessionCount,
    /// Whose entry it is, in `S`.
    SessionCustodian,
    /// The entry, in `S`.
    SessionEntry,
    /// `S`, in the GPU report's nonce. [HS-11]
    GpuSession,
    /// `S`, in the CPU report's data. [HS-12]
    CpuSession,
    /// The GPU's Evidence, in the CPU report's data. [HS-12]
    CpuEvidence,
    /// `S`, in `auth_i`.
    AuthSession,
    /// `th2`, in `auth_i`.
    AuthTh2,
    /// The suite, in `auth_i`.
    AuthSuite,
    /// Who grants, in `auth_i`.
    AuthCustodian,
    /// In which life of it, in `auth_i`.
    AuthGeneration,
    /// The lease, in `auth_i`.
    AuthLease,
    /// The share set, in `auth_i`.
    AuthSet,
    /// The index of the share, in `auth_i`.
    AuthIndex,
    /// What is granted, in `auth_i`.
    AuthManifest,
    /// To which key, in `auth_i`.
    AuthDeviceKey,
    /// To which life, in `auth_i`.
    AuthIncarnation,
    /// The first term, in `auth_i`.
    AuthFirst,
    /// Every later term, in `auth_i`.
    AuthTerm,
    /// The budget, in `auth_i`.
    AuthBudget,
    /// How old claims may grow, in `auth_i`.
    AuthMaxAge,
    /// The orders that were applied, in `auth_i`.
    AuthEpoch,
    /// The policy that decided, in `auth_i`.
    AuthPolicy,
    /// `auth_i`, in `ctx`. [REL-4]
    ContextAuth,
    /// The place of the leaf, in `ctx`. [REL-4]
    ContextLogIndex,
    /// Of what the share is one, in the context of a provision.
    ProvisionManifest,
    /// The share set, in the context of a provision.
    ProvisionSet,
    /// For whom it is, in the context of a provision.
    ProvisionCustodian,
    /// The index of the share, in the context of a provision.
    ProvisionIndex,
    /// Under which KEK, in the context of a provision.
    ProvisionKek,
    /// For what an object is signed, in its `Sig_structure`. [WIRE-4]
    SignedKind,
}

/// The role byte of an entry: reflection of an entry into the other role fails.
const ROLE_DEVICE: &[u8] = b"device";

/// The context of the TLS exporter. [HS-2]
pub fn exporter_context(suite: &mut impl Suite, hello: &[u8]) -> Digest {
    suite.hash(Label::Hello, &[bound!(ContextHello, hello)])
}

/// What both sides said before Evidence: versions and suites cannot be stripped.
pub fn th1(suite: &mut impl Suite, hello: &[u8], challenge: &[u8]) -> Digest {
    suite.hash(Label::Th1, &[bound!(Th1Hello, hello), bound!(Th1Challenge, challenge)])
}

/// Everything up to and including the request.
pub fn th2(suite: &mut impl Suite, th1: &Digest, request: &[u8]) -> Digest {
    suite.hash(Label::Th2, &[bound!(Th2Th1, th1.as_bytes()), bound!(Th2Request, request)])
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
            bound!(EntryRole, ROLE_DEVICE),
            bound!(EntryExporter, input.exporter.as_bytes()),
            bound!(EntryDeviceLeaf, input.device_leaf.as_bytes()),
            bound!(EntryCustodianLeaf, input.custodian_leaf.as_bytes()),
            bound!(EntryTh1, input.th1.as_bytes()),
            bound!(EntrySuite, &input.suite.value().to_be_bytes()),
            bound!(EntryDeviceKey, input.device_key.as_bytes()),
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
    let mut fields: Vec<&[u8]> = alloc::vec![
        bound!(SessionManifest, manifest.as_bytes()),
        bound!(SessionDevice, device.as_bytes()),
        bound!(SessionIncarnation, incarnation.as_bytes()),
        bound!(SessionCount, &count),
    ];
    for (id, entry) in ids.iter().zip(entries) {
        fields.push(bound!(SessionCustodian, id));
        fields.push(bound!(SessionEntry, entry.digest.as_bytes()));
    }
    suite.hash(Label::Session, &fields)
}

/// The nonce that the GPU report must carry. [HS-11]
pub fn gpu_nonce(suite: &mut impl Suite, session: &Digest) -> Digest {
    suite.hash(Label::Gpu, &[bound!(GpuSession, session.as_bytes())])
}

/// The report data that the CPU report must carry: it covers the GPU's Evidence. [HS-12]
pub fn cpu_data(suite: &mut impl Suite, session: &Digest, gpu_evidence: &[u8]) -> Digest {
    let evidence = suite.hash(Label::Evidence, &[gpu_evidence]);
    suite.hash(
        Label::Cpu,
        &[bound!(CpuSession, session.as_bytes()), bound!(CpuEvidence, evidence.as_bytes())],
    )
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
            bound!(AuthSession, grant.session.as_bytes()),
            bound!(AuthTh2, grant.th2.as_bytes()),
            bound!(AuthSuite, &grant.suite.value().to_be_bytes()),
            bound!(AuthCustodian, &[grant.custodian.value()]),
            bound!(AuthGeneration, &grant.generation.value().to_be_bytes()),
            bound!(AuthLease, grant.lease.as_bytes()),
            bound!(AuthSet, grant.set.as_bytes()),
            bound!(AuthIndex, &[grant.index.value()]),
            bound!(AuthManifest, grant.manifest.as_bytes()),
            bound!(AuthDeviceKey, grant.device_key.as_bytes()),
            bound!(AuthIncarnation, grant.incarnation.as_bytes()),
            bound!(AuthFirst, &terms.first.as_millis().to_be_bytes()),
            bound!(AuthTerm, &terms.term.as_millis().to_be_bytes()),
            bound!(AuthBudget, &terms.budget.value().to_be_bytes()),
            bound!(AuthMaxAge, &terms.max_age.as_millis().to_be_bytes()),
            bound!(AuthEpoch, &grant.epoch.value().to_be_bytes()),
            bound!(AuthPolicy, &grant.policy.value().to_be_bytes()),
        ],
    )
}

/// `ctx`: what a share is sealed under. [REL-4]
pub fn grant_context(suite: &mut impl Suite, auth: &Digest, index: LogIndex) -> Digest {
    suite.hash(
        Label::Grant,
        &[
            bound!(ContextAuth, auth.as_bytes()),
            bound!(ContextLogIndex, &index.value().to_be_bytes()),
        ],
    )
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
            bound!(ProvisionManifest, manifest.as_bytes()),
            bound!(ProvisionSet, set.as_bytes()),
            bound!(ProvisionCustodian, &[custodian.value()]),
            bound!(ProvisionIndex, &[index.value()]),
            bound!(ProvisionKek, kek.as_bytes()),
        ],
    )
}
