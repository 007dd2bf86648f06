//! What a lane works with: a session for its requests, and a grant's signature that is begun.
//!
//! To begin a signature makes a token load the key, which costs more than to sign. So that is done
//! between requests, on a session of its own. A signature that was begun is used once, for the keys
//! as they were last looked up, and is only ever a shorter way to the same signature: where it does
//! not work, the usual calls are made, and they say what is wrong. [HSM-6]

use std::sync::atomic::Ordering;

use cryptoki::session::Session;
use sha2::{Digest as _, Sha256};
use split_custody_protocol::suite::Signature;

use super::{Hsm, Leftovers};
use crate::error::Error;
use crate::keys::Kind;

/// The sessions of one lane.
pub struct Sessions {
    pub(super) work: Session,
    signer: Session,
    /// At which looking-up of the keys the signature that waits on `signer` was begun.
    begun: Option<u64>,
}

impl Hsm {
    /// Sessions for whoever asks one thing after the other.
    ///
    /// # Errors
    /// What the token says.
    pub fn sessions(&self) -> Result<Sessions, Error> {
        let (work, signer) = (self.token.session()?, self.token.session()?);
        Ok(Sessions { work, signer, begun: None })
    }

    /// What can be done between requests: destroys what a release left, and begins a signature.
    /// [HSM-3]
    pub fn rest(&self, sessions: &mut Sessions, left: Leftovers) {
        self.clean(&sessions.work, left);
        let lookup = self.lookups.load(Ordering::SeqCst);
        if sessions.begun == Some(lookup) {
            return;
        }
        // One that was begun before is given up with its session.
        if sessions.begun.take().is_some() {
            let Ok(fresh) = self.token.session() else { return };
            sessions.signer = fresh;
        }
        let (key, mech) = (self.keys().grant.handle, self.token.table.mechanisms.ecdsa);
        let begun = self.token.raw.begin_sign(sessions.signer.handle(), mech, key);
        sessions.begun = begun.ok().map(|()| lookup);
    }

    /// Signs a message with the grant key. ES256.
    pub fn sign_grant(&self, at: &mut Sessions, message: &[u8]) -> Result<Signature, Error> {
        self.sign(at, Kind::Grant, &[message])
    }

    /// Signs a message of a TLS handshake.
    pub fn sign_tls(&self, at: &mut Sessions, message: &[u8]) -> Result<Signature, Error> {
        self.sign(at, Kind::Tls, &[message])
    }

    /// Signs the message whose parts these are.
    pub(super) fn sign(
        &self,
        at: &mut Sessions,
        kind: Kind,
        parts: &[&[u8]],
    ) -> Result<Signature, Error> {
        let message = parts.iter().fold(Sha256::new(), |state, part| state.chain_update(part));
        let (mech, digest) = (self.token.table.mechanisms.ecdsa, message.finalize());
        if kind == Kind::Grant
            && let Some(signature) = self.end_begun(at, &digest)
        {
            return Ok(signature);
        }
        let sign = || {
            let keys = self.keys();
            let key = if kind == Kind::Grant { keys.grant.handle } else { keys.tls.handle };
            let signature = self.token.raw.sign(at.work.handle(), mech, key, &digest)?;
            let signature = signature.try_into().map(Signature::new);
            signature.map_err(|_| Error::KnownAnswer("length of a signature"))
        };
        self.once_more(sign)
    }

    /// Ends the signature that was begun, if it is one of the keys as they are now.
    fn end_begun(&self, sessions: &mut Sessions, digest: &[u8]) -> Option<Signature> {
        sessions.begun.take_if(|at| *at == self.lookups.load(Ordering::SeqCst))?;
        let signature = self.token.raw.end_sign(sessions.signer.handle(), digest).ok()?;
        signature.try_into().ok().map(Signature::new)
    }
}
