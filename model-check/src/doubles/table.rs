//! The doubles themselves, chapter by chapter.

use split_custody_protocol::Rule;
use split_custody_protocol::transcript::Field;

use super::Double;
use crate::world::Lie;

/// Every double, in the order of the chapters.
pub const DOUBLES: &[Double] = &[
    skips(
        "challenge_reused",
        &[Rule::HS_6],
        "handshake-stolen-leaf",
        "hs_6_one_grant_per_challenge",
        "A challenge can be answered twice.",
    ),
    skips(
        "dead_challenge_accepted",
        &[Rule::HS_7],
        "handshake-late",
        "hs_7_no_grant_on_a_dead_challenge",
        "A challenge never grows too old.",
    ),
    skips(
        "own_entry_unchecked",
        &[Rule::HS_10],
        "handshake-one",
        "hs_10_grant_only_on_the_channel_of_its_session",
        "The custodian does not look for its own entry in the session.",
    ),
    skips(
        "evidence_of_another_session",
        &[Rule::HS_11, Rule::HS_12],
        "handshake-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "Reports are not compared with the session that is asked for.",
    )
    .covered_by("HS-11 alone: the CPU report covers the session and the GPU Evidence"),
    skips(
        "cpu_report_of_another_session",
        &[Rule::HS_12],
        "intruder-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "The CPU report's data are not compared with the session; any GPU signs its nonce.",
    ),
    skips(
        "channel_not_bound",
        &[],
        "intruder-impostor",
        "hs_10_grant_only_on_the_channel_of_its_session",
        "Neither the channel nor the device's end of it is in the entry.",
    )
    .unbound(&[Field::EntryExporter, Field::EntryDeviceLeaf])
    .covered_by(
        "EntryExporter alone: the adversary's channel ends in another leaf than the device's",
    ),
    skips(
        "challenge_not_bound",
        &[],
        "intruder-stolen-leaf",
        "hs_10_grant_only_on_the_channel_of_its_session",
        "Neither the channel nor the challenge is bound: what was said to one is said to another.",
    )
    .unbound(&[Field::EntryExporter, Field::Th1Challenge])
    .covered_by("Th1Challenge alone: no two channels have one exporter"),
    skips(
        "cpu_report_not_bound",
        &[],
        "intruder-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "The CPU report's data are made neither of the session nor of the GPU's Evidence.",
    )
    .unbound(&[Field::CpuSession, Field::CpuEvidence])
    .covered_by("CpuSession alone: the GPU's Evidence in the data is of one session"),
    skips(
        "gpu_evidence_of_another_session",
        &[Rule::HS_11],
        "intruder-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "The GPU's nonce is not compared, and the session is not in the CPU report's data.",
    )
    .unbound(&[Field::CpuSession])
    .covered_by("either alone: the other binds the session"),
    skips(
        "device_not_enrolled",
        &[Rule::HS_14],
        "handshake-one",
        "hs_14_grant_only_to_an_enrolled_device",
        "Any genuine device will do.",
    ),
    skips(
        "any_genuine_device",
        &[Rule::HS_14],
        "intruder-one",
        "hs_14_grant_only_to_an_enrolled_device",
        "Any genuine device will do, and the intruder has one.",
    ),
    skips(
        "altered_code",
        &[Rule::HS_16],
        "intruder-one",
        "hs_16_grant_only_to_code_that_policy_names",
        "Policy is not asked about the code that was measured.",
    ),
    skips(
        "owned_device_in_the_fleet",
        &[Rule::HS_16],
        "intruder-fleet-owned",
        "hs_16_grant_only_to_code_that_policy_names",
        "A device of the fleet is the adversary's, and policy is not asked what it runs.",
    ),
    skips(
        "tls_ends_in_host",
        &[],
        "intruder-one",
        "hs_2_no_grant_where_the_adversary_has_the_exporter",
        "TLS ends in the host, which hands the device an exporter.",
    )
    .lies(Lie::TlsEndsInHost),
    skips(
        "device_key_not_bound",
        &[],
        "intruder-host",
        "rel_4_share_sealed_only_to_the_attested_key",
        "TLS ends in the host, and the device key is not in the entry of its session.",
    )
    .unbound(&[Field::EntryDeviceKey])
    .covered_by("TLS in the measured code alone: nobody but the device writes into its channel"),
    skips(
        "session_without_entries",
        &[],
        "intruder-host",
        "rel_4_share_sealed_only_to_the_attested_key",
        "TLS ends in the host, and the digest of a custodian's entry is not in the session.",
    )
    .unbound(&[Field::SessionEntry])
    .covered_by("TLS in the measured code alone: nobody but the device writes into its channel"),
    skips(
        "unreadable_report_passes",
        &[],
        "intruder-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "A CPU report that cannot be read is skipped, as if nothing had to be compared.",
    )
    .lies(Lie::UnreadableReportPasses),
    skips(
        "report_of_another_half",
        &[],
        "intruder-one",
        "hs_11_grant_only_for_a_session_the_device_attested",
        "What a GPU signed is taken for what a CPU signed, and any GPU signs any nonce.",
    )
    .lies(Lie::AnyHalf),
    skips(
        "exporter_only",
        &[],
        "intruder-one",
        "hs_10_grant_only_on_the_channel_of_its_session",
        "The exporter alone binds the channel, and code of the host hands it to the device.",
    )
    .unbound(&[Field::EntryDeviceLeaf, Field::EntryTh1])
    .lies(Lie::HostHandsExporter)
    .covered_by("the exporter from the host alone: the entry has the leaf of the device and `th1`"),
    skips(
        "offer_not_bound",
        &[],
        "intruder-host",
        "hs_3_grant_only_on_the_offer_that_was_made",
        "TLS ends in the host, and the hello is neither in `th1` nor in the exporter's context.",
    )
    .unbound(&[Field::Th1Hello, Field::ContextHello])
    .covered_by("either alone: the other binds the hello"),
    skips(
        "suite_downgraded",
        &[],
        "intruder-host-suites",
        "hs_3_grant_only_on_the_suite_that_the_device_prefers",
        "TLS ends in the host, which strips the better of two suites from the hello, and nothing binds it.",
    )
    .unbound(&[Field::Th1Hello, Field::ContextHello])
    .covered_by("either alone: the other binds the hello"),
    skips(
        "device_key_kept",
        &[],
        "intruder-one",
        "hs_8_a_device_key_is_in_one_session",
        "The device's generator is restored from a snapshot and draws the same key pair again.",
    )
    .lies(Lie::DeviceKeyKept),
    skips(
        "shares_open_in_host",
        &[],
        "handshake-two",
        "rel_4_fewer_than_k_shares_outside",
        "Shares are opened in a buffer of the host, on their way to the device.",
    )
    .lies(Lie::SharesOpenInHost),
    skips(
        "share_for_another_key",
        &[Rule::HS_10],
        "intruder-impostor",
        "rel_4_share_sealed_only_to_the_attested_key",
        "The custodian does not look for its own entry, and so not for the device key in it.",
    ),
    skips(
        "grant_unsigned",
        &[Rule::REL_7],
        "intruder-impostor-of-two",
        "rel_7_no_lease_that_nobody_granted",
        "The signature of a grant is not verified.",
    ),
    skips(
        "grants_and_shares_unchecked",
        &[Rule::REL_7, Rule::QRM_2, Rule::QRM_3],
        "intruder-impostor",
        "qrm_3_only_the_owners_key_is_loaded",
        "Neither the signature of a grant nor its share nor the combined key is checked.",
    )
    .covered_by(
        "REL-7 alone where each grant is needed for its share: no share fits its commitment",
    ),
    skips(
        "grant_of_another_session",
        &[Rule::REL_8, Rule::QRM_4],
        "intruder-impostor-late",
        "rev_8_no_use_past_the_bound",
        "A grant of an earlier session is taken, and the device's key is the same as then.",
    )
    .lies(Lie::DeviceKeyKept)
    .covered_by("both rules alone: the share was sealed to a key that is gone [HS-8]"),
    skips(
        "relayed_gpu",
        &[Rule::HS_13, Rule::HS_14],
        "handshake-one",
        "rel_4_share_sealed_only_to_the_attested_key",
        "Neither the device id nor its enrolment is checked: half of it may be anybody's.",
    )
    .covered_by("HS-14 alone stops a foreign CPU half beside the enrolled GPU"),
    skips(
        "store_answers_early",
        &[],
        "crash-one",
        "rel_3_leaf_durable_before_the_grant_leaves",
        "The store says that it has written before it has.",
    )
    .lies(Lie::StoreAnswersEarly),
    skips(
        "key_without_books",
        &[],
        "crash-one",
        "rel_3_every_step_is_one_of_custody",
        "The store says that it has written before it has, and the device has a key that no books explain.",
    )
    .lies(Lie::StoreAnswersEarly),
    skips(
        "unsent_grant_kept",
        &[Rule::REV_5],
        "revocation-deferred",
        "rel_6_no_grant_after_acknowledgement",
        "An order does not cancel grants that are committed and not yet sent.",
    ),
    skips(
        "release_ignores_orders",
        &[Rule::REL_6],
        "revocation-deferred",
        "rel_6_no_grant_after_acknowledgement",
        "Releases do not look at orders.",
    ),
    skips(
        "too_few_accepted",
        &[Rule::QRM_1],
        "quorum-cuts",
        "qrm_1_no_request_to_too_few",
        "The device makes Evidence for fewer than k custodians.",
    ),
    skips(
        "share_unchecked",
        &[Rule::QRM_2],
        "quorum-liar",
        "qrm_2_no_honest_custodian_is_blamed",
        "A share is not compared with its commitment.",
    ),
    skips(
        "key_unchecked",
        &[Rule::QRM_2, Rule::QRM_3],
        "quorum-liar",
        "qrm_3_only_the_owners_key_is_loaded",
        "Neither shares nor the combined key are compared with their commitments.",
    )
    .covered_by("QRM-3 alone: every share matches its own commitment"),
    skips(
        "key_outside",
        &[Rule::HS_14],
        "handshake-liar",
        "rel_4_fewer_than_k_shares_outside",
        "Any genuine device will do, and one custodian is corrupt.",
    ),
    skips(
        "use_without_k",
        &[Rule::LEA_2],
        "lease-two-of-two",
        "lea_2_use_only_while_k_custodians_lease",
        "A use is admitted without k counting leases.",
    ),
    skips(
        "output_unchecked",
        &[Rule::LEA_3],
        "lease-one",
        "lea_3_output_only_while_k_custodians_lease",
        "Leases are not looked at again when output leaves.",
    ),
    skips(
        "budget_unchecked",
        &[Rule::LEA_2],
        "lease-budget",
        "lea_4_budget_is_never_exceeded",
        "A use is admitted without budget.",
    ),
    skips(
        "late_renewal_revives",
        &[Rule::LEA_5],
        "lease-one",
        "lea_5_no_use_after_a_loss",
        "A renewal that comes after a loss brings the model back.",
    ),
    skips(
        "renewal_from_anywhere",
        &[Rule::LEA_8],
        "lease-intruder",
        "lea_8_renewal_only_between_the_bound_leaves",
        "Whoever holds a certificate may renew.",
    ),
    skips(
        "renewal_ignores_orders",
        &[Rule::LEA_9, Rule::LEA_11],
        "lease-one-of-two",
        "lea_9_no_renewal_after_acknowledgement",
        "Renewals do not look at orders.",
    )
    .covered_by("LEA-9 alone: an ended lease's answer is not said, whatever was decided [LEA-11]"),
    skips(
        "stored_answer_kept",
        &[Rule::REV_6],
        "lease-one",
        "lea_9_no_renewal_after_acknowledgement",
        "An order does not drop the stored answers of renewals that it covers.",
    ),
    skips(
        "orders_forgotten_by_a_crash",
        &[Rule::LEA_9, Rule::LEA_10],
        "lease-crash",
        "lea_9_no_renewal_after_acknowledgement",
        "Renewals of leases that were read back look neither at orders nor at the age of claims.",
    )
    .covered_by("LEA-9 alone: a lease that was read back has no known age, which LEA-10 refuses"),
    skips(
        "claims_never_age",
        &[Rule::LEA_10],
        "lease-age",
        "lea_10_no_renewal_past_max_age",
        "One appraisal lasts for ever.",
    ),
    skips(
        "order_by_stranger",
        &[Rule::REV_2],
        "revocation-intruder",
        "rev_2_only_operators_order",
        "Signatures of orders are not counted.",
    ),
    skips(
        "order_by_an_intruder",
        &[Rule::REV_2],
        "intruder-renewal",
        "rev_2_only_operators_order",
        "Signatures of orders are not counted, and the intruder signs one.",
    ),
    skips(
        "revokes_every_device",
        &[],
        "fleet-two-lease",
        "rev_5_nothing_ends_for_another_device",
        "The order that was meant for one device names them all.",
    )
    .lies(Lie::RevokesEveryDevice),
    skips(
        "one_approval_suffices",
        &[Rule::REV_2],
        "intruder-operators",
        "rev_2_only_operators_order",
        "An order takes two of three operators; their approvals are not counted.",
    ),
    skips(
        "one_more_key_stolen",
        &[],
        "intruder-operators-readmitted",
        "rel_6_no_grant_after_acknowledgement",
        "As many operators' keys are stolen as it takes to admit a revoked device.",
    )
    .lies(Lie::OneMoreKeyStolen),
    skips(
        "old_admission_counts",
        &[Rule::REV_3],
        "intruder-readmitted",
        "rel_6_no_grant_after_acknowledgement",
        "An admission from before a revocation of the same serial counts more than it.",
    ),
    skips(
        "anchor_stands",
        &[],
        "revocation-crash",
        "rev_4_acknowledged_only_when_durable_and_anchored",
        "The anchor says that it has moved and has not.",
    )
    .lies(Lie::AnchorStands),
    skips(
        "effective_at_first",
        &[],
        "lease-one-of-two",
        "rev_8_no_use_past_the_bound",
        "A revocation is called effective at the first acknowledgement.",
    )
    .lies(Lie::EffectiveAtFirst),
    skips(
        "clock_stalls",
        &[],
        "lease-one",
        "rev_8_no_use_past_the_bound",
        "The host holds the device's clock: the assumption of the bound is gone.",
    )
    .lies(Lie::ClockStalls),
    skips(
        "no_margin",
        &[],
        "lease-death",
        "rev_10_dead_means_dead",
        "Clocks err by one and the margin is none.",
    )
    .margin(0),
    skips(
        "read_unnoticed",
        &[],
        "reset-reset",
        "rst_2_no_use_after_a_read",
        "The driver does not hear that memory was read.",
    )
    .lies(Lie::ReadUnnoticed),
    skips(
        "scrub_does_nothing",
        &[],
        "reset-reset",
        "rst_3_clean_means_nothing_is_left",
        "The scrub reports success and overwrites nothing.",
    )
    .lies(Lie::ScrubDoesNothing),
    skips(
        "zeroise_does_nothing",
        &[],
        "reset-reset",
        "rst_3_clean_means_nothing_is_left",
        "Zeroising reports success and erases nothing.",
    )
    .lies(Lie::ZeroiseDoesNothing),
    skips(
        "old_output_leaves",
        &[Rule::RST_5],
        "reset-reset",
        "rst_5_no_output_of_another_life",
        "The life that admitted a use is not compared when its output leaves.",
    ),
    skips(
        "old_life_renewed",
        &[Rule::RST_6],
        "reset-lease",
        "rst_6_no_renewal_for_an_ended_life",
        "A grant to a new incarnation leaves the old one's leases renewable.",
    ),
    skips(
        "superseded_accepted",
        &[Rule::RST_7],
        "reset-reset",
        "rst_7_no_grant_to_a_superseded_life",
        "A superseded incarnation may come back.",
    ),
    skips(
        "ended_only_when_written",
        &[Rule::RST_11],
        "reset-reset-wide",
        "rst_7_no_grant_to_a_superseded_life",
        "An old life ends when the grant to the new one is written, not when it is decided.",
    ),
    skips(
        "blocked_read_taints",
        &[],
        "reset-block",
        "rst_8_a_blocked_read_changes_nothing",
        "A read that the hardware blocked is reported as tampering.",
    )
    .lies(Lie::BlockedReadTaints),
    skips(
        "renewal_said_early",
        &[],
        "lease-one",
        "aud_1_renewal_durable_before_it_is_said",
        "The store says that a renewal is written before it is.",
    )
    .lies(Lie::StoreAnswersEarly),
    skips(
        "behind_anchor_serves",
        &[Rule::AUD_4],
        "rollback-one",
        "aud_4_no_grant_behind_the_anchor",
        "A store behind its anchor serves.",
    ),
    skips(
        "activated_by_nobody",
        &[Rule::REL_2],
        "activation-one",
        "aud_5_no_grant_before_activation",
        "A recovering custodian grants.",
    ),
    skips(
        "activation_of_another_life",
        &[Rule::AUD_5],
        "activation-one",
        "aud_5_no_grant_before_activation",
        "An activation that was signed for an earlier generation is taken.",
    ),
    skips(
        "activation_by_one",
        &[Rule::REV_2],
        "intruder-operators-activation",
        "aud_5_no_grant_before_activation",
        "An activation takes two of three operators; their approvals are not counted.",
    ),
];

const fn skips(
    name: &'static str,
    rules: &'static [Rule],
    slice: &'static str,
    killed_by: &'static str,
    says: &'static str,
) -> Double {
    let (fields, lie, margin, covered_by) = (&[], None, None, "");
    Double { name, rules, fields, lie, margin, slice, killed_by, says, covered_by }
}

impl Double {
    const fn unbound(self, fields: &'static [Field]) -> Self {
        Self { fields, ..self }
    }

    const fn lies(self, lie: Lie) -> Self {
        Self { lie: Some(lie), ..self }
    }

    const fn margin(self, margin: u64) -> Self {
        Self { margin: Some(margin), ..self }
    }

    const fn covered_by(self, covered_by: &'static str) -> Self {
        Self { covered_by, ..self }
    }
}
