//! Reset: one life at a time, and nothing left from the last. Chapter 70.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "rst_2_no_use_after_a_read",
        never: Fact::UseAfterRead,
        witnesses: &[Fact::ReadWhileServing, Fact::ServedAgain],
        slices: &["reset-reset", "reset-reset-wide", "reset-two", "intruder-reset"],
        says: "After a host read that traps, nothing is used before a scrub and a new release. [RST-2]",
        broken: "the device has used the weights after the host read its memory",
        matters: "Whatever the host saw or planted is still part of the computation.",
    },
    Property {
        id: "rst_3_clean_means_nothing_is_left",
        never: Fact::CleanWithRemains,
        witnesses: &[Fact::CleanAgain],
        slices: &[
            "reset-reset",
            "reset-block",
            "reset-lease",
            "reset-two",
            "reset-reset-wide",
            "reset-block-wide",
        ],
        says: "A new incarnation begins with no key, DEK or plaintext of the old one. [RST-3] [RST-10]",
        broken: "the device calls itself clean with key or plaintext of its last life in memory",
        matters: "Open access follows clean: the host reads the weights out.",
    },
    Property {
        id: "rst_5_no_output_of_another_life",
        never: Fact::OutputOfOtherLife,
        witnesses: &[Fact::Output, Fact::OldOutputRefused],
        slices: &[
            "reset-reset",
            "reset-block",
            "reset-reset-wide",
            "reset-block-wide",
            "intruder-reset",
        ],
        says: "An output leaves only in the life that admitted its use. [RST-5]",
        broken: "an output of an earlier life has left the device in a later one",
        matters: "It was computed before the reset, perhaps by what the reset was for.",
    },
    Property {
        id: "rst_6_no_renewal_for_an_ended_life",
        never: Fact::RenewedSuperseded,
        witnesses: &[Fact::Renewed, Fact::EndedSuperseded],
        slices: &["reset-lease"],
        says: "A custodian that granted to a new incarnation renews none of the old. [RST-6]",
        broken: "a custodian has renewed the lease of a life that a later one replaced",
        matters: "A copy of the old life, restored elsewhere, would be kept alive.",
    },
    Property {
        id: "rst_7_no_grant_to_a_superseded_life",
        never: Fact::GrantToSuperseded,
        witnesses: &[Fact::Granted, Fact::SupersededRefused],
        slices: &[
            "reset-reset",
            "reset-block",
            "reset-reset-wide",
            "reset-block-wide",
            "intruder-reset",
        ],
        says: "A superseded incarnation is never granted again. [RST-7]",
        broken: "a custodian has granted to a life that it saw superseded",
        matters: "A snapshot of a life that is over would be brought back with a lease.",
    },
    Property {
        id: "rst_8_a_blocked_read_changes_nothing",
        never: Fact::BlockedReadChanged,
        witnesses: &[Fact::ReadBlocked],
        slices: &["reset-block", "reset-block-wide"],
        says: "Under Block, a host read leaves the device as it was. [RST-8]",
        broken: "a read that the hardware blocked has changed the device",
        matters: "Any tenant of the host could reset the device by touching its bus.",
    },
];
