//! The replayer: a running system's event log, event by event, as enabled actions of the world.
//!
//! All chapters. The log holds inputs, answers and outputs by type and digest. Each event is mapped
//! to one [`Action`]; the action must be enabled in the world as it stands, and what the world's
//! machine then says must be what the log says: the same outputs in the same order, on the same
//! channels, under the same tickets. Digests of real bytes are paired with the world's terms as they
//! first appear and must stay paired. The first event that does not fit fails; so does one left over.
//! It re-runs no cryptography, and it believes no result that the world does not produce itself.

mod matching;
mod pairing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

use split_custody_protocol::time::Instant;
use split_custody_protocol::trace::{Answer, Entry, Input};

use crate::world::{
    Action, Bounds, Config, End, Fact, Facts, OperatorSays, Reply, Setup, Switch, Who, World,
};

use matching::Matcher;
use pairing::Channels;

/// A log that fits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Replayed {
    /// Events that were mapped to actions.
    pub events: usize,
    /// Frames that the world's machines and the log's agreed on.
    pub frames: usize,
}

/// The first event that does not fit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    pub role: String,
    pub sequence: u64,
    pub what: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of `{}`: {}", self.sequence, self.role, self.what)
    }
}

impl std::error::Error for Mismatch {}

/// Replays the logs of one run together: one log per process, in any order.
pub fn replay(logs: &[Vec<Entry>], setup: &Setup) -> Result<Replayed, Mismatch> {
    Replayer::new(logs, setup)?.run()
}

struct Replayer {
    config: Config,
    world: World,
    /// Entries of each role, oldest first.
    queues: BTreeMap<String, VecDeque<Entry>>,
    channels: Channels,
    matcher: Matcher,
    effective_at: Option<u64>,
    events: usize,
}

/// What an event is in the world.
enum Meaning {
    Action(Action),
    /// Nothing happens to the protocol: a display was refreshed.
    Nothing,
    /// Another process's event comes first.
    NotYet,
}

impl Replayer {
    fn new(logs: &[Vec<Entry>], setup: &Setup) -> Result<Self, Mismatch> {
        let config = Config {
            setup: setup.clone(),
            bounds: Bounds {
                deferred: Switch::On,
                cuts: Switch::On,
                stepwise: Switch::On,
                ..Bounds::QUIET
            },
            liars: BTreeSet::new(),
            lie: None,
            watched: Facts::of(Fact::NEVER),
        };
        let queues = queues_of(logs)?;
        let mut world = World::bare(&config);
        world.said = Some(Vec::new());
        Ok(Self {
            channels: Channels::read(&queues)?,
            matcher: Matcher::default(),
            world,
            config,
            queues,
            effective_at: None,
            events: 0,
        })
    }

    fn run(mut self) -> Result<Replayed, Mismatch> {
        while let Some(entry) = self.next_entry()? {
            self.events += 1;
            self.matcher.note_time(&entry);
        }
        Ok(Replayed { events: self.events, frames: self.matcher.frames() })
    }

    /// Makes the oldest event happen whose causes have happened; none left ends the run.
    fn next_entry(&mut self) -> Result<Option<Entry>, Mismatch> {
        let mut roles: Vec<(u64, String)> = self
            .queues
            .iter()
            .filter_map(|(role, queue)| Some((queue.front()?.now, role.clone())))
            .collect();
        roles.sort();
        let mut waiting = None;
        for (_, role) in roles {
            let Some(entry) = self.queues.get(&role).and_then(VecDeque::front).cloned() else {
                continue;
            };
            self.world.reading = Some(Instant::from_millis(entry.now));
            match self.meaning(&entry)? {
                Meaning::NotYet => waiting = waiting.or(Some(entry)),
                Meaning::Nothing => {
                    self.pop(&role);
                    return Ok(Some(entry));
                }
                Meaning::Action(action) => {
                    self.perform(&entry, action)?;
                    self.pop(&role);
                    return Ok(Some(entry));
                }
            }
        }
        match waiting {
            Some(entry) => Err(mismatch(&entry, "its cause never happened".to_owned())),
            None => Ok(None),
        }
    }

    fn pop(&mut self, role: &str) {
        if let Some(queue) = self.queues.get_mut(role) {
            queue.pop_front();
        }
    }

    /// A process that starts again was killed before: a kill leaves no event of its own.
    fn end_earlier_life(&mut self, action: Action) {
        match action {
            Action::Restart(id) => {
                let runs = self.world.custodians.get(&id).is_some_and(|n| n.machine.is_some());
                if runs {
                    self.world.step(&self.config, Action::Crash(id));
                }
            }
            Action::PowerOn if self.world.device.life > 0 => {
                self.world.step(&self.config, Action::PowerCycle);
            }
            _ => {}
        }
    }

    /// Steps the world by an enabled action and compares what its machine says.
    fn perform(&mut self, entry: &Entry, action: Action) -> Result<(), Mismatch> {
        self.end_earlier_life(action);
        if !self.world.actions(&self.config).contains(&action) {
            return Err(mismatch(entry, format!("the world does not allow {action:?} here")));
        }
        self.matcher.check_before(entry, action, &self.world)?;
        self.note_bound(entry.now);
        self.world.said = Some(Vec::new());
        let before = self.world.next_channel();
        self.world.step(&self.config, action);
        if self.world.next_channel() != before {
            self.channels.opened(entry, before);
        }
        if self.world.since_effective.is_some() && self.effective_at.is_none() {
            self.effective_at = Some(entry.now);
        }
        let said = self.world.said.take().unwrap_or_default();
        self.matcher.compare(entry, &said, &self.world, &self.channels)?;
        if self.world.facts != Facts::default() {
            return Err(mismatch(entry, format!("a property is violated: {:?}", self.world.facts)));
        }
        Ok(())
    }

    /// In a log, time passes by itself: past the bound, no use may be admitted. [REV-8]
    fn note_bound(&mut self, now: u64) {
        let bound = self.effective_at.map(|at| at + self.config.setup.ttl_max);
        if bound.is_some_and(|bound| now >= bound) {
            self.world.since_effective = Some(u8::MAX);
        }
    }

    fn meaning(&self, entry: &Entry) -> Result<Meaning, Mismatch> {
        let unknown = |what: &str| mismatch(entry, what.to_owned());
        let custodian = custodian_of(&entry.role);
        if custodian.is_none() && !is_device(&entry.role) {
            return Err(unknown("neither a device nor a custodian"));
        }
        let end = if custodian.is_some() { End::Custodian } else { End::Device };
        Ok(Meaning::Action(match &entry.input {
            Input::PoweredOn => Action::PowerOn,
            Input::Booted => Action::Restart(custodian.ok_or_else(|| unknown("not a custodian"))?),
            Input::Acquire { .. } => Action::Acquire,
            Input::Release => Action::Release,
            Input::HostRead => Action::HostRead,
            Input::Tampered => Action::Tamper,
            Input::Resumed => Action::Resume,
            Input::Timeout => Action::Wake(custodian.map_or(Who::Device, Who::Custodian)),
            Input::ChannelFailed { custodian } => Action::RefuseDial(*custodian),
            Input::ChannelOpened { channel, custodian: dialled, .. } => {
                match (custodian, dialled) {
                    (None, Some(dialled)) => Action::Connect(*dialled),
                    (Some(_), None) if self.channels.is_from_device(&entry.role, *channel) => {
                        match self.channels.world_id(&entry.role, *channel) {
                            Some(world) => Action::Accept(world),
                            None => return Ok(Meaning::NotYet),
                        }
                    }
                    (Some(id), None) => Action::Hail(id),
                    _ => return Err(unknown("a channel without its other end")),
                }
            }
            Input::ChannelClosed { channel } => {
                let world = self.channels.world_id(&entry.role, *channel);
                Action::CloseEnd(world.ok_or_else(|| unknown("a channel never opened"))?, end)
            }
            Input::Received { channel, frame } => {
                let world = self.channels.world_id(&entry.role, *channel);
                let world = world.ok_or_else(|| unknown("a channel never opened"))?;
                if let Some(said) = self.channels.operator_says(&entry.role, *channel, frame) {
                    return Ok(Meaning::Action(Action::Say(world, said)));
                }
                if self.world.next_frame(world, end).is_none() {
                    return Ok(Meaning::NotYet);
                }
                Action::Deliver(world, end)
            }
            Input::Done { ticket, answer } => match custodian {
                Some(id) => Action::AnswerCustodian(id, *ticket, reply(answer)),
                None => Action::AnswerDevice(*ticket, reply(answer)),
            },
            Input::Command { name, .. } => match name.as_str() {
                "admit" => Action::Use,
                "release_output" | "release-output" => Action::Emit,
                _ if entry.outputs.is_empty() => return Ok(Meaning::Nothing),
                _ => return Err(unknown("a command that the world does not know")),
            },
        }))
    }
}

/// One queue per process: the second life of a role is another process.
fn queues_of(logs: &[Vec<Entry>]) -> Result<BTreeMap<String, VecDeque<Entry>>, Mismatch> {
    let mut logs: Vec<&Vec<Entry>> = logs.iter().filter(|log| !log.is_empty()).collect();
    logs.sort_by_key(|log| log.first().map(|entry| entry.now));
    let mut lives: BTreeMap<&str, u32> = BTreeMap::new();
    let mut queues = BTreeMap::new();
    for log in logs {
        let mut queue: VecDeque<Entry> = VecDeque::new();
        let life = log.first().map_or(0, |entry| {
            let life = lives.entry(&entry.role).or_default();
            *life += 1;
            *life
        });
        for entry in log {
            let (next, last) = (queue.len() as u64, queue.back().map_or(0, |last| last.now));
            if entry.sequence != next || entry.now < last {
                let what = format!("expected event {next}, not earlier than {last}");
                return Err(mismatch(entry, what));
            }
            queue.push_back(Entry { role: process(&entry.role, life), ..entry.clone() });
        }
        if let Some(first) = queue.front() {
            queues.insert(first.role.clone(), queue);
        }
    }
    Ok(queues)
}

/// A role in one of its lives: `device`, then `device, life 2`.
fn process(role: &str, life: u32) -> String {
    if life == 1 { role.to_owned() } else { format!("{role}, life {life}") }
}

/// `custodian-2` is custodian 2, in whatever life.
fn custodian_of(role: &str) -> Option<u8> {
    role.strip_prefix("custodian-")?.split(',').next()?.parse().ok()
}

fn is_device(role: &str) -> bool {
    role.split(',').next() == Some("device")
}

fn reply(answer: &Answer) -> Reply {
    match answer {
        Answer::Rejected
        | Answer::ExportFailed
        | Answer::Fenced
        | Answer::HsmFailed
        | Answer::EvidenceFailed
        | Answer::LoadFailed
        | Answer::ScrubFailed
        | Answer::PlantFailed => Reply::Failed,
        Answer::Unknown => Reply::UnknownWritten,
        _ => Reply::Done,
    }
}

fn mismatch(entry: &Entry, what: String) -> Mismatch {
    Mismatch { role: entry.role.clone(), sequence: entry.sequence, what }
}

/// What the frame of an operator's channel is, by its message type.
fn operator_word(message: &str) -> Option<OperatorSays> {
    Some(match message {
        "Provision" => OperatorSays::Provision,
        "Query" => OperatorSays::Query,
        "Activate" => OperatorSays::Activate,
        "Submit" => OperatorSays::Revoke,
        "AwaitDead" => OperatorSays::AwaitDead,
        _ => return None,
    })
}
