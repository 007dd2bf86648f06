//! Where a deployment's files lie, by who holds them.
//!
//! ```text
//!   KEYS/owner/         owner.pem  deployment.cose  ca.{pem,key}  root.{pem,key}
//!   KEYS/operators/     operator-1.pem  issuer.{pem,key}  root.pem      for people who sign
//!   KEYS/custodian-1/   kek.pem  grant.pem  leaf.{pem,key}  ca.pem      moves to the custodian
//!   KEYS/device-1/      gpu.pem  platform.pem  root.pem                 moves into the device
//!   KEYS/node/          issuer.{pem,key}                                moves to the host
//! ```
//! A folder holds what its holder needs and no more. One file of the public half of the owner's key
//! and `deployment.json` are in each.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use split_custody_keys::{SigningKey, read_verify_key};
use split_custody_protocol::ids::{CustodianId, DeploymentId};
use split_custody_protocol::suite::{DeviceId, VerifyKey};

use crate::failure::Failure;
use crate::files::{hex, read, unhex};

/// What every holder knows of the deployment.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct About {
    /// 32 hexadecimal digits.
    pub deployment: String,
    /// Which custodian this is, in a custodian's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custodian: Option<u8>,
}

impl About {
    pub fn deployment(&self) -> Result<DeploymentId, Failure> {
        unhex(&self.deployment).map(DeploymentId::new).map_err(Failure::Refused)
    }

    pub fn to_json(&self) -> String {
        // INVARIANT: strings and numbers always have a JSON form.
        serde_json::to_string(self).expect("plain fields") + "\n"
    }
}

/// One holder's folder.
#[derive(Clone, Debug)]
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn about(&self) -> Result<About, Failure> {
        let path = self.path(ABOUT);
        let bytes = read(&path, 4096)?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Failure::refused(format!("`{}`: {error}", path.display())))
    }

    pub fn owner(&self) -> Result<VerifyKey, Failure> {
        Ok(read_verify_key(&self.path(OWNER_PUBLIC))?)
    }

    /// Which custodian's folder this is.
    pub fn custodian(&self) -> Result<CustodianId, Failure> {
        let about = self.about()?;
        about.custodian.filter(|id| *id != 0).map(CustodianId::new).ok_or_else(|| {
            let path = self.path(ABOUT);
            Failure::refused(format!("`{}`: names no custodian", path.display()))
        })
    }

    /// The two identity keys of a device, GPU and platform.
    pub fn device_keys(&self) -> Result<(SigningKey, SigningKey), Failure> {
        Ok((
            SigningKey::load(&self.path("gpu.pem"))?,
            SigningKey::load(&self.path("platform.pem"))?,
        ))
    }
}

/// All folders of a deployment, as `keygen` makes them.
#[derive(Clone, Debug)]
pub struct Household(pub PathBuf);

impl Household {
    pub fn owner(&self) -> Folder {
        Folder(self.0.join("owner"))
    }

    pub fn operators(&self) -> Folder {
        Folder(self.0.join("operators"))
    }

    pub fn node(&self) -> Folder {
        Folder(self.0.join("node"))
    }

    pub fn custodian(&self, id: u8) -> Folder {
        Folder(self.0.join(format!("custodian-{id}")))
    }

    pub fn device(&self, number: u8) -> Folder {
        Folder(self.0.join(format!("device-{number}")))
    }

    /// The custodians whose folders are there, ascending.
    pub fn custodians(&self) -> Vec<u8> {
        (1..=255).filter(|id| self.custodian(*id).0.is_dir()).collect()
    }

    /// The operators whose keys are there, ascending.
    pub fn operator_keys(&self) -> Vec<PathBuf> {
        let path = |n: u8| self.operators().path(&format!("operator-{n}.pem"));
        (1..=16).map(path).filter(|path| path.is_file()).collect()
    }
}

/// The files that lie beside a sealed model.
#[derive(Clone, Debug)]
pub struct Beside<'a>(pub &'a Path);

impl Beside<'_> {
    pub fn manifest(&self) -> PathBuf {
        crate::files::beside(self.0, ".manifest")
    }

    pub fn table(&self) -> PathBuf {
        crate::files::beside(self.0, ".table")
    }

    pub fn deployment(&self) -> PathBuf {
        crate::files::beside(self.0, ".deployment")
    }

    pub fn provision(&self, custodian: CustodianId) -> PathBuf {
        crate::files::beside(self.0, &format!(".provision-{custodian}"))
    }
}

pub const ABOUT: &str = "deployment.json";
pub const OWNER_PUBLIC: &str = "owner.pub.pem";
pub const DEPLOYMENT: &str = "deployment.cose";

/// A device id as commands take it.
pub fn parse_device(text: &str) -> Result<DeviceId, String> {
    unhex(text).map(DeviceId::new)
}

/// Short and long enough to tell apart by eye.
pub fn short(bytes: &[u8]) -> String {
    hex(bytes.get(..4).unwrap_or(bytes)) + ".."
}
