//! Whether a custodian may grant and renew.

use alloc::collections::BTreeSet;

use crate::effect::Anchor;
use crate::error::{Misuse, Violation};
use crate::ids::{CustodianId, Epoch, Generation};
use crate::release::Serving;
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::suite::{Digest, Nonce, Suite};
use crate::wire::standing::{Activation, StandingCode};

/// Where a custodian stands.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Standing {
    #[default]
    Unprovisioned,
    /// Holds a share and may not use it: new, or behind its anchor. [AUD-4]
    Recovering,
    Activating,
    Serving,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StandingInput {
    Provisioned,
    Activate,
    Anchored,
    /// The store did not take an activation or an order.
    Fenced,
}

impl Standing {
    /// One step of the table of chapter 80.
    pub fn handle(&mut self, input: StandingInput) -> Result<(), Misuse> {
        *self = match (*self, input) {
            (Self::Unprovisioned, StandingInput::Provisioned) => Self::Recovering,
            (Self::Recovering, StandingInput::Activate) => Self::Activating,
            (Self::Activating, StandingInput::Anchored) => Self::Serving,
            (Self::Recovering | Self::Activating | Self::Serving, StandingInput::Fenced) => {
                Self::Recovering
            }
            _ => return Err(Misuse::WrongState),
        };
        Ok(())
    }

    /// Whether it may grant and renew. [REL-2]
    pub const fn serving(self) -> Serving {
        match self {
            Self::Serving => Serving::Yes,
            Self::Unprovisioned | Self::Recovering | Self::Activating => Serving::No,
        }
    }

    pub const fn code(self) -> StandingCode {
        match self {
            Self::Unprovisioned => StandingCode::Unprovisioned,
            Self::Recovering | Self::Activating => StandingCode::Recovering,
            Self::Serving => StandingCode::Serving,
        }
    }

    /// The state's name in the table of chapter 80.
    pub const fn state_name(self) -> &'static str {
        match self {
            Self::Unprovisioned => "Unprovisioned",
            Self::Recovering => "Recovering",
            Self::Activating => "Activating",
            Self::Serving => "Serving",
        }
    }
}

/// What a custodian knows when it judges an activation or its own store.
#[derive(Clone, Copy, Debug)]
pub struct Knows<'a> {
    pub custodian: CustodianId,
    pub generation: Generation,
    pub epoch: Epoch,
    pub manifest: &'a KnownManifest,
    /// Drawn at this generation's start. [AUD-5]
    pub nonce: &'a Nonce,
    pub orders: &'a BTreeSet<Digest>,
    pub anchor: Option<&'a Anchor>,
}

/// Checks an activation that enough operators signed. [AUD-5] [AUD-6]
pub fn check_activation(
    activation: &Activation,
    knows: &Knows<'_>,
    suite: &mut impl Suite,
) -> Result<(), Violation> {
    require!(
        AUD_5,
        activation.deployment == knows.manifest.deployment
            && activation.custodian == knows.custodian
            && activation.set == knows.manifest.set
            && suite
                .same(activation.manifest.as_bytes(), knows.manifest.digest().as_bytes())
                .is_ok()
            && suite.same(activation.nonce.as_bytes(), knows.nonce.as_bytes()).is_ok()
    );
    let listed: BTreeSet<Digest> = activation.orders.iter().copied().collect();
    let anchored = knows.anchor.map(|anchor| anchor.orders.as_slice()).unwrap_or_default();
    // Complete both ways: it lists what is known here, and what it lists is held here.
    require!(
        AUD_6,
        knows.orders.iter().chain(anchored).all(|order| listed.contains(order))
            && listed.iter().all(|order| knows.orders.contains(order))
    );
    Ok(())
}

/// Where a custodian stands after a boot: a store behind its anchor is recovering. [AUD-4]
pub fn recover(active: Option<&Digest>, knows: &Knows<'_>) -> Standing {
    match stands(active, knows) {
        Ok(()) => Standing::Serving,
        Err(_) => Standing::Recovering,
    }
}

fn stands(active: Option<&Digest>, knows: &Knows<'_>) -> Result<(), Violation> {
    require!(AUD_5, active == Some(knows.manifest.digest()));
    require!(
        AUD_4,
        knows.anchor.is_some_and(|anchor| {
            anchor.generation <= knows.generation
                && anchor.epoch <= knows.epoch
                && anchor.orders.iter().all(|order| knows.orders.contains(order))
        })
    );
    Ok(())
}
