//! What happens when the module, its process, its token or its keys are not as they must be.

mod common;

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use common::{Bench, CONTEXT, Dealt, Module, ask, deal_to, rewrap};
use split_custody_keys::{ByteSuite, Custody, HsmError};
use split_custody_pkcs11::{Hsm, Kind, Token, WorkerCustody, code};
use split_custody_protocol::Suite;
use split_custody_protocol::suite::SealedShare;

#[test]
#[ignore = "is the worker of the other tests"]
fn worker() {
    common::serve_as_worker();
}

#[test]
#[ignore = "makes the tokens of the other tests"]
fn init() {
    common::init_as_child();
}

fn release(custody: &WorkerCustody, dealt: &Dealt) -> Result<SealedShare, HsmError> {
    let (mut device, suite) = (ByteSuite::new(), custody.kek_public().suite());
    let (secret, key) = device.generate(suite, 0);
    let sealed = rewrap(custody, dealt, suite, &key, &CONTEXT)?;
    device.open_share(suite, secret, &CONTEXT, &sealed).expect("what is released opens");
    Ok(sealed)
}

fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Until it works again; recovery has to come without a restart of the custodian.
fn recovers(custody: &WorkerCustody, dealt: &Dealt) {
    let start = Instant::now();
    while release(custody, dealt).is_err() {
        assert!(start.elapsed() < Duration::from_secs(20), "it does not recover");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn hsm_11_worker_that_is_killed_is_replaced_and_nothing_is_lost() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    let custody = bench.worker();
    let dealt = deal_to(&*custody);
    release(&custody, &dealt).unwrap();
    let first = custody.worker_pid().unwrap();
    signal(first, "-KILL");
    // The request that was under way fails; the machine asks once more. [REL-13]
    let failed = release(&custody, &dealt);
    assert!(matches!(failed, Err(HsmError::Unavailable(_))), "{failed:?}");
    assert!(!failed.unwrap_err().is_client_fault());
    recovers(&custody, &dealt);
    assert_ne!(custody.worker_pid(), Some(first));
}

#[test]
fn hsm_11_module_that_hangs_is_ended_at_the_deadline() {
    let Some(mut bench) = Module::SoftHsm.bench() else { return };
    bench.change(|config| config.deadline_ms = 300);
    let custody = bench.worker();
    let dealt = Arc::new(deal_to(&*custody));
    release(&custody, &dealt).unwrap();
    let pid = custody.worker_pid().unwrap();
    signal(pid, "-STOP");
    let stopped =
        || fs::read_to_string(format!("/proc/{pid}/status")).unwrap().contains("T (stopped)");
    while !stopped() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let start = Instant::now();
    let (told, asked) = channel();
    let (asks, shared) = (Arc::clone(&custody), Arc::clone(&dealt));
    thread::spawn(move || told.send(release(&asks, &shared)));
    // Without a deadline nobody would ever answer.
    let answered = asked.recv_timeout(Duration::from_secs(20));
    if answered.is_err() {
        signal(pid, "-KILL");
    }
    assert_eq!(answered, Ok(Err(HsmError::Deadline)));
    assert!(start.elapsed() >= Duration::from_millis(300));
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it is gone");
    recovers(&custody, &dealt);
}

#[test]
fn hsm_11_worker_ends_with_its_custodian() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    let custody = bench.worker();
    let pid = custody.worker_pid().unwrap();
    drop(custody);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn hsm_11_ten_seconds_without_a_token_under_load_are_survived() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    let custody = bench.worker();
    let dealt = deal_to(&*custody);
    release(&custody, &dealt).unwrap();
    let (stop, good, bad) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (tokens, away) =
        (bench.folder.path().join("tokens"), bench.folder.path().join("tokens-away"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::SeqCst) {
                    let start = Instant::now();
                    match release(&custody, &dealt) {
                        Ok(_) => good.fetch_add(1, Ordering::SeqCst),
                        // A clear refusal, and soon: nobody waits for a token that is gone.
                        Err(HsmError::Unavailable(_) | HsmError::Deadline) => {
                            assert!(start.elapsed() < Duration::from_secs(5));
                            bad.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(other) => panic!("{other}"),
                    };
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(200));
        fs::rename(&tokens, &away).unwrap();
        signal(custody.worker_pid().unwrap(), "-KILL");
        std::thread::sleep(Duration::from_millis(500));
        let while_gone = good.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(9_500));
        assert_eq!(good.load(Ordering::SeqCst), while_gone, "nothing is released meanwhile");
        assert!(bad.load(Ordering::SeqCst) > 10, "requests were refused, not kept waiting");
        fs::rename(&away, &tokens).unwrap();
        recovers(&custody, &dealt);
        let after = good.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(300));
        assert!(good.load(Ordering::SeqCst) > after, "all recovers without a restart");
        stop.store(true, Ordering::SeqCst);
    });
}

#[test]
fn hsm_9_bad_input_never_ends_the_worker() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    let custody = bench.worker();
    let (dealt, suite) = (deal_to(&*custody), custody.kek_public().suite());
    release(&custody, &dealt).unwrap();
    let pid = custody.worker_pid();
    let (_, key) = ByteSuite::new().generate(suite, 0);
    for at in 0..107 {
        let mut bytes = dealt.sealed.sealed.as_bytes().to_vec();
        bytes[at] ^= 0x10;
        let bent = SealedShare::new(bytes).unwrap();
        let refused = ask(&*custody, &bent, &dealt.context, suite, &key, &CONTEXT);
        assert!(refused.is_err_and(HsmError::is_client_fault), "byte {at}");
    }
    release(&custody, &dealt).unwrap();
    assert_eq!(custody.worker_pid(), pid, "the same worker served all of it");
}

#[test]
fn hsm_10_wrong_pin_is_tried_once_and_never_again() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    fs::write(bench.folder.path().join("pin"), "not-the-pin").unwrap();
    let error = bench.try_worker().expect_err("a wrong PIN opens nothing");
    assert!(error.to_string().contains("tried once"), "{error}");
    assert!(!error.to_string().contains("not-the-pin"));
    assert!(!error.is_missing());
    // A custodian that runs, whose PIN was changed: its next worker stops it for good.
    fs::write(bench.folder.path().join("pin"), common::PIN).unwrap();
    let custody = bench.worker();
    let dealt = deal_to(&*custody);
    fs::write(bench.folder.path().join("pin"), "not-the-pin").unwrap();
    signal(custody.worker_pid().unwrap(), "-KILL");
    assert!(release(&custody, &dealt).is_err());
    assert!(matches!(release(&custody, &dealt), Err(HsmError::Operator(_))));
    fs::write(bench.folder.path().join("pin"), common::PIN).unwrap();
    std::thread::sleep(Duration::from_millis(400));
    assert!(matches!(release(&custody, &dealt), Err(HsmError::Operator(_))), "a person must act");
}

#[test]
fn hsm_6_missing_token_module_and_keys_are_told_by_name() {
    let Some(mut bench) = Module::SoftHsm.bench() else { return };
    bench.change(|config| config.name = "other".into());
    let error = bench.try_worker().expect_err("no keys of that name");
    assert!(error.to_string().contains("no key `share-kek`"), "{error}");
    bench.change(|config| config.token = "absent".into());
    let error = bench.try_worker().expect_err("no such token");
    assert!(error.is_missing() && error.to_string().contains("label `absent`"), "{error}");
    bench.change(|config| config.module = "/nowhere/module.so".into());
    let error = bench.try_worker().expect_err("no such module");
    assert!(error.is_missing() && error.to_string().contains("/nowhere/module.so"), "{error}");
}

#[test]
#[ignore = "runs in the process of a token"]
fn weaken() {
    use split_custody_pkcs11::Attr;
    let config = common::of_child();
    let token = Token::open(&config).unwrap();
    let session = token.session().unwrap();
    let kind = std::env::var("TEST_HSM_WEAK").unwrap();
    let label = format!("{}-share-kek", config.name).into_bytes();
    let found = token.raw.find(session.handle(), &[Attr::Bytes(code::CKA_LABEL, label.clone())]);
    for key in found.unwrap() {
        token.raw.destroy(session.handle(), key).unwrap();
    }
    let flag = |type_, name: &str, strong: bool| Attr::Flag(type_, strong ^ (kind == name));
    let attrs = [
        Attr::Bytes(code::CKA_LABEL, label),
        Attr::Bytes(code::CKA_ID, vec![1; 16]),
        Attr::Number(code::CKA_VALUE_LEN, 32),
        Attr::Flag(code::CKA_TOKEN, true),
        Attr::Flag(code::CKA_PRIVATE, true),
        flag(code::CKA_SENSITIVE, "SENSITIVE", true),
        flag(code::CKA_EXTRACTABLE, "EXTRACTABLE", false),
        flag(code::CKA_DECRYPT, "DECRYPT", false),
        flag(code::CKA_ENCRYPT, "ENCRYPT", false),
        flag(code::CKA_DERIVE, "DERIVE", false),
        flag(code::CKA_SIGN, "SIGN", false),
        flag(code::CKA_WRAP, "WRAP", true),
        flag(code::CKA_UNWRAP, "UNWRAP", true),
    ];
    token.raw.generate(session.handle(), code::CKM_AES_KEY_GEN, &attrs).unwrap();
}

fn weakened(bench: &Bench, attribute: &str) {
    let made = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "weaken"])
        .envs(&bench.config.env)
        .env("TEST_HSM_FOLDER", bench.folder.path())
        .env("TEST_HSM_WEAK", attribute)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
}

#[test]
fn hsm_6_kek_with_a_weak_attribute_is_refused_by_its_name() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    weakened(&bench, "none of them");
    bench.worker();
    for attribute in ["SENSITIVE", "EXTRACTABLE", "DECRYPT", "ENCRYPT", "DERIVE", "SIGN", "UNWRAP"]
    {
        weakened(&bench, attribute);
        let error = bench.try_worker().expect_err("a weak key");
        let named = format!("the key `share-kek` is weak: `{attribute}`");
        assert!(error.to_string().contains(&named), "{error}");
    }
}

#[test]
fn hsm_7_token_that_lists_a_mechanism_and_computes_it_wrongly_is_not_served_from() {
    // NSS lists 0x2109 as AES_KEY_WRAP; what it wraps with it is not RFC 3394.
    let Some(mut bench) = Module::Nss.bench() else { return };
    let table = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tables/nss.toml"));
    let lying = table.unwrap().replace("kwp = 0x210B", "kwp = 0x2109");
    fs::write(bench.folder.path().join("lying.toml"), lying).unwrap();
    bench.change(|config| config.table = Some("lying.toml".into()));
    let error = bench.try_worker().expect_err("a known answer fails");
    assert!(error.to_string().contains("known-answer test"), "{error}");
    assert!(error.to_string().contains("HSM-7"), "{error}");
}

/// Runs in a process with the token's environment: rotation and destruction around one share.
#[test]
#[ignore = "runs in the process of a token"]
fn rotate() {
    let hsm = Hsm::open(common::of_child()).unwrap();
    println!("moved {}", hsm.rotate().unwrap());
}

#[test]
#[ignore = "runs in the process of a token"]
fn destroy() {
    let config = common::of_child();
    let kinds = match std::env::var("TEST_HSM_WEAK") {
        Ok(_) => vec![Kind::Import],
        Err(_) => split_custody_pkcs11::KEYS.to_vec(),
    };
    assert!(Hsm::destroy(&config, &kinds).unwrap() > 0);
}

#[test]
fn hsm_12_rotation_moves_every_share_and_old_blobs_open_no_more() {
    for module in [Module::SoftHsm, Module::Nss] {
        let Some(bench) = module.bench() else { continue };
        let custody = bench.worker();
        let shares = [deal_to(&*custody), deal_to(&*custody)];
        shares.iter().for_each(|dealt| drop(release(&custody, dealt).unwrap()));
        let blobs = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
            let entries = fs::read_dir(bench.folder.path().join("shares")).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
        };
        let old = blobs();
        assert_eq!(old.len(), 2);
        let done = common::child(&bench, "rotate");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(said.contains("moved 2"), "{said}{}", String::from_utf8_lossy(&done.stderr));
        drop(custody);
        let custody = bench.worker();
        shares.iter().for_each(|dealt| drop(release(&custody, dealt).unwrap()));
        assert!(blobs().iter().all(|(path, now)| old.iter().all(|(p, b)| p != path || b != now)));
        // What was kept from before opens under no key that is left.
        old.iter().for_each(|(path, bytes)| fs::write(path, bytes).unwrap());
        drop(custody);
        let custody = bench.worker();
        for dealt in &shares {
            assert!(release(&custody, dealt).is_err(), "{module:?}: a blob under the old KEK");
        }
    }
}

#[test]
fn hsm_12_running_custodian_survives_a_rotation_beside_it() {
    let Some(bench) = Module::SoftHsm.bench() else { return };
    let custody = bench.worker();
    let dealt = deal_to(&*custody);
    release(&custody, &dealt).unwrap();
    assert!(common::child(&bench, "rotate").status.success());
    custody.destroy_handles().unwrap();
    // Its worker knows only the old KEK: the worker's end is the way to the new one.
    recovers(&custody, &dealt);
}

#[test]
fn hsm_13_destroyed_keys_open_nothing_that_was_kept() {
    for module in [Module::SoftHsm, Module::Nss] {
        let Some(bench) = module.bench() else { continue };
        let custody = bench.worker();
        let dealt = deal_to(&*custody);
        release(&custody, &dealt).unwrap();
        drop(custody);
        assert!(common::child(&bench, "destroy").status.success());
        let error = bench.try_worker().expect_err("no keys");
        assert!(error.to_string().contains("no key"), "{error}");
        // Fresh keys of the same names open neither the blob nor the provision.
        let made = common::child(&bench, "keys");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let custody = bench.worker();
        assert!(release(&custody, &dealt).is_err());
        fs::remove_dir_all(bench.folder.path().join("shares")).unwrap();
        assert!(release(&custody, &dealt).is_err());
    }
}

#[test]
#[ignore = "runs in the process of a token"]
fn keys() {
    Hsm::init(&common::of_child()).unwrap();
}
