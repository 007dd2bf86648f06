//! What was measured, to read and to keep.

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
    /// Speed as a part of the raw AEAD's in the same repeat; 1 is as fast.
    pub ratio: Spread,
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
    pub(super) fn new(step: &'static str, threads: Threads, ours: &[f64], raw: &[f64]) -> Self {
        let ratios = raw.iter().zip(ours).map(|(raw, ours)| raw / ours).collect();
        Self {
            step,
            threads: threads.0.get(),
            seconds: Spread::of(ours.to_vec()),
            ratio: Spread::of(ratios),
        }
    }
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |i: usize| values.get(i).copied().unwrap_or(f64::NAN);
        Self {
            min: at(0),
            median: at(values.len() / 2),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.bytes as f64 / f64::from(1 << 20);
        writeln!(
            f,
            "{mib:.1} MiB, {} repeats; ratio = speed beside the raw AEAD of the same repeat",
            self.repeats
        )?;
        writeln!(
            f,
            "{:<30} {:>7} {:>9} {:>9} {:>9} {:>9}",
            "step", "threads", "best", "median", "ratio", "worst"
        )?;
        for figure in &self.figures {
            let gigabytes = |seconds: f64| self.bytes as f64 / seconds / 1e9;
            let (best, median) = (
                gigabytes(figure.seconds.min),
                gigabytes(figure.seconds.median),
            );
            let (step, threads, ratio) = (figure.step, figure.threads, figure.ratio);
            writeln!(
                f,
                "{step:<30} {threads:>7} {best:>6.2}GB/s {median:>4.2}GB/s {:>9.2} {:>9.2}",
                ratio.median, ratio.min
            )?;
        }
        Ok(())
    }
}
