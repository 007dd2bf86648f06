//! The command line of `custody hsm`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use split_custody_pkcs11::PinSource;
use split_custody_protocol::suite::SuiteId;

#[derive(Debug, Subcommand)]
pub enum HsmCommand {
    /// Make a custodian's keys in its token, of the first profile that works
    Init(HsmInitArgs),
    /// Take the owner's share into the token before the first release does
    Import {
        #[command(flatten)]
        dir: HsmDirArgs,
        /// The provision of this custodian, beside the sealed file
        provision: PathBuf,
    },
    /// Put every share under a new KEK, then destroy the old one
    Rotate {
        #[command(flatten)]
        dir: HsmDirArgs,
    },
    /// Destroy a custodian's keys in its token: nothing kept outside opens again
    Destroy {
        #[command(flatten)]
        dir: HsmDirArgs,
        /// Only the import key, once the shares were taken in: nothing more can be sealed to it
        #[arg(long)]
        import_key: bool,
        /// They are gone for ever
        #[arg(long)]
        yes: bool,
    },
    /// Say which profiles a token supports, by trying them
    Probe(HsmTokenArgs),
    /// Try everything that a token must do and must not do; a graded report
    Conform(HsmTokenArgs),
    /// Certify the TLS key in a custodian's token, as the owner
    Certify {
        /// The folder that `keygen` made
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        #[arg(long, value_name = "ID")]
        custodian: u8,
    },
    /// Hold the module for a custodian, which starts this itself
    #[command(hide = true)]
    Worker {
        #[arg(long)]
        dir: PathBuf,
        #[arg(long)]
        scannable: bool,
    },
}

impl HsmCommand {
    /// Whether it speaks JSON.
    pub const fn json(&self) -> bool {
        match self {
            Self::Init(args) => args.token.dir.json,
            Self::Probe(args) | Self::Conform(args) => args.dir.json,
            Self::Import { dir, .. } | Self::Rotate { dir } | Self::Destroy { dir, .. } => dir.json,
            Self::Certify { .. } | Self::Worker { .. } => false,
        }
    }
}

#[derive(Args, Debug)]
pub struct HsmDirArgs {
    /// The custodian's folder, with its `hsm.toml`
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct HsmInitArgs {
    #[command(flatten)]
    pub token: HsmTokenArgs,
    /// This suite, and no other
    #[arg(long, value_parser = parse_suite)]
    pub suite: Option<SuiteId>,
    /// Make the token too: for development
    #[arg(long)]
    pub create_token: bool,
}

#[derive(Args, Debug)]
pub struct HsmTokenArgs {
    #[command(flatten)]
    pub dir: HsmDirArgs,
    /// The PKCS#11 module; without it, the `hsm.toml` in the folder counts
    #[arg(long, value_name = "SO")]
    pub module: Option<PathBuf>,
    /// The token's label
    #[arg(long)]
    pub token: Option<String>,
    /// `file:PATH`, `fd:NUMBER` or `protected`
    #[arg(long, value_name = "SOURCE")]
    pub pin_source: Option<PinSource>,
    /// A string that some modules take when they are initialised
    #[arg(long, value_name = "TEXT")]
    pub init: Option<String>,
    /// A vendor's own table of mechanisms
    #[arg(long, value_name = "TOML")]
    pub table: Option<PathBuf>,
}

fn parse_suite(text: &str) -> Result<SuiteId, String> {
    let suite = SuiteId::from_name(text).filter(|suite| SuiteId::P256.contains(suite));
    suite.ok_or_else(|| format!("expected one of {}", SuiteId::P256.map(SuiteId::name).join(", ")))
}
