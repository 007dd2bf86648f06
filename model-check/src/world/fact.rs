//! Facts: what a watching property wants to know of a step.

/// Something that happened. A world remembers only the facts that its run watches.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Fact {
    // What must never happen.
    ShareLeaked,
    GrantOnOtherChannel,
    SecondGrantOnChallenge,
    GrantForForeignSession,
    GrantBeforeLeaf,
    GrantAfterAcknowledgement,
    GrantToSuperseded,
    GrantBehindAnchor,
    GrantBeforeActivation,
    HonestBlamed,
    ForeignKeyLoaded,
    KeyOutside,
    GrantOnDeadChallenge,
    GrantToStranger,
    RequestToTooFew,
    RenewedOnOtherChannel,
    RenewedPastMaxAge,
    RenewedBeforeLeaf,
    BlockedReadChanged,
    UseWithoutK,
    UseAfterLoss,
    OutputWithoutK,
    UseAfterBound,
    UseAfterRead,
    OutputOfOtherLife,
    CleanWithRemains,
    DeadButCounting,
    RenewedAfterAcknowledgement,
    RenewedSuperseded,
    AcknowledgedBeforeAnchored,
    ForgedOrderApplied,
    SpentBudget,
    ExporterKnown,
    LeaseThatNobodyGranted,
    GrantToUnnamedCode,
    DeviceKeyTwice,
    GrantOnOtherOffer,
    NotCustody,
    EndedForAnother,
    GrantOnWeakerSuite,
    // What must be possible.
    Granted,
    AttackRefused,
    GrantRefused,
    Loaded,
    Used,
    Output,
    Renewed,
    Lost,
    Effective,
    UsedAfterAcknowledgement,
    ReadWhileServing,
    CleanAgain,
    ServedAgain,
    Dead,
    Acknowledged,
    AcknowledgedAfterCrash,
    GrantAfterCrash,
    LiarCaught,
    RolledBack,
    StrangerRefused,
    GrantCancelled,
    OutOfBudget,
    SecondRequestRefused,
    DeadChallengeRefused,
    SupersededRefused,
    RenewalRefused,
    RecoveringRefused,
    ActivationRefused,
    EndedAfterAcknowledgement,
    EndedSuperseded,
    EndedByAge,
    ReadBlocked,
    TooFewReady,
    OldOutputRefused,
    LateOutputRefused,
    SecondSession,
    OtherRenewed,
    OtherGoesOn,
}

impl Fact {
    /// What must never happen, in any world.
    pub const NEVER: &[Self] = &[
        Self::ShareLeaked,
        Self::GrantOnOtherChannel,
        Self::SecondGrantOnChallenge,
        Self::GrantForForeignSession,
        Self::GrantBeforeLeaf,
        Self::GrantAfterAcknowledgement,
        Self::GrantToSuperseded,
        Self::GrantBehindAnchor,
        Self::GrantBeforeActivation,
        Self::HonestBlamed,
        Self::ForeignKeyLoaded,
        Self::KeyOutside,
        Self::GrantOnDeadChallenge,
        Self::GrantToStranger,
        Self::RequestToTooFew,
        Self::RenewedOnOtherChannel,
        Self::RenewedPastMaxAge,
        Self::RenewedBeforeLeaf,
        Self::BlockedReadChanged,
        Self::UseWithoutK,
        Self::UseAfterLoss,
        Self::OutputWithoutK,
        Self::UseAfterBound,
        Self::UseAfterRead,
        Self::OutputOfOtherLife,
        Self::CleanWithRemains,
        Self::DeadButCounting,
        Self::RenewedAfterAcknowledgement,
        Self::RenewedSuperseded,
        Self::AcknowledgedBeforeAnchored,
        Self::ForgedOrderApplied,
        Self::SpentBudget,
        Self::ExporterKnown,
        Self::LeaseThatNobodyGranted,
        Self::GrantToUnnamedCode,
        Self::DeviceKeyTwice,
        Self::GrantOnOtherOffer,
        Self::NotCustody,
        Self::EndedForAnother,
        Self::GrantOnWeakerSuite,
    ];
}

/// A set of facts.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Facts(u128);

impl Facts {
    pub const fn only(fact: Fact) -> Self {
        Self(1 << fact as u8)
    }

    pub fn of(facts: &[Fact]) -> Self {
        facts.iter().fold(Self::default(), |set, fact| Self(set.0 | Self::only(*fact).0))
    }

    pub const fn contains(self, fact: Fact) -> bool {
        self.0 & Self::only(fact).0 != 0
    }

    pub const fn insert(&mut self, fact: Fact) {
        self.0 |= Self::only(fact).0;
    }

    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}
