//! The appraiser of kind NVIDIA: both halves in, a verdict or one finding out.

use split_custody_protocol::effect::Verdict;
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::evidence::{Evidence, EvidenceKind};

use super::UnixTime;
use super::evidence::{GpuHalf, device_id};
use super::log::Depth;
use super::policy::{KnownPolicy, KnownRevocations};
use super::reason::{Finding, Reason};
use super::token::CpuHalf;
use super::verifier::{Accepted, Case, Rules, Verifier};
use crate::appraise::RejectReason;

/// Appraises NVIDIA Evidence under one policy and its reference values.
#[derive(Debug)]
pub struct Appraiser {
    verifier: Verifier,
    policy: KnownPolicy,
    rims: Vec<Vec<u8>>,
}

impl Appraiser {
    /// `rims` are the owner's; only those that the policy pins count.
    pub const fn new(verifier: Verifier, policy: KnownPolicy, rims: Vec<Vec<u8>>) -> Self {
        Self { verifier, policy, rims }
    }

    pub const fn policy(&self) -> &KnownPolicy {
        &self.policy
    }

    /// Reads Evidence at a time, with the newest snapshot there is; any failure rejects.
    ///
    /// The verdict says which nonce and report data are inside, and the machine compares them with
    /// its session. Its measurements are the policy's digest, what each GPU runs, and what the CPU
    /// runs: the manifest has to admit each. [HS-11] [HS-12] [HS-16]
    pub fn appraise(
        &self,
        evidence: &Evidence,
        revocations: Option<&KnownRevocations>,
        at: UnixTime,
    ) -> Result<Verdict, RejectReason> {
        if evidence.kind != EvidenceKind::NVIDIA_CC {
            return Err(RejectReason::KindUnknown(evidence.kind.value()));
        }
        let gpu = self.gpu_half(evidence.gpu.as_bytes(), revocations, at)?;
        let cpu = CpuHalf::verify(evidence.cpu.as_bytes(), &self.policy, at)
            .map_err(|reason| RejectReason::Nvidia(reason.into()))?;
        let states = gpu.states();
        let policy = [*self.policy.digest()];
        let measurements =
            policy.iter().chain(&states).chain(cpu.measurements()).copied().collect();
        Ok(Verdict {
            report_nonce: *gpu.nonce(),
            report_data: *cpu.report_data(),
            device: device_id(gpu.identities(), &cpu.platform()),
            measurements,
            mode: gpu.mode().number(),
        })
    }

    fn gpu_half(
        &self,
        bytes: &[u8],
        revocations: Option<&KnownRevocations>,
        at: UnixTime,
    ) -> Result<Accepted, RejectReason> {
        let malformed = Finding::whole(Reason::EvidenceMalformed);
        let half: GpuHalf =
            decode(bytes, GpuHalf::CAP).map_err(|_| RejectReason::Nvidia(malformed))?;
        let case = Case {
            gpus: &half.gpus(),
            rims: &self.rims,
            // Compared by the machine, which alone knows its session. [HS-11]
            nonce: None,
            at,
            rules: Some(Rules { policy: &self.policy, revocations }),
        };
        self.verifier.examine(&case, Depth::FirstFailure).outcome.map_err(RejectReason::Nvidia)
    }
}
