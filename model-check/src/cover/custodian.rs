//! Rows of a custodian's tables: verifier, granter, leases, orders, standing.

use std::collections::BTreeSet;

use split_custody_protocol::effect::{self, CustodianAnswer, CustodianEffect, Output};
use split_custody_protocol::ids::{ChannelId, Ticket};
use split_custody_protocol::role::CustodianInput;
use split_custody_protocol::wire::lease::RenewalAnswer;
use split_custody_protocol::wire::message::Message;

use super::{Change, Reader, Row, refusal, row};
use crate::world::{CustodianView, Drawn, Heard};

type CustodianHeard = Heard<CustodianInput, CustodianEffect, CustodianView>;

impl Reader {
    pub(super) fn custodian_rows(
        &mut self,
        id: u8,
        drawn: &Drawn,
        heard: &CustodianHeard,
        rows: &mut BTreeSet<Row>,
    ) {
        self.lapses(id, drawn, rows);
        if let Some(rejection) = &heard.rejection {
            rows.insert(refusal("custodian", rejection));
        }
        verifier_rows(heard, rows);
        self.granter_rows(id, heard, rows);
        self.lease_rows(id, drawn, heard, rows);
        order_rows(drawn, heard, rows);
        standing_rows(heard, rows);
        for output in &heard.outputs {
            self.note_commit(id, output);
        }
    }

    fn note_commit(&mut self, id: u8, output: &Output<CustodianEffect>) {
        let Output::Effect { ticket, effect } = output else { return };
        let change = match effect {
            CustodianEffect::Commit(transaction) => match transaction.change {
                effect::Change::Grant(_) => Change::Grant,
                effect::Change::Renew { .. } => Change::Renewal,
                _ => Change::Other,
            },
            CustodianEffect::Reread { commit } => {
                self.commits.get(&(id, *commit)).copied().unwrap_or(Change::Other)
            }
            _ => Change::Other,
        };
        self.commits.insert((id, *ticket), change);
    }

    fn is_about_grant(&self, id: u8, ticket: Ticket) -> bool {
        self.commits.get(&(id, ticket)) == Some(&Change::Grant)
    }

    /// Leases lapse by themselves: between two turns.
    fn lapses(&mut self, id: u8, drawn: &Drawn, rows: &mut BTreeSet<Row>) {
        for (lease, _, state) in &drawn.leases {
            let last = self.leases.insert((id, *lease), state);
            if let Some(last) = last.filter(|last| *state == "Dead" && *last != "Dead") {
                rows.insert(row("lease-custodian", last, "Lapsed"));
            }
        }
    }

    fn granter_rows(&self, id: u8, heard: &CustodianHeard, rows: &mut BTreeSet<Row>) {
        for (channel, _, before) in &heard.before.connections {
            let Some(before) = *before else { continue };
            let after = granter_of(&heard.after, *channel);
            let name = match &heard.input {
                CustodianInput::Done { ticket, answer: CustodianAnswer::Unknown }
                    if before == "Committing" && self.is_about_grant(id, *ticket) =>
                {
                    "Unknown"
                }
                _ if Some(before) == after => continue,
                CustodianInput::Done { answer, .. } => match answer {
                    CustodianAnswer::Committed(_) => "Committed",
                    CustodianAnswer::Fenced => "Fenced",
                    CustodianAnswer::Released { .. } => "Released",
                    CustodianAnswer::HsmFailed => "HsmFailed",
                    _ => continue,
                },
                CustodianInput::Received { .. } if after == Some("Closed") => "Cancelled",
                _ => continue,
            };
            rows.insert(row("granter", before, name));
        }
    }

    fn lease_rows(&self, id: u8, drawn: &Drawn, heard: &CustodianHeard, rows: &mut BTreeSet<Row>) {
        match &heard.input {
            // A newer lease ends every other of the device.
            CustodianInput::Done { ticket, answer: CustodianAnswer::Committed(_) }
                if self.is_about_grant(id, *ticket) =>
            {
                for (_, _, state) in &drawn.leases {
                    rows.insert(row("lease-custodian", state, "Superseded"));
                }
            }
            CustodianInput::Received { frame, .. } if heard.rejection.is_none() => {
                let Ok(Message::Renew(renew)) = Message::from_frame(frame) else { return };
                let of = drawn.leases.iter().find(|(lease, ..)| *lease == renew.lease);
                let Some((_, counter, state)) = of else { return };
                let name = if renew.counter == *counter {
                    "Renew(last)"
                } else if is_denied(state, heard) {
                    "Renew(denied)"
                } else {
                    "Renew(next)"
                };
                rows.insert(row("lease-custodian", state, name));
            }
            _ => {}
        }
    }
}

fn granter_of(view: &CustodianView, channel: ChannelId) -> Option<&'static str> {
    view.connections.iter().find(|(id, ..)| *id == channel).and_then(|(.., granter)| *granter)
}

/// Whether policy or orders deny a renewal, whatever became of the lease before.
fn is_denied(state: &str, heard: &CustodianHeard) -> bool {
    let said_ended = heard.outputs.iter().any(|output| match output {
        Output::Transmit { frame, .. } => match Message::from_frame(frame) {
            Ok(Message::Renewal(renewal)) => renewal.answer == RenewalAnswer::Ended,
            _ => false,
        },
        _ => false,
    });
    let refused = heard.before.orders > 0 || heard.before.standing != "Serving";
    if state == "Live" { said_ended } else { refused }
}

fn verifier_rows(heard: &CustodianHeard, rows: &mut BTreeSet<Row>) {
    for (channel, before, _) in &heard.before.connections {
        let after = heard.after.connections.iter().find(|(id, ..)| id == channel);
        let Some((_, after, _)) = after.filter(|(_, after, _)| after != before) else { continue };
        let name = match &heard.input {
            CustodianInput::Timeout if *after == "Closed" => "Timeout",
            CustodianInput::Done { answer: CustodianAnswer::Rejected, .. } => "Rejected",
            CustodianInput::Done { answer: CustodianAnswer::Appraised(_), .. }
                if *after == "Proved" =>
            {
                "Appraised"
            }
            _ if heard.rejection.is_some() => continue,
            CustodianInput::Done { answer: CustodianAnswer::Exported(_), .. } => "Exported",
            CustodianInput::Done { answer: CustodianAnswer::ExportFailed, .. } => "ExportFailed",
            CustodianInput::Received { frame, .. } => match Message::from_frame(frame) {
                Ok(Message::Hello(_)) => "Hello",
                Ok(Message::Request(_)) => "Request",
                _ => continue,
            },
            _ => continue,
        };
        rows.insert(row("verifier", before, name));
    }
}

fn order_rows(drawn: &Drawn, heard: &CustodianHeard, rows: &mut BTreeSet<Row>) {
    let (before, after) = (heard.before.order, heard.after.order);
    let received = matches!(heard.input, CustodianInput::Received { .. });
    match (before, after) {
        (None, Some(_)) if received => {
            rows.insert(row("order", "Absent", "Received"));
            for (_, _, state) in &drawn.leases {
                rows.insert(row("lease-custodian", state, "Revoked"));
            }
        }
        (Some(state), after) if after != Some(state) => {
            let name = match state {
                "Draining" => "Committed",
                "Anchoring" => "Anchored",
                "Destroying" => "Destroyed",
                "Acknowledging" => "Signed",
                _ => return,
            };
            let signed = matches!(
                heard.input,
                CustodianInput::Done { answer: CustodianAnswer::Signed(_), .. }
            );
            // An order that failed leaves its state too.
            if name != "Signed" && after.is_some() || signed {
                rows.insert(row("order", state, name));
            }
        }
        _ => {}
    }
}

fn standing_rows(heard: &CustodianHeard, rows: &mut BTreeSet<Row>) {
    let (before, after) = (heard.before.standing, heard.after.standing);
    let fenced = heard.after.order.is_none()
        && matches!(heard.input, CustodianInput::Done { answer: CustodianAnswer::Fenced, .. });
    let name = match (before, after) {
        _ if heard.input == CustodianInput::Booted => return, // read back, not stepped
        ("Unprovisioned", "Recovering") => "Provisioned",
        ("Recovering", "Activating") => "Activate",
        ("Activating", "Serving") => "Anchored",
        ("Activating" | "Serving", "Recovering") => "Fenced",
        ("Recovering", "Recovering") if fenced && heard.before.order == Some("Draining") => {
            "Fenced"
        }
        _ => return,
    };
    rows.insert(row("standing", before, name));
}
