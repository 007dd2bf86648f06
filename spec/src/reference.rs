//! The slow truth: one file that encodes, decodes and hashes as the chapters say.
//!
//! Chapters 10, 15, 20, 30 and 40. Fast implementations and all files in `vectors/` are compared
//! with this one, so it is written to be read: no caching, no borrowing tricks, and no line shared
//! with any implementation. When two functions here agree with a chapter, the chapter is right.
//! It does not sign, seal or open; it computes the bytes that those operations work on.

use sha2::{Digest as _, Sha256};

/// A SHA-256 output.
pub type Hash = [u8; 32];

// ---------------------------------------------------------------------------------------------
// Chapter 10: deterministic CBOR, the restricted profile

/// Everything the profile can express. Maps have integer keys; nothing is negative or floating.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Value {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(Vec<(u64, Value)>),
}

/// Why bytes are not a message. The names appear in `vectors/wire.json`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refused {
    Truncated,
    TrailingBytes,
    NonMinimalInteger,
    IndefiniteLength,
    DuplicateKey,
    UnorderedKeys,
    KeyNotAnInteger,
    UnsupportedType,
    BadUtf8,
    TooDeep,
    FrameAboveCap,
    WrongVersion,
    UnknownType,
    WrongType,
    UnknownKey,
    MissingField,
    OutOfRange,
    WrongLength,
    WrongProtectedHeader,
}

impl Refused {
    /// The name in the vectors: `NonMinimalInteger` is `non-minimal-integer`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(letter.to_lowercase());
        }
        name
    }
}

/// The one encoding of a value. [WIRE-2]
pub fn encode(value: &Value) -> Vec<u8> {
    match value {
        Value::Uint(number) => head(0, *number),
        Value::Bytes(bytes) => [head(2, bytes.len() as u64), bytes.clone()].concat(),
        Value::Text(text) => [head(3, text.len() as u64), text.as_bytes().to_vec()].concat(),
        Value::Array(items) => {
            let mut out = head(4, items.len() as u64);
            items.iter().for_each(|item| out.extend(encode(item)));
            out
        }
        Value::Map(pairs) => {
            let mut out = head(5, pairs.len() as u64);
            for (key, item) in pairs {
                out.extend(head(0, *key));
                out.extend(encode(item));
            }
            out
        }
    }
}

/// Major type and argument, in as few bytes as can hold it.
fn head(major: u8, argument: u64) -> Vec<u8> {
    let major = major << 5;
    match argument {
        0..=23 => vec![major | argument as u8],
        24..=0xff => vec![major | 24, argument as u8],
        0x100..=0xffff => [vec![major | 25], (argument as u16).to_be_bytes().to_vec()].concat(),
        0x1_0000..=0xffff_ffff => {
            [vec![major | 26], (argument as u32).to_be_bytes().to_vec()].concat()
        }
        _ => [vec![major | 27], argument.to_be_bytes().to_vec()].concat(),
    }
}

/// The value of which `input` is the one encoding; everything else is refused. [WIRE-2]
pub fn decode(input: &[u8]) -> Result<Value, Refused> {
    let mut rest = input;
    let value = take_value(&mut rest, 0)?;
    match rest {
        [] => Ok(value),
        _ => Err(Refused::TrailingBytes),
    }
}

fn take_value(rest: &mut &[u8], depth: usize) -> Result<Value, Refused> {
    if depth > MAX_DEPTH {
        return Err(Refused::TooDeep);
    }
    let (major, argument) = take_head(rest)?;
    match major {
        0 => Ok(Value::Uint(argument)),
        2 => Ok(Value::Bytes(take(rest, argument)?.to_vec())),
        3 => String::from_utf8(take(rest, argument)?.to_vec())
            .map(Value::Text)
            .map_err(|_| Refused::BadUtf8),
        4 => {
            // No allocation by a claimed length: items are pushed as they are found. [WIRE-1]
            let mut items = Vec::new();
            for _ in 0..argument {
                items.push(take_value(rest, depth + 1)?);
            }
            Ok(Value::Array(items))
        }
        5 => take_map(rest, argument, depth),
        _ => Err(Refused::UnsupportedType), // negative integers, tags, floats, null, booleans
    }
}

fn take_map(rest: &mut &[u8], count: u64, depth: usize) -> Result<Value, Refused> {
    let mut pairs: Vec<(u64, Value)> = Vec::new();
    for _ in 0..count {
        let (major, key) = take_head(rest)?;
        if major != 0 {
            return Err(Refused::KeyNotAnInteger);
        }
        match pairs.last() {
            Some((last, _)) if *last == key => return Err(Refused::DuplicateKey),
            Some((last, _)) if *last > key => return Err(Refused::UnorderedKeys),
            _ => pairs.push((key, take_value(rest, depth + 1)?)),
        }
    }
    Ok(Value::Map(pairs))
}

fn take_head(rest: &mut &[u8]) -> Result<(u8, u64), Refused> {
    let first = take(rest, 1)?[0];
    let (major, short) = (first >> 5, first & 31);
    let (argument, least) = match short {
        0..=23 => return Ok((major, u64::from(short))),
        // A float or a simple value: its "argument" is not a length, so no rule of minimality.
        _ if major == 7 => return Err(Refused::UnsupportedType),
        24 => (take_number(rest, 1)?, 24),
        25 => (take_number(rest, 2)?, 0x100),
        26 => (take_number(rest, 4)?, 0x1_0000),
        27 => (take_number(rest, 8)?, 0x1_0000_0000),
        31 => return Err(Refused::IndefiniteLength),
        _ => return Err(Refused::UnsupportedType),
    };
    if argument < least {
        return Err(Refused::NonMinimalInteger);
    }
    Ok((major, argument))
}

fn take_number(rest: &mut &[u8], size: u64) -> Result<u64, Refused> {
    Ok(take(rest, size)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn take<'a>(rest: &mut &'a [u8], size: u64) -> Result<&'a [u8], Refused> {
    if size > rest.len() as u64 {
        return Err(Refused::Truncated);
    }
    let (taken, left) = rest.split_at(size as usize);
    *rest = left;
    Ok(taken)
}

/// Deeper than any message; a bound against bytes that only nest.
const MAX_DEPTH: usize = 8;

// ---------------------------------------------------------------------------------------------
// Chapter 10: shapes of messages and objects

/// What a place in a message may hold.
#[derive(Debug)]
pub enum Shape {
    /// Least and greatest.
    Uint(u64, u64),
    /// Shortest and longest.
    Bytes(usize, usize),
    /// Fewest and most, and what each is.
    List(usize, usize, &'static Shape),
    /// Field names; the key of a field is its place, counted from 1. All are mandatory.
    Map(&'static [(&'static str, Shape)]),
    /// A `COSE_Sign1` whose payload has this shape; the text is the object's name.
    Signed(&'static str, &'static Shape),
}
use Shape::{Bytes, List, Map, Signed, Uint};

const U8: Shape = Uint(0, 0xff);
const U16: Shape = Uint(0, 0xffff);
const U64: Shape = Uint(0, u64::MAX);
/// Custodian ids and share indices; that zero is neither is a rule of the manifest. [QRM-7]
const ID: Shape = U8;
const B16: Shape = Bytes(16, 16);
const B32: Shape = Bytes(32, 32);
const KEY: Shape = Bytes(65, 65);

const HELLO: Shape = Map(&[
    ("versions", List(1, 8, &U16)),
    ("suites", List(1, 16, &U16)),
    ("deployment", B16),
    ("weights", B16),
    ("weights-version", U64),
    ("device", B32),
]);
const CHALLENGE: Shape = Map(&[
    ("custodian", ID),
    ("generation", U64),
    ("nonce", B32),
    ("version", U16),
    ("suite", U16),
]);
const ENTRY: Shape = Map(&[("custodian", ID), ("digest", B32)]);
const EVIDENCE: Shape =
    Map(&[("kind", U16), ("gpu", Bytes(1, 524_288)), ("cpu", Bytes(1, 262_144))]);
const REQUEST: Shape = Map(&[
    ("manifest", B32),
    ("device", B32),
    ("incarnation", B32),
    ("entries", List(1, 255, &ENTRY)),
    ("device-key", Bytes(1, 133)),
    ("evidence", EVIDENCE),
]);
const TERMS: Shape = Map(&[("first", U64), ("term", U64), ("budget", U64), ("max-age", U64)]);
const GRANT_STATEMENT: Shape = Map(&[
    ("session", B32),
    ("th2", B32),
    ("suite", U16),
    ("custodian", ID),
    ("generation", U64),
    ("lease", B16),
    ("share-set", B16),
    ("index", ID),
    ("manifest", B32),
    ("device-key", B32),
    ("incarnation", B32),
    ("terms", TERMS),
    ("epoch", U64),
    ("policy-version", U64),
    ("log-index", U64),
    ("sealed", B32),
]);
const GRANT: Shape =
    Map(&[("statement", Signed("grant", &GRANT_STATEMENT)), ("sealed", Bytes(1, 512))]);
const REFUSED: Shape = Map(&[("correlation", B16)]);
const RENEW: Shape = Map(&[("lease", B16), ("counter", U64), ("used", U64)]);
const RENEWAL: Shape = Map(&[
    ("lease", B16),
    ("counter", U64),
    ("answer", Uint(1, 3)),
    ("term", U64),
    ("budget", U64),
]);
const ORDER: Shape = Map(&[
    ("deployment", B16),
    ("verb", Uint(1, 2)),
    ("subject", Map(&[("kind", Uint(1, 5)), ("value", B32)])),
    ("serial", U64),
]);
const ORDERS: Shape = Map(&[("approvals", List(1, 16, &Signed("order", &ORDER)))]);
const ACKNOWLEDGEMENT: Shape = Map(&[
    ("order", B32),
    ("custodian", ID),
    ("generation", U64),
    ("manifest", B32),
    ("epoch", U64),
]);
const ACKNOWLEDGED: Shape = Map(&[("statement", Signed("acknowledgement", &ACKNOWLEDGEMENT))]);
const ORDER_DIGEST: Shape = Map(&[("order", B32)]);
const DEAD_STATEMENT: Shape = Map(&[("order", B32), ("custodian", ID), ("generation", U64)]);
const DEAD: Shape = Map(&[("statement", Signed("dead", &DEAD_STATEMENT))]);
const QUERY: Shape = Map(&[("deployment", B16)]);
const STATUS: Shape = Map(&[
    ("custodian", ID),
    ("generation", U64),
    ("epoch", U64),
    ("standing", Uint(1, 3)),
    ("nonce", B32),
    ("manifest", B32),
    ("orders", List(0, 1024, &B32)),
]);
const ACTIVATION: Shape = Map(&[
    ("deployment", B16),
    ("custodian", ID),
    ("share-set", B16),
    ("manifest", B32),
    ("nonce", B32),
    ("orders", List(0, 1024, &B32)),
]);
const ACTIVATE: Shape = Map(&[("approvals", List(1, 16, &Signed("activation", &ACTIVATION)))]);
const ACTIVATED: Shape = Map(&[("custodian", ID), ("generation", U64), ("epoch", U64)]);
const PROVISION_STATEMENT: Shape = Map(&[
    ("manifest", B32),
    ("share-set", B16),
    ("custodian", ID),
    ("index", ID),
    ("kek", B32),
    ("sealed", B32),
    ("version-floor", U64),
]);
const PROVISION: Shape = Map(&[
    ("statement", Signed("provision", &PROVISION_STATEMENT)),
    ("manifest", Signed("manifest", &MANIFEST)),
    ("deployment", Signed("deployment", &DEPLOYMENT)),
    ("sealed", Bytes(1, 512)),
]);
const PROVISIONED: Shape = Map(&[("custodian", ID), ("manifest", B32)]);

const MANIFEST_CUSTODIAN: Shape = Map(&[
    ("id", ID),
    ("grant-key", KEY),
    ("suites", List(1, 16, &U16)),
    ("index", ID),
    ("share-commitment", B32),
    ("kek", B32),
]);
const POLICY: Shape = Map(&[
    ("version", U64),
    ("kinds", List(1, 8, &U16)),
    ("measurements", List(1, 256, &B32)),
    ("modes", List(1, 8, &U8)),
    ("first", U64),
    ("term", U64),
    ("budget", U64),
    ("max-age", U64),
    ("gather", U64),
    ("margin", U64),
    ("challenge-max", U64),
]);
const EARLIER_SET: Shape = Map(&[("set", B16), ("n", U8), ("k", U8), ("f", U8), ("manifest", B32)]);
/// The payload of the owner's manifest.
pub const MANIFEST: Shape = Map(&[
    ("deployment", B16),
    ("weights", B16),
    ("version", U64),
    ("container", B16),
    ("dek-commitment", B32),
    ("share-set", B16),
    ("k", U8),
    ("n", U8),
    ("f", U8),
    ("custodians", List(1, 255, &MANIFEST_CUSTODIAN)),
    ("table", B32),
    ("root", B32),
    ("ttl-max", U64),
    ("policy", POLICY),
    ("earlier-sets", List(0, 16, &EARLIER_SET)),
]);
/// The payload of the owner's deployment record.
pub const DEPLOYMENT: Shape = Map(&[
    ("deployment", B16),
    ("version", U64),
    ("operators", List(1, 16, &KEY)),
    ("m-revoke", U8),
    ("m-change", U8),
    ("devices", List(0, 1024, &B32)),
    ("issuers", List(1, 64, &B32)),
]);
const TENSOR: Shape = Map(&[
    ("index", Uint(0, 0xffff_ffff)),
    ("offset", U64),
    ("length", U64),
    ("salt", Bytes(24, 24)),
    ("commitment", B32),
]);
/// The tensor table, an object of the side file.
pub const TABLE: Shape =
    Map(&[("container", B16), ("data-offset", U64), ("tensors", List(1, 1_048_576, &TENSOR))]);
/// The event that an audit leaf hashes.
pub const LEAF: Shape =
    Map(&[("kind", Uint(1, 7)), ("generation", U64), ("epoch", U64), ("subject", B32)]);

/// Every message by type number, from 1. Type 20 (`rejoin`) is reserved and refused.
pub const MESSAGES: [(&str, Shape); 19] = [
    ("hello", HELLO),
    ("challenge", CHALLENGE),
    ("request", REQUEST),
    ("grant", GRANT),
    ("refused", REFUSED),
    ("renew", RENEW),
    ("renewal", RENEWAL),
    ("submit", ORDERS),
    ("acknowledged", ACKNOWLEDGED),
    ("await-dead", ORDER_DIGEST),
    ("dead", DEAD),
    ("notice", ORDERS),
    ("superseded", ORDER_DIGEST),
    ("query", QUERY),
    ("status", STATUS),
    ("activate", ACTIVATE),
    ("activated", ACTIVATED),
    ("provision", PROVISION),
    ("provisioned", PROVISIONED),
];

/// The frame of a message: `[1, type, body]`.
pub fn frame(type_number: u64, body: Value) -> Vec<u8> {
    encode(&Value::Array(vec![Value::Uint(1), Value::Uint(type_number), body]))
}

/// A frame as it crosses a TLS stream: its length, then itself.
pub fn on_stream(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes(), frame].concat()
}

/// The largest frame of a type. [WIRE-1]
pub fn frame_cap(type_number: u64) -> usize {
    match type_number {
        3 | 18 => 1_048_576,
        _ => 65_536,
    }
}

/// Type number and body of a frame that obeys chapter 10. [WIRE-1] [WIRE-2] [WIRE-3]
pub fn open_frame(input: &[u8]) -> Result<(u64, Value), Refused> {
    if input.len() > frame_cap(3) {
        return Err(Refused::FrameAboveCap);
    }
    let Value::Array(mut parts) = decode(input)? else {
        return Err(Refused::WrongType);
    };
    let (Some(body), Some(Value::Uint(number)), Some(Value::Uint(version)), None) =
        (parts.pop(), parts.pop(), parts.pop(), parts.pop())
    else {
        return Err(Refused::WrongType);
    };
    if version != 1 {
        return Err(Refused::WrongVersion);
    }
    if number == 0 || number as usize > MESSAGES.len() {
        return Err(Refused::UnknownType);
    }
    if input.len() > frame_cap(number) {
        return Err(Refused::FrameAboveCap);
    }
    fits(&body, &MESSAGES[number as usize - 1].1)?;
    Ok((number, body))
}

/// Whether a value has a shape, payloads of signed objects included.
pub fn fits(value: &Value, shape: &Shape) -> Result<(), Refused> {
    match (shape, value) {
        (Uint(least, most), Value::Uint(number)) => {
            (least..=most).contains(&number).then_some(()).ok_or(Refused::OutOfRange)
        }
        (Bytes(least, most), Value::Bytes(bytes)) => {
            (least..=most).contains(&&bytes.len()).then_some(()).ok_or(Refused::WrongLength)
        }
        (List(least, most, item), Value::Array(items)) => {
            if !(least..=most).contains(&&items.len()) {
                return Err(Refused::WrongLength);
            }
            items.iter().try_for_each(|value| fits(value, item))
        }
        (Map(fields), Value::Map(pairs)) => {
            for key in 1..=fields.len() as u64 {
                if !pairs.iter().any(|(present, _)| *present == key) {
                    return Err(Refused::MissingField);
                }
            }
            if pairs.len() > fields.len() {
                return Err(Refused::UnknownKey);
            }
            pairs.iter().zip(*fields).try_for_each(|((_, value), (_, shape))| fits(value, shape))
        }
        (Signed(_, payload), value) => fits(&decode(&payload_of(value)?)?, payload),
        _ => Err(Refused::WrongType),
    }
}

/// The payload of a `COSE_Sign1`, whose every other part but the signature is fixed. [WIRE-4]
pub fn payload_of(value: &Value) -> Result<Vec<u8>, Refused> {
    let Value::Array(parts) = value else {
        return Err(Refused::WrongType);
    };
    match parts.as_slice() {
        [
            Value::Bytes(protected),
            Value::Map(unprotected),
            Value::Bytes(payload),
            Value::Bytes(signature),
        ] => {
            if protected != ES256 {
                Err(Refused::WrongProtectedHeader)
            } else if !unprotected.is_empty() {
                Err(Refused::UnknownKey)
            } else if signature.len() != 64 || !(1..=PAYLOAD_CAP).contains(&payload.len()) {
                Err(Refused::WrongLength)
            } else {
                Ok(payload.clone())
            }
        }
        _ => Err(Refused::WrongType),
    }
}

/// A `COSE_Sign1` around a payload, with a signature made elsewhere.
pub fn sign1(payload: &[u8], signature: [u8; 64]) -> Value {
    Value::Array(vec![
        Value::Bytes(ES256.to_vec()),
        Value::Map(vec![]),
        Value::Bytes(payload.to_vec()),
        Value::Bytes(signature.to_vec()),
    ])
}

/// The bytes that ES256 signs for an object of this name. [WIRE-4]
pub fn sig_structure(object: &str, payload: &[u8]) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::Text("Signature1".into()),
        Value::Bytes(ES256.to_vec()),
        Value::Bytes(format!("split-custody/v1/{object}").into_bytes()),
        Value::Bytes(payload.to_vec()),
    ]))
}

/// The longest payload of a signed object. [WIRE-1]
pub const PAYLOAD_CAP: usize = 49_152;
/// `{1: -7}`, the only protected header there is.
pub const ES256: &[u8] = &[0xa1, 0x01, 0x26];

// ---------------------------------------------------------------------------------------------
// Chapters 10 to 80: hashes

/// `H(label, fields…)`: SHA-256 over framed label and framed fields. [WIRE-5]
pub fn h(label: &str, fields: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in [&[format!("split-custody/v1/{label}").as_bytes()], fields].concat() {
        hash.update((part.len() as u32).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The TLS exporter context, over the Hello frame as sent.
pub fn exporter_context(hello: &[u8]) -> Hash {
    h("hello", &[hello])
}

/// The first transcript hash of one custodian's exchange.
pub fn th1(hello: &[u8], challenge: &[u8]) -> Hash {
    h("th1", &[hello, challenge])
}

/// What one custodian's entry commits to.
pub struct Entry<'a> {
    pub exporter: &'a Hash,
    pub device_leaf: &'a Hash,
    pub custodian_leaf: &'a Hash,
    pub th1: &'a Hash,
    pub suite: u16,
    pub device_key: &'a [u8],
}

/// One custodian's entry `e` in the session.
pub fn entry(e: &Entry) -> Hash {
    h(
        "entry",
        &[
            b"device",
            e.exporter,
            e.device_leaf,
            e.custodian_leaf,
            e.th1,
            &e.suite.to_be_bytes(),
            e.device_key,
        ],
    )
}

/// The session `S` over entries in ascending order of custodian id.
pub fn session(manifest: &Hash, device: &Hash, incarnation: &Hash, entries: &[(u8, Hash)]) -> Hash {
    let count = (entries.len() as u32).to_be_bytes();
    let mut fields: Vec<&[u8]> = vec![manifest, device, incarnation, &count];
    for (custodian, e) in entries {
        fields.push(std::slice::from_ref(custodian));
        fields.push(e);
    }
    h("session", &fields)
}

/// The nonce of the GPU's report.
pub fn gpu_nonce(session: &Hash) -> Hash {
    h("gpu", &[session])
}

/// The report data of the CPU TEE, which also covers the GPU evidence.
pub fn cpu_data(session: &Hash, gpu_evidence: &[u8]) -> Hash {
    h("cpu", &[session, &h("evidence", &[gpu_evidence])])
}

/// The second transcript hash, over the Request frame as received.
pub fn th2(th1: &Hash, request: &[u8]) -> Hash {
    h("th2", &[th1, request])
}

/// The digest by which grants name a device key.
pub fn device_key_digest(key: &[u8]) -> Hash {
    h("device-key", &[key])
}

/// Everything that one authorisation decides.
pub struct Authorisation<'a> {
    pub session: &'a Hash,
    pub th2: &'a Hash,
    pub suite: u16,
    pub custodian: u8,
    pub generation: u64,
    pub lease: &'a [u8; 16],
    pub share_set: &'a [u8; 16],
    pub index: u8,
    pub manifest: &'a Hash,
    pub device_key: &'a [u8],
    pub incarnation: &'a Hash,
    pub first: u64,
    pub term: u64,
    pub budget: u64,
    pub max_age: u64,
    pub epoch: u64,
    pub policy_version: u64,
}

/// `auth`: what the audit leaf records.
pub fn auth(a: &Authorisation) -> Hash {
    h(
        "auth",
        &[
            a.session,
            a.th2,
            &a.suite.to_be_bytes(),
            &[a.custodian],
            &a.generation.to_be_bytes(),
            a.lease,
            a.share_set,
            &[a.index],
            a.manifest,
            &device_key_digest(a.device_key),
            a.incarnation,
            &a.first.to_be_bytes(),
            &a.term.to_be_bytes(),
            &a.budget.to_be_bytes(),
            &a.max_age.to_be_bytes(),
            &a.epoch.to_be_bytes(),
            &a.policy_version.to_be_bytes(),
        ],
    )
}

/// `ctx`: the context under which the share is sealed.
pub fn grant_context(auth: &Hash, log_index: u64) -> Hash {
    h("grant", &[auth, &log_index.to_be_bytes()])
}

/// The key-derivation input of the P-256 suites.
pub fn kdf_input(ctx: &Hash, hsm_key: &[u8], device_key: &[u8]) -> Hash {
    h("kdf", &[ctx, hsm_key, device_key])
}

/// The manifest's commitment to one share.
pub fn share_commitment(set: &[u8; 16], custodian: u8, index: u8, share: &[u8]) -> Hash {
    h("share", &[set, &[custodian], &[index], share])
}

/// The manifest's commitment to the DEK.
pub fn dek_commitment(weights: &[u8; 16], version: u64, dek: &[u8; 32]) -> Hash {
    h("dek", &[weights, &version.to_be_bytes(), dek])
}

/// The id of a device, over both halves of its identity.
pub fn device_id(gpu_spki: &[u8], platform_id: &[u8]) -> Hash {
    h("device", &[gpu_spki, platform_id])
}

/// The public name of an incarnation; the mark stays secret.
pub fn incarnation(mark: &[u8; 32]) -> Hash {
    h("incarnation", &[mark])
}

/// The digest of an order, over its payload bytes as received.
pub fn order_digest(payload: &[u8]) -> Hash {
    h("order", &[payload])
}

/// The digest of a manifest, over its payload bytes as received.
pub fn manifest_digest(payload: &[u8]) -> Hash {
    h("manifest", &[payload])
}

/// The digest of a tensor table, over the table object as stored.
pub fn table_digest(table: &[u8]) -> Hash {
    h("table", &[table])
}

/// The digest of a sealed share.
pub fn sealed_digest(sealed: &[u8]) -> Hash {
    h("sealed", &[sealed])
}

/// The digest by which a manifest and a provision name a custodian's key-encryption key.
pub fn kek_digest(kek_public: &[u8]) -> Hash {
    h("kek", &[kek_public])
}

/// The context under which a share travels from the owner to one HSM.
pub fn provision_context(
    manifest: &Hash,
    set: &[u8; 16],
    custodian: u8,
    index: u8,
    kek: &Hash,
) -> Hash {
    h("provision", &[manifest, set, &[custodian], &[index], kek])
}

/// The audit log's leaf over an encoded event.
pub fn audit_leaf(encoded: &[u8]) -> Hash {
    h("leaf", &[encoded])
}

// ---------------------------------------------------------------------------------------------
// Chapter 15: sealed files

/// What a tensor's ciphertext is bound to.
pub struct TensorContext<'a> {
    pub container: &'a [u8; 16],
    pub weights: &'a [u8; 16],
    pub version: u64,
    pub index: u64,
    /// All tensors, tensor 0 included.
    pub count: u64,
    pub name: &'a str,
    pub dtype: &'a str,
    pub shape: &'a [u64],
    pub plaintext_length: u64,
}

/// The Cobblestone context of one tensor. [SEAL-2]
pub fn tensor_context(t: &TensorContext) -> Vec<u8> {
    encode(&Value::Array(vec![
        Value::Text("split-custody/v1/tensor".into()),
        Value::Bytes(t.container.to_vec()),
        Value::Bytes(t.weights.to_vec()),
        Value::Uint(t.version),
        Value::Uint(t.index),
        Value::Uint(t.count),
        Value::Text(t.name.into()),
        Value::Text(t.dtype.into()),
        Value::Array(t.shape.iter().copied().map(Value::Uint).collect()),
        Value::Uint(t.plaintext_length),
    ]))
}

/// The length of a sealed tensor: salt, commitment, plaintext, one tag per chunk. [SEAL-6]
pub fn sealed_length(plaintext_length: u64) -> u64 {
    let chunks = plaintext_length / 16_384 + 1; // the last chunk is always short, perhaps empty
    24 + 32 + plaintext_length + 16 * chunks
}

/// The Merkle leaf data of one tensor.
pub fn tensor_leaf(index: u32, commitment: &Hash, chunk_tags: &[[u8; 16]]) -> Vec<u8> {
    let tags: Hash = Sha256::digest(chunk_tags.concat()).into();
    [index.to_be_bytes().as_slice(), commitment, &tags].concat()
}

/// The RFC 6962 root over leaf data. [SEAL-9]
pub fn merkle_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => Sha256::digest([&[0], leaf.as_slice()].concat()).into(),
        _ => {
            // The greatest power of two below the count goes left.
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            let nodes = [merkle_root(left), merkle_root(right)].concat();
            Sha256::digest([&[1], nodes.as_slice()].concat()).into()
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Chapter 40: Shamir over GF(2^8)

/// Multiplication modulo x^8 + x^4 + x^3 + x + 1, the AES polynomial.
pub fn gf_mul(a: u8, b: u8) -> u8 {
    let (mut a, mut product) = (u16::from(a), 0);
    for bit in 0..8 {
        if b >> bit & 1 == 1 {
            product ^= a;
        }
        a <<= 1;
        if a & 0x100 != 0 {
            a ^= 0x11b;
        }
    }
    product as u8
}

/// The inverse by search: the slow truth.
pub fn gf_inverse(a: u8) -> Option<u8> {
    (1..=255).find(|b| gf_mul(a, *b) == 1)
}

/// The share at `index`: per byte, the secret plus the coefficients' polynomial at `index`.
/// `coefficients[0]` multiplies x, `coefficients[1]` x squared, and so on; there are k − 1.
pub fn share(secret: &[u8; 32], coefficients: &[[u8; 32]], index: u8) -> [u8; 32] {
    std::array::from_fn(|byte| {
        let highest_first = coefficients.iter().rev().map(|c| c[byte]);
        highest_first.fold(0, |sum, c| gf_mul(sum ^ c, index)) ^ secret[byte]
    })
}

/// Interpolation at zero; `None` for an index of zero or a repeated one.
pub fn combine(shares: &[(u8, [u8; 32])]) -> Option<[u8; 32]> {
    let mut secret = [0; 32];
    for (i, (xi, yi)) in shares.iter().enumerate() {
        let mut weight = 1;
        for (j, (xj, _)) in shares.iter().enumerate() {
            if i != j {
                weight = gf_mul(weight, gf_mul(*xj, gf_inverse(xi ^ xj)?));
            }
        }
        if *xi == 0 {
            return None;
        }
        for (byte, y) in yi.iter().enumerate() {
            secret[byte] ^= gf_mul(weight, *y);
        }
    }
    (!shares.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8949_integers_have_their_shortest_form() {
        // RFC 8949, appendix A.
        for (number, hex) in [
            (0, "00"),
            (23, "17"),
            (24, "1818"),
            (100, "1864"),
            (1000, "1903e8"),
            (1_000_000, "1a000f4240"),
            (1_000_000_000_000, "1b000000e8d4a51000"),
            (u64::MAX, "1bffffffffffffffff"),
        ] {
            let bytes = encode(&Value::Uint(number));
            assert_eq!(bytes.iter().map(|b| format!("{b:02x}")).collect::<String>(), hex);
            assert_eq!(decode(&bytes), Ok(Value::Uint(number)));
        }
    }

    #[test]
    fn what_decodes_encodes_to_the_same_bytes() {
        // Every input of up to three bytes: small enough to try all.
        for input in (0..1 << 24).map(|n: u32| n.to_be_bytes()) {
            for bytes in [&input[3..], &input[2..], &input[1..]] {
                if let Ok(value) = decode(bytes) {
                    assert_eq!(encode(&value), bytes);
                }
            }
        }
    }

    #[test]
    fn a_frame_above_the_cap_of_its_type_is_refused() {
        let one = sign1(&[0; 49_000], [0; 64]);
        let submit = |count| {
            let approvals = Value::Array(vec![one.clone(); count]);
            frame(8, Value::Map(vec![(1, approvals)]))
        };
        // The cap comes before the shape: neither of these is an order.
        assert_eq!(open_frame(&submit(2)), Err(Refused::FrameAboveCap));
        assert_ne!(open_frame(&submit(1)), Err(Refused::FrameAboveCap));
        assert_eq!(open_frame(&vec![0; frame_cap(3) + 1]), Err(Refused::FrameAboveCap));
    }

    #[test]
    fn fields_are_framed_so_that_boundaries_count() {
        assert_ne!(h("th1", &[b"ab", b"c"]), h("th1", &[b"a", b"bc"]));
        assert_ne!(h("th1", &[b"ab"]), h("th2", &[b"ab"]));
    }

    #[test]
    fn rfc_6962_roots_of_known_trees() {
        // The empty tree and the tree of one empty leaf are printed in public log test suites.
        let hex = |hash: Hash| hash.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(
            hex(merkle_root(&[])),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
        assert_eq!(
            hex(merkle_root(&[vec![]])),
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
        );
        let three = [vec![1], vec![2], vec![3]];
        let left = merkle_root(&three[..2]);
        let right = merkle_root(&three[2..]);
        let node: Hash = Sha256::digest([&[1u8], &left[..], &right[..]].concat()).into();
        assert_eq!(merkle_root(&three), node);
    }

    #[test]
    fn sealed_lengths_at_chunk_boundaries() {
        assert_eq!(sealed_length(0), 72);
        assert_eq!(sealed_length(16_383), 56 + 16_399);
        assert_eq!(sealed_length(16_384), 56 + 16_400 + 16);
    }

    #[test]
    fn any_k_shares_combine_and_fewer_do_not() {
        // FIPS 197 works this product out.
        assert_eq!(gf_mul(0x57, 0x83), 0xc1);
        let secret = std::array::from_fn(|i| i as u8);
        let coefficients = [[0xa5; 32], std::array::from_fn(|i| 255 - i as u8)];
        let deal = |index| (index, share(&secret, &coefficients, index));
        assert_eq!(combine(&[deal(1), deal(2), deal(3)]), Some(secret));
        assert_eq!(combine(&[deal(255), deal(7), deal(1)]), Some(secret));
        assert_ne!(combine(&[deal(1), deal(2)]), Some(secret));
        assert_eq!(combine(&[deal(1), deal(1), deal(2)]), None);
    }
}
