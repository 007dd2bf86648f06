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
