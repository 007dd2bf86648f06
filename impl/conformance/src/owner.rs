//! The owner's real objects for a setup of the model: the same manifest, with real keys in it.

use std::collections::BTreeMap;

use split_custody_keys::{Dealing, manifest_digest, sealed_digest};
use split_custody_model_check::symbolic::{Hardware, Principal};
use split_custody_model_check::world::Setup;
use split_custody_protocol::suite::LeafKey;
use split_custody_protocol::wire::codec::List;
use split_custody_protocol::wire::manifest::{CustodianEntry, Deployment, Manifest};
use split_custody_protocol::wire::standing::{Provision, ProvisionStatement};
use split_custody_protocol::wire::{Message, ObjectKind, Signed};

use crate::keyring::Keyring;

/// What an owner makes before anything runs.
pub struct Objects {
    pub manifest: Signed,
    pub deployment: Signed,
    /// The frame that gives each custodian its share.
    pub provisions: BTreeMap<u8, Vec<u8>>,
}

impl Objects {
    /// `issuer` is whose certificates devices show; the model's own where nobody shows any.
    pub fn make(setup: &Setup, ring: &Keyring, dealing: Dealing, issuer: Option<LeafKey>) -> Self {
        let body = manifest(setup, ring, &dealing);
        let manifest = sign(ring, ObjectKind::Manifest, &body);
        let deployment = sign(ring, ObjectKind::Deployment, &deployment(setup, ring, issuer));
        let digest = manifest_digest(manifest.payload_bytes());
        let dealt = dealing.seal(&digest).expect("every KEK is good");
        let provisions = dealt
            .into_iter()
            .map(|share| {
                let statement = ProvisionStatement {
                    manifest: digest,
                    set: share.set,
                    custodian: share.custodian,
                    index: share.index,
                    kek: share.kek,
                    sealed: sealed_digest(&share.sealed),
                    floor: body.version,
                };
                let provision = Provision {
                    statement: sign(ring, ObjectKind::Provision, &statement),
                    manifest: manifest.clone(),
                    deployment: deployment.clone(),
                    sealed: share.sealed,
                };
                (share.custodian.value(), Message::Provision(provision).to_frame())
            })
            .collect();
        Self { manifest, deployment, provisions }
    }
}

fn sign<T: minicbor::Encode<()>>(ring: &Keyring, kind: ObjectKind, payload: &T) -> Signed {
    let owner = ring.signer(Principal::Owner).expect("the owner signs");
    owner.sign_object(kind, payload).expect("an object can be signed")
}

/// The model's manifest, with this run's keys and commitments.
fn manifest(setup: &Setup, ring: &Keyring, dealing: &Dealing) -> Manifest {
    let model: Manifest = setup.manifest().payload().expect("the model's own");
    let commitments = dealing.commitments();
    let custodian = |entry: &CustodianEntry| {
        let dealt = commitments.iter().find(|c| c.custodian == entry.id).expect("dealt to each");
        CustodianEntry {
            grant_key: ring.public(Principal::Custodian(entry.id.value())),
            commitment: dealt.share,
            kek: dealt.kek,
            ..entry.clone()
        }
    };
    let custodians = model.custodians.as_slice().iter().map(custodian).collect();
    Manifest {
        dek: ring.dek.commitment(model.weights, model.version),
        custodians: List::new(custodians).expect("as many as before"),
        ..model
    }
}

fn deployment(setup: &Setup, ring: &Keyring, issuer: Option<LeafKey>) -> Deployment {
    let model: Deployment = setup.deployment().payload().expect("the model's own");
    let device = ring.device(Hardware::Enrolled, Hardware::Enrolled);
    Deployment {
        operators: List::new(vec![ring.public(Principal::Operator)]).expect("one"),
        devices: List::new(vec![device]).expect("one"),
        issuers: issuer.map_or(model.issuers, |key| List::new(vec![key]).expect("one")),
        ..model
    }
}
