//! A custodian's keys in a token: their templates, and what is verified of them. [HSM-6]

use cryptoki_sys::{CK_OBJECT_HANDLE, CK_SESSION_HANDLE};
use rand_core::{OsRng, TryRngCore};
use split_custody_keys::p256kw::{Point, valid_point};
use split_custody_protocol::suite::SuiteId;

use crate::error::Error;
use crate::raw::{Attr, Raw, code as c};
use crate::table::Table;

/// What a key in the token is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    Import,
    ShareKek,
    Grant,
    Tls,
}

/// Every kind, in the order in which they are made.
pub const KEYS: [Kind; 4] = [Kind::Import, Kind::ShareKek, Kind::Grant, Kind::Tls];

impl Kind {
    /// How the key is named in labels and messages.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::ShareKek => "share-kek",
            Self::Grant => "grant",
            Self::Tls => "tls",
        }
    }

    /// The attributes that must be as they are here; a weak one is refused by its name. [HSM-6]
    const fn required(self) -> &'static [(u64, &'static str, bool)] {
        const COMMON: [(u64, &str, bool); 4] = [
            (c::CKA_SENSITIVE, "SENSITIVE", true),
            (c::CKA_EXTRACTABLE, "EXTRACTABLE", false),
            (c::CKA_NEVER_EXTRACTABLE, "NEVER_EXTRACTABLE", true),
            (c::CKA_LOCAL, "LOCAL", true),
        ];
        const KEK: [(u64, &str, bool); 10] = [
            COMMON[0],
            COMMON[1],
            COMMON[2],
            COMMON[3],
            (c::CKA_WRAP, "WRAP", true),
            (c::CKA_UNWRAP, "UNWRAP", true),
            (c::CKA_ENCRYPT, "ENCRYPT", false),
            (c::CKA_DECRYPT, "DECRYPT", false),
            (c::CKA_SIGN, "SIGN", false),
            (c::CKA_DERIVE, "DERIVE", false),
        ];
        const AGREES: [(u64, &str, bool); 6] = [
            COMMON[0],
            COMMON[1],
            COMMON[2],
            COMMON[3],
            (c::CKA_DERIVE, "DERIVE", true),
            (c::CKA_SIGN, "SIGN", false),
        ];
        const SIGNS: [(u64, &str, bool); 6] = [
            COMMON[0],
            COMMON[1],
            COMMON[2],
            COMMON[3],
            (c::CKA_SIGN, "SIGN", true),
            (c::CKA_DERIVE, "DERIVE", false),
        ];
        match self {
            Self::Import => &AGREES,
            Self::ShareKek => &KEK,
            Self::Grant | Self::Tls => &SIGNS,
        }
    }
}

/// DER of the object identifier of P-256.
const P256_OID: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

/// A key of the token, found again.
#[derive(Clone, Debug)]
pub struct Key {
    pub handle: CK_OBJECT_HANDLE,
    pub id: Vec<u8>,
    /// The public point of a pair.
    pub point: Option<Point>,
}

/// Makes and finds keys over one session.
pub struct Keyring<'a> {
    pub raw: &'a Raw,
    pub table: &'a Table,
    pub name: &'a str,
    pub session: CK_SESSION_HANDLE,
}

impl Keyring<'_> {
    fn label(&self, kind: Kind) -> Attr {
        Attr::Bytes(c::CKA_LABEL, format!("{}-{}", self.name, kind.text()).into_bytes())
    }

    /// Makes a key that only this token ever holds; gives its id.
    ///
    /// # Errors
    /// Also when there is one of this kind already, unless it is a share KEK: rotation has two.
    pub fn make(&self, kind: Kind, suite: SuiteId) -> Result<Vec<u8>, Error> {
        if kind != Kind::ShareKek && !self.find(kind)?.is_empty() {
            return Err(Error::KeyExists(kind.text()));
        }
        let id = random_id();
        let named = [self.label(kind), Attr::Bytes(c::CKA_ID, id.clone())];
        let private = [
            Attr::Flag(c::CKA_TOKEN, true),
            Attr::Flag(c::CKA_PRIVATE, true),
            Attr::Flag(c::CKA_SENSITIVE, true),
            Attr::Flag(c::CKA_EXTRACTABLE, false),
            Attr::Flag(c::CKA_MODIFIABLE, false),
        ];
        if kind == Kind::ShareKek {
            let mut attrs = named.into_iter().chain(private).collect::<Vec<_>>();
            attrs.extend(self.kek_uses(suite));
            self.raw.generate(self.session, c::CKM_AES_KEY_GEN, &attrs)?;
            return Ok(id);
        }
        let signs = matches!(kind, Kind::Grant | Kind::Tls);
        let public = named.clone().into_iter().chain([
            Attr::Flag(c::CKA_TOKEN, true),
            Attr::Flag(c::CKA_VERIFY, signs),
            Attr::Bytes(c::CKA_EC_PARAMS, P256_OID.to_vec()),
        ]);
        let private = named
            .into_iter()
            .chain(private)
            .chain([Attr::Flag(c::CKA_SIGN, signs), Attr::Flag(c::CKA_DERIVE, !signs)]);
        let (public, private): (Vec<_>, Vec<_>) = (public.collect(), private.collect());
        self.raw.generate_pair(self.session, c::CKM_EC_KEY_PAIR_GEN, &public, &private)?;
        Ok(id)
    }

    /// What a share KEK may do, and what it makes of what it unwraps. [HSM-4]
    pub fn kek_uses(&self, suite: SuiteId) -> Vec<Attr> {
        let mut attrs = vec![
            Attr::Number(c::CKA_VALUE_LEN, 32),
            Attr::Flag(c::CKA_WRAP, true),
            Attr::Flag(c::CKA_UNWRAP, true),
            Attr::Flag(c::CKA_ENCRYPT, false),
            Attr::Flag(c::CKA_DECRYPT, false),
            Attr::Flag(c::CKA_SIGN, false),
            Attr::Flag(c::CKA_VERIFY, false),
            Attr::Flag(c::CKA_DERIVE, false),
        ];
        if self.table.quirks.allowed_mechanisms {
            let only = vec![self.table.wrap_of(suite)];
            attrs.push(Attr::Numbers(c::CKA_ALLOWED_MECHANISMS, only));
        }
        if self.table.quirks.unwrap_template {
            let template = vec![
                Attr::Flag(c::CKA_SENSITIVE, true),
                Attr::Flag(c::CKA_TOKEN, false),
                Attr::Flag(c::CKA_ENCRYPT, false),
                Attr::Flag(c::CKA_DECRYPT, false),
            ];
            attrs.push(Attr::Nested(c::CKA_UNWRAP_TEMPLATE, template));
        }
        attrs
    }

    /// The private or secret keys of a kind.
    fn find(&self, kind: Kind) -> Result<Vec<CK_OBJECT_HANDLE>, Error> {
        let class = if kind == Kind::ShareKek { c::CKO_SECRET_KEY } else { c::CKO_PRIVATE_KEY };
        let wanted =
            [Attr::Number(c::CKA_CLASS, class), Attr::Flag(c::CKA_TOKEN, true), self.label(kind)];
        self.raw.find(self.session, &wanted)
    }

    /// The only key of a kind, verified. [HSM-6]
    pub fn verified(&self, kind: Kind) -> Result<Key, Error> {
        let found = self.verified_all(kind)?;
        found.into_iter().next().ok_or(Error::NoKey(kind.text()))
    }

    /// Every key of a kind, each verified; the last one made comes first where they can be told.
    pub fn verified_all(&self, kind: Kind) -> Result<Vec<Key>, Error> {
        self.find(kind)?.into_iter().map(|handle| self.verify(kind, handle)).collect()
    }

    fn verify(&self, kind: Kind, handle: CK_OBJECT_HANDLE) -> Result<Key, Error> {
        let untold = &self.table.quirks.untold;
        let told = |attribute: &str| !untold.iter().any(|name| name == attribute);
        for (type_, attribute, must) in kind.required().iter().filter(|rule| told(rule.1)) {
            let value = self.raw.attribute(self.session, handle, *type_)?;
            let is = value.first().is_some_and(|byte| *byte != 0);
            if is != *must {
                return Err(Error::WeakKey { key: kind.text(), attribute, must: *must });
            }
        }
        let id = self.raw.attribute(self.session, handle, c::CKA_ID)?;
        let point = match kind {
            Kind::ShareKek => None,
            _ => Some(self.point_of(&id)?),
        };
        Ok(Key { handle, id, point })
    }

    /// The public point beside a private key.
    fn point_of(&self, id: &[u8]) -> Result<Point, Error> {
        let wanted =
            [Attr::Number(c::CKA_CLASS, c::CKO_PUBLIC_KEY), Attr::Bytes(c::CKA_ID, id.to_vec())];
        let found = self.raw.find(self.session, &wanted)?;
        let public = found.first().ok_or(Error::NoKey("the public half"))?;
        read_point(self.raw, self.session, *public)
    }

    /// Destroys every key of a kind, private and public halves.
    pub fn destroy(&self, kind: Kind) -> Result<usize, Error> {
        let mut destroyed = 0;
        for class in [c::CKO_SECRET_KEY, c::CKO_PRIVATE_KEY, c::CKO_PUBLIC_KEY] {
            let wanted = [Attr::Number(c::CKA_CLASS, class), self.label(kind)];
            for object in self.raw.find(self.session, &wanted)? {
                self.raw.destroy(self.session, object)?;
                destroyed += 1;
            }
        }
        Ok(destroyed)
    }
}

/// The point of a public key: tokens give it bare, or as an OCTET STRING.
pub fn read_point(
    raw: &Raw,
    session: CK_SESSION_HANDLE,
    public: CK_OBJECT_HANDLE,
) -> Result<Point, Error> {
    let bytes = raw.attribute(session, public, c::CKA_EC_POINT)?;
    let bare = bytes.strip_prefix(&[4, 65]).unwrap_or(&bytes);
    valid_point(bare).ok_or(Error::KnownAnswer("point of a public key"))
}

/// The template of a session key pair that agrees once. [HSM-3]
pub fn ephemeral_templates() -> (Vec<Attr>, Vec<Attr>) {
    let public = vec![
        Attr::Flag(c::CKA_TOKEN, false),
        Attr::Flag(c::CKA_PRIVATE, false),
        Attr::Bytes(c::CKA_EC_PARAMS, P256_OID.to_vec()),
    ];
    let private = vec![
        Attr::Flag(c::CKA_TOKEN, false),
        Attr::Flag(c::CKA_PRIVATE, true),
        Attr::Flag(c::CKA_SENSITIVE, true),
        Attr::Flag(c::CKA_EXTRACTABLE, false),
        Attr::Flag(c::CKA_SIGN, false),
        Attr::Flag(c::CKA_DERIVE, true),
    ];
    (public, private)
}

/// A secret that the token derives or unwraps, for the time of a session.
pub fn session_secret(key_type: u64, extractable: bool, uses: &[u64]) -> Vec<Attr> {
    let mut attrs = vec![
        Attr::Number(c::CKA_CLASS, c::CKO_SECRET_KEY),
        Attr::Number(c::CKA_KEY_TYPE, key_type),
        Attr::Flag(c::CKA_TOKEN, false),
        Attr::Flag(c::CKA_PRIVATE, true),
        Attr::Flag(c::CKA_SENSITIVE, true),
        Attr::Flag(c::CKA_EXTRACTABLE, extractable),
        Attr::Flag(c::CKA_ENCRYPT, false),
        Attr::Flag(c::CKA_DECRYPT, false),
    ];
    attrs.extend(uses.iter().map(|use_| Attr::Flag(*use_, true)));
    attrs
}

fn random_id() -> Vec<u8> {
    let mut id = vec![0; 16];
    OsRng.try_fill_bytes(&mut id).expect("the operating system gives random bytes");
    id
}
