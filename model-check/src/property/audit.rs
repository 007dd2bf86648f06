//! Audit: what a custodian may do in which life of its store. Chapter 80.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "aud_1_renewal_durable_before_it_is_said",
        never: Fact::RenewedBeforeLeaf,
        witnesses: &[Fact::Renewed],
        slices: &[
            "lease-one",
            "lease-two-of-two",
            "lease-budget",
            "reset-lease",
            "lease-two-skew",
            "lease-rollback",
            "reset-lease-crash",
        ],
        says: "When a renewal leaves, its leaf is in the durable log. [AUD-1]",
        broken: "a renewal has left whose audit leaf is not in the log",
        matters: "The log no longer says until when the weights could be used.",
    },
    Property {
        id: "aud_4_no_grant_behind_the_anchor",
        never: Fact::GrantBehindAnchor,
        witnesses: &[Fact::RolledBack, Fact::RecoveringRefused],
        slices: &["rollback-one", "rollback-two", "lease-rollback"],
        says: "A custodian whose store lacks an order that its anchor knows grants nothing. [AUD-4] [REL-2]",
        broken: "a custodian has granted from a store that lacks an order it acknowledged",
        matters: "Restoring a backup undoes a revocation.",
    },
    Property {
        id: "aud_5_no_grant_before_activation",
        never: Fact::GrantBeforeActivation,
        witnesses: &[Fact::Granted, Fact::ActivationRefused],
        slices: &["activation-one", "intruder-operators-activation"],
        says: "A custodian grants only after operators activated this set in this generation. [AUD-5]",
        broken: "a custodian serves that operators have not activated in this generation",
        matters: "Operators looked at one state of the store, and another one serves.",
    },
];
