//! Handshake: who may get a grant, on which channel, for which session. Chapter 20.

use super::Property;
use crate::world::Fact;

pub(super) const PROPERTIES: &[Property] = &[
    Property {
        id: "hs_6_one_grant_per_challenge",
        never: Fact::SecondGrantOnChallenge,
        witnesses: &[Fact::Granted, Fact::SecondRequestRefused],
        slices: &["handshake-stolen-leaf", "handshake-stolen-leaf-wide"],
        says: "A challenge is answered by at most one grant, however often its request is repeated. [HS-6]",
    },
    Property {
        id: "hs_7_no_grant_on_a_dead_challenge",
        never: Fact::GrantOnDeadChallenge,
        witnesses: &[Fact::Granted, Fact::DeadChallengeRefused],
        slices: &["handshake-late"],
        says: "A request that the host held back past the end of its challenge gets nothing. [HS-7]",
    },
    Property {
        id: "hs_10_grant_only_on_the_channel_of_its_session",
        never: Fact::GrantOnOtherChannel,
        witnesses: &[Fact::Granted, Fact::AttackRefused],
        slices: &[
            "handshake-one",
            "handshake-two",
            "handshake-one-wide",
            "handshake-three",
            "handshake-two-wide",
        ],
        says: "A grant leaves only on a channel that ends in the device whose session binds it. [HS-10]",
    },
    Property {
        id: "hs_11_grant_only_for_a_session_the_device_attested",
        never: Fact::GrantForForeignSession,
        witnesses: &[Fact::Granted, Fact::AttackRefused],
        slices: &["handshake-one", "handshake-two", "handshake-liar", "handshake-one-wide"],
        says: "Every granted session is one for which measured code of the enrolled device made Evidence. [HS-11] [HS-12]",
    },
    Property {
        id: "hs_14_grant_only_to_an_enrolled_device",
        never: Fact::GrantToStranger,
        witnesses: &[Fact::Granted, Fact::AttackRefused],
        slices: &["handshake-one", "handshake-stolen-leaf", "handshake-one-wide"],
        says: "No grant answers Evidence of a device that is not enrolled, both halves together. [HS-14]",
    },
];
