//! What a token really does: each step tried, each answer compared with software. Chapter 35.
//!
//! [`known_answers`] runs at every start; [`examine`] makes the graded report. Session objects only,
//! so that a token is left as it was found.

mod negative;

use std::fmt;

use cryptoki::session::Session;
use cryptoki_sys::CK_OBJECT_HANDLE;
use serde::Serialize;
use split_custody_keys::p256kw::{Point, Profile, kdf_input};
use split_custody_keys::{ByteSuite, verify};
use split_custody_protocol::Suite as _;
use split_custody_protocol::ids::ShareIndex;
use split_custody_protocol::suite::{Digest, SealedShare, Signature, SuiteId, VerifyKey};

use crate::config::Config;
use crate::error::Error;
use crate::hsm::agree;
use crate::keys::{Keyring, ephemeral_templates, read_point, session_secret};
use crate::pool::Ephemeral;
use crate::raw::{Attr, code as c};
use crate::table::Table;
use crate::token::Token;

/// What was found of a token.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub token: String,
    pub table: String,
    /// How many mechanisms the module lists; the list proves nothing. [HSM-8]
    pub listed: usize,
    pub suites: Vec<Tried>,
    pub negative: Vec<Negative>,
    /// `production`, `development`, or `none` when no suite works.
    pub grade: &'static str,
}

/// One suite that was tried.
#[derive(Clone, Debug, Serialize)]
pub struct Tried {
    pub suite: &'static str,
    pub works: bool,
    pub why: String,
}

/// One thing that must fail.
#[derive(Clone, Debug, Serialize)]
pub struct Negative {
    pub name: &'static str,
    pub grade: Grade,
    pub detail: String,
}

/// Whether a token keeps a rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    Kept,
    Broken,
    /// The token could not be brought to where the rule could be broken.
    NotSupported,
}

/// The first suite of the token's table for which every known answer is given. [HSM-8]
///
/// # Errors
/// When there is none.
pub fn first_profile(token: &Token) -> Result<SuiteId, Error> {
    let mut suites = token.table.suites();
    suites.find(|suite| known_answers(token, *suite).is_ok()).ok_or(Error::NoProfile)
}

/// Runs every known-answer test of a suite. [HSM-7]
///
/// # Errors
/// The first that fails, by its name.
pub fn known_answers(token: &Token, suite: SuiteId) -> Result<(), Error> {
    let session = token.session()?;
    let mut bench = Bench { token, suite, session: &session, made: Vec::new() };
    let result = bench.round_trip().and_then(|()| bench.vector()).and_then(|()| bench.signature());
    bench.clean();
    result
}

/// Tries every suite of the token's table, then everything that must fail.
///
/// Logs out at its end, so the process that called it is of no more use to the token.
///
/// # Errors
/// When the token cannot be asked at all.
pub fn examine(config: &Config) -> Result<Report, Error> {
    let token = Token::open(config)?;
    let suites: Vec<Tried> = token
        .table
        .suites()
        .map(|suite| {
            let why = known_answers(&token, suite).err().map_or(String::new(), |e| e.to_string());
            Tried { suite: suite.name(), works: why.is_empty(), why }
        })
        .collect();
    let working = suites.iter().find(|tried| tried.works);
    let suite = working.and_then(|tried| SuiteId::from_name(tried.suite));
    let mut negative = Vec::new();
    if let Some(suite) = suite {
        let session = token.session()?;
        let mut bench = Bench { token: &token, suite, session: &session, made: Vec::new() };
        negative = bench.negatives();
        negative.push(bench.without_login());
    }
    let grade = grade(suite, &negative, &token.table);
    let (name, listed) = (token.about.clone(), token.mechanisms()?.len());
    Ok(Report { token: name, table: token.table.name.clone(), listed, suites, negative, grade })
}

/// What a token may be used for: everything but a keeper of every rule is for development. [HSM-8]
fn grade(suite: Option<SuiteId>, negative: &[Negative], table: &Table) -> &'static str {
    let kept = negative.iter().all(|n| n.grade != Grade::Broken || n.name == IMPORTED);
    let told = table.quirks.untold.is_empty() && table.grade == "production";
    match suite {
        None => "none",
        Some(SuiteId::P256_CBCD_KW) => "development",
        Some(_) if kept && told => "production",
        Some(_) => "development",
    }
}

/// Objects of one examination.
struct Bench<'a> {
    token: &'a Token,
    suite: SuiteId,
    session: &'a Session,
    made: Vec<CK_OBJECT_HANDLE>,
}

impl Bench<'_> {
    /// A known value: sealed by software, imported, kept under a KEK, and released to software.
    fn round_trip(&mut self) -> Result<(), Error> {
        let (kek, share) = (self.kek()?, self.share()?);
        let mech = self.token.table.wrap_of(self.suite);
        let (raw, session) = (self.token.raw, self.session.handle());
        let blob = raw.wrap(session, mech, kek, share).map_err(|_| named("wrap under a KEK"))?;
        let again = self.unwrap(kek, &blob, &share_template());
        let again = again.map_err(|_| named("unwrap under a KEK"))?;
        let opened = self.release(again)?;
        if opened == KNOWN { Ok(()) } else { Err(named("agreement, derivation and wrap")) }
    }

    /// The token's bytes for a key and data that both are known, where it takes keys from outside.
    fn vector(&mut self) -> Result<(), Error> {
        let (mut key, mut data) = (self.kek_uses(), share_template());
        let pattern: [u8; 32] = std::array::from_fn(|i| i as u8);
        key.retain(|attr| !matches!(attr, Attr::Number(c::CKA_VALUE_LEN, _)));
        key.extend([
            Attr::Number(c::CKA_CLASS, c::CKO_SECRET_KEY),
            Attr::Number(c::CKA_KEY_TYPE, c::CKK_AES),
            Attr::Bytes(c::CKA_VALUE, pattern.to_vec()),
        ]);
        data.push(Attr::Bytes(c::CKA_VALUE, KNOWN.to_vec()));
        let (raw, session) = (self.token.raw, self.session.handle());
        let (Ok(key), Ok(data)) = (raw.create(session, &key), raw.create(session, &data)) else {
            return Ok(()); // A token that takes no key from outside has been tried by agreement.
        };
        self.made.extend([key, data]);
        let wrapped = raw.wrap(session, self.token.table.wrap_of(self.suite), key, data)?;
        // INVARIANT: the suite is one of P-256, or the round trip had failed.
        let profile = Profile::of(self.suite).ok_or(Error::OtherSuite)?;
        let same = wrapped == profile.wrap(&pattern, &KNOWN);
        if same { Ok(()) } else { Err(named("wrap of a known value under a known key")) }
    }

    fn signature(&mut self) -> Result<(), Error> {
        let (mut public, mut private) = ephemeral_templates();
        public.push(Attr::Flag(c::CKA_VERIFY, true));
        private.retain(|attr| !matches!(attr, Attr::Flag(c::CKA_DERIVE | c::CKA_SIGN, _)));
        private.push(Attr::Flag(c::CKA_SIGN, true));
        let (raw, session) = (self.token.raw, self.session.handle());
        let pair = raw.generate_pair(session, c::CKM_EC_KEY_PAIR_GEN, &public, &private)?;
        self.made.extend([pair.0, pair.1]);
        let point = read_point(&raw, session, pair.0)?;
        let digest = <sha2::Sha256 as sha2::Digest>::digest(KNOWN);
        let signed = raw.sign(session, self.token.table.mechanisms.ecdsa, pair.1, &digest)?;
        let signature = signed.try_into().map(Signature::new).map_err(|_| named("signature"))?;
        verify(&VerifyKey::new(point), &KNOWN, &signature).map_err(|_| named("signature"))
    }

    /// The known value as a session object, imported the way a provision is.
    fn share(&mut self) -> Result<CK_OBJECT_HANDLE, Error> {
        let ephemeral = Ephemeral::make(&self.token.raw, self.session.handle())?;
        self.made.push(ephemeral.private);
        let sealed = sealed_to(self.suite, &ephemeral.point).ok_or(Error::OtherSuite)?;
        let (sender, wrapped) = sealed;
        let info = kdf_input(&CONTEXT, &sender, &ephemeral.point);
        let key = self.agree(ephemeral.private, &sender, &info, c::CKA_UNWRAP);
        let key = key.map_err(|_| named("agreement and derivation"))?;
        let share = self.unwrap(key, &wrapped, &share_template());
        share.map_err(|_| named("unwrap of what software wrapped"))
    }

    /// Releases a share to software, which opens it.
    fn release(&mut self, share: CK_OBJECT_HANDLE) -> Result<[u8; 32], Error> {
        let mut suite = ByteSuite::new();
        let (secret, key) = suite.generate(self.suite, 0);
        let to: Point = key.as_bytes().try_into().map_err(|_| Error::OtherSuite)?;
        let ephemeral = Ephemeral::make(&self.token.raw, self.session.handle())?;
        self.made.push(ephemeral.private);
        let info = kdf_input(&CONTEXT, &ephemeral.point, &to);
        let wrapping = self.agree(ephemeral.private, &to, &info, c::CKA_WRAP);
        let wrapping = wrapping.map_err(|_| named("agreement and derivation"))?;
        let mech = self.token.table.wrap_of(self.suite);
        let wrapped = self.token.raw.wrap(self.session.handle(), mech, wrapping, share);
        let wrapped = wrapped.map_err(|_| named("wrap under a derived key"))?;
        let bad = || named("agreement, derivation and wrap");
        let sealed = SealedShare::new([&ephemeral.point[..], &wrapped].concat()).ok_or_else(bad)?;
        let opened = suite.open_share(self.suite, secret, &CONTEXT, &sealed).map_err(|_| bad())?;
        let alone = suite.combine(&[(ShareIndex::new(1), opened)]).map_err(|_| bad())?;
        suite.with_dek(alone, |share| *share).ok_or_else(bad)
    }

    fn agree(
        &mut self,
        private: CK_OBJECT_HANDLE,
        to: &Point,
        info: &Digest,
        use_: u64,
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let left = &mut self.made;
        agree(self.token, self.session, self.suite, private, to, info, &[use_], left)
    }

    fn unwrap(
        &mut self,
        by: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let mech = self.token.table.wrap_of(self.suite);
        let key = self.token.raw.unwrap(self.session.handle(), mech, by, wrapped, template)?;
        self.made.push(key);
        Ok(key)
    }

    /// A share KEK for the time of the session.
    fn kek(&mut self) -> Result<CK_OBJECT_HANDLE, Error> {
        let attrs = self.kek_uses();
        let kek = self.token.raw.generate(self.session.handle(), c::CKM_AES_KEY_GEN, &attrs)?;
        self.made.push(kek);
        Ok(kek)
    }

    fn kek_uses(&self) -> Vec<Attr> {
        let (raw, table) = (&self.token.raw, &self.token.table);
        let ring = Keyring { raw, table, name: "", session: self.session.handle() };
        let mut attrs = ring.kek_uses(self.suite);
        attrs.extend([
            Attr::Flag(c::CKA_TOKEN, false),
            Attr::Flag(c::CKA_PRIVATE, true),
            Attr::Flag(c::CKA_SENSITIVE, true),
            Attr::Flag(c::CKA_EXTRACTABLE, false),
        ]);
        attrs
    }

    fn clean(&mut self) {
        for object in std::mem::take(&mut self.made) {
            let _ = self.token.raw.destroy(self.session.handle(), object);
        }
    }
}

/// An AES key that the host knows, as an attacker imports it.
pub fn imported_key(token: &Token, session: &Session) -> Result<CK_OBJECT_HANDLE, Error> {
    let attrs = [
        Attr::Number(c::CKA_CLASS, c::CKO_SECRET_KEY),
        Attr::Number(c::CKA_KEY_TYPE, c::CKK_AES),
        Attr::Flag(c::CKA_TOKEN, false),
        Attr::Flag(c::CKA_WRAP, true),
        Attr::Bytes(c::CKA_VALUE, IMPORTED_KEY.to_vec()),
    ];
    token.raw.create(session.handle(), &attrs)
}

/// The key of [`imported_key`].
pub const IMPORTED_KEY: [u8; 32] = [0x77; 32];

fn share_template() -> Vec<Attr> {
    session_secret(c::CKK_GENERIC_SECRET, true, &[])
}

/// The known value, sealed by software to a point of the token.
fn sealed_to(suite: SuiteId, to: &Point) -> Option<(Point, [u8; 40])> {
    // A software KEK stands for the owner: what it seals is what an owner seals.
    let kek = split_custody_keys::KekPublic::p256(suite, to)?;
    let sealed = kek.seal_known_answer(&CONTEXT, &KNOWN)?;
    split_custody_keys::p256kw::provision_parts(suite, sealed.as_bytes())
}

const fn named(step: &'static str) -> Error {
    Error::KnownAnswer(step)
}

const KNOWN: [u8; 32] = *b"a value that everybody may know.";
const CONTEXT: Digest = Digest::new([0x5a; 32]);
const IMPORTED: &str = "share-wrapped-under-imported";

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "token    {} (table `{}`)", self.token, self.table)?;
        writeln!(f, "listed   {} mechanisms, which proves nothing", self.listed)?;
        for tried in &self.suites {
            let verdict = if tried.works { "works" } else { "no   " };
            writeln!(f, "  {verdict}  {:<14} {}", tried.suite, tried.why)?;
        }
        writeln!(f, "must fail")?;
        for negative in &self.negative {
            let grade = match negative.grade {
                Grade::Kept => "kept  ",
                Grade::Broken => "BROKEN",
                Grade::NotSupported => "n/a   ",
            };
            writeln!(f, "  {grade} {:<29} {}", negative.name, negative.detail)?;
        }
        write!(f, "grade    {}", self.grade)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::builtin;

    #[test]
    fn hsm_8_only_a_keeper_of_every_rule_is_for_production() {
        let negative = |name, grade| Negative { name, grade, detail: String::new() };
        let good = [negative("kek-wrapped", Grade::Kept), negative(IMPORTED, Grade::Broken)];
        let bad = [negative("kek-wrapped", Grade::Broken)];
        let (suite, table) = (Some(SuiteId::P256_X963_KW), builtin("anyone"));
        assert_eq!(grade(suite, &good, &table), "production");
        assert_eq!(grade(suite, &bad, &table), "development");
        assert_eq!(grade(Some(SuiteId::P256_CBCD_KW), &good, &table), "development");
        assert_eq!(grade(suite, &good, &builtin("Mozilla Foundation")), "development");
        assert_eq!(grade(None, &[], &table), "none");
    }
}
