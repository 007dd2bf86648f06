//! Evidence out of files, in the forms in which people keep it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use base64ct::{Base64, Encoding};
use serde::Deserialize;
use split_custody_attest::nvidia::Gpu;

use crate::failure::{Failure, io_at};

use super::args::EvidenceArgs;

/// Reports with their chains, and RIMs; nothing is judged yet.
pub struct Intake {
    pub gpus: Vec<(Vec<u8>, Vec<u8>)>,
    pub rims: Vec<Vec<u8>>,
}

/// One GPU as NVIDIA's tools write it. What else it says is not signed and not read.
#[derive(Deserialize)]
struct Written {
    evidence: String,
    certificate: String,
}

impl Intake {
    pub fn read(args: &EvidenceArgs) -> Result<Self, Failure> {
        let rims = args.rims.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
        let mut gpus = Vec::new();
        let mut chains = args.chains.iter();
        for path in &args.reports {
            let bytes = read(path)?;
            if let Some(written) = as_json(&bytes) {
                gpus.extend(written);
                continue;
            }
            let chain = chains.next().ok_or_else(|| {
                Failure::Usage(format!("`{}` needs a --chain of its own", path.display()))
            })?;
            gpus.push((as_hex(&bytes).unwrap_or(bytes), read(chain)?));
        }
        match chains.next() {
            None => Ok(Self { gpus, rims }),
            Some(more) => {
                let text = format!("`{}` is a chain without a report", more.display());
                Err(Failure::Usage(text))
            }
        }
    }

    pub fn gpus(&self) -> Vec<Gpu<'_>> {
        self.gpus.iter().map(|(report, chain)| Gpu { report, chain }).collect()
    }
}

/// The beginning of a file. What is longer is too long for every part of Evidence, so that the
/// verifier says so with its own reason.
pub fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|e| io_at(path, "open the file", &e))?;
    let mut bytes = Vec::new();
    file.take(CAP).read_to_end(&mut bytes).map_err(|e| io_at(path, "read the file", &e))?;
    Ok(bytes)
}

fn as_json(bytes: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let written: Vec<Written> = serde_json::from_slice(bytes).ok()?;
    let decode = |text: &str| Base64::decode_vec(text).ok();
    written.iter().map(|gpu| Some((decode(&gpu.evidence)?, decode(&gpu.certificate)?))).collect()
}

/// Text of hexadecimal digits; white space may surround it.
fn as_hex(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    pairs.map(byte).collect::<Option<Vec<u8>>>().filter(|bytes| !bytes.is_empty())
}

const CAP: u64 = 1 << 20;
