//! The cryptography that machines may call: CPU-only, never blocking, on handles.
//!
//! Chapters 20 to 40 lean on it. A machine never inspects a cryptographic value; it asks the
//! suite whether two are the same, whether a signature verifies, whether a share opens. That makes
//! the machines run unchanged over real bytes and over the symbolic terms of the model checker.
//! Anything slow, fallible or held in an HSM is an [`Effect`](crate::effect) instead.

use alloc::vec::Vec;

use minicbor::{Decode, Encode};

use crate::ids::fixed_bytes;
use crate::ids::{CustodianId, ShareIndex, ShareSetId, WeightsId, WeightsVersion};

/// What a machine may compute. Each `Err` names one refusal and nothing about secrets.
pub trait Suite {
    /// SHA-256 over the label and the length-framed fields. [WIRE-5]
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest;

    /// Constant-time equality of two public values; the only comparison machines use on them.
    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs>;

    /// 32 unpredictable bytes that will be seen by others. `slot` names them in a model's trace.
    fn fresh(&mut self, slot: u64) -> Nonce;

    /// A key pair of `suite` for one custodian and attempt; the secret stays behind the handle.
    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey);

    /// ES256 over `signed`, which is a COSE `Sig_structure` around the bytes as received.
    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature>;

    /// Full public-key validation for the suite's group.
    fn validate_key(&mut self, suite: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey>;

    /// Opens a sealed share under `context`; the share stays behind the returned handle.
    fn open_share(
        &mut self,
        suite: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened>;

    /// Compares a share with the commitment that the owner published. One that differs is erased: no
    /// machine names it again. [QRM-8]
    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs>;

    /// Combines shares into a DEK; which shares may be combined is the caller's rule. [QRM-4]
    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened>;

    /// Compares a DEK with the commitment that the owner published. One that differs is erased: no
    /// machine names it again. [QRM-8]
    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs>;
}

/// Where a share belongs; all of it is under the share's commitment.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SharePlace {
    pub set: ShareSetId,
    pub custodian: CustodianId,
    pub index: ShareIndex,
}

/// Domain separation of hashes. [WIRE-5]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Label {
    Hello,
    Th1,
    Th2,
    Entry,
    Session,
    Gpu,
    Cpu,
    Evidence,
    DeviceKey,
    Auth,
    Grant,
    Sealed,
    Manifest,
    Order,
    Provision,
    Kek,
    Leaf,
    Everything,
    Weights,
    Policy,
    Kdf,
}

impl Label {
    /// The label as it enters the hash.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Hello => "split-custody/v1/hello",
            Self::Th1 => "split-custody/v1/th1",
            Self::Th2 => "split-custody/v1/th2",
            Self::Entry => "split-custody/v1/entry",
            Self::Session => "split-custody/v1/session",
            Self::Gpu => "split-custody/v1/gpu",
            Self::Cpu => "split-custody/v1/cpu",
            Self::Evidence => "split-custody/v1/evidence",
            Self::DeviceKey => "split-custody/v1/device-key",
            Self::Auth => "split-custody/v1/auth",
            Self::Grant => "split-custody/v1/grant",
            Self::Sealed => "split-custody/v1/sealed",
            Self::Manifest => "split-custody/v1/manifest",
            Self::Order => "split-custody/v1/order",
            Self::Provision => "split-custody/v1/provision",
            Self::Kek => "split-custody/v1/kek",
            Self::Leaf => "split-custody/v1/leaf",
            Self::Everything => "split-custody/v1/everything",
            Self::Weights => "split-custody/v1/weights",
            Self::Policy => "split-custody/v1/policy",
            Self::Kdf => "split-custody/v1/kdf",
        }
    }
}

/// The label of hashes over secrets, which only a suite's own code computes.
pub mod secret_label {
    pub const SHARE: &str = "split-custody/v1/share";
    pub const DEK: &str = "split-custody/v1/dek";
    pub const DEVICE: &str = "split-custody/v1/device";
    pub const INCARNATION: &str = "split-custody/v1/incarnation";
}

/// An agreement, KDF and wrap under one number, with one signature algorithm (ES256). [REL-12]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Encode, Decode)]
#[cbor(transparent)]
pub struct SuiteId(#[n(0)] u16);

impl SuiteId {
    /// ECDH P-256, X9.63 KDF with SHA-256, AES-256-KW, inside an HSM. Chapter 35.
    pub const P256_X963_KW: Self = Self(0x0001);
    /// ECDH P-256, X9.63 KDF with SHA-256, AES-256-KWP, inside an HSM.
    pub const P256_X963_KWP: Self = Self(0x0002);
    /// ECDH P-256, derivation by AES-CBC, AES-256-KW, inside an HSM; for development only. [HSM-14]
    pub const P256_CBCD_KW: Self = Self(0x0003);
    /// RFC 9180 base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
    pub const HPKE_X25519: Self = Self(0x0012);

    /// The suites that an HSM serves, best first. Chapter 35.
    pub const P256: [Self; 3] = [Self::P256_X963_KW, Self::P256_X963_KWP, Self::P256_CBCD_KW];

    pub const fn new(id: u16) -> Self {
        Self(id)
    }

    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether this version can run the suite. [REL-12]
    pub const fn is_implemented(self) -> bool {
        matches!(
            self,
            Self::P256_X963_KW | Self::P256_X963_KWP | Self::P256_CBCD_KW | Self::HPKE_X25519
        )
    }

    /// The suite of this registered name.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::P256_X963_KW, Self::P256_X963_KWP, Self::P256_CBCD_KW, Self::HPKE_X25519];
        all.into_iter().find(|suite| suite.name() == name)
    }

    /// The suite's registered name, for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256_X963_KW => "P256-X963-KW",
            Self::P256_X963_KWP => "P256-X963-KWP",
            Self::P256_CBCD_KW => "P256-CBCD-KW",
            Self::HPKE_X25519 => "HPKE-X25519",
            _ => "unregistered",
        }
    }
}

fixed_bytes! {
    /// A SHA-256 digest or a domain-separated hash.
    Digest[32];
    /// A public random value.
    Nonce[32];
    /// A TLS exporter value of one channel and context.
    Exporter[32];
    /// Names a device: hash over both halves of its identity, never believed without Evidence.
    DeviceId[32];
    /// Names a life of a device between two scrubs.
    Incarnation[32];
    /// SHA-256 of a certificate's SubjectPublicKeyInfo.
    LeafKey[32];
    /// An ECDSA P-256 public key, uncompressed point.
    VerifyKey[65];
    /// An ECDSA signature as r || s.
    Signature[64];
}

/// A non-empty byte string of at most `CAP` bytes. [WIRE-1]
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bytes<const CAP: usize>(Vec<u8>);

impl<const CAP: usize> Bytes<CAP> {
    /// `None` when empty or above the cap.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (!bytes.is_empty() && bytes.len() <= CAP).then_some(Self(bytes))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const CAP: usize> core::fmt::Debug for Bytes<CAP> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Bytes({} of at most {CAP})", self.0.len())
    }
}

impl<C, const CAP: usize> Encode<C> for Bytes<CAP> {
    fn encode<W: minicbor::encode::Write>(
        &self,
        e: &mut minicbor::Encoder<W>,
        _: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.bytes(&self.0)?.ok()
    }
}

impl<'b, C, const CAP: usize> Decode<'b, C> for Bytes<CAP> {
    fn decode(d: &mut minicbor::Decoder<'b>, _: &mut C) -> Result<Self, minicbor::decode::Error> {
        let bytes = d.bytes()?;
        if bytes.is_empty() || bytes.len() > CAP {
            return Err(minicbor::decode::Error::message("byte string empty or above its cap"));
        }
        Ok(Self(bytes.to_vec()))
    }
}

/// A device's public key for one custodian and attempt; 32 bytes in `HPKE_X25519`,
/// a point of 65 bytes in the P-256 suites.
pub type AgreementKey = Bytes<133>;
/// An encapsulation and a sealed share; 32 + 48 bytes in `HPKE_X25519`, 65 + 40 in P-256 suites.
pub type SealedShare = Bytes<512>;

/// Declares a handle: a number that stands for a secret which this crate never sees.
macro_rules! handle {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(u64);

        impl $name {
            pub const fn new(value: u64) -> Self {
                Self(value)
            }

            pub const fn value(self) -> u64 {
                self.0
            }
        }
    )*};
}

handle! {
    /// The secret half of a device key pair.
    DeviceSecret;
    /// A share, opened.
    ShareHandle;
    /// A combined data-encryption key.
    DekHandle;
}

/// Two values are not the same.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Differs;
/// A signature does not verify.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct BadSignature;
/// A public key is not a valid member of its group.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct InvalidKey;
/// A sealed value does not open, or handles are unknown.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NotOpened;
