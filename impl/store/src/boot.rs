//! Beginning a generation: what was held, what the anchor says of it, what comes next.

use std::collections::BTreeSet;
use std::fmt;

use split_custody_protocol::effect::{Anchor, LeaseRecord};
use split_custody_protocol::ids::{Epoch, Generation};
use split_custody_protocol::suite::Digest;
use split_custody_protocol::wire::audit::{Leaf, LeafKind};

use crate::anchor::Anchored;
use crate::audit::{Checkpoint, Hash, Tree};

/// What a custodian's store held when this generation began.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Boot {
    /// Of this life; above every generation that store or anchor had seen. [AUD-3]
    pub generation: Generation,
    pub epoch: Epoch,
    /// Encoded approvals, in the order in which they were applied.
    pub orders: Vec<Vec<u8>>,
    /// The encoded provision.
    pub provision: Option<Vec<u8>>,
    /// The manifest that was activated; `None` where the store was behind its anchor. [AUD-4]
    pub active: Option<Digest>,
    /// Every lease in the order of its grant, the ended among them: a later incarnation's lease
    /// tells which incarnations are superseded, and no lease read back is renewed. [RST-7]
    pub leases: Vec<LeaseRecord>,
    /// As it stands now: nothing that it held before is lost.
    pub anchor: Option<Anchor>,
    /// How the store was behind its anchor, for the operator's log.
    pub behind: Option<Behind>,
    /// Of the log with this generation's leaf.
    pub checkpoint: Checkpoint,
}

/// How a store is behind its anchor: it was rolled back, or replaced. [AUD-4]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Behind {
    Generation {
        held: Generation,
        anchored: Generation,
    },
    Epoch {
        held: Epoch,
        anchored: Epoch,
    },
    OrderMissing(Digest),
    LogShorter {
        held: u64,
        anchored: u64,
    },
    /// The log is long enough and another.
    LogDiffers {
        size: u64,
    },
}

impl fmt::Display for Behind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Generation { held, anchored } => {
                write!(f, "the store is of generation `{held}`, its anchor of `{anchored}`")
            }
            Self::Epoch { held, anchored } => {
                write!(f, "the store is of epoch `{held}`, its anchor of `{anchored}`")
            }
            Self::OrderMissing(order) => write!(f, "the store lacks the anchored order `{order}`"),
            Self::LogShorter { held, anchored } => {
                write!(f, "the log has `{held}` leaves, its anchor counted `{anchored}`")
            }
            Self::LogDiffers { size } => {
                write!(f, "the log's first `{size}` leaves are not those of its anchor")
            }
        }
    }
}

/// What a store held before its generation was counted up.
pub(crate) struct Held<'a> {
    pub(crate) generation: Generation,
    pub(crate) epoch: Epoch,
    pub(crate) orders: BTreeSet<Digest>,
    pub(crate) log: &'a Tree,
    /// The log's root at the anchor's size; `None` where the log is shorter.
    pub(crate) root_at_anchor: Option<Hash>,
}

/// What the new generation writes.
pub(crate) struct Begin {
    pub(crate) generation: Generation,
    pub(crate) behind: Option<Behind>,
    pub(crate) leaf: Leaf,
}

impl Begin {
    pub(crate) fn after(held: &Held<'_>, anchored: &Anchored) -> Self {
        // Above both: a store that was rolled back must not repeat a generation that signed.
        let generation = held.generation.max(anchored.generation).next();
        let leaf = Leaf {
            kind: LeafKind::Generation,
            generation,
            epoch: held.epoch,
            subject: Digest::new(held.log.root()),
        };
        Self { generation, behind: behind(held, anchored), leaf }
    }
}

fn behind(held: &Held<'_>, anchored: &Anchored) -> Option<Behind> {
    if held.generation < anchored.generation {
        let (held, anchored) = (held.generation, anchored.generation);
        return Some(Behind::Generation { held, anchored });
    }
    if held.epoch < anchored.epoch {
        return Some(Behind::Epoch { held: held.epoch, anchored: anchored.epoch });
    }
    if let Some(order) = anchored.orders.iter().find(|order| !held.orders.contains(order)) {
        return Some(Behind::OrderMissing(*order));
    }
    match held.root_at_anchor {
        None => Some(Behind::LogShorter { held: held.log.size(), anchored: anchored.size }),
        Some(root) if root != *anchored.root.as_bytes() => {
            Some(Behind::LogDiffers { size: anchored.size })
        }
        Some(_) => None,
    }
}
