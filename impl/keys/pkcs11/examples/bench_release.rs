//! A release by an HSM beside its floor, in one run.
//!
//! Floor: the bare PKCS#11 calls of a release in this process, plus one round trip of 107 bytes over a
//! Unix socket to another process (`cat`). Product: what a custodian calls, through its worker: one
//! request for re-wrap and signature. Both alternate, on one token, each after a rest of the same length.
//!
//! `cargo run --release -p split-custody-pkcs11 --example bench_release [ROUNDS [RUNS]]`

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Barrier, RwLock};
use std::time::{Duration, Instant};

use cryptoki::session::Session;
use rustix::thread::{CpuSet, sched_setaffinity};
use split_custody_keys::{ByteSuite, Custody, Dealing, Dek, Recipient, Release, provision_context};
use split_custody_pkcs11::{
    Attr, Config, Hsm, Mech, PinSource, Raw, Starter, WorkerCustody, code, create, find_softhsm,
};
use split_custody_protocol::Suite;
use split_custody_protocol::ids::{
    Budget, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
    ShareSetId,
};
use split_custody_protocol::suite::{AgreementKey, Digest, Incarnation, SealedShare, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::grant::{GrantDraft, GrantStatement, Terms};

const FOLDER: &str = "BENCH_HSM_FOLDER";
const SET: ShareSetId = ShareSetId::new([1; 16]);
/// The most that a configuration may name: enough that no line asks its pool to fill up again.
const POOL: usize = 4096;
/// Before either side, so that neither finds a processor that the other has woken.
const REST: Duration = Duration::from_micros(500);
/// Rounds of a line, over all of its threads: a pool that is half empty fills up again.
const MOST: usize = 2000;
const CONTEXT: Digest = Digest::new([2; 32]);

fn main() {
    if std::env::var_os(split_custody_pkcs11::LANES).is_some() {
        let folder = std::env::var_os(FOLDER).expect("started by this bench");
        split_custody_pkcs11::serve(Config::read(Path::new(&folder)).expect("read"))
            .expect("served");
        return;
    }
    match std::env::var_os(FOLDER) {
        Some(folder) => measure(Path::new(&folder)),
        None => prepare(),
    }
}

/// Makes a token and runs this program again with the environment that the module reads.
fn prepare() {
    let Some(module) = find_softhsm() else {
        eprintln!("error: SoftHSM2 is not installed");
        std::process::exit(3);
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (pin, tokens) = (folder.path().join("pin"), folder.path().join("tokens"));
    fs::write(&pin, "1234-throw-away").expect("written");
    fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).expect("set");
    fs::create_dir(&tokens).expect("made");
    let conf = folder.path().join("softhsm2.conf");
    fs::write(&conf, format!("directories.tokendir = {}\n", tokens.display())).expect("written");
    let mut config = Config::new(folder.path(), &module, "bench", &PinSource::File("pin".into()));
    config.env.insert("SOFTHSM2_CONF".into(), conf.display().to_string());
    config.env.insert(FOLDER.into(), folder.path().display().to_string());
    config.pool = POOL;
    fs::write(folder.path().join(Config::FILE), config.to_toml()).expect("written");
    let status = Command::new(std::env::current_exe().expect("this program"))
        .args(std::env::args_os().skip(1))
        .envs(&config.env)
        .status();
    std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
}

struct Bench {
    hsm: Hsm,
    worker: Arc<WorkerCustody>,
    /// A share for each thread, so that none finds what another unwrapped.
    shares: [Share; 2],
    to: AgreementKey,
    draft: GrantDraft,
    /// A custodian destroys no handle while it releases.
    handles: RwLock<()>,
    /// For the floor: handles, the wrapped share, and templates of Z, wrapping key and share.
    kek: u64,
    grant: u64,
    blob: Vec<u8>,
    templates: [Vec<Attr>; 3],
}

/// As the owner sealed it, and under what.
struct Share {
    sealed: SealedShare,
    under: Digest,
}

impl Share {
    fn deal(worker: &WorkerCustody) -> Self {
        let (custodian, index) = (CustodianId::new(1), ShareIndex::new(1));
        let recipient = Recipient { custodian, index, kek: worker.kek_public() };
        let dealing = Dealing::deal(&Dek::generate(), SET, 1, &[recipient]).expect("dealt");
        let dealt = dealing.seal(&CONTEXT).expect("sealed").remove(0);
        let under = provision_context(&CONTEXT, &SET, custodian, index, &dealt.kek);
        Self { sealed: dealt.sealed, under }
    }
}

/// What a custodian signs with a share.
fn draft(suite: SuiteId) -> GrantDraft {
    let span = Span::from_millis(60_000);
    GrantDraft::of(&GrantStatement {
        session: CONTEXT,
        th2: CONTEXT,
        suite,
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        lease: LeaseId::new([3; 16]),
        set: SET,
        index: ShareIndex::new(1),
        manifest: CONTEXT,
        device_key: CONTEXT,
        incarnation: Incarnation::new([4; 32]),
        terms: Terms { first: span, term: span, budget: Budget::UNLIMITED, max_age: span },
        epoch: Epoch::new(1),
        policy: PolicyVersion::new(1),
        index_in_log: LogIndex::new(1000),
        sealed: CONTEXT,
    })
}

/// A session key pair: public half, private half.
fn pair(raw: &Raw, session: u64) -> (u64, u64) {
    let oid = vec![6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let public = [Attr::Flag(code::CKA_TOKEN, false), Attr::Bytes(code::CKA_EC_PARAMS, oid)];
    let private = [
        Attr::Flag(code::CKA_TOKEN, false),
        Attr::Flag(code::CKA_SENSITIVE, true),
        Attr::Flag(code::CKA_DERIVE, true),
    ];
    raw.generate_pair(session, code::CKM_EC_KEY_PAIR_GEN, &public, &private).expect("a pair")
}

fn template(key_type: u64, extractable: bool, use_: Option<u64>) -> Vec<Attr> {
    let mut attrs = vec![
        Attr::Number(code::CKA_CLASS, code::CKO_SECRET_KEY),
        Attr::Number(code::CKA_KEY_TYPE, key_type),
        Attr::Flag(code::CKA_TOKEN, false),
        Attr::Flag(code::CKA_PRIVATE, true),
        Attr::Flag(code::CKA_SENSITIVE, true),
        Attr::Flag(code::CKA_EXTRACTABLE, extractable),
        Attr::Flag(code::CKA_ENCRYPT, false),
        Attr::Flag(code::CKA_DECRYPT, false),
    ];
    if let Some(use_) = use_ {
        attrs.extend([Attr::Flag(use_, true), Attr::Number(code::CKA_VALUE_LEN, 32)]);
    }
    attrs
}

fn measure(folder: &Path) {
    let number = |at| std::env::args().nth(at).and_then(|n| n.parse().ok());
    let (rounds, runs) = (number(1).unwrap_or(400), number(2).unwrap_or(5).max(1));
    let mut config = Config::read(folder).expect("read");
    create(&config, "so-throw-away").expect("a token");
    config.suite = Hsm::init(&config).expect("keys").name().into();
    fs::write(folder.join(Config::FILE), config.to_toml()).expect("written");
    println!("rounds {rounds}, load {}", fs::read_to_string("/proc/loadavg").expect("read").trim());
    let mut ratios: BTreeMap<(Warmth, usize), [Vec<f64>; 2]> = BTreeMap::new();
    for run in 0..runs {
        for (pool, warmth) in [(POOL, Warmth::Hot), (0, Warmth::Cold)] {
            config.pool = pool;
            fs::write(folder.join(Config::FILE), config.to_toml()).expect("written");
            for threads in [1, 2] {
                keep_to(threads);
                let program = std::env::current_exe().expect("this program");
                let starter = Starter { program, arguments: vec![] };
                let worker = WorkerCustody::start(config.clone(), starter).expect("a worker");
                let hsm = Hsm::open(config.clone()).expect("a token");
                let bench = Bench::new(folder, hsm, worker);
                std::thread::sleep(Duration::from_secs(4)); // the worker's pool fills up
                let line = bench.run(warmth, threads, rounds.min(MOST / threads));
                let all = ratios.entry((warmth, threads)).or_default();
                all.iter_mut().zip(line).for_each(|(all, one)| all.push(one));
                if (run, warmth, threads) == (0, Warmth::Hot, 1) {
                    bench.parts(400);
                }
            }
        }
    }
    println!("median of {runs} runs:");
    for ((warmth, threads), all) in ratios {
        let [p50, p99] = all.map(|mut all| {
            all.sort_by(f64::total_cmp);
            all[(all.len() - 1) / 2]
        });
        println!("{warmth:?} x{threads}: ratio p50 {p50:.2} p99 {p99:.2}");
    }
}

/// As many processors as threads, for this process and those that it starts: so one thread has both
/// sides on one processor, whichever processor of this machine is the slower one now.
fn keep_to(processors: usize) {
    let mut set = CpuSet::new();
    (0..processors).for_each(|processor| set.set(processor));
    sched_setaffinity(None, &set).expect("processors from 0 up");
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Warmth {
    Hot,
    Cold,
}

impl Bench {
    fn new(folder: &Path, hsm: Hsm, worker: Arc<WorkerCustody>) -> Self {
        let (_, to) = ByteSuite::new().generate(hsm.suite(), 0);
        let shares = [Share::deal(&worker), Share::deal(&worker)];
        let draft = draft(hsm.suite());
        for share in &shares {
            worker.release(&order(&hsm, share, &to, &draft)).expect("imported");
        }
        let find = |label: &[u8], class| {
            let session = hsm.token().session().expect("a session");
            let wanted = [
                Attr::Bytes(code::CKA_LABEL, label.to_vec()),
                Attr::Number(code::CKA_CLASS, class),
            ];
            hsm.token().raw.find(session.handle(), &wanted).expect("found")[0]
        };
        let kek = find(b"split-custody-share-kek", code::CKO_SECRET_KEY);
        let grant = find(b"split-custody-grant", code::CKO_PRIVATE_KEY);
        let entry = fs::read_dir(folder.join("shares")).expect("read").next().expect("one");
        let text = fs::read(entry.expect("one").path()).expect("read");
        let json: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let digits = json["wrapped"].as_str().expect("digits").as_bytes().chunks(2);
        let byte = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("digits")
        };
        let blob = digits.map(byte).collect();
        let templates = [
            template(code::CKK_AES, false, Some(code::CKA_DERIVE)),
            template(code::CKK_AES, false, Some(code::CKA_WRAP)),
            template(code::CKK_GENERIC_SECRET, true, None),
        ];
        let handles = RwLock::default();
        Self { hsm, worker, shares, to, draft, handles, kek, grant, blob, templates }
    }

    /// The calls of a release and nothing around them; what it made is destroyed off the path.
    fn bare(&self, session: &Session, ready: Option<(u64, u64)>) -> Vec<u64> {
        let (raw, handle) = (self.hsm.token().raw, session.handle());
        let (share, private) = ready.unwrap_or_else(|| {
            let share = self.unwrapped(session);
            let (public, private) = pair(&raw, handle);
            raw.attribute(handle, public, code::CKA_EC_POINT).expect("a point");
            (share, private)
        });
        let mech = Mech::Ecdh(0x1050, 1, &[], self.to.as_bytes());
        let z = raw.derive(handle, mech, private, &self.templates[0]).expect("agreed");
        let mech = Mech::CbcData(0x1105, CONTEXT.as_bytes());
        let key = raw.derive(handle, mech, z, &self.templates[1]).expect("derived");
        std::hint::black_box(raw.wrap(handle, 0x2109, key, share).expect("wrapped"));
        std::hint::black_box(raw.sign(handle, 0x1041, self.grant, &[7; 32]).expect("signed"));
        vec![share, private, z, key]
    }

    /// The share from its 40 bytes under the share KEK.
    fn unwrapped(&self, session: &Session) -> u64 {
        let (raw, template) = (self.hsm.token().raw, &self.templates[2]);
        raw.unwrap(session.handle(), 0x2109, self.kek, &self.blob, template).expect("unwrapped")
    }

    fn product(&self, share: &Share) {
        let order = order(&self.hsm, share, &self.to, &self.draft);
        std::hint::black_box(self.worker.release(&order).expect("released"));
    }

    /// Where the time goes, one thread: medians and minima of the parts.
    fn parts(&self, rounds: usize) {
        let (session, mut echo) = (self.hsm.token().session().expect("a session"), Echo::start());
        let raw = self.hsm.token().raw;
        let timed = |name: &str, part: &mut dyn FnMut()| {
            let mut times: Vec<Duration> = (0..rounds)
                .map(|_| {
                    std::thread::sleep(Duration::from_micros(200));
                    let start = Instant::now();
                    part();
                    start.elapsed()
                })
                .collect();
            println!("  {name}: p50 {:.1?} min {:.1?}", at(&mut times, 50), times[0]);
        };
        timed("round trip to cat", &mut || echo.round_trip());
        timed("bare signature", &mut || {
            std::hint::black_box(
                raw.sign(session.handle(), 0x1041, self.grant, &[7; 32]).expect("signed"),
            );
        });
        timed("signature through the worker", &mut || {
            std::hint::black_box(self.worker.sign(&[7; 200]).expect("signed"));
        });
        timed("release through the worker", &mut || self.product(&self.shares[0]));
    }

    /// Prints one line, and says the ratios of its medians and of its 99th percentiles.
    fn run(&self, warmth: Warmth, threads: usize, rounds: usize) -> [f64; 2] {
        let barrier = Barrier::new(threads);
        let taken: Vec<_> = std::thread::scope(|scope| {
            let one = |share| {
                barrier.wait();
                self.alternate(warmth, rounds, share)
            };
            let shares = self.shares.iter().take(threads);
            let running: Vec<_> = shares.map(|share| scope.spawn(move || one(share))).collect();
            running.into_iter().map(|thread| thread.join().expect("measured")).collect()
        });
        let (mut floor, mut product): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
        for (floors, products) in taken {
            floor.extend(floors);
            product.extend(products);
        }
        let (f50, f99) = (at(&mut floor, 50), at(&mut floor, 99));
        let (p50, p99) = (at(&mut product, 50), at(&mut product, 99));
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!(
            "{warmth:?} x{threads}: floor p50 {f50:.1?} p99 {f99:.1?} min {:.1?}; product p50 {p50:.1?} p99 {p99:.1?} min {:.1?}; ratio p50 {:.2} p99 {:.2} min {:.2}",
            floor[0],
            product[0],
            ratio(p50, f50),
            ratio(p99, f99),
            ratio(product[0], floor[0]),
        );
        [ratio(p50, f50), ratio(p99, f99)]
    }

    fn alternate(
        &self,
        warmth: Warmth,
        rounds: usize,
        share: &Share,
    ) -> (Vec<Duration>, Vec<Duration>) {
        let session = self.hsm.token().session().expect("a session");
        let (raw, mut echo) = (self.hsm.token().raw, Echo::start());
        let (mut floor, mut product) = (Vec::new(), Vec::new());
        for round in 0..rounds + 10 {
            // Off the path: cold means that no share is cached.
            if warmth == Warmth::Cold {
                let _alone = self.handles.write().expect("not poisoned");
                self.worker.destroy_handles().expect("destroyed");
            }
            let ready = (warmth == Warmth::Hot).then(|| {
                let (_, private) = pair(&raw, session.handle());
                (self.unwrapped(&session), private)
            });
            std::thread::sleep(REST);
            let start = Instant::now();
            let left = self.bare(&session, ready);
            echo.round_trip();
            let bare = start.elapsed();
            left.into_iter().for_each(|object| drop(raw.destroy(session.handle(), object)));
            let shared = self.handles.read().expect("not poisoned");
            std::thread::sleep(REST);
            let start = Instant::now();
            self.product(share);
            let whole = start.elapsed();
            drop(shared);
            if round >= 10 {
                floor.push(bare);
                product.push(whole);
            }
        }
        (floor, product)
    }
}

fn order<'a>(
    hsm: &Hsm,
    share: &'a Share,
    to: &'a AgreementKey,
    draft: &'a GrantDraft,
) -> Release<'a> {
    Release {
        provisioned: &share.sealed,
        provision_context: &share.under,
        suite: hsm.suite(),
        to,
        context: &CONTEXT,
        draft,
    }
}

/// A process that gives back what it is sent.
struct Echo {
    stream: UnixStream,
    child: Child,
}

impl Echo {
    fn start() -> Self {
        let (stream, other) = UnixStream::pair().expect("a pair");
        let again = other.try_clone().expect("cloned");
        let child = Command::new("cat")
            .stdin(Stdio::from(OwnedFd::from(other)))
            .stdout(Stdio::from(OwnedFd::from(again)))
            .spawn();
        Self { stream, child: child.expect("cat") }
    }

    fn round_trip(&mut self) {
        let mut bytes = [9; 107];
        self.stream.write_all(&bytes).expect("written");
        self.stream.read_exact(&mut bytes).expect("read");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn at(times: &mut [Duration], percent: usize) -> Duration {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}
