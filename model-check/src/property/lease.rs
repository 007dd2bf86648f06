//! Lease: use only while k custodians let it be. Chapter 50.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "lea_2_use_only_while_k_custodians_lease",
        never: Fact::UseWithoutK,
        witnesses: &[Fact::Used, Fact::Renewed],
        slices: &["lease-one", "lease-two-of-two", "lease-two-of-three", "lease-two-skew"],
        says: "When a use is admitted, k custodians count a lease of this device in their own books. [LEA-2] [LEA-1] [LEA-6]",
    },
    Property {
        id: "lea_3_output_only_while_k_custodians_lease",
        never: Fact::OutputWithoutK,
        witnesses: &[Fact::Output, Fact::LateOutputRefused],
        slices: &["lease-one", "lease-two-of-two", "lease-two-of-three"],
        says: "The same holds again when its output leaves. [LEA-3]",
    },
    Property {
        id: "lea_4_budget_is_never_exceeded",
        never: Fact::SpentBudget,
        witnesses: &[Fact::Used, Fact::OutOfBudget],
        slices: &["lease-budget"],
        says: "A term admits no more uses than its budget. [LEA-4] [LEA-13]",
    },
    Property {
        id: "lea_5_no_use_after_a_loss",
        never: Fact::UseAfterLoss,
        witnesses: &[Fact::Used, Fact::Lost],
        slices: &["lease-one", "lease-two-of-two"],
        says: "Once fewer than k leases counted, no late renewal brings use back. [LEA-5]",
    },
    Property {
        id: "lea_8_renewal_only_between_the_bound_leaves",
        never: Fact::RenewedOnOtherChannel,
        witnesses: &[Fact::Renewed, Fact::AttackRefused],
        slices: &["lease-intruder"],
        says: "A lease is renewed only between the two leaf keys that its session bound. [LEA-8]",
    },
    Property {
        id: "lea_9_no_renewal_after_acknowledgement",
        never: Fact::RenewedAfterAcknowledgement,
        witnesses: &[Fact::Renewed, Fact::EndedAfterAcknowledgement],
        slices: &["lease-one", "lease-one-of-two", "lease-two-of-two"],
        says: "A custodian that acknowledged a revocation renews nothing that it covers. [LEA-9]",
    },
    Property {
        id: "lea_10_no_renewal_past_max_age",
        never: Fact::RenewedPastMaxAge,
        witnesses: &[Fact::Renewed, Fact::EndedByAge],
        slices: &["lease-age"],
        says: "No renewal once the claims behind a lease are older than max-age. [LEA-10]",
    },
];
