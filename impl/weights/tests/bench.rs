//! The measurement runs, compares each step with the raw one, and leaves nothing behind.

mod common;

use split_custody_weights::bench::{Input, run};

use common::{listing, threads};

#[test]
fn bench_reports_every_step_on_each_number_of_threads() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let input = Input::Synthetic { bytes: 1_300_000 };
    let report =
        run(&input, scratch.path(), &[threads(1), threads(2)], 2).expect("it needs only room");
    assert_eq!(report.figures.len(), 2 * 9);
    assert!(report.figures.iter().all(|f| f.seconds.min > 0.0 && f.ratio.median.is_finite()));
    let raw =
        report.figures.iter().find(|f| f.step == "raw open, memory to memory").expect("the floor");
    assert_eq!((raw.ratio.min, raw.ratio.max), (1.0, 1.0));
    assert!(report.to_string().contains("open, file to memory"));
    assert!(listing(scratch.path()).is_empty());
}
