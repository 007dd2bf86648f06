//! Evidence of kind `software`: invented, or genuine and changed.
//!
//! Chapter 20. Evidence that is accepted for a device is what that device signed, both halves
//! [HS-13] [HS-14]; unchanged Evidence is accepted. Halves of two devices name a third.
//! It does not ask whether report data and nonce fit a session: that is the handshake's. An ECDSA
//! signature has a twin that verifies too; a changed signature over the same payload is no forgery.

use arbitrary::{Arbitrary, Unstructured};
use split_custody_attest::{RejectReason, appraise};
use split_custody_protocol::effect::Verdict;
use split_custody_protocol::suite::{Bytes, Signature};
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::{Signed, decode, encode};

use crate::fixtures::{self, Which};

/// The body.
pub fn run(input: &[u8]) {
    if let Ok(plan) = Plan::arbitrary(&mut Unstructured::new(input))
        && let Some(evidence) = plan.evidence()
    {
        check(&evidence, appraise);
    }
}

/// The oracle: who is accepted for a device signed both payloads.
pub fn check(evidence: &Evidence, appraise: impl Fn(&Evidence) -> Result<Verdict, RejectReason>) {
    let verdict = appraise(evidence);
    for which in [Which::One, Which::Other] {
        let genuine = fixtures::evidence(which);
        let device = appraise(genuine).map(|verdict| verdict.device);
        let device = device.expect("unchanged Evidence is accepted");
        if verdict.as_ref().is_ok_and(|verdict| verdict.device == device) {
            assert_eq!(evidence.kind, genuine.kind, "another kind speaks for the device");
            assert_eq!(payloads(evidence), payloads(genuine), "the device did not sign this");
        }
    }
}

/// What the two halves say, without the signatures.
fn payloads(evidence: &Evidence) -> [Option<Vec<u8>>; 2] {
    [evidence.gpu.as_bytes(), evidence.cpu.as_bytes()]
        .map(|half| signed(half).map(|signed| signed.payload_bytes().to_vec()))
}

fn signed(half: &[u8]) -> Option<Signed> {
    decode(half, half.len()).ok()
}

/// Where Evidence comes from, and what is done to it.
#[derive(Arbitrary, Clone, Debug)]
pub struct Plan {
    origin: Origin,
    harms: Vec<Harm>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Origin {
    Genuine(Which),
    Invented { kind: u16, gpu: Vec<u8>, cpu: Vec<u8> },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Half {
    Gpu,
    Cpu,
}

/// One change to one half.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Harm {
    Kind(u16),
    Flip {
        half: Half,
        at: u16,
        bit: u8,
    },
    Insert {
        half: Half,
        at: u16,
        byte: u8,
    },
    Remove {
        half: Half,
        at: u16,
    },
    Cut {
        half: Half,
        length: u16,
    },
    /// The whole half of a device.
    Splice {
        half: Half,
        from: Which,
    },
    SwapHalves,
    /// A signature of a device over its own half.
    GraftSignature {
        half: Half,
        from: Which,
    },
    /// The other signature that ECDSA gives for the same payload.
    TwinSignature {
        half: Half,
    },
    /// One byte of what is signed, in an envelope that still decodes.
    FlipPayload {
        half: Half,
        at: u16,
        bit: u8,
    },
}

impl Plan {
    fn evidence(&self) -> Option<Evidence> {
        let (mut kind, mut halves) = match &self.origin {
            Origin::Genuine(which) => {
                let genuine = fixtures::evidence(*which);
                let half = |bytes: &[u8]| bytes.to_vec();
                (genuine.kind, [half(genuine.gpu.as_bytes()), half(genuine.cpu.as_bytes())])
            }
            Origin::Invented { kind, gpu, cpu } => {
                (EvidenceKind::new(*kind), [gpu.clone(), cpu.clone()])
            }
        };
        for harm in self.harms.iter().take(MOST_HARMS) {
            match harm {
                Harm::Kind(other) => kind = EvidenceKind::new(*other),
                Harm::SwapHalves => halves.reverse(),
                harm => harm.apply(&mut halves),
            }
        }
        let [gpu, cpu] = halves;
        Some(Evidence { kind, gpu: Bytes::new(gpu)?, cpu: Bytes::new(cpu)? })
    }
}

impl Harm {
    fn apply(self, halves: &mut [Vec<u8>; 2]) {
        match self {
            Self::Kind(_) | Self::SwapHalves => {}
            Self::Flip { half, at, bit } => flip(&mut halves[half as usize], at, bit),
            Self::Insert { half, at, byte } => {
                let bytes = &mut halves[half as usize];
                bytes.insert(usize::from(at) % (bytes.len() + 1), byte);
            }
            Self::Remove { half, at } => {
                let bytes = &mut halves[half as usize];
                if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
                    bytes.remove(at);
                }
            }
            Self::Cut { half, length } => halves[half as usize].truncate(length.into()),
            Self::Splice { half, from } => halves[half as usize] = genuine_half(from, half),
            Self::GraftSignature { half, from } => {
                let foreign = signed(&genuine_half(from, half));
                resign(&mut halves[half as usize], |_| foreign.map(|s| *s.signature()));
            }
            Self::TwinSignature { half } => {
                resign(&mut halves[half as usize], |signed| Some(twin(signed.signature())));
            }
            Self::FlipPayload { half, at, bit } => {
                flip_payload(&mut halves[half as usize], at, bit)
            }
        }
    }
}

fn genuine_half(which: Which, half: Half) -> Vec<u8> {
    let evidence = fixtures::evidence(which);
    match half {
        Half::Gpu => evidence.gpu.as_bytes().to_vec(),
        Half::Cpu => evidence.cpu.as_bytes().to_vec(),
    }
}

fn flip(bytes: &mut [u8], at: u16, bit: u8) {
    if let Some(at) = usize::from(at).checked_rem(bytes.len()) {
        bytes[at] ^= 1 << (bit % 8);
    }
}

/// Replaces the signature of a half that is an envelope.
fn resign(half: &mut Vec<u8>, signature: impl FnOnce(&Signed) -> Option<Signature>) {
    if let Some(signed) = signed(half)
        && let Some(signature) = signature(&signed)
    {
        *half = encode(&Signed::new(signed.payload_bytes().to_vec(), signature));
    }
}

fn flip_payload(half: &mut Vec<u8>, at: u16, bit: u8) {
    if let Some(signed) = signed(half) {
        let mut payload = signed.payload_bytes().to_vec();
        flip(&mut payload, at, bit);
        *half = encode(&Signed::new(payload, *signed.signature()));
    }
}

/// `(r, n - s)` of `(r, s)`.
fn twin(signature: &Signature) -> Signature {
    let mut bytes = *signature.as_bytes();
    let mut borrow = 0;
    for (s, n) in bytes[32..].iter_mut().zip(ORDER).rev() {
        let difference = i16::from(n) - i16::from(*s) - borrow;
        borrow = i16::from(difference < 0);
        *s = difference.rem_euclid(256) as u8;
    }
    Signature::new(bytes)
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// More harms than this say nothing new.
const MOST_HARMS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_13_twin_signature_verifies_and_says_nothing_new() {
        for half in [Half::Gpu, Half::Cpu] {
            let harms = vec![Harm::TwinSignature { half }];
            let plan = Plan { origin: Origin::Genuine(Which::One), harms };
            let evidence = plan.evidence().expect("neither half is empty");
            assert_ne!(&evidence, fixtures::evidence(Which::One));
            assert!(appraise(&evidence).is_ok());
            check(&evidence, appraise);
        }
    }
}
