//! What must fail: each attack is tried, and graded by whether it does.

use cryptoki_sys::CK_OBJECT_HANDLE;
use split_custody_keys::p256kw::Profile;

use super::{
    Bench, CONTEXT, Grade, IMPORTED, IMPORTED_KEY, KNOWN, Negative, imported_key, named,
    share_template,
};
use crate::error::Error;
use crate::pool::Ephemeral;
use crate::raw::{Attr, Mech, code as c};

/// Tries to break a rule: what was done, or what stopped it.
type Attempt<T> = fn(&mut T) -> Result<String, Error>;

impl Bench<'_> {
    /// Everything that must fail while logged in.
    pub(super) fn negatives(&mut self) -> Vec<Negative> {
        let tests: [(&'static str, Attempt<Self>); 10] = [
            ("kek-value-read", Self::read_kek),
            ("share-value-read", Self::read_share),
            ("kek-wrapped", Self::wrap_kek),
            ("share-unwrapped-in-clear", Self::unwrap_in_clear),
            ("share-copied-weaker", Self::copy_weaker),
            ("key-marked-trusted", Self::mark_trusted),
            (IMPORTED, Self::wrap_under_imported),
            ("kek-other-mechanism", Self::other_mechanism),
            ("point-off-curve", Self::off_curve),
            ("blob-changed", Self::changed_blob),
        ];
        let judge = |(name, test): (_, Attempt<Self>)| {
            let (grade, detail) = match test(self) {
                Ok(done) => (Grade::Broken, done),
                Err(Error::KnownAnswer(step)) => (Grade::NotSupported, step.into()),
                Err(error) => (Grade::Kept, error.to_string()),
            };
            self.clean();
            Negative { name, grade, detail }
        };
        tests.into_iter().map(judge).collect()
    }

    /// What has to stand before a rule can be broken.
    fn given<T>(made: Result<T, Error>, what: &'static str) -> Result<T, Error> {
        made.map_err(|_| named(what))
    }

    fn value_of(&self, object: CK_OBJECT_HANDLE) -> Result<Vec<u8>, Error> {
        let value = self.token.raw.attribute(self.session.handle(), object, c::CKA_VALUE)?;
        if value.is_empty() { Err(Error::NoAttribute(c::CKA_VALUE)) } else { Ok(value) }
    }

    fn read_kek(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        self.value_of(kek).map(|_| "the value was read".into())
    }

    fn read_share(&mut self) -> Result<String, Error> {
        let share = Self::given(self.share(), "no share")?;
        self.value_of(share).map(|_| "the value was read".into())
    }

    fn wrap_kek(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        let mech = self.token.table.wrap_of(self.suite);
        let wrapped = self.token.raw.wrap(self.session.handle(), mech, kek, kek)?;
        Ok(format!("a key that is not extractable left in {} bytes", wrapped.len()))
    }

    fn unwrap_in_clear(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        let share = Self::given(self.share(), "no share")?;
        let mech = self.token.table.wrap_of(self.suite);
        let blob = self.token.raw.wrap(self.session.handle(), mech, kek, share);
        let blob = Self::given(blob, "no blob")?;
        let mut template = share_template();
        template.retain(|attr| !matches!(attr, Attr::Flag(c::CKA_SENSITIVE, _)));
        template.push(Attr::Flag(c::CKA_SENSITIVE, false));
        let clear = self.unwrap(kek, &blob, &template)?;
        self.value_of(clear).map(|_| "a share was unwrapped and read".into())
    }

    fn copy_weaker(&mut self) -> Result<String, Error> {
        let share = Self::given(self.share(), "no share")?;
        let weaker = [Attr::Flag(c::CKA_SENSITIVE, false)];
        let copy = self.token.raw.copy(self.session.handle(), share, &weaker)?;
        self.made.push(copy);
        self.value_of(copy).map(|_| "a copy was read".into())
    }

    fn mark_trusted(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        let trusted = [Attr::Flag(c::CKA_TRUSTED, true)];
        self.token.raw.set(self.session.handle(), kek, &trusted)?;
        Ok("the user marked its own key as trusted".into())
    }

    fn wrap_under_imported(&mut self) -> Result<String, Error> {
        let share = Self::given(self.share(), "no share")?;
        let known = imported_key(self.token, self.session)?;
        self.made.push(known);
        let mech = self.token.table.wrap_of(self.suite);
        let wrapped = self.token.raw.wrap(self.session.handle(), mech, known, share)?;
        let profile = Profile::of(self.suite).ok_or(Error::OtherSuite)?;
        let opened = wrapped.try_into().ok().and_then(|w| profile.unwrap(&IMPORTED_KEY, &w));
        let opened = opened.ok_or(Error::NoAttribute(c::CKA_VALUE))?;
        let same = *opened == KNOWN;
        Ok(format!("a share left under a key of the host's ({same}); k of n answers it"))
    }

    fn other_mechanism(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        let mech = Mech::Iv(c::CKM_AES_CBC);
        self.token.raw.encrypt(self.session.handle(), mech, kek, &[0; 32])?;
        Ok("a KEK encrypted".into())
    }

    fn off_curve(&mut self) -> Result<String, Error> {
        let made = Ephemeral::make(&self.token.raw, self.session.handle());
        let ephemeral = Self::given(made, "no key pair")?;
        self.made.push(ephemeral.private);
        let mut point = ephemeral.point;
        point[64] ^= 1;
        self.agree(ephemeral.private, &point, &CONTEXT, c::CKA_WRAP)?;
        Ok("agreement with a point off the curve".into())
    }

    fn changed_blob(&mut self) -> Result<String, Error> {
        let kek = Self::given(self.kek(), "no KEK")?;
        let share = Self::given(self.share(), "no share")?;
        let mech = self.token.table.wrap_of(self.suite);
        let blob = self.token.raw.wrap(self.session.handle(), mech, kek, share);
        let mut blob = Self::given(blob, "no blob")?;
        if let Some(byte) = blob.last_mut() {
            *byte ^= 1;
        }
        self.unwrap(kek, &blob, &share_template())?;
        Ok("a changed blob was unwrapped".into())
    }

    /// The last test: nothing private works once nobody is logged in.
    pub(super) fn without_login(&mut self) -> Negative {
        let name = "use-without-login";
        let made = Ephemeral::make(&self.token.raw, self.session.handle());
        let logged_out = self.session.logout();
        let (Ok(ephemeral), Ok(())) = (made, logged_out) else {
            return Negative { name, grade: Grade::NotSupported, detail: "no logout".into() };
        };
        let used = self.agree(ephemeral.private, &ephemeral.point, &CONTEXT, c::CKA_WRAP);
        match used {
            Ok(_) => {
                let detail = "a private key agreed after the logout".into();
                Negative { name, grade: Grade::Broken, detail }
            }
            Err(error) => Negative { name, grade: Grade::Kept, detail: error.to_string() },
        }
    }
}
