//! The CPU half: an attestation token of the CPU's verifier, and a proof by the key it confirms.
//!
//! Chapter 20. The token is an EAT (RFC 9711) as a CWT (RFC 8392), in one profile and one encoding,
//! signed by an issuer that the policy names. Its nonce is the report data of this session, so it is
//! as fresh as the session; its `cnf` (RFC 8747) is a key that the measured code holds, which signs
//! the report data again: a token that leaked from its issuer is no Evidence. What the issuer checked
//! of the CPU's own report is the issuer's to say. [HS-29]

use minicbor::{Decode, Decoder, Encode, Encoder};
use split_custody_keys::{hash, verify};
use split_custody_protocol::suite::{Bytes, Digest, Signature, VerifyKey};
use split_custody_protocol::wire::{ObjectKind, Signed, decode};

use super::UnixTime;
use super::policy::KnownPolicy;
use super::reason::Reason;

/// The CPU half on the wire.
#[derive(Clone, Debug, Decode, Encode, Eq, PartialEq)]
#[cbor(map)]
pub struct CpuHalf {
    /// An encoded COSE_Sign1 around a [`Token`].
    #[n(1)]
    pub token: Bytes<4096>,
    /// By the confirmed key, over the report data.
    #[n(2)]
    pub proof: Signature,
}

/// What an issuer says of a CPU.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// `exp`.
    pub expires: UnixTime,
    /// `iat`.
    pub issued: UnixTime,
    /// `cnf`: an EC2 key on P-256.
    pub confirmed: VerifyKey,
    /// `eat_nonce`: H("cpu", S, H("evidence", GPU half)).
    pub report_data: Digest,
    /// `ueid`: which CPU.
    pub ueid: [u8; 33],
    /// `dbgstat`.
    pub debug: u8,
    /// `measurements`, each a SHA-256.
    pub measurements: Vec<Digest>,
}

/// Proof: an issuer of the policy vouches for this CPU, now, and the confirmed key is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Confirmed {
    token: Token,
}

impl Confirmed {
    pub const fn report_data(&self) -> &Digest {
        &self.token.report_data
    }

    pub fn platform(&self) -> Digest {
        platform_id(&self.token.ueid)
    }

    pub fn measurements(&self) -> &[Digest] {
        &self.token.measurements
    }

    /// The key that the measured code proved to hold.
    pub const fn key(&self) -> &VerifyKey {
        &self.token.confirmed
    }
}

impl CpuHalf {
    /// The longest encoded half.
    pub const CAP: usize = 4096 + 128;

    /// What the confirmed key signs.
    pub fn proof_message(report_data: &Digest) -> Vec<u8> {
        Signed::message_over(ObjectKind::CpuProof, report_data.as_bytes())
    }

    /// Signature first, then content, then time, debugging, measurements and proof. [HS-29]
    pub(super) fn verify(
        bytes: &[u8],
        policy: &KnownPolicy,
        at: UnixTime,
    ) -> Result<Confirmed, Reason> {
        let half: Self = decode(bytes, Self::CAP).map_err(|_| Reason::TokenMalformed)?;
        let signed: Signed = decode(half.token.as_bytes(), half.token.as_bytes().len())
            .map_err(|_| Reason::TokenMalformed)?;
        let message = signed.message(ObjectKind::CpuToken);
        let issuers = &policy.policy().token_issuers;
        let signs = |key: &VerifyKey| verify(key, &message, signed.signature()).is_ok();
        if !issuers.iter().any(signs) {
            return Err(Reason::TokenSignature);
        }
        let token = Token::decode(signed.payload_bytes()).ok_or(Reason::TokenMalformed)?;
        if at < token.issued || at >= token.expires {
            return Err(Reason::TokenNotNow);
        }
        if !NOT_DEBUGGED.contains(&token.debug) {
            return Err(Reason::TokenDebug);
        }
        let listed = &policy.policy().token_measurements;
        let named = |found: &Digest| listed.iter().any(|named| named == found);
        if token.measurements.is_empty() || !token.measurements.iter().all(named) {
            return Err(Reason::TokenMeasurement);
        }
        let proof = Self::proof_message(&token.report_data);
        verify(&token.confirmed, &proof, &half.proof).map_err(|_| Reason::TokenProof)?;
        Ok(Confirmed { token })
    }
}

impl Token {
    /// The one encoding: what an issuer signs.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // INVARIANT: writing to a `Vec` cannot fail.
        self.write(&mut Encoder::new(&mut bytes)).expect("a `Vec` takes all bytes");
        bytes
    }

    fn write(
        &self,
        e: &mut Encoder<&mut Vec<u8>>,
    ) -> Result<(), minicbor::encode::Error<std::convert::Infallible>> {
        let (_, point) = self.confirmed.as_bytes().split_at(1);
        let (x, y) = point.split_at(32);
        e.map(8)?.u8(EXP)?.u64(self.expires.seconds())?.u8(IAT)?.u64(self.issued.seconds())?;
        e.u8(CNF)?.map(1)?.u8(COSE_KEY)?.map(4)?.u8(KTY)?.u8(EC2)?;
        e.i8(CRV)?.u8(P256)?.i8(X)?.bytes(x)?.i8(Y)?.bytes(y)?;
        e.u8(EAT_NONCE)?.bytes(self.report_data.as_bytes())?.u16(UEID)?.bytes(&self.ueid)?;
        e.u16(DBGSTAT)?.u8(self.debug)?.u16(PROFILE)?.str(OUR_PROFILE)?.u16(MEASUREMENTS)?;
        e.array(self.measurements.len() as u64)?;
        for measurement in &self.measurements {
            e.array(2)?.u8(OCTETS)?.bytes(measurement.as_bytes())?;
        }
        Ok(())
    }

    /// Reads the one encoding and nothing else. [HS-29]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut d = Decoder::new(bytes);
        let token = Self::read(&mut d).ok().flatten()?;
        (token.encode() == bytes).then_some(token)
    }

    /// Values in their order; keys and constants are compared by encoding again.
    fn read(d: &mut Decoder<'_>) -> Result<Option<Self>, minicbor::decode::Error> {
        d.map()?;
        let expires = UnixTime::new(key(d)?.u64()?);
        let issued = UnixTime::new(key(d)?.u64()?);
        key(d)?.map()?;
        key(d)?.map()?;
        key(d)?.skip()?;
        key(d)?.skip()?;
        let x: Option<[u8; 32]> = key(d)?.bytes()?.try_into().ok();
        let y: Option<[u8; 32]> = key(d)?.bytes()?.try_into().ok();
        let nonce: Option<[u8; 32]> = key(d)?.bytes()?.try_into().ok();
        let ueid: Option<[u8; 33]> = key(d)?.bytes()?.try_into().ok();
        let debug = key(d)?.u8()?;
        key(d)?.str()?;
        let count = key(d)?.array()?.filter(|count| (1..=MOST).contains(count));
        let (Some(x), Some(y), Some(nonce), Some(ueid), Some(count)) = (x, y, nonce, ueid, count)
        else {
            return Ok(None);
        };
        let mut measurements = Vec::new();
        for _ in 0..count {
            d.array()?;
            d.skip()?;
            let Ok(value) = d.bytes()?.try_into() else { return Ok(None) };
            measurements.push(Digest::new(value));
        }
        let mut point = [4; 65];
        for (to, from) in point.iter_mut().skip(1).zip(x.iter().chain(&y)) {
            *to = *from;
        }
        let (confirmed, report_data) = (VerifyKey::new(point), Digest::new(nonce));
        Ok(Some(Self { expires, issued, confirmed, report_data, ueid, debug, measurements }))
    }
}

/// Past a key.
fn key<'a, 'b>(d: &'a mut Decoder<'b>) -> Result<&'a mut Decoder<'b>, minicbor::decode::Error> {
    d.skip()?;
    Ok(d)
}

/// Names a CPU by the id that its issuer gives it.
pub fn platform_id(ueid: &[u8; 33]) -> Digest {
    hash(PLATFORM, &[ueid])
}

const PLATFORM: &str = "split-custody/v1/platform-ueid";
const OUR_PROFILE: &str = "tag:split-custody,2026:cpu/1";
/// Disabled since boot, permanently, fully and permanently.
const NOT_DEBUGGED: [u8; 3] = [2, 3, 4];
const MOST: u64 = 8;
// Claims: RFC 8392, RFC 8747, RFC 9711. Key parameters: RFC 9053.
const EXP: u8 = 4;
const IAT: u8 = 6;
const CNF: u8 = 8;
const EAT_NONCE: u8 = 10;
const UEID: u16 = 256;
const DBGSTAT: u16 = 263;
const PROFILE: u16 = 265;
const MEASUREMENTS: u16 = 273;
const COSE_KEY: u8 = 1;
const KTY: u8 = 1;
const EC2: u8 = 2;
const CRV: i8 = -1;
const P256: u8 = 1;
const X: i8 = -2;
const Y: i8 = -3;
/// The content format of raw bytes.
const OCTETS: u8 = 42;
