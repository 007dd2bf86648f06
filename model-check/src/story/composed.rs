//! What the intruder made, as a person would describe it.

use split_custody_protocol::wire::evidence::Request;
use split_custody_protocol::wire::message::Message;

use super::words::{article, custodian_of, name_of};
use crate::frame::FrameId;
use crate::intruder::oracle;
use crate::symbolic::{ADVERSARY_SECRET, Hardware, public_key, read_report};
use crate::world::{End, Peer, World};

/// The sentence for a message that the intruder sends.
pub fn sent(before: &World, channel: u64, to: End, frame: FrameId) -> String {
    let custodian = custodian_of(before, channel);
    let own = before.channels.get(&channel).is_some_and(|link| link.peer == Peer::Adversary);
    let (where_, whom) = match to {
        End::Device => ("In the custodian's place", "the device".to_owned()),
        End::Custodian if own => ("On its own channel", format!("custodian {custodian}")),
        End::Custodian => ("In the device's channel", format!("custodian {custodian}")),
    };
    let name = name_of(frame);
    if before.knows.contains(&frame) {
        return format!("{where_} the intruder sends {whom} {} that it saw", article(name));
    }
    match Message::from_frame(&frame.bytes()) {
        Ok(Message::Request(request)) => {
            format!("{where_} the intruder sends {whom} a Request {}", described(before, &request))
        }
        Ok(Message::Renew(renew)) => format!(
            "{where_} the intruder asks {whom} for renewal {} of the device's lease",
            renew.counter.value()
        ),
        Ok(Message::Grant(_)) => format!(
            "{where_} the intruder sends {whom} a Grant that it signed itself, with a share that it \
             made up"
        ),
        _ => format!("{where_} the intruder sends {whom} {} of its own making", article(name)),
    }
}

fn described(before: &World, request: &Request) -> String {
    let own = public_key(ADVERSARY_SECRET);
    let key = if request.device_key.as_bytes() == own.as_bytes() {
        "for a key of its own"
    } else {
        "for the device's key"
    };
    let gpu = report(before, "gpu", request.evidence.gpu.as_bytes());
    let cpu = report(before, "cpu", request.evidence.cpu.as_bytes());
    format!("{key}, with {gpu} and {cpu}")
}

fn report(before: &World, half: &'static str, bytes: &[u8]) -> &'static str {
    let seen = before.knows.iter().any(|frame| match Message::from_frame(&frame.bytes()) {
        Ok(Message::Request(request)) => {
            bytes == request.evidence.gpu.as_bytes() || bytes == request.evidence.cpu.as_bytes()
        }
        _ => false,
    });
    let hardware = oracle::silently(|| read_report(half, bytes)).map(|(hardware, _)| hardware);
    match (half, hardware) {
        ("gpu", _) if seen => "the GPU report that it saw",
        ("gpu", Some(Hardware::Adversary)) => "a report of its own GPU",
        ("gpu", Some(_)) => "a report that it had the enrolled GPU sign",
        ("cpu", _) if seen => "the CPU report that it saw",
        ("cpu", Some(Hardware::Altered)) => {
            "a CPU report that the enrolled machine made while it ran other code"
        }
        ("cpu", Some(_)) => "a CPU report of its own machine",
        ("cpu", None) if oracle::silently(|| read_report("gpu", bytes)).is_some() => {
            "a report that it had a GPU sign"
        }
        _ => "a report that no hardware made",
    }
}
