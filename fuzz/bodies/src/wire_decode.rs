//! Any bytes, as every message and as every object that is signed or hashed.
//!
//! Chapter 10. What decodes has one encoding, and the peak of allocation stays within a small
//! multiple of the input [WIRE-1] [WIRE-2]; the slow reference of the specification accepts exactly
//! what the protocol accepts, payloads of signed objects included [WIRE-3] [WIRE-4].
//! It does not verify signatures.

use split_custody_protocol::wire::audit::Leaf;
use split_custody_protocol::wire::evidence::Evidence;
use split_custody_protocol::wire::grant::GrantStatement;
use split_custody_protocol::wire::manifest::{Deployment, Manifest, Table};
use split_custody_protocol::wire::message::Wire;
use split_custody_protocol::wire::order::{Acknowledgement, DeadStatement, Order};
use split_custody_protocol::wire::standing::{Activation, ProvisionStatement};
use split_custody_protocol::wire::{Message, Signed, decode, encode};
use split_custody_spec::reference::{self, Shape};

use crate::allocation;

/// What a decoder gave for accepted bytes: their encoding again.
pub type Reencoded = Option<Vec<u8>>;

/// The body.
pub fn run(input: &[u8]) {
    check("message", input, reference::open_frame(input).is_ok(), whole_message);
    let value = reference::decode(input);
    for (name, shape, decoder) in objects() {
        let fits = value.as_ref().is_ok_and(|value| reference::fits(value, shape).is_ok());
        check(name, input, fits, decoder);
    }
}

/// The oracle: one encoding, bounded allocation, and the reference's verdict.
pub fn check(name: &str, input: &[u8], accepted: bool, decoder: impl Fn(&[u8]) -> Reencoded) {
    let (decoded, peak) = allocation::peak(|| decoder(input));
    assert!(
        peak <= TIMES * input.len() + CONSTANT,
        "{name}: {} bytes made it hold {peak} [WIRE-1]",
        input.len()
    );
    if let Some(again) = &decoded {
        assert!(again == input, "{name}: accepted a second encoding [WIRE-2]");
    }
    assert_eq!(decoded.is_some(), accepted, "{name}: the reference disagrees");
}

/// A message with every payload in it, as the reference sees one.
pub fn whole_message(input: &[u8]) -> Reencoded {
    let message = Message::from_frame(input).ok()?;
    payloads_decode(&message).then(|| message.to_frame())
}

/// Whether each signed object in a message holds an object of its kind.
pub fn payloads_decode(message: &Message) -> bool {
    fn is<T: Wire>(signed: &Signed) -> bool {
        signed.payload::<T>().is_ok()
    }
    match message {
        Message::Grant(grant) => is::<GrantStatement>(&grant.statement),
        Message::Submit(submit) => submit.approvals.iter().all(is::<Order>),
        Message::Notice(notice) => notice.approvals.iter().all(is::<Order>),
        Message::Acknowledged(said) => is::<Acknowledgement>(&said.statement),
        Message::Dead(said) => is::<DeadStatement>(&said.statement),
        Message::Activate(activate) => activate.approvals.iter().all(is::<Activation>),
        Message::Provision(provision) => {
            is::<ProvisionStatement>(&provision.statement)
                && is::<Manifest>(&provision.manifest)
                && is::<Deployment>(&provision.deployment)
        }
        _ => true,
    }
}

type Object = (&'static str, &'static Shape, fn(&[u8]) -> Reencoded);

fn objects() -> [Object; 11] {
    [
        ("grant", payload_shape("grant"), object::<GrantStatement>),
        ("acknowledgement", payload_shape("acknowledgement"), object::<Acknowledgement>),
        ("dead", payload_shape("dead"), object::<DeadStatement>),
        ("order", payload_shape("order"), object::<Order>),
        ("activation", payload_shape("activation"), object::<Activation>),
        ("provision", payload_shape("provision"), object::<ProvisionStatement>),
        ("manifest", &reference::MANIFEST, object::<Manifest>),
        ("deployment", &reference::DEPLOYMENT, object::<Deployment>),
        ("table", &reference::TABLE, object::<Table>),
        ("leaf", &reference::LEAF, object::<Leaf>),
        ("evidence", evidence_shape(), object::<Evidence>),
    ]
}

fn object<T: Wire>(input: &[u8]) -> Reencoded {
    decode::<T>(input, Message::CAP).ok().map(|value| encode(&value))
}

/// The shape that the reference gives the payload of an object, wherever it occurs.
fn payload_shape(object: &str) -> &'static Shape {
    let messages: &'static [(&str, Shape)] = const { &reference::MESSAGES };
    let found = messages.iter().find_map(|(_, shape)| signed_within(shape, object));
    found.expect("every signed object occurs in a message")
}

fn signed_within(shape: &'static Shape, object: &str) -> Option<&'static Shape> {
    match shape {
        Shape::Signed(name, payload) if *name == object => Some(payload),
        Shape::List(_, _, item) => signed_within(item, object),
        Shape::Map(fields) => fields.iter().find_map(|(_, field)| signed_within(field, object)),
        _ => None,
    }
}

fn evidence_shape() -> &'static Shape {
    let messages: &'static [(&str, Shape)] = const { &reference::MESSAGES };
    let request = messages.iter().find(|(name, _)| *name == "request");
    let Some((_, Shape::Map(fields))) = request else { unreachable!("a request is a map") };
    let evidence = fields.iter().find(|(name, _)| *name == "evidence");
    &evidence.expect("a request carries Evidence").1
}

/// Allocation may be this multiple of the input: the value, and its encoding as a `Vec` grows.
const TIMES: usize = 8;
/// And this much more, for the least capacity of each growing list.
const CONSTANT: usize = 4096;
