//! Errors by culprit: bad bytes, a broken rule, a correct "no", a wrong caller.
//!
//! All chapters. [`Violation`] has one variant per rule that is checked at run time; its doc line
//! carries the rule's id and the list of [`Rule`]s is generated from it, so that a check, its id
//! and its broken double cannot drift apart. What the peer is told is never this. [HS-21]

use core::fmt;

/// Bytes that are no message of this protocol.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// [WIRE-1] Longer than the cap of its kind, or a list or string within is.
    TooLong { length: usize, cap: usize },
    /// Not CBOR, a wrong type, a missing field, a value outside its range; [WIRE-4] a signature
    /// header that is not exactly ES256.
    Malformed,
    /// [WIRE-2] A second encoding of a value, or bytes after it.
    NotCanonical,
    /// [WIRE-3] A version other than 1.
    UnknownVersion,
    /// [WIRE-3] A message type that is not in the registry.
    UnknownType,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { length, cap } => {
                write!(f, "{length} bytes where at most {cap} are allowed [WIRE-1]")
            }
            Self::Malformed => f.write_str("malformed message"),
            Self::NotCanonical => f.write_str("not the one encoding of its value [WIRE-2]"),
            Self::UnknownVersion => f.write_str("unknown version [WIRE-3]"),
            Self::UnknownType => f.write_str("unknown message type [WIRE-3]"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Declares the rules that are checked at run time.
macro_rules! rules {
    ($($rule:ident $id:literal $violation:ident: $text:literal;)*) => {
        /// A rule of the specification that a machine checks at run time.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        #[allow(non_camel_case_types)]
        pub enum Rule { $(#[doc = concat!("[", $id, "] ", $text)] $rule,)* }

        impl Rule {
            /// Every rule, in the order of the chapters.
            pub const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// The requirement id as the specification writes it.
            pub const fn id(self) -> &'static str {
                match self { $(Self::$rule => $id,)* }
            }

            /// What a peer that breaks the rule has done.
            pub const fn violation(self) -> Violation {
                match self { $(Self::$rule => Violation::$violation,)* }
            }
        }

        /// A peer broke a rule; the exchange it broke it in is closed. [QRM-5]
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum Violation {
            $(#[doc = concat!("[", $id, "] ", $text)] $violation,)*
            /// An input that this state does not take.
            Unexpected,
            /// Bytes that do not decode.
            Undecodable(DecodeError),
        }

        impl Violation {
            /// The broken rule, where there is one.
            pub const fn rule(self) -> Option<Rule> {
                match self {
                    $(Self::$violation => Some(Rule::$rule),)*
                    Self::Unexpected | Self::Undecodable(_) => None,
                }
            }
        }

        impl fmt::Display for Violation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$violation => f.write_str(concat!($text, " [", $id, "]")),)*
                    Self::Unexpected => f.write_str("a message that this state does not take"),
                    Self::Undecodable(error) => error.fmt(f),
                }
            }
        }
    };
}

rules! {
    WIRE_4 "WIRE-4" SignatureInvalid: "a signature does not verify over the bytes received";
    HS_3 "HS-3" NothingInCommon: "no common version or suite";
    HS_4 "HS-4" ManifestUnknown: "unknown deployment, weights or version";
    HS_5 "HS-5" DeviceUnknown: "device id not enrolled at hello";
    HS_6 "HS-6" ChallengeSpent: "a request without an unused challenge of this connection";
    HS_7 "HS-7" ChallengeDead: "the challenge is older than its maximum";
    HS_9 "HS-9" EntriesOutOfOrder: "session entries not ascending or not of this manifest";
    HS_10 "HS-10" OwnEntryDiffers: "own session entry missing or not the one recomputed";
    HS_11 "HS-11" ReportNonceDiffers: "the GPU report was not made for this session";
    HS_12 "HS-12" ReportDataDiffers: "the CPU report does not cover this session and GPU evidence";
    HS_13 "HS-13" DeviceIdDiffers: "the evidence names another device than the request";
    HS_14 "HS-14" DeviceNotEnrolled: "the attested device is not enrolled";
    HS_15 "HS-15" DeviceKeyInvalid: "the device key is not valid for its suite";
    HS_16 "HS-16" ClaimsRefused: "policy does not admit the kind, measurement or mode";
    HS_17 "HS-17" ChallengeNotOurs: "the challenge is not for what was dialled and offered";
    HS_19 "HS-19" IssuerUnknown: "no enrolled node issuer in the presented chain";
    HS_20 "HS-20" ManifestDiffers: "the request names another manifest";
    REL_1 "REL-1" PolicyRefuses: "policy does not admit a release";
    REL_2 "REL-2" NotServing: "this custodian neither grants nor renews now";
    REL_6 "REL-6" SubjectRevoked: "an order revokes the device, a certificate, the weights or all";
    REL_7 "REL-7" GrantForged: "the grant is not signed by the manifest's custodian";
    REL_8 "REL-8" GrantOfAnotherSession: "the grant answers another session or request";
    REL_9 "REL-9" GrantNotForUs: "the grant names another custodian, set, manifest, key or life";
    REL_10 "REL-10" SealedShareSwapped: "the sealed share is not the one that was signed";
    REL_11 "REL-11" TermsOutOfBounds: "lease terms are above ttl-max or below the minimum";
    QRM_1 "QRM-1" TooFewReady: "fewer than k custodians answered in the gather window";
    QRM_2 "QRM-2" ShareDiffers: "the share does not match its commitment";
    QRM_3 "QRM-3" DekDiffers: "the combined key does not match its commitment";
    QRM_4 "QRM-4" SharesOfTwoSessions: "shares of two sessions or sets would be combined";
    QRM_7 "QRM-7" ParametersInvalid: "n, k, f or the custodian list is not valid";
    LEA_2 "LEA-2" TooFewLeases: "fewer than k leases with budget count";
    LEA_3 "LEA-3" OutputAfterLease: "fewer than k leases count when output would leave";
    LEA_5 "LEA-5" UseAfterLoss: "use went on after fewer than k leases counted";
    LEA_7 "LEA-7" RenewalUnanswered: "a renewal answer that no request awaits";
    LEA_8 "LEA-8" LeaseOfAnotherChannel: "the lease is bound to other leaf keys";
    LEA_9 "LEA-9" LeaseRevoked: "an order covers the lease";
    LEA_10 "LEA-10" LeaseTooOld: "the claims behind the lease are older than max-age";
    LEA_11 "LEA-11" LeaseDead: "the lease has lapsed or ended";
    LEA_12 "LEA-12" TermsTooShort: "a term is below four margins plus the gather window";
    LEA_14 "LEA-14" LeaseSuperseded: "a newer lease replaced this one for renewal";
    LEA_15 "LEA-15" RenewalOutOfOrder: "the renewal counter is neither the next nor the last";
    REV_1 "REV-1" OrderOfAnotherDeployment: "the order names another deployment";
    REV_2 "REV-2" TooFewOperators: "too few operators signed";
    REV_3 "REV-3" SerialOutOfRule: "the order's serial breaks the serial rule";
    REV_5 "REV-5" GrantNotCancelled: "a committed, unsent grant that an order covers was kept";
    REV_6 "REV-6" AnswerNotDropped: "a stored renewal answer that an order covers was kept";
    REV_8 "REV-8" NotEffective: "too few custodians acknowledged";
    REV_9 "REV-9" AcknowledgementForged: "no custodian of the manifest signed this";
    RST_5 "RST-5" NoCleanIncarnation: "the device has no clean incarnation";
    RST_6 "RST-6" OtherLivesNotEnded: "leases of another incarnation were left renewable";
    RST_7 "RST-7" IncarnationSuperseded: "the incarnation was superseded";
    RST_11 "RST-11" EarlierLifeNotEnded: "an earlier incarnation outlived the decision on a later one";
    AUD_4 "AUD-4" BehindAnchor: "the store is behind its anchor";
    AUD_5 "AUD-5" ActivationNotOurs: "the activation names another set, manifest or nonce";
    AUD_6 "AUD-6" ActivationLacksOrder: "the activation lacks an order that is known here";
}

impl core::error::Error for Violation {}

impl From<DecodeError> for Violation {
    fn from(error: DecodeError) -> Self {
        Self::Undecodable(error)
    }
}

/// The caller of a machine is wrong; no peer can cause it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Misuse {
    /// A ticket that no question bears, or whose question was cancelled.
    UnknownTicket,
    /// An answer of another kind than the question.
    WrongAnswer,
    /// A channel that was never opened, or opened twice.
    UnknownChannel,
    /// A command that this state does not take.
    WrongState,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownTicket => "no question bears this ticket",
            Self::WrongAnswer => "the answer is of another kind than the question",
            Self::UnknownChannel => "unknown channel",
            Self::WrongState => "not in this state",
        })
    }
}

impl core::error::Error for Misuse {}
