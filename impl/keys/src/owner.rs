//! The keys of people: the owner's and an operator's.
//!
//! Chapters 15 and 60. Each signs the kinds of object that its role makes and no other: an owner
//! key that could sign an order, or an operator's that could sign a manifest, would join powers
//! that the protocol keeps apart.

use std::path::Path;

use minicbor::Encode;
use split_custody_protocol::ids::WeightsVersion;
use split_custody_protocol::suite::VerifyKey;
use split_custody_protocol::wire::manifest::{Deployment, Manifest};
use split_custody_protocol::wire::order::Order;
use split_custody_protocol::wire::standing::{Activation, Provision, ProvisionStatement};
use split_custody_protocol::wire::{ObjectKind, Signed};

use crate::dealing::SealedFor;
use crate::error::{KeyError, KeyFileError};
use crate::es256::SigningKey;
use crate::hash::{manifest_digest, sealed_digest};

/// Declares a role's key: which kinds of object it signs.
macro_rules! role_key {
    ($(#[$doc:meta])* $name:ident signs $($kind:ident)|+;) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(SigningKey);

        impl $name {
            pub const fn new(key: SigningKey) -> Self {
                Self(key)
            }

            pub fn generate() -> Result<Self, KeyError> {
                SigningKey::generate().map(Self)
            }

            /// Makes a key and its file; an existing file is never touched.
            pub fn create(path: &Path) -> Result<Self, KeyFileError> {
                SigningKey::create(path).map(Self)
            }

            /// Reads a key that only its owner can read.
            pub fn load(path: &Path) -> Result<Self, KeyFileError> {
                SigningKey::load(path).map(Self)
            }

            pub const fn public(&self) -> VerifyKey {
                self.0.public()
            }

            /// Signs an object of a kind that this role makes.
            pub fn sign_object<T: Encode<()>>(
                &self,
                kind: ObjectKind,
                payload: &T,
            ) -> Result<Signed, KeyError> {
                match kind {
                    $(ObjectKind::$kind)|+ => self.0.sign_object(kind, payload),
                    kind => Err(KeyError::KindOfAnotherRole(kind)),
                }
            }
        }
    };
}

role_key! {
    /// The model owner's root key: manifests, deployment records, provisions.
    OwnerKey signs Manifest | Deployment | Provision;
}

role_key! {
    /// One operator's key: orders and activations.
    OperatorKey signs Order | Activation;
}

impl OwnerKey {
    pub fn sign_manifest(&self, manifest: &Manifest) -> Result<Signed, KeyError> {
        self.sign_object(ObjectKind::Manifest, manifest)
    }

    pub fn sign_deployment(&self, deployment: &Deployment) -> Result<Signed, KeyError> {
        self.sign_object(ObjectKind::Deployment, deployment)
    }

    /// What one custodian is given, once, before its first release.
    pub fn provision(
        &self,
        manifest: &Signed,
        deployment: &Signed,
        dealt: &SealedFor,
        floor: WeightsVersion,
    ) -> Result<Provision, KeyError> {
        let statement = ProvisionStatement {
            manifest: manifest_digest(manifest.payload_bytes()),
            set: dealt.set,
            custodian: dealt.custodian,
            index: dealt.index,
            kek: dealt.kek,
            sealed: sealed_digest(&dealt.sealed),
            floor,
        };
        Ok(Provision {
            statement: self.sign_object(ObjectKind::Provision, &statement)?,
            manifest: manifest.clone(),
            deployment: deployment.clone(),
            sealed: dealt.sealed.clone(),
        })
    }
}

impl OperatorKey {
    pub fn approve_order(&self, order: &Order) -> Result<Signed, KeyError> {
        self.sign_object(ObjectKind::Order, order)
    }

    pub fn approve_activation(&self, activation: &Activation) -> Result<Signed, KeyError> {
        self.sign_object(ObjectKind::Activation, activation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rev_2_owner_key_signs_no_order_and_operator_key_no_manifest() {
        let owner = OwnerKey::generate().unwrap();
        let order = owner.sign_object(ObjectKind::Order, &1u8).map(|_| ());
        assert_eq!(order, Err(KeyError::KindOfAnotherRole(ObjectKind::Order)));
        let operator = OperatorKey::generate().unwrap();
        let manifest = operator.sign_object(ObjectKind::Manifest, &1u8).map(|_| ());
        assert_eq!(manifest, Err(KeyError::KindOfAnotherRole(ObjectKind::Manifest)));
    }
}
