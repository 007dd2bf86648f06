//! `custody attest`: NVIDIA Evidence, offline.

pub mod args;
mod collect;
mod explain;
mod intake;
mod policy;
mod rules;
mod tree;
mod verify;

use crate::failure::Failure;

use args::AttestCommand;

pub fn run(command: &AttestCommand) -> Result<(), Failure> {
    match command {
        AttestCommand::Collect(args) => collect::run(args),
        AttestCommand::Verify(args) => verify::run(args),
        AttestCommand::Explain(args) => explain::run(args),
        AttestCommand::Policy { command } => policy::run(command),
    }
}
