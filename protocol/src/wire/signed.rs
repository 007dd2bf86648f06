//! The signature envelope: COSE_Sign1 with one header, over bytes as received. Chapter 10.

use alloc::vec::Vec;

use minicbor::{Decode, Decoder, Encode, Encoder};

use crate::error::DecodeError;
use crate::require::bound;
use crate::suite::Signature;
use crate::wire::codec;

/// COSE_Sign1 (RFC 9052 section 4.2) with protected header `{1: -7}` and nothing unprotected.
///
/// The payload stays the bytes that were received; [`Signed::payload`] decodes it only after the
/// caller has verified. [WIRE-4]
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Signed {
    payload: Vec<u8>,
    signature: Signature,
}

/// What kind of object a signature is for: the external AAD of its `Sig_structure`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ObjectKind {
    Grant,
    Acknowledgement,
    Dead,
    Manifest,
    Deployment,
    Provision,
    Order,
    Activation,
    SoftwareGpu,
    SoftwareCpu,
    AppraisalPolicy,
    Revocations,
    CpuToken,
    CpuProof,
}

impl ObjectKind {
    pub const fn aad(self) -> &'static str {
        match self {
            Self::Grant => "split-custody/v1/grant",
            Self::Acknowledgement => "split-custody/v1/acknowledgement",
            Self::Dead => "split-custody/v1/dead",
            Self::Manifest => "split-custody/v1/manifest",
            Self::Deployment => "split-custody/v1/deployment",
            Self::Provision => "split-custody/v1/provision",
            Self::Order => "split-custody/v1/order",
            Self::Activation => "split-custody/v1/activation",
            Self::SoftwareGpu => "split-custody/v1/software-gpu",
            Self::SoftwareCpu => "split-custody/v1/software-cpu",
            Self::AppraisalPolicy => "split-custody/v1/appraisal-policy",
            Self::Revocations => "split-custody/v1/revocations",
            Self::CpuToken => "split-custody/v1/cpu-token",
            Self::CpuProof => "split-custody/v1/cpu-proof",
        }
    }
}

impl Signed {
    /// The longest payload.
    pub const CAP: usize = 49_152;
    /// ES256 and nothing else. [WIRE-4]
    pub const PROTECTED: [u8; 3] = [0xa1, 0x01, 0x26];

    pub const fn new(payload: Vec<u8>, signature: Signature) -> Self {
        Self { payload, signature }
    }

    pub const fn signature(&self) -> &Signature {
        &self.signature
    }

    pub fn payload_bytes(&self) -> &[u8] {
        &self.payload
    }

    /// Decodes the payload; verify first.
    pub fn payload<T: Encode<()> + for<'b> Decode<'b, ()>>(&self) -> Result<T, DecodeError> {
        codec::decode(&self.payload, Self::CAP)
    }

    /// The bytes that the signature covers.
    pub fn message(&self, kind: ObjectKind) -> Vec<u8> {
        Self::message_over(kind, &self.payload)
    }

    /// `Sig_structure` of RFC 9052 section 4.4.
    pub fn message_over(kind: ObjectKind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(payload.len() + 64);
        let mut encoder = Encoder::new(&mut bytes);
        encoder
            .array(4)
            .and_then(|e| e.str("Signature1"))
            .and_then(|e| e.bytes(&Self::PROTECTED))
            .and_then(|e| e.bytes(bound!(SignedKind, kind.aad().as_bytes())))
            .and_then(|e| e.bytes(payload))
            // INVARIANT: writing to a `Vec` cannot fail.
            .expect("a `Vec` takes all bytes");
        bytes
    }
}

impl<C> Encode<C> for Signed {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(4)?
            .bytes(&Self::PROTECTED)?
            .map(0)?
            .bytes(&self.payload)?
            .bytes(self.signature.as_bytes())?
            .ok()
    }
}

impl<'b, C> Decode<'b, C> for Signed {
    fn decode(d: &mut Decoder<'b>, ctx: &mut C) -> Result<Self, minicbor::decode::Error> {
        let refuse = minicbor::decode::Error::message;
        if d.array()? != Some(4) {
            return Err(refuse("COSE_Sign1 has four parts"));
        }
        if d.bytes()? != Self::PROTECTED || d.map()? != Some(0) {
            return Err(refuse("protected header is not exactly ES256"));
        }
        let payload = d.bytes()?;
        if payload.is_empty() || payload.len() > Self::CAP {
            return Err(refuse("payload empty or above its cap"));
        }
        Ok(Self { payload: payload.to_vec(), signature: Signature::decode(d, ctx)? })
    }
}
