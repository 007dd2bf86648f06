//! The owner scans other processes: it finds what lies open, and not what the device holds.
//!
//! `held_by_a_child` is the other process: this binary started once more, told by an environment
//! variable what to hold. Alone it does nothing.

mod common;

use std::env;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use common::{Model, Owner, clean, sim};
use split_custody_gpu::scan::{Needle, ScanReport, scan_process};
use split_custody_gpu::{Backing, GpuDevice, Load, harden};
use split_custody_weights::{SealedTable, SealedTensor, Threads};
use zeroize::Zeroize;

#[test]
fn rst_2_a_secret_that_lies_open_in_another_process_is_found() {
    let model = Model::real();
    let holder = Holder::start("open", &model);
    let report = holder.scan(&model).unwrap();
    assert!(report.found > 0);
    let found = |name: &str| report.findings.iter().any(|f| f.needle == name);
    assert!(found("dek"), "{report:?}");
    assert!(report.findings.iter().any(|f| f.needle != "dek"), "{report:?}");
}

#[test]
fn rst_5_a_loaded_model_and_its_key_are_found_nowhere_in_the_device_process() {
    let model = Model::real();
    let holder = Holder::start("device", &model);
    if holder.says != "secret" {
        println!("skipped: device memory is not hidden by this kernel: {}", holder.says);
        return;
    }
    let report = holder.scan(&model).unwrap();
    assert!(report.scanned > 1 << 20, "{report:?}");
    assert_eq!(report.found, 0, "{:?}", report.findings);
    let hidden = |u: &&split_custody_gpu::scan::Unreadable| u.region.path.contains("secretmem");
    let hidden: u64 = report.unreadable.iter().filter(hidden).map(|u| u.bytes).sum();
    assert!(hidden > 1 << 20, "the model is somewhere: {:?}", report.unreadable);
}

/// What [`harden`] is worth: it keeps this user out, and not root. Secret pages keep both out.
#[test]
fn rst_2_a_hardened_process_is_closed_to_its_own_user() {
    let model = Model::real();
    match Holder::start("hardened", &model).scan(&model) {
        Ok(report) => assert!(report.found > 0, "only root reads it: {report:?}"),
        Err(refused) => assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied),
    }
}

#[test]
fn rst_2_a_process_that_is_gone_is_an_error_and_not_a_clean_report() {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    assert!(scan_process(child.id(), &[]).is_err());
}

/// Another process that holds the model, until this is dropped.
struct Holder {
    child: Child,
    says: String,
    /// Keeps the child's output open: it would fail on a closed one.
    lines: Lines<BufReader<ChildStdout>>,
}

impl Holder {
    fn start(role: &str, model: &Model) -> Self {
        let folder = model.folder();
        fs::write(folder.join("dek"), model.dek.expose()).unwrap();
        fs::write(folder.join("table"), table_bytes(&model.table)).unwrap();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "held_by_a_child", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(FOLDER, folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let says = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| line.split_once(READY).map(|(_, says)| says.to_owned()));
        let says = says.expect("the child says when it is ready");
        Self { child, says, lines }
    }

    fn scan(&self, model: &Model) -> io::Result<ScanReport> {
        let mut needles = vec![Needle::new("dek", model.dek.expose())];
        let tensors = model.tensors().into_iter().map(|t| t.name);
        needles.extend(tensors.map(|name| Needle::new(name.clone(), model.bytes(&name))));
        assert!(needles.iter().map(Needle::windows).sum::<usize>() > 100);
        scan_process(self.child.id(), &needles)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // The end of its input ends the child.
        drop(self.child.stdin.take());
        self.lines.by_ref().for_each(drop);
        self.child.wait().unwrap();
    }
}

#[test]
fn held_by_a_child() {
    let (Ok(role), Ok(folder)) = (env::var(ROLE), env::var(FOLDER)) else {
        return;
    };
    let folder = Path::new(&folder);
    match role.as_str() {
        "open" => hold_open(folder),
        "hardened" => {
            println!("{}", harden());
            hold_open(folder);
        }
        "device" => hold_on_a_device(folder),
        other => panic!("no such role: {other}"),
    }
}

fn hold_open(folder: &Path) {
    let held = (fs::read(common::real_path()).unwrap(), fs::read(folder.join("dek")).unwrap());
    wait("open");
    drop(std::hint::black_box(held));
}

fn hold_on_a_device(folder: &Path) {
    let device = sim(&Owner::new());
    clean(&device);
    let mut dek = [0; 32];
    File::open(folder.join("dek")).unwrap().read_exact(&mut dek).unwrap();
    let slot = device.store_key(&dek).unwrap();
    dek.zeroize();
    let cancel = std::sync::atomic::AtomicBool::new(false);
    let load = Load {
        sealed: &folder.join("model.sealed.safetensors"),
        table: &table_from(&fs::read(folder.join("table")).unwrap()),
        dek: slot,
        threads: Threads::all(),
        cancel: &cancel,
        progress: &|_| {},
    };
    device.load(&load).unwrap();
    match device.backing() {
        Backing::MemfdSecret => wait("secret"),
        Backing::Anonymous { why } => wait(&why),
    }
}

/// Says that it is ready, and waits for the end of its input.
fn wait(says: &str) {
    println!("{READY}{says}");
    io::stdout().flush().unwrap();
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// The table as fixed-size records, for the way to the child.
fn table_bytes(table: &SealedTable) -> Vec<u8> {
    let mut out = [table.container, table.weights].concat();
    out.extend([table.version, table.data_offset].map(u64::to_be_bytes).concat());
    out.extend(table.root);
    for tensor in &table.tensors {
        out.extend(tensor.index.to_be_bytes());
        out.extend([tensor.offset, tensor.length].map(u64::to_be_bytes).concat());
        out.extend(tensor.salt);
        out.extend(tensor.commitment);
    }
    out
}

fn table_from(mut bytes: &[u8]) -> SealedTable {
    let mut table = SealedTable {
        container: take(&mut bytes),
        weights: take(&mut bytes),
        version: u64::from_be_bytes(take(&mut bytes)),
        data_offset: u64::from_be_bytes(take(&mut bytes)),
        root: take(&mut bytes),
        tensors: Vec::new(),
    };
    while !bytes.is_empty() {
        table.tensors.push(SealedTensor {
            index: u32::from_be_bytes(take(&mut bytes)),
            offset: u64::from_be_bytes(take(&mut bytes)),
            length: u64::from_be_bytes(take(&mut bytes)),
            salt: take(&mut bytes),
            commitment: take(&mut bytes),
        });
    }
    table
}

fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = bytes.split_first_chunk().unwrap();
    *bytes = rest;
    *taken
}

const ROLE: &str = "SPLIT_CUSTODY_TEST_ROLE";
const FOLDER: &str = "SPLIT_CUSTODY_TEST_FOLDER";
const READY: &str = "ready: ";
