//! A custodian's keys in one token: import, release, rotation, destruction. Chapter 35.
//!
//! Between releases a share lies outside the token as 40 bytes under the share KEK, in a file; in a
//! release it is a session object. No function here gives a share in clear. [HSM-4]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cryptoki::session::Session;
use cryptoki_sys::CK_OBJECT_HANDLE;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use split_custody_keys::p256kw::{Point, WRAPPED, kdf_input, provision_parts, valid_point};
use split_custody_keys::{sealed_digest, write_new};
use split_custody_protocol::suite::{Digest, SealedShare, Signature, SuiteId};

use crate::config::Config;
use crate::conform;
use crate::error::{Class, Error};
use crate::keys::{KEYS, Key, Keyring, Kind, session_secret};
use crate::pool::{Ephemeral, Pool};
use crate::raw::{Mech, code};
use crate::token::Token;

/// A custodian's keys in a token that is open.
pub struct Hsm {
    config: Config,
    suite: SuiteId,
    token: Arc<Token>,
    keys: RwLock<Keys>,
    pool: Arc<Pool>,
    /// Unwrapped shares, by the digest of what the owner sealed.
    shares: Mutex<BTreeMap<Digest, CK_OBJECT_HANDLE>>,
}

struct Keys {
    import: Key,
    keks: Vec<Key>,
    grant: Key,
    tls: Key,
}

/// A share as it lies outside the token. Every field is public; only the KEK opens it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Blob {
    kek: String,
    wrapped: String,
}

/// What to re-wrap, for whom.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub provisioned: &'a SealedShare,
    pub provision_context: &'a Digest,
    pub suite: SuiteId,
    pub to: &'a [u8],
    pub context: &'a Digest,
}

/// What is left in the token of a release; destroyed once the answer is out. [HSM-3]
#[derive(Debug, Default)]
pub struct Leftovers(Vec<CK_OBJECT_HANDLE>);

impl Hsm {
    /// Makes the keys of a custodian in its token, of the first suite for which probing succeeds.
    ///
    /// # Errors
    /// Also when there are keys already.
    pub fn init(config: &Config) -> Result<SuiteId, Error> {
        let token = Token::open(config)?;
        let suite = match config.suite.as_str() {
            "" => conform::first_profile(&token)?,
            _ => config.suite()?,
        };
        conform::known_answers(&token, suite)?;
        let keeper = token.keeper();
        let ring = ring(&token, &keeper, config);
        KEYS.iter().try_for_each(|kind| ring.make(*kind, suite).map(|_| ()))?;
        Ok(suite)
    }

    /// Opens the token, runs the known-answer tests, finds the keys and verifies them.
    /// [HSM-6] [HSM-7]
    ///
    /// # Errors
    /// Why this token is not served from.
    pub fn open(config: Config) -> Result<Self, Error> {
        let suite = config.suite()?;
        let token = Arc::new(Token::open(&config)?);
        conform::known_answers(&token, suite)?;
        let keys = Keys::find(&token, &config)?;
        let pool = Pool::start(&token, config.pool)?;
        let shares = Mutex::default();
        Ok(Self { config, suite, token, keys: RwLock::new(keys), pool, shares })
    }

    pub const fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The point to which the owner seals.
    pub fn kek_point(&self) -> Point {
        point(&self.keys().import)
    }

    pub fn grant_point(&self) -> Point {
        point(&self.keys().grant)
    }

    pub fn tls_point(&self) -> Point {
        point(&self.keys().tls)
    }

    /// The token, for tests of what it allows.
    pub const fn token(&self) -> &Arc<Token> {
        &self.token
    }

    /// How many ephemerals lie ready.
    pub fn ready(&self) -> usize {
        self.pool.len()
    }

    /// Opens what the owner sealed and seals it to a device, all inside the token. [REL-4] [HSM-4]
    ///
    /// # Errors
    /// By class; after one of the class *session* everything is found again and tried once.
    pub fn rewrap(
        &self,
        session: &Session,
        order: &Order<'_>,
    ) -> (Result<SealedShare, Error>, Leftovers) {
        // [HSM-1] [HSM-9] The token never sees a point that is not one.
        let Some(to) = valid_point(order.to) else {
            return (Err(Error::Input("the device key is not a point on P-256 [HSM-1]")), <_>::default());
        };
        if order.suite != self.suite {
            return (Err(Error::OtherSuite), <_>::default()); // [REL-12]
        }
        let mut left = Leftovers::default();
        let result = self.release(session, order, &to, &mut left);
        match result {
            Err(error) if error.class() == Class::Session && self.reconnect().is_ok() => {
                (self.release(session, order, &to, &mut left), left)
            }
            result => (result.map_err(|error| self.judged(error)), left),
        }
    }

    fn release(
        &self,
        session: &Session,
        order: &Order<'_>,
        to: &Point,
        left: &mut Leftovers,
    ) -> Result<SealedShare, Error> {
        let share = self.share(session, order)?;
        let ephemeral = match self.pool.take() {
            Some(ephemeral) => ephemeral,
            None => Ephemeral::make(&self.token.raw, session.handle())?,
        };
        left.0.push(ephemeral.private); // [HSM-3] Also when what follows fails.
        let info = kdf_input(order.context, &ephemeral.point, to);
        let uses = [code::CKA_WRAP];
        let key = self.agree(session, ephemeral.private, to, &info, &uses, &mut left.0)?;
        let wrapped =
            self.token.raw.wrap(session.handle(), self.token.table.wrap_of(self.suite), key, share)?;
        if wrapped.len() != WRAPPED {
            return Err(Error::KnownAnswer("length of a wrapped share"));
        }
        let sealed = SealedShare::new([&ephemeral.point[..], &wrapped].concat());
        sealed.ok_or(Error::KnownAnswer("length of a sealed share")) // [HSM-2]
    }

    /// The wrapping key of the suite from a private key of the token and a point. [HSM-2]
    fn agree(
        &self,
        session: &Session,
        private: CK_OBJECT_HANDLE,
        to: &Point,
        info: &Digest,
        uses: &[u64],
        left: &mut Vec<CK_OBJECT_HANDLE>,
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        agree(&self.token, session, self.suite, private, to, info, uses, left)
    }

    /// The unwrapped share: cached, from its file, or imported now.
    fn share(&self, session: &Session, order: &Order<'_>) -> Result<CK_OBJECT_HANDLE, Error> {
        let digest = sealed_digest(order.provisioned);
        let mut shares = self.shares();
        if let Some(share) = shares.get(&digest) {
            return Ok(*share);
        }
        let path = self.blob_path(&digest);
        let share = if path.is_file() {
            let (kek, wrapped) = self.read_blob(&path)?;
            let keeper = self.token.keeper();
            self.unwrap(&keeper, kek, &wrapped)?
        } else {
            self.import_as(session, order.provisioned, order.provision_context, &path)?
        };
        shares.insert(digest, share);
        Ok(share)
    }

    /// Unwraps to a sensitive session object of the keeper, which no call can read. [HSM-4]
    fn unwrap(
        &self,
        session: &Session,
        by: CK_OBJECT_HANDLE,
        wrapped: &[u8],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let template = session_secret(code::CKK_GENERIC_SECRET, true, &[]);
        let mech = self.token.table.wrap_of(self.suite);
        self.token.raw.unwrap(session.handle(), mech, by, wrapped, &template)
    }

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

    fn import_as(
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

    /// Signs a message with the grant key. ES256.
    pub fn sign_grant(&self, session: &Session, message: &[u8]) -> Result<Signature, Error> {
        self.sign(session, Kind::Grant, message)
    }

    /// Signs a message of a TLS handshake.
    pub fn sign_tls(&self, session: &Session, message: &[u8]) -> Result<Signature, Error> {
        self.sign(session, Kind::Tls, message)
    }

    fn sign(&self, session: &Session, kind: Kind, message: &[u8]) -> Result<Signature, Error> {
        let sign = || {
            let keys = self.keys();
            let key = if kind == Kind::Grant { keys.grant.handle } else { keys.tls.handle };
            let (mech, digest) = (self.token.table.mechanisms.ecdsa, Sha256::digest(message));
            let signature = self.token.raw.sign(session.handle(), mech, key, &digest)?;
            let signature = signature.try_into().map(Signature::new);
            signature.map_err(|_| Error::KnownAnswer("length of a signature"))
        };
        match sign() {
            Err(error) if error.class() == Class::Session && self.reconnect().is_ok() => sign(),
            result => result.map_err(|error| self.judged(error)),
        }
    }

    /// Destroys what a release left behind; what is gone already is what was wanted. [HSM-3]
    pub fn clean(&self, session: &Session, left: Leftovers) {
        for object in left.0 {
            let _ = self.token.raw.destroy(session.handle(), object);
        }
    }

    /// Destroys the handles of unwrapped shares. [REV-7]
    ///
    /// # Errors
    /// When one may still be there.
    pub fn destroy_handles(&self) -> Result<(), Error> {
        let keeper = self.token.keeper();
        let mut shares = self.shares();
        while let Some((digest, share)) = shares.pop_first() {
            if let Err(error) = self.token.raw.destroy(keeper.handle(), share) {
                // An object that the token does not know is destroyed.
                if error.class() != Class::Session {
                    shares.insert(digest, share);
                    return Err(error);
                }
            }
        }
        Ok(())
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
            let renamed = fs::rename(&fresh, &path).and_then(|()| {
                fs::File::open(self.config.blobs())?.sync_all()
            });
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

    /// Whether the token answers, its keys are there, and none is weak.
    pub fn check(&self) -> Result<(), Error> {
        self.find_again()
    }

    /// Opens sessions again after they went away, and verifies the keys again. [HSM-6]
    fn reconnect(&self) -> Result<(), Error> {
        if !self.token.is_healthy() {
            self.token.reopen(&self.config.pin()?)?;
        }
        self.shares().clear();
        self.pool.clear();
        self.find_again()
    }

    fn find_again(&self) -> Result<(), Error> {
        let keys = Keys::find(&self.token, &self.config)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    /// Tells a token's death from a refusal that looks like it. [HSM-9]
    fn judged(&self, error: Error) -> Error {
        match error.class() {
            Class::Doubtful if self.token.is_healthy() => {
                Error::Input("the token refuses what it was given")
            }
            _ => error,
        }
    }

    fn kek(&self, id: &[u8]) -> Result<CK_OBJECT_HANDLE, Error> {
        let keys = self.keys();
        let found = keys.keks.iter().find(|key| key.id == id).map(|key| key.handle);
        found.ok_or(Error::UnknownKek)
    }

    fn keys(&self) -> std::sync::RwLockReadGuard<'_, Keys> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn shares(&self) -> MutexGuard<'_, BTreeMap<Digest, CK_OBJECT_HANDLE>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        let name: String = digest.as_bytes().iter().take(16).map(|b| format!("{b:02x}")).collect();
        self.config.blobs().join(name + ".json")
    }

    fn blob_paths(&self) -> Result<Vec<PathBuf>, Error> {
        let folder = self.config.blobs();
        let failed = |e| Error::Io(folder.clone(), e);
        if !folder.is_dir() {
            return Ok(Vec::new());
        }
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_some_and(|end| end == "json") {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    fn read_blob(&self, path: &std::path::Path) -> Result<(CK_OBJECT_HANDLE, Vec<u8>), Error> {
        let text = fs::read(path).map_err(|e| Error::Io(path.into(), e))?;
        let malformed = || Error::File(path.into(), "not a wrapped share");
        let blob: Blob = serde_json::from_slice(&text).map_err(|_| malformed())?;
        let (id, wrapped) = unhex(&blob.kek).zip(unhex(&blob.wrapped)).ok_or_else(malformed)?;
        if wrapped.len() != WRAPPED {
            return Err(malformed());
        }
        Ok((self.kek(&id)?, wrapped))
    }

    fn write_blob(&self, path: &std::path::Path, kek: &[u8], wrapped: &[u8]) -> Result<(), Error> {
        let folder = self.config.blobs();
        fs::create_dir_all(&folder).map_err(|e| Error::Io(folder, e))?;
        let blob = Blob { kek: hex(kek), wrapped: hex(wrapped) };
        // INVARIANT: two strings have a JSON form.
        let text = serde_json::to_vec(&blob).expect("a blob has a JSON form");
        write_new(path, &text, 0o600)
            .map_err(|_| Error::File(path.into(), "the wrapped share cannot be written"))
    }
}

impl Keys {
    fn find(token: &Token, config: &Config) -> Result<Self, Error> {
        let keeper = token.keeper();
        let ring = ring(token, &keeper, config);
        let keks = ring.verified_all(Kind::ShareKek)?;
        if keks.is_empty() {
            return Err(Error::NoKey(Kind::ShareKek.text()));
        }
        Ok(Self {
            import: ring.verified(Kind::Import)?,
            keks,
            grant: ring.verified(Kind::Grant)?,
            tls: ring.verified(Kind::Tls)?,
        })
    }
}

fn ring<'a>(token: &'a Token, session: &Session, config: &'a Config) -> Keyring<'a> {
    let session = session.handle();
    Keyring { raw: &token.raw, table: &token.table, name: &config.name, session }
}

fn point(key: &Key) -> Point {
    // INVARIANT: the keys that are asked for here are pairs, and `verify` read their points.
    key.point.expect("a pair has a point")
}

/// ECDH in the token, then the suite's derivation; what it makes is left for `left`.
#[expect(clippy::too_many_arguments, reason = "one step of PKCS#11 with all that it takes")]
pub(crate) fn agree(
    token: &Token,
    session: &Session,
    suite: SuiteId,
    private: CK_OBJECT_HANDLE,
    to: &Point,
    info: &Digest,
    uses: &[u64],
    left: &mut Vec<CK_OBJECT_HANDLE>,
) -> Result<CK_OBJECT_HANDLE, Error> {
    let (raw, table, handle) = (&token.raw, &token.table, session.handle());
    let template = |uses: &[u64]| {
        let mut attrs = session_secret(code::CKK_AES, false, uses);
        attrs.push(crate::raw::Attr::Number(code::CKA_VALUE_LEN, 32));
        attrs
    };
    let key = if suite == SuiteId::P256_CBCD_KW {
        let mech = Mech::Ecdh(table.mechanisms.ecdh, table.kdf.null, &[], to);
        let z = raw.derive(handle, mech, private, &template(&[code::CKA_DERIVE]))?;
        left.push(z);
        let mech = Mech::CbcData(table.mechanisms.cbc_derive, info.as_bytes());
        raw.derive(handle, mech, z, &template(uses))?
    } else {
        let shared = info.as_bytes();
        let mech = Mech::Ecdh(table.mechanisms.ecdh, table.kdf.x963_sha256, shared, to);
        raw.derive(handle, mech, private, &template(uses))?
    };
    left.push(key);
    Ok(key)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}
