//! Approvals that an adversary can put together: its own signatures, and those that it saw.
//!
//! Where operators' keys were stolen it signs with them, once or twice over, and lays what it saw
//! beside what it signed: an approval of another order, or one of the two that an order takes.

use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::encode;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::order::{Approvals, Submit, Verb};
use split_custody_protocol::wire::signed::{ObjectKind, Signed};
use split_custody_protocol::wire::standing::{Activate, Activation, Status};

use super::knowledge::Knowledge;
use super::template::signed;
use crate::symbolic::Principal;
use crate::world::{Config, DEPLOYMENT, SET};

/// Orders about the device that too few with authority signed.
pub(super) fn orders(config: &Config, known: &Knowledge) -> Vec<Vec<u8>> {
    let next = u64::from(config.bounds.readmitted.is_on());
    let payload = |(verb, serial)| config.setup.order_payload(verb, serial);
    let payloads = [(Verb::Revoke, next), (Verb::Admit, next + 1)].map(payload);
    let seen: Vec<Approvals> =
        known.frames.iter().filter_map(|frame| submitted(&frame.bytes())).collect();
    let frame = |approvals| Message::Submit(Submit { approvals }).to_frame();
    of_kind(config, ObjectKind::Order, &payloads, &seen).into_iter().map(frame).collect()
}

/// Activations of what custodians said of themselves, that too few with authority signed.
pub(super) fn activations(config: &Config, known: &Knowledge) -> Vec<Vec<u8>> {
    let payload = |status: &Status| {
        encode(&Activation {
            deployment: DEPLOYMENT,
            custodian: status.custodian,
            set: SET,
            manifest: *config.setup.known_manifest().digest(),
            nonce: status.nonce,
            orders: status.orders.clone(),
        })
    };
    let payloads: Vec<Vec<u8>> = known.statuses.iter().map(payload).collect();
    let seen: Vec<Approvals> =
        known.frames.iter().filter_map(|frame| activated(&frame.bytes())).collect();
    let frame = |approvals| Message::Activate(Activate { approvals }).to_frame();
    of_kind(config, ObjectKind::Activation, &payloads, &seen).into_iter().map(frame).collect()
}

/// Whoever has no key of an operator signs with its own.
fn of_kind(
    config: &Config,
    kind: ObjectKind,
    payloads: &[Vec<u8>],
    seen: &[Approvals],
) -> Vec<Approvals> {
    let keys = config.stolen_operators();
    let by = |who: Principal, payload: &[u8]| signed(who, kind, payload.to_vec());
    let mut all: Vec<Vec<Signed>> = Vec::new();
    let Some(first) = keys.first() else {
        all.extend(payloads.iter().map(|payload| vec![by(Principal::Stranger, payload)]));
        return all.into_iter().filter_map(List::new).collect();
    };
    for payload in payloads {
        let own = by(*first, payload);
        all.push(keys.iter().map(|key| by(*key, payload)).collect());
        all.push(vec![own.clone(), own.clone()]);
        all.push(vec![own.clone(), by(Principal::Stranger, payload)]);
        for approval in seen.iter().flat_map(|approvals| approvals.iter()) {
            all.push(vec![own.clone(), approval.clone()]);
            all.push(vec![approval.clone(), own.clone()]);
        }
    }
    for approval in seen.iter().flat_map(|approvals| approvals.iter()) {
        all.push(vec![approval.clone()]);
        all.push(vec![approval.clone(), approval.clone()]);
        all.push(vec![approval.clone(), by(*first, approval.payload_bytes())]);
    }
    all.into_iter().filter_map(List::new).collect()
}

fn submitted(frame: &[u8]) -> Option<Approvals> {
    match Message::from_frame(frame) {
        Ok(Message::Submit(submit)) => Some(submit.approvals),
        _ => None,
    }
}

fn activated(frame: &[u8]) -> Option<Approvals> {
    match Message::from_frame(frame) {
        Ok(Message::Activate(activate)) => Some(activate.approvals),
        _ => None,
    }
}
