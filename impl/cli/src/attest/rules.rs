//! The owner's signed rules out of files.

use std::path::{Path, PathBuf};

use split_custody_attest::nvidia::{
    Finding, KnownPolicy, KnownRevocations, Reason, Rules, SIGNED_CAP,
};
use split_custody_keys::read_verify_key;
use split_custody_protocol::suite::VerifyKey;

use crate::failure::Failure;
use crate::files::read;
use crate::layout::OWNER_PUBLIC;

use super::args::VerifyArgs;

/// What was read of the owner's rules, and why not, where it was not.
pub struct Given {
    pub policy: Option<KnownPolicy>,
    pub revocations: Option<KnownRevocations>,
    pub findings: Vec<Finding>,
}

impl Given {
    pub fn read(args: &VerifyArgs) -> Result<Self, Failure> {
        let mut given = Self { policy: None, revocations: None, findings: Vec::new() };
        let Some(path) = &args.policy else { return Ok(given) };
        let owner = owner(args.owner.as_deref(), path)?;
        let signed = read(path, SIGNED_CAP)?;
        given.policy = given.take(KnownPolicy::verify(&owner, &signed));
        if let Some(path) = &args.revocations {
            let signed = read(path, SIGNED_CAP)?;
            given.revocations = given.take(KnownRevocations::verify(&owner, &signed));
        }
        Ok(given)
    }

    fn take<T>(&mut self, result: Result<T, Reason>) -> Option<T> {
        result.map_err(|reason| self.findings.push(reason.into())).ok()
    }

    pub fn rules(&self) -> Option<Rules<'_>> {
        let revocations = self.revocations.as_ref();
        self.policy.as_ref().map(|policy| Rules { policy, revocations })
    }
}

/// The owner's key: a policy counts under no other.
pub fn owner(named: Option<&Path>, beside: &Path) -> Result<VerifyKey, Failure> {
    let found: PathBuf = match named {
        Some(path) => path.to_owned(),
        None => beside.with_file_name(OWNER_PUBLIC),
    };
    if named.is_none() && !found.is_file() {
        let text = format!(
            "`{}` counts under its owner's key only: name it with --owner",
            beside.display()
        );
        return Err(Failure::Usage(text));
    }
    Ok(read_verify_key(&found)?)
}
