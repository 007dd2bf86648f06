//! `cargo run --release -p split-custody-weights --example bench -- [MiB] [repeats]`

use std::num::NonZeroUsize;

use split_custody_weights::Threads;
use split_custody_weights::bench::{Input, run};

fn main() -> Result<(), split_custody_weights::WeightsError> {
    let mut args = std::env::args().skip(1).map(|a| a.parse::<u32>());
    let (mib, repeats) = (args.next(), args.next());
    let input =
        Input::Synthetic { bytes: u64::from(mib.and_then(Result::ok).unwrap_or(512)) << 20 };
    let one_two = [1, 2].map(|n| Threads(NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN)));
    let report =
        run(&input, &std::env::temp_dir(), &one_two, repeats.and_then(Result::ok).unwrap_or(5))?;
    print!("{report}");
    Ok(())
}
