//! The verifier: every check in its order, over one GPU or a set, with what it verified before.
//!
//! Chapter 20. [`Accepted`] is only made where no check failed and none was left out. An
//! examination that goes on after a failure does so to tell an operator everything at once; it
//! accepts nothing. [HS-22] to [HS-28]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use split_custody_protocol::suite::Digest;

use super::UnixTime;
use super::cache::Cache;
use super::chain::{CHAIN_CAP, DeviceChain};
use super::examine;
use super::log::{Depth, Log, Step, none_of};
use super::opaque::Mode;
use super::path::Roots;
use super::policy::{KnownPolicy, KnownRevocations};
use super::provider::Provider;
use super::reason::{Finding, Reason};
use super::report::Report;
use super::rim::{BadRim, Rim};

/// Verifies Evidence; keeps what need not be verified twice.
#[derive(Debug)]
pub struct Verifier {
    provider: Provider,
    roots: Roots,
    chains: Cache<DeviceChain>,
    links: Cache<()>,
    rims: Cache<Rim>,
}

/// Report and chain of one GPU, as they came.
#[derive(Clone, Copy, Debug)]
pub struct Gpu<'a> {
    pub report: &'a [u8],
    /// PEM, the attestation key's certificate first.
    pub chain: &'a [u8],
}

/// What is examined, against what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    pub gpus: &'a [Gpu<'a>],
    pub rims: &'a [Vec<u8>],
    /// The nonce that every report must answer; where there is none, whoever takes the result
    /// compares it.
    pub nonce: Option<&'a Digest>,
    pub at: UnixTime,
    /// Without rules only the vendor speaks: whatever NVIDIA signed, in single-GPU mode.
    pub rules: Option<Rules<'a>>,
}

/// What the owner admits and revoked.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub policy: &'a KnownPolicy,
    pub revocations: Option<&'a KnownRevocations>,
}

/// What came of an examination.
#[derive(Debug)]
pub struct Examination<'a> {
    pub gpus: Vec<ExaminedGpu<'a>>,
    pub rims: Vec<Option<Arc<Rim>>>,
    pub log: Log,
    pub outcome: Result<Accepted, Finding>,
}

/// What was read of one GPU, as far as it could be.
#[derive(Debug)]
pub struct ExaminedGpu<'a> {
    pub report: Option<Report<'a>>,
    pub chain: Option<Arc<DeviceChain>>,
    pub(super) state: Option<Digest>,
}

/// Proof: these GPUs reported this, every measurement was compared, and every rule held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accepted {
    nonce: Digest,
    mode: Mode,
    /// By device identity, so that each stands once.
    gpus: BTreeMap<Vec<u8>, Digest>,
}

impl Accepted {
    /// What every report answers.
    pub const fn nonce(&self) -> &Digest {
        &self.nonce
    }

    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// SubjectPublicKeyInfo of each GPU's device identity, ascending. [HS-13]
    pub fn identities(&self) -> impl Iterator<Item = &[u8]> {
        self.gpus.keys().map(Vec::as_slice)
    }

    /// What each GPU runs, named by the two RIMs that it matched.
    pub fn states(&self) -> BTreeSet<Digest> {
        self.gpus.values().copied().collect()
    }

    /// Where every check passed; a part that is missing is a failure, whatever the log says.
    fn of(log: &Log, gpus: &[ExaminedGpu<'_>]) -> Result<Self, Finding> {
        if let Some(finding) = log.first() {
            return Err(finding);
        }
        let missing = Finding::whole(Reason::EvidenceMalformed);
        let first = gpus.first().and_then(|gpu| gpu.report.as_ref()).ok_or(missing)?;
        let mode = first.opaque().mode().ok_or(Reason::ModeContradictory)?;
        let mut found = BTreeMap::new();
        for gpu in gpus {
            let (chain, state) = gpu.chain.as_ref().zip(gpu.state).ok_or(missing)?;
            found.insert(chain.identity_spki().to_vec(), state);
        }
        let accepted = Self { nonce: *first.nonce(), mode, gpus: found };
        log.is_clean().then_some(accepted).ok_or(missing)
    }
}

impl Verifier {
    /// Under NVIDIA's pinned roots.
    pub fn new(provider: Provider) -> Self {
        Self::under(Roots::nvidia().clone(), provider)
    }

    pub(super) fn under(roots: Roots, provider: Provider) -> Self {
        let (chains, links, rims) = (Cache::new(CHAINS), Cache::new(LINKS), Cache::new(RIMS));
        Self { provider, roots, chains, links, rims }
    }

    /// Runs every check in its order.
    pub fn examine<'a>(&self, case: &Case<'a>, depth: Depth) -> Examination<'a> {
        let mut log = Log::new(depth);
        log.run(Step::Size, || examine::size(case));
        match case.rules {
            Some(rules) => drop(log.run(Step::Rules, || examine::rules(rules, case.at))),
            None => log.not_asked(Step::Rules),
        }
        // BOUND: nothing is verified for more GPUs or RIMs than a machine has.
        let mut gpus = Vec::new();
        for (number, gpu) in (0u8..).zip(case.gpus.iter().take(MOST_GPUS)) {
            log.about(Some(number));
            gpus.push(self.examine_gpu(case, *gpu, &mut log));
        }
        log.about(None);
        let mut rims = Vec::new();
        for (number, bytes) in (0u8..).zip(case.rims.iter().take(MOST_RIMS)) {
            rims.push(self.examine_rim(case, number, bytes, &gpus, &mut log));
        }
        for (number, gpu) in (0u8..).zip(&mut gpus) {
            log.about(Some(number));
            gpu.state = examine::measurements(gpu, &rims, &mut log);
        }
        log.about(None);
        log.run(Step::Set, || none_of(examine::set(&gpus)));
        let outcome = Accepted::of(&log, &gpus);
        Examination { gpus, rims, log, outcome }
    }

    /// All of one GPU's own checks but the comparison of measurements. [HS-22] [HS-23] [HS-24]
    fn examine_gpu<'a>(&self, case: &Case<'_>, gpu: Gpu<'a>, log: &mut Log) -> ExaminedGpu<'a> {
        let report = log.run(Step::Report, || Report::parse(gpu.report));
        match case.nonce {
            Some(nonce) => {
                log.after(Step::Nonce, report.as_ref(), |report| examine::nonce(report, nonce));
            }
            None => log.not_asked(Step::Nonce),
        }
        let chain = log.run(Step::Chain, || self.chain(gpu.chain));
        log.after(Step::Time, chain.as_deref(), |chain| chain.check_time(case.at));
        let both = report.as_ref().zip(chain.as_deref());
        log.after(Step::Signature, both, |(report, chain)| {
            examine::signature(report, chain, self.provider)
        });
        log.after(Step::Firmware, both, |(report, chain)| examine::firmware(report, chain));
        log.after(Step::Mode, report.as_ref(), |report| examine::mode(report, case.rules));
        match case.rules {
            Some(rules) => {
                let snapshot = chain.as_deref().zip(rules.revocations);
                log.after(Step::Revocations, snapshot, |(chain, revocations)| {
                    none_of(revocations.check_chain(chain)) // [HS-27]
                });
                log.after(Step::Policy, both, |(report, chain)| {
                    none_of(rules.policy.check_gpu(chain, report.opaque()))
                });
            }
            None => [Step::Revocations, Step::Policy].into_iter().for_each(|s| log.not_asked(s)),
        }
        ExaminedGpu { report, chain, state: None }
    }

    fn examine_rim(
        &self,
        case: &Case<'_>,
        number: u8,
        bytes: &[u8],
        gpus: &[ExaminedGpu<'_>],
        log: &mut Log,
    ) -> Option<Arc<Rim>> {
        if log.is_over() {
            log.not_reached(Step::Rim(number));
            return None;
        }
        let at = case.rules.map_or(case.at, |rules| rules.policy.rim_time(case.at));
        let found = self.rim(number, bytes);
        log.run(Step::Rim(number), || {
            none_of(match &found {
                Ok(rim) => examine::rim(rim, number, at, case.rules, gpus),
                Err(bad) => bad.all(number, at),
            })
        });
        // One that is old, say, is compared all the same, for people: the log rejects it.
        found.ok()
    }

    /// The chain of these bytes, verified now or before. [HS-23]
    fn chain(&self, pem: &[u8]) -> Result<Arc<DeviceChain>, Finding> {
        // The length is asked before the cache is: a key is never longer.
        if pem.len() > CHAIN_CAP {
            return Err(Reason::ChainTooLong.into());
        }
        self.chains.or_verify(pem, || {
            DeviceChain::verify(pem, &self.roots.device, self.provider, &self.links)
        })
    }

    /// The RIM of these bytes, verified now or before. [HS-25]
    fn rim(&self, number: u8, bytes: &[u8]) -> Result<Arc<Rim>, BadRim> {
        self.rims.or_verify(bytes, || {
            Rim::verify(bytes, number, &self.roots.rim, self.provider, &self.links)
        })
    }
}

/// The most GPUs of one device.
pub const MOST_GPUS: usize = 16;
/// Two for each GPU, were they all different.
pub const MOST_RIMS: usize = 2 * MOST_GPUS;
const CHAINS: usize = 256;
const LINKS: usize = 64;
const RIMS: usize = 64;
