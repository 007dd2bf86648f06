//! Reading the vectors, and patterns. Not every test file uses all of it.

#![allow(dead_code, unused_macros)]

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// One test of each body over every backend: `operations!(test => body, …)`.
macro_rules! operations {
    (@over $name:ident, $backend:expr, $($test:ident => $body:ident,)*) => {
        mod $name {
            $(
                #[test]
                fn $test() {
                    super::$body(&$backend);
                }
            )*
        }
    };
    ($($test:ident => $body:ident,)*) => {
        operations!(@over portable, split_custody_kernels::Portable, $($test => $body,)*);
        operations!(@over shim, split_custody_kernels::shim::shim(), $($test => $body,)*);
        #[cfg(feature = "gpu-tests")]
        operations!(@over cuda, crate::common::gpu(), $($test => $body,)*);
    };
}

/// The text of a file of vectors.
pub fn text(name: &str) -> String {
    // A machine with a GPU may have the vectors elsewhere than the machine that built this.
    let folder = std::env::var_os("SPLIT_CUSTODY_VECTORS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors"),
        std::path::PathBuf::from,
    );
    let path = folder.join(name);
    std::fs::read_to_string(&path).expect("the vectors are in the repository")
}

pub fn load<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&text(name)).expect("the vectors are JSON of this schema")
}

/// What zlib gave, even if it was cut off.
pub fn inflate(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // Vectors may end in a sync flush without a zlib trailer: what came before counts.
    let _ = flate2::read::ZlibDecoder::new(bytes).read_to_end(&mut out);
    out
}

/// Bytes of hexadecimal digits.
pub fn unhex(text: &str) -> Vec<u8> {
    let digit =
        |at| u8::from_str_radix(&text[at..at + 2], 16).expect("the vectors are hexadecimal");
    (0..text.len()).step_by(2).map(digit).collect()
}

/// Hexadecimal digits of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes of a prime period, so that swapped chunks show.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8).collect()
}

/// Every test of a Wycheproof file, with its group.
pub fn wycheproof(file: &str) -> impl Iterator<Item = (Value, Value)> + use<> {
    let json: Value = load(file);
    let groups = json["testGroups"].as_array().unwrap().clone();
    let count: usize = groups.iter().map(|group| group["tests"].as_array().unwrap().len()).sum();
    assert_eq!(json["numberOfTests"], count);
    groups.into_iter().flat_map(|group| {
        let tests = group["tests"].as_array().unwrap().clone();
        tests.into_iter().map(move |test| (group.clone(), test))
    })
}

/// One case of a NIST file: `NAME = value` lines up to an empty one.
pub struct NistCase {
    fields: Vec<(String, String)>,
    pub fails: bool,
}

impl NistCase {
    /// The value of a line.
    pub fn field(&self, name: &str) -> &str {
        let field = self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        &field.expect("the case has this field").1
    }
}

/// The cases of a NIST file.
pub fn nist(file: &str) -> Vec<NistCase> {
    let cases = text(file).replace('\r', "");
    let cases =
        cases.split("\n\n").filter(|case| case.trim_start().to_lowercase().starts_with("count"));
    cases
        .map(|case| NistCase {
            fields: case
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.trim().into(), value.trim().into()))
                .collect(),
            fails: case.lines().any(|line| line == "FAIL"),
        })
        .collect()
}

/// Whether a test has a flag.
pub fn has(test: &Value, flag: &str) -> bool {
    test["flags"].as_array().unwrap().iter().any(|f| f == flag)
}

/// The bytes of a field.
pub fn bytes(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

/// The same, 32 of them.
pub fn array(value: &Value) -> [u8; 32] {
    bytes(value).try_into().unwrap()
}

/// The same, 12 of them.
pub fn array12(value: &Value) -> [u8; 12] {
    bytes(value).try_into().unwrap()
}

/// The GPU of this machine. A program built for one fails where there is none.
#[cfg(feature = "gpu-tests")]
pub fn gpu() -> split_custody_kernels::device::DeviceBackend<split_custody_kernels::cuda::Gpu> {
    split_custody_kernels::cuda::gpu().expect("this program was built for a machine with a GPU")
}
