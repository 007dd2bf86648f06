//! `custody`: every role of split custody, and a demonstration of all of them.
//!
//! Each command is a module; what a machine decides is in `split-custody-protocol`, how it is
//! driven in `split-custody-runtime`. Exit codes: 0 good, 1 a check failed or an input was refused,
//! 2 usage, 3 a device, module or driver is missing.

/// `println!`, and a reader that is gone (`custody … | head`) is no reason to stop or to panic.
macro_rules! say {
    ($($text:tt)*) => { $crate::screen::put(format_args!("{}\n", format_args!($($text)*))) };
}

/// `say!` without the end of the line.
macro_rules! say_on {
    ($($text:tt)*) => { $crate::screen::put(format_args!($($text)*)) };
}

mod args;
mod attest;
mod audit;
mod bench;
mod control;
mod custodian;
mod demo;
mod device;
mod failure;
mod files;
mod hsm;
mod inspect;
mod keygen;
mod layout;
mod load;
mod node;
mod operator;
mod provision;
mod revoke;
mod role;
mod screen;
mod seal;
mod selftest;
mod terms;

use std::process::ExitCode;

use clap::Parser;

use args::{AuditCommand, Cli, Command};
use failure::Failure;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = wants_json(&cli.command);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {}", failure.text());
            if json && !matches!(failure, Failure::Checks(_)) {
                say!("{}", serde_json::json!({ "error": failure.text() }));
            }
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => demo::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Seal(args) => seal::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Custodian(args) => custodian::run(&args),
        Command::Node(args) => node::run(&args),
        Command::Device(args) => device::run(&args),
        Command::Provision(args) => provision::run(&args),
        Command::Load(args) => load::run(&args),
        Command::Lease(args) => load::lease(&args),
        Command::Revoke(args) => revoke::run(&args),
        Command::Audit { command: AuditCommand::Verify(args) } => audit::run(&args),
        Command::Hsm { command } => hsm::run(&command),
        Command::Attest { command } => attest::run(&command),
        Command::Selftest(args) => selftest::run(&args),
        Command::Bench { command } => bench::run(&command),
    }
}

/// Roles say that they are ready in JSON and never end well, so they say no more on stdout.
fn wants_json(command: &Command) -> bool {
    match command {
        Command::Demo(args) => args.json,
        Command::Keygen(args) => args.json,
        Command::Seal(args) => args.json,
        Command::Inspect(args) => args.json,
        Command::Custodian(_) | Command::Node(_) | Command::Device(_) => false,
        Command::Provision(args) => args.json,
        Command::Load(args) => args.json,
        Command::Lease(args) => args.json,
        Command::Revoke(args) => args.json,
        Command::Audit { command: AuditCommand::Verify(args) } => args.json,
        Command::Hsm { command } => command.json(),
        Command::Attest { command } => command.json(),
        Command::Selftest(args) => args.json,
        Command::Bench { command } => command.json(),
    }
}
