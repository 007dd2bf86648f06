//! Broken doubles: each leaves out a rule, or lies about a fact of the world, and must be caught.
//!
//! All chapters. A double is the smallest set of rules whose absence is an attack, with the slice in
//! which it shows and the property that owns the rule. Rules are skipped in the production machines
//! under `--cfg doubles`; a [`Lie`] is a wrapper of this world. Where one rule alone survives its
//! removal because others cover it, `covered_by` says so.

use split_custody_protocol::Rule;

use crate::world::Lie;

/// One broken double.
#[derive(Clone, Copy, Debug)]
pub struct Double {
    pub name: &'static str,
    /// Rules that the machines do not enforce.
    pub rules: &'static [Rule],
    pub lie: Option<Lie>,
    /// A margin of this world, where the double is a parameter.
    pub margin: Option<u64>,
    pub slice: &'static str,
    /// The property that owns the rule and must be violated.
    pub killed_by: &'static str,
    pub says: &'static str,
    /// Why a smaller set survives; empty where there is none.
    pub covered_by: &'static str,
}

/// The double of a name.
pub fn double(name: &str) -> Option<Double> {
    DOUBLES.iter().copied().find(|double| double.name == name)
}

/// Every double.
pub const DOUBLES: &[Double] = &[
    Double {
        name: "challenge_reused",
        rules: &[Rule::HS_6],
        lie: None,
        margin: None,
        slice: "handshake-stolen-leaf",
        killed_by: "hs_6_one_grant_per_challenge",
        says: "A challenge can be answered twice.",
        covered_by: "",
    },
    Double {
        name: "dead_challenge_accepted",
        rules: &[Rule::HS_7],
        lie: None,
        margin: None,
        slice: "handshake-late",
        killed_by: "hs_7_no_grant_on_a_dead_challenge",
        says: "A challenge never grows too old.",
        covered_by: "",
    },
    Double {
        name: "own_entry_unchecked",
        rules: &[Rule::HS_10],
        lie: None,
        margin: None,
        slice: "handshake-one",
        killed_by: "hs_10_grant_only_on_the_channel_of_its_session",
        says: "The custodian does not look for its own entry in the session.",
        covered_by: "",
    },
    Double {
        name: "evidence_of_another_session",
        rules: &[Rule::HS_11, Rule::HS_12],
        lie: None,
        margin: None,
        slice: "handshake-one",
        killed_by: "hs_11_grant_only_for_a_session_the_device_attested",
        says: "Reports are not compared with the session that is asked for.",
        covered_by: "either of the two alone: the CPU report covers the session and the GPU Evidence",
    },
    Double {
        name: "device_not_enrolled",
        rules: &[Rule::HS_14],
        lie: None,
        margin: None,
        slice: "handshake-one",
        killed_by: "hs_14_grant_only_to_an_enrolled_device",
        says: "Any genuine device will do.",
        covered_by: "",
    },
    Double {
        name: "relayed_gpu",
        rules: &[Rule::HS_13, Rule::HS_14],
        lie: None,
        margin: None,
        slice: "handshake-one",
        killed_by: "rel_4_share_sealed_only_to_the_attested_key",
        says: "Neither the device id nor its enrolment is checked: half of it may be anybody's.",
        covered_by: "HS-14 alone stops a foreign CPU half beside the enrolled GPU",
    },
    Double {
        name: "store_answers_early",
        rules: &[],
        lie: Some(Lie::StoreAnswersEarly),
        margin: None,
        slice: "crash-one",
        killed_by: "rel_3_leaf_durable_before_the_grant_leaves",
        says: "The store says that it has written before it has.",
        covered_by: "",
    },
    Double {
        name: "unsent_grant_kept",
        rules: &[Rule::REV_5],
        lie: None,
        margin: None,
        slice: "revocation-deferred",
        killed_by: "rel_6_no_grant_after_acknowledgement",
        says: "An order does not cancel grants that are committed and not yet sent.",
        covered_by: "",
    },
    Double {
        name: "release_ignores_orders",
        rules: &[Rule::REL_6],
        lie: None,
        margin: None,
        slice: "revocation-deferred",
        killed_by: "rel_6_no_grant_after_acknowledgement",
        says: "Releases do not look at orders.",
        covered_by: "",
    },
    Double {
        name: "too_few_accepted",
        rules: &[Rule::QRM_1],
        lie: None,
        margin: None,
        slice: "quorum-cuts",
        killed_by: "qrm_1_no_request_to_too_few",
        says: "The device makes Evidence for fewer than k custodians.",
        covered_by: "",
    },
    Double {
        name: "share_unchecked",
        rules: &[Rule::QRM_2],
        lie: None,
        margin: None,
        slice: "quorum-liar",
        killed_by: "qrm_2_no_honest_custodian_is_blamed",
        says: "A share is not compared with its commitment.",
        covered_by: "",
    },
    Double {
        name: "key_unchecked",
        rules: &[Rule::QRM_2, Rule::QRM_3],
        lie: None,
        margin: None,
        slice: "quorum-liar",
        killed_by: "qrm_3_only_the_owners_key_is_loaded",
        says: "Neither shares nor the combined key are compared with their commitments.",
        covered_by: "QRM-3 alone: every share matches its own commitment",
    },
    Double {
        name: "key_outside",
        rules: &[Rule::HS_14],
        lie: None,
        margin: None,
        slice: "handshake-liar",
        killed_by: "rel_4_fewer_than_k_shares_outside",
        says: "Any genuine device will do, and one custodian is corrupt.",
        covered_by: "",
    },
    Double {
        name: "use_without_k",
        rules: &[Rule::LEA_2],
        lie: None,
        margin: None,
        slice: "lease-two-of-two",
        killed_by: "lea_2_use_only_while_k_custodians_lease",
        says: "A use is admitted without k counting leases.",
        covered_by: "",
    },
    Double {
        name: "output_unchecked",
        rules: &[Rule::LEA_3],
        lie: None,
        margin: None,
        slice: "lease-one",
        killed_by: "lea_3_output_only_while_k_custodians_lease",
        says: "Leases are not looked at again when output leaves.",
        covered_by: "",
    },
    Double {
        name: "budget_unchecked",
        rules: &[Rule::LEA_2],
        lie: None,
        margin: None,
        slice: "lease-budget",
        killed_by: "lea_4_budget_is_never_exceeded",
        says: "A use is admitted without budget.",
        covered_by: "",
    },
    Double {
        name: "late_renewal_revives",
        rules: &[Rule::LEA_5],
        lie: None,
        margin: None,
        slice: "lease-one",
        killed_by: "lea_5_no_use_after_a_loss",
        says: "A renewal that comes after a loss brings the model back.",
        covered_by: "",
    },
    Double {
        name: "renewal_from_anywhere",
        rules: &[Rule::LEA_8],
        lie: None,
        margin: None,
        slice: "lease-intruder",
        killed_by: "lea_8_renewal_only_between_the_bound_leaves",
        says: "Whoever holds a certificate may renew.",
        covered_by: "",
    },
    Double {
        name: "renewal_ignores_orders",
        rules: &[Rule::LEA_9, Rule::LEA_11],
        lie: None,
        margin: None,
        slice: "lease-one-of-two",
        killed_by: "lea_9_no_renewal_after_acknowledgement",
        says: "Renewals do not look at orders.",
        covered_by: "LEA-9 alone: an ended lease's answer is not said, whatever was decided [LEA-11]",
    },
    Double {
        name: "stored_answer_kept",
        rules: &[Rule::REV_6],
        lie: None,
        margin: None,
        slice: "lease-one",
        killed_by: "lea_9_no_renewal_after_acknowledgement",
        says: "An order does not drop the stored answers of renewals that it covers.",
        covered_by: "",
    },
    Double {
        name: "orders_forgotten_by_a_crash",
        rules: &[Rule::LEA_9, Rule::LEA_10],
        lie: None,
        margin: None,
        slice: "lease-crash",
        killed_by: "lea_9_no_renewal_after_acknowledgement",
        says: "Renewals of leases that were read back look neither at orders nor at the age of claims.",
        covered_by: "LEA-9 alone: a lease that was read back has no known age, which LEA-10 refuses",
    },
    Double {
        name: "claims_never_age",
        rules: &[Rule::LEA_10],
        lie: None,
        margin: None,
        slice: "lease-age",
        killed_by: "lea_10_no_renewal_past_max_age",
        says: "One appraisal lasts for ever.",
        covered_by: "",
    },
    Double {
        name: "order_by_stranger",
        rules: &[Rule::REV_2],
        lie: None,
        margin: None,
        slice: "revocation-intruder",
        killed_by: "rev_2_only_operators_order",
        says: "Signatures of orders are not counted.",
        covered_by: "",
    },
    Double {
        name: "anchor_stands",
        rules: &[],
        lie: Some(Lie::AnchorStands),
        margin: None,
        slice: "revocation-crash",
        killed_by: "rev_4_acknowledged_only_when_durable_and_anchored",
        says: "The anchor says that it has moved and has not.",
        covered_by: "",
    },
    Double {
        name: "effective_at_first",
        rules: &[],
        lie: Some(Lie::EffectiveAtFirst),
        margin: None,
        slice: "lease-one-of-two",
        killed_by: "rev_8_no_use_past_the_bound",
        says: "A revocation is called effective at the first acknowledgement.",
        covered_by: "",
    },
    Double {
        name: "clock_stalls",
        rules: &[],
        lie: Some(Lie::ClockStalls),
        margin: None,
        slice: "lease-one",
        killed_by: "rev_8_no_use_past_the_bound",
        says: "The host holds the device's clock: the assumption of the bound is gone.",
        covered_by: "",
    },
    Double {
        name: "no_margin",
        rules: &[],
        lie: None,
        margin: Some(0),
        slice: "lease-death",
        killed_by: "rev_10_dead_means_dead",
        says: "Clocks err by one and the margin is none.",
        covered_by: "",
    },
    Double {
        name: "read_unnoticed",
        rules: &[],
        lie: Some(Lie::ReadUnnoticed),
        margin: None,
        slice: "reset-reset",
        killed_by: "rst_2_no_use_after_a_read",
        says: "The driver does not hear that memory was read.",
        covered_by: "",
    },
    Double {
        name: "scrub_does_nothing",
        rules: &[],
        lie: Some(Lie::ScrubDoesNothing),
        margin: None,
        slice: "reset-reset",
        killed_by: "rst_3_clean_means_nothing_is_left",
        says: "The scrub reports success and overwrites nothing.",
        covered_by: "",
    },
    Double {
        name: "zeroise_does_nothing",
        rules: &[],
        lie: Some(Lie::ZeroiseDoesNothing),
        margin: None,
        slice: "reset-reset",
        killed_by: "rst_3_clean_means_nothing_is_left",
        says: "Zeroising reports success and erases nothing.",
        covered_by: "",
    },
    Double {
        name: "old_output_leaves",
        rules: &[Rule::RST_5],
        lie: None,
        margin: None,
        slice: "reset-reset",
        killed_by: "rst_5_no_output_of_another_life",
        says: "The life that admitted a use is not compared when its output leaves.",
        covered_by: "",
    },
    Double {
        name: "old_life_renewed",
        rules: &[Rule::RST_6],
        lie: None,
        margin: None,
        slice: "reset-lease",
        killed_by: "rst_6_no_renewal_for_an_ended_life",
        says: "A grant to a new incarnation leaves the old one's leases renewable.",
        covered_by: "",
    },
    Double {
        name: "superseded_accepted",
        rules: &[Rule::RST_7],
        lie: None,
        margin: None,
        slice: "reset-reset",
        killed_by: "rst_7_no_grant_to_a_superseded_life",
        says: "A superseded incarnation may come back.",
        covered_by: "",
    },
    Double {
        name: "blocked_read_taints",
        rules: &[],
        lie: Some(Lie::BlockedReadTaints),
        margin: None,
        slice: "reset-block",
        killed_by: "rst_8_a_blocked_read_changes_nothing",
        says: "A read that the hardware blocked is reported as tampering.",
        covered_by: "",
    },
    Double {
        name: "renewal_said_early",
        rules: &[],
        lie: Some(Lie::StoreAnswersEarly),
        margin: None,
        slice: "lease-one",
        killed_by: "aud_1_renewal_durable_before_it_is_said",
        says: "The store says that a renewal is written before it is.",
        covered_by: "",
    },
    Double {
        name: "behind_anchor_serves",
        rules: &[Rule::AUD_4],
        lie: None,
        margin: None,
        slice: "rollback-one",
        killed_by: "aud_4_no_grant_behind_the_anchor",
        says: "A store behind its anchor serves.",
        covered_by: "",
    },
    Double {
        name: "activated_by_nobody",
        rules: &[Rule::REL_2],
        lie: None,
        margin: None,
        slice: "activation-one",
        killed_by: "aud_5_no_grant_before_activation",
        says: "A recovering custodian grants.",
        covered_by: "",
    },
    Double {
        name: "activation_of_another_life",
        rules: &[Rule::AUD_5],
        lie: None,
        margin: None,
        slice: "activation-one",
        killed_by: "aud_5_no_grant_before_activation",
        says: "An activation that was signed for an earlier generation is taken.",
        covered_by: "",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::property::{properties, property};
    use crate::slice::slice;

    #[test]
    fn every_property_has_a_double_and_every_double_a_property() {
        let killers: BTreeSet<_> = DOUBLES.iter().map(|double| double.killed_by).collect();
        for property in properties() {
            assert!(killers.contains(property.id), "{} was never seen to fail", property.id);
        }
        for double in DOUBLES {
            let owner = property(double.killed_by).expect("a property");
            assert!(owner.slices.contains(&double.slice), "{} is not claimed there", double.name);
            assert!(slice(double.slice).is_some());
        }
    }
}
