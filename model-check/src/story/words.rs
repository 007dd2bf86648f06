//! One action, one sentence.

use split_custody_protocol::effect::{Change, CustodianEffect, DeviceEffect};
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::wire::message::Message;

use super::composed::sent;
use super::consequences::consequences;
use super::{Party, capital};
use crate::frame::FrameId;
use crate::world::{
    Action, Channel, Config, Deed, End, Forgery, Lie, Peer, Reply, Said, Who, World,
};

/// An action between the world before it and the world after it.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    pub before: &'a World,
    pub after: &'a World,
    pub config: &'a Config,
    pub action: Action,
    pub said: &'a [Said],
    /// Ticks that this line stands for.
    pub ticks: usize,
}

/// The action as a sentence, with what the machines answered.
pub fn sentence(moment: &Moment<'_>) -> String {
    let mut text = deed(moment);
    let consequences = consequences(moment);
    let mut last = None;
    for told in &consequences {
        let subject = subject_of(told);
        text.push_str(&match last {
            None => joined(&text, told),
            Some(_) if last == subject => format!(" and{}", &told[subject.map_or(0, str::len)..]),
            Some(_) => format!(", and {told}"),
        });
        last = subject;
    }
    text.push('.');
    text
}

/// Who a consequence is about, where the next may be about the same.
fn subject_of(told: &str) -> Option<&str> {
    let whole = told.strip_prefix("the device ").map(|_| "the device");
    whole.or_else(|| {
        let number = told.strip_prefix("custodian ")?;
        let end = number.find(' ')?;
        told.get(..told.len() - number.len() + end)
    })
}

/// Whoever the deed ends with goes on as "which".
fn joined(deed: &str, told: &str) -> String {
    match subject_of(told) {
        Some(subject) if deed.ends_with(subject) => format!(", which{}", &told[subject.len()..]),
        _ => format!(": {told}"),
    }
}

/// Whose doing an action is.
pub fn actor(moment: &Moment<'_>) -> Party {
    match moment.action {
        Action::AnswerDevice(..) | Action::Wake(Who::Device) | Action::Use | Action::Emit => {
            Party::Device
        }
        Action::Other(_) => Party::OtherDevice,
        Action::AnswerCustodian(id, ..)
        | Action::Wake(Who::Custodian(id))
        | Action::Crash(id)
        | Action::Restart(id) => Party::Custodian(id),
        Action::Submit(_) | Action::AwaitDead(_) | Action::Activate(_) => Party::Operator,
        Action::Intrude(_)
        | Action::Forge(..)
        | Action::Inject(..)
        | Action::ForgeOrder(_)
        | Action::Impersonate(_)
        | Action::Send(..) => Party::Adversary,
        _ => Party::Host,
    }
}

fn deed(moment: &Moment<'_>) -> String {
    let Moment { before, config, .. } = *moment;
    let stalls = config.lie == Some(Lie::ClockStalls);
    match moment.action {
        Action::Acquire => "The node asks the device to load the model".into(),
        Action::Release => "The node asks the device to give the model up".into(),
        Action::Connect(id) => format!("The host lets the device's dial to custodian {id} through"),
        Action::RefuseDial(id) => {
            format!("The host lets the dial to custodian {id} come to nothing")
        }
        Action::Deliver(channel, end) => delivery(moment, channel, end),
        Action::Cut(channel) => {
            format!(
                "The host cuts the device's channel to custodian {}",
                custodian_of(before, channel)
            )
        }
        Action::AnswerDevice(ticket, reply) => device_answer(moment, ticket, reply),
        Action::AnswerCustodian(id, ticket, reply) => custodian_answer(moment, id, ticket, reply),
        Action::Wake(Who::Device) => "The device's timer fires".into(),
        Action::Wake(Who::Custodian(id)) => format!("A timer of custodian {id} fires"),
        Action::Tick { .. } if stalls => {
            format!("{}, and the host holds the device's clock", time(moment.ticks))
        }
        Action::Tick { ahead } if ahead > before.ahead => {
            "A tick passes, of which the device's clock makes two".into()
        }
        Action::Tick { ahead } if ahead < before.ahead => {
            "A tick passes, and the device's clock stands still in it".into()
        }
        Action::Tick { .. } => time(moment.ticks),
        Action::Use => "The node asks for a use of the model".into(),
        Action::Emit => "The output of the use asks to leave the device".into(),
        Action::HostRead => host_read(config).into(),
        Action::Tamper => "The device finds its mark gone: it was tampered with".into(),
        Action::Resume => "The device is suspended and resumes".into(),
        _ => deed_of_others(moment),
    }
}

fn deed_of_others(moment: &Moment<'_>) -> String {
    let Moment { before, config, .. } = *moment;
    let says = |id: u8| if config.liars.contains(&id) { ", who lies" } else { "" };
    match moment.action {
        Action::Crash(id) => format!("Custodian {id}'s process dies"),
        Action::Restart(id) => format!("Custodian {id} starts again from its store"),
        Action::RollBack(id) => {
            format!("Custodian {id}'s store is replaced by its oldest backup, and it starts again")
        }
        Action::Submit(id) => {
            format!(
                "An operator submits the revocation of the device to custodian {id}{}",
                says(id)
            )
        }
        Action::AwaitDead(id) => {
            format!("An operator asks custodian {id} to say when the revoked leases are dead")
        }
        Action::Activate(id) => format!("Operators activate custodian {id}"),
        Action::RepeatActivation(id) => {
            let generation = before.operator.activations.get(&id).map_or(0, |(_, g)| g.value());
            format!(
                "The host delivers to custodian {id} the activation that operators signed for its \
                 generation {generation}"
            )
        }
        Action::Intrude(id) => {
            let leaf = if config.bounds.leaf_stolen.is_on() {
                "with the device's stolen leaf key"
            } else {
                "with a leaf key of its own"
            };
            format!(
                "The adversary opens a channel to custodian {id} {leaf} and says Hello in the \
                 device's name"
            )
        }
        Action::Forge(channel, forgery) => forged(custodian_of(before, channel), forgery),
        Action::Inject(channel, frame) => injected(before, channel, frame),
        Action::ForgeOrder(id) => {
            format!("A stranger submits an order of its own signing to custodian {id}")
        }
        Action::Impersonate(id) if config.corrupt(id) => {
            format!("The device's dial reaches custodian {id}, which is the intruder's")
        }
        Action::Impersonate(id) => format!(
            "The intruder takes the device's dial to custodian {id}, with that custodian's stolen \
             TLS key"
        ),
        Action::Send(channel, to, frame) => sent(before, channel, to, frame),
        Action::Other(deed) => of_the_other(deed),
        other => format!("{other:?}"),
    }
}

fn of_the_other(deed: Deed) -> String {
    match deed {
        Deed::Acquire => "The second device is asked to load the model".into(),
        Deed::Release => "The second device is asked to give the model up".into(),
        Deed::Connect(id) => format!("The second device's dial reaches custodian {id}"),
        Deed::RefuseDial(id) => format!("The second device's dial to custodian {id} fails"),
        Deed::Answer(..) => "The second device's driver answers".into(),
        Deed::Wake => "The second device's timer fires".into(),
        Deed::Use => "A use of the model is asked for at the second device".into(),
        Deed::Emit => "The output of that use asks to leave the second device".into(),
        Deed::HostRead => "The host reads the second device's memory".into(),
        Deed::Tamper => "The second device finds its mark gone".into(),
        Deed::Resume => "The second device is suspended and resumes".into(),
    }
}

/// Whose end of a channel it is, in a sentence.
fn the_device(link: &Channel) -> &'static str {
    if link.peer == Peer::OtherDevice { "the second device" } else { "the device" }
}

fn time(ticks: usize) -> String {
    match ticks {
        0 | 1 => "A tick passes".into(),
        2 => "Two ticks pass".into(),
        3 => "Three ticks pass".into(),
        4 => "Four ticks pass".into(),
        5 => "Five ticks pass".into(),
        more => format!("{more} ticks pass"),
    }
}

fn host_read(config: &Config) -> &'static str {
    match (config.lie, config.setup.on_host_read) {
        (Some(Lie::ReadUnnoticed), _) => {
            "The host reads device memory over the bus, and the device's driver does not hear of it"
        }
        (Some(Lie::BlockedReadTaints), _) => {
            "The host reads device memory, the hardware blocks it, and the driver calls it tampering"
        }
        (_, OnHostRead::Block) => "The host reads device memory over the bus and is blocked",
        (_, OnHostRead::Reset) => "The host reads device memory over the bus",
    }
}

fn forged(custodian: u8, forgery: Forgery) -> String {
    let what = match forgery {
        Forgery::RelayedGpu => {
            "for a key of its own, with a report that it had the enrolled GPU sign and a CPU report \
             of its own machine"
        }
        Forgery::OwnDevice => "for a key of its own, with Evidence of its own genuine device",
        Forgery::ReplayedEvidence(_) => {
            "for a key and session of its own, with the Evidence of the device's request"
        }
        Forgery::SplicedEntries(_) => {
            "with the entries and the Evidence of the device's request, and a key of its own in \
             the place of the device's"
        }
    };
    format!("The adversary sends custodian {custodian} a Request {what}")
}

fn injected(before: &World, channel: u64, frame: FrameId) -> String {
    let custodian = custodian_of(before, channel);
    let name = name_of(frame);
    match before.channels.get(&channel).map(|link| link.peer) {
        Some(Peer::Device) => format!(
            "The adversary sends custodian {custodian} the device's {name} again, inside the \
             device's channel"
        ),
        _ => format!(
            "On its own channel the adversary repeats the device's {name} to custodian {custodian}"
        ),
    }
}

fn delivery(moment: &Moment<'_>, channel: u64, end: End) -> String {
    let Some(link) = moment.before.channels.get(&channel) else { return String::new() };
    let custodian = link.custodian;
    match end {
        End::Custodian => {
            let name = link.to_custodian.first().map_or("frame", |frame| name_of(*frame));
            if link.device_end.is_on() {
                let device = capital(the_device(link));
                format!("{device}'s {name} reaches custodian {custodian}")
            } else {
                format!(
                    "An old {name} of the device's, which the host had kept, reaches custodian \
                     {custodian}"
                )
            }
        }
        End::Device => {
            let name = link.to_device.first().map_or("frame", |frame| name_of(*frame));
            format!("Custodian {custodian}'s {name} reaches {}", the_device(link))
        }
    }
}

fn device_answer(moment: &Moment<'_>, ticket: u64, reply: Reply) -> String {
    let lie = moment.config.lie;
    let done = reply == Reply::Done;
    let text = match moment.before.device.questions.get(&ticket) {
        Some(DeviceEffect::CollectEvidence { .. }) if done => {
            "Measured code makes Evidence over the device's session"
        }
        Some(DeviceEffect::CollectEvidence { .. }) => "The device cannot make Evidence",
        Some(DeviceEffect::Load { .. }) if done => "The weights are opened in device memory",
        Some(DeviceEffect::Load { .. }) => "The weights cannot be opened",
        Some(DeviceEffect::Zeroise) if lie == Some(Lie::ZeroiseDoesNothing) => {
            "The driver says that the keys are zeroised, and erases none"
        }
        Some(DeviceEffect::Zeroise) => "The device's keys are zeroised",
        Some(DeviceEffect::Scrub) if done && lie == Some(Lie::ScrubDoesNothing) => {
            "The driver says that device memory is scrubbed, and overwrites none of it"
        }
        Some(DeviceEffect::Scrub) if done => "Device memory is scrubbed and verified",
        Some(DeviceEffect::Scrub) => "The scrub of device memory fails",
        Some(DeviceEffect::Plant) => {
            let life = moment.after.device.life;
            return format!("A new mark is planted in device memory and life {life} begins");
        }
        _ => "The device's driver answers",
    };
    text.into()
}

fn custodian_answer(moment: &Moment<'_>, id: u8, ticket: u64, reply: Reply) -> String {
    let lie = moment.config.lie;
    let question = moment.before.custodians.get(&id).and_then(|node| node.questions.get(&ticket));
    match question {
        Some(CustodianEffect::Commit(transaction)) => {
            let what = match transaction.change {
                Change::Grant(_) => "lease and audit leaf",
                Change::Renew { .. } => "the renewal and its leaf",
                Change::Order { .. } => "the order and its leaf",
                Change::Provision { .. } => "the provision and its leaf",
                Change::Activate { .. } => "the activation and its leaf",
            };
            match reply {
                Reply::Done if lie == Some(Lie::StoreAnswersEarly) => {
                    format!(
                        "Custodian {id}'s store says that it has {what}, and has written nothing"
                    )
                }
                Reply::Done => format!("Custodian {id}'s store commits {what}"),
                Reply::Failed => format!("Custodian {id}'s store is fenced and writes nothing"),
                Reply::UnknownWritten => {
                    format!("Custodian {id}'s store writes {what} and does not know it")
                }
                Reply::UnknownLost => {
                    format!("Custodian {id}'s store does not know whether it wrote {what}")
                }
            }
        }
        Some(CustodianEffect::Reread { .. }) => {
            format!("Custodian {id} looks in its store for the transaction")
        }
        Some(CustodianEffect::Release { .. }) if reply == Reply::Done => {
            format!(
                "Custodian {id}'s HSM seals the share to the device key of the request, and signs \
                 the grant"
            )
        }
        Some(CustodianEffect::Sign { .. }) if reply == Reply::Done => {
            format!("Custodian {id}'s HSM signs")
        }
        Some(CustodianEffect::Release { .. } | CustodianEffect::Sign { .. }) => {
            format!("Custodian {id}'s HSM fails")
        }
        Some(CustodianEffect::Anchor(_)) if lie == Some(Lie::AnchorStands) => {
            format!("Custodian {id}'s anchor says that it has moved, and has not")
        }
        Some(CustodianEffect::Anchor(_)) => format!("Custodian {id}'s anchor moves"),
        Some(CustodianEffect::DestroyHandles) => {
            format!("Custodian {id}'s HSM destroys the cached share handles")
        }
        _ => format!("Custodian {id}'s driver answers"),
    }
}

/// "a Request", "an Acknowledgement".
pub fn article(name: &str) -> String {
    let article = if name.starts_with('A') { "an" } else { "a" };
    format!("{article} {name}")
}

/// Whose channel it is.
pub fn custodian_of(world: &World, channel: u64) -> u8 {
    world.channels.get(&channel).map_or(0, |link| link.custodian)
}

/// A message's name as the specification writes it.
pub fn name_of(frame: FrameId) -> &'static str {
    match Message::from_frame(&frame.bytes()) {
        Ok(Message::Hello(_)) => "Hello",
        Ok(Message::Challenge(_)) => "Challenge",
        Ok(Message::Request(_)) => "Request",
        Ok(Message::Grant(_)) => "Grant",
        Ok(Message::Refused(_)) => "Refused",
        Ok(Message::Renew(_)) => "Renew",
        Ok(Message::Renewal(_)) => "Renewal",
        Ok(Message::Submit(_)) => "Submit",
        Ok(Message::Acknowledged(_)) => "Acknowledged",
        Ok(Message::AwaitDead(_)) => "AwaitDead",
        Ok(Message::Dead(_)) => "Dead",
        Ok(Message::Notice(_)) => "Notice",
        Ok(Message::Superseded(_)) => "Superseded",
        Ok(Message::Query(_)) => "Query",
        Ok(Message::Status(_)) => "Status",
        Ok(Message::Activate(_)) => "Activate",
        Ok(Message::Activated(_)) => "Activated",
        _ => "message",
    }
}
