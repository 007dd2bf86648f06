//! A story as a Mermaid sequence diagram.

use std::collections::BTreeSet;

use super::words::{Moment, name_of};
use super::{Line, Message, Party};
use crate::world::{Action, End, Forgery, Said};

/// The messages that arrive in an action.
pub fn messages(moment: &Moment<'_>) -> Vec<Message> {
    let mut messages = Vec::new();
    let channel_of =
        |channel: u64| moment.before.channels.get(&channel).or(moment.after.channels.get(&channel));
    let mut arrow = |from, to, label: &str| {
        messages.push(Message { from, to, label: label.to_owned() });
    };
    match moment.action {
        Action::Deliver(channel, end) => {
            if let Some(link) = channel_of(channel) {
                let custodian = Party::Custodian(link.custodian);
                let device = Party::of(link.peer);
                let (from, to, frame) = match end {
                    End::Custodian => (device, custodian, link.to_custodian.first()),
                    End::Device => (custodian, device, link.to_device.first()),
                };
                arrow(from, to, frame.map_or("frame", |frame| name_of(*frame)));
            }
        }
        Action::Intrude(id) => {
            arrow(Party::Adversary, Party::Custodian(id), "Hello in the device's name");
        }
        Action::Forge(channel, forgery) => {
            if let Some(link) = channel_of(channel) {
                arrow(Party::Adversary, Party::Custodian(link.custodian), forged(forgery));
            }
        }
        Action::Inject(channel, frame) => {
            if let Some(link) = channel_of(channel) {
                let label = format!("the device's {} again", name_of(frame));
                arrow(Party::Adversary, Party::Custodian(link.custodian), &label);
            }
        }
        Action::ForgeOrder(id) => {
            arrow(Party::Adversary, Party::Custodian(id), "Submit (signed by a stranger)");
        }
        Action::Send(channel, end, frame) => {
            if let Some(link) = channel_of(channel) {
                let to = match end {
                    End::Custodian => Party::Custodian(link.custodian),
                    End::Device => Party::of(link.peer),
                };
                arrow(Party::Adversary, to, name_of(frame));
            }
        }
        Action::Submit(id) => arrow(Party::Operator, Party::Custodian(id), "Submit (revoke)"),
        Action::AwaitDead(id) => arrow(Party::Operator, Party::Custodian(id), "AwaitDead"),
        Action::Activate(id) | Action::RepeatActivation(id) => {
            arrow(Party::Operator, Party::Custodian(id), "Activate");
        }
        _ => {}
    }
    for said in moment.said {
        let Said::Transmit(channel, frame) = said else { continue };
        // What goes to a device arrives when it is delivered.
        let is_late = |peer| matches!(Party::of(peer), Party::Device | Party::OtherDevice);
        let Some(link) = channel_of(*channel).filter(|link| !is_late(link.peer)) else { continue };
        arrow(Party::Custodian(link.custodian), Party::of(link.peer), name_of(*frame));
    }
    messages
}

const fn forged(forgery: Forgery) -> &'static str {
    match forgery {
        Forgery::RelayedGpu => "Request (relayed GPU report)",
        Forgery::OwnDevice => "Request (another genuine device)",
        Forgery::ReplayedEvidence(_) => "Request (replayed Evidence)",
        Forgery::SplicedEntries(_) => "Request (device's entries, adversary's key)",
    }
}

/// The diagram: arrows for messages, notes for the rest.
pub fn mermaid(lines: &[Line], ending: &str) -> String {
    let mut text = String::from("sequenceDiagram\n    autonumber\n");
    let mut parties: BTreeSet<Party> = BTreeSet::new();
    for line in lines {
        parties.insert(line.who);
        parties.extend(line.messages.iter().flat_map(|message| [message.from, message.to]));
    }
    for party in &parties {
        let (id, name) = party.names();
        text.push_str(&format!("    participant {id} as {name}\n"));
    }
    for line in lines {
        if line.messages.is_empty() {
            let note = line.text.replace([';', '#'], ",");
            text.push_str(&format!("    Note over {}: {note}\n", line.who.names().0));
        }
        for Message { from, to, label } in &line.messages {
            let (from, to) = (from.names().0, to.names().0);
            text.push_str(&format!("    {from}->>{to}: {label}\n"));
        }
    }
    if let (Some(first), Some(last)) = (parties.first(), parties.last()) {
        let (first, last) = (first.names().0, last.names().0);
        let over = if first == last { first } else { format!("{first},{last}") };
        text.push_str(&format!("    Note over {over}: {}\n", ending.replace([';', '#'], ",")));
    }
    text
}

impl Party {
    pub(super) fn names(self) -> (String, String) {
        match self {
            Self::Operator => ("O".into(), "Operators".into()),
            Self::Custodian(id) => (format!("C{id}"), format!("Custodian {id}")),
            Self::Host => ("H".into(), "Host".into()),
            Self::Device => ("D".into(), "Device".into()),
            Self::OtherDevice => ("D2".into(), "Second device".into()),
            Self::Adversary => ("A".into(), "Adversary".into()),
        }
    }
}
