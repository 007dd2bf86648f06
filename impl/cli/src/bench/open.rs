//! `custody bench open`: sealing and opening beside the raw cipher, and beside what people use.

use std::path::Path;

use split_custody_weights::Threads;
use split_custody_weights::bench::{Input, Settings, run};

use crate::args::BenchOpenArgs;
use crate::failure::Failure;

pub fn open(args: &BenchOpenArgs) -> Result<(), Failure> {
    let input = match &args.model {
        Some(model) => Input::File(model.clone()),
        None => Input::Synthetic { bytes: args.size.saturating_mul(1 << 20) },
    };
    let mut threads = vec![Threads::one()];
    if Threads::all() != Threads::one() {
        threads.push(Threads::all());
    }
    let settings = Settings {
        scratch: &std::env::temp_dir(),
        threads: &threads,
        repeats: args.repeats,
        python: Some(args.python.as_deref().unwrap_or(Path::new("python3"))),
    };
    let report = run(&input, &settings)?;
    if args.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        say_on!("{report}");
    }
    Ok(())
}
