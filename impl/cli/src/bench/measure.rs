//! Times in a series, and what the system counts of a process.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;

/// Seconds of many runs of one thing.
#[derive(Clone, Debug, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Runs `work` so often and times each run.
    pub fn of(runs: usize, mut work: impl FnMut() -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut series = Self::default();
        for _ in 0..runs {
            series.time(&mut work)?;
        }
        Ok(series)
    }

    /// Times one more run.
    pub fn time<T>(&mut self, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        let start = Instant::now();
        let value = work()?;
        self.push(start.elapsed());
        Ok(value)
    }

    pub fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    /// The shortest of them.
    pub fn least(&self) -> f64 {
        self.at(0.0)
    }

    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The 99th of a hundred, by nearest rank.
    pub fn p99(&self) -> f64 {
        self.at(0.99)
    }

    fn at(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (part * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    pub fn json(&self) -> Value {
        let (least, median, p99) = (self.least(), self.median(), self.p99());
        json!({ "runs": self.0.len(), "min": least, "p50": median, "p99": p99 })
    }
}

/// `34.1 ns`, `12.3 µs`, `2.34 ms`, `1.20 s`, to compare in one column.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1e-6 => format!("{:.1} ns", s * 1e9),
        s if s < 1e-3 => format!("{:.1} µs", s * 1e6),
        s if s < 1.0 => format!("{:.2} ms", s * 1e3),
        s => format!("{s:.2} s"),
    }
}

/// User and system seconds that a process has used, and those of its ended children.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    pub own: f64,
    #[cfg_attr(not(feature = "search"), allow(dead_code))]
    pub children: f64,
}

/// What the system counts of a process, in steps of 10 ms.
pub fn cpu_of(pid: &str) -> Result<Cpu, Failure> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path)
        .map_err(|e| Failure::refused(format!("`{path}`: cannot read: {e}")))?;
    // The name in parentheses may hold spaces; fields 14 to 17 count from the front.
    let fields: Vec<f64> = text
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ')
        .skip(11)
        .take(4)
        .filter_map(|field| field.parse().ok())
        .collect();
    match fields.as_slice() {
        [user, system, children_user, children_system] => Ok(Cpu {
            own: (user + system) / TICKS,
            children: (children_user + children_system) / TICKS,
        }),
        _ => Err(Failure::refused(format!("`{path}`: not what was expected there"))),
    }
}

/// The load average of the last minute: who reads figures has to know it.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|load| !load.is_empty()).unwrap_or("unknown").to_owned()
}

/// `USER_HZ` of every Linux that this runs on.
const TICKS: f64 = 100.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_gives_ranks_that_were_measured() {
        let mut series = Series::default();
        (1..=200).rev().for_each(|millis| series.push(Duration::from_millis(millis)));
        assert_eq!((series.least(), series.median(), series.p99()), (0.001, 0.1, 0.198));
        assert!(Series::default().median().is_nan());
    }

    #[test]
    fn time_is_told_in_the_unit_that_fits() {
        let told = [34.14e-9, 12.34e-6, 2.341e-3, 1.2].map(time);
        assert_eq!(told, ["34.1 ns", "12.3 µs", "2.34 ms", "1.20 s"]);
    }

    #[test]
    fn cpu_of_a_process_that_works_rises() {
        let before = cpu_of("self").expect("this process is there");
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20)
            && cpu_of("self").expect("this process is there").own < before.own + 0.02
        {}
        assert!(cpu_of("self").expect("this process is there").own >= before.own + 0.02);
        assert!(cpu_of("no-such-process").is_err());
    }
}
