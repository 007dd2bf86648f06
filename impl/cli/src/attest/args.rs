//! The command line of `custody attest`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use split_custody_attest::UnixTime;

use crate::files::unhex;

#[derive(Debug, Subcommand)]
pub enum AttestCommand {
    /// Ask the GPUs of this machine for reports over a nonce
    Collect(CollectArgs),
    /// Say whether Evidence is accepted, and if not, why
    Verify(VerifyArgs),
    /// Show every field and every check as a tree, and what to do about a rejection
    Explain(VerifyArgs),
    /// Make and show what the owner admits
    Policy {
        #[command(subcommand)]
        command: PolicyCommand,
    },
}

impl AttestCommand {
    pub const fn json(&self) -> bool {
        match self {
            Self::Collect(args) => args.json,
            Self::Verify(args) | Self::Explain(args) => args.json,
            Self::Policy { command } => match command {
                PolicyCommand::Draft(_) => false,
                PolicyCommand::Sign(args) => args.json,
                PolicyCommand::Show(args) => args.json,
            },
        }
    }
}

#[derive(Args, Debug)]
pub struct CollectArgs {
    /// The nonce that the reports answer: 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = unhex::<32>)]
    pub nonce: [u8; 32],
    /// A folder that does not exist yet
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[arg(long)]
    pub json: bool,
}

/// Evidence as files.
#[derive(Args, Debug)]
pub struct EvidenceArgs {
    /// A report, as bytes or hexadecimal digits; or an array of reports with their chains, as JSON.
    /// Once for each GPU
    #[arg(long = "report", value_name = "FILE", num_args = 1.., required = true)]
    pub reports: Vec<PathBuf>,
    /// The certificate chain of each report, as PEM, leaf first; none where the reports are JSON
    #[arg(long = "chain", value_name = "FILE", num_args = 1..)]
    pub chains: Vec<PathBuf>,
    /// The RIMs of driver and VBIOS
    #[arg(long = "rim", value_name = "FILE", num_args = 1..)]
    pub rims: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// The nonce that was asked for: 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = unhex::<32>)]
    pub nonce: [u8; 32],
    /// The time of appraisal, as in `2024-06-01T00:00:00Z`
    #[arg(long, value_name = "RFC3339")]
    pub at: UnixTime,
    /// The id of the CPU beside these GPUs, to be told the device id: 66 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = unhex::<33>)]
    pub ueid: Option<[u8; 33]>,
    /// The owner's signed policy; without one, only what NVIDIA signed is examined
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The owner's signed revocation snapshot
    #[arg(long, value_name = "FILE", requires = "policy")]
    pub revocations: Option<PathBuf>,
    /// The owner's public key; `owner.pub.pem` beside the policy, where none is named
    #[arg(long, value_name = "PEM", requires = "policy")]
    pub owner: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Write a policy as JSON that fits this Evidence, for the owner to read and narrow
    Draft(DraftArgs),
    /// Sign a policy or a revocation snapshot with the owner's key
    Sign(SignArgs),
    /// Show a signed policy or revocation snapshot
    Show(ShowArgs),
}

#[derive(Args, Debug)]
pub struct DraftArgs {
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    /// From when the policy holds
    #[arg(long, value_name = "RFC3339")]
    pub from: UnixTime,
    /// Until when the policy holds
    #[arg(long, value_name = "RFC3339")]
    pub until: UnixTime,
    /// The public key of a CPU verifier
    #[arg(long = "issuer", value_name = "PEM", required = true)]
    pub issuers: Vec<PathBuf>,
    /// A measurement of the CPU that is admitted: 64 hexadecimal digits
    #[arg(long = "cpu-measurement", value_name = "HEX", value_parser = unhex::<32>, required = true)]
    pub cpu_measurements: Vec<[u8; 32]>,
}

#[derive(Args, Debug)]
pub struct SignArgs {
    /// JSON with `policy` or `revocations`
    pub source: PathBuf,
    /// The signed object to make
    pub target: PathBuf,
    /// The owner's private key
    #[arg(long, value_name = "PEM")]
    pub key: PathBuf,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A signed policy or revocation snapshot
    pub file: PathBuf,
    /// The owner's public key; `owner.pub.pem` beside the file, where none is named
    #[arg(long, value_name = "PEM")]
    pub owner: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}
