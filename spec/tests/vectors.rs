//! Makes every vector in memory from the reference and compares with the files.
//!
//! `SPEC_BLESS=1` writes the files. Inputs are fixed patterns; nothing here is random.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use split_custody_spec::agreement as a;
use split_custody_spec::reference::{
    self as r, Entry, MESSAGES, Refused, Shape, TensorContext, Value,
};

#[test]
fn wire_vectors_are_current() {
    let mut cases = vectors_of_messages();
    cases.extend(hostile_encodings());
    compare("wire.json", cases);
}

#[test]
fn transcript_vectors_are_current() {
    compare("transcript.json", vec![transcript(), other_hashes()]);
}

#[test]
fn sealing_vectors_are_current() {
    compare("sealing.json", sealing());
}

#[test]
fn quorum_vectors_are_current() {
    compare("quorum.json", quorum());
}

#[test]
fn hsm_vectors_are_current() {
    compare("hsm.json", hsm());
}

#[test]
fn every_message_of_the_registry_has_a_vector() {
    let names: Vec<String> = messages().into_iter().map(|(name, ..)| name.to_owned()).collect();
    for (name, _) in &MESSAGES {
        assert!(names.iter().any(|n| n == name), "no vector for `{name}`");
    }
}

#[test]
fn the_schema_accepts_every_message_and_refuses_wrong_shapes() {
    // A CDDL validator sees shapes. That there is one encoding of a shape is the codec's to refuse.
    let codec_only = [
        Refused::NonMinimalInteger,
        Refused::DuplicateKey,
        Refused::UnorderedKeys,
        Refused::IndefiniteLength,
        Refused::TrailingBytes,
    ]
    .map(Refused::name);
    for case in vectors_of_messages().into_iter().chain(hostile_encodings()) {
        let accepted = shape_fits("frame", &unhex(&case["input"]));
        match case["expect"]["refuse"].as_str() {
            None => assert!(accepted, "{}", case["name"]),
            Some(reason) if codec_only.iter().any(|name| name == reason) => {}
            Some(_) => assert!(!accepted, "{}", case["name"]),
        }
    }
}

#[test]
fn the_schema_accepts_every_object_and_context() {
    let hashes = other_hashes();
    for rule in ["order", "manifest", "table", "leaf"] {
        assert!(shape_fits(rule, &unhex(&hashes["input"][rule])), "{rule}");
    }
    assert!(shape_fits("deployment", &r::encode(&deployment())));
    assert!(shape_fits("sig-structure", &unhex(&hashes["expect"]["order-sig-structure"])));
    for case in sealing().iter().filter(|case| case["expect"].get("context").is_some()) {
        assert!(shape_fits("tensor-context", &unhex(&case["expect"]["context"])), "{case}");
    }
}

fn shape_fits(rule: &str, bytes: &[u8]) -> bool {
    cddl_cat::validate_cbor_bytes(rule, split_custody_spec::CDDL, bytes).is_ok()
}

fn unhex(text: &Json) -> Vec<u8> {
    let text = text.as_str().expect("hex is a string");
    let pairs = (0..text.len() / 2).map(|place| &text[2 * place..2 * place + 2]);
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("two hex digits")).collect()
}

#[test]
fn the_schema_and_the_reference_have_the_same_fields_and_caps() {
    // Caps, which samples cannot show: a sample is small.
    for (name, shape) in &MESSAGES {
        let rule = match *name {
            "submit" | "notice" => "orders",
            "await-dead" | "superseded" => "order-name",
            name => name,
        };
        agrees_with_schema(rule, shape);
    }
    agrees_with_schema("manifest", &r::MANIFEST);
    agrees_with_schema("deployment", &r::DEPLOYMENT);
    agrees_with_schema("table", &r::TABLE);
    agrees_with_schema("leaf", &r::LEAF);
}

fn agrees_with_schema(rule: &str, shape: &Shape) {
    let Shape::Map(fields) = shape else { panic!("`{rule}` is no map") };
    let head = format!("\n{rule} = {{");
    let at = split_custody_spec::CDDL.find(&head).unwrap_or_else(|| panic!("no rule `{rule}`"));
    let body = &split_custody_spec::CDDL[at + head.len()..];
    let body = &body[..body.find("\n}").expect("a rule ends")];
    let lines: Vec<&str> = body.lines().filter(|line| line.contains(" => ")).collect();
    assert_eq!(lines.len(), fields.len(), "fields of `{rule}`");
    for ((place, line), (name, shape)) in lines.iter().enumerate().zip(*fields) {
        assert!(line.trim().starts_with(&format!("{} => ", place + 1)), "`{rule}`: {line}");
        match shape {
            Shape::List(least, most, _) => {
                assert!(line.contains(&format!("[{least}*{most} ")), "`{rule}`, `{name}`: {line}");
            }
            Shape::Bytes(least, most) if least != most => {
                assert!(line.contains(&format!("({least}..{most})")), "`{rule}`, `{name}`: {line}");
            }
            _ => {}
        }
    }
}

// ---- wire ----

fn vectors_of_messages() -> Vec<Json> {
    let cases = messages().into_iter().map(|(name, number, body, comment)| {
        let frame = r::frame(number, body.clone());
        let (opened, value) = r::open_frame(&frame).unwrap_or_else(|e| panic!("{name}: {e:?}"));
        assert_eq!((opened, &value), (number, &body));
        let fields = fields(&value, &MESSAGES[number as usize - 1].1);
        let accept = json!({ "accept": { "type": number, "message": name, "fields": fields } });
        case(name, json!(hex(&frame)), accept, comment)
    });
    cases.collect()
}

/// Name, type number, body, and why the case exists.
fn messages() -> Vec<(&'static str, u64, Value, &'static str)> {
    let orders = || list(vec![signed(&r::encode(&order())), signed(&r::encode(&order()))]);
    let evidence = map(vec![uint(1), pattern(3, 40), pattern(4, 24)]);
    let entry = |custodian, seed| map(vec![uint(custodian), pattern(seed, 32)]);
    let entries = list(vec![entry(1, 0x61), entry(3, 0x63)]);
    vec![
        ("hello", 1, hello(), "two versions, so that a receiver cannot assume one"),
        ("challenge", 2, challenge(), "generation needs two bytes"),
        (
            "request",
            3,
            map(vec![b32(0x10), b32(0x11), b32(0x12), entries, pattern(0x20, 32), evidence]),
            "one custodian was left out: entries need not be contiguous",
        ),
        (
            "grant",
            4,
            map(vec![signed(&r::encode(&statement(&[0x30; 16]))), pattern(0x31, 80)]),
            "the budget is unlimited: the greatest integer there is",
        ),
        ("refused", 5, map(vec![b16(0x40)]), "the only negative answer"),
        ("renew", 6, map(vec![b16(0x30), uint(1), uint(12)]), "the first renewal"),
        (
            "renewal",
            7,
            map(vec![b16(0x30), uint(1), uint(1), uint(10_000), uint(100)]),
            "renewed, with a budget",
        ),
        ("submit", 8, map(vec![orders()]), "two operators over one payload"),
        (
            "acknowledged",
            9,
            map(vec![signed(&r::encode(&map(vec![
                b32(0x50),
                uint(2),
                uint(300),
                b32(0x10),
                uint(8),
            ])))]),
            "one custodian's acknowledgement",
        ),
        ("await-dead", 10, map(vec![b32(0x50)]), "asks for `dead`"),
        (
            "dead",
            11,
            map(vec![signed(&r::encode(&map(vec![b32(0x50), uint(2), uint(300)])))]),
            "all leases under the order have lapsed",
        ),
        ("notice", 12, map(vec![orders()]), "the same approvals, pushed to a device"),
        ("superseded", 13, map(vec![b32(0x50)]), "an order with a newer one of its subject"),
        ("query", 14, map(vec![b16(0x01)]), "asks for the standing"),
        (
            "status",
            15,
            map(vec![uint(2), uint(300), uint(0), uint(2), b32(0x51), b32(0x10), list(vec![])]),
            "recovering, with no orders: one of the two lists that may be empty",
        ),
        (
            "activate",
            16,
            map(vec![list(vec![signed(&r::encode(&map(vec![
                b16(0x01),
                uint(2),
                b16(0x32),
                b32(0x10),
                b32(0x51),
                list(vec![b32(0x50)]),
            ])))])]),
            "a sole operator, one known order",
        ),
        ("activated", 17, map(vec![uint(2), uint(300), uint(1)]), "serving"),
        (
            "provision",
            18,
            map(vec![
                signed(&r::encode(&map(vec![
                    b32(0x10),
                    b16(0x32),
                    uint(1),
                    uint(1),
                    b32(0x33),
                    b32(0x34),
                    uint(7),
                ]))),
                signed(&r::encode(&manifest())),
                signed(&r::encode(&deployment())),
                pattern(0x35, 80),
            ]),
            "three owner-signed objects and a sealed share",
        ),
        ("provisioned", 19, map(vec![uint(1), b32(0x10)]), "names the manifest that it holds"),
    ]
}

fn hostile_encodings() -> Vec<Json> {
    // The query is the smallest frame: 83 01 0e a1 01 50 and 16 bytes.
    let query = r::frame(14, map(vec![b16(0x01)]));
    let id = &query[6..];
    let refused = |name, input: Vec<u8>, reason: Refused, comment| {
        assert_eq!(r::open_frame(&input).err(), Some(reason), "{name}");
        // A payload is read after its signature was verified; all else falls with the frame.
        let at = if name == "unknown_verb" { "payload" } else { "frame" };
        case(name, json!(hex(&input)), json!({ "refuse": reason.name(), "at": at }), comment)
    };
    let with = |head: &[u8], tail: &[u8]| [head, id, tail].concat();
    let frame = |body: &[u8]| [&[0x83, 0x01, 0x0e], body].concat();
    let hello_with = |place: usize, value: Value| {
        let Value::Map(mut pairs) = hello() else { unreachable!("hello is a map") };
        pairs[place].1 = value;
        r::frame(1, Value::Map(pairs))
    };
    let no_protection = |protected: &[u8], unprotected: Value| {
        let Value::Array(mut parts) = signed(&r::encode(&order())) else {
            unreachable!("a signed object is an array")
        };
        parts[0] = Value::Bytes(protected.to_vec());
        parts[1] = unprotected;
        r::frame(8, map(vec![list(vec![Value::Array(parts)])]))
    };
    let text = Value::Text("a".into());
    vec![
        refused(
            "non_minimal_integer_version",
            with(&[0x83, 0x18, 0x01, 0x0e, 0xa1, 0x01, 0x50], &[]),
            Refused::NonMinimalInteger,
            "the version 1 in two bytes",
        ),
        refused(
            "non_minimal_integer_key",
            with(&[0x83, 0x01, 0x0e, 0xa1, 0x18, 0x01, 0x50], &[]),
            Refused::NonMinimalInteger,
            "the key 1 in two bytes",
        ),
        refused(
            "non_minimal_length",
            with(&[0x83, 0x01, 0x0e, 0xa1, 0x01, 0x58, 0x10], &[]),
            Refused::NonMinimalInteger,
            "the length 16 in two bytes",
        ),
        refused(
            "duplicate_key",
            [frame(&[0xa2, 0x01, 0x50]), id.to_vec(), vec![0x01, 0x50], id.to_vec()].concat(),
            Refused::DuplicateKey,
            "first wins or last wins: two receivers differ",
        ),
        refused(
            "unordered_keys",
            [&[0x83, 0x01, 0x13, 0xa2, 0x02, 0x58, 0x20], &[0x10; 32][..], &[0x01, 0x01]].concat(),
            Refused::UnorderedKeys,
            "a second encoding of one map: `provisioned` with its fields exchanged",
        ),
        refused(
            "indefinite_length_map",
            with(&frame(&[0xbf, 0x01, 0x50]), &[0xff]),
            Refused::IndefiniteLength,
            "a map that ends by a break",
        ),
        refused(
            "indefinite_length_bytes",
            frame(&[&[0xa1, 0x01, 0x5f, 0x50], id, &[0xff]].concat()),
            Refused::IndefiniteLength,
            "a byte string in pieces",
        ),
        refused(
            "indefinite_length_frame",
            [&[0x9f], &query[1..], &[0xff]].concat(),
            Refused::IndefiniteLength,
            "the frame itself ends by a break",
        ),
        refused(
            "trailing_byte",
            [&query[..], &[0x00]].concat(),
            Refused::TrailingBytes,
            "bytes that no signature or hash covers",
        ),
        refused(
            "truncated",
            query[..query.len() - 1].to_vec(),
            Refused::Truncated,
            "one byte short of the last field",
        ),
        refused(
            "claimed_length_beyond_input",
            frame(&[0xa1, 0x01, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            Refused::Truncated,
            "a receiver that allocates first is gone",
        ),
        refused(
            "claimed_list_beyond_input",
            [&[0x83, 0x01, 0x01, 0xa6, 0x01, 0x9a, 0xff, 0xff, 0xff, 0xff], &[0x01][..]].concat(),
            Refused::Truncated,
            "the same with a list",
        ),
        refused(
            "unknown_key",
            with(&frame(&[0xa2, 0x01, 0x50]), &[0x02, 0x00]),
            Refused::UnknownKey,
            "an extension that the receiver would skip",
        ),
        refused(
            "text_key",
            with(&frame(&[0xa2, 0x01, 0x50]), &[0x61, 0x61, 0x00]),
            Refused::KeyNotAnInteger,
            "keys are integers",
        ),
        refused("float", frame(&[0xa1, 0x01, 0xf9, 0x3c, 0x00]), Refused::UnsupportedType, "1.0"),
        refused("null", frame(&[0xa1, 0x01, 0xf6]), Refused::UnsupportedType, "no field is absent"),
        refused(
            "negative_integer",
            frame(&[0xa1, 0x01, 0x20]),
            Refused::UnsupportedType,
            "numbers are unsigned",
        ),
        refused(
            "tag",
            with(&frame(&[0xa1, 0x01, 0xc2, 0x50]), &[]),
            Refused::UnsupportedType,
            "a big number where bytes belong",
        ),
        refused("missing_field", frame(&[0xa0]), Refused::MissingField, "every field is mandatory"),
        refused(
            "text_for_bytes",
            frame(&[&[0xa1, 0x01, 0x70][..], &[0x61; 16]].concat()),
            Refused::WrongType,
            "the same bytes with another type",
        ),
        refused(
            "id_too_short",
            frame(&[&[0xa1, 0x01, 0x4f], &id[..15]].concat()),
            Refused::WrongLength,
            "ids have a fixed size",
        ),
        refused(
            "oversize_list",
            hello_with(0, list((1..=9).map(uint).collect())),
            Refused::WrongLength,
            "nine versions where eight fit",
        ),
        refused(
            "empty_list",
            hello_with(1, list(vec![])),
            Refused::WrongLength,
            "an offer of nothing",
        ),
        refused(
            "number_above_its_width",
            hello_with(0, list(vec![uint(0x1_0000)])),
            Refused::OutOfRange,
            "a version has 16 bits",
        ),
        refused(
            "unknown_verb",
            r::frame(
                8,
                map(vec![list(vec![signed(&r::encode(&map(vec![
                    b16(0x01),
                    uint(3),
                    map(vec![uint(1), b32(0x11)]),
                    uint(0),
                ])))])]),
            ),
            Refused::OutOfRange,
            "the payload does not fit: refused when it is read, after its signature was verified",
        ),
        refused(
            "wrong_version",
            [&[0x83, 0x02], &query[2..]].concat(),
            Refused::WrongVersion,
            "version 2",
        ),
        refused(
            "unknown_type",
            with(&[0x83, 0x01, 0x15, 0xa1, 0x01, 0x50], &[]),
            Refused::UnknownType,
            "type 21",
        ),
        refused(
            "reserved_type",
            with(&[0x83, 0x01, 0x14, 0xa1, 0x01, 0x50], &[]),
            Refused::UnknownType,
            "type 20, Rejoin, is reserved",
        ),
        refused(
            "frame_of_four",
            with(&[0x84, 0x01, 0x0e, 0xa1, 0x01, 0x50], &[0x00]),
            Refused::WrongType,
            "a frame has three parts",
        ),
        refused(
            "nested_too_deep",
            vec![0x81; 64],
            Refused::TooDeep,
            "bytes that only nest; a receiver that recurses without a bound is gone",
        ),
        refused(
            "header_of_another_algorithm",
            no_protection(&[0xa1, 0x01, 0x27], map(vec![])),
            Refused::WrongProtectedHeader,
            "EdDSA where ES256 is pinned",
        ),
        refused(
            "header_empty",
            no_protection(&[0xa0], map(vec![])),
            Refused::WrongProtectedHeader,
            "no algorithm at all",
        ),
        refused(
            "header_unprotected",
            no_protection(r::ES256, Value::Map(vec![(4, text)])),
            Refused::UnknownKey,
            "a key id that nobody signed",
        ),
        refused("empty_input", vec![], Refused::Truncated, "no bytes"),
    ]
}

// ---- transcript ----

fn transcript() -> Json {
    let (hello, challenge) = (r::frame(1, hello()), r::frame(2, challenge()));
    let (exporter, device_leaf, custodian_leaf) = (fill(0x70), fill(0x71), fill(0x72));
    let (manifest, device, incarnation) = (fill(0x10), fill(0x11), r::incarnation(&fill(0x73)));
    let (key, gpu, cpu) = (bytes(0x20, 32), bytes(0x03, 40), bytes(0x04, 24));
    let suite = 0x0012;
    let th1 = r::th1(&hello, &challenge);
    let e = r::entry(&Entry {
        exporter: &exporter,
        device_leaf: &device_leaf,
        custodian_leaf: &custodian_leaf,
        th1: &th1,
        suite,
        device_key: &key,
    });
    let other = fill(0x63);
    let session = r::session(&manifest, &device, &incarnation, &[(2, e), (3, other)]);
    let entry = |custodian, e: r::Hash| map(vec![uint(custodian), Value::Bytes(e.to_vec())]);
    let request = r::frame(
        3,
        map(vec![
            b32(0x10),
            b32(0x11),
            Value::Bytes(incarnation.to_vec()),
            list(vec![entry(2, e), entry(3, other)]),
            Value::Bytes(key.clone()),
            map(vec![uint(1), Value::Bytes(gpu.clone()), Value::Bytes(cpu)]),
        ]),
    );
    let th2 = r::th2(&th1, &request);
    let (lease, share_set) = ([0x30; 16], [0x32; 16]);
    let auth = r::auth(&r::Authorisation {
        session: &session,
        th2: &th2,
        suite,
        custodian: 2,
        generation: 300,
        lease: &lease,
        share_set: &share_set,
        index: 2,
        manifest: &manifest,
        device_key: &key,
        incarnation: &incarnation,
        first: 2_000,
        term: 10_000,
        budget: u64::MAX,
        max_age: 3_600_000,
        epoch: 7,
        policy_version: 1,
    });
    let input = json!({
        "hello": hex(&hello),
        "challenge": hex(&challenge),
        "request": hex(&request),
        "exporter": hex(&exporter),
        "device-leaf": hex(&device_leaf),
        "custodian-leaf": hex(&custodian_leaf),
        "manifest": hex(&manifest),
        "device": hex(&device),
        "mark": hex(&fill(0x73)),
        "suite": suite,
        "device-key": hex(&key),
        "custodian": 2,
        "other-entry": { "custodian": 3, "digest": hex(&other) },
        "gpu-evidence": hex(&gpu),
        "generation": 300,
        "lease": hex(&lease),
        "share-set": hex(&share_set),
        "index": 2,
        "terms": { "first": 2000, "term": 10_000, "budget": u64::MAX, "max-age": 3_600_000 },
        "epoch": 7,
        "policy-version": 1,
        "log-index": 41,
    });
    let expect = json!({
        "exporter-context": hex(&r::exporter_context(&hello)),
        "th1": hex(&th1),
        "e": hex(&e),
        "incarnation": hex(&incarnation),
        "S": hex(&session),
        "gpu": hex(&r::gpu_nonce(&session)),
        "cpu": hex(&r::cpu_data(&session, &gpu)),
        "th2": hex(&th2),
        "device-key-digest": hex(&r::device_key_digest(&key)),
        "auth": hex(&auth),
        "ctx": hex(&r::grant_context(&auth, 41)),
    });
    case("one_exchange", input, expect, "every hash from Hello to the grant's context")
}

fn other_hashes() -> Json {
    let (id, key) = ([0x32; 16], bytes(0x20, 32));
    let payload = r::encode(&order());
    let input = json!({
        "order": hex(&payload),
        "manifest": hex(&r::encode(&manifest())),
        "table": hex(&r::encode(&table())),
        "sealed": hex(&bytes(0x31, 80)),
        "share-set": hex(&id),
        "weights": hex(&id),
        "version": 7,
        "custodian": 2,
        "index": 5,
        "share": hex(&fill(0x36)),
        "dek": hex(&fill(0x37)),
        "kek": hex(&bytes(0x38, 65)),
        "gpu-spki": hex(&bytes(0x39, 120)),
        "platform-id": hex(&bytes(0x3a, 48)),
        "hsm-key": hex(&bytes(0x3b, 65)),
        "device-key": hex(&key),
        "ctx": hex(&fill(0x3c)),
        "policy-version": 1,
        "leaf": hex(&r::encode(&leaf())),
    });
    let kek = r::kek_digest(&bytes(0x38, 65));
    let manifest = r::manifest_digest(&r::encode(&manifest()));
    let provision = r::provision_context(&manifest, &id, 2, 5, &kek);
    let version = 7u64.to_be_bytes();
    let expect = json!({
        "order-digest": hex(&r::order_digest(&payload)),
        "order-sig-structure": hex(&r::sig_structure("order", &payload)),
        "manifest-digest": hex(&manifest),
        "table-digest": hex(&r::table_digest(&r::encode(&table()))),
        "sealed-digest": hex(&r::sealed_digest(&bytes(0x31, 80))),
        "share-commitment": hex(&r::share_commitment(&id, 2, 5, &fill(0x36))),
        "dek-commitment": hex(&r::dek_commitment(&id, 7, &fill(0x37))),
        "kek-digest": hex(&kek),
        "provision-context": hex(&provision),
        "device-id": hex(&r::device_id(&bytes(0x39, 120), &bytes(0x3a, 48))),
        "kdf-input": hex(&r::kdf_input(&fill(0x3c), &bytes(0x3b, 65), &key)),
        "weights-subject": hex(&r::h("weights", &[&id, &version])),
        "policy-subject": hex(&r::h("policy", &[&1u64.to_be_bytes()])),
        "everything-subject": hex(&r::h("everything", &[&id])),
        "audit-leaf": hex(&r::audit_leaf(&r::encode(&leaf()))),
    });
    case("other_hashes", input, expect, "hashes outside the exchange; deployment = share set here")
}

// ---- sealing ----

fn sealing() -> Vec<Json> {
    let (container, weights) = ([0x80; 16], [0x02; 16]);
    let context = |name, tensor: TensorContext, comment| {
        let input = json!({
            "container": hex(tensor.container),
            "weights": hex(tensor.weights),
            "version": tensor.version,
            "index": tensor.index,
            "count": tensor.count,
            "name": tensor.name,
            "dtype": tensor.dtype,
            "shape": tensor.shape,
            "plaintext-length": tensor.plaintext_length,
        });
        let expect = json!({
            "context": hex(&r::tensor_context(&tensor)),
            "sealed-length": r::sealed_length(tensor.plaintext_length),
        });
        case(name, input, expect, comment)
    };
    let tensor = |index, name, dtype, shape, plaintext_length| TensorContext {
        container: &container,
        weights: &weights,
        version: 7,
        index,
        count: 3,
        name,
        dtype,
        shape,
        plaintext_length,
    };
    let leaf_of = |index: u32, tags: usize| {
        let seed = index as u8;
        let tags: Vec<[u8; 16]> = (0..tags).map(|t| [seed * 16 + t as u8; 16]).collect();
        (index, fill(0x90 + seed), tags)
    };
    let root = |name, leaves: Vec<(u32, r::Hash, Vec<[u8; 16]>)>, comment| {
        let datas: Vec<Vec<u8>> =
            leaves.iter().map(|(index, c, tags)| r::tensor_leaf(*index, c, tags)).collect();
        let input = leaves.iter().map(|(index, commitment, tags)| {
            let tags: Vec<String> = tags.iter().map(|tag| hex(tag)).collect();
            json!({ "index": index, "commitment": hex(commitment), "tags": tags })
        });
        let hexes: Vec<String> = datas.iter().map(|data| hex(data)).collect();
        let expect = json!({ "leaves": hexes, "root": hex(&r::merkle_root(&datas)) });
        case(name, json!({ "tensors": input.collect::<Vec<_>>() }), expect, comment)
    };
    vec![
        context(
            "context_of_the_header",
            tensor(0, "header", "U8", &[], 312),
            "tensor 0 has a fixed name, dtype and shape",
        ),
        context(
            "context_of_a_matrix",
            tensor(1, "layers.0.weight", "BF16", &[128, 64], 16_384),
            "exactly one full chunk: a second, empty one follows",
        ),
        context(
            "context_of_a_scalar",
            tensor(2, "größe", "F32", &[], 4),
            "an empty shape and a name beyond ASCII",
        ),
        context(
            "length_of_nothing",
            tensor(1, "e", "F32", &[0], 0),
            "one chunk that holds nothing",
        ),
        context(
            "length_one_below_a_chunk",
            tensor(1, "e", "U8", &[16_383], 16_383),
            "the longest last chunk",
        ),
        root("root_of_one", vec![leaf_of(0, 1)], "a file of the header alone"),
        root("root_of_two", vec![leaf_of(0, 1), leaf_of(1, 2)], "header and one tensor"),
        root(
            "root_of_five",
            (0..5).map(|index| leaf_of(index, 1 + index as usize)).collect(),
            "an unbalanced tree: four leaves left, one right",
        ),
    ]
}

// ---- quorum ----

fn quorum() -> Vec<Json> {
    let secret = fill(0xa0);
    let deal = |name, k: usize, indices: &[u8], comment| {
        let coefficients: Vec<r::Hash> = (1..k).map(|i| fill(0xb0 + i as u8 * 17)).collect();
        let shares: Vec<(u8, r::Hash)> = indices
            .iter()
            .map(|index| (*index, r::share(&secret, &coefficients, *index)))
            .collect();
        for window in shares.windows(k) {
            assert_eq!(r::combine(window), Some(secret), "{name}");
        }
        let coefficients: Vec<String> = coefficients.iter().map(|c| hex(c)).collect();
        let input = json!({
            "secret": hex(&secret), "k": k, "coefficients": coefficients, "indices": indices
        });
        case(name, input, json!({ "shares": shares_json(&shares) }), comment)
    };
    let combine = |name, shares: &[(u8, r::Hash)], comment| {
        let expect = match r::combine(shares) {
            Some(secret) => json!({ "accept": hex(&secret) }),
            None => json!({ "refuse": "indices" }),
        };
        case(name, json!({ "shares": shares_json(shares) }), expect, comment)
    };
    let coefficients = [fill(0xc1)];
    let share = |index| (index, r::share(&secret, &coefficients, index));
    let mut swapped = [share(1), share(2)];
    (swapped[0].1, swapped[1].1) = (swapped[1].1, swapped[0].1);
    let products: Vec<Json> = [(0x57, 0x83), (0x02, 0x80), (0xff, 0xff), (0x53, 0xca)]
        .map(|(a, b)| json!({ "a": a, "b": b, "product": r::gf_mul(a, b) }))
        .to_vec();
    vec![
        case(
            "multiplication",
            json!({ "polynomial": "0x11b" }),
            json!(products),
            "the first product is in FIPS 197, the last is an inverse pair",
        ),
        deal("one_of_one", 1, &[1], "the share is the secret"),
        deal("two_of_three", 2, &[1, 2, 3], "the demonstration's default"),
        deal("three_of_five", 3, &[1, 2, 3, 4, 5], "the recommended numbers"),
        deal("high_indices", 3, &[255, 128, 1, 254], "indices are not counted from one"),
        combine("combine_first_two", &[share(1), share(2)], "k shares"),
        combine("combine_out_of_order", &[share(3), share(1)], "order does not matter"),
        combine("combine_three_of_k_two", &[share(1), share(2), share(3)], "more than k agree too"),
        combine(
            "combine_one_of_two",
            &[share(1)],
            "gives a wrong key: only the DEK commitment tells",
        ),
        combine("combine_swapped", &swapped, "shares at each other's index: a wrong key"),
        combine("combine_repeated_index", &[share(1), share(1)], "no line through one point"),
        combine("combine_index_zero", &[(0, fill(0xd0)), share(1)], "the place of the secret"),
        combine("combine_nothing", &[], "no shares, no key"),
    ]
}

// ---- hsm ----

fn hsm() -> Vec<Json> {
    let (ours, theirs, share) = (fill(0x41), fill(0x42), fill(0x43));
    let context = fill(0x44);
    let key = a::public_key(&ours).expect("a scalar in range");
    let mut cases = Vec::new();
    for (suite, name) in [(1, "x963_kw"), (2, "x963_kwp"), (3, "cbcd_kw")] {
        let sender = a::public_key(&theirs).expect("a scalar in range");
        let info = r::kdf_input(&context, &sender, &key);
        let wrapping = a::wrapping_key(suite, &theirs, &key, &context, &sender, &key);
        let sealed = a::seal(suite, &theirs, &key, &context, &share).expect("valid keys");
        let to_hsm = a::seal_provision(suite, &theirs, &key, &context, &share);
        let input = |sealed: &[u8]| {
            json!({
                "suite": suite, "secret": hex(&ours), "ephemeral": hex(&theirs),
                "context": hex(&context), "sealed": hex(sealed),
            })
        };
        let expect = json!({
            "accept": hex(&share), "key": hex(&key), "z": hex(&a::agree(&ours, &sender).expect("valid")),
            "info": hex(&info), "wrapping-key": hex(&wrapping.expect("a suite of this chapter")),
            "provision": hex(&to_hsm.expect("valid keys")),
        });
        cases.push(case(name, input(&sealed), expect, "a share sealed to a device, and to an HSM"));
        let harm = |at: usize| {
            let mut harmed = sealed.clone();
            harmed[at] ^= 1;
            harmed
        };
        let hostile: [(&str, Vec<u8>, &str); 7] = [
            ("point_off_curve", harm(64), "the HSM key's last bit is flipped"),
            ("point_is_compressed", [&[2], &sealed[1..]].concat(), "the form byte says compressed"),
            ("point_is_zero", [&[0; 65], &sealed[65..]].concat(), "no point at all"),
            ("wrap_changed", harm(104), "the wrap's last bit is flipped"),
            ("wrap_head_changed", harm(65), "the wrap's first bit is flipped"),
            ("short", sealed[..104].to_vec(), "one byte is missing"),
            ("long", [&sealed[..], &[0]].concat(), "one byte too many"),
        ];
        for (what, sealed, comment) in hostile {
            let refuse = json!({ "refuse": what });
            cases.push(case(&format!("{name}_{what}"), input(&sealed), refuse, comment));
        }
    }
    cases
}

fn shares_json(shares: &[(u8, r::Hash)]) -> Json {
    shares.iter().map(|(index, share)| json!({ "index": index, "share": hex(share) })).collect()
}

// ---- sample objects ----

fn hello() -> Value {
    let versions = list(vec![uint(1), uint(0x0a0a)]);
    let suites = list(vec![uint(0x0012), uint(0x0001)]);
    map(vec![versions, suites, b16(0x01), b16(0x02), uint(7), b32(0x11)])
}

fn challenge() -> Value {
    map(vec![uint(2), uint(300), b32(0x51), uint(1), uint(0x0012)])
}

fn statement(lease: &[u8; 16]) -> Value {
    map(vec![
        b32(0x60),
        b32(0x61),
        uint(0x0012),
        uint(2),
        uint(300),
        Value::Bytes(lease.to_vec()),
        b16(0x32),
        uint(2),
        b32(0x10),
        b32(0x62),
        b32(0x12),
        map(vec![uint(2_000), uint(10_000), uint(u64::MAX), uint(3_600_000)]),
        uint(7),
        uint(1),
        uint(41),
        b32(0x34),
    ])
}

fn order() -> Value {
    map(vec![b16(0x01), uint(1), map(vec![uint(1), b32(0x11)]), uint(0)])
}

fn manifest() -> Value {
    let custodian = |id: u64| {
        let seed = id as u8;
        let suites = list(vec![uint(0x0012)]);
        map(vec![uint(id), verify_key(seed), suites, uint(id), b32(0x20 + seed), b32(0x28 + seed)])
    };
    let policy = map(vec![
        uint(1),
        list(vec![uint(1)]),
        list(vec![b32(0x43)]),
        list(vec![uint(0)]),
        uint(2_000),
        uint(10_000),
        uint(u64::MAX),
        uint(3_600_000),
        uint(1_000),
        uint(100),
        uint(60_000),
    ]);
    map(vec![
        b16(0x01),
        b16(0x02),
        uint(7),
        b16(0x80),
        b32(0x41),
        b16(0x32),
        uint(2),
        uint(3),
        uint(0),
        list((1..=3).map(custodian).collect()),
        b32(0x44),
        b32(0x42),
        uint(30_000),
        policy,
        list(vec![]),
    ])
}

fn deployment() -> Value {
    map(vec![
        b16(0x01),
        uint(1),
        list(vec![verify_key(0x45)]),
        uint(1),
        uint(1),
        list(vec![b32(0x11)]),
        list(vec![b32(0x46)]),
    ])
}

fn table() -> Value {
    let tensor = |index: u64, offset, length| {
        let seed = index as u8;
        map(vec![
            uint(index),
            uint(offset),
            uint(length),
            pattern(0x84 + seed, 24),
            b32(0x86 + seed),
        ])
    };
    map(vec![b16(0x80), uint(256), list(vec![tensor(0, 0, 384), tensor(1, 384, 16_472)])])
}

fn leaf() -> Value {
    map(vec![uint(1), uint(300), uint(7), b32(0x47)])
}

/// Filler: these vectors show shapes, and the reference does not sign.
fn signed(payload: &[u8]) -> Value {
    r::sign1(payload, [0xee; 64])
}

// ---- small things ----

fn uint(number: u64) -> Value {
    Value::Uint(number)
}

fn b16(byte: u8) -> Value {
    Value::Bytes(vec![byte; 16])
}

fn b32(byte: u8) -> Value {
    Value::Bytes(vec![byte; 32])
}

fn verify_key(seed: u8) -> Value {
    Value::Bytes([vec![0x04], bytes(seed, 64)].concat())
}

fn pattern(seed: u8, length: usize) -> Value {
    Value::Bytes(bytes(seed, length))
}

/// A run whose period is prime, so that swapped pieces show.
fn bytes(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|i| seed.wrapping_add((i % 251) as u8)).collect()
}

/// A hash-sized run.
fn fill(seed: u8) -> r::Hash {
    bytes(seed, 32).try_into().expect("32 bytes were asked for")
}

fn list(items: Vec<Value>) -> Value {
    Value::Array(items)
}

fn map(fields: Vec<Value>) -> Value {
    Value::Map((1..).zip(fields).collect())
}

/// A value with its fields named; payloads of signed objects are shown decoded.
fn fields(value: &Value, shape: &Shape) -> Json {
    match (shape, value) {
        (Shape::Map(names), Value::Map(pairs)) => {
            let named = names.iter().zip(pairs);
            named
                .map(|((name, shape), (_, item))| ((*name).to_owned(), fields(item, shape)))
                .collect()
        }
        (Shape::List(_, _, shape), Value::Array(items)) => {
            items.iter().map(|item| fields(item, shape)).collect()
        }
        (Shape::Signed(object, shape), value) => {
            let payload = r::payload_of(value).expect("a signed object");
            let inner = r::decode(&payload).expect("an encoded payload");
            json!({ "object": object, "payload": fields(&inner, shape) })
        }
        (_, Value::Uint(number)) => json!(number),
        (_, Value::Bytes(bytes)) => json!(hex(bytes)),
        (shape, value) => panic!("{value:?} is not {shape:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn case(name: &str, input: Json, expect: Json, comment: &str) -> Json {
    json!({ "name": name, "input": input, "expect": expect, "comment": comment })
}

fn compare(file: &str, cases: Vec<Json>) {
    let mut names: Vec<&str> = cases.iter().filter_map(|case| case["name"].as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two cases of one name in {file}");
    let made = serde_json::to_string_pretty(&Json::Array(cases)).expect("JSON can be written");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    if std::env::var_os("SPEC_BLESS").is_some() {
        fs::write(&path, made + "\n").expect("vectors can be written");
        return;
    }
    let committed = fs::read_to_string(&path).expect("the vectors are committed");
    assert!(committed.trim_end() == made, "{file} is old: run with SPEC_BLESS=1 and read the diff");
}
