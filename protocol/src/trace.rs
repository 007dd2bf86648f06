//! The event log: what each machine took and gave, in the order in which it did.
//!
//! All chapters. An entry is one turn of one machine: one input and every output it led to. Values
//! that were public on a wire or at the effect boundary appear as they were or by digest; random
//! draws and secrets never appear, an exporter only as its SHA-256. A replayer maps digests to
//! terms and checks that each turn is one that the model allows; it does not re-run code on inputs.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

/// One turn of one machine.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// `device`, or `custodian-2`.
    pub role: String,
    /// From 0, without gaps, per process.
    pub sequence: u64,
    /// Milliseconds on this process's clock that counts suspend.
    pub now: u64,
    pub input: Input,
    /// What the machine said of the input when it did not take it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Output>,
}

/// What a machine was told.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Input {
    /// A custodian's first input.
    Booted,
    /// A device's first input.
    PoweredOn,
    /// `H("manifest", payload)`, and the same construction over the deployment record.
    Acquire {
        manifest: Hex,
        deployment: Hex,
    },
    ChannelOpened {
        channel: u64,
        /// Whom the device dialled; absent on a custodian.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        custodian: Option<u8>,
        own_leaf: Hex,
        peer_leaf: Hex,
        /// Every certificate that the peer presented, leaf first; empty on a device.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        chain: Vec<Hex>,
        /// The name of the TLS connection: SHA-256 of what its two ends, and nobody else, export
        /// for the log alone. Equal in both logs and in no third; absent without TLS.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        connection: Option<Hex>,
    },
    ChannelFailed {
        custodian: u8,
    },
    ChannelClosed {
        channel: u64,
    },
    Received {
        channel: u64,
        frame: Frame,
    },
    Done {
        ticket: u64,
        answer: Answer,
    },
    Timeout,
    HostRead,
    Tampered,
    Resumed,
    Release,
    /// A command outside `handle`, such as `admit`, and what became of it.
    Command {
        name: String,
        outcome: String,
    },
}

/// What a machine wanted.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Output {
    Transmit {
        channel: u64,
        frame: Frame,
    },
    Close {
        channel: u64,
    },
    Effect {
        ticket: u64,
        effect: Effect,
    },
    Dial {
        custodian: u8,
    },
    /// For people; a replayer does not read it.
    Report {
        text: String,
    },
}

/// A frame by type and SHA-256; the sender's entry and the receiver's agree on both.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Frame {
    /// The message type's name; `unknown` where the frame has none.
    pub message: String,
    pub digest: Hex,
}

/// A question that a machine put to its driver; public parameters only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Effect {
    Export {
        channel: u64,
        context: Hex,
    },
    Appraise {
        evidence: Evidence,
    },
    Commit {
        generation: u64,
        epoch: u64,
        change: Change,
        leaf: Hex,
    },
    Reread {
        commit: u64,
    },
    /// With SHA-256 of the draft.
    Release {
        set: Hex,
        index: u8,
        suite: u16,
        to: Hex,
        context: Hex,
        draft: Hex,
    },
    /// SHA-256 of the message to be signed.
    Sign {
        message: Hex,
    },
    Anchor {
        generation: u64,
        epoch: u64,
        orders: Vec<Hex>,
    },
    DestroyHandles,
    CollectEvidence {
        session: Hex,
        gpu: Hex,
        attempt: u64,
    },
    /// Numbers of handles, never keys.
    Load {
        dek: u64,
    },
    Erase {
        keys: Vec<u64>,
        shares: Vec<u64>,
        dek: Option<u64>,
    },
    Zeroise,
    Scrub,
    Plant,
}

/// What a durable transaction changed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Change {
    Grant {
        lease: Hex,
        device: Hex,
        incarnation: Hex,
        manifest: Hex,
        device_leaf: Hex,
    },
    Renew {
        lease: Hex,
        counter: u64,
    },
    Order {
        order: Hex,
        epoch: u64,
    },
    /// SHA-256 of the encoded provision.
    Provision {
        provision: Hex,
    },
    Activate {
        manifest: Hex,
    },
    /// A change that this build has no name for; a replayer fails on it.
    Other {
        text: String,
    },
}

/// An answer to a machine's question; public results only.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Answer {
    /// SHA-256 of the exporter: equal at both ends of one channel and nowhere else.
    Exported {
        exporter: Hex,
    },
    ExportFailed,
    Appraised {
        report_nonce: Hex,
        report_data: Hex,
        device: Hex,
        measurements: Vec<Hex>,
        mode: u8,
    },
    Rejected,
    Committed {
        index: u64,
    },
    Unknown,
    Fenced,
    /// SHA-256 of the sealed share, and of the signature.
    Released {
        sealed: Hex,
        signature: Hex,
    },
    /// SHA-256 of the signature.
    Signed {
        signature: Hex,
    },
    HsmFailed,
    Anchored,
    HandlesDestroyed,
    EvidenceCollected {
        evidence: Evidence,
    },
    EvidenceFailed,
    Loaded,
    LoadFailed,
    Erased,
    Zeroised,
    Scrubbed,
    ScrubFailed,
    Planted {
        incarnation: Hex,
    },
    PlantFailed,
}

/// Evidence by kind and SHA-256 of its halves.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Evidence {
    pub evidence: u16,
    pub gpu: Hex,
    pub cpu: Hex,
}

/// Bytes, in lower-case hexadecimal where they are written down.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Hex(pub Vec<u8>);

impl<T: AsRef<[u8]>> From<T> for Hex {
    fn from(bytes: T) -> Self {
        Self(bytes.as_ref().to_vec())
    }
}

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hex({self})")
    }
}

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        unhex(&text).map(Self).ok_or_else(|| serde::de::Error::custom("not lower-case hexadecimal"))
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |symbol: u8| match symbol {
        b'0'..=b'9' => Some(symbol - b'0'),
        b'a'..=b'f' => Some(symbol - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect()
}
