//! Throw-away tokens of the modules that are installed, and workers over them.
#![allow(dead_code, reason = "each test file uses its part")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use split_custody_keys::{
    Custody, Dealing, Dek, HsmError, KekPublic, Recipient, Release, Released, SealedFor,
    SoftCustody, sealed_digest, verify,
};
use split_custody_pkcs11::{Config, Hsm, PinSource, Starter, WorkerCustody, create, find_softhsm};
use split_custody_protocol::ids::{
    Budget, CustodianId, Epoch, Generation, LeaseId, LogIndex, PolicyVersion, ShareIndex,
    ShareSetId,
};
use split_custody_protocol::suite::{AgreementKey, Digest, Incarnation, SealedShare, SuiteId};
use split_custody_protocol::time::Span;
use split_custody_protocol::wire::grant::{GrantDraft, GrantStatement, Terms};

pub const SET: ShareSetId = ShareSetId::new([0x11; 16]);
pub const MANIFEST: Digest = Digest::new([0x33; 32]);
pub const CONTEXT: Digest = Digest::new([0x44; 32]);
pub const PIN: &str = "1234-throw-away";

/// Runs where the test binary itself is the worker of the others.
pub fn serve_as_worker() {
    let folder =
        std::env::var_os("TEST_HSM_FOLDER").expect("started by a custodian of these tests");
    let config = Config::read(Path::new(&folder)).expect("a configuration");
    split_custody_pkcs11::serve(config).expect("served");
}

/// How a test starts a worker: this very binary, whose ignored test serves.
pub fn starter() -> Starter {
    let arguments = ["--ignored", "--exact", "worker", "--nocapture"];
    let arguments = arguments.map(OsString::from).to_vec();
    Starter { program: std::env::current_exe().expect("a binary"), arguments }
}

/// A folder with a token of its own and `hsm.toml`.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub config: Config,
}

/// Modules with which these tests run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Module {
    SoftHsm,
    Nss,
}

const NSS: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/libsoftokn3.so",
    "/usr/lib/aarch64-linux-gnu/libsoftokn3.so",
    "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so",
];

impl Module {
    fn path(self) -> Option<PathBuf> {
        match self {
            Self::SoftHsm => find_softhsm(),
            Self::Nss => NSS.iter().map(PathBuf::from).find(|path| path.is_file()),
        }
    }

    pub const fn suite(self) -> SuiteId {
        match self {
            Self::SoftHsm => SuiteId::P256_CBCD_KW,
            Self::Nss => SuiteId::P256_X963_KWP,
        }
    }

    /// A token with keys; `None`, aloud, where the module is not installed, which CI forbids.
    pub fn bench(self) -> Option<Bench> {
        let Some(module) = self.path() else {
            assert!(std::env::var_os("CI").is_none(), "{self:?} is not installed, and CI needs it");
            eprintln!("NOT RUN: {self:?} is not installed (apt-get install softhsm2 libnss3)");
            return None;
        };
        let bench = self.token(&module);
        let made = child(&bench, "init");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut config = bench.config;
        config.suite = self.suite().name().into();
        fs::write(bench.folder.path().join(Config::FILE), config.to_toml()).unwrap();
        Some(Bench { folder: bench.folder, config })
    }

    /// A token of its own, without keys.
    fn token(self, module: &Path) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let pin = folder.path().join("pin");
        fs::write(&pin, PIN).unwrap();
        fs::set_permissions(&pin, PermissionsExt::from_mode(0o600)).unwrap();
        let source = PinSource::File("pin".into());
        let mut config = Config::new(folder.path(), module, "throw-away", &source);
        match self {
            Self::SoftHsm => {
                let tokens = folder.path().join("tokens");
                fs::create_dir(&tokens).unwrap();
                let conf = folder.path().join("softhsm2.conf");
                let text =
                    format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
                fs::write(&conf, text).unwrap();
                config.env.insert("SOFTHSM2_CONF".into(), conf.display().to_string());
            }
            Self::Nss => {
                let folder = folder.path().display();
                config.token = "NSS Certificate DB".into();
                config.init = Some(format!(
                    "configdir='sql:{folder}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
                ));
            }
        }
        fs::write(folder.path().join(Config::FILE), config.to_toml()).unwrap();
        Bench { folder, config }
    }
}

impl Bench {
    pub fn worker(&self) -> Arc<WorkerCustody> {
        self.try_worker().expect("a worker")
    }

    pub fn try_worker(&self) -> Result<Arc<WorkerCustody>, split_custody_pkcs11::Error> {
        let mut config = Config::read(self.folder.path())?;
        config.env.insert("TEST_HSM_FOLDER".into(), self.folder.path().display().to_string());
        WorkerCustody::start(config, starter())
    }

    /// Writes the configuration again.
    pub fn change(&mut self, change: impl FnOnce(&mut Config)) {
        change(&mut self.config);
        fs::write(self.folder.path().join(Config::FILE), self.config.to_toml()).unwrap();
    }
}

/// Runs the ignored test of this name in a process of its own, with the token's environment.
pub fn child(bench: &Bench, name: &str) -> std::process::Output {
    std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", name, "--nocapture"])
        .envs(&bench.config.env)
        .env("TEST_HSM_FOLDER", bench.folder.path())
        .output()
        .unwrap()
}

/// The configuration that a child was started for.
pub fn of_child() -> Config {
    let folder = std::env::var_os("TEST_HSM_FOLDER").expect("started by another test");
    Config::read(Path::new(&folder)).expect("a configuration")
}

/// What `init` does in its child: a token, then keys.
pub fn init_as_child() {
    let config = of_child();
    let so = if config.init.is_some() { "" } else { "so-throw-away" };
    create(&config, so).expect("a token");
    Hsm::init(&config).expect("keys");
}

/// A share dealt to one custodian.
pub struct Dealt {
    pub dek: Dek,
    pub sealed: SealedFor,
    pub commitment: Digest,
    pub context: Digest,
}

pub fn deal_to(custody: &dyn Custody) -> Dealt {
    deal(custody.kek_public())
}

pub fn deal(kek: KekPublic) -> Dealt {
    let dek = Dek::generate();
    let (custodian, index) = (CustodianId::new(1), ShareIndex::new(1));
    let recipients = [Recipient { custodian, index, kek }];
    let dealing = Dealing::deal(&dek, SET, 1, &recipients).unwrap();
    let commitment = dealing.commitments()[0].share;
    let sealed = dealing.seal(&MANIFEST).unwrap().remove(0);
    let context =
        split_custody_keys::provision_context(&MANIFEST, &SET, custodian, index, &sealed.kek);
    Dealt { dek, sealed, commitment, context }
}

/// What a custodian signs with a share of this index in its log.
pub fn statement(index_in_log: u64) -> GrantStatement {
    let span = Span::from_millis(60_000);
    GrantStatement {
        session: CONTEXT,
        th2: CONTEXT,
        suite: SuiteId::P256_X963_KW,
        custodian: CustodianId::new(1),
        generation: Generation::new(1),
        lease: LeaseId::new([3; 16]),
        set: SET,
        index: ShareIndex::new(1),
        manifest: MANIFEST,
        device_key: CONTEXT,
        incarnation: Incarnation::new([4; 32]),
        terms: Terms { first: span, term: span, budget: Budget::UNLIMITED, max_age: span },
        epoch: Epoch::new(1),
        policy: PolicyVersion::new(1),
        index_in_log: LogIndex::new(index_in_log),
        sealed: Digest::new([0; 32]),
    }
}

/// Asks for a release, whatever the share, its context and its suite.
pub fn ask(
    custody: &dyn Custody,
    provisioned: &SealedShare,
    provision_context: &Digest,
    suite: SuiteId,
    to: &AgreementKey,
    context: &Digest,
) -> Result<Released, HsmError> {
    let draft = GrantDraft::of(&statement(0));
    let order = Release { provisioned, provision_context, suite, to, context, draft: &draft };
    custody.release(&order)
}

/// The sealed share of a release whose signature is over the grant that names it. [REL-14]
pub fn rewrap(
    custody: &dyn Custody,
    dealt: &Dealt,
    suite: SuiteId,
    to: &AgreementKey,
    context: &Digest,
) -> Result<SealedShare, HsmError> {
    let released = ask(custody, &dealt.sealed.sealed, &dealt.context, suite, to, context)?;
    let message = GrantDraft::of(&statement(0)).message(&sealed_digest(&released.sealed));
    assert_eq!(verify(&custody.grant_public(), &message, &released.signature), Ok(()));
    Ok(released.sealed)
}

/// Every backend that is here: the software twins of both suites, and each installed token.
pub fn backends() -> Vec<(String, Arc<dyn Custody>, Option<Bench>)> {
    let mut all: Vec<(String, Arc<dyn Custody>, Option<Bench>)> = Vec::new();
    for suite in SuiteId::P256 {
        let twin = SoftCustody::twin(suite).expect("a suite of P-256").expect("keys");
        all.push((format!("twin of {}", suite.name()), Arc::new(twin), None));
    }
    for module in [Module::SoftHsm, Module::Nss] {
        if let Some(bench) = module.bench() {
            all.push((format!("{module:?}"), bench.worker(), Some(bench)));
        }
    }
    all
}
