//! Counterexamples as stories: numbered sentences, and a sequence diagram.

use split_custody_protocol::effect::{CustodianEffect, DeviceEffect};
use split_custody_protocol::wire::message::Message;

use crate::doubles::Double;
use crate::frame::FrameId;
use crate::world::{Action, Config, End, Forgery, Peer, Reply, Who, World};

/// A story of what happened, told from the first state.
pub fn tell(initial: &World, config: &Config, actions: &[Action]) -> Vec<String> {
    let mut world = initial.clone();
    let mut sentences = Vec::new();
    for action in actions {
        let happened = sentence(&world, *action);
        world.said = Some(Vec::new());
        world.step(config, *action);
        let said = world.said.take().unwrap_or_default();
        let consequences: Vec<String> =
            said.iter().filter_map(|said| consequence(&world, said)).collect();
        sentences.push(match consequences.as_slice() {
            [] => happened,
            told => format!("{happened} {}", told.join(" ")),
        });
    }
    sentences
}

/// The whole page of a counterexample.
pub fn page(double: &Double, initial: &World, config: &Config, actions: &[Action]) -> String {
    let mut text = format!("{}: {}\n", double.name, double.says);
    let rules: Vec<&str> = double.rules.iter().map(|rule| rule.id()).collect();
    if !rules.is_empty() {
        text += &format!("Not enforced: {}.\n", rules.join(", "));
    }
    if let Some(lie) = double.lie {
        text += &format!("Lied about: {lie:?}.\n");
    }
    text += &format!("Slice: {}.\n\n", double.slice);
    for (number, sentence) in tell(initial, config, actions).iter().enumerate() {
        text += &format!("{:>3}. {sentence}\n", number + 1);
    }
    text += &format!("\nBroken: {}\n", double.killed_by);
    if let Some(property) = crate::property::property(double.killed_by) {
        text += &format!("  {}\n", property.says);
    }
    if !double.covered_by.is_empty() {
        text += &format!("Nothing smaller breaks it; {}.\n", double.covered_by);
    }
    text
}

/// The same as a Mermaid sequence diagram.
pub fn mermaid(initial: &World, config: &Config, actions: &[Action]) -> String {
    let mut text =
        "sequenceDiagram\n    participant D as device\n    participant H as host\n".to_owned();
    for id in initial.custodians.keys() {
        text += &format!("    participant C{id} as custodian {id}\n");
    }
    text += "    participant O as operators\n    participant A as adversary\n";
    let mut world = initial.clone();
    for action in actions {
        text += &format!("    {}\n", arrow(&world, *action));
        world.step(config, *action);
    }
    text
}

fn arrow(world: &World, action: Action) -> String {
    let told = sentence(world, action).replace(';', ",");
    let custodian = |channel: &u64| world.channels.get(channel).map_or(0, |link| link.custodian);
    match action {
        Action::Deliver(channel, End::Custodian) => {
            format!("D->>C{}: {}", custodian(&channel), frame_at(world, channel, End::Custodian))
        }
        Action::Deliver(channel, End::Device) => {
            format!("C{}->>D: {}", custodian(&channel), frame_at(world, channel, End::Device))
        }
        Action::Inject(channel, frame) => {
            format!("A->>C{}: a repeated {}", custodian(&channel), name_of(frame))
        }
        Action::Forge(channel, _) => format!("A->>C{}: a composed Request", custodian(&channel)),
        Action::Intrude(id) => format!("A->>C{id}: a channel and a Hello of its own"),
        Action::ForgeOrder(id) => format!("A->>C{id}: an order of its own"),
        Action::Submit(id) => format!("O->>C{id}: revoke the device"),
        Action::AwaitDead(id) => format!("O->>C{id}: say when the leases are dead"),
        Action::Activate(id) => format!("O->>C{id}: activate"),
        Action::Connect(id) => format!("D->>C{id}: opens a channel"),
        Action::AnswerCustodian(id, ..)
        | Action::Crash(id)
        | Action::Restart(id)
        | Action::RollBack(id)
        | Action::Wake(Who::Custodian(id)) => format!("Note over C{id}: {told}"),
        Action::Tick { .. } | Action::Cut(_) | Action::RefuseDial(_) => {
            format!("Note over H: {told}")
        }
        _ => format!("Note over D: {told}"),
    }
}

/// What an action is, in the state in which it happens.
fn sentence(world: &World, action: Action) -> String {
    match action {
        Action::Acquire => "The node asks the device to load the model.".into(),
        Action::Release => "The node asks the device to give the model up.".into(),
        Action::Connect(id) => {
            format!("The host lets the device open a channel to custodian {id}.")
        }
        Action::RefuseDial(id) => format!("The host lets no channel to custodian {id} come about."),
        Action::Deliver(channel, end) => {
            let what = frame_at(world, channel, end);
            let custodian = world.channels.get(&channel).map_or(0, |link| link.custodian);
            match end {
                End::Custodian => {
                    format!(
                        "The device's {what} on channel {channel} reaches custodian {custodian}."
                    )
                }
                End::Device => {
                    format!(
                        "Custodian {custodian}'s {what} on channel {channel} reaches the device."
                    )
                }
            }
        }
        Action::Cut(channel) => format!("The host cuts channel {channel}."),
        Action::AnswerDevice(ticket, reply) => device_answer(world, ticket, reply),
        Action::AnswerCustodian(id, ticket, reply) => custodian_answer(world, id, ticket, reply),
        Action::Wake(Who::Device) => "The device looks at its timers.".into(),
        Action::Wake(Who::Custodian(id)) => format!("Custodian {id} looks at its timers."),
        Action::Tick { ahead: 0 } => "One tick of time passes.".into(),
        Action::Tick { ahead } => {
            format!("One tick of time passes; the device's clock is now ahead by {ahead}.")
        }
        Action::Use => "A use of the model is asked for.".into(),
        Action::Emit => "The output of that use asks to leave the device.".into(),
        Action::HostRead => "The host reads device memory over the bus.".into(),
        Action::Tamper => "The host resets the device behind its driver's back.".into(),
        Action::Resume => "The device comes back from a suspend.".into(),
        Action::Crash(id) => format!("Custodian {id}'s process dies."),
        Action::Restart(id) => format!("Custodian {id} starts again from its store."),
        Action::RollBack(id) => {
            format!("Custodian {id}'s store is replaced by its oldest backup, and it starts again.")
        }
        Action::Submit(id) => {
            format!("An operator gives custodian {id} the order to revoke the device.")
        }
        Action::AwaitDead(id) => {
            format!("An operator asks custodian {id} to say when the revoked leases are dead.")
        }
        Action::Activate(id) => format!("An operator activates custodian {id}."),
        Action::Intrude(id) => format!(
            "The adversary opens a channel of its own to custodian {id} and says Hello as the device."
        ),
        Action::Forge(channel, forgery) => {
            format!(
                "On its channel {channel} the adversary sends a Request for its own key, {}.",
                forged(forgery)
            )
        }
        Action::Inject(channel, frame) => {
            let own = world.channels.get(&channel).is_some_and(|link| link.peer == Peer::Adversary);
            let whose = if own { "its own" } else { "the device's" };
            format!(
                "The adversary repeats a {} that it saw, on {whose} channel {channel}.",
                name_of(frame)
            )
        }
        Action::ForgeOrder(id) => {
            format!("A stranger gives custodian {id} an order that no operator signed.")
        }
        other => format!("{other:?}."),
    }
}

fn forged(forgery: Forgery) -> &'static str {
    match forgery {
        Forgery::RelayedGpu => {
            "over its own session: the enrolled GPU signs the nonce, its own CPU part the rest"
        }
        Forgery::OwnDevice => {
            "over its own session, with both halves of a genuine device of its own"
        }
        Forgery::ReplayedEvidence(_) => "over its own session, with the device's Evidence repeated",
        Forgery::SplicedEntries(_) => "with the device's session entries and Evidence repeated",
    }
}

fn device_answer(world: &World, ticket: u64, reply: Reply) -> String {
    let failed = reply != Reply::Done;
    match world.device.questions.get(&ticket) {
        Some(DeviceEffect::CollectEvidence { .. }) if failed => {
            "The device cannot make Evidence.".into()
        }
        Some(DeviceEffect::CollectEvidence { .. }) => {
            "Measured code makes Evidence over the session.".into()
        }
        Some(DeviceEffect::Load { .. }) if failed => {
            "A tensor does not open; loading fails.".into()
        }
        Some(DeviceEffect::Load { .. }) => "The weights are opened in device memory.".into(),
        Some(DeviceEffect::Zeroise) => {
            "The device's driver reports that all keys are zeroised.".into()
        }
        Some(DeviceEffect::Scrub) if failed => "The scrub of device memory fails.".into(),
        Some(DeviceEffect::Scrub) => "The device's driver reports that memory is scrubbed.".into(),
        Some(DeviceEffect::Plant) => "A new mark is planted: a new incarnation.".into(),
        Some(DeviceEffect::Erase { .. }) => "Secrets that are of no more use are erased.".into(),
        Some(DeviceEffect::Export { .. }) | None => "The device's driver answers.".into(),
    }
}

fn custodian_answer(world: &World, id: u8, ticket: u64, reply: Reply) -> String {
    let question = world.custodians.get(&id).and_then(|node| node.questions.get(&ticket));
    let what = match question {
        Some(CustodianEffect::Commit(_)) => match reply {
            Reply::Done => "store reports the commit",
            Reply::Failed => "store is fenced",
            Reply::UnknownWritten => "store writes and does not know it",
            Reply::UnknownLost => "store does not write and does not know it",
        },
        Some(CustodianEffect::Rewrap { .. }) if reply == Reply::Done => {
            "HSM seals the share to the device key"
        }
        Some(CustodianEffect::Sign { .. }) if reply == Reply::Done => "HSM signs",
        Some(CustodianEffect::Rewrap { .. } | CustodianEffect::Sign { .. }) => "HSM fails",
        Some(CustodianEffect::Anchor(_)) => "anchor reports that it has moved",
        Some(CustodianEffect::Reread { .. }) => "store is read back",
        Some(CustodianEffect::DestroyHandles) => "HSM destroys its cached shares",
        _ => "driver answers",
    };
    format!("Custodian {id}'s {what}.")
}

fn consequence(world: &World, said: &crate::world::Said) -> Option<String> {
    let crate::world::Said::Transmit(channel, frame) = said else { return None };
    let link = world.channels.get(channel);
    let to = link.map_or("nobody", |link| match link.peer {
        Peer::Adversary => "the adversary",
        Peer::Operator => "the operators",
        Peer::Device => "the other end",
    });
    let name = name_of(*frame);
    let article = if name.starts_with(['A', 'E']) { "An" } else { "A" };
    Some(format!("→ {article} {name} leaves for {to} on channel {channel}."))
}

fn frame_at(world: &World, channel: u64, end: End) -> String {
    world
        .next_frame(channel, end)
        .map_or_else(|| "frame".to_owned(), |frame| name_of(frame).to_owned())
}

fn name_of(frame: FrameId) -> &'static str {
    Message::from_frame(&frame.bytes()).map_or("frame", |message| message.kind().name())
}
