//! What the driver needs of a machine; the roles of the protocol have it.
//!
//! All chapters. The driver names no role: it tells a machine what happened ([`Happening`]) and
//! executes what comes out.

use std::fmt::Debug;

use split_custody_protocol::Suite;
use split_custody_protocol::effect::Output;
use split_custody_protocol::ids::{ChannelId, CustodianId, Ticket};
use split_custody_protocol::lease::Standing;
use split_custody_protocol::suite::{Digest, Exporter, LeafKey};
use split_custody_protocol::time::Instant;

use crate::trace_types as trace;

/// A sans-IO machine that a [`driver`](crate::driver) can turn.
pub trait Machine: Send + 'static {
    /// What it is told.
    type Input: Send + 'static;
    /// What it asks.
    type Effect: Send + 'static;
    /// What it is answered.
    type Answer: Send + 'static;
    /// Why it did not take an input; already acted upon inside.
    type Rejection: Debug + Send + 'static;

    fn handle<S: Suite>(
        &mut self,
        now: Instant,
        input: Self::Input,
        suite: &mut S,
    ) -> Result<(), Self::Rejection>;

    fn poll_output(&mut self) -> Option<Output<Self::Effect>>;

    fn poll_timeout(&self) -> Option<Instant>;

    /// What may be admitted until the next turn without asking; nothing, where a role admits nothing.
    /// [LEA-16]
    fn standing(&self) -> Option<Standing> {
        None
    }

    /// Charges uses that were admitted over the standing. [LEA-4]
    fn charge(&mut self, _now: Instant, _uses: u64) {}

    /// The input that says this; `None` for what cannot happen to this machine.
    fn input(happening: Happening<Self::Answer>) -> Option<Self::Input>;

    /// The channel and context, where the effect is an export. The driver holds the channels and
    /// answers within the turn. [HS-2]
    fn export(effect: &Self::Effect) -> Option<(ChannelId, Digest)>;

    /// The answer to an export; `None` says that it failed.
    fn exported(exporter: Option<Exporter>) -> Self::Answer;

    /// The input as the event log has it.
    fn describe_input(input: &Self::Input) -> trace::Input;

    /// The effect as the event log has it.
    fn describe_effect(effect: &Self::Effect) -> trace::Effect;
}

/// What happens to any machine.
#[derive(Debug)]
pub enum Happening<A> {
    ChannelOpened {
        channel: ChannelId,
        custodian: Option<CustodianId>,
        own_leaf: LeafKey,
        peer_leaf: LeafKey,
        chain: Vec<LeafKey>,
    },
    ChannelFailed {
        custodian: CustodianId,
    },
    ChannelClosed {
        channel: ChannelId,
    },
    Received {
        channel: ChannelId,
        frame: Vec<u8>,
    },
    Done {
        ticket: Ticket,
        answer: A,
    },
    Timeout,
}
