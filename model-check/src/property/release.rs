//! Release: what leaves a custodian, and when. Chapter 30.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "rel_4_share_sealed_only_to_the_attested_key",
        never: Fact::ShareLeaked,
        witnesses: &[Fact::Granted, Fact::AttackRefused],
        slices: &[
            "handshake-one",
            "handshake-stolen-leaf",
            "handshake-two",
            "handshake-one-wide",
            "handshake-three",
        ],
        says: "No share leaves sealed to a key that the adversary can open. [REL-4]",
    },
    Property {
        id: "rel_3_leaf_durable_before_the_grant_leaves",
        never: Fact::GrantBeforeLeaf,
        witnesses: &[Fact::Granted, Fact::GrantAfterCrash],
        slices: &["crash-one", "revocation-crash"],
        says: "When a grant leaves, its lease and leaf are in the durable log at the signed index. [REL-3] [REL-5] [AUD-1]",
    },
    Property {
        id: "rel_6_no_grant_after_acknowledgement",
        never: Fact::GrantAfterAcknowledgement,
        witnesses: &[Fact::Granted, Fact::GrantCancelled],
        slices: &["revocation-deferred", "revocation-crash", "revocation-all"],
        says: "Once a custodian has acknowledged a revocation, no grant that it covers leaves, in whatever life. [REL-6] [REV-4] [REV-5]",
    },
];
