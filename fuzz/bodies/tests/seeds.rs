//! Makes fixtures and seeds. Ignored: run by hand when formats change.
//!
//! `cargo test --release -p split-custody-fuzz-bodies --test seeds -- --ignored`
//! Fixtures come first, since seeds of the structured targets are replayed over them.

use std::fs;
use std::path::{Path, PathBuf};

use split_custody_attest::{Measurements, SoftwareAttester};
use split_custody_fuzz_bodies::fixtures::{self, LENGTHS, Which};
use split_custody_fuzz_bodies::nvidia;
use split_custody_keys::{SigningKey, hash_label};
use split_custody_protocol::suite::{Digest, Label};
use split_custody_protocol::wire::encode;
use split_custody_weights::{Threads, seal};

#[test]
#[ignore = "writes fixtures"]
fn fixtures_are_made() {
    fs::create_dir_all(fixtures::path(Which::One, "sealed").parent().unwrap()).unwrap();
    for which in [Which::One, Which::Other] {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("source.safetensors");
        let sealed = folder.path().join("sealed");
        fs::write(&source, safetensors(which)).unwrap();
        let ids = fixtures::ids(which);
        seal(&source, &sealed, &fixtures::dek(), &ids, Threads::one(), &|_| ()).unwrap();
        fs::copy(&sealed, fixtures::path(which, "sealed")).unwrap();

        let key = || SigningKey::generate().unwrap();
        let measurements =
            Measurements { gpu: Digest::new([0xa1; 32]), cpu: Digest::new([0xa2; 32]) };
        let attester = SoftwareAttester::new(key(), key(), measurements, 1);
        let session = Digest::new([0x51; 32]);
        let nonce = hash_label(Label::Gpu, &[session.as_bytes()]);
        let evidence = attester.collect(&session, &nonce).unwrap();
        fs::write(fixtures::path(which, "evidence"), encode(&evidence)).unwrap();
    }
}

#[test]
#[ignore = "writes seeds"]
fn seeds_are_made() {
    for (name, bytes) in vectors() {
        seed("wire_decode", &name, &bytes);
    }
    seed("wire_decode", "evidence", &encode(fixtures::evidence(Which::One)));
    seed("safetensors_header", "source", &safetensors(Which::One));
    // The public header alone says `data cut`; the small files below are whole.
    let sealed = &fixtures::sealed(Which::One).bytes;
    seed("safetensors_header", "sealed", &sealed[..2048]);
    for (name, header, data) in SMALL_FILES {
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![7; data]];
        seed("safetensors_header", name, &file.concat());
    }
    let genuine = nvidia::genuine();
    seed("nvidia_report", "genuine", &genuine.report);
    seed("nvidia_chain", "genuine", &genuine.chain);
    seed("nvidia_rim", "genuine", &genuine.rims[0]);
    for target in ["nvidia_report", "nvidia_chain", "nvidia_rim"] {
        for byte in 0..16u8 {
            let plan: Vec<u8> = (0..40u8).map(|i| i.wrapping_mul(5 + 2 * byte) ^ byte).collect();
            seed(target, &format!("edits-{byte:02}"), &[&[byte], plan.as_slice()].concat());
            seed(target, &format!("unchanged-{byte:02}"), &[byte]);
        }
    }
    // Structured targets read a plan from the bytes: a few even patterns reach most of its arms.
    for target in STRUCTURED {
        for byte in 0..24u8 {
            let bytes: Vec<u8> = (0..160u8).map(|i| i.wrapping_mul(7 + 2 * byte)).collect();
            seed(target, &format!("pattern-{byte:02}"), &bytes);
        }
    }
}

/// The inputs of the wire vectors, and the payloads of signed objects inside of them.
fn vectors() -> Vec<(String, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/vectors/wire.json");
    let text = fs::read_to_string(path).unwrap();
    let cases: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let Some(input) = case["input"].as_str() else { continue };
        let bytes: Vec<u8> = (0..input.len() / 2)
            .map(|i| u8::from_str_radix(&input[2 * i..2 * i + 2], 16).unwrap())
            .collect();
        if let Ok((_, body)) = split_custody_spec::reference::open_frame(&bytes) {
            payloads(&body, name, &mut found);
        }
        if bytes.len() <= 4096 {
            found.push((name.to_string(), bytes));
        }
    }
    found
}

fn payloads(
    value: &split_custody_spec::reference::Value,
    name: &str,
    found: &mut Vec<(String, Vec<u8>)>,
) {
    use split_custody_spec::reference::{Value, payload_of};
    if let Ok(payload) = payload_of(value) {
        found.push((format!("{name}-payload-{}", found.len()), payload));
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| payloads(item, name, found)),
        Value::Map(pairs) => pairs.iter().for_each(|(_, item)| payloads(item, name, found)),
        _ => {}
    }
}

fn seed(target: &str, name: &str, bytes: &[u8]) {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../corpus")).join(target);
    fs::create_dir_all(&folder).unwrap();
    let name: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    fs::write(folder.join(name), bytes).unwrap();
}

fn safetensors(which: Which) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::new());
    for (tensor, length) in LENGTHS.into_iter().enumerate() {
        let (begin, end) = (data.len(), data.len() + length);
        entries.push(format!(
            r#""layer.{tensor}":{{"dtype":"U8","shape":[{length}],"data_offsets":[{begin},{end}]}}"#
        ));
        data.extend(fixtures::plaintext(which, tensor));
    }
    let header = format!("{{{}}}", entries.join(","));
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

const STRUCTURED: [&str; 5] =
    ["wire_mutate", "sealed_open", "software_evidence", "custodian_machine", "device_machine"];

/// Name, header, bytes of data.
const SMALL_FILES: [(&str, &str, usize); 6] = [
    ("empty", "{}", 0),
    ("one", r#"{"a":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]}}"#, 12),
    (
        "metadata",
        r#"{"__metadata__":{"k":"v"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}  "#,
        1,
    ),
    (
        "two",
        r#"{"b":{"dtype":"I64","shape":[1],"data_offsets":[4,12]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
        12,
    ),
    ("no-bytes", r#"{"a":{"dtype":"BF16","shape":[0,4],"data_offsets":[0,0]}}"#, 0),
    ("half-bytes", r#"{"a":{"dtype":"F4","shape":[4],"data_offsets":[0,2]}}"#, 2),
];
