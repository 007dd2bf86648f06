//! Where a model stands on a device: the states of chapter 40.

use core::mem;

use super::tally::{Combined, Tally};
use crate::error::Misuse;
use crate::suite::{DekHandle, Digest};
use crate::time::{Instant, Rebase, Span};

/// A model's custody on a device.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub enum Custody {
    #[default]
    Idle,
    /// Exchanges open; the window closes at `until`. [HS-18]
    Gathering {
        until: Instant,
    },
    /// Measured code makes Evidence over this session.
    Attesting {
        session: Digest,
    },
    /// Requests are out; `sent` is read before the first of them left. [LEA-1]
    Requesting {
        session: Digest,
        sent: Instant,
        until: Instant,
        tally: Tally,
    },
    /// The DEK exists; tensors are opening.
    Loading {
        dek: DekHandle,
    },
    Serving {
        dek: DekHandle,
    },
    /// DEK and plaintext are going; nothing can be used. [LEA-5]
    Erasing,
}

/// What happens to a model's custody.
#[derive(Clone, Debug)]
pub enum CustodyInput {
    Acquire {
        until: Instant,
    },
    EntriesComplete {
        session: Digest,
    },
    TooFew,
    EvidenceCollected {
        sent: Instant,
        until: Instant,
        threshold: usize,
    },
    EvidenceFailed,
    Combined(Combined),
    Loaded,
    LoadFailed,
    LeaseLost,
    Revoked,
    Erased,
    /// The incarnation is over: its keys die with it. [RST-10]
    Tainted,
}

impl Custody {
    /// One step of the table of chapter 40; what it does not list is the caller's mistake.
    pub fn handle(&mut self, input: CustodyInput) -> Result<(), Misuse> {
        use CustodyInput as I;
        let state = mem::take(self);
        *self = match (state, input) {
            (_, I::Tainted) => Self::Idle,
            (Self::Idle, I::Acquire { until }) => Self::Gathering { until },
            (Self::Gathering { .. }, I::EntriesComplete { session }) => Self::Attesting { session },
            (Self::Gathering { .. } | Self::Requesting { .. }, I::TooFew)
            | (Self::Attesting { .. }, I::EvidenceFailed)
            | (Self::Erasing, I::Erased) => Self::Idle,
            (Self::Attesting { session }, I::EvidenceCollected { sent, until, threshold }) => {
                Self::Requesting { session, sent, until, tally: Tally::new(session, threshold) }
            }
            (Self::Requesting { .. }, I::Combined(combined)) => {
                Self::Loading { dek: combined.dek() }
            }
            (Self::Loading { dek }, I::Loaded) => Self::Serving { dek },
            (Self::Loading { .. }, I::LoadFailed)
            | (Self::Loading { .. } | Self::Serving { .. }, I::LeaseLost | I::Revoked) => {
                Self::Erasing
            }
            (state, _) => {
                *self = state;
                return Err(Misuse::WrongState);
            }
        };
        Ok(())
    }

    /// The DEK, from its combination until it is erased.
    pub const fn dek(&self) -> Option<DekHandle> {
        match self {
            Self::Loading { dek } | Self::Serving { dek } => Some(*dek),
            _ => None,
        }
    }

    /// The state's name in the table of chapter 40.
    pub const fn state_name(&self) -> &'static str {
        match self {
            Self::Idle => "Idle",
            Self::Gathering { .. } => "Gathering",
            Self::Attesting { .. } => "Attesting",
            Self::Requesting { .. } => "Requesting",
            Self::Loading { .. } => "Loading",
            Self::Serving { .. } => "Serving",
            Self::Erasing => "Erasing",
        }
    }
}

impl Rebase for Custody {
    fn rebase(&mut self, by: Span, floor: Instant) {
        match self {
            Self::Gathering { until } => until.rebase(by, floor),
            Self::Requesting { sent, until, .. } => {
                sent.rebase(by, floor);
                until.rebase(by, floor);
            }
            Self::Idle
            | Self::Attesting { .. }
            | Self::Loading { .. }
            | Self::Serving { .. }
            | Self::Erasing => {}
        }
    }
}
