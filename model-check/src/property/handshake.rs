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
        broken: "one challenge has brought two grants",
        matters: "Evidence is fresh for one use only; a second grant rests on a replay.",
    },
    Property {
        id: "hs_7_no_grant_on_a_dead_challenge",
        never: Fact::GrantOnDeadChallenge,
        witnesses: &[Fact::Granted, Fact::DeadChallengeRefused],
        slices: &["handshake-late"],
        says: "A request that the host held back past the end of its challenge gets nothing. [HS-7]",
        broken: "a custodian has granted on a challenge older than its maximum",
        matters: "The age of Evidence counts from the challenge: an old one vouches for nothing.",
    },
    Property {
        id: "hs_10_grant_only_on_the_channel_of_its_session",
        never: Fact::GrantOnOtherChannel,
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
        says: "A grant leaves only on a channel that ends in the device whose session binds it. [HS-10]",
        broken: "a grant has gone into a channel that the attested device never opened",
        matters: "Whoever ends that channel is not the device that the Evidence speaks of.",
    },
    Property {
        id: "hs_11_grant_only_for_a_session_the_device_attested",
        never: Fact::GrantForForeignSession,
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
        says: "Every granted session is one for which measured code of the enrolled device made Evidence. [HS-11] [HS-12]",
        broken: "a custodian has granted for a session that no measured code made Evidence for",
        matters: "A report about one session was taken as proof of another: a relay works.",
    },
    Property {
        id: "hs_14_grant_only_to_an_enrolled_device",
        never: Fact::GrantToStranger,
        witnesses: &[Fact::Granted, Fact::AttackRefused],
        slices: &[
            "handshake-one",
            "handshake-stolen-leaf",
            "handshake-liar",
            "handshake-one-wide",
            "handshake-three",
        ],
        says: "No grant answers Evidence of a device that is not enrolled, both halves together. [HS-14]",
        broken: "a custodian has leased to a genuine device that the owner never enrolled",
        matters: "The right software on the adversary's own machine is still the adversary's.",
    },
];
