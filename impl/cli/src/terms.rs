//! Lease terms on the command line.

use clap::Args;
use split_custody_protocol::ids::Budget;
use split_custody_protocol::time::Span;

/// Lease terms, in milliseconds.
#[derive(Args, Clone, Debug)]
pub struct TermArgs {
    /// The short first term
    #[arg(long, default_value_t = 5_000)]
    pub first_ms: u64,
    /// The term of each renewal
    #[arg(long, default_value_t = 30_000)]
    pub term_ms: u64,
    /// No term is longer: the bound after a revocation
    #[arg(long, default_value_t = 60_000)]
    pub ttl_max_ms: u64,
    /// How far one clock may err
    #[arg(long, default_value_t = 100)]
    pub margin_ms: u64,
    /// How long a device waits for custodians to answer
    #[arg(long, default_value_t = 2_000)]
    pub gather_ms: u64,
    /// How long a challenge lives
    #[arg(long, default_value_t = 30_000)]
    pub challenge_max_ms: u64,
    /// How old attestation may be at a renewal
    #[arg(long, default_value_t = 3_600_000)]
    pub max_age_ms: u64,
    /// Uses per term; unlimited where not given
    #[arg(long)]
    pub budget: Option<u64>,
}

macro_rules! spans {
    ($($name:ident $field:ident;)*) => {
        impl TermArgs {
            $(pub const fn $name(&self) -> Span {
                Span::from_millis(self.$field)
            })*
        }
    };
}

spans! {
    first first_ms;
    term term_ms;
    ttl_max ttl_max_ms;
    margin margin_ms;
    gather gather_ms;
    challenge_max challenge_max_ms;
    max_age max_age_ms;
}

impl TermArgs {
    pub fn budget(&self) -> Budget {
        self.budget.map_or(Budget::UNLIMITED, Budget::new)
    }
}
