//! A GPU's certificate chain: any bytes, or the genuine one and edits to it.
//!
//! Chapter 20. A chain that is accepted has the keys of a chain that NVIDIA signed, and names its
//! device [HS-23]; the genuine chain is accepted. Base64 in PEM is edited as it is and, by the second
//! form, as DER below it, so that harms reach the certificates.
//! It does not ask who signed a report.

use split_custody_attest::nvidia::DeviceChain;

use crate::nvidia::{examine, genuine, harmed};

/// The body.
pub fn run(input: &[u8]) {
    let chain = match input.split_first() {
        // The second form: edits to one certificate as DER.
        Some((first, plan)) if (0x08..crate::nvidia::RAW).contains(first) => {
            with_der(usize::from(*first) % 5, plan)
        }
        _ => harmed(input, &genuine().chain, &SNIPPETS),
    };
    check(&chain, accepted);
}

/// What is kept of an accepted chain: its keys and its device.
pub type Accepted = (Vec<[u8; 32]>, String);

/// The oracle: nothing but what NVIDIA signed.
pub fn check(chain: &[u8], accepted: impl Fn(&[u8]) -> Option<Accepted>) {
    let genuine = &genuine().chain;
    let found = accepted(chain);
    if chain == genuine {
        assert!(found.is_some(), "HS-23: the genuine chain is not accepted");
    } else if let Some(found) = found {
        let signed = accepted(genuine).expect("HS-23: the genuine chain is not accepted");
        assert_eq!(found, signed, "HS-23: NVIDIA did not sign this");
    }
}

/// Whether the chain alone holds, whatever the report is.
pub fn accepted(chain: &[u8]) -> Option<Accepted> {
    let keep = |chain: &DeviceChain| {
        (chain.keys().iter().map(|key| *key.as_bytes()).collect(), chain.device().to_owned())
    };
    examine(b"", chain, &[], |examined| examined.gpus[0].chain.as_deref().map(keep))
}

fn with_der(which: usize, plan: &[u8]) -> Vec<u8> {
    let text = std::str::from_utf8(&genuine().chain).expect("PEM");
    let mut certificates: Vec<String> =
        text.split_inclusive(END).map(|certificate| certificate.trim().to_owned()).collect();
    if let Some(certificate) = certificates.get_mut(which) {
        let body = certificate.trim_start_matches(BEGIN).trim_end_matches(END);
        let der = from_base64(&body.replace('\n', ""));
        let input = [&[0], plan].concat();
        *certificate = format!("{BEGIN}\n{}\n{END}", to_base64(&harmed(&input, &der, &SNIPPETS)));
    }
    certificates.join("\n").into_bytes()
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| ALPHABET.iter().position(|letter| *letter == byte).unwrap_or(0);
    let mut bytes = Vec::new();
    for group in text.as_bytes().chunks(4) {
        let word = group.iter().fold(0, |word, byte| word << 6 | value(*byte));
        let padding = group.iter().filter(|byte| **byte == b'=').count();
        let three = [word >> 16, word >> 8, word].map(|byte| (byte & 0xff) as u8);
        bytes.extend(&three[..3 - padding.min(3)]);
    }
    bytes
}

fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = (0..3).fold(0usize, |w, i| w << 8 | usize::from(*group.get(i).unwrap_or(&0)));
        for at in 0..4 {
            let shown = at <= group.len();
            let letter = ALPHABET[word >> (18 - 6 * at) & 63];
            text.push(char::from(if shown { letter } else { b'=' }));
        }
    }
    text
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SNIPPETS: [&[u8]; 5] = [
    b"-----BEGIN CERTIFICATE-----\n",
    b"-----END CERTIFICATE-----\n",
    b"\n",
    // basicConstraints CA:TRUE, and a NULL.
    &[0x30, 0x0f, 6, 3, 0x55, 0x1d, 0x13, 1, 1, 0xff, 4, 5, 0x30, 3, 1, 1, 0xff],
    &[5, 0],
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_23_chain_through_der_and_back_is_the_same() {
        for which in 0..5 {
            let unchanged = with_der(which, &[]);
            assert!(accepted(&unchanged).is_some(), "certificate {which}");
            check(&unchanged, accepted);
        }
    }
}
