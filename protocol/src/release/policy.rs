//! The decision: default deny, over a proof, a manifest and what is known of orders.

use crate::error::Violation;
use crate::handshake::Appraised;
use crate::ids::{Budget, PolicyVersion};
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::time::Span;
use crate::wire::grant::Terms;

/// Whether orders cover any name under which a peer came. [REL-6]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Coverage {
    Clear,
    Revoked,
}

/// Whether this custodian may grant at all. [REL-2]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Serving {
    Yes,
    No,
}

/// Whether an incarnation is its device's latest, as far as this custodian knows. [RST-7]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Life {
    Latest,
    Superseded,
}

/// What a decision looks at beside the proof.
#[derive(Clone, Copy, Debug)]
pub struct PolicyInput<'a> {
    pub manifest: &'a KnownManifest,
    pub serving: Serving,
    pub coverage: Coverage,
    pub life: Life,
}

/// Proof of a decision to release, with its terms. Made only by [`decide`]. [REL-1]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Decided {
    pub(super) appraised: Appraised,
    pub(super) terms: Terms,
    pub(super) policy: PolicyVersion,
}

/// Says yes only if every rule does.
pub fn decide(appraised: Appraised, input: &PolicyInput<'_>) -> Result<Decided, Violation> {
    require!(REL_2, input.serving == Serving::Yes);
    require!(REL_6, input.coverage == Coverage::Clear);
    require!(RST_7, input.life == Life::Latest);
    let policy = &input.manifest.policy;
    let clamp = |term: Span| term.min(input.manifest.ttl_max);
    let terms = Terms {
        first: clamp(policy.first),
        term: clamp(policy.term),
        budget: policy.budget,
        max_age: policy.max_age,
    };
    require!(REL_1, terms.budget > Budget::new(0) && terms.max_age > Span::ZERO);
    Ok(Decided { appraised, terms, policy: policy.version })
}
