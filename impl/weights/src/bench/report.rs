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
        }
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
        let mib = self.bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{mib:.1} MiB, {} repeats; speed in GB/s, ratios to the same repeat",
            self.repeats
        )?;
        writeln!(
            f,
            "{:<28} {:>7} {:>17} {:>22} {:>13}",
            "", "", "speed", "of raw, mem. to mem.", "of in place"
        )?;
        writeln!(
            f,
            "{:<28} {:>7} {:>8} {:>8} {:>13} {:>8} {:>13}",
            "step", "threads", "median", "best", "median", "worst", "median"
        )?;
        for Figure { step, threads, seconds, ratio, of_cipher } in &self.figures {
            let [median, best] = [seconds.median, seconds.min].map(|s| self.bytes as f64 / s / 1e9);
            let (middle, worst, cipher) = (ratio.median, ratio.min, of_cipher.median);
            writeln!(
                f,
                "{step:<28} {threads:>7} {median:>8.2} {best:>8.2} {middle:>13.2} {worst:>8.2} {cipher:>13.2}"
            )?;
        }
        Ok(())
    }
}
