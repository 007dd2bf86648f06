//! A GPU's report: any bytes, or the genuine one and edits to it.
//!
//! Chapter 20. What is read has one shape: put together again it is the input [HS-22]. What is
//! accepted was signed by the GPU of the chain, up to the twin that every ECDSA signature has
//! [HS-23]; the genuine report is accepted. Reading allocates within a small multiple of the input.
//! It does not ask whether the nonce fits a session: that is the handshake's.

use split_custody_attest::nvidia::Report;

use crate::allocation;
use crate::nvidia::{examine, genuine, harmed};

/// The body.
pub fn run(input: &[u8]) {
    let report = harmed(input, &genuine().report, &SNIPPETS);
    check(&report, |report| Report::parse(report).ok().map(|r| rebuilt(report, &r)), accepts);
}

/// The oracle: one shape, bounded allocation, and nothing but what the GPU signed.
pub fn check(
    report: &[u8],
    parse: impl Fn(&[u8]) -> Option<Vec<u8>>,
    accepts: impl Fn(&[u8]) -> bool,
) {
    let (read, peak) = allocation::peak(|| parse(report));
    assert!(peak <= 16 * report.len() + 16_384, "HS-22: {peak} bytes held for {}", report.len());
    if let Some(rebuilt) = read {
        assert_eq!(rebuilt, report, "HS-22: what was read is not what came");
    }
    let genuine = &genuine().report;
    let accepted = accepts(report);
    if report == genuine {
        assert!(accepted, "HS-23: the genuine report is not accepted");
    } else if accepted {
        let signed = |report: &[u8]| report[..report.len() - 96].to_vec();
        assert_eq!(signed(report), signed(genuine), "HS-23: the GPU did not sign this");
    }
}

/// With the genuine chain and RIMs.
pub fn accepts(report: &[u8]) -> bool {
    examine(report, &genuine().chain, &genuine().rims, |examined| examined.outcome.is_ok())
}

/// The report out of what was read of it; the responder's nonce is nobody's to read.
fn rebuilt(input: &[u8], report: &Report<'_>) -> Vec<u8> {
    let mut bytes = vec![0x11, 0xe0, 1, 0xff];
    bytes.extend(report.nonce().as_bytes());
    bytes.extend([0, 0x11, 0x60, 0, 0, 64, 0xc0, 0x0d, 0]);
    for index in 0..64u8 {
        bytes.extend([index + 1, 1, 51, 0, 1, 48, 0]);
        bytes.extend(report.measurement(index).expect("64 of them"));
    }
    bytes.extend(&input[3565..3597]);
    let fields = report.opaque().fields().iter();
    let opaque: Vec<u8> = fields
        .flat_map(|(kind, value)| {
            let length = u16::try_from(value.len()).expect("a length of two bytes");
            [&kind.to_le_bytes(), &length.to_le_bytes(), *value].concat()
        })
        .collect();
    bytes.extend(u16::try_from(opaque.len()).expect("a length of two bytes").to_le_bytes());
    bytes.extend(opaque);
    bytes.extend(report.signature());
    bytes
}

/// Fields that decide something.
const SNIPPETS: [&[u8]; 6] = [
    &[3, 0, 7, 0, b'9', b'9', b'9', b'.', b'0', b'0', 0],
    &[20, 0, 0, 0],
    &[21, 0, 1, 0, 0xaa],
    &[34, 0, 2, 0, 1, 0],
    &[36, 0, 2, 0, 2, 0],
    &[0, 0, 0, 0],
];
