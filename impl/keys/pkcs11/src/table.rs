//! What a vendor's numbers are: data, never code. Chapter 35, *Probing*.

use std::path::Path;

use serde::Deserialize;
use split_custody_protocol::suite::SuiteId;

use crate::error::Error;

/// One vendor's numbers and quirks.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub name: String,
    /// The manufacturer that the token names; the empty one fits every token.
    pub manufacturer: String,
    /// Names of suites in the order in which they are tried.
    pub suites: Vec<String>,
    /// `production` or `development`, whatever the token's tests say.
    pub grade: String,
    pub mechanisms: Mechanisms,
    pub kdf: Kdf,
    pub quirks: Quirks,
}

/// Mechanism numbers; 0 where the vendor has none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mechanisms {
    /// RFC 3394.
    pub kw: u64,
    /// RFC 5649.
    pub kwp: u64,
    pub cbc_derive: u64,
    pub ecdh: u64,
    /// ECDSA over a digest.
    pub ecdsa: u64,
}

/// Numbers of key derivation functions inside ECDH; 0 where there is none.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kdf {
    pub null: u64,
    pub x963_sha256: u64,
}

/// What a token does not know and is therefore not told.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quirks {
    pub unwrap_template: bool,
    pub allowed_mechanisms: bool,
    /// Attributes that the token does not keep, so that they cannot be verified: with one of them
    /// a token is for development.
    #[serde(default)]
    pub untold: Vec<String>,
}

/// Tables that are built in; a vendor's own comes before them.
const BUILT_IN: [&str; 4] = [
    include_str!("../tables/softhsm2.toml"),
    include_str!("../tables/nss.toml"),
    include_str!("../tables/luna.toml"),
    include_str!("../tables/standard.toml"),
];

/// The built-in table for a token of this manufacturer.
pub fn builtin(manufacturer: &str) -> Table {
    let tables = BUILT_IN.iter().map(|text| {
        // INVARIANT: a test reads each of them.
        basic_toml::from_str::<Table>(text).expect("built-in tables are TOML")
    });
    let mut fitting = tables.filter(|table| manufacturer.trim().starts_with(&table.manufacturer));
    // INVARIANT: the last table names no manufacturer and fits every one.
    fitting.next().expect("the standard table fits every token")
}

impl Table {
    /// A vendor's own table.
    ///
    /// # Errors
    /// A file that cannot be read or is no table, with the place.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::Io(path.into(), e))?;
        let table: Self =
            basic_toml::from_str(&text).map_err(|e| Error::Config(path.into(), e.to_string()))?;
        match table.suites.iter().find(|name| SuiteId::from_name(name).is_none()) {
            Some(_) => Err(Error::File(path.into(), "names a suite that is not registered")),
            None => Ok(table),
        }
    }

    /// The suites to try, in their order.
    pub fn suites(&self) -> impl Iterator<Item = SuiteId> + '_ {
        self.suites.iter().filter_map(|name| SuiteId::from_name(name))
    }

    /// The wrap mechanism of a suite's profile; 0 when the vendor has none.
    pub const fn wrap_of(&self, suite: SuiteId) -> u64 {
        match suite {
            SuiteId::P256_X963_KWP => self.mechanisms.kwp,
            _ => self.mechanisms.kw,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hsm_8_built_in_tables_are_read_and_chosen_by_manufacturer() {
        for (maker, name) in [
            ("SoftHSM project                 ", "softhsm2"),
            ("Mozilla Foundation", "nss"),
            ("SafeNet", "luna"),
            ("anyone else", "standard"),
        ] {
            let table = builtin(maker);
            assert_eq!(table.name, name);
            assert_eq!(table.suites().count(), table.suites.len(), "every suite is registered");
        }
    }

    #[test]
    fn hsm_8_table_with_an_unknown_field_or_suite_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vendor.toml");
        let good = BUILT_IN[0];
        for bad in [good.replace("kw =", "kv ="), good.replace("P256-CBCD-KW", "P256-ROT13")] {
            std::fs::write(&path, bad).unwrap();
            let refused = Table::read(&path).unwrap_err().to_string();
            assert!(refused.contains("vendor.toml"), "{refused}");
        }
    }
}
