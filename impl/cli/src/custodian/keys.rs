//! A custodian's key effects over its keys, software or HSM, and the share that it was provisioned with.

use std::sync::{Arc, PoisonError, RwLock};

use split_custody_keys::{Custody, Release, Released, manifest_digest, provision_context};
use split_custody_protocol::suite::{Digest, SealedShare, Signature};
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::standing::{Provision, ProvisionStatement};
use split_custody_runtime::effects::{CustodyKeys, Outage, ReleaseOrder};

/// Keys and the provisioned share.
pub struct Keys {
    custody: Arc<dyn Custody>,
    share: RwLock<Option<Share>>,
}

/// A share as the owner sealed it to this custodian.
struct Share {
    statement: ProvisionStatement,
    sealed: SealedShare,
    context: Digest,
}

impl Keys {
    /// `provision` is the encoded provision that the store holds.
    pub fn new(custody: Arc<dyn Custody>, provision: Option<&[u8]>) -> Self {
        let keys = Self { custody, share: RwLock::new(None) };
        if let Some(bytes) = provision {
            keys.note(bytes);
        }
        keys
    }

    /// Takes the share of a provision that the machine verified and the store holds.
    pub fn note(&self, provision: &[u8]) {
        *self.share.write().unwrap_or_else(PoisonError::into_inner) = Share::of(provision);
    }
}

impl Share {
    fn of(provision: &[u8]) -> Option<Self> {
        let provision: Provision = decode(provision, Message::CAP).ok()?;
        let statement: ProvisionStatement = provision.statement.payload().ok()?;
        let manifest = manifest_digest(provision.manifest.payload_bytes());
        let ProvisionStatement { set, custodian, index, kek, .. } = statement;
        let context = provision_context(&manifest, &set, custodian, index, &kek);
        Some(Self { statement, sealed: provision.sealed, context })
    }
}

impl CustodyKeys for Keys {
    fn release(&self, order: &ReleaseOrder) -> Result<Released, Outage> {
        let share = self.share.read().unwrap_or_else(PoisonError::into_inner);
        let share = share
            .as_ref()
            .filter(|share| {
                share.statement.set == order.set && share.statement.index == order.index
            })
            .ok_or(Outage)?;
        let order = Release {
            provisioned: &share.sealed,
            provision_context: &share.context,
            suite: order.suite,
            to: &order.to,
            context: &order.context,
            draft: &order.draft,
        };
        self.custody.release(&order).map_err(|error| {
            eprintln!("release failed: {error}");
            Outage
        })
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, Outage> {
        self.custody.sign(message).map_err(|error| {
            eprintln!("signing failed: {error}");
            Outage
        })
    }

    fn destroy_handles(&self) -> Result<(), Outage> {
        self.custody.destroy_handles().map_err(|_| Outage) // [REV-7]
    }
}
