//! A custodian's keys in one token: import, release, rotation, destruction. Chapter 35.
//!
//! Between releases a share lies outside the token as 40 bytes under the share KEK, in a file; in a
//! release it is a session object. No function here gives a share in clear. [HSM-4]

mod blob;
mod lifecycle;
mod sessions;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cryptoki::session::Session;
use cryptoki_sys::CK_OBJECT_HANDLE;
use split_custody_keys::p256kw::{Point, WRAPPED, kdf_input, valid_point};
use split_custody_keys::{Released, sealed_digest};
use split_custody_protocol::suite::{Digest, SealedShare, SuiteId};

use crate::config::Config;
use crate::conform;
use crate::error::{Class, Error};
use crate::keys::{KEYS, Key, Keyring, Kind, session_secret};
use crate::pool::{Ephemeral, Pool};
use crate::raw::{Mech, code};
use crate::token::Token;
pub use sessions::Sessions;

/// A custodian's keys in a token that is open.
pub struct Hsm {
    config: Config,
    suite: SuiteId,
    token: Arc<Token>,
    keys: RwLock<Keys>,
    pool: Arc<Pool>,
    /// Unwrapped shares, by the digest of what the owner sealed.
    shares: Mutex<BTreeMap<Digest, CK_OBJECT_HANDLE>>,
    /// How often the keys were looked up and verified.
    lookups: AtomicU64,
}

struct Keys {
    import: Key,
    keks: Vec<Key>,
    grant: Key,
    tls: Key,
}

/// What to release, for whom, and the grant that goes with it.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    pub provisioned: &'a SealedShare,
    pub provision_context: &'a Digest,
    pub suite: SuiteId,
    pub to: &'a [u8],
    pub context: &'a Digest,
    /// What is signed, up to the digest of the sealed share.
    pub draft: &'a [u8],
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
        let (keys, lookups) = (RwLock::new(keys), AtomicU64::new(1));
        Ok(Self { config, suite, token, keys, pool, shares, lookups })
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

    /// Opens what the owner sealed, seals it to a device, and signs the grant that names it, all
    /// inside the token. [REL-4] [REL-14] [HSM-4]
    ///
    /// # Errors
    /// By class; after one of the class *session* everything is found again and tried once.
    pub fn release(
        &self,
        sessions: &mut Sessions,
        order: &Order<'_>,
    ) -> (Result<Released, Error>, Leftovers) {
        // [HSM-1] [HSM-9] The token never sees a point that is not one.
        let Some(to) = valid_point(order.to) else {
            return (
                Err(Error::Input("the device key is not a point on P-256 [HSM-1]")),
                <_>::default(),
            );
        };
        if order.suite != self.suite {
            return (Err(Error::OtherSuite), <_>::default()); // [REL-12]
        }
        let mut left = Leftovers::default();
        let sealed = self.once_more(|| self.rewrap(&sessions.work, order, &to, &mut left));
        let released = sealed.and_then(|sealed| {
            let digest = sealed_digest(&sealed);
            let parts = [order.draft, digest.as_bytes()];
            let signature = self.sign(sessions, Kind::Grant, &parts)?; // [REL-14]
            Ok(Released { sealed, signature })
        });
        (released, left)
    }

    fn rewrap(
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
        let wrapped = self.token.raw.wrap(
            session.handle(),
            self.token.table.wrap_of(self.suite),
            key,
            share,
        )?;
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

    /// Does it, and after an error of the class *session* once more, with keys that were found and
    /// verified again. What stops that is the error: a weak key is not told as a lost session.
    fn once_more<T>(&self, mut what: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let result = match what() {
            Err(error) if error.class() == Class::Session => {
                self.reconnect().and_then(|()| what()) // [HSM-6]
            }
            result => result,
        };
        result.map_err(|error| self.judged(error))
    }

    /// Destroys what a release left behind; what is gone already is what was wanted. [HSM-3]
    fn clean(&self, session: &Session, left: Leftovers) {
        for object in left.0 {
            let _ = self.token.raw.destroy(session.handle(), object);
        }
    }

    /// Destroys the handles of unwrapped shares. [REV-7]
    ///
    /// # Errors
    /// When one may still be there.
    pub fn destroy_handles(&self) -> Result<(), Error> {
        // Shares before keeper, as in a release: the other way round two lanes wait for each other.
        let mut shares = self.shares();
        let keeper = self.token.keeper();
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
        self.lookups.fetch_add(1, Ordering::SeqCst);
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
}

impl Drop for Hsm {
    fn drop(&mut self) {
        self.pool.close();
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
