//! The loop and its turn.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use split_custody_protocol::Suite;
use split_custody_protocol::effect::{Output, Report};
use split_custody_protocol::ids::{ChannelId, CustodianId, Ticket};
use split_custody_protocol::lease::{Gate, Standing};
use split_custody_protocol::time::{Instant, Span};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::describe;
use crate::driver::channels::{Arrival, Channels};
use crate::driver::handle::{Command, Handle};
use crate::effects::{Answers, Effects};
use crate::machine::{Happening, Machine};
use crate::record::Recorder;
use crate::trace_types as trace;
use crate::transport::{Channel, Connect, Limits, TransportError};

/// What a driver needs beside its machine.
pub struct Config<C, E> {
    pub clock: C,
    pub effects: E,
    /// Opens what the machine dials; a custodian has none.
    pub connect: Option<Arc<dyn Connect>>,
    pub limits: Limits,
    pub recorder: Recorder,
    pub observer: Observer,
}

/// Where news for operators goes; slow observers delay nothing.
pub type Observer = mpsc::UnboundedSender<Observed>;

/// News for operators.
#[derive(Debug)]
#[non_exhaustive]
pub enum Observed {
    Report(Report),
    /// A machine did not take an input; its text is for people.
    Rejected(String),
    DialFailed {
        custodian: CustodianId,
        error: TransportError,
    },
    /// The peer does not read what it is sent.
    Overflowed(ChannelId),
    /// The event log cannot be written; the driver ends rather than act unrecorded.
    LogFailed(io::Error),
}

/// Starts a driver on the current runtime; it ends when its last [`Handle`] is dropped.
pub fn spawn<M, S, C, E>(machine: M, suite: S, config: Config<C, E>) -> (Handle<M>, JoinHandle<()>)
where
    M: Machine,
    S: Suite + Send + 'static,
    C: Clock,
    E: Effects<M>,
{
    let (commands, queue) = mpsc::channel(COMMANDS);
    let (arrivals, arrived) = mpsc::channel(ARRIVALS);
    let (answers, answered) = mpsc::unbounded_channel();
    let gate = Arc::new(Gate::new());
    let driver = Driver {
        machine,
        suite,
        channels: Channels::new(config.limits, arrivals.clone()),
        arrivals,
        answers: Answers::new(answers),
        pending: VecDeque::new(),
        last_timeout: None,
        gate: Arc::clone(&gate),
        published: None,
        config,
    };
    let task = tokio::spawn(driver.run(queue, arrived, answered));
    (Handle::new(commands, gate), task)
}

struct Driver<M: Machine, S, C, E> {
    machine: M,
    suite: S,
    config: Config<C, E>,
    channels: Channels,
    arrivals: mpsc::Sender<Arrival>,
    answers: Answers<M>,
    /// What follows from a turn and is handled before anything else.
    pending: VecDeque<Happening<M::Answer>>,
    last_timeout: Option<Instant>,
    gate: Arc<Gate>,
    published: Option<Standing>,
}

/// No machine, nothing to admit.
impl<M: Machine, S, C, E> Drop for Driver<M, S, C, E> {
    fn drop(&mut self) {
        self.gate.publish(None);
    }
}

/// The event log failed; nothing may be executed unrecorded.
struct Unrecorded;

impl<M, S, C, E> Driver<M, S, C, E>
where
    M: Machine,
    S: Suite + Send + 'static,
    C: Clock,
    E: Effects<M>,
{
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command<M>>,
        mut arrived: mpsc::Receiver<Arrival>,
        mut answered: mpsc::UnboundedReceiver<(Ticket, M::Answer)>,
    ) {
        loop {
            let deadline = self.deadline();
            let clock = self.config.clock.clone();
            let wait = async {
                match deadline {
                    Some(at) => clock.wait_until(at).await,
                    None => std::future::pending().await,
                }
            };
            // Polled in random order: no source can starve another.
            let turned = tokio::select! {
                () = wait => self.on_due(self.config.clock.now()),
                Some((ticket, answer)) = answered.recv() => {
                    self.on_happening(Happening::Done { ticket, answer })
                }
                Some(arrival) = arrived.recv() => self.on_arrival(arrival),
                command = commands.recv() => match command {
                    Some(command) => self.on_command(command),
                    None => return,
                },
            };
            if turned.is_err() {
                return;
            }
        }
    }

    /// The machine's deadline, but never twice within a millisecond: a deadline that does not move
    /// must not keep everything else from being heard.
    fn deadline(&self) -> Option<Instant> {
        let floor = self.last_timeout.map(|last| last.after(Span::from_millis(1)));
        self.machine.poll_timeout().map(|at| at.max(floor.unwrap_or(at)))
    }

    /// Lets the machine see a deadline that has passed before it sees anything that came later.
    fn on_due(&mut self, now: Instant) -> Result<(), Unrecorded> {
        if self.deadline().is_none_or(|at| at > now) {
            return Ok(());
        }
        self.last_timeout = Some(now);
        self.turn_on(now, Happening::Timeout)?;
        self.settle(now)
    }

    fn on_happening(&mut self, happening: Happening<M::Answer>) -> Result<(), Unrecorded> {
        let now = self.config.clock.now();
        self.on_due(now)?;
        self.turn_on(now, happening)?;
        self.settle(now)
    }

    fn on_arrival(&mut self, arrival: Arrival) -> Result<(), Unrecorded> {
        match arrival {
            Arrival::Frame(channel, frame) if self.channels.is_open(channel) => {
                self.on_happening(Happening::Received { channel, frame })
            }
            Arrival::Closed(channel) if self.channels.close(channel) => {
                self.on_happening(Happening::ChannelClosed { channel })
            }
            // Its end was told already; of what came later nothing is heard.
            Arrival::Frame(..) | Arrival::Closed(_) => Ok(()),
            Arrival::Dialled(custodian, result) => self.on_dialled(custodian, *result),
        }
    }

    fn on_dialled(
        &mut self,
        custodian: CustodianId,
        result: Result<Channel, TransportError>,
    ) -> Result<(), Unrecorded> {
        match result {
            Ok(channel) if channel.is_retired() => {
                let error = TransportError::NoLeaf; // [RST-10]
                self.observe(Observed::DialFailed { custodian, error });
            }
            Ok(channel) => return self.on_opened(channel),
            Err(error) => self.observe(Observed::DialFailed { custodian, error }),
        }
        self.on_happening(Happening::ChannelFailed { custodian })
    }

    fn on_opened(&mut self, channel: Channel) -> Result<(), Unrecorded> {
        let (custodian, own_leaf, peer_leaf) =
            (channel.custodian, channel.own_leaf, channel.peer_leaf);
        let chain = channel.chain.clone();
        let channel = self.channels.insert(channel);
        self.on_happening(Happening::ChannelOpened {
            channel,
            custodian,
            own_leaf,
            peer_leaf,
            chain,
        })
    }

    fn on_command(&mut self, command: Command<M>) -> Result<(), Unrecorded> {
        match command {
            Command::Opened(channel) => self.on_opened(*channel),
            // The hold is lifted at the end, when what the input led to was published.
            Command::Input(input, _hold) => {
                let now = self.config.clock.now();
                self.on_due(now)?;
                let described = self.config.recorder.input::<M>(&input);
                self.turn(now, input, described)?;
                self.settle(now)
            }
            Command::Call(call) => {
                let now = self.config.clock.now();
                self.on_due(now)?;
                self.charge(now);
                let input = call(&mut self.machine, now, &self.config.recorder);
                self.drain(now, input, None)?;
                self.settle(now)
            }
        }
    }

    /// Handles what the turn before led to.
    fn settle(&mut self, now: Instant) -> Result<(), Unrecorded> {
        while let Some(happening) = self.pending.pop_front() {
            self.turn_on(now, happening)?;
        }
        Ok(())
    }

    fn turn_on(&mut self, now: Instant, happening: Happening<M::Answer>) -> Result<(), Unrecorded> {
        let opened = match &happening {
            Happening::ChannelOpened { channel, .. } => Some(*channel),
            _ => None,
        };
        let Some(input) = M::input(happening) else { return Ok(()) };
        let described = self.config.recorder.input::<M>(&input);
        let described = match opened {
            Some(channel) => described.map(|o| describe::named(o, self.channels.name(channel))),
            None => described,
        };
        let taken = self.turn(now, input, described)?;
        if let (Some(channel), Taken::No) = (opened, taken) {
            // A machine that does not want a channel has no reason to close it itself.
            self.close(channel);
            self.settle(now)?;
        }
        Ok(())
    }

    /// One turn: handle, drain, record, execute.
    fn turn(
        &mut self,
        now: Instant,
        input: M::Input,
        described: Option<trace::Input>,
    ) -> Result<Taken, Unrecorded> {
        self.charge(now);
        let result = self.machine.handle(now, input, &mut self.suite);
        let rejection = result.as_ref().err();
        self.drain(now, described, rejection.map(|rejection| rejection as &dyn Debug))?;
        Ok(match rejection {
            None => Taken::Yes,
            Some(rejection) => {
                self.observe(Observed::Rejected(format!("{rejection:?}")));
                Taken::No
            }
        })
    }

    fn drain(
        &mut self,
        now: Instant,
        input: Option<trace::Input>,
        rejected: Option<&dyn Debug>,
    ) -> Result<(), Unrecorded> {
        self.publish();
        let outputs: Vec<_> = std::iter::from_fn(|| self.machine.poll_output()).collect();
        if let Err(error) = self.config.recorder.turn::<M>(now, input, rejected, &outputs) {
            self.observe(Observed::LogFailed(error));
            return Err(Unrecorded);
        }
        outputs.into_iter().for_each(|output| self.execute(output));
        Ok(())
    }

    /// Uses that the gate admitted belong to the term that they were admitted in. [LEA-4]
    fn charge(&mut self, now: Instant) {
        let uses = self.gate.take_uses();
        if uses > 0 {
            self.machine.charge(now, uses);
        }
    }

    /// After the machine's turn and before anything that it led to. [LEA-16]
    fn publish(&mut self) {
        // In an event log every use is an event, so the machine is asked for each.
        let standing = if self.config.recorder.is_on() { None } else { self.machine.standing() };
        if standing != self.published {
            self.gate.publish(standing.as_ref());
            self.published = standing;
        }
    }

    fn execute(&mut self, output: Output<M::Effect>) {
        match output {
            Output::Transmit { channel, frame } => {
                if self.channels.transmit(channel, frame).is_err() {
                    self.observe(Observed::Overflowed(channel));
                    self.pending.push_back(Happening::ChannelClosed { channel });
                }
            }
            Output::Close { channel } => self.close(channel),
            Output::Effect { ticket, effect } => self.on_effect(ticket, effect),
            Output::Dial { custodian } => self.dial(custodian),
            Output::Report(report) => self.observe(Observed::Report(report)),
        }
    }

    /// Ends a channel and tells the machine, so that it hears of the end of each once.
    fn close(&mut self, channel: ChannelId) {
        if self.channels.close(channel) {
            self.pending.push_back(Happening::ChannelClosed { channel });
        }
    }

    fn on_effect(&mut self, ticket: Ticket, effect: M::Effect) {
        match M::export(&effect) {
            Some((channel, context)) => {
                let answer = M::exported(self.channels.export(channel, &context)); // [HS-2]
                self.pending.push_back(Happening::Done { ticket, answer });
            }
            None => self.config.effects.start(ticket, effect, &self.answers),
        }
    }

    fn dial(&mut self, custodian: CustodianId) {
        let Some(connect) = self.config.connect.clone() else {
            self.pending.push_back(Happening::ChannelFailed { custodian });
            return;
        };
        let arrivals = self.arrivals.clone();
        tokio::spawn(async move {
            let result = Box::new(connect.connect(custodian).await);
            let _ = arrivals.send(Arrival::Dialled(custodian, result)).await;
        });
    }

    fn observe(&self, observed: Observed) {
        // An observer that went away is not missed.
        let _ = self.config.observer.send(observed);
    }
}

/// Whether a machine took an input.
enum Taken {
    Yes,
    No,
}

const COMMANDS: usize = 64;
const ARRIVALS: usize = 256;
