//! A module's token, opened and logged in once.
//!
//! The keeper session owns every session object and stays open for as long as the process: a token
//! drops private objects when the last session closes. Nothing here logs out.

use std::ffi::CString;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Ck, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::error::Error;
use crate::pin::PinSource;
use crate::raw::Raw;
use crate::table::{Table, builtin};

/// A token that this process has logged in to.
pub struct Token {
    pub raw: Raw,
    pub table: Table,
    /// What the token and its module say they are.
    pub about: String,
    context: Pkcs11,
    slot: Slot,
    keeper: Mutex<Session>,
}

impl Token {
    /// Loads the module, finds the token by its label and logs in, with one try. [HSM-10]
    ///
    /// # Errors
    /// What is missing, or why the token does not open.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let (context, raw) = load(config)?;
        let slot = find(&context, config)?;
        let info = context.get_token_info(slot)?;
        let table = match &config.table {
            Some(path) => Table::read(&config.folder.join(path))?,
            None => builtin(info.manufacturer_id()),
        };
        let keeper = context.open_rw_session(slot)?;
        login(&keeper, &config.pin()?)?;
        let library = context.get_library_info()?;
        let about = format!(
            "{} {} (library {}.{})",
            info.manufacturer_id().trim(),
            info.model().trim(),
            library.library_version().major(),
            library.library_version().minor()
        );
        Ok(Self { raw, table, about, context, slot, keeper: Mutex::new(keeper) })
    }

    /// A further session; everyone who works at the same time has one of their own.
    pub fn session(&self) -> Result<Session, Error> {
        Ok(self.context.open_rw_session(self.slot)?)
    }

    /// The keeper session, which owns what has to outlive a request.
    pub fn keeper(&self) -> MutexGuard<'_, Session> {
        self.keeper.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the token still answers.
    pub fn is_healthy(&self) -> bool {
        self.keeper().get_session_info().is_ok() && self.context.get_token_info(self.slot).is_ok()
    }

    /// Mechanism numbers as the module lists them.
    pub fn mechanisms(&self) -> Result<Vec<u64>, Error> {
        self.raw.mechanisms(self.slot.id())
    }

    /// Opens the keeper again after its session went away, and logs in.
    pub fn reopen(&self, pin: &PinSource) -> Result<(), Error> {
        let session = self.context.open_rw_session(self.slot)?;
        login(&session, pin)?;
        *self.keeper() = session;
        Ok(())
    }
}

/// Makes a new token in the module's first free slot.
///
/// For development: a real HSM's partition is made by its vendor's means.
///
/// # Errors
/// What the module says.
pub fn create(config: &Config, so_pin: &str) -> Result<(), Error> {
    let (context, _) = load(config)?;
    let pin = config.pin()?.read()?.ok_or(Error::Pin)?;
    let so_pin = AuthPin::new(so_pin.into());
    let slot = match find(&context, config) {
        Ok(slot) if context.get_token_info(slot)?.user_pin_initialized() => {
            return Err(Error::Config(config.folder.clone(), "the token is there already".into()));
        }
        // A token without a user PIN, as a fresh database of NSS: it is taken as it is.
        Ok(slot) => slot,
        Err(_) => {
            let made = context.get_slots_with_initialized_token()?;
            let all = context.get_all_slots()?;
            let free = all.into_iter().find(|slot| !made.contains(slot));
            let free = free.ok_or(Error::NoToken(config.module.clone(), config.token.clone()))?;
            context.init_token(free, &so_pin, &config.token)?;
            find(&context, config)?
        }
    };
    let session = context.open_rw_session(slot)?;
    session.login(UserType::So, Some(&so_pin))?;
    session.init_pin(&AuthPin::new(pin.as_str().into()))?;
    Ok(())
}

/// Loads and initialises a module.
fn load(config: &Config) -> Result<(Pkcs11, Raw), Error> {
    let module: PathBuf = config.folder.join(&config.module);
    if !module.is_file() {
        return Err(Error::Module(module, "no such file".into()));
    }
    let raw = Raw::load(&module)?;
    let missing = |e: Ck| Error::Module(module.clone(), e.to_string());
    let context = Pkcs11::new(&module).map_err(missing)?;
    let flags = CInitializeFlags::OS_LOCKING_OK;
    let reserved = config.init.clone().map(CString::new);
    let args = match &reserved {
        None => CInitializeArgs::new(flags),
        Some(Err(_)) => return Err(Error::Config(module, "init: holds a zero byte".into())),
        Some(Ok(text)) => {
            let pointer = NonNull::from(text.as_c_str()).cast();
            // SAFETY: a C string, which is what the modules that read this pointer expect; it lives
            // until C_Initialize has returned.
            unsafe { CInitializeArgs::new_with_reserved(flags, pointer) }
        }
    };
    match context.initialize(args) {
        Ok(()) | Err(Ck::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {
            // Whoever drops a context finalises the module, for everyone in this process: one is
            // kept for as long as the process lives.
            std::mem::forget(context.clone());
            Ok((context, raw))
        }
        Err(error) => Err(missing(error)),
    }
}

/// The slot whose token has the label; a slot that fails is passed over.
fn find(context: &Pkcs11, config: &Config) -> Result<Slot, Error> {
    let labelled = |slot: &Slot| {
        let info = context.get_token_info(*slot);
        info.is_ok_and(|info| info.label().trim() == config.token)
    };
    let slots = context.get_slots_with_token()?;
    let module = || config.folder.join(&config.module);
    slots.into_iter().find(labelled).ok_or_else(|| Error::NoToken(module(), config.token.clone()))
}

/// One try; a process that is logged in already is logged in.
fn login(session: &Session, pin: &PinSource) -> Result<(), Error> {
    let pin = pin.read()?.map(|pin: Zeroizing<String>| AuthPin::new(pin.as_str().into()));
    match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(Ck::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
