//! Where a custodian's keys lie: in files, or in a token behind a worker.

use std::ffi::OsString;
use std::sync::Arc;

use split_custody_keys::{Custody, Outage, SoftCustody};
use split_custody_pkcs11::{Config, Starter, TlsKey, WorkerCustody};
use split_custody_protocol::suite::Signature;
use split_custody_runtime::pki::{
    Identity, RemoteSign, load_identity, read_certificates, remote_identity,
};

use crate::failure::Failure;
use crate::hsm::{HSM_LEAF, failure};
use crate::layout::Folder;

/// A custodian's keys, open.
#[derive(Clone)]
pub struct Held {
    pub custody: Arc<dyn Custody>,
    pub outage: Outage,
    worker: Option<Arc<WorkerCustody>>,
}

impl Held {
    /// A token where the folder has an `hsm.toml`, key files where it has none.
    pub fn open(folder: &Folder, scannable: bool) -> Result<Self, Failure> {
        if !folder.path(Config::FILE).is_file() {
            let custody = SoftCustody::load(&folder.0)?;
            let outage = custody.outage();
            return Ok(Self { custody: Arc::new(custody), outage, worker: None });
        }
        let config = Config::read(&folder.0).map_err(failure)?;
        let mut arguments: Vec<OsString> =
            vec!["hsm".into(), "worker".into(), "--dir".into(), folder.0.clone().into()];
        if scannable {
            arguments.push("--scannable".into());
        }
        let starter = Starter { program: std::env::current_exe()?, arguments };
        let worker = WorkerCustody::start(config, starter).map_err(failure)?;
        let custody: Arc<dyn Custody> = Arc::clone(&worker) as _;
        Ok(Self { custody, outage: worker.outage(), worker: Some(worker) })
    }

    /// The TLS identity: from the token, where the owner certified the key in it.
    pub fn identity(&self, folder: &Folder) -> Result<Identity, Failure> {
        let path = folder.path(HSM_LEAF);
        match &self.worker {
            Some(worker) if path.is_file() => {
                let key = TlsKey::new(Arc::clone(worker));
                let public = key.public();
                Ok(remote_identity(read_certificates(&path)?, public, Arc::new(InToken(key)))?)
            }
            _ => Ok(load_identity(&folder.0, "leaf")?),
        }
    }

    /// The process that holds the module now.
    pub fn worker_pid(&self) -> Option<u32> {
        self.worker.as_ref().and_then(|worker| worker.worker_pid())
    }
}

struct InToken(TlsKey);

impl RemoteSign for InToken {
    fn sign(&self, message: &[u8]) -> Option<Signature> {
        self.0.sign(message).inspect_err(|error| eprintln!("TLS signature: {error}")).ok()
    }
}
