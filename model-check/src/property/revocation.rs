//! Revocation: what stops, and by when. Chapter 60.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "rev_2_only_operators_order",
        never: Fact::ForgedOrderApplied,
        witnesses: &[Fact::StrangerRefused],
        slices: &[
            "revocation-intruder",
            "revocation-all",
            "intruder-renewal",
            "intruder-lease",
            "intruder-crash",
            "intruder-readmitted",
        ],
        says: "No order is applied that operators did not sign. [REV-2]",
        broken: "a custodian has applied an order that no operator signed",
        matters: "Anyone could admit a revoked device, or take the fleet down.",
    },
    Property {
        id: "rev_4_acknowledged_only_when_durable_and_anchored",
        never: Fact::AcknowledgedBeforeAnchored,
        witnesses: &[Fact::Acknowledged, Fact::AcknowledgedAfterCrash],
        slices: &[
            "revocation-deferred",
            "revocation-crash",
            "rollback-one",
            "revocation-all",
            "rollback-two",
            "intruder-crash",
        ],
        says: "An acknowledgement leaves only when its order is in the store and in the anchor. [REV-4]",
        broken: "a custodian has acknowledged an order that a rollback would make it forget",
        matters: "The operators count this custodian; restored from backup, it grants again.",
    },
    Property {
        id: "rev_8_no_use_past_the_bound",
        never: Fact::UseAfterBound,
        witnesses: &[Fact::Effective, Fact::UsedAfterAcknowledgement],
        slices: &[
            "lease-one",
            "lease-two-of-two",
            "lease-one-of-two",
            "lease-liar",
            "lease-two-of-three",
            "lease-liar-of-three",
            "lease-two-skew",
            "intruder-lease",
            "intruder-impostor-late",
        ],
        says: "No use at or after t_eff + ttl-max, where t_eff counts n-k+1+f acknowledgements. [REV-8]",
        broken: "the weights are in use ttl-max after the revocation took effect",
        matters: "The one promise that an operator makes about time is broken.",
    },
    Property {
        id: "rev_10_dead_means_dead",
        never: Fact::DeadButCounting,
        witnesses: &[Fact::Dead],
        slices: &["lease-death"],
        says: "When a custodian signs that leases are dead, the device counts none of them. [REV-10] [LEA-6]",
        broken: "a custodian has signed that all its leases are dead; the device counts one",
        matters: "Whoever waited for that signature acts while the weights still run.",
    },
];
