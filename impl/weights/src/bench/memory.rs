//! How far the memory of this process rises while something runs.
//!
//! Chapter 15. The system keeps a high-water mark of resident memory and starts it again when asked;
//! what counts is the mark above what was resident before. Pages of mapped files count. On a system
//! that has no such mark there is no figure, rather than a wrong one.

use std::fs;

/// The mark, started again.
pub struct Peak {
    before: Option<u64>,
}

impl Peak {
    /// Starts the mark from what is resident now.
    pub fn start() -> Self {
        let restarted = fs::write("/proc/self/clear_refs", "5").is_ok();
        Self { before: restarted.then(|| resident("VmRSS:")).flatten() }
    }

    /// Bytes that were resident above the start, at most.
    pub fn grown(&self) -> Option<u64> {
        Some(resident("VmHWM:")?.saturating_sub(self.before?))
    }
}

fn resident(field: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_counts_memory_that_is_gone_again() {
        let peak = Peak::start();
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let grown = peak.grown();
        if grown.is_none() {
            println!("NOT RUN: this system keeps no mark of resident memory that can be restarted");
        }
        assert!(grown.is_none_or(|grown| grown >= 63 << 20), "{grown:?}");
    }
}
