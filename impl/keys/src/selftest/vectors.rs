//! Reading vector files: the fields of Wycheproof groups and tests.

use serde_json::Value;

macro_rules! built_in {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../vectors/", $path)))),*]
    };
}

/// Names and texts of the files in the program.
pub(super) const BUILT_IN: &[(&str, &str)] = built_in![
    "hpke-rfc9180/test-vectors.json",
    "wycheproof/aes_gcm_test.json",
    "wycheproof/c2sp_chunked_encryption_aes_256_gcm_test.json",
    "wycheproof/ecdsa_secp256r1_sha256_p1363_test.json",
    "wycheproof/hkdf_sha256_test.json",
    "wycheproof/hkdf_sha512_test.json",
    "wycheproof/hmac_sha256_test.json",
    "wycheproof/x25519_test.json",
];

/// Every test with its group; an RFC 9180 entry is both.
pub(super) fn tests(json: &Value) -> impl Iterator<Item = (&Value, &Value)> {
    let entries = json.as_array().into_iter().flatten().map(|entry| (entry, entry));
    let groups = json.get("testGroups").and_then(Value::as_array).into_iter().flatten();
    let tests = groups.flat_map(|group| {
        let tests = group.get("tests").and_then(Value::as_array).into_iter().flatten();
        tests.map(move |test| (group, test))
    });
    entries.chain(tests)
}

pub(super) fn count(json: &Value) -> usize {
    tests(json).count()
}

/// The number of a test in its file; zero where it has none.
pub(super) fn id(test: &Value) -> u64 {
    test.get("tcId").and_then(Value::as_u64).unwrap_or(0)
}

/// A field of bytes; `None` when it is missing or not hexadecimal.
pub(super) fn bytes(value: &Value, field: &str) -> Option<Vec<u8>> {
    crate::files::hex(value.get(field)?.as_str()?)
}

pub(super) fn number(value: &Value, field: &str) -> Option<u64> {
    value.get(field)?.as_u64()
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value.get(field)?.as_str()
}

/// What a correct implementation does with a vector.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Expected {
    Valid,
    Invalid,
    /// Left open by the definition.
    Acceptable,
}

pub(super) fn expected(test: &Value) -> Option<Expected> {
    match text(test, "result")? {
        "valid" => Some(Expected::Valid),
        "invalid" => Some(Expected::Invalid),
        "acceptable" => Some(Expected::Acceptable),
        _ => None,
    }
}
