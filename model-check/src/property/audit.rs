//! Audit: what a custodian may do in which life of its store. Chapter 80.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "aud_1_renewal_durable_before_it_is_said",
        never: Fact::RenewedBeforeLeaf,
        witnesses: &[Fact::Renewed],
        slices: &["lease-one", "lease-two-of-two"],
        says: "When a renewal leaves, its leaf is in the durable log. [AUD-1]",
    },
    Property {
        id: "aud_4_no_grant_behind_the_anchor",
        never: Fact::GrantBehindAnchor,
        witnesses: &[Fact::RolledBack, Fact::RecoveringRefused],
        slices: &["rollback-one", "rollback-two"],
        says: "A custodian whose store lacks an order that its anchor knows grants nothing. [AUD-4] [REL-2]",
    },
    Property {
        id: "aud_5_no_grant_before_activation",
        never: Fact::GrantBeforeActivation,
        witnesses: &[Fact::Granted, Fact::ActivationRefused],
        slices: &["activation-one"],
        says: "A custodian grants only after operators activated this set in this generation. [AUD-5]",
    },
];
