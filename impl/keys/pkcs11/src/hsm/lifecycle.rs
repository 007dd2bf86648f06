//! Import, rotation and destruction. [HSM-5] [HSM-12] [HSM-13]

use std::fs;
use std::path::PathBuf;

use cryptoki::session::Session;
use cryptoki_sys::CK_OBJECT_HANDLE;
use split_custody_keys::p256kw::{kdf_input, provision_parts};
use split_custody_keys::sealed_digest;
use split_custody_protocol::suite::{Digest, SealedShare};

use super::{Hsm, Leftovers, point, ring};
use crate::config::Config;
use crate::error::Error;
use crate::keys::Kind;
use crate::raw::code;
use crate::token::Token;

impl Hsm {
    /// Takes a share that the owner sealed to this token, and keeps it under the share KEK.
    ///
    /// # Errors
    /// A share that was sealed to another key, suite or context.
    pub fn import(&self, provisioned: &SealedShare, context: &Digest) -> Result<PathBuf, Error> {
        let (path, session) = (self.blob_path(&sealed_digest(provisioned)), self.token.session()?);
        if !path.is_file() {
            let share = self.import_as(&session, provisioned, context, &path);
            let share = share.map_err(|error| self.judged(error))?;
            self.token.raw.destroy(session.handle(), share)?;
        }
        Ok(path)
    }

    pub(super) fn import_as(
        &self,
        session: &Session,
        provisioned: &SealedShare,
        context: &Digest,
        path: &std::path::Path,
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let parts = provision_parts(self.suite, provisioned.as_bytes()); // [HSM-5] [HSM-1]
        let (sender, wrapped) =
            parts.ok_or(Error::Input("the share was sealed in another suite or form [HSM-5]"))?;
        let (import, kek) = {
            let keys = self.keys();
            let kek = keys.keks.first().ok_or(Error::NoKey(Kind::ShareKek.text()))?;
            (keys.import.clone(), kek.clone())
        };
        let info = kdf_input(context, &sender, &point(&import));
        let mut left = Vec::new();
        let uses = [code::CKA_UNWRAP];
        let key = self.agree(session, import.handle, &sender, &info, &uses, &mut left);
        let share = key.and_then(|key| {
            let keeper = self.token.keeper();
            self.unwrap(&keeper, key, &wrapped)
        });
        self.clean(session, Leftovers(left));
        let share = share?;
        let mech = self.token.table.wrap_of(self.suite);
        let wrapped = self.token.raw.wrap(session.handle(), mech, kek.handle, share)?;
        self.write_blob(path, &kek.id, &wrapped)?;
        Ok(share)
    }

    /// Wraps every kept share under a new KEK, then destroys the old ones. [HSM-12]
    ///
    /// # Errors
    /// The old KEK is destroyed only when every share lies durably under the new one.
    pub fn rotate(&self) -> Result<usize, Error> {
        self.destroy_handles()?;
        let session = self.token.session()?;
        let ring = ring(&self.token, &session, &self.config);
        let old = ring.verified_all(Kind::ShareKek)?;
        let id = ring.make(Kind::ShareKek, self.suite)?;
        self.find_again()?;
        let new = self.kek(&id)?;
        let mech = self.token.table.wrap_of(self.suite);
        let mut moved = 0;
        for path in self.blob_paths()? {
            let (kek, wrapped) = self.read_blob(&path)?;
            let share = self.unwrap(&session, kek, &wrapped)?;
            let wrapped = self.token.raw.wrap(session.handle(), mech, new, share)?;
            // What was wrapped is unwrapped once before anything depends on it.
            let again = self.unwrap(&session, new, &wrapped)?;
            self.clean(&session, Leftovers(vec![share, again]));
            let fresh = path.with_extension("new");
            let _ = fs::remove_file(&fresh);
            self.write_blob(&fresh, &id, &wrapped)?;
            let renamed = fs::rename(&fresh, &path)
                .and_then(|()| fs::File::open(self.config.blobs())?.sync_all());
            renamed.map_err(|e| Error::Io(path.clone(), e))?;
            moved += 1;
        }
        for key in old {
            self.token.raw.destroy(session.handle(), key.handle)?;
        }
        self.find_again()?;
        Ok(moved)
    }

    /// Destroys keys of a custodian in its token: nothing kept outside opens there again. [HSM-13]
    ///
    /// # Errors
    /// What the token says; keys that are destroyed by then stay so.
    pub fn destroy(config: &Config, kinds: &[Kind]) -> Result<usize, Error> {
        let token = Token::open(config)?;
        let keeper = token.keeper();
        let ring = ring(&token, &keeper, config);
        kinds.iter().map(|kind| ring.destroy(*kind)).sum()
    }
}
