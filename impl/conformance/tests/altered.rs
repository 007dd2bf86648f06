//! Every message of a release on its way, with each of its values changed alone: model and
//! implementation give the same verdict on it.
//!
//! Three custodians of which two are needed, enrolled at the start. The scripts change values as well,
//! but reach only what their numbers reach; here no value is left out.

use std::collections::BTreeMap;

use split_custody_conformance::harm::places;
use split_custody_conformance::{Divergence, Lockstep, Tally};
use split_custody_model_check::slice::everything;
use split_custody_model_check::world::{Action, Bounds, Config, End, Facts, Reply, Switch};
use split_custody_protocol::wire::Message;

fn begin() -> Result<Lockstep, Divergence> {
    let slice = everything();
    let bounds = Bounds { activations: Switch::Off, ..slice.bounds.clone() };
    let config = Config { bounds, ..slice.config(Facts::default()) };
    let mut lockstep = Lockstep::begin(&config, slice.recorded(&config))?;
    lockstep.step(Action::Acquire)?;
    Ok(lockstep)
}

/// What goes on next when nobody interferes.
fn next(lockstep: &Lockstep) -> Option<Action> {
    lockstep.actions().into_iter().find(|action| {
        matches!(
            action,
            Action::Connect(_)
                | Action::Deliver(..)
                | Action::AnswerDevice(_, Reply::Done)
                | Action::AnswerCustodian(_, _, Reply::Done)
        )
    })
}

fn arrives(action: Action) -> Option<(u64, End)> {
    match action {
        Action::Deliver(channel, end) => Some((channel, end)),
        _ => None,
    }
}

/// The messages of a release: at which step each arrives, its type, and its ways to be harmed.
fn messages() -> Result<Vec<(usize, String, u16)>, Divergence> {
    let (mut lockstep, mut found) = (begin()?, Vec::new());
    for step in 0..BOUND {
        let Some(action) = next(&lockstep) else { return Ok(found) };
        let frame = arrives(action).and_then(|(channel, end)| {
            lockstep.world.next_frame(channel, end).map(|frame| frame.bytes().to_vec())
        });
        if let Some(frame) = frame {
            let message = Message::from_frame(&frame).expect("a message");
            let places = places(&frame).expect("CBOR of the profile");
            found.push((step, message.kind().name().to_owned(), places));
        }
        lockstep.step(action)?;
    }
    panic!("a release does not end within {BOUND} steps");
}

/// A release of which one message arrives harmed before it arrives as it was.
fn release(step: usize, place: u16) -> Result<Tally, Divergence> {
    let mut lockstep = begin()?;
    for now in 0..BOUND {
        let Some(action) = next(&lockstep) else { return Ok(lockstep.tally) };
        if now == step
            && let Some((channel, end)) = arrives(action)
            && let Some(frame) = lockstep.world.next_frame(channel, end)
            && let Some(harmed) = lockstep.harm(frame, place)?
        {
            lockstep.step(Action::Send(channel, end, harmed))?;
            continue;
        }
        lockstep.step(action)?;
    }
    panic!("a harmed release does not end within {BOUND} steps");
}

#[test]
fn every_value_of_every_message_of_a_release_changed_alone_has_the_same_verdict() {
    let messages = messages().unwrap_or_else(|parted| panic!("{parted}"));
    let (mut all, mut runs) = (Tally::default(), BTreeMap::new());
    for (step, name, places) in &messages {
        for place in 0..*places {
            let tally = release(*step, place);
            let place = format!("{name} at step {step}, place {place}");
            all = all.with(tally.unwrap_or_else(|parted| panic!("{place}: {parted}")));
            *runs.entry(name.as_str()).or_insert(0) += 1;
        }
    }
    println!("{runs:?}, {all:?}");
    for name in ["Hello", "Challenge", "Request", "Grant"] {
        assert!(runs.get(name).is_some_and(|runs| *runs > 10), "no {name}: {runs:?}");
    }
    assert!(all.refusals > 100, "{all:?} refuses too little");
}

/// No release takes more steps.
const BOUND: usize = 400;
