//! The symbolic suite: perfect cryptography as terms in the protocol's own value types.
//!
//! Chapters 20 to 40. A term is a constructor over values, compressed to a content-addressed id
//! that fills the same newtype as the real value; equal terms have equal ids in every run and on
//! every thread. What can be taken apart (a sealed share, a report) keeps its parts readable, and
//! only the functions here that stand for holding a key make or open it.
//! It models no guessing, no algebra and no side channel.

use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, BadSignature, DekHandle, DeviceId, DeviceSecret, Differs, Digest, Exporter,
    Incarnation, InvalidKey, Label, LeafKey, Nonce, NotOpened, SealedShare, ShareHandle,
    SharePlace, Signature, Suite, SuiteId, VerifyKey, secret_label,
};
use split_custody_protocol::wire::grant::GrantDraft;

use crate::intruder::oracle;
pub use crate::term::term;

/// Who holds a key or draws a value.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Principal {
    Owner,
    Operator,
    /// A further operator, where a deployment has more than the one.
    OtherOperator(u8),
    /// Somebody without any authority.
    Stranger,
    Custodian(u8),
    Device,
    /// A second honest device, where two are enrolled.
    OtherDevice,
}

impl Principal {
    fn bytes(self) -> [u8; 2] {
        match self {
            Self::Owner => [0, 0],
            Self::Operator => [1, 0],
            Self::OtherOperator(number) => [1, number],
            Self::Stranger => [2, 0],
            Self::Custodian(id) => [3, id],
            Self::Device => [4, 0],
            Self::OtherDevice => [4, 1],
        }
    }

    /// The public half of this principal's signing key.
    pub fn verify_key(self) -> VerifyKey {
        let mut key = [0; 65];
        key[0] = 4;
        key[1..33].copy_from_slice(&term("verify-key", &[&self.bytes()]));
        VerifyKey::new(key)
    }

    /// A signature: only who holds the key may call this.
    pub fn sign(self, message: &[u8]) -> Signature {
        let mut signature = [0; 64];
        let id = term("signature", &[self.verify_key().as_bytes(), message]);
        signature[..32].copy_from_slice(&id);
        Signature::new(signature)
    }

    /// The SPKI digest of this principal's TLS leaf in one of its lives.
    pub fn leaf(self, life: u64) -> LeafKey {
        LeafKey::new(term("leaf", &[&self.bytes(), &life.to_be_bytes()]))
    }

    /// The SPKI digest of the node issuer that certified a device leaf.
    pub fn issuer() -> LeafKey {
        LeafKey::new(term("issuer", &[]))
    }
}

/// The suite of one principal in one of its lives.
#[derive(Clone, Copy, Debug)]
pub struct SymbolicSuite {
    principal: Principal,
    life: u64,
    /// How many true shares make the DEK.
    threshold: usize,
    keys: Keys,
}

/// Where key pairs come from.
#[derive(Clone, Copy, Debug)]
enum Keys {
    /// Each is drawn for itself.
    Fresh,
    /// All from one state of the generator: what a snapshot that is restored does.
    One,
}

impl SymbolicSuite {
    pub const fn new(principal: Principal, life: u64, threshold: usize) -> Self {
        Self { principal, life, threshold, keys: Keys::Fresh }
    }

    /// The same suite, whose generator draws one key pair again and again.
    #[must_use]
    pub const fn with_one_key(self) -> Self {
        Self { keys: Keys::One, ..self }
    }
}

/// The public key of a secret.
pub fn public_key(secret: DeviceSecret) -> AgreementKey {
    let id = term("public", &[&secret.value().to_be_bytes()]);
    AgreementKey::new(id.to_vec()).expect("32 bytes are within the cap")
}

/// The secret that the adversary generated itself.
pub const ADVERSARY_SECRET: DeviceSecret = DeviceSecret::new(0xbad);

/// The DEK that the owner dealt.
pub const DEK: DekHandle = DekHandle::new(0xdec);

/// The true share of a custodian, which is also its index.
pub const fn true_share(custodian: u8) -> ShareHandle {
    ShareHandle::new(0x100 + custodian as u64)
}

/// A share that a liar made up.
pub const fn false_share(custodian: u8) -> ShareHandle {
    ShareHandle::new(0x200 + custodian as u64)
}

/// `H("share", …)` over a share, as the owner published it.
pub fn share_commitment(share: ShareHandle, place: &SharePlace) -> Digest {
    Digest::new(term(
        secret_label::SHARE,
        &[
            place.set.as_bytes(),
            &[place.custodian.value(), place.index.value()],
            &share.value().to_be_bytes(),
        ],
    ))
}

/// `H("dek", …)` over a DEK, as the owner published it.
pub fn dek_commitment(dek: DekHandle, weights: WeightsId, version: WeightsVersion) -> Digest {
    Digest::new(term(
        secret_label::DEK,
        &[weights.as_bytes(), &version.value().to_be_bytes(), &dek.value().to_be_bytes()],
    ))
}

/// Seals a share: only who holds it may call this.
pub fn seal_share(share: ShareHandle, to: &AgreementKey, context: &Digest) -> SealedShare {
    let mut bytes = to.as_bytes().to_vec();
    bytes.extend_from_slice(context.as_bytes());
    bytes.extend_from_slice(&share.value().to_be_bytes());
    SealedShare::new(bytes).expect("72 bytes are within the cap")
}

/// What a custodian's HSM does for a grant: the share sealed, and the draft signed with its digest.
pub fn release(
    custodian: u8,
    share: ShareHandle,
    to: &AgreementKey,
    context: &Digest,
    draft: &GrantDraft,
) -> (SealedShare, Signature) {
    let sealed = seal_share(share, to, context);
    let digest = Digest::new(term(Label::Sealed.text(), &[sealed.as_bytes()]));
    let signature = Principal::Custodian(custodian).sign(&draft.message(&digest));
    (sealed, signature)
}

/// The parts of a sealed share: recipient, context, share.
pub fn sealed_parts(sealed: &SealedShare) -> Option<(&[u8], &[u8], ShareHandle)> {
    let (to, rest) = sealed.as_bytes().split_at_checked(32)?;
    let (context, share) = rest.split_at_checked(32)?;
    let share = u64::from_be_bytes(share.try_into().ok()?);
    Some((to, context, ShareHandle::new(share)))
}

/// What an adversary holding these secrets reads from a sealed share.
pub fn opened_by(secrets: &[DeviceSecret], sealed: &SealedShare) -> Option<ShareHandle> {
    let (to, _, share) = sealed_parts(sealed)?;
    secrets.iter().any(|secret| public_key(*secret).as_bytes() == to).then_some(share)
}

/// The exporter of a channel: both its ends can compute it, nobody else.
pub fn exporter(channel: u64, context: &Digest) -> Exporter {
    Exporter::new(term("exporter", &[&channel.to_be_bytes(), context.as_bytes()]))
}

/// The mark-derived name of a device's life.
pub fn incarnation(life: u64) -> Incarnation {
    Incarnation::new(term(secret_label::INCARNATION, &[&life.to_be_bytes()]))
}

/// Which genuine hardware signs a report.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Hardware {
    /// The enrolled device's half.
    Enrolled,
    /// A genuine part that belongs to the adversary.
    Adversary,
    /// The enrolled device's half, running code that policy does not name.
    Altered,
}

impl Hardware {
    const fn byte(self) -> u8 {
        match self {
            Self::Enrolled => 1,
            Self::Adversary => 2,
            Self::Altered => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Enrolled),
            2 => Some(Self::Adversary),
            3 => Some(Self::Altered),
            _ => None,
        }
    }

    /// Whose part it is, whatever it runs.
    const fn part(self) -> u8 {
        match self {
            Self::Altered => Self::Enrolled.byte(),
            part => part.byte(),
        }
    }
}

/// The id of a device made of two halves.
pub fn device_id(gpu: Hardware, cpu: Hardware) -> DeviceId {
    DeviceId::new(term(secret_label::DEVICE, &[&[gpu.part(), cpu.part()]]))
}

/// The one measurement that policy admits.
pub fn measurement() -> Digest {
    Digest::new(term("measurement", &[]))
}

/// What a part measures: the code that it runs.
pub fn measured(hardware: Hardware) -> Digest {
    match hardware {
        Hardware::Altered => Digest::new(term("measurement", &[b"altered"])),
        _ => measurement(),
    }
}

/// A report over a value: any host may have a GPU make one; only measured code a CPU's.
pub fn report(half: &'static str, hardware: Hardware, value: &Digest) -> Vec<u8> {
    let seal = term("report", &[half.as_bytes(), &[hardware.byte()], value.as_bytes()]);
    let mut bytes = vec![hardware.byte()];
    bytes.extend_from_slice(value.as_bytes());
    bytes.extend_from_slice(&seal);
    bytes
}

/// What a genuine report says; `None` for anything that no hardware made.
pub fn read_report(half: &'static str, bytes: &[u8]) -> Option<(Hardware, Digest)> {
    let read = || {
        let (hardware, rest) = bytes.split_first()?;
        let hardware = Hardware::from_byte(*hardware)?;
        let value = Digest::new(rest.get(..32)?.try_into().ok()?);
        (report(half, hardware, &value) == bytes).then_some((hardware, value))
    };
    let read = read();
    if read.is_none() {
        oracle::unreadable(half, bytes);
    }
    read
}

impl Suite for SymbolicSuite {
    fn hash(&mut self, label: Label, fields: &[&[u8]]) -> Digest {
        Digest::new(term(label.text(), fields))
    }

    fn same(&mut self, a: &[u8], b: &[u8]) -> Result<(), Differs> {
        if a == b {
            return Ok(());
        }
        oracle::differed(a, b);
        Err(Differs)
    }

    fn fresh(&mut self, slot: u64) -> Nonce {
        let who = self.principal.bytes();
        let life = self.life.to_be_bytes();
        Nonce::new(term("fresh", &[&who, &life, &slot.to_be_bytes()]))
    }

    /// A key belongs to the suite that it was made for; the first suite's keys have short names.
    fn generate(&mut self, suite: SuiteId, slot: u64) -> (DeviceSecret, AgreementKey) {
        let slot = match self.keys {
            Keys::Fresh => slot,
            Keys::One => 0,
        };
        let (principal, slot) = (self.principal.bytes(), slot.to_be_bytes());
        let id = match suite {
            SuiteId::HPKE_X25519 => term("secret", &[&principal, &slot]),
            suite => term("secret", &[&principal, &slot, &suite.value().to_be_bytes()]),
        };
        let mut value = [0; 8];
        value.copy_from_slice(&id[..8]);
        let secret = DeviceSecret::new(u64::from_be_bytes(value));
        (secret, public_key(secret))
    }

    fn verify(
        &mut self,
        key: &VerifyKey,
        signed: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let id = term("signature", &[key.as_bytes(), signed]);
        if signature.as_bytes()[..32] == id { Ok(()) } else { Err(BadSignature) }
    }

    fn validate_key(&mut self, _: SuiteId, key: &AgreementKey) -> Result<(), InvalidKey> {
        // The identity point is the all-zero string; everything else is a group member.
        if key.as_bytes().iter().all(|byte| *byte == 0) { Err(InvalidKey) } else { Ok(()) }
    }

    fn open_share(
        &mut self,
        _: SuiteId,
        secret: DeviceSecret,
        context: &Digest,
        sealed: &SealedShare,
    ) -> Result<ShareHandle, NotOpened> {
        let (to, under, share) = sealed_parts(sealed).ok_or(NotOpened)?;
        let opens = to == public_key(secret).as_bytes() && under == context.as_bytes();
        if opens { Ok(share) } else { Err(NotOpened) }
    }

    fn check_share(
        &mut self,
        share: ShareHandle,
        place: SharePlace,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.same(share_commitment(share, &place).as_bytes(), commitment.as_bytes())
    }

    fn combine(&mut self, shares: &[(ShareIndex, ShareHandle)]) -> Result<DekHandle, NotOpened> {
        let all_true = shares.iter().all(|(index, share)| *share == true_share(index.value()));
        if all_true && shares.len() >= self.threshold {
            return Ok(DEK);
        }
        // Anything else interpolates to a key that nobody dealt.
        let sum =
            shares.iter().map(|(index, share)| share.value() ^ u64::from(index.value()) << 32);
        Ok(DekHandle::new(sum.fold(1, u64::wrapping_add)))
    }

    fn check_dek(
        &mut self,
        dek: DekHandle,
        weights: WeightsId,
        version: WeightsVersion,
        commitment: &Digest,
    ) -> Result<(), Differs> {
        self.same(dek_commitment(dek, weights, version).as_bytes(), commitment.as_bytes())
    }
}

/// The place of a custodian's share: its index is its id.
pub const fn place(set: ShareSetId, custodian: u8) -> SharePlace {
    SharePlace { set, custodian: CustodianId::new(custodian), index: ShareIndex::new(custodian) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rel_4_a_share_opens_only_with_its_key_and_context() {
        let mut suite = SymbolicSuite::new(Principal::Device, 1, 2);
        let (secret, key) = suite.generate(SuiteId::HPKE_X25519, 1);
        let (of_an_hsm, _) = suite.generate(SuiteId::P256_X963_KW, 1);
        assert_ne!(of_an_hsm, secret, "a second suite has keys of its own");
        let (other, _) = suite.generate(SuiteId::HPKE_X25519, 2);
        let context = Digest::new([1; 32]);
        let sealed = seal_share(true_share(1), &key, &context);
        let mut open = |secret, context: &Digest| {
            suite.open_share(SuiteId::HPKE_X25519, secret, context, &sealed)
        };
        assert_eq!(open(secret, &context), Ok(true_share(1)));
        assert_eq!(open(other, &context), Err(NotOpened));
        assert_eq!(open(secret, &Digest::new([2; 32])), Err(NotOpened));
    }

    #[test]
    fn hs_11_a_report_that_no_hardware_made_is_not_read() {
        let value = Digest::new([7; 32]);
        let mut bytes = report("gpu", Hardware::Enrolled, &value);
        assert_eq!(read_report("gpu", &bytes), Some((Hardware::Enrolled, value)));
        assert_eq!(read_report("cpu", &bytes), None);
        bytes[5] ^= 1;
        assert_eq!(read_report("gpu", &bytes), None);
    }

    #[test]
    fn qrm_3_fewer_than_k_shares_make_another_key() {
        let mut suite = SymbolicSuite::new(Principal::Device, 1, 2);
        let share = |id| (ShareIndex::new(id), true_share(id));
        assert_eq!(suite.combine(&[share(1), share(3)]), Ok(DEK));
        assert_ne!(suite.combine(&[share(1)]), Ok(DEK));
        assert_ne!(suite.combine(&[share(1), (ShareIndex::new(2), false_share(2))]), Ok(DEK));
    }
}
