//! The device's side of a release: is this grant the answer to what was asked?

use crate::error::Violation;
use crate::handshake::ReadyEntry;
use crate::ids::{CustodianId, LeaseId, ShareIndex, ShareSetId};
use crate::require::require;
use crate::sealing::KnownManifest;
use crate::suite::{Digest, Incarnation, SealedShare, Suite};
use crate::transcript;
use crate::wire::grant::{Grant, GrantStatement, Terms};
use crate::wire::signed::ObjectKind;

/// What the device asked, to compare a grant with.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    pub custodian: CustodianId,
    pub manifest: &'a KnownManifest,
    pub entry: &'a ReadyEntry,
    pub session: &'a Digest,
    pub incarnation: &'a Incarnation,
    /// Over the request frame as it was sent.
    pub th2: &'a Digest,
}

/// Proof that a grant answers this device's own request in every field; its share is unopened.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Checked {
    custodian: CustodianId,
    session: Digest,
    set: ShareSetId,
    index: ShareIndex,
    lease: LeaseId,
    terms: Terms,
    context: Digest,
    sealed: SealedShare,
}

/// Verifies the signature over the bytes received, then compares every field.
pub fn check_grant(
    grant: &Grant,
    expected: &Expected<'_>,
    suite: &mut impl Suite,
) -> Result<Checked, Violation> {
    let custodian =
        expected.manifest.custodian(expected.custodian).ok_or(Violation::GrantNotForUs)?;
    let message = grant.statement.message(ObjectKind::Grant);
    require!(REL_7, suite.verify(&custodian.grant_key, &message, grant.statement.signature()));
    let said: GrantStatement = grant.statement.payload()?;
    require!(
        REL_8,
        suite
            .same(said.session.as_bytes(), expected.session.as_bytes())
            .and_then(|()| suite.same(said.th2.as_bytes(), expected.th2.as_bytes()))
    );
    let key = transcript::device_key(suite, &expected.entry.device_key);
    require!(
        REL_9,
        said.custodian == expected.custodian
            && said.suite == expected.entry.suite
            && said.set == expected.manifest.set
            && said.index == custodian.index
            && suite.same(said.manifest.as_bytes(), expected.manifest.digest().as_bytes()).is_ok()
            && suite.same(said.device_key.as_bytes(), key.as_bytes()).is_ok()
            && suite.same(said.incarnation.as_bytes(), expected.incarnation.as_bytes()).is_ok()
    );
    let sealed = transcript::sealed(suite, &grant.sealed);
    require!(REL_10, suite.same(said.sealed.as_bytes(), sealed.as_bytes()));
    require!(REL_11, terms_in_bounds(&said.terms, expected.manifest));
    let auth = transcript::auth(suite, &said);
    Ok(Checked {
        custodian: said.custodian,
        session: said.session,
        set: said.set,
        index: custodian.index,
        lease: said.lease,
        terms: said.terms,
        context: transcript::grant_context(suite, &auth, said.index_in_log),
        sealed: grant.sealed.clone(),
    })
}

/// A liar may offer ten years; ttl-max is the owner's word, and so is the least term. [LEA-12]
fn terms_in_bounds(terms: &Terms, manifest: &KnownManifest) -> bool {
    let least = manifest.least_term();
    [terms.first, terms.term].iter().all(|term| *term <= manifest.ttl_max && *term >= least)
}

impl Checked {
    pub const fn custodian(&self) -> CustodianId {
        self.custodian
    }

    pub const fn session(&self) -> &Digest {
        &self.session
    }

    pub const fn set(&self) -> ShareSetId {
        self.set
    }

    pub const fn index(&self) -> ShareIndex {
        self.index
    }

    pub const fn lease(&self) -> LeaseId {
        self.lease
    }

    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What the share is sealed under. [REL-4]
    pub const fn context(&self) -> &Digest {
        &self.context
    }

    pub const fn sealed(&self) -> &SealedShare {
        &self.sealed
    }
}
