//! Quorum: k of n, one session, one key. Chapter 40.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "qrm_1_no_request_to_too_few",
        never: Fact::RequestToTooFew,
        witnesses: &[Fact::Granted, Fact::TooFewReady],
        slices: &["quorum-cuts", "quorum-cuts-wide"],
        says: "A device makes Evidence only when at least k custodians can answer. [QRM-1]",
        broken: "the device has attested to fewer custodians than it needs",
        matters: "Custodians would lease and log for an attempt that cannot succeed.",
    },
    Property {
        id: "qrm_2_no_honest_custodian_is_blamed",
        never: Fact::HonestBlamed,
        witnesses: &[Fact::LiarCaught],
        slices: &["quorum-liar", "intruder-corrupt", "intruder-corrupt-wide", "quorum-liar-crash"],
        says: "A wrong share is pinned on the custodian that granted it. [QRM-2] [QRM-5]",
        broken: "the device has closed the exchange of an honest custodian as a liar's",
        matters: "One liar could have honest custodians taken out of service one by one.",
    },
    Property {
        id: "qrm_3_only_the_owners_key_is_loaded",
        never: Fact::ForeignKeyLoaded,
        witnesses: &[Fact::Loaded],
        slices: &[
            "quorum-liar",
            "handshake-two",
            "handshake-three",
            "intruder-corrupt",
            "intruder-corrupt-wide",
            "intruder-impostor",
            "quorum-liar-crash",
            "handshake-crash-late",
        ],
        says: "What is loaded under is the key that the owner committed to. [QRM-3]",
        broken: "the device has loaded under a key that the owner never dealt",
        matters: "A liar would choose which weights the device runs.",
    },
];
