//! Rows of the device's tables: attester, requester, custody, leases, guard.

use std::collections::BTreeSet;

use split_custody_protocol::effect::{DeviceAnswer, DeviceEffect, Output};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::role::DeviceInput;
use split_custody_protocol::wire::lease::RenewalAnswer;
use split_custody_protocol::wire::message::Message;

use super::{Reader, Row, refusal, row};
use crate::world::{Asked, DeviceView, Heard};

type DeviceHeard = Heard<Asked, DeviceEffect, DeviceView>;

impl Reader {
    pub(super) fn device_rows(&mut self, heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
        self.terms_over(&heard.before, rows);
        if let Some(rejection) = &heard.rejection {
            rows.insert(refusal("device", rejection));
        } else if let Asked::Input(input) = &heard.input {
            if let DeviceInput::ChannelOpened { channel, custodian, .. } = input {
                self.channels.insert(*channel, *custodian);
            }
            self.guard_rows(input, heard, rows);
            self.exchange_rows(input, heard, rows);
            self.answer_rows(input, heard, rows);
        }
        custody_row(heard, rows);
        sent_rows(heard, rows);
        self.device = Some(heard.after.clone());
    }

    /// Terms end by themselves: between two turns.
    fn terms_over(&self, now: &DeviceView, rows: &mut BTreeSet<Row>) {
        let Some(last) = &self.device else { return };
        for (custodian, counter, was) in &last.leases {
            let over = now.leases.contains(&(*custodian, *counter, "Over"));
            if over && *was != "Over" {
                rows.insert(row("lease-device", was, "TermOver"));
            }
        }
    }

    fn guard_rows(&self, input: &DeviceInput, heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
        let (before, after) = (heard.before.guard, heard.after.guard);
        let name = match input {
            DeviceInput::PoweredOn => "PoweredOn",
            DeviceInput::HostRead if self.on_host_read == OnHostRead::Reset => "HostRead(Reset)",
            DeviceInput::HostRead => "HostRead(Block)",
            DeviceInput::Tampered => "Tampered",
            DeviceInput::Resumed => "Resumed",
            // An answer of a life that is over changes nothing.
            DeviceInput::Done { .. } if before == after => return,
            DeviceInput::Done { answer: DeviceAnswer::Zeroised, .. } => "Zeroised",
            DeviceInput::Done { answer: DeviceAnswer::Scrubbed, .. } => "Scrubbed",
            DeviceInput::Done { answer: DeviceAnswer::ScrubFailed, .. } => "ScrubFailed",
            DeviceInput::Done { answer: DeviceAnswer::Planted(_), .. } => "Planted",
            DeviceInput::Done { answer: DeviceAnswer::PlantFailed, .. } => "PlantFailed",
            _ => return,
        };
        rows.insert(row("guard", before, name));
    }

    fn exchange_rows(&self, input: &DeviceInput, heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
        for (custodian, before) in &heard.before.exchanges {
            if !self.moved(*custodian, before, input, heard) {
                continue;
            }
            let name = match input {
                DeviceInput::ChannelOpened { .. } => "ChannelOpened",
                DeviceInput::ChannelClosed { .. } => "ChannelClosed",
                DeviceInput::Done { answer: DeviceAnswer::Exported(_), .. } => "Exported",
                DeviceInput::Done { answer: DeviceAnswer::ExportFailed, .. } => "ExportFailed",
                DeviceInput::Done { answer: DeviceAnswer::EvidenceCollected(_), .. } => "Evidence",
                DeviceInput::Received { frame, .. } => match Message::from_frame(frame) {
                    Ok(Message::Challenge(_)) => "Challenge",
                    // In later states its role ends the exchange.
                    Ok(Message::Refused(_)) if *before == "AwaitChallenge" => "Refused",
                    _ => continue,
                },
                _ => continue,
            };
            rows.insert(row("attester", before, name));
        }
    }

    /// Whether an exchange left its state. One whose end was the end of the attempt is gone.
    fn moved(
        &self,
        custodian: CustodianId,
        before: &str,
        input: &DeviceInput,
        heard: &DeviceHeard,
    ) -> bool {
        match heard.after.exchanges.iter().find(|(id, _)| *id == custodian) {
            Some((_, after)) => *after != before,
            None => match input {
                DeviceInput::ChannelClosed { channel } => {
                    self.channels.get(channel) == Some(&custodian) && before != "Closed"
                }
                _ => false,
            },
        }
    }

    /// Answers to a request and to renewals.
    fn answer_rows(&self, input: &DeviceInput, heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
        let DeviceInput::Received { channel, frame } = input else { return };
        let Some(custodian) = self.channels.get(channel) else { return };
        match Message::from_frame(frame) {
            Ok(Message::Grant(_)) => {
                let leased = |view: &DeviceView| lease_of(view, *custodian).is_some();
                if !leased(&heard.before) && leased(&heard.after) {
                    rows.insert(row("requester", "AwaitGrant", "Grant"));
                }
            }
            Ok(Message::Refused(_)) => {
                let awaited = heard.before.exchanges.contains(&(*custodian, "AwaitGrant"));
                if awaited && lease_of(&heard.before, *custodian).is_none() {
                    rows.insert(row("requester", "AwaitGrant", "Refused"));
                }
            }
            Ok(Message::Renewal(renewal)) => {
                let name = match renewal.answer {
                    RenewalAnswer::Renewed => "Renewed",
                    RenewalAnswer::Ended => "Ended",
                    RenewalAnswer::Retry => "Retry",
                };
                if let Some(state) = lease_of(&heard.before, *custodian) {
                    rows.insert(row("lease-device", state, name));
                }
            }
            _ => {}
        }
    }
}

fn lease_of(view: &DeviceView, custodian: CustodianId) -> Option<&'static str> {
    view.leases.iter().find(|(id, ..)| *id == custodian).map(|(_, _, state)| *state)
}

/// Custody moves on by what its parts have come to; the cause is told by both states and the input.
fn custody_row(heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
    let (before, after) = (heard.before.custody, heard.after.custody);
    if before == after {
        return;
    }
    let ended = heard.before.guard == "Clean" && heard.after.guard != "Clean";
    let input = match &heard.input {
        Asked::Input(input) => Some(input),
        Asked::Admit | Asked::Emit => None,
    };
    let done = |answer: &DeviceAnswer| matches!(input, Some(DeviceInput::Done { answer: a, .. }) if a == answer);
    let notice = || match input {
        Some(DeviceInput::Received { frame, .. }) => {
            matches!(Message::from_frame(frame), Ok(Message::Notice(_)))
        }
        _ => false,
    };
    let name = match (before, after) {
        (_, "Idle") if ended => "Tainted",
        ("Idle", _) => "Acquire",
        ("Gathering", "Attesting") => "EntriesComplete",
        ("Attesting", "Requesting") => "EvidenceCollected",
        ("Attesting", "Idle") if done(&DeviceAnswer::EvidenceFailed) => "EvidenceFailed",
        ("Gathering" | "Requesting", "Idle") => "TooFew",
        ("Requesting", "Loading") => "Combined",
        ("Loading", "Serving") => "Loaded",
        ("Loading", "Erasing") if done(&DeviceAnswer::LoadFailed) => "LoadFailed",
        ("Loading" | "Serving", "Erasing") if notice() => "Revoked",
        ("Loading" | "Serving", "Erasing") => "LeaseLost",
        ("Erasing", "Idle") => "Erased",
        _ => return,
    };
    rows.insert(row("custody", before, name));
}

/// Renewals that were sent: again, where the lease was renewing before.
fn sent_rows(heard: &DeviceHeard, rows: &mut BTreeSet<Row>) {
    let is_renew = |output: &&Output<DeviceEffect>| match output {
        Output::Transmit { frame, .. } => {
            matches!(Message::from_frame(frame), Ok(Message::Renew(_)))
        }
        _ => false,
    };
    let sent = heard.outputs.iter().filter(is_renew).count();
    let begun = heard.before.leases.iter().filter(|(id, _, state)| {
        *state == "Counting" && lease_of(&heard.after, *id) == Some("Renewing")
    });
    let begun = begun.count();
    if begun > 0 && sent > 0 {
        rows.insert(row("lease-device", "Counting", "RenewSent"));
    }
    let renewing = heard.before.leases.iter().any(|(_, _, state)| *state == "Renewing");
    if sent > begun && renewing {
        rows.insert(row("lease-device", "Renewing", "RenewSent"));
    }
}
