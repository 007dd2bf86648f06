//! What was measured, to read and to keep.
//!
//! Chapter 15. Speeds and ratios of each step; a ratio compares two steps of one repeat, so a noisy
//! machine shows in the spread and not in the middle.

use std::fmt;

use serde::Serialize;

use crate::ids::Threads;

/// All figures of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Bytes of the source.
    pub bytes: u64,
    /// How often each step ran.
    pub repeats: u32,
    /// One for each step and number of threads.
    pub figures: Vec<Figure>,
    /// Libraries that were measured beside, and those that were not, with the reason.
    pub peers: Vec<Standing>,
}

/// Whether a library was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// The name of its package.
    pub name: &'static str,
    /// On so many threads.
    pub threads: usize,
    /// The version that was measured.
    pub version: Option<String>,
    /// Why it was not.
    pub not_run: Option<String>,
}

/// One step on one number of threads.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was done.
    pub step: &'static str,
    /// On how many threads.
    pub threads: usize,
    /// Seconds.
    pub seconds: Spread,
    /// Speed as a part of the raw AEAD's from memory to memory; 1 is as fast.
    pub ratio: Spread,
    /// Speed as a part of the raw AEAD's in place.
    pub of_cipher: Spread,
    /// Bytes by which resident memory grew, at most over the repeats; none where it was not measured.
    pub peak: Option<u64>,
}

/// Lowest, middle and highest of the repeats.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Spread {
    /// The lowest.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The highest.
    pub max: f64,
}

impl Figure {
    pub(super) fn new(
        step: &'static str,
        threads: Threads,
        ours: &[f64],
        moved: &[f64],
        in_place: &[f64],
    ) -> Self {
        let ratio =
            |raw: &[f64]| Spread::of(raw.iter().zip(ours).map(|(raw, ours)| raw / ours).collect());
        let seconds = Spread::of(ours.to_vec());
        Self {
            step,
            threads: threads.0.get(),
            seconds,
            ratio: ratio(moved),
            of_cipher: ratio(in_place),
            peak: None,
        }
    }

    pub(super) fn peaking(mut self, peak: Option<u64>) -> Self {
        self.peak = peak;
        self
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        Self { min: at(0), median: at(values.len() / 2), max: at(values.len().saturating_sub(1)) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes as f64 / MIB;
        writeln!(
            f,
            "{mib:.1} MiB, {} repeats; speed in GB/s, ratios to the same repeat, memory in MiB above the start",
            self.repeats
        )?;
        writeln!(
            f,
            "{:<40} {:>7} {:>15} {:>20} {:>11} {:>7}",
            "", "", "speed", "of raw, mem. to mem.", "in place", "memory"
        )?;
        writeln!(
            f,
            "{:<40} {:>7} {:>7} {:>7} {:>12} {:>7} {:>11} {:>7}",
            "step", "threads", "median", "best", "median", "worst", "median", "peak"
        )?;
        for figure in &self.figures {
            figure.row(f, self.bytes)?;
        }
        for Standing { name, threads, version, not_run } in &self.peers {
            match (not_run, version) {
                (Some(why), _) => writeln!(f, "{name:<40} {threads:>7} not run: {why}")?,
                (None, Some(version)) => writeln!(f, "{name:<40} {threads:>7} is {version}")?,
                (None, None) => {}
            }
        }
        Ok(())
    }
}

impl Figure {
    fn row(&self, f: &mut fmt::Formatter<'_>, bytes: u64) -> fmt::Result {
        let Self { step, threads, seconds, ratio, of_cipher, peak } = self;
        let [median, best] = [seconds.median, seconds.min].map(|s| bytes as f64 / s / 1e9);
        let (middle, worst, cipher) = (ratio.median, ratio.min, of_cipher.median);
        write!(
            f,
            "{step:<40} {threads:>7} {median:>7.2} {best:>7.2} {middle:>12.2} {worst:>7.2} {cipher:>11.2}"
        )?;
        match peak {
            Some(peak) => writeln!(f, " {:>7.1}", *peak as f64 / MIB),
            None => writeln!(f, " {:>7}", "-"),
        }
    }
}

const MIB: f64 = 1_048_576.0;
