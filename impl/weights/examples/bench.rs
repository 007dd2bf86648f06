//! `cargo run --release -p split-custody-weights --example bench -- [MiB] [repeats] [PYTHON]`

use std::num::NonZeroUsize;
use std::path::Path;

use split_custody_weights::Threads;
use split_custody_weights::bench::{Input, Settings, run};

fn main() -> Result<(), split_custody_weights::WeightsError> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, or| args.get(at).and_then(|a| a.parse::<u32>().ok()).unwrap_or(or);
    let threads = [1, 2].map(|n| Threads(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)));
    let settings = Settings {
        scratch: &std::env::temp_dir(),
        threads: &threads,
        repeats: number(1, 5),
        python: args.get(2).map(Path::new),
    };
    let report = run(&Input::Synthetic { bytes: u64::from(number(0, 512)) << 20 }, &settings)?;
    print!("{report}");
    Ok(())
}
