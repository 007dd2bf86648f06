//! The custodian's side of its HSM: lanes to a worker process, a deadline, and restarts. [HSM-11]
//!
//! A worker that dies, hangs or loses its token is ended; the next request starts another. What a
//! PIN or a weak key stopped stays stopped until the custodian is started again. [HSM-10]

mod spawn;

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use split_custody_keys::p256kw::{Profile, valid_point};
use split_custody_keys::{Custody, HsmError, KekPublic, Outage, Release, Released};
use split_custody_protocol::suite::{SealedShare, Signature, SuiteId, VerifyKey};

use crate::config::Config;
use crate::error::Error;
use crate::wire::{self, Ask, Said};

/// How a worker is started: a program that ends up in [`crate::serve()`], with its lanes in the
/// environment under [`LANES`].
#[derive(Clone, Debug)]
pub struct Starter {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

/// Names the descriptors of a worker's lanes in its environment.
pub const LANES: &str = "CUSTODY_HSM_LANES";

/// A custodian's keys behind a worker process.
pub struct WorkerCustody {
    config: Config,
    starter: Starter,
    outage: Outage,
    lanes: Vec<Mutex<Option<Lane>>>,
    worker: Mutex<Worker>,
    public: Public,
}

/// A connection to the worker of one number.
struct Lane {
    wire: wire::Lane<UnixStream>,
    number: u64,
}

#[derive(Default)]
struct Worker {
    child: Option<Child>,
    /// Grows with every start, so that a late failure does not end a newer worker.
    number: u64,
    failed: Option<Instant>,
    stopped: bool,
    told: String,
    missing: bool,
    /// Streams of lanes that have not taken theirs yet.
    spare: Vec<UnixStream>,
}

#[derive(Clone, Copy)]
struct Public {
    kek: KekPublic,
    grant: VerifyKey,
    tls: VerifyKey,
}

impl WorkerCustody {
    /// Starts a worker and learns the public keys.
    ///
    /// # Errors
    /// What the worker said when it did not come up.
    pub fn start(config: Config, starter: Starter) -> Result<Arc<Self>, Error> {
        let suite = config.suite()?;
        let lanes = (0..config.lanes).map(|_| Mutex::new(None)).collect();
        let never = [4; 65];
        let mut custody = Self {
            starter,
            outage: Outage::default(),
            lanes,
            worker: Mutex::default(),
            public: Public {
                // Replaced before anyone sees it.
                kek: KekPublic::p256(suite, &GENERATOR).ok_or(Error::OtherSuite)?,
                grant: VerifyKey::new(never),
                tls: VerifyKey::new(never),
            },
            config,
        };
        let said = custody.call(Ask::Hello, &[]).map_err(|error| {
            let worker = custody.worker();
            match (worker.told.as_str(), worker.missing) {
                ("", _) => Error::Worker(error.to_string()),
                (told, false) => Error::Worker(told.into()),
                (told, true) => Error::WorkerMissing(told.into()),
            }
        })?;
        custody.public = Public::of(suite, &said).ok_or(Error::KnownAnswer("public keys"))?;
        Ok(Arc::new(custody))
    }

    /// The switch that makes the HSM go away, as if it were down; a worker that runs is ended.
    pub fn outage(&self) -> Outage {
        self.outage.clone()
    }

    /// The process that holds the module now.
    pub fn worker_pid(&self) -> Option<u32> {
        self.worker().child.as_ref().map(Child::id)
    }

    /// The point of the TLS key in the token.
    pub const fn tls_public(&self) -> VerifyKey {
        self.public.tls
    }

    /// One request and its answer, or why there is none.
    fn call(&self, ask: Ask, fields: &[&[u8]]) -> Result<Vec<Vec<u8>>, HsmError> {
        if self.outage.is_on() {
            let number = self.worker().number;
            self.end(number);
            return Err(HsmError::Outage);
        }
        let mut lane = self.lane();
        let running = self.ensure(&mut lane)?;
        let result = exchange(&mut running.wire, ask, fields);
        let number = running.number;
        match result {
            Ok((Said::Done, fields)) => Ok(fields),
            Ok((Said::Refused, _)) => {
                Err(HsmError::Refused("the input is not valid for this token")) // [HSM-9]
            }
            Ok((said, _)) => {
                *lane = None;
                self.end(number);
                if said == Said::Operator {
                    self.worker().stopped = true;
                    return Err(HsmError::Operator("see the log of the worker"));
                }
                Err(HsmError::Unavailable("the token does not answer as it must"))
            }
            Err(error) => {
                *lane = None;
                self.end(number); // [HSM-11]
                Err(match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => HsmError::Deadline,
                    _ => HsmError::Unavailable("its worker ended"),
                })
            }
        }
    }

    /// A lane that is free, or the first to become so.
    fn lane(&self) -> MutexGuard<'_, Option<Lane>> {
        let free = self.lanes.iter().find_map(|lane| lane.try_lock().ok());
        free.unwrap_or_else(|| {
            let spread = std::process::id() as usize ^ thread_number();
            // INVARIANT: a configuration has a lane.
            let lane = self.lanes.get(spread % self.lanes.len()).expect("a lane");
            lane.lock().unwrap_or_else(PoisonError::into_inner)
        })
    }

    /// The lane, connected to a worker that runs; starts one where none does.
    fn ensure<'a>(&self, lane: &'a mut Option<Lane>) -> Result<&'a mut Lane, HsmError> {
        let mut worker = self.worker();
        let current =
            worker.child.is_some() && lane.as_ref().is_some_and(|l| l.number == worker.number);
        if !current {
            if worker.stopped {
                return Err(HsmError::Operator("it was stopped; see the log of the worker"));
            }
            if worker.failed.is_some_and(|at| at.elapsed() < BACKOFF) {
                return Err(HsmError::Unavailable("its worker did not start a moment ago"));
            }
            *lane = Some(self.connect(&mut worker)?);
        }
        // INVARIANT: set just above, or current.
        Ok(lane.as_mut().expect("a lane that is connected"))
    }

    /// A stream to the worker that runs, or to a new one.
    fn connect(&self, worker: &mut Worker) -> Result<Lane, HsmError> {
        if worker.child.is_some()
            && let Some(stream) = worker.spare.pop()
        {
            return Ok(Lane { wire: wire::Lane::new(stream), number: worker.number });
        }
        self.start_worker(worker).inspect_err(|_| worker.failed = Some(Instant::now()))
    }

    /// Starts a worker and waits until it said that its token serves.
    fn start_worker(&self, worker: &mut Worker) -> Result<Lane, HsmError> {
        worker.end();
        worker.number += 1;
        let spawned = spawn::spawn(&self.starter, &self.config);
        let (child, mut streams) =
            spawned.map_err(|_| HsmError::Unavailable("no worker starts"))?;
        worker.child = Some(child);
        // INVARIANT: a configuration has a lane.
        let mut wire = wire::Lane::new(streams.remove(0));
        let began = wire
            .stream()
            .set_read_timeout(Some(START))
            .and_then(|()| wire.receive())
            .map(|(head, fields)| (Said::of(head), fields));
        match began {
            Ok((Some(Said::Done), _)) => {
                let deadline = Some(self.config.deadline());
                let all = std::iter::once(wire.stream()).chain(&streams);
                for stream in all {
                    let set = stream.set_read_timeout(deadline);
                    set.map_err(|_| HsmError::Unavailable("no deadline can be set"))?;
                }
                worker.spare = streams;
                worker.told.clear();
                Ok(Lane { wire, number: worker.number })
            }
            Ok((said, fields)) => {
                let told = fields.first().map(|text| String::from_utf8_lossy(text).into_owned());
                worker.told = told.unwrap_or_default();
                worker.missing = said == Some(Said::Missing);
                worker.end();
                if said == Some(Said::Operator) {
                    worker.stopped = true; // [HSM-10]
                    return Err(HsmError::Operator("its token is not served from"));
                }
                Err(HsmError::Unavailable("its token does not open"))
            }
            Err(_) => {
                worker.end();
                Err(HsmError::Unavailable("its worker does not come up"))
            }
        }
    }

    /// Ends the worker of this number, if it is still the one that runs.
    fn end(&self, number: u64) {
        let mut worker = self.worker();
        if worker.number == number {
            worker.end();
        }
    }

    fn worker(&self) -> MutexGuard<'_, Worker> {
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// By its id, and waits until it is gone.
    fn end(&mut self) {
        self.spare.clear();
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end();
    }
}

/// One request within the deadline of the stream.
fn exchange(
    wire: &mut wire::Lane<UnixStream>,
    ask: Ask,
    fields: &[&[u8]],
) -> io::Result<(Said, Vec<Vec<u8>>)> {
    wire.send(ask as u8, fields)?;
    let (head, fields) = wire.receive()?;
    let said = Said::of(head).ok_or(io::ErrorKind::InvalidData)?;
    Ok((said, fields))
}

impl Public {
    fn of(suite: SuiteId, fields: &[Vec<u8>]) -> Option<Self> {
        let [said, kek, grant, tls] = fields else { return None };
        (said[..] == suite.value().to_be_bytes()).then_some(())?;
        let point = |bytes: &[u8]| Some(VerifyKey::new(valid_point(bytes)?));
        Some(Self { kek: KekPublic::p256(suite, kek)?, grant: point(grant)?, tls: point(tls)? })
    }
}

impl Custody for WorkerCustody {
    fn release(&self, order: &Release<'_>) -> Result<Released, HsmError> {
        let Release { provisioned, provision_context, suite, to, context, draft } = *order;
        // [HSM-1] [HSM-9] What is the client's fault never reaches the worker.
        if Profile::of(suite).is_none() || suite != self.public.kek.suite() {
            return Err(HsmError::SuiteNotImplemented(suite.value()));
        }
        valid_point(to.as_bytes()).ok_or(HsmError::DeviceKeyInvalid)?;
        let fields = [
            provisioned.as_bytes(),
            provision_context.as_bytes(),
            &suite.value().to_be_bytes(),
            to.as_bytes(),
            context.as_bytes(),
            draft.as_bytes(),
        ];
        let said = self.call(Ask::Release, &fields)?; // [REL-14] One request, one answer.
        let released = match said.as_slice() {
            [sealed, signature] => SealedShare::new(sealed.clone())
                .zip(signature[..].try_into().ok().map(Signature::new)),
            _ => None,
        };
        let released = released.map(|(sealed, signature)| Released { sealed, signature });
        released.ok_or(HsmError::Unavailable("its worker answers nonsense"))
    }

    fn sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        self.signed(Ask::SignGrant, message)
    }

    fn destroy_handles(&self) -> Result<(), HsmError> {
        // A worker that does not run holds no handle; neither does one that was ended.
        if self.worker().child.is_none() {
            return Ok(());
        }
        match self.call(Ask::DestroyHandles, &[]) {
            Ok(_) => Ok(()),
            // The failure ended the worker, and every session object with it. [REV-7]
            Err(_) if self.worker().child.is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn kek_public(&self) -> KekPublic {
        self.public.kek
    }

    fn grant_public(&self) -> VerifyKey {
        self.public.grant
    }
}

impl WorkerCustody {
    fn signed(&self, ask: Ask, message: &[u8]) -> Result<Signature, HsmError> {
        let said = self.call(ask, &[message])?;
        let signature = said.first().and_then(|bytes| bytes[..].try_into().ok());
        signature.map(Signature::new).ok_or(HsmError::Signing)
    }
}

/// The TLS key of a custodian, in its token.
#[derive(Clone, Debug)]
pub struct TlsKey(Arc<WorkerCustody>);

impl TlsKey {
    pub const fn new(custody: Arc<WorkerCustody>) -> Self {
        Self(custody)
    }

    /// The public half.
    pub fn public(&self) -> VerifyKey {
        self.0.tls_public()
    }

    /// Signs a message of a handshake. ES256.
    ///
    /// # Errors
    /// When the token does not sign now.
    pub fn sign(&self, message: &[u8]) -> Result<Signature, HsmError> {
        self.0.signed(Ask::SignTls, message)
    }
}

impl fmt::Debug for WorkerCustody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerCustody(token `{}`)", self.config.token)
    }
}

/// A number of this thread, to spread those that wait over the lanes.
fn thread_number() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    MINE.with(|mine| *mine)
}

/// The generator of P-256: a valid point for a field that is set before it is read.
const GENERATOR: [u8; 65] = [
    4, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40,
    0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2,
    0x96, 0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e,
    0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51,
    0xf5,
];
/// A worker's first answer: module, login and known answers, on a slow network HSM.
const START: Duration = Duration::from_secs(20);
/// A worker that did not start is not started again within this.
const BACKOFF: Duration = Duration::from_millis(250);
