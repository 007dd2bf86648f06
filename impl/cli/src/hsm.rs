//! `custody hsm`: keys in an HSM, from their making to their destruction. Chapter 35.
//!
//! The module is loaded here only where the command is about the token itself; a custodian that
//! runs leaves that to its worker, which is this command too, hidden.

pub mod args;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use split_custody_keys::{
    KekPublic, provision_context, read_verify_key, write_kek_public, write_new, write_verify_key,
};
use split_custody_pkcs11::{Config, Hsm, KEYS, Kind, PinSource, conform, create};
use split_custody_protocol::suite::{SuiteId, VerifyKey};
use split_custody_protocol::wire::message::Message;
use split_custody_protocol::wire::standing::{Provision, ProvisionStatement};
use split_custody_runtime::pki::{CustodianRoot, read_certificates, write_private};

use crate::failure::{Failure, io_at};
use crate::files::{hex, read_object};
use crate::layout::{Folder, Household};

use args::{HsmCommand, HsmDirArgs, HsmInitArgs, HsmTokenArgs};

pub fn run(command: &HsmCommand) -> Result<(), Failure> {
    match command {
        HsmCommand::Init(args) => init(args),
        HsmCommand::Import { dir, provision } => import(dir, provision),
        HsmCommand::Rotate { dir } => rotate(dir),
        HsmCommand::Destroy { dir, import_key, yes } => destroy(dir, *import_key, *yes),
        HsmCommand::Probe(args) => probe(args),
        HsmCommand::Conform(args) => examine(args),
        HsmCommand::Certify { keys, custodian } => certify(keys, *custodian),
        HsmCommand::Worker { dir, scannable } => worker(dir, *scannable),
    }
}

/// An error of the token, with the exit code that it deserves.
pub fn failure(error: split_custody_pkcs11::Error) -> Failure {
    if error.is_missing() {
        return Failure::Missing(crate::failure::chain(&error));
    }
    Failure::from(error)
}

fn init(args: &HsmInitArgs) -> Result<(), Failure> {
    let folder = Folder(args.token.dir.dir.clone());
    let path = folder.path(Config::FILE);
    let mut config = config_of(&args.token, &folder.0)?;
    if args.token.module.is_some() {
        config.suite = args.suite.map_or_else(String::new, |suite| suite.name().into());
        write_new(&path, config.to_toml().as_bytes(), 0o644)?;
        return make_keys(args, &folder, config).inspect_err(|_| {
            // Written just above, and of no use without keys: the next try writes it again.
            let _ = fs::remove_file(&path);
        });
    }
    if let Some(done) = in_its_environment(&config) {
        return done;
    }
    make_keys(args, &folder, config)
}

fn make_keys(args: &HsmInitArgs, folder: &Folder, mut config: Config) -> Result<(), Failure> {
    if args.create_token {
        create(&config, &so_pin(folder)?).map_err(failure)?;
    }
    let suite = Hsm::init(&config).map_err(failure)?;
    config.suite = suite.name().into();
    replace(&folder.path(Config::FILE), &config.to_toml())?;
    let hsm = Hsm::open(config).map_err(failure)?;
    let kek = KekPublic::p256(suite, &hsm.kek_point());
    let kek = kek.ok_or_else(|| Failure::refused("the token's import key is no point on P-256"))?;
    write_kek_public(&folder.path("kek.pub.pem"), &kek)?;
    write_verify_key(&folder.path("grant.pub.pem"), &VerifyKey::new(hsm.grant_point()))?;
    write_verify_key(&folder.path("tls.pub.pem"), &VerifyKey::new(hsm.tls_point()))?;
    let fingerprint = hex(kek.digest().as_bytes());
    if args.token.dir.json {
        say!(
            "{}",
            json!({ "suite": suite.name(), "kek": fingerprint, "token": hsm.token().about })
        );
        return Ok(());
    }
    say!("token    {}", hsm.token().about);
    say!("suite    {}{}", suite.name(), note(suite));
    say!("KEK      {fingerprint}");
    say!("Compare that fingerprint with the owner, in person, before anything is sealed to it.");
    Ok(())
}

const fn note(suite: SuiteId) -> &'static str {
    match suite {
        SuiteId::P256_CBCD_KW => " (for development only [HSM-14])",
        _ => "",
    }
}

fn import(dir: &HsmDirArgs, provision: &Path) -> Result<(), Failure> {
    let config = Config::read(&dir.dir).map_err(failure)?;
    if let Some(done) = in_its_environment(&config) {
        return done;
    }
    let provision: Provision = read_object(provision, "a provision", Message::CAP)?;
    let said: ProvisionStatement = provision.statement.payload()?;
    let ProvisionStatement { manifest, set, custodian, index, kek, .. } = said;
    let context = provision_context(&manifest, &set, custodian, index, &kek);
    let hsm = Hsm::open(config).map_err(failure)?;
    let path = hsm.import(&provision.sealed, &context).map_err(failure)?;
    tell(
        dir,
        &format!("the share lies under the share KEK in `{}`", path.display()),
        json!({ "blob": path }),
    );
    Ok(())
}

fn rotate(dir: &HsmDirArgs) -> Result<(), Failure> {
    let config = Config::read(&dir.dir).map_err(failure)?;
    if let Some(done) = in_its_environment(&config) {
        return done;
    }
    let hsm = Hsm::open(config).map_err(failure)?;
    let moved = hsm.rotate().map_err(failure)?;
    tell(
        dir,
        &format!("{moved} shares lie under a new KEK; the old one is destroyed"),
        json!({ "moved": moved }),
    );
    Ok(())
}

fn destroy(dir: &HsmDirArgs, import_key: bool, yes: bool) -> Result<(), Failure> {
    let config = Config::read(&dir.dir).map_err(failure)?;
    if !yes {
        let line = "keys that are destroyed are gone for ever; say --yes";
        return Err(Failure::Usage(line.into()));
    }
    if let Some(done) = in_its_environment(&config) {
        return done;
    }
    let kinds = if import_key { &[Kind::Import][..] } else { &KEYS[..] };
    let destroyed = Hsm::destroy(&config, kinds).map_err(failure)?;
    let what = format!("{destroyed} objects of `{}` are destroyed in the token", config.name);
    tell(dir, &what, json!({ "destroyed": destroyed }));
    Ok(())
}

fn probe(args: &HsmTokenArgs) -> Result<(), Failure> {
    let report = match report(args)? {
        Ok(report) => report,
        Err(done) => return done,
    };
    let working: Vec<_> = report.suites.iter().filter(|s| s.works).map(|s| s.suite).collect();
    if args.dir.json {
        say!("{}", json!({ "token": report.token, "table": report.table, "suites": working }));
    } else {
        say!("{} (table `{}`): {}", report.token, report.table, working.join(", "));
    }
    if working.is_empty() {
        return Err(Failure::refused("no profile works with this token [HSM-8]"));
    }
    Ok(())
}

fn examine(args: &HsmTokenArgs) -> Result<(), Failure> {
    let report = match report(args)? {
        Ok(report) => report,
        Err(done) => return done,
    };
    if args.dir.json {
        say!("{}", serde_json::to_string(&report)?);
    } else {
        say!("{report}");
    }
    if report.grade == "none" {
        return Err(Failure::Checks("no profile works with this token [HSM-8]".into()));
    }
    Ok(())
}

/// The report of a token, or how the process that made it ended.
fn report(args: &HsmTokenArgs) -> Result<Result<conform::Report, Result<(), Failure>>, Failure> {
    let config = config_of(args, &std::env::current_dir()?)?;
    if let Some(done) = in_its_environment(&config) {
        return Ok(Err(done));
    }
    conform::examine(&config).map(Ok).map_err(failure)
}

/// What the command line says of a token, or the `hsm.toml` of the folder.
fn config_of(args: &HsmTokenArgs, relative_to: &Path) -> Result<Config, Failure> {
    match (&args.module, &args.token, &args.pin_source) {
        (Some(module), Some(token), Some(source)) => {
            let mut config = Config::new(relative_to, module, token, source);
            config.init.clone_from(&args.init);
            config.table.clone_from(&args.table);
            Ok(config)
        }
        (None, None, None) => Config::read(&args.dir.dir).map_err(failure),
        _ => {
            let line = "--module, --token and --pin-source go together";
            Err(Failure::Usage(line.into()))
        }
    }
}

/// The owner certifies the TLS key that a custodian's token holds.
fn certify(keys: &Path, custodian: u8) -> Result<(), Failure> {
    let household = Household(keys.to_owned());
    let (owner, folder) = (household.owner(), household.custodian(custodian));
    let root = read_certificates(&owner.path("root.pem"))?;
    let key = crate::files::read(&owner.path("root.key"), 1 << 16)?;
    let first = root.into_iter().next().ok_or_else(|| Failure::refused("no root certificate"))?;
    let root = CustodianRoot::from_pem(first, &String::from_utf8_lossy(&key))?;
    let public = read_verify_key(&folder.path("tls.pub.pem"))?;
    let text = root.certify(folder.custodian()?, public)?;
    write_private(&folder.path(HSM_LEAF), &text)?;
    say!(
        "`{}`: custodian {custodian} shows it from its next start",
        folder.path(HSM_LEAF).display()
    );
    Ok(())
}

/// The chain of a custodian whose TLS key lies in its token.
pub const HSM_LEAF: &str = "leaf-hsm.pem";

fn worker(dir: &Path, scannable: bool) -> Result<(), Failure> {
    if !scannable {
        split_custody_gpu::harden();
    }
    let config = Config::read(dir).map_err(failure)?;
    split_custody_pkcs11::serve(config).map_err(failure)
}

/// Runs this very command again where the token's environment is not this process's.
///
/// A module reads its environment when it is loaded, so it has to be there from the beginning.
fn in_its_environment(config: &Config) -> Option<Result<(), Failure>> {
    let is_set = |(name, value): (&String, &String)| std::env::var(name).is_ok_and(|v| v == *value);
    if config.env.iter().all(is_set) {
        return None;
    }
    let again = || -> Result<(), Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let status = command.args(std::env::args_os().skip(1)).envs(&config.env).status()?;
        match status.code() {
            Some(0) => Ok(()),
            // It has said why; this process only ends as it did.
            code => std::process::exit(code.unwrap_or(1)),
        }
    };
    Some(again())
}

/// The security officer's PIN of a token that is made here: drawn, and kept beside the token.
fn so_pin(folder: &Folder) -> Result<String, Failure> {
    if folder.path("so.pin").is_file() {
        let text = crate::files::read(&folder.path("so.pin"), 256)?;
        return Ok(String::from_utf8_lossy(&text).trim().to_owned());
    }
    let pin = random_pin()?;
    write_new(&folder.path("so.pin"), pin.as_bytes(), 0o600)?;
    Ok(pin)
}

fn random_pin() -> Result<String, Failure> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Failure::refused("no randomness"))?;
    Ok(hex(&bytes))
}

/// A throw-away SoftHSM2 token in a custodian's folder, with its keys, made by a child process.
pub fn throw_away(folder: &Folder, module: &Path) -> Result<(), Failure> {
    let tokens = folder.path("token");
    fs::create_dir(&tokens).map_err(|e| io_at(&tokens, "create the folder", &e))?;
    let conf = folder.path("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nlog.level = ERROR\n", tokens.display());
    write_new(&conf, text.as_bytes(), 0o600)?;
    write_new(&folder.path("user.pin"), random_pin()?.as_bytes(), 0o600)?;
    let source = PinSource::File(PathBuf::from("user.pin"));
    let mut config = Config::new(&folder.0, module, "throw-away", &source);
    config.env.insert("SOFTHSM2_CONF".into(), conf.display().to_string());
    write_new(&folder.path(Config::FILE), config.to_toml().as_bytes(), 0o644)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["hsm", "init", "--create-token", "--json", "--dir"])
        .arg(&folder.0)
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().last().unwrap_or("it said nothing").trim_start_matches("error: ");
    let line = format!("the token of `{}` was not made: {said}", folder.0.display());
    Err(if output.status.code() == Some(3) {
        Failure::Missing(line)
    } else {
        Failure::Refused(line)
    })
}

/// Puts a new text in a file's place, whole or not at all.
fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let fresh = path.with_extension("new");
    fs::write(&fresh, text)
        .and_then(|()| fs::set_permissions(&fresh, PermissionsExt::from_mode(0o644)))
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(|e| io_at(path, "write the file", &e))
}

fn tell(dir: &HsmDirArgs, text: &str, value: serde_json::Value) {
    if dir.json { say!("{value}") } else { say!("{text}") }
}
