//! Reading the vectors, and patterns. Not every test file uses all of it.

#![allow(dead_code)]

use std::io::Read;
use std::path::Path;

use serde::de::DeserializeOwned;

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

/// The GPU of this machine. A program built for one fails where there is none.
#[cfg(feature = "cuda")]
pub fn gpu() -> split_custody_kernels::device::DeviceBackend<split_custody_kernels::cuda::Gpu> {
    split_custody_kernels::cuda::gpu().expect("this program was built for a machine with a GPU")
}
