//! Real keys for the model's principals: who can sign, seal or report there can do so here.
//!
//! Chapters 15 to 30. All of them are in one hand, as all parties are: what the adversary of the
//! model may compose has to be composed here, with its keys and no others.

use std::collections::BTreeMap;

use split_custody_attest::{Measurements, SoftwareAttester, device_id, platform_id};
use split_custody_keys::{
    Dealing, Dek, KekSecret, Outage, Recipient, SigningKey, SoftCustody, hash,
};
use split_custody_model_check::symbolic::{Hardware, Principal, measured};
use split_custody_model_check::world::{SET, Setup};
use split_custody_protocol::ids::{CustodianId, ShareIndex};
use split_custody_protocol::suite::{DeviceId, Digest, Exporter, VerifyKey};
use split_custody_protocol::wire::ObjectKind;
use split_custody_protocol::wire::encode;

/// Every secret of one run.
pub struct Keyring {
    signers: BTreeMap<Principal, SigningKey>,
    parts: BTreeMap<Hardware, Parts>,
    custodians: BTreeMap<u8, CustodianKeys>,
    adversary: KekSecret,
    exporter: [u8; 32],
    pub dek: Dek,
}

/// The identity keys of the two halves of a device.
struct Parts {
    gpu: SigningKey,
    platform: SigningKey,
}

/// What an HSM holds, and what was dealt to it; `made_up` is what a liar grants instead.
struct CustodianKeys {
    kek: [u8; 32],
    share: [u8; 32],
    made_up: [u8; 32],
}

impl Keyring {
    pub fn generate(setup: &Setup) -> (Self, Dealing) {
        let ids = 1..=setup.n;
        let keks: BTreeMap<u8, [u8; 32]> = ids.clone().map(|id| (id, random())).collect();
        let recipient = |id: u8| Recipient {
            custodian: CustodianId::new(id),
            index: ShareIndex::new(id),
            kek: KekSecret::from_bytes(&keks[&id]).public(),
        };
        let recipients: Vec<Recipient> = ids.clone().map(recipient).collect();
        let (dek, other) = (Dek::generate(), Dek::generate());
        let deal = |dek: &Dek| {
            Dealing::deal(dek, SET, setup.k, &recipients).expect("the setup can be dealt")
        };
        let (dealing, lies) = (deal(&dek), deal(&other));
        let shares = dealing.expose().into_iter().zip(lies.expose());
        let custodians = shares
            .map(|((id, share), (_, made_up))| {
                let (kek, made_up) = (keks[&id.value()], *made_up);
                (id.value(), CustodianKeys { kek, share: *share, made_up })
            })
            .collect();
        let people = [Principal::Owner, Principal::Operator, Principal::Stranger];
        let signers = people.into_iter().chain(ids.map(Principal::Custodian));
        let hardware = [Hardware::Enrolled, Hardware::Adversary];
        let ring = Self {
            signers: signers.map(|who| (who, signing_key())).collect(),
            parts: hardware.map(|part| (part, Parts::generate())).into(),
            custodians,
            adversary: KekSecret::generate(),
            exporter: random(),
            dek,
        };
        (ring, dealing)
    }

    pub fn signer(&self, who: Principal) -> Option<&SigningKey> {
        self.signers.get(&who)
    }

    pub fn public(&self, who: Principal) -> VerifyKey {
        self.signer(who).map_or(VerifyKey::new([0; 65]), SigningKey::public)
    }

    /// Every principal that signs, with its public key in the model and here.
    pub fn verify_keys(&self) -> impl Iterator<Item = (Principal, VerifyKey)> {
        self.signers.iter().map(|(who, key)| (*who, key.public()))
    }

    /// The adversary's own agreement key.
    pub fn adversary_public(&self) -> [u8; 32] {
        *self.adversary.public().as_bytes().first_chunk().expect("an X25519 key has 32 bytes")
    }

    /// A share of the model's handles: dealt, or made up by a liar.
    pub fn share(&self, handle: u64) -> Option<&[u8; 32]> {
        let custodian = self.custodians.get(&u8::try_from(handle & 0xff).ok()?)?;
        match handle >> 8 {
            1 => Some(&custodian.share),
            2 => Some(&custodian.made_up),
            _ => None,
        }
    }

    /// A custodian's keys, as its process loads them at each start.
    pub fn custody(&self, id: u8) -> (SoftCustody, Outage) {
        let outage = Outage::default();
        let grant = copy(&self.signers[&Principal::Custodian(id)]);
        let kek = KekSecret::from_bytes(&self.custodians[&id].kek);
        (SoftCustody::new(kek, grant, signing_key(), outage.clone()), outage)
    }

    pub fn attester(&self) -> SoftwareAttester {
        let Parts { gpu, platform } = &self.parts[&Hardware::Enrolled];
        let code = measured(Hardware::Enrolled);
        let measurements = Measurements { gpu: code, cpu: code };
        SoftwareAttester::new(copy(gpu), copy(platform), measurements, MODE)
    }

    /// The device made of one part's GPU and another's CPU.
    pub fn device(&self, gpu: Hardware, cpu: Hardware) -> DeviceId {
        device_id(&self.part(gpu).gpu.public(), &self.part(cpu).platform.public())
    }

    /// Altered code runs on the enrolled parts.
    fn part(&self, hardware: Hardware) -> &Parts {
        let owner = match hardware {
            Hardware::Adversary => Hardware::Adversary,
            Hardware::Enrolled | Hardware::Altered => Hardware::Enrolled,
        };
        &self.parts[&owner]
    }

    /// A report over any value: an adversary has any GPU, and its own CPU, sign what it likes.
    pub fn report(&self, half: &str, hardware: Hardware, value: &Digest) -> Vec<u8> {
        let (parts, measurement) = (self.part(hardware), measured(hardware));
        let signed = if half == "gpu" {
            let key = parts.gpu.public();
            let report = GpuReport { nonce: *value, measurement, mode: MODE, key };
            parts.gpu.sign_object(ObjectKind::SoftwareGpu, &report)
        } else {
            let key = parts.platform.public();
            let report = CpuReport { data: *value, measurement, platform: platform_id(&key), key };
            parts.platform.sign_object(ObjectKind::SoftwareCpu, &report)
        };
        encode(&signed.expect("a report can be signed"))
    }

    /// What both ends of a channel export, and nobody else: a stand-in for TLS.
    pub fn exporter(&self, channel: u64, context: &[u8]) -> Exporter {
        let channel = channel.to_be_bytes();
        Exporter::new(*hash(EXPORTER, &[&self.exporter, &channel, context]).as_bytes())
    }
}

impl Parts {
    fn generate() -> Self {
        Self { gpu: signing_key(), platform: signing_key() }
    }
}

/// The GPU half as `impl/attest` encodes it: written down once more, as others would.
#[derive(minicbor::Encode)]
#[cbor(map)]
struct GpuReport {
    #[n(1)]
    nonce: Digest,
    #[n(2)]
    measurement: Digest,
    #[n(3)]
    mode: u8,
    #[n(4)]
    key: VerifyKey,
}

/// The CPU half.
#[derive(minicbor::Encode)]
#[cbor(map)]
struct CpuReport {
    #[n(1)]
    data: Digest,
    #[n(2)]
    measurement: Digest,
    #[n(3)]
    platform: Digest,
    #[n(4)]
    key: VerifyKey,
}

fn signing_key() -> SigningKey {
    SigningKey::generate().expect("a key can be made")
}

fn copy(key: &SigningKey) -> SigningKey {
    SigningKey::from_pkcs8(key.pkcs8_der()).expect("a key of ours")
}

/// 32 bytes that nobody foresees.
fn random() -> [u8; 32] {
    *Dek::generate().expose()
}

const EXPORTER: &str = "conformance exporter";
const MODE: u8 = 1;
