//! The escape hatch: PKCS#11 calls for which `cryptoki` has no name, or makes two of one.
//!
//! Chapter 35. Mechanisms are numbers from a vendor's table; templates may nest; each call is one
//! call, with a buffer of fixed size. The only file of this crate that is not safe Rust, beside the
//! two lines that load the module and start the worker.

use std::path::Path;
use std::ptr;

use cryptoki_sys::{
    CK_AES_CBC_ENCRYPT_DATA_PARAMS, CK_ATTRIBUTE, CK_BBOOL, CK_ECDH1_DERIVE_PARAMS,
    CK_FUNCTION_LIST, CK_MECHANISM, CK_OBJECT_HANDLE, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_OK,
};

use crate::error::Error;

/// Numbers of PKCS#11 that tests and tools need by name.
pub mod code {
    pub use cryptoki_sys::{
        CKA_ALLOWED_MECHANISMS, CKA_CLASS, CKA_COPYABLE, CKA_DECRYPT, CKA_DERIVE, CKA_EC_PARAMS,
        CKA_EC_POINT, CKA_ENCRYPT, CKA_EXTRACTABLE, CKA_ID, CKA_KEY_TYPE, CKA_LABEL, CKA_LOCAL,
        CKA_MODIFIABLE, CKA_NEVER_EXTRACTABLE, CKA_PRIVATE, CKA_SENSITIVE, CKA_SIGN, CKA_TOKEN,
        CKA_TRUSTED, CKA_UNWRAP, CKA_UNWRAP_TEMPLATE, CKA_VALUE, CKA_VALUE_LEN, CKA_VERIFY,
        CKA_WRAP, CKK_AES, CKK_EC, CKK_GENERIC_SECRET, CKM_AES_CBC, CKM_AES_ECB, CKM_AES_KEY_GEN,
        CKM_EC_KEY_PAIR_GEN, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_SECRET_KEY,
    };
}

/// One attribute of a template.
#[derive(Clone, Debug)]
pub enum Attr {
    Flag(CK_ULONG, bool),
    Number(CK_ULONG, CK_ULONG),
    Bytes(CK_ULONG, Vec<u8>),
    Numbers(CK_ULONG, Vec<CK_ULONG>),
    Nested(CK_ULONG, Vec<Attr>),
}

/// A template in the form that a module reads; what it points to lives in it.
struct Template<'a> {
    list: Vec<CK_ATTRIBUTE>,
    /// Kept alive for the pointers in `list`.
    _inner: Vec<Template<'a>>,
    _of: &'a [Attr],
}

const TRUE: CK_BBOOL = 1;
const FALSE: CK_BBOOL = 0;

impl<'a> Template<'a> {
    fn of(attrs: &'a [Attr]) -> Self {
        let mut inner = Vec::new();
        let list = attrs
            .iter()
            .map(|attr| {
                let (type_, value, length) = match attr {
                    Attr::Flag(type_, flag) => {
                        let value: &'static CK_BBOOL = if *flag { &TRUE } else { &FALSE };
                        (*type_, ptr::from_ref(value).cast(), 1)
                    }
                    Attr::Number(type_, number) => {
                        (*type_, ptr::from_ref(number).cast(), size_of::<CK_ULONG>())
                    }
                    Attr::Bytes(type_, bytes) => (*type_, bytes.as_ptr().cast(), bytes.len()),
                    Attr::Numbers(type_, numbers) => {
                        (*type_, numbers.as_ptr().cast(), size_of_val(&numbers[..]))
                    }
                    Attr::Nested(type_, attrs) => {
                        let nested = Template::of(attrs);
                        let value: *const u8 = nested.list.as_ptr().cast();
                        let length = size_of_val(&nested.list[..]);
                        inner.push(nested);
                        (*type_, value, length)
                    }
                };
                CK_ATTRIBUTE {
                    type_,
                    pValue: value.cast_mut().cast(),
                    ulValueLen: length as CK_ULONG,
                }
            })
            .collect();
        Self { list, _inner: inner, _of: attrs }
    }

    fn pointer(&mut self) -> *mut CK_ATTRIBUTE {
        self.list.as_mut_ptr()
    }

    fn count(&self) -> CK_ULONG {
        self.list.len() as CK_ULONG
    }
}

/// A mechanism with its parameter.
#[derive(Clone, Copy, Debug)]
pub enum Mech<'a> {
    Plain(CK_ULONG),
    /// ECDH1: mechanism, KDF, shared info, the peer's point.
    Ecdh(CK_ULONG, CK_ULONG, &'a [u8], &'a [u8]),
    /// AES-CBC-ENCRYPT-DATA with a zero vector.
    CbcData(CK_ULONG, &'a [u8]),
    /// AES-CBC with a zero vector.
    Iv(CK_ULONG),
}

/// A loaded and initialised module, by its function list.
#[derive(Clone, Copy)]
pub struct Raw {
    list: &'static CK_FUNCTION_LIST,
}

// SAFETY: the list is constant once the module is loaded, and the module was initialised with
// `CKF_OS_LOCKING_OK`, so its functions may be called from any thread.
unsafe impl Send for Raw {}
// SAFETY: as above.
unsafe impl Sync for Raw {}

/// Calls one function of the list; a function that the module lacks is an error of its own.
macro_rules! call {
    ($self:ident . $name:ident ( $($argument:expr),* $(,)? )) => {{
        let function = $self.list.$name.ok_or(Error::NoFunction(stringify!($name)))?;
        // SAFETY: the arguments are as PKCS#11 says for this function; each pointer is into a
        // value that outlives the call, with its length beside it.
        check(stringify!($name), unsafe { function($($argument),*) })
    }};
}

fn check(function: &'static str, rv: CK_RV) -> Result<(), Error> {
    if rv == CKR_OK { Ok(()) } else { Err(Error::Returned { function, rv }) }
}

impl Raw {
    /// The functions of a module that `cryptoki` loads too; the loader gives the same copy.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let missing = |e: &dyn std::fmt::Display| Error::Module(path.into(), e.to_string());
        // SAFETY: loading a library runs its initialisers; the operator named it.
        let module = unsafe { cryptoki_sys::Pkcs11::new(path) }.map_err(|e| missing(&e))?;
        let mut list = ptr::null_mut();
        // SAFETY: the one function that may be called before C_Initialize; it sets the pointer.
        let rv = unsafe { module.C_GetFunctionList(&raw mut list) };
        check("C_GetFunctionList", rv)?;
        // The library stays loaded for as long as the process lives.
        std::mem::forget(module);
        // SAFETY: a module that said OK gave a list that is valid while it is loaded.
        let list = unsafe { list.as_ref() }.ok_or(Error::NoFunction("C_GetFunctionList"))?;
        Ok(Self { list })
    }

    /// Every mechanism's number, also those that `cryptoki` has no name for.
    pub fn mechanisms(&self, slot: CK_ULONG) -> Result<Vec<CK_ULONG>, Error> {
        let mut count = 0;
        call!(self.C_GetMechanismList(slot, ptr::null_mut(), &raw mut count))?;
        let mut list = vec![0; usize::try_from(count).unwrap_or(0).min(4096)];
        count = list.len() as CK_ULONG;
        call!(self.C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count))?;
        list.truncate(usize::try_from(count).unwrap_or(0));
        Ok(list)
    }

    pub fn generate(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        attrs: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let (mut template, mut key) = (Template::of(attrs), 0);
        with(Mech::Plain(mech), |mech| {
            let (list, count) = (template.pointer(), template.count());
            call!(self.C_GenerateKey(session, mech, list, count, &raw mut key))
        })?;
        Ok(key)
    }

    /// A key pair: the public half's handle, then the private half's.
    pub fn generate_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        public: &[Attr],
        private: &[Attr],
    ) -> Result<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), Error> {
        let (mut public, mut private) = (Template::of(public), Template::of(private));
        let (mut one, mut other) = (0, 0);
        with(Mech::Plain(mech), |mech| {
            let (p, pn) = (public.pointer(), public.count());
            let (q, qn) = (private.pointer(), private.count());
            call!(self.C_GenerateKeyPair(session, mech, p, pn, q, qn, &raw mut one, &raw mut other))
        })?;
        Ok((one, other))
    }

    pub fn create(
        &self,
        session: CK_SESSION_HANDLE,
        attrs: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let (mut template, mut object) = (Template::of(attrs), 0);
        let (list, count) = (template.pointer(), template.count());
        call!(self.C_CreateObject(session, list, count, &raw mut object))?;
        Ok(object)
    }

    pub fn copy(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attrs: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let (mut template, mut copy) = (Template::of(attrs), 0);
        let (list, count) = (template.pointer(), template.count());
        call!(self.C_CopyObject(session, object, list, count, &raw mut copy))?;
        Ok(copy)
    }

    pub fn derive(
        &self,
        session: CK_SESSION_HANDLE,
        mech: Mech<'_>,
        base: CK_OBJECT_HANDLE,
        attrs: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let (mut template, mut key) = (Template::of(attrs), 0);
        with(mech, |mech| {
            let (list, count) = (template.pointer(), template.count());
            call!(self.C_DeriveKey(session, mech, base, list, count, &raw mut key))
        })?;
        Ok(key)
    }

    pub fn wrap(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        by: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; BUFFER];
        let mut length = out.len() as CK_ULONG;
        with(Mech::Plain(mech), |mech| {
            call!(self.C_WrapKey(session, mech, by, key, out.as_mut_ptr(), &raw mut length))
        })?;
        out.truncate(usize::try_from(length).unwrap_or(0));
        Ok(out)
    }

    pub fn unwrap(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        by: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        attrs: &[Attr],
    ) -> Result<CK_OBJECT_HANDLE, Error> {
        let (mut template, mut key) = (Template::of(attrs), 0);
        // Modules take the blob by a pointer to mutable bytes: give them a copy.
        let mut wrapped = wrapped.to_vec();
        with(Mech::Plain(mech), |mech| {
            let (list, count) = (template.pointer(), template.count());
            let (blob, length) = (wrapped.as_mut_ptr(), wrapped.len() as CK_ULONG);
            call!(self.C_UnwrapKey(session, mech, by, blob, length, list, count, &raw mut key))
        })?;
        Ok(key)
    }

    /// One signature over `data`; the key's mechanism decides how long it is.
    pub fn sign(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        self.begin_sign(session, mech, key)?;
        self.end_sign(session, data)
    }

    /// The first half of [`Raw::sign`].
    pub fn begin_sign(
        &self,
        session: CK_SESSION_HANDLE,
        mech: CK_ULONG,
        key: CK_OBJECT_HANDLE,
    ) -> Result<(), Error> {
        with(Mech::Plain(mech), |mech| call!(self.C_SignInit(session, mech, key)))
    }

    /// The second half; whatever it says, the session has no signature begun any more.
    pub fn end_sign(&self, session: CK_SESSION_HANDLE, data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = vec![0; 512];
        let mut length = out.len() as CK_ULONG;
        let (data, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        call!(self.C_Sign(session, data, count, out.as_mut_ptr(), &raw mut length))?;
        out.truncate(usize::try_from(length).unwrap_or(0));
        Ok(out)
    }

    /// Encrypts `data`: only tests of what a key must not do need it.
    pub fn encrypt(
        &self,
        session: CK_SESSION_HANDLE,
        mech: Mech<'_>,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
    ) -> Result<Vec<u8>, Error> {
        with(mech, |mech| call!(self.C_EncryptInit(session, mech, key)))?;
        let mut out = vec![0; BUFFER];
        let mut length = out.len() as CK_ULONG;
        let (data, count) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        call!(self.C_Encrypt(session, data, count, out.as_mut_ptr(), &raw mut length))?;
        out.truncate(usize::try_from(length).unwrap_or(0));
        Ok(out)
    }

    /// The value of one attribute.
    pub fn attribute(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        type_: CK_ULONG,
    ) -> Result<Vec<u8>, Error> {
        let mut out = vec![0u8; 512];
        let mut list = [CK_ATTRIBUTE {
            type_,
            pValue: out.as_mut_ptr().cast(),
            ulValueLen: out.len() as CK_ULONG,
        }];
        call!(self.C_GetAttributeValue(session, object, list.as_mut_ptr(), 1))?;
        let length = usize::try_from(list[0].ulValueLen).unwrap_or(usize::MAX);
        if length > out.len() {
            return Err(Error::NoAttribute(type_));
        }
        out.truncate(length);
        Ok(out)
    }

    pub fn set(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        attrs: &[Attr],
    ) -> Result<(), Error> {
        let mut template = Template::of(attrs);
        let (list, count) = (template.pointer(), template.count());
        call!(self.C_SetAttributeValue(session, object, list, count))
    }

    /// Every object that the template fits; at most 64.
    pub fn find(
        &self,
        session: CK_SESSION_HANDLE,
        attrs: &[Attr],
    ) -> Result<Vec<CK_OBJECT_HANDLE>, Error> {
        let mut template = Template::of(attrs);
        let (list, count) = (template.pointer(), template.count());
        call!(self.C_FindObjectsInit(session, list, count))?;
        let mut found = vec![0; 64];
        let mut count = 0;
        let result = call!(self.C_FindObjects(session, found.as_mut_ptr(), 64, &raw mut count));
        call!(self.C_FindObjectsFinal(session))?;
        result?;
        found.truncate(usize::try_from(count).unwrap_or(0));
        Ok(found)
    }

    pub fn destroy(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
    ) -> Result<(), Error> {
        call!(self.C_DestroyObject(session, object))
    }
}

/// Lends a mechanism in the form that a module reads.
fn with<T>(mech: Mech<'_>, lend: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
    let plain = |mechanism, parameter: *mut std::ffi::c_void, length: usize| CK_MECHANISM {
        mechanism,
        pParameter: parameter,
        ulParameterLen: length as CK_ULONG,
    };
    match mech {
        Mech::Plain(number) => {
            let mut mechanism = plain(number, ptr::null_mut(), 0);
            lend(&raw mut mechanism)
        }
        Mech::Iv(number) => {
            let mut iv = [0u8; 16];
            let mut mechanism = plain(number, iv.as_mut_ptr().cast(), iv.len());
            lend(&raw mut mechanism)
        }
        Mech::CbcData(number, data) => {
            let mut parameter = CK_AES_CBC_ENCRYPT_DATA_PARAMS {
                iv: [0; 16],
                pData: data.as_ptr().cast_mut(),
                length: data.len() as CK_ULONG,
            };
            let pointer = (&raw mut parameter).cast();
            let mut mechanism = plain(number, pointer, size_of_val(&parameter));
            lend(&raw mut mechanism)
        }
        Mech::Ecdh(number, kdf, info, point) => {
            let shared = if info.is_empty() { ptr::null() } else { info.as_ptr() };
            let mut parameter = CK_ECDH1_DERIVE_PARAMS {
                kdf,
                ulSharedDataLen: info.len() as CK_ULONG,
                pSharedData: shared.cast_mut(),
                ulPublicDataLen: point.len() as CK_ULONG,
                pPublicData: point.as_ptr().cast_mut(),
            };
            let pointer = (&raw mut parameter).cast();
            let mut mechanism = plain(number, pointer, size_of_val(&parameter));
            lend(&raw mut mechanism)
        }
    }
}

/// Room for whatever one call gives; no length is asked for first.
const BUFFER: usize = 4096;
