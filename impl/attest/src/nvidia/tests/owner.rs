//! An owner whose rules fit the full set, and a CPU verifier whose tokens fit them.

use sha2::Digest as _;
use split_custody_keys::SigningKey;
use split_custody_protocol::suite::{Bytes, Digest};
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_protocol::wire::{ObjectKind, Signed, encode};

use super::files::{DRIVER_545, Set, VBIOS_5E01, file, time};
use crate::UnixTime;
use crate::nvidia::{
    Accepted, CpuHalf, Finding, GpuEvidence, GpuHalf, KnownPolicy, KnownRevocations, Policy,
    Reason, Revocations, Rules, Text, Token,
};

pub(super) struct Owner {
    pub(super) key: SigningKey,
    pub(super) issuer: SigningKey,
    /// The key of the measured code, which a token confirms.
    pub(super) confirmed: SigningKey,
}

impl Owner {
    pub(super) fn new() -> Self {
        let key = || SigningKey::generate().unwrap();
        Self { key: key(), issuer: key(), confirmed: key() }
    }

    /// It admits the full set, and names exactly that.
    pub(super) fn policy(&self) -> Policy {
        Policy {
            version: 1,
            not_before: time("2024-01-01"),
            not_after: time("2027-01-01"),
            chips: list(vec![text("GH100")]),
            devices: list(vec![text("NVIDIA:GH100:48B02DB73E52137E")]),
            drivers: list(vec![text("545.00")]),
            driver_floor: text("545.00"),
            vbios: list(vec![text("96.00.5E.00.01")]),
            vbios_floor: text("96.00.5E.00.01"),
            rims: list(vec![sha256(&file(DRIVER_545)), sha256(&file(VBIOS_5E01))]),
            rims_as_of: list(vec![]),
            modes: list(vec![1]),
            gpus: 1,
            revocations_floor: 3,
            token_issuers: list(vec![self.issuer.public()]),
            token_measurements: list(vec![CPU_IMAGE]),
        }
    }

    pub(super) fn sign_policy(&self, policy: &Policy) -> Vec<u8> {
        encode(&self.key.sign_object(ObjectKind::AppraisalPolicy, policy).unwrap())
    }

    pub(super) fn known_policy(&self, policy: &Policy) -> KnownPolicy {
        KnownPolicy::verify(&self.key.public(), &self.sign_policy(policy)).unwrap()
    }

    pub(super) fn revocations(&self) -> Revocations {
        Revocations {
            serial: 3,
            issued: time("2024-05-31"),
            expires: time("2024-06-08"),
            keys: list(vec![]),
        }
    }

    pub(super) fn sign_revocations(&self, revocations: &Revocations) -> Vec<u8> {
        encode(&self.key.sign_object(ObjectKind::Revocations, revocations).unwrap())
    }

    pub(super) fn known_revocations(&self, revocations: &Revocations) -> KnownRevocations {
        let signed = self.sign_revocations(revocations);
        KnownRevocations::verify(&self.key.public(), &signed).unwrap()
    }

    /// The full set under this policy and snapshot.
    pub(super) fn outcome(
        &self,
        set: &Set,
        policy: &Policy,
        revocations: Option<&Revocations>,
    ) -> Result<Accepted, Finding> {
        let policy = self.known_policy(policy);
        let revocations = revocations.map(|revocations| self.known_revocations(revocations));
        set.outcome_under(Some(Rules { policy: &policy, revocations: revocations.as_ref() }))
    }

    /// Why a policy with one field changed refuses the full set.
    pub(super) fn refuses(&self, change: impl FnOnce(&mut Policy)) -> Reason {
        let mut policy = self.policy();
        change(&mut policy);
        let outcome = self.outcome(&Set::full(), &policy, Some(&self.revocations()));
        outcome.unwrap_err().reason
    }

    pub(super) fn token(&self, report_data: Digest) -> Token {
        Token {
            expires: time("2024-06-01T00:05:00Z"),
            issued: time("2024-05-31T23:59:00Z"),
            confirmed: self.confirmed.public(),
            report_data,
            ueid: UEID,
            debug: 3,
            measurements: vec![CPU_IMAGE],
        }
    }

    /// A CPU half around these bytes.
    pub(super) fn cpu_half(&self, token: &[u8], report_data: &Digest) -> CpuHalf {
        let signature =
            self.issuer.sign(&Signed::message_over(ObjectKind::CpuToken, token)).unwrap();
        let proof = self.confirmed.sign(&CpuHalf::proof_message(report_data)).unwrap();
        let token = encode(&Signed::new(token.to_vec(), signature));
        CpuHalf { token: Bytes::new(token).unwrap(), proof }
    }

    /// Real GPU Evidence beside a token of this owner's CPU verifier.
    pub(super) fn evidence(&self, set: &Set, report_data: Digest) -> Evidence {
        let cpu = self.cpu_half(&self.token(report_data).encode(), &report_data);
        evidence(gpu_half(set), encode(&cpu))
    }
}

pub(super) fn evidence(gpu: Vec<u8>, cpu: Vec<u8>) -> Evidence {
    let (gpu, cpu) = (Bytes::new(gpu).unwrap(), Bytes::new(cpu).unwrap());
    Evidence { kind: EvidenceKind::NVIDIA_CC, gpu, cpu }
}

pub(super) fn gpu_half(set: &Set) -> Vec<u8> {
    let gpu = |(report, chain): &(Vec<u8>, Vec<u8>)| GpuEvidence {
        report: Bytes::new(report.clone()).unwrap(),
        chain: Bytes::new(chain.clone()).unwrap(),
    };
    encode(&GpuHalf { gpus: list(set.gpus.iter().map(gpu).collect()) })
}

pub(super) fn list<T, const MIN: usize, const MAX: usize>(items: Vec<T>) -> List<T, MIN, MAX> {
    List::new(items).expect("as many as a list takes")
}

pub(super) fn text(text: &str) -> Text {
    Text::new(text.into()).unwrap()
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Digest::new(sha2::Sha256::digest(bytes).into())
}

pub(super) const CPU_IMAGE: Digest = Digest::new([0xc1; 32]);
pub(super) const UEID: [u8; 33] = [1; 33];
pub(super) const NOW: &str = "2024-06-01";

pub(super) fn now() -> UnixTime {
    time(NOW)
}
