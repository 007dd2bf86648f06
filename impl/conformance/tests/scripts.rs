//! Random scripts, in the model's world and in the implementation at once: the same verdicts at
//! each step.
//!
//! A script is a list of words; each is the next thing of its kind that can happen, or nothing. Three
//! custodians of which two are needed, enrolled at the start. `SCRIPTS` sets how many are tried.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{Config as Settings, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use split_custody_conformance::{Divergence, Lockstep, Tally};
use split_custody_model_check::frame::FrameId;
use split_custody_model_check::slice::everything;
use split_custody_model_check::world::{Action, Bounds, Config, End, Facts, Reply, Switch, Turn};

/// A thing to happen; numbers pick one of several, or one of several frames or places.
#[derive(Clone, Copy, Debug)]
enum Word {
    Acquire,
    Release,
    /// Everything that is asked, dialled or on the wire goes through, until nothing is left.
    Settle,
    /// One thing of those.
    Proceed(u16),
    /// A question is answered with a failure, or with an unknown outcome.
    Fail(u16),
    Wake(u16),
    Tick {
        ahead: u8,
    },
    Use,
    HostRead,
    Tamper,
    Resume,
    Kill(u16),
    Restart(u16),
    RollBack(u16),
    Activate(u16),
    Revoke(u16),
    AwaitDead(u16),
    Cut(u16),
    RefuseDial(u16),
    /// A stranger opens a channel, orders, or forges a request.
    Attack(u16),
    /// Old bytes arrive again, at either end of any channel.
    Replay(u16, u16),
    /// Old bytes arrive with one value changed, or cut short.
    Tampered(u16, u16, u16),
    /// What is on its way arrives with one value changed, or cut short.
    Altered(u16, u16),
}

fn word() -> impl Strategy<Value = Word> {
    use Word as W;
    let n = any::<u16>;
    prop_oneof![
        4 => Just(W::Acquire),
        1 => Just(W::Release),
        4 => Just(W::Settle),
        10 => n().prop_map(W::Proceed),
        3 => n().prop_map(W::Fail),
        4 => n().prop_map(W::Wake),
        5 => (0..2u8).prop_map(|ahead| W::Tick { ahead }),
        4 => Just(W::Use),
        1 => Just(W::HostRead),
        1 => Just(W::Tamper),
        1 => Just(W::Resume),
        1 => n().prop_map(W::Kill),
        2 => n().prop_map(W::Restart),
        1 => n().prop_map(W::RollBack),
        2 => n().prop_map(W::Activate),
        1 => n().prop_map(W::Revoke),
        1 => n().prop_map(W::AwaitDead),
        2 => n().prop_map(W::Cut),
        1 => n().prop_map(W::RefuseDial),
        2 => n().prop_map(W::Attack),
        3 => (n(), n()).prop_map(|(frame, at)| W::Replay(frame, at)),
        3 => (n(), n(), n()).prop_map(|(frame, at, place)| W::Tampered(frame, at, place)),
        4 => (n(), n()).prop_map(|(frame, place)| W::Altered(frame, place)),
    ]
}

struct Run {
    lockstep: Lockstep,
    sent: Vec<FrameId>,
    /// Started or activated anew: the real anchor has seen more since the backup than the model's.
    anchored: BTreeSet<u8>,
}

impl Run {
    fn begin() -> Result<Self, Divergence> {
        let slice = everything();
        let bounds = Bounds { activations: Switch::Off, ..slice.bounds.clone() };
        let config = Config { bounds, ..slice.config(Facts::default()) };
        let lockstep = Lockstep::begin(&config, slice.recorded(&config))?;
        Ok(Self { lockstep, sent: Vec::new(), anchored: BTreeSet::new() })
    }

    fn step(&mut self, action: Action) -> Result<(), Divergence> {
        if let Action::Restart(id) | Action::RollBack(id) = action {
            self.anchored.insert(id);
        }
        let turns = self.lockstep.step(action)?;
        self.sent.extend(turns.iter().flat_map(Turn::frames));
        Ok(())
    }

    fn say(&mut self, word: Word) -> Result<(), Divergence> {
        match word {
            Word::Settle => self.settle(),
            Word::Activate(n) => {
                let id = pick(&[1, 2, 3], n).copied().unwrap_or(1);
                self.anchored.insert(id);
                self.step(Action::Activate(id))
            }
            Word::Replay(frame, at) => match pick(&self.sent, frame).copied() {
                Some(frame) => self.deliver(frame, at),
                None => Ok(()),
            },
            Word::Tampered(frame, at, place) => self.tampered(frame, at, place),
            Word::Altered(n, place) => self.altered(n, place),
            word => {
                let enabled = self.lockstep.actions();
                let (is, n) = kind(word);
                // BOUND: the model's anchor holds no size of the log, and a start does not anchor the
                // orders that it finds. A real store notices more, and then serves less.
                let unseen = |action: &Action| match action {
                    Action::RollBack(id) => !self.anchored.contains(id),
                    _ => true,
                };
                let meant: Vec<Action> = enabled.into_iter().filter(is).filter(unseen).collect();
                pick(&meant, n).map_or(Ok(()), |action| self.step(*action))
            }
        }
    }

    fn settle(&mut self) -> Result<(), Divergence> {
        for _ in 0..60 {
            let next = self.lockstep.actions().into_iter().find(proceeds);
            let Some(action) = next else { return Ok(()) };
            self.step(action)?;
        }
        Ok(())
    }

    /// Bytes arrive at an end of a channel that is open.
    fn deliver(&mut self, frame: FrameId, at: u16) -> Result<(), Divergence> {
        let channels = &self.lockstep.world.channels;
        let ends: Vec<(u64, End)> = channels
            .iter()
            .flat_map(|(id, channel)| {
                let custodian = channel.custodian_end.is_on().then_some((*id, End::Custodian));
                let device = channel.device_end.is_on().then_some((*id, End::Device));
                custodian.into_iter().chain(device)
            })
            .collect();
        let Some((channel, end)) = pick(&ends, at).copied() else { return Ok(()) };
        self.step(Action::Send(channel, end, frame))
    }

    /// The same value is changed in an old frame of the model's and in the implementation's.
    fn tampered(&mut self, frame: u16, at: u16, place: u16) -> Result<(), Divergence> {
        let Some(frame) = pick(&self.sent, frame).copied() else { return Ok(()) };
        let Some(harmed) = self.lockstep.harm(frame, place)? else { return Ok(()) };
        self.deliver(harmed, at)
    }

    /// What would arrive next arrives with one value changed, before it.
    fn altered(&mut self, n: u16, place: u16) -> Result<(), Divergence> {
        let enabled = self.lockstep.actions();
        let arrives = |action: &Action| match action {
            Action::Deliver(channel, end) => Some((*channel, *end)),
            _ => None,
        };
        let meant: Vec<(u64, End)> = enabled.iter().filter_map(arrives).collect();
        let Some((channel, end)) = pick(&meant, n).copied() else { return Ok(()) };
        let Some(frame) = self.lockstep.world.next_frame(channel, end) else { return Ok(()) };
        match self.lockstep.harm(frame, place)? {
            Some(harmed) => self.step(Action::Send(channel, end, harmed)),
            None => Ok(()),
        }
    }
}

fn pick<T>(items: &[T], n: u16) -> Option<&T> {
    items.get(usize::from(n).checked_rem(items.len())?)
}

/// What goes through when nobody interferes.
fn proceeds(action: &Action) -> bool {
    matches!(
        action,
        Action::Connect(_)
            | Action::Deliver(..)
            | Action::AnswerDevice(_, Reply::Done)
            | Action::AnswerCustodian(_, _, Reply::Done)
    )
}

fn fails(action: &Action) -> bool {
    match action {
        Action::AnswerDevice(_, reply) | Action::AnswerCustodian(_, _, reply) => {
            *reply != Reply::Done
        }
        _ => false,
    }
}

type Is = Box<dyn Fn(&Action) -> bool>;

/// Which actions a word means, and which of them.
fn kind(word: Word) -> (Is, u16) {
    use Action as A;
    match word {
        Word::Proceed(n) => (Box::new(proceeds), n),
        Word::Fail(n) => (Box::new(fails), n),
        Word::Acquire => (Box::new(|a| matches!(a, A::Acquire)), 0),
        Word::Release => (Box::new(|a| matches!(a, A::Release)), 0),
        Word::Wake(n) => (Box::new(|a| matches!(a, A::Wake(_))), n),
        Word::Tick { ahead } => (Box::new(move |a| *a == A::Tick { ahead }), 0),
        Word::Use => (Box::new(|a| matches!(a, A::Use | A::Emit)), 0),
        Word::HostRead => (Box::new(|a| matches!(a, A::HostRead)), 0),
        Word::Tamper => (Box::new(|a| matches!(a, A::Tamper)), 0),
        Word::Resume => (Box::new(|a| matches!(a, A::Resume)), 0),
        Word::Kill(n) => (Box::new(|a| matches!(a, A::Crash(_))), n),
        Word::Restart(n) => (Box::new(|a| matches!(a, A::Restart(_))), n),
        Word::RollBack(n) => (Box::new(|a| matches!(a, A::RollBack(_))), n),
        Word::Revoke(n) => (Box::new(|a| matches!(a, A::Submit(_))), n),
        Word::AwaitDead(n) => (Box::new(|a| matches!(a, A::AwaitDead(_))), n),
        Word::Cut(n) => (Box::new(|a| matches!(a, A::Cut(_))), n),
        Word::RefuseDial(n) => (Box::new(|a| matches!(a, A::RefuseDial(_))), n),
        Word::Attack(n) => {
            let is = |a: &A| {
                matches!(a, A::Intrude(_) | A::ForgeOrder(_) | A::Forge(..) | A::Inject(..))
            };
            (Box::new(is), n)
        }
        Word::Settle
        | Word::Activate(_)
        | Word::Replay(..)
        | Word::Tampered(..)
        | Word::Altered(..) => (Box::new(|_| false), 0),
    }
}

fn run(script: &[Word]) -> Result<Tally, Divergence> {
    let mut run = Run::begin()?;
    for (place, word) in script.iter().enumerate() {
        run.say(*word).map_err(|parted| parted.at(&format!("word {place}, {word:?}")))?;
    }
    Ok(run.lockstep.tally)
}

fn cases(otherwise: u32) -> u32 {
    std::env::var("SCRIPTS").ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn random_scripts_have_the_same_verdicts_in_model_and_implementation() {
    let settings = Settings { cases: cases(300), failure_persistence: None, ..Settings::default() };
    let all = std::cell::Cell::new(Tally::default());
    // The same scripts in each run: more of them are more, not others.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(settings, rng);
    let result = runner.run(&prop::collection::vec(word(), 30..90), |script| {
        let tally = run(&script).map_err(|parted| TestCaseError::fail(parted.to_string()))?;
        all.set(all.get().with(tally));
        Ok(())
    });
    result.unwrap_or_else(|failed| panic!("{failed}"));
    let tally = all.get();
    // Scripts in which nothing is granted or refused would agree as well.
    assert!(tally.frames > 1000 && tally.refusals > 300, "{tally:?} compares too little");
    println!("{tally:?}");
}
