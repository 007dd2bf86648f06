//! The driver's state in the process that uses it: the GPU's socket, contexts, modules, streams.

use std::collections::BTreeMap;
use std::ffi::{CStr, c_void};
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use crate::fault::{Faults, carry_out};
use crate::queue::Queues;
use crate::wire::{self, Arguments, Call, result as R};

/// Everything, under one lock.
#[derive(Default)]
pub struct Driver {
    link: Option<Link>,
    pub initialised: bool,
    pub faults: Faults,
    pub contexts: BTreeMap<u64, Context>,
    pub primary: Option<u64>,
    pub modules: BTreeMap<u64, Vec<u8>>,
    pub functions: BTreeMap<u64, Function>,
    pub queues: Queues,
    /// Device memory: where it begins, and how long it is.
    pub ranges: BTreeMap<u64, u64>,
    last: u64,
}

/// A context; `ended` is the result that every later call in it has.
#[derive(Default)]
pub struct Context {
    pub ended: Option<u32>,
}

/// A kernel of a module.
#[derive(Clone)]
pub struct Function {
    pub name: String,
    pub args: usize,
}

/// The way to the GPU.
struct Link {
    to: UnixStream,
    from: BufReader<UnixStream>,
    child: Option<Child>,
}

static DRIVER: LazyLock<Mutex<Driver>> =
    LazyLock::new(|| Mutex::new(Driver { faults: Faults::of_environment(), ..Driver::default() }));

/// The driver of this process.
pub fn driver() -> MutexGuard<'static, Driver> {
    DRIVER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs one call of the API; a result that is not success comes as `Err`.
pub fn call(name: &str, run: impl FnOnce(&mut Driver) -> Result<(), u32>) -> u32 {
    let met = driver().faults.meet(name);
    // Not under the lock: a call that hangs hangs alone.
    let go_on = carry_out(met, || driver().die());
    match go_on.and_then(|()| run(&mut driver())) {
        Ok(()) => R::SUCCESS,
        Err(result) => result,
    }
}

/// The same for calls that need a context which still lives.
pub fn call_in_context(name: &str, run: impl FnOnce(&mut Driver, u64) -> Result<(), u32>) -> u32 {
    call(name, |driver| {
        let context = driver.current()?;
        run(driver, context)
    })
}

thread_local! {
    /// The context that is current on this thread; 0 is none.
    pub static CURRENT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

impl Driver {
    /// A number that was never given out.
    pub fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The current context, if it has not ended.
    pub fn current(&self) -> Result<u64, u32> {
        let current = CURRENT.get();
        let context = self.contexts.get(&current).ok_or(R::INVALID_CONTEXT)?;
        context.ended.map_or(Ok(current), Err)
    }

    /// Finds a GPU: starts one, or goes to the one that stays.
    pub fn connect(&mut self) -> Result<(), u32> {
        if self.link.is_none() {
            self.link = Some(Link::new().map_err(|error| {
                eprintln!("fake-cuda: no GPU: {error}");
                R::NO_DEVICE
            })?);
        }
        self.initialised = true;
        Ok(())
    }

    /// Asks the GPU; a GPU that is gone ends every context.
    pub fn ask(
        &mut self,
        call: Call,
        args: &[u64],
        payload: &[u8],
        out: &mut [u8],
    ) -> Result<u64, u32> {
        let mut all: Arguments = [0; 6];
        all[..args.len()].copy_from_slice(args);
        let link = self.link.as_mut().ok_or(R::NOT_INITIALIZED)?;
        let answered = wire::send(&mut link.to, call, all, payload)
            .and_then(|()| wire::answered(&mut link.from, out));
        match answered {
            Ok((R::SUCCESS, value)) => Ok(value),
            Ok((result, _)) => Err(result),
            Err(_) => {
                self.contexts.values_mut().for_each(|c| c.ended = Some(R::DEVICE_UNAVAILABLE));
                Err(R::DEVICE_UNAVAILABLE)
            }
        }
    }

    /// The GPU goes away.
    pub fn die(&mut self) {
        // There is no answer to this one.
        let _ = self.ask(Call::Die, &[], &[], &mut []);
    }

    /// A new process would find this: nothing open, a GPU of its own.
    pub fn start_over(&mut self) {
        *self = Self::default();
    }
}

impl Link {
    fn new() -> io::Result<Self> {
        if let Some(socket) = std::env::var_os("FAKE_CUDA_GPU") {
            return Self::over(UnixStream::connect(socket)?, None);
        }
        let (ours, theirs) = UnixStream::pair()?;
        let child = Command::new(beside_this_library()?)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            // What is preloaded here has nothing to do there.
            .env_remove("LD_PRELOAD")
            .spawn()?;
        Self::over(ours, Some(child))
    }

    fn over(stream: UnixStream, child: Option<Child>) -> io::Result<Self> {
        Ok(Self { from: BufReader::new(stream.try_clone()?), to: stream, child })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // Its socket closes first, so it ends by itself.
        let _ = self.to.shutdown(std::net::Shutdown::Both);
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// The GPU's program lies where this library lies.
fn beside_this_library() -> io::Result<PathBuf> {
    // SAFETY: an all-zero `Dl_info` is valid, and the call fills it.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let here = beside_this_library as *const c_void;
    // SAFETY: the address is one of this library, and `info` is writable.
    if unsafe { libc::dladdr(here, &mut info) } == 0 || info.dli_fname.is_null() {
        return Err(io::ErrorKind::NotFound.into());
    }
    // SAFETY: the loader keeps the name while the library is loaded, with a zero byte at its end.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    let path = std::fs::canonicalize(PathBuf::from(name.to_string_lossy().into_owned()))?;
    let folders = path.ancestors().skip(1).take(2);
    let mut programs = folders.map(|folder| folder.join("fake-gpu"));
    programs
        .find(|program| program.exists())
        .ok_or_else(|| io::Error::other(format!("`fake-gpu` is not beside `{}`", path.display())))
}
