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
            "handshake-liar",
            "handshake-one-wide",
            "handshake-stolen-leaf-wide",
            "handshake-three",
            "handshake-two-wide",
        ],
        says: "No share leaves sealed to a key that the adversary can open. [REL-4]",
        broken: "the adversary holds a share: it was sealed to a key of its own",
        matters: "k such shares are the key to the weights.",
    },
    Property {
        id: "rel_4_fewer_than_k_shares_outside",
        never: Fact::KeyOutside,
        witnesses: &[Fact::Loaded, Fact::AttackRefused],
        slices: &["handshake-one", "handshake-two", "handshake-liar", "handshake-three"],
        says: "Shares of corrupt custodians and leaked shares together stay below k. [REL-4]",
        broken: "k shares are outside: the adversary can combine the DEK by itself",
        matters: "The weights can be opened anywhere, for ever; no order takes a key back.",
    },
    Property {
        id: "rel_3_leaf_durable_before_the_grant_leaves",
        never: Fact::GrantBeforeLeaf,
        witnesses: &[Fact::Granted, Fact::GrantAfterCrash],
        slices: &["crash-one", "revocation-crash", "rollback-two"],
        says: "When a grant leaves, its lease and leaf are in the durable log at the signed index. [REL-3] [REL-5] [AUD-1]",
        broken: "a grant has left whose audit leaf is not in the log",
        matters: "A release that nobody can find in the log cannot be audited or revoked.",
    },
    Property {
        id: "rel_6_no_grant_after_acknowledgement",
        never: Fact::GrantAfterAcknowledgement,
        witnesses: &[Fact::Granted, Fact::GrantCancelled],
        slices: &["revocation-deferred", "revocation-crash", "revocation-all", "rollback-two"],
        says: "Once a custodian has acknowledged a revocation, no grant that it covers leaves, in whatever life. [REL-6] [REV-4] [REV-5]",
        broken: "a grant has left a custodian after it acknowledged the revocation",
        matters: "A revoked device has received a new lease and a share.",
    },
];
