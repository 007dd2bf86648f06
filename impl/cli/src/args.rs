//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use split_custody_protocol::ids::CustodianId;
use split_custody_protocol::suite::DeviceId;

use crate::files::unhex;
use crate::layout::parse_device;
use crate::node::parse_custodian;
use crate::terms::TermArgs;

/// Split custody of AI model weights: k of n custodians release a key to an attested device.
#[derive(Debug, Parser)]
#[command(name = "custody", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole path on this machine: seal, attest, release, serve, revoke, reset
    Demo(DemoArgs),
    /// Make every key of a deployment, each in its holder's folder
    Keygen(KeygenArgs),
    /// Seal a safetensors file and sign its manifest
    Seal(SealArgs),
    /// Show the public layout of a sealed file
    Inspect(InspectArgs),
    /// Run a custodian
    Custodian(CustodianArgs),
    /// Run a node: the host's relay and issuer
    Node(NodeArgs),
    /// Run a device
    Device(DeviceArgs),
    /// Give custodians their shares and activate them
    Provision(ProvisionArgs),
    /// Have a device acquire and load a sealed model
    Load(LoadArgs),
    /// Show a device's leases
    Lease(LeaseArgs),
    /// Revoke a device, a version of weights, or everything
    Revoke(RevokeArgs),
    /// Verify a custodian's audit log
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Keep a custodian's keys in an HSM, over PKCS#11
    Hsm {
        #[command(subcommand)]
        command: crate::hsm::args::HsmCommand,
    },
    /// Examine NVIDIA Evidence offline, and make the rules for it
    Attest {
        #[command(subcommand)]
        command: crate::attest::args::AttestCommand,
    },
    /// Compare every primitive in use with published vectors
    Selftest(SelftestArgs),
    /// Measure, beside the floor of the same run
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
}

#[derive(Args, Debug)]
pub struct DemoArgs {
    /// A safetensors file; the small real model that is linked in, where none is named
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// n: how many custodians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub custodians: u8,
    /// k: how many of them release
    #[arg(long, default_value_t = 2)]
    pub threshold: u8,
    /// f: how many of them may lie
    #[arg(long, default_value_t = 0)]
    pub faulty: u8,
    /// Kill this many custodians before the release
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub kill: u8,
    /// Where custodians keep keys: `soft`, or `pkcs11[:MODULE]`
    #[arg(long, default_value = "soft")]
    pub hsm: String,
    #[arg(long, value_enum, default_value_t = GpuArg::Sim)]
    pub gpu: GpuArg,
    /// What the device does about a host read
    #[arg(long, value_enum, default_value_t = HostReadArg::Reset)]
    pub on_host_read: HostReadArg,
    /// Keep every file of the run, event logs included, in this new folder
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print one JSON object instead of the timeline
    #[arg(long)]
    pub json: bool,
    /// How many devices are enrolled: for measurements
    #[arg(skip = 1)]
    pub devices: u8,
    /// Keep no event logs: for measurements
    #[arg(skip)]
    pub quiet: bool,
}

impl DemoArgs {
    /// What `custody demo` does where nothing else is asked.
    pub const fn standard() -> Self {
        Self {
            model: None,
            custodians: 3,
            threshold: 2,
            faulty: 0,
            kill: 0,
            hsm: String::new(),
            gpu: GpuArg::Sim,
            on_host_read: HostReadArg::Reset,
            keep: None,
            json: false,
            devices: 1,
            quiet: false,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum GpuArg {
    Sim,
    Cuda,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum HostReadArg {
    /// The read yields nothing, and nothing else happens
    Block,
    /// The read yields nothing, and the device wipes itself
    Reset,
}

#[derive(Args, Debug)]
pub struct KeygenArgs {
    /// A folder that does not exist yet
    pub dir: PathBuf,
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..))]
    pub custodians: u8,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub devices: u8,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub operators: u8,
    /// Make no keys for the custodians: `custody hsm init` makes them in their tokens
    #[arg(long)]
    pub hsm: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SealArgs {
    /// A safetensors file
    pub source: PathBuf,
    /// The sealed file to make; manifest, table and provisions appear beside it
    pub target: PathBuf,
    /// The folder that `keygen` made
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    /// k: how many custodians release
    #[arg(long, default_value_t = 2)]
    pub threshold: u8,
    /// f: how many custodians may lie
    #[arg(long, default_value_t = 0)]
    pub faulty: u8,
    /// The version of these weights; custodians refuse lower ones
    #[arg(long, default_value_t = 1)]
    pub version: u64,
    /// The id of the weights, the same for all versions: 32 hexadecimal digits, or drawn
    #[arg(long, value_parser = unhex::<16>)]
    pub weights: Option<[u8; 16]>,
    /// The executable whose measurement policy admits; this program, where none is named
    #[arg(long, value_name = "FILE")]
    pub measure: Option<PathBuf>,
    #[command(flatten)]
    pub terms: TermArgs,
    /// Seal to tokens of the development suite P256-CBCD-KW, too
    #[arg(long)]
    pub development: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct InspectArgs {
    /// A sealed file
    pub file: PathBuf,
    /// Compare with this manifest; the one beside the file, where there is one
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// The owner's public key, to verify the manifest with
    #[arg(long, value_name = "PEM")]
    pub owner: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

/// What every long-running role takes.
#[derive(Args, Debug)]
pub struct RoleArgs {
    /// Append the event log to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// End when this process ends
    #[arg(long, hide = true, value_name = "PID")]
    pub die_with: Option<u32>,
    /// Say that it is ready in JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct CustodianArgs {
    /// The custodian's folder; its store is made in it
    #[arg(long)]
    pub dir: PathBuf,
    /// Port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// The control socket; `control.sock` in the folder, where none is named
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Let other processes of this user read its memory, so that a demo can scan it
    #[arg(long, hide = true)]
    pub scannable: bool,
    #[command(flatten)]
    pub role: RoleArgs,
}

#[derive(Args, Debug)]
pub struct NodeArgs {
    /// The node's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// Where a custodian is; once for each
    #[arg(long = "custodian", value_name = "ID=ADDR", value_parser = parse_custodian, required = true)]
    pub custodians: Vec<(CustodianId, SocketAddr)>,
    /// The socket for devices
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
    #[command(flatten)]
    pub role: RoleArgs,
}

#[derive(Args, Debug)]
pub struct DeviceArgs {
    /// The device's folder
    #[arg(long)]
    pub dir: PathBuf,
    /// The node's socket
    #[arg(long, value_name = "PATH")]
    pub node: PathBuf,
    /// The accelerator: simulated, or the first NVIDIA GPU
    #[arg(long, value_enum, default_value_t = GpuArg::Sim)]
    pub gpu: GpuArg,
    #[arg(long, value_enum, default_value_t = HostReadArg::Reset)]
    pub on_host_read: HostReadArg,
    /// The control socket; `control.sock` in the folder, where none is named
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// The bus window; `bus.sock` in the folder, where none is named
    #[arg(long, value_name = "PATH")]
    pub window: Option<PathBuf>,
    /// Device memory to map at the start
    #[arg(long, default_value_t = 64, value_name = "MB")]
    pub reserve_mb: u64,
    /// Device memory that tensors may use
    #[arg(long, default_value_t = 16_384, value_name = "MB")]
    pub limit_mb: u64,
    #[command(flatten)]
    pub role: RoleArgs,
}

#[derive(Args, Debug)]
pub struct ProvisionArgs {
    /// The sealed file; its provisions lie beside it
    pub model: PathBuf,
    /// The folder that `keygen` made
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    #[arg(long = "custodian", value_name = "ID=ADDR", value_parser = parse_custodian, required = true)]
    pub custodians: Vec<(CustodianId, SocketAddr)>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct LoadArgs {
    /// The sealed file, as the device process finds it
    pub model: PathBuf,
    /// The device's folder
    #[arg(long, value_name = "DIR")]
    pub device: PathBuf,
    /// Give the loaded model up first
    #[arg(long)]
    pub replace: bool,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct LeaseArgs {
    /// The device's folder
    #[arg(long, value_name = "DIR")]
    pub device: PathBuf,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct RevokeArgs {
    /// The sealed file whose manifest names the custodians
    #[arg(long, value_name = "FILE")]
    pub model: PathBuf,
    /// The folder that `keygen` made
    #[arg(long, value_name = "DIR")]
    pub keys: PathBuf,
    #[arg(long = "custodian", value_name = "ID=ADDR", value_parser = parse_custodian, required = true)]
    pub custodians: Vec<(CustodianId, SocketAddr)>,
    #[command(flatten)]
    pub whom: Whom,
    /// The subject's highest admission; 0 for what was enrolled and never lifted
    #[arg(long, default_value_t = 0)]
    pub serial: u64,
    /// Return only when custodians signed that all leases under the order are dead
    #[arg(long)]
    pub wait: bool,
    /// How long to ask custodians again that do not sign, until enough have
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub patience: u64,
    #[arg(long)]
    pub json: bool,
}

/// Whom a revocation is about; exactly one.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct Whom {
    /// A device id: 64 hexadecimal digits
    #[arg(long, value_name = "ID", value_parser = parse_device)]
    pub device: Option<DeviceId>,
    /// This version of the weights
    #[arg(long)]
    pub weights: bool,
    /// Everything in the deployment
    #[arg(long)]
    pub everything: bool,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Recompute the log's root and check every receipt's leaf at its index
    Verify(AuditArgs),
}

#[derive(Args, Debug)]
pub struct AuditArgs {
    /// A custodian's folder
    pub dir: PathBuf,
    /// Signed grants of a device, from its folder
    #[arg(long, value_name = "DIR")]
    pub device: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct SelftestArgs {
    /// A folder of Wycheproof or RFC 9180 JSON; the built-in vectors, where none is named
    #[arg(long, value_name = "DIR")]
    pub vectors: Option<PathBuf>,
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Seal and open, beside the raw cipher over the same chunks
    Open(BenchOpenArgs),
    /// Attach and release, beside the sum of what it computes
    Release(BenchReleaseArgs),
    /// What each request pays: under a lease, authorised online, over links of several lengths
    Latency(BenchLatencyArgs),
    /// Searches, beside Spin on the same model
    Prove(BenchProveArgs),
}

impl BenchCommand {
    pub const fn json(&self) -> bool {
        match self {
            Self::Open(args) => args.json,
            Self::Release(args) => args.json,
            Self::Latency(args) => args.json,
            Self::Prove(args) => args.json,
        }
    }
}

#[derive(Args, Debug)]
pub struct BenchReleaseArgs {
    /// Releases to one device
    #[arg(long, default_value_t = 200)]
    pub rounds: usize,
    /// Devices that attach at the same time
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub clients: u8,
    /// How long they do it
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct BenchLatencyArgs {
    /// Batches of checks; ten times as many questions online
    #[arg(long, default_value_t = 200)]
    pub rounds: usize,
    /// Requests over each link
    #[arg(long, default_value_t = 200)]
    pub requests: u64,
    /// The longest lease, for the bound after a revocation
    #[arg(long, default_value_t = 60_000)]
    pub ttl_max_ms: u64,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct BenchProveArgs {
    /// Resource managers of two-phase commit
    #[arg(long, default_value_t = 8)]
    pub managers: u32,
    #[arg(long, default_value_t = 3)]
    pub repeats: u32,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct BenchOpenArgs {
    /// Random weights of this size
    #[arg(long, default_value_t = 256, value_name = "MB")]
    pub size: u64,
    /// Measure with this file instead
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,
    /// An interpreter that has `safetensors` and `cryptotensors`, to measure them too
    /// [default: python3]
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<PathBuf>,
    #[arg(long, default_value_t = 5)]
    pub repeats: u32,
    #[arg(long)]
    pub json: bool,
}
