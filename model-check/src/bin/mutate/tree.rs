//! A copy of the tree with every mutation in it, each behind its switch.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;
use crate::edit::apply;
use crate::find::{Key, Mutation, mutations};
use crate::run::Programs;

/// Files of no behaviour of their own: how rules are enforced and named, and what recorders read.
const SKIPPED: [&str; 4] = ["require.rs", "error.rs", "trace.rs", "lib.rs"];

/// What switches a mutation on: the program reads it once.
pub const SWITCH: &str = "SPLIT_CUSTODY_MUTANT";

const MUTANT: &str = "
#[doc(hidden)]
pub mod mutant {
    extern crate std;
    static ON: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    /// Whether this mutation is on.
    pub fn on(number: usize) -> bool {
        let read = || std::env::var(\"SPLIT_CUSTODY_MUTANT\").ok()?.parse().ok();
        *ON.get_or_init(|| read().unwrap_or(usize::MAX)) == number
    }
}
";

pub struct Tree {
    root: PathBuf,
    copy: PathBuf,
    sources: Vec<(String, String)>,
}

impl Tree {
    /// The sources of the protocol under a root.
    pub fn open(root: &Path) -> Result<Self, Failure> {
        let root = root.canonicalize()?;
        let target =
            std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from);
        let copy = target.join("mutate");
        let mut sources = Vec::new();
        read_all(&root.join("protocol/src"), "", &mut sources)?;
        Ok(Self { root, copy, sources })
    }

    /// Copies what git knows of, and what it would.
    pub fn copy(&self) -> Result<(), Failure> {
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&self.root)
            .output()?;
        let _ = fs::remove_dir_all(self.copy.join("tree"));
        for name in String::from_utf8(listed.stdout)?.split('\0').filter(|name| !name.is_empty()) {
            let (from, to) = (self.root.join(name), self.copy.join("tree").join(name));
            if from.is_file() {
                fs::create_dir_all(to.parent().ok_or("a file in a folder")?)?;
                fs::copy(from, to)?;
            }
        }
        Ok(())
    }

    pub fn mutations(&self) -> Result<Vec<Mutation>, Failure> {
        let mut all = Vec::new();
        for (name, text) in &self.sources {
            if !SKIPPED.contains(&name.as_str()) {
                all.extend(mutations(name, text, all.len())?);
            }
        }
        Ok(all)
    }

    /// The programs that have all of the mutations that compile. Those that do not are left out, build
    /// by build, by the lines that the compiler names.
    pub fn build(&self, all: &[Mutation], no_proofs: bool) -> Result<Programs, Failure> {
        let mut left_out = BTreeSet::new();
        for _ in 0..BUILDS {
            self.write(all, &left_out)?;
            let (wrong, executables) =
                self.compile(&["test", "--no-run", "--lib", "--test", "all"])?;
            if wrong.is_empty() {
                let (_, proofs) = match no_proofs {
                    true => Default::default(),
                    false => self.compile(&PROVE)?,
                };
                let proofs = (!no_proofs).then(|| proofs.get("prove").cloned().ok_or("no prove"));
                let folder = self.copy.join("tree/protocol");
                return Programs::new(folder, all, &left_out, executables, proofs.transpose()?);
            }
            let touched = |m: &&Mutation| {
                wrong.iter().any(|(file, line)| *file == m.file && m.lines.contains(line))
            };
            let before = left_out.len();
            left_out.extend(all.iter().filter(touched).map(|m| m.number));
            eprintln!("{} mutations do not compile so far", left_out.len());
            if left_out.len() == before {
                return Err(format!("does not compile, and no mutation is why: {wrong:?}").into());
            }
        }
        Err("too many builds failed".into())
    }

    fn write(&self, all: &[Mutation], left_out: &BTreeSet<usize>) -> Result<(), Failure> {
        for (name, text) in &self.sources {
            let of_file = |m: &&Mutation| m.file == *name && !left_out.contains(&m.number);
            let wraps: Vec<_> = all.iter().filter(of_file).map(|m| &m.wrap).collect();
            let mut mutated = apply(text, &wraps);
            if name == "lib.rs" {
                mutated.push_str(MUTANT);
            }
            fs::write(self.copy.join("tree/protocol/src").join(name), mutated)?;
        }
        Ok(())
    }

    /// The lines of the protocol that do not compile, or the programs.
    fn compile(&self, arguments: &[&str]) -> Result<Built, Failure> {
        let package = if arguments[0] == "test" {
            "split-custody-protocol"
        } else {
            "split-custody-model-check"
        };
        let done = Command::new("cargo")
            .args(arguments)
            .args(["--release", "--package", package, "--message-format", "json", "--config"])
            .arg("profile.release.debug=0")
            .current_dir(self.copy.join("tree"))
            .env("CARGO_TARGET_DIR", self.copy.join("target"))
            .env("RUSTFLAGS", "--cap-lints allow")
            .stderr(Stdio::null())
            .output()?;
        let (mut wrong, mut executables) = (BTreeSet::new(), BTreeMap::new());
        for line in String::from_utf8(done.stdout)?.lines() {
            let message: Value = serde_json::from_str(line)?;
            if message["message"]["level"] == "error" {
                let spans = message["message"]["spans"].as_array().into_iter().flatten();
                wrong.extend(spans.filter(|span| span["is_primary"] == true).filter_map(place));
            }
            if let Some(path) = message["executable"].as_str() {
                let name = message["target"]["name"].as_str().unwrap_or_default();
                executables.insert(name.to_owned(), PathBuf::from(path));
            }
        }
        if !done.status.success() && wrong.is_empty() {
            return Err(format!("cargo {arguments:?} failed in {}", self.copy.display()).into());
        }
        Ok((wrong, executables))
    }

    /// The mutations that have a reason why nothing notices them.
    pub fn survivors(&self) -> Result<BTreeSet<Key>, Failure> {
        let text = fs::read_to_string(self.root.join("protocol/survivors.toml"))?;
        Ok(survivors(&text))
    }
}

/// Lines that do not compile, and programs by the name of their target.
type Built = (BTreeSet<(String, usize)>, BTreeMap<String, PathBuf>);

/// Where a message of the compiler points to, in `protocol/src`.
fn place(span: &Value) -> Option<(String, usize)> {
    let file = span["file_name"].as_str()?.strip_prefix("protocol/src/")?;
    Some((file.to_owned(), span["line_start"].as_u64()? as usize))
}

/// `protocol/survivors.toml`: tables of strings, and no more of TOML than that.
fn survivors(text: &str) -> BTreeSet<Key> {
    let tables = text.split("[[survivor]]").skip(1).map(|table| {
        let field = |name: &str| {
            let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            let quoted = line.unwrap_or_default();
            serde_json::from_str::<String>(quoted).unwrap_or_else(|_| {
                quoted.trim_matches('\'').to_owned() // a literal string
            })
        };
        let file = field("file").trim_start_matches("protocol/src/").to_owned();
        (file, field("function"), field("kind"), field("text"))
    });
    tables.collect()
}

fn read_all(folder: &Path, under: &str, out: &mut Vec<(String, String)>) -> Result<(), Failure> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().map_err(|_| "a name that is no text")?;
        let name = if under.is_empty() { name } else { format!("{under}/{name}") };
        if entry.path().is_dir() {
            read_all(&entry.path(), &name, out)?;
        } else if name.ends_with(".rs") {
            out.push((name, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

const PROVE: [&str; 5] = ["build", "--features", "search", "--bin", "prove"];
const BUILDS: usize = 12;
