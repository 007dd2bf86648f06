//! `hsm.toml` in a custodian's folder: which token, how to reach it, which suite.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use split_custody_protocol::suite::SuiteId;

use crate::error::Error;
use crate::pin::PinSource;

/// What a custodian knows of its HSM; no secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The PKCS#11 module.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// `file:PATH`, `fd:NUMBER` or `protected`.
    pub pin_source: String,
    /// Keys in the token are labelled with this name, a dash and what they do.
    #[serde(default = "name")]
    pub name: String,
    /// The suite that probing found; its KEK is bound to it.
    #[serde(default)]
    pub suite: String,
    /// A vendor's own table; the built-in one, where none is named.
    #[serde(default)]
    pub table: Option<PathBuf>,
    /// A string that some modules take when they are initialised.
    #[serde(default)]
    pub init: Option<String>,
    /// No call takes longer, in milliseconds. [HSM-11]
    #[serde(default = "deadline")]
    pub deadline_ms: u64,
    /// Ephemerals that lie ready.
    #[serde(default = "pool")]
    pub pool: usize,
    /// Calls at once.
    #[serde(default = "lanes")]
    pub lanes: usize,
    /// Environment of the process that loads the module.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The folder of this file; relative paths are taken from it.
    #[serde(skip)]
    pub folder: PathBuf,
}

fn name() -> String {
    "split-custody".into()
}

const fn deadline() -> u64 {
    2_000
}

const fn pool() -> usize {
    32
}

const fn lanes() -> usize {
    2
}

impl Config {
    /// The file's name in a custodian's folder.
    pub const FILE: &'static str = "hsm.toml";

    /// A token's configuration with everything else at its default.
    pub fn new(folder: &Path, module: &Path, token: &str, pin_source: &PinSource) -> Self {
        Self {
            module: module.into(),
            token: token.into(),
            pin_source: pin_source.to_string(),
            name: name(),
            suite: String::new(),
            table: None,
            init: None,
            deadline_ms: deadline(),
            pool: pool(),
            lanes: lanes(),
            env: BTreeMap::new(),
            folder: folder.into(),
        }
    }

    /// Reads `hsm.toml` in this folder.
    ///
    /// # Errors
    /// A file that cannot be read or breaks a rule, with the place.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join(Self::FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| Error::Io(path.clone(), e))?;
        let mut config: Self =
            basic_toml::from_str(&text).map_err(|e| Error::Config(path.clone(), e.to_string()))?;
        config.folder = folder.into();
        config.pin()?;
        let in_bounds = (1..=16).contains(&config.lanes)
            && config.pool <= 4096
            && (10..=600_000).contains(&config.deadline_ms);
        if !in_bounds {
            let rule = "lanes from 1 to 16, pool up to 4096, deadline_ms from 10 to 600000";
            return Err(Error::File(path, rule));
        }
        Ok(config)
    }

    /// The text of `hsm.toml`.
    pub fn to_toml(&self) -> String {
        // INVARIANT: strings, numbers, and one map at the end.
        basic_toml::to_string(self).expect("a configuration has a TOML form")
    }

    /// Where the PIN comes from.
    ///
    /// # Errors
    /// A source of another form; its text is not repeated.
    pub fn pin(&self) -> Result<PinSource, Error> {
        let source = self.pin_source.parse::<PinSource>();
        source.map(|source| source.within(&self.folder)).map_err(|why| {
            Error::Config(self.folder.join(Self::FILE), format!("pin_source: {why} [HSM-10]"))
        })
    }

    /// The suite of the keys, once they were made.
    ///
    /// # Errors
    /// A suite that is not one of P-256.
    pub fn suite(&self) -> Result<SuiteId, Error> {
        SuiteId::from_name(&self.suite).filter(|suite| SuiteId::P256.contains(suite)).ok_or_else(
            || Error::Config(self.folder.join(Self::FILE), "suite: not one of P-256".into()),
        )
    }

    pub const fn deadline(&self) -> Duration {
        Duration::from_millis(self.deadline_ms)
    }

    /// Where the wrapped shares lie.
    pub fn blobs(&self) -> PathBuf {
        self.folder.join("shares")
    }
}

/// The installed SoftHSM2, where distributions put it.
pub fn find_softhsm() -> Option<PathBuf> {
    const PLACES: [&str; 6] = [
        "/usr/lib/softhsm/libsofthsm2.so",
        "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib64/pkcs11/libsofthsm2.so",
        "/usr/local/lib/softhsm/libsofthsm2.so",
        "/opt/homebrew/lib/softhsm/libsofthsm2.so",
    ];
    PLACES.iter().map(PathBuf::from).find(|path| path.is_file())
}
