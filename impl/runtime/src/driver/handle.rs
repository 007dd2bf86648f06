//! How the rest of a process speaks to a machine.

use std::fmt;
use std::sync::Arc;

use split_custody_protocol::lease::{Gate, Hold};
use split_custody_protocol::time::Instant;
use tokio::sync::{mpsc, oneshot};

use crate::machine::Machine;
use crate::record::Recorder;
use crate::trace_types as trace;
use crate::transport::Channel;

/// A way to one driver; clones share it. The driver ends when the last one is dropped.
pub struct Handle<M: Machine> {
    commands: mpsc::Sender<Command<M>>,
    gate: Arc<Gate>,
}

/// What a driver is asked from within its process.
pub(super) enum Command<M: Machine> {
    Input(M::Input, Hold),
    Opened(Box<Channel>),
    Call(Box<Call<M>>),
}

/// Runs between turns and says what the event log should have of it.
type Call<M> = dyn FnOnce(&mut M, Instant, &Recorder) -> Option<trace::Input> + Send;

/// The driver is gone, and its machine with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the driver has ended")]
pub struct Ended;

impl<M: Machine> Handle<M> {
    pub(super) const fn new(commands: mpsc::Sender<Command<M>>, gate: Arc<Gate>) -> Self {
        Self { commands, gate }
    }

    /// Admits what the machine would, without asking it; shut while a log is kept, for there every
    /// use is an event. [LEA-16]
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Tells the machine something; returns when it is queued. From then on until it was handled
    /// the gate admits nothing. [LEA-16]
    pub async fn input(&self, input: M::Input) -> Result<(), Ended> {
        let hold = self.gate.hold();
        self.send(Command::Input(input, hold)).await
    }

    /// Hands over a channel that a peer opened.
    pub async fn opened(&self, channel: Channel) -> Result<(), Ended> {
        self.send(Command::Opened(Box::new(channel))).await
    }

    /// Calls a method of the machine between two turns, such as `admit`; outputs that it leads to
    /// are executed before the next turn. `name` and the result's debug text go to the event log,
    /// so the result must hold nothing secret.
    pub async fn call<R, F>(&self, name: &'static str, call: F) -> Result<R, Ended>
    where
        R: fmt::Debug + Send + 'static,
        F: FnOnce(&mut M, Instant) -> R + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |machine: &mut M, now: Instant, recorder: &Recorder| {
            let result = call(machine, now);
            let described = recorder.command(name, &result);
            // The caller may have gone; what it asked for has happened all the same.
            let _ = reply.send(result);
            described
        };
        self.send(Command::Call(Box::new(run))).await?;
        answer.await.map_err(|_| Ended)
    }

    async fn send(&self, command: Command<M>) -> Result<(), Ended> {
        self.commands.send(command).await.map_err(|_| Ended)
    }
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { commands: self.commands.clone(), gate: Arc::clone(&self.gate) }
    }
}

impl<M: Machine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}
