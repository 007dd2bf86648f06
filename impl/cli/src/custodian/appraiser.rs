//! A custodian's appraiser: software Evidence always, NVIDIA Evidence where the owner's rules lie.
//!
//! ```text
//!   custodian-1/nvidia/policy.cose       what the owner admits
//!   custodian-1/nvidia/revocations.cose  the newest snapshot; read anew for each appraisal
//!   custodian-1/nvidia/rims/             reference values; those that the policy pins count
//! ```
//! Whether a kind counts at all is the manifest's to say. [HS-16]

use std::path::PathBuf;
use std::time::SystemTime;

use split_custody_attest::nvidia::{
    self, DOCUMENT_CAP, KnownPolicy, KnownRevocations, MOST_RIMS, Provider, SIGNED_CAP, Verifier,
};
use split_custody_attest::{RejectReason, UnixTime, appraise};
use split_custody_protocol::effect::Verdict;
use split_custody_protocol::suite::VerifyKey;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};
use split_custody_runtime::effects;

use crate::failure::{Failure, chain};
use crate::files::read;
use crate::layout::Folder;

pub struct Appraiser {
    nvidia: Option<Nvidia>,
}

struct Nvidia {
    owner: VerifyKey,
    appraiser: nvidia::Appraiser,
    revocations: PathBuf,
}

impl Appraiser {
    /// Reads the owner's rules, where there are any; rules that do not hold are an error.
    pub fn load(folder: &Folder, owner: VerifyKey) -> Result<Self, Failure> {
        let rules = folder.path("nvidia");
        let policy = rules.join("policy.cose");
        if !policy.is_file() {
            return Ok(Self { nvidia: None });
        }
        let signed = read(&policy, SIGNED_CAP)?;
        let known = KnownPolicy::verify(&owner, &signed).map_err(|reason| {
            Failure::refused(format!("`{}`: {}", policy.display(), reason.text()))
        })?;
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(rules.join("rims"))? {
            paths.push(entry?.path());
        }
        paths.sort();
        if paths.len() > MOST_RIMS {
            return Err(Failure::refused(format!("more than {MOST_RIMS} RIMs")));
        }
        let rims = paths.iter().map(|p| read(p, DOCUMENT_CAP)).collect::<Result<_, _>>()?;
        let verifier = Verifier::new(Provider::fastest());
        let appraiser = nvidia::Appraiser::new(verifier, known, rims);
        let revocations = rules.join("revocations.cose");
        Ok(Self { nvidia: Some(Nvidia { owner, appraiser, revocations }) })
    }
}

impl Nvidia {
    /// Wall time is read here and nowhere below. [HS-30]
    fn appraise(&self, evidence: &Evidence) -> Result<Verdict, RejectReason> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // A snapshot that cannot be read or does not hold is absent, and absent refuses. [HS-27]
        let revocations = read(&self.revocations, SIGNED_CAP)
            .ok()
            .and_then(|signed| KnownRevocations::verify(&self.owner, &signed).ok());
        let at = UnixTime::new(now.as_secs());
        self.appraiser.appraise(evidence, revocations.as_ref(), at)
    }
}

impl effects::Appraiser for Appraiser {
    fn appraise(&self, evidence: &Evidence) -> Option<Verdict> {
        let verdict = match (&self.nvidia, evidence.kind) {
            (Some(nvidia), EvidenceKind::NVIDIA_CC) => nvidia.appraise(evidence),
            _ => appraise(evidence),
        };
        let told = verdict.inspect_err(|why| {
            eprintln!("evidence rejected: {} ({})", chain(why), why.code());
        });
        told.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use sha2::Digest as _;
    use split_custody_attest::nvidia::{
        CpuHalf, GpuEvidence, GpuHalf, Policy, Revocations, Text, Token,
    };
    use split_custody_keys::SigningKey;
    use split_custody_protocol::suite::{Bytes, Digest};
    use split_custody_protocol::wire::codec::List;
    use split_custody_protocol::wire::{ObjectKind, Signed, encode};
    use split_custody_runtime::effects::Appraiser as _;

    use super::*;

    const DATA: Digest = Digest::new([7; 32]);
    const IMAGE: Digest = Digest::new([8; 32]);
    const RIMS: [&str; 2] =
        ["Driver_RIM_test_no_gpu.swidtag", "1010_0200_882_96005E0001_test_no_gpu.swidtag"];

    fn vector(name: &str) -> Vec<u8> {
        let folder =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../attest/vectors/nvidia/full-match-545.00/");
        fs::read(PathBuf::from(folder).join(name)).unwrap()
    }

    fn list<T, const MIN: usize, const MAX: usize>(items: Vec<T>) -> List<T, MIN, MAX> {
        List::new(items).unwrap()
    }

    fn text(text: &str) -> Text {
        Text::new(text.into()).unwrap()
    }

    fn now() -> UnixTime {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        UnixTime::new(now.as_secs())
    }

    /// A custodian's folder whose rules admit the recorded GPU, now.
    struct Rules {
        folder: tempfile::TempDir,
        key: SigningKey,
    }

    impl Rules {
        fn new() -> Self {
            let rules =
                Self { folder: tempfile::tempdir().unwrap(), key: SigningKey::generate().unwrap() };
            fs::create_dir_all(rules.path("rims")).unwrap();
            for name in RIMS {
                fs::write(rules.path("rims").join(name), vector(name)).unwrap();
            }
            let pin = |name| Digest::new(sha2::Sha256::digest(vector(name)).into());
            let policy = Policy {
                version: 1,
                not_before: UnixTime::new(0),
                not_after: UnixTime::new(u64::MAX),
                chips: list(vec![text("GH100")]),
                devices: list(vec![text("NVIDIA:GH100:48B02DB73E52137E")]),
                drivers: list(vec![text("545.00")]),
                driver_floor: text("545.00"),
                vbios: list(vec![text("96.00.5E.00.01")]),
                vbios_floor: text("96.00.5E.00.01"),
                rims: list(RIMS.map(pin).to_vec()),
                rims_as_of: list(vec!["2024-06-01".parse().unwrap()]),
                modes: list(vec![1]),
                gpus: 1,
                revocations_floor: 1,
                token_issuers: list(vec![rules.key.public()]),
                token_measurements: list(vec![IMAGE]),
            };
            let signed = rules.key.sign_object(ObjectKind::AppraisalPolicy, &policy).unwrap();
            fs::write(rules.path("policy.cose"), encode(&signed)).unwrap();
            rules.revocations(now().seconds() + 60);
            rules
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("nvidia").join(name)
        }

        fn revocations(&self, expires: u64) {
            let (issued, expires) = (UnixTime::new(0), UnixTime::new(expires));
            let snapshot = Revocations { serial: 1, issued, expires, keys: list(vec![]) };
            let signed = self.key.sign_object(ObjectKind::Revocations, &snapshot).unwrap();
            fs::write(self.path("revocations.cose"), encode(&signed)).unwrap();
        }

        fn load(&self) -> Appraiser {
            let folder = Folder(self.folder.path().to_owned());
            Appraiser::load(&folder, self.key.public()).unwrap()
        }

        fn evidence(&self) -> Evidence {
            let digits = String::from_utf8(vector("attestationReport.txt")).unwrap();
            let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
            let report = (0..digits.len()).step_by(2).map(byte).collect();
            let gpu = GpuEvidence {
                report: Bytes::new(report).unwrap(),
                chain: Bytes::new(vector("gpuAkCertChain.txt")).unwrap(),
            };
            let token = Token {
                expires: UnixTime::new(now().seconds() + 60),
                issued: UnixTime::new(0),
                confirmed: self.key.public(),
                report_data: DATA,
                ueid: [1; 33],
                debug: 4,
                measurements: vec![IMAGE],
            }
            .encode();
            let signed = self.key.sign(&Signed::message_over(ObjectKind::CpuToken, &token));
            let token = encode(&Signed::new(token, signed.unwrap()));
            let proof = self.key.sign(&CpuHalf::proof_message(&DATA)).unwrap();
            let cpu = CpuHalf { token: Bytes::new(token).unwrap(), proof };
            Evidence {
                kind: EvidenceKind::NVIDIA_CC,
                gpu: Bytes::new(encode(&GpuHalf { gpus: list(vec![gpu]) })).unwrap(),
                cpu: Bytes::new(encode(&cpu)).unwrap(),
            }
        }
    }

    #[test]
    fn hs_16_custodian_appraises_real_evidence_where_the_rules_lie() {
        let rules = Rules::new();
        let verdict = rules.load().appraise(&rules.evidence()).unwrap();
        assert_eq!(verdict.report_data, DATA);
        assert_eq!((verdict.mode, verdict.measurements.len()), (1, 3));
        let without = Folder(tempfile::tempdir().unwrap().path().to_owned());
        let without = Appraiser::load(&without, rules.key.public()).unwrap();
        assert!(without.appraise(&rules.evidence()).is_none());
    }

    #[test]
    fn hs_27_snapshot_is_read_anew_and_its_absence_refuses() {
        let rules = Rules::new();
        let (appraiser, evidence) = (rules.load(), rules.evidence());
        assert!(appraiser.appraise(&evidence).is_some());
        rules.revocations(1);
        assert!(appraiser.appraise(&evidence).is_none(), "stale");
        fs::write(rules.path("revocations.cose"), b"not a snapshot").unwrap();
        assert!(appraiser.appraise(&evidence).is_none(), "malformed");
        fs::remove_file(rules.path("revocations.cose")).unwrap();
        assert!(appraiser.appraise(&evidence).is_none(), "absent");
        rules.revocations(now().seconds() + 60);
        assert!(appraiser.appraise(&evidence).is_some());
    }

    #[test]
    fn hs_27_policy_of_anyone_else_stops_the_custodian() {
        let rules = Rules::new();
        let stranger = SigningKey::generate().unwrap().public();
        let folder = Folder(rules.folder.path().to_owned());
        let refused = Appraiser::load(&folder, stranger).err().unwrap();
        assert!(refused.text().contains("not signed by the owner"), "{}", refused.text());
    }
}
