//! What the tests share: the command, its one-line refusals, and a running deployment.
#![allow(dead_code)] // Each test binary takes what it needs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/silero_vad_16k.safetensors");

/// Runs `custody` with these arguments in this folder.
pub fn custody(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command.output().expect("the command runs")
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[track_caller]
pub fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}{}", stdout(output), stderr(output));
    stdout(output)
}

#[track_caller]
pub fn json(output: &Output) -> Value {
    let text = stdout(output);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("one JSON object: {e}: {text}"))
}

/// Exit code 1 and one line on stderr that says all of this.
#[track_caller]
pub fn refused(output: &Output, said: &[&str]) {
    let line = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!(line.lines().count(), 1, "one line: {line}");
    assert!(line.starts_with("error: "), "{line}");
    for part in said {
        assert!(line.contains(part), "`{part}` is missing: {line}");
    }
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder");
    let mut names: Vec<String> =
        names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into()).collect();
    names.sort();
    names
}

/// A safetensors file from its header and data.
pub fn safetensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

/// A folder with the keys of a deployment.
pub fn with_keys() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    good(&custody(folder.path(), &["keygen", "keys"]));
    folder
}

/// One running role, ended by its id.
pub struct Role {
    child: Child,
    pub ready: String,
    pub stderr: PathBuf,
}

impl Role {
    pub fn start(folder: &Path, name: &str, arguments: &[&str]) -> Self {
        let stderr = folder.join(format!("{name}.err"));
        let errors =
            fs::OpenOptions::new().append(true).create(true).open(&stderr).expect("a file");
        let mut child = Command::new(env!("CARGO_BIN_EXE_custody"))
            .current_dir(folder)
            .args(arguments)
            .args(["--die-with", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("the role starts");
        let mut ready = String::new();
        let out = child.stdout.as_mut().expect("piped");
        BufReader::new(out).read_line(&mut ready).expect("a line");
        Self { child, ready, stderr }
    }

    pub fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).expect("its stderr")
    }

    /// The first line of its stderr that says this, as soon as it is there.
    #[track_caller]
    pub fn line_with(&self, part: &str) -> String {
        let start = Instant::now();
        loop {
            if let Some(line) = self.said().lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            let said = self.said();
            assert!(start.elapsed() < Duration::from_secs(15), "`{part}` is missing: {said}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.end();
    }
}

/// Keys, a sealed model, three custodians that serve it, a node and a device.
pub struct Deployment {
    pub folder: TempDir,
    pub custodians: Vec<Role>,
    pub addresses: Vec<String>,
    pub node: Option<Role>,
    pub device: Option<Role>,
}

/// Terms as short as the demo's.
pub const TERMS: [&str; 10] = [
    "--first-ms",
    "1500",
    "--term-ms",
    "2000",
    "--ttl-max-ms",
    "2000",
    "--margin-ms",
    "50",
    "--gather-ms",
    "500",
];

impl Deployment {
    /// Custodians only, not yet provisioned.
    pub fn custodians() -> Self {
        Self::over(with_keys())
    }

    /// Custodians over the keys in this folder.
    pub fn over(folder: TempDir) -> Self {
        let mut deployment = Self {
            folder,
            custodians: Vec::new(),
            addresses: Vec::new(),
            node: None,
            device: None,
        };
        for id in 1..=3 {
            let role = deployment.custodian(id, "127.0.0.1:0");
            let (_, address) = role.ready.trim().rsplit_once(' ').expect("an address");
            deployment.addresses.push(format!("{id}={address}"));
            deployment.custodians.push(role);
        }
        deployment
    }

    /// Everything, with `model.sealed` provisioned and the device clean.
    pub fn serving() -> Self {
        let mut deployment = Self::custodians();
        good(&deployment.seal("model.sealed", &[]));
        good(&deployment.provision("model.sealed"));
        deployment.start_node();
        deployment.start_device();
        deployment
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        custody(self.path(), arguments)
    }

    /// The command with `--custodian ID=ADDR` for each custodian.
    pub fn run_with_custodians(&self, arguments: &[&str]) -> Output {
        let mut all = arguments.to_vec();
        for address in &self.addresses {
            all.extend(["--custodian", address]);
        }
        self.run(&all)
    }

    pub fn custodian(&self, id: u8, listen: &str) -> Role {
        let (dir, name) = (format!("keys/custodian-{id}"), format!("custodian-{id}"));
        Role::start(self.path(), &name, &["custodian", "--dir", &dir, "--listen", listen])
    }

    pub fn seal(&self, target: &str, more: &[&str]) -> Output {
        let mut arguments = vec!["seal", MODEL, target, "--keys", "keys"];
        arguments.extend(TERMS);
        arguments.extend(more);
        self.run(&arguments)
    }

    pub fn provision(&self, model: &str) -> Output {
        self.run_with_custodians(&["provision", model, "--keys", "keys"])
    }

    pub fn start_node(&mut self) {
        let mut arguments = vec!["node", "--dir", "keys/node", "--socket", "node.sock"];
        for address in &self.addresses {
            arguments.extend(["--custodian", address]);
        }
        self.node = Some(Role::start(self.folder.path(), "node", &arguments));
    }

    pub fn start_device(&mut self) {
        let arguments =
            ["device", "--dir", "keys/device-1", "--node", "node.sock", "--reserve-mb", "4"];
        self.device = Some(Role::start(self.folder.path(), "device", &arguments));
    }

    pub fn load(&self, model: &str) -> Output {
        self.run(&["load", model, "--device", "keys/device-1", "--replace"])
    }

    pub fn lease(&self) -> Value {
        json(&self.run(&["lease", "--device", "keys/device-1", "--json"]))
    }

    /// Every file of a sealed model under another name.
    pub fn copy_model(&self, from: &str, to: &str) {
        let sidecars = [".manifest", ".table", ".deployment"];
        for ending in [""].iter().chain(&sidecars) {
            let (from, to) = (format!("{from}{ending}"), format!("{to}{ending}"));
            fs::copy(self.path().join(from), self.path().join(to)).expect("copied");
        }
    }
}
