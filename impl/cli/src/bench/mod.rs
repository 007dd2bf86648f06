//! `custody bench`: figures beside the floor of the same run.

#[cfg(feature = "demo")]
mod latency;
#[cfg(feature = "demo")]
mod line;
mod link;
mod measure;
mod open;
#[cfg(feature = "search")]
mod prove;
mod release;

use crate::args::BenchCommand;
use crate::failure::Failure;

pub fn run(command: &BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::Open(args) => open::open(args),
        BenchCommand::Release(args) => release::release(args),
        #[cfg(feature = "demo")]
        BenchCommand::Latency(args) => latency::latency(args),
        #[cfg(not(feature = "demo"))]
        BenchCommand::Latency(_) => without("latency", "demo"),
        #[cfg(feature = "search")]
        BenchCommand::Prove(args) => prove::prove(args),
        #[cfg(not(feature = "search"))]
        BenchCommand::Prove(_) => without("prove", "search"),
    }
}

#[cfg(not(all(feature = "demo", feature = "search")))]
fn without(bench: &str, feature: &str) -> Result<(), Failure> {
    Err(Failure::Missing(format!(
        "bench {bench}: not in this build; build with `--features {feature}`"
    )))
}
