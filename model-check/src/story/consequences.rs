//! What follows from an action: what machines send, and what changes.

use split_custody_protocol::effect::CustodianEffect;
use split_custody_protocol::wire::lease::RenewalAnswer;
use split_custody_protocol::wire::message::Message;

use super::words::{Moment, article, custodian_of, name_of};
use crate::frame::FrameId;
use crate::world::{Action, Lie, Peer, Said};

/// What the machines said, and what changed that a reader wants to know.
pub fn consequences(moment: &Moment<'_>) -> Vec<String> {
    let mut told: Vec<String> = Vec::new();
    let mut dials: Vec<u8> = Vec::new();
    let mut requests: Vec<u8> = Vec::new();
    for said in moment.said {
        match said {
            Said::Dial(id) => dials.push(*id),
            Said::Transmit(channel, frame) if name_of(*frame) == "Request" => {
                requests.push(custodian_of(moment.after, *channel));
            }
            Said::Transmit(channel, frame) => told.extend(transmission(moment, *channel, *frame)),
            Said::AskCustodian(_, CustodianEffect::Commit(_))
                if moment.config.lie == Some(Lie::StoreAnswersEarly)
                    && !moment.config.bounds.deferred.is_on() =>
            {
                told.push("its store says that it has written, and has not".to_owned());
            }
            _ => {}
        }
    }
    if !dials.is_empty() {
        told.push(format!("the device dials {}", custodians(&dials)));
    }
    if !requests.is_empty() {
        told.push(format!("the device sends its Request to {}", custodians(&requests)));
    }
    told.extend(changes_of_device(moment));
    told.extend(changes_of_custodians(moment));
    told
}

fn transmission(moment: &Moment<'_>, channel: u64, frame: FrameId) -> Option<String> {
    let link = moment.after.channels.get(&channel).or(moment.before.channels.get(&channel))?;
    let custodian = link.custodian;
    let to = match link.peer {
        Peer::Device | Peer::OtherDevice if !link.device_end.is_on() => {
            " to a device that is no longer there"
        }
        Peer::Device => "",
        Peer::OtherDevice => " to the second device",
        Peer::Adversary => " to the adversary",
        Peer::Operator => "",
    };
    let text = match Message::from_frame(&frame.bytes()) {
        Ok(Message::Hello(_)) => "the device says Hello".to_owned(),
        Ok(Message::Renew(renew)) => {
            format!("the device asks custodian {custodian} for renewal {}", renew.counter.value())
        }
        Ok(Message::Grant(_))
            if moment.config.bounds.false_shares.is_on()
                && moment.config.liars.contains(&custodian) =>
        {
            format!("custodian {custodian} lies and grants a share that it made up")
        }
        Ok(Message::Refused(_)) => format!("custodian {custodian} refuses"),
        Ok(Message::Renewal(renewal)) => match renewal.answer {
            RenewalAnswer::Renewed => format!("custodian {custodian} renews the lease{to}"),
            RenewalAnswer::Ended => format!("custodian {custodian} answers that the lease ended"),
            RenewalAnswer::Retry => format!("custodian {custodian} asks for another try"),
        },
        Ok(Message::Acknowledged(_)) => format!("custodian {custodian} acknowledges the order"),
        Ok(Message::Dead(_)) => {
            format!("custodian {custodian} signs that every lease under the order is dead")
        }
        Ok(Message::Activated(_)) => format!("custodian {custodian} serves"),
        Ok(Message::Status(_)) => return None,
        _ => format!("custodian {custodian} sends {}{to}", article(name_of(frame))),
    };
    Some(text)
}

fn changes_of_device(moment: &Moment<'_>) -> Vec<String> {
    let mut told = Vec::new();
    let (was, is) = (&moment.before.device, &moment.after.device);
    let (custody_was, custody_is) = (was.machine.state_names().1, is.machine.state_names().1);
    if custody_was != custody_is && custody_is == "Serving" {
        told.push("the device has k shares, combines the key and serves".to_owned());
    }
    if matches!(custody_was, "Serving" | "Loading") && custody_is == "Idle" {
        let tainted = is.machine.state_names().0 != "Clean";
        let how =
            if tainted { "gives everything of this life up" } else { "erases key and weights" };
        told.push(format!("the device {how}"));
    }
    match moment.action {
        Action::Use if is.using.is_some() => told.push("the device admits it".to_owned()),
        Action::Use => told.push("the device refuses".to_owned()),
        Action::Emit => {
            let left = moment.after.output_left();
            told.push(if left { "it leaves" } else { "it is held back" }.to_owned());
        }
        _ => {}
    }
    let (life_was, life_is) = (was.machine.incarnation(), is.machine.incarnation());
    if life_was.is_none() && life_is.is_some() {
        told.push("the device calls itself clean".to_owned());
    }
    told
}

fn changes_of_custodians(moment: &Moment<'_>) -> Vec<String> {
    let mut told = Vec::new();
    if let Action::Submit(id) = moment.action
        && moment.config.liars.contains(&id)
    {
        told.push(format!("custodian {id} acknowledges and does nothing"));
    }
    if moment.before.since_effective.is_none() && moment.after.since_effective.is_some() {
        let count = moment.after.operator.acks.count();
        told.push(format!(
            "the operators call the order effective, with {count} acknowledgement{}",
            if count == 1 { "" } else { "s" }
        ));
    }
    for (id, node) in &moment.after.custodians {
        let before = moment.before.custodians.get(id).and_then(|node| node.machine.as_ref());
        let standing = node.machine.as_ref().map(|machine| machine.standing());
        if before.map(|machine| machine.standing()) != standing
            && matches!(moment.action, Action::Restart(_) | Action::RollBack(_))
            && let Some(standing) = standing
        {
            told.push(format!("it is {}", standing.state_name().to_lowercase()));
        }
    }
    told
}

/// "custodian 1", "custodians 1, 2 and 3".
fn custodians(ids: &[u8]) -> String {
    let Some((last, others)) = ids.split_last() else { return String::new() };
    if others.is_empty() {
        return format!("custodian {last}");
    }
    let others: Vec<String> = others.iter().map(u8::to_string).collect();
    format!("custodians {} and {last}", others.join(", "))
}
