//! The vectors of `vectors/nvidia`, and short ways to examine them.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use split_custody_protocol::suite::Digest;

use crate::UnixTime;
use crate::nvidia::{
    Accepted, Case, Depth, Examination, Finding, Gpu, Place, Provider, Reason, Rules, Verifier,
};

pub(super) fn file(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/nvidia");
    fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A file of hexadecimal digits.
pub(super) fn hex_file(name: &str) -> Vec<u8> {
    unhex(std::str::from_utf8(&file(name)).unwrap())
}

pub(super) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
}

pub(super) fn time(text: &str) -> UnixTime {
    text.parse().unwrap()
}

/// Evidence of one GPU and what it is examined against.
#[derive(Clone)]
pub(super) struct Set {
    pub(super) gpus: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) rims: Vec<Vec<u8>>,
    pub(super) nonce: Digest,
    pub(super) at: UnixTime,
}

impl Set {
    pub(super) fn new(report: &str, chain: &str, rims: &[&str], nonce: &str) -> Self {
        Self {
            gpus: vec![(hex_file(report), file(chain))],
            rims: rims.iter().map(|name| file(name)).collect(),
            nonce: Digest::new(unhex(nonce).try_into().unwrap()),
            at: time("2024-06-01"),
        }
    }

    /// The one set that holds in everything.
    pub(super) fn full() -> Self {
        Self::new(
            "full-match-545.00/attestationReport.txt",
            "full-match-545.00/gpuAkCertChain.txt",
            &[DRIVER_545, VBIOS_5E01],
            "4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e",
        )
    }

    pub(super) fn of_550() -> Self {
        let folder = "hopper-550.90.07";
        let file = |name: &str| format!("{folder}/{name}");
        Self::new(
            &file("hopperAttestationReport.txt"),
            &file("hopperCertChain.txt"),
            &[],
            SHARED_NONCE,
        )
    }

    pub(super) fn report(mut self, report: Vec<u8>) -> Self {
        self.gpus[0].0 = report;
        self
    }

    pub(super) fn chain(mut self, chain: Vec<u8>) -> Self {
        self.gpus[0].1 = chain;
        self
    }

    pub(super) fn rims(mut self, rims: Vec<Vec<u8>>) -> Self {
        self.rims = rims;
        self
    }

    pub(super) fn at(mut self, text: &str) -> Self {
        self.at = time(text);
        self
    }

    /// What a caller gets for it.
    pub(super) fn outcome(&self) -> Result<Accepted, Finding> {
        self.outcome_under(None)
    }

    pub(super) fn outcome_under(&self, rules: Option<Rules<'_>>) -> Result<Accepted, Finding> {
        let outcome = self.examine(Depth::FirstFailure, rules, |e| e.outcome);
        // Whatever is told to people, both depths decide alike.
        let told = self.examine(Depth::Everything, rules, |e| e.outcome);
        assert_eq!(outcome.is_ok(), told.is_ok());
        outcome
    }

    /// Every finding, for people.
    pub(super) fn findings(&self) -> Vec<(Reason, Place)> {
        self.findings_under(None)
    }

    pub(super) fn findings_under(&self, rules: Option<Rules<'_>>) -> Vec<(Reason, Place)> {
        self.examine(Depth::Everything, rules, |examination| {
            let findings = examination.log.findings();
            findings.map(|(_, finding)| (finding.reason, finding.place)).collect()
        })
    }

    pub(super) fn reasons(&self) -> Vec<Reason> {
        self.findings().into_iter().map(|(reason, _)| reason).collect()
    }

    pub(super) fn examine<T>(
        &self,
        depth: Depth,
        rules: Option<Rules<'_>>,
        read: impl FnOnce(Examination<'_>) -> T,
    ) -> T {
        static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| Verifier::new(Provider::Ring));
        self.examine_by(&VERIFIER, depth, rules, read)
    }

    pub(super) fn examine_by<T>(
        &self,
        verifier: &Verifier,
        depth: Depth,
        rules: Option<Rules<'_>>,
        read: impl FnOnce(Examination<'_>) -> T,
    ) -> T {
        let gpus: Vec<_> = self.gpus.iter().map(|(report, chain)| Gpu { report, chain }).collect();
        let case =
            Case { gpus: &gpus, rims: &self.rims, nonce: Some(&self.nonce), at: self.at, rules };
        read(verifier.examine(&case, depth))
    }
}

pub(super) const DRIVER_545: &str = "full-match-545.00/Driver_RIM_test_no_gpu.swidtag";
pub(super) const VBIOS_5E01: &str =
    "full-match-545.00/1010_0200_882_96005E0001_test_no_gpu.swidtag";
pub(super) const SHARED_NONCE: &str =
    "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";
