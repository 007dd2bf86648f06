//! What the event log says of the protocol's values: public parts, by value or by digest.
//!
//! All chapters. No exporter, key, share or random draw passes through here in the clear.

use ring::digest;
use split_custody_protocol::effect::{
    Change, CustodianAnswer, CustodianEffect, DeviceAnswer, DeviceEffect, Output, Verdict,
};
use split_custody_protocol::ids::{ChannelId, Ticket};
use split_custody_protocol::suite::{Exporter, Label, LeafKey};
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::{self, MessageType, Signed};

use crate::machine::Machine;
use crate::trace_types as trace;
use crate::trace_types::Hex;

pub(crate) fn output<M: Machine>(output: &Output<M::Effect>) -> trace::Output {
    match output {
        Output::Transmit { channel, frame } => {
            trace::Output::Transmit { channel: channel.value(), frame: self::frame(frame) }
        }
        Output::Close { channel } => trace::Output::Close { channel: channel.value() },
        Output::Effect { ticket, effect } => {
            trace::Output::Effect { ticket: ticket.value(), effect: M::describe_effect(effect) }
        }
        Output::Dial { custodian } => trace::Output::Dial { custodian: custodian.value() },
        Output::Report(report) => trace::Output::Report { text: format!("{report:?}") },
    }
}

pub(crate) fn opened(
    channel: ChannelId,
    custodian: Option<u8>,
    own_leaf: &LeafKey,
    peer_leaf: &LeafKey,
    chain: &[LeafKey],
) -> trace::Input {
    trace::Input::ChannelOpened {
        channel: channel.value(),
        custodian,
        own_leaf: own_leaf.as_bytes().into(),
        peer_leaf: peer_leaf.as_bytes().into(),
        chain: chain.iter().map(|leaf| leaf.as_bytes().into()).collect(),
        connection: None,
    }
}

/// The opening of a channel, with the name of its connection: machines know no connections.
pub(crate) fn named(opened: trace::Input, name: Option<Exporter>) -> trace::Input {
    match opened {
        trace::Input::ChannelOpened { channel, custodian, own_leaf, peer_leaf, chain, .. } => {
            let connection = name.map(|name| sha256(name.as_bytes()));
            trace::Input::ChannelOpened {
                channel,
                custodian,
                own_leaf,
                peer_leaf,
                chain,
                connection,
            }
        }
        other => other,
    }
}

pub(crate) fn received(channel: ChannelId, frame: &[u8]) -> trace::Input {
    trace::Input::Received { channel: channel.value(), frame: self::frame(frame) }
}

pub(crate) fn done(ticket: Ticket, answer: trace::Answer) -> trace::Input {
    trace::Input::Done { ticket: ticket.value(), answer }
}

pub(crate) fn acquire(manifest: &Signed, deployment: &Signed) -> trace::Input {
    trace::Input::Acquire {
        manifest: labelled(Label::Manifest, manifest.payload_bytes()),
        deployment: labelled(Label::Manifest, deployment.payload_bytes()),
    }
}

pub(crate) fn custodian_effect(effect: &CustodianEffect) -> trace::Effect {
    use CustodianEffect as E;
    match effect {
        E::Export { channel, context } => export(*channel, context.as_bytes()),
        E::Appraise { evidence } => trace::Effect::Appraise { evidence: self::evidence(evidence) },
        E::Commit(transaction) => trace::Effect::Commit {
            generation: transaction.generation.value(),
            epoch: transaction.epoch.value(),
            change: change(&transaction.change),
            leaf: labelled(Label::Leaf, &wire::encode(&transaction.leaf)),
        },
        E::Reread { commit } => trace::Effect::Reread { commit: commit.value() },
        E::Release { set, index, suite, to, context, draft } => trace::Effect::Release {
            set: set.as_bytes().into(),
            index: index.value(),
            suite: suite.value(),
            to: to.as_bytes().into(),
            context: context.as_bytes().into(),
            draft: sha256(draft.as_bytes()),
        },
        E::Sign { message } => trace::Effect::Sign { message: sha256(message) },
        E::Anchor(anchor) => trace::Effect::Anchor {
            generation: anchor.generation.value(),
            epoch: anchor.epoch.value(),
            orders: anchor.orders.iter().map(|order| order.as_bytes().into()).collect(),
        },
        E::DestroyHandles => trace::Effect::DestroyHandles,
    }
}

fn change(change: &Change) -> trace::Change {
    match change {
        Change::Grant(lease) => trace::Change::Grant {
            lease: lease.lease.as_bytes().into(),
            device: lease.device.as_bytes().into(),
            incarnation: lease.incarnation.as_bytes().into(),
            manifest: lease.manifest.as_bytes().into(),
            device_leaf: lease.device_leaf.as_bytes().into(),
        },
        Change::Renew { lease, counter } => {
            trace::Change::Renew { lease: lease.as_bytes().into(), counter: counter.value() }
        }
        Change::Order { digest, epoch, .. } => {
            trace::Change::Order { order: digest.as_bytes().into(), epoch: epoch.value() }
        }
        Change::Provision { provision } => {
            trace::Change::Provision { provision: sha256(provision) }
        }
        Change::Activate { manifest } => {
            trace::Change::Activate { manifest: manifest.as_bytes().into() }
        }
    }
}

pub(crate) fn custodian_answer(answer: &CustodianAnswer) -> trace::Answer {
    use CustodianAnswer as A;
    match answer {
        A::Exported(exporter) => trace::Answer::Exported { exporter: sha256(exporter.as_bytes()) },
        A::ExportFailed => trace::Answer::ExportFailed,
        A::Appraised(verdict) => appraised(verdict),
        A::Rejected => trace::Answer::Rejected,
        A::Committed(index) => trace::Answer::Committed { index: index.value() },
        A::Unknown => trace::Answer::Unknown,
        A::Fenced => trace::Answer::Fenced,
        A::Released { sealed, signature } => trace::Answer::Released {
            sealed: sha256(sealed.as_bytes()),
            signature: sha256(signature.as_bytes()),
        },
        A::Signed(signature) => trace::Answer::Signed { signature: sha256(signature.as_bytes()) },
        A::HsmFailed => trace::Answer::HsmFailed,
        A::Anchored => trace::Answer::Anchored,
        A::HandlesDestroyed => trace::Answer::HandlesDestroyed,
    }
}

fn appraised(verdict: &Verdict) -> trace::Answer {
    trace::Answer::Appraised {
        report_nonce: verdict.report_nonce.as_bytes().into(),
        report_data: verdict.report_data.as_bytes().into(),
        device: verdict.device.as_bytes().into(),
        measurements: verdict.measurements.iter().map(|m| m.as_bytes().into()).collect(),
        mode: verdict.mode,
    }
}

pub(crate) fn device_effect(effect: &DeviceEffect) -> trace::Effect {
    use DeviceEffect as E;
    match effect {
        E::Export { channel, context } => export(*channel, context.as_bytes()),
        E::CollectEvidence { session, gpu, attempt } => trace::Effect::CollectEvidence {
            session: session.as_bytes().into(),
            gpu: gpu.as_bytes().into(),
            attempt: attempt.value(),
        },
        E::Load { dek } => trace::Effect::Load { dek: dek.value() },
        E::Erase { secrets } => trace::Effect::Erase {
            keys: secrets.keys.iter().map(|key| key.value()).collect(),
            shares: secrets.shares.iter().map(|share| share.value()).collect(),
            dek: secrets.dek.map(|dek| dek.value()),
        },
        E::Zeroise => trace::Effect::Zeroise,
        E::Scrub => trace::Effect::Scrub,
        E::Plant => trace::Effect::Plant,
    }
}

pub(crate) fn device_answer(answer: &DeviceAnswer) -> trace::Answer {
    use DeviceAnswer as A;
    match answer {
        A::Exported(exporter) => trace::Answer::Exported { exporter: sha256(exporter.as_bytes()) },
        A::ExportFailed => trace::Answer::ExportFailed,
        A::EvidenceCollected(evidence) => {
            trace::Answer::EvidenceCollected { evidence: self::evidence(evidence) }
        }
        A::EvidenceFailed => trace::Answer::EvidenceFailed,
        A::Loaded => trace::Answer::Loaded,
        A::LoadFailed => trace::Answer::LoadFailed,
        A::Erased => trace::Answer::Erased,
        A::Zeroised => trace::Answer::Zeroised,
        A::Scrubbed => trace::Answer::Scrubbed,
        A::ScrubFailed => trace::Answer::ScrubFailed,
        A::Planted(incarnation) => {
            trace::Answer::Planted { incarnation: incarnation.as_bytes().into() }
        }
        A::PlantFailed => trace::Answer::PlantFailed,
    }
}

/// Type and digest; the type is read from the first bytes, which an honest frame has in one form.
pub(crate) fn frame(frame: &[u8]) -> trace::Frame {
    let number = match frame {
        [0x83, 0x01, number @ 0..=0x17, ..] => Some(u16::from(*number)),
        [0x83, 0x01, 0x18, number, ..] => Some(u16::from(*number)),
        _ => None,
    };
    let known = number.and_then(|n| MessageType::ALL.iter().find(|kind| **kind as u16 == n));
    let message = known.map_or("unknown", |kind| kind.name()).to_owned();
    trace::Frame { message, digest: sha256(frame) }
}

fn evidence(evidence: &Evidence) -> trace::Evidence {
    trace::Evidence {
        evidence: evidence.kind.value(),
        gpu: sha256(evidence.gpu.as_bytes()),
        cpu: sha256(evidence.cpu.as_bytes()),
    }
}

fn export(channel: ChannelId, context: &[u8]) -> trace::Effect {
    trace::Effect::Export { channel: channel.value(), context: context.into() }
}

fn sha256(bytes: &[u8]) -> Hex {
    digest::digest(&digest::SHA256, bytes).as_ref().into()
}

/// `H(label, field)` as messages carry it, so that a log and a frame agree.
fn labelled(label: Label, field: &[u8]) -> Hex {
    let mut hash = digest::Context::new(&digest::SHA256);
    for part in [label.text().as_bytes(), field] {
        // INVARIANT: labels are constants and payloads have caps far below 4 GiB.
        let length = u32::try_from(part.len()).expect("a field below 4 GiB");
        hash.update(&length.to_be_bytes());
        hash.update(part);
    }
    hash.finish().as_ref().into()
}

#[cfg(test)]
mod tests {
    use split_custody_protocol::ids::CorrelationId;
    use split_custody_protocol::suite::{Digest, Exporter};
    use split_custody_protocol::wire::grant::Refused;
    use split_custody_protocol::wire::message::{Message, frame_of};

    use super::*;

    #[test]
    fn aud_7_exporter_appears_by_digest_alone() {
        let exporter = Exporter::new([0xc3; 32]);
        let both = [
            device_answer(&DeviceAnswer::Exported(exporter)),
            custodian_answer(&CustodianAnswer::Exported(exporter)),
        ];
        assert_eq!(both[0], both[1]);
        let line = serde_json::to_string(&both).expect("JSON");
        assert!(!line.contains("c3c3c3c3"), "{line}");
        assert!(line.contains(&sha256(&[0xc3; 32]).to_string()));
    }

    #[test]
    fn wire_6_frame_is_named_by_its_type_and_bytes() {
        let sent = frame_of(Refused { correlation: CorrelationId::new([7; 16]) });
        let named = frame(&sent);
        assert_eq!(named.message, "Refused");
        assert_eq!(named.digest, sha256(&sent));
        assert!(matches!(Message::from_frame(&sent), Ok(Message::Refused(_))));
    }

    #[test]
    fn wire_3_frame_without_a_known_type_is_unknown() {
        for bytes in [&[][..], &[0x83], &[0x83, 2, 1], &[0x83, 1, 0], &[0x83, 1, 0x18, 0xff]] {
            assert_eq!(frame(bytes).message, "unknown", "{bytes:?}");
        }
    }

    #[test]
    fn wire_5_labelled_digest_is_the_protocol_s() {
        let hello = labelled(Label::Hello, b"frame");
        let by_hand = [
            &u32::try_from(Label::Hello.text().len()).expect("short").to_be_bytes()[..],
            Label::Hello.text().as_bytes(),
            &5u32.to_be_bytes(),
            b"frame",
        ];
        assert_eq!(hello, sha256(&by_hand.concat()));
        assert_eq!(hello.0.len(), Digest::SIZE);
    }

    #[test]
    fn aud_7_entry_reads_back_as_it_was_written() {
        let entry = trace::Entry {
            role: "device".into(),
            sequence: 3,
            now: 17,
            input: received(ChannelId::new(2), b"no frame"),
            rejected: Some("Undecodable".into()),
            outputs: vec![trace::Output::Dial { custodian: 1 }],
        };
        let line = serde_json::to_string(&entry).expect("JSON");
        assert_eq!(serde_json::from_str::<trace::Entry>(&line).expect("an entry"), entry);
    }
}
