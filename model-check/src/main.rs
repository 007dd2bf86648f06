//! `prove`: check, mutants, cex, export, replay. Exit codes: 0 good, 1 a check failed, 2 usage.

#[cfg(doubles)]
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};

#[cfg(doubles)]
use split_custody_model_check::attacks;
use split_custody_model_check::doubles::{DOUBLES, Double, double};
use split_custody_model_check::harness;
#[cfg(doubles)]
use split_custody_model_check::harness::DoubleResult;
#[cfg(doubles)]
use split_custody_model_check::property::property;
use split_custody_model_check::replay::replay;
use split_custody_model_check::report;
use split_custody_model_check::slice::Scope;
#[cfg(doubles)]
use split_custody_model_check::story;
#[cfg(doubles)]
use split_custody_model_check::trace::Trace;
#[cfg(doubles)]
use split_custody_model_check::world::Facts;
use split_custody_model_check::world::Setup;
use split_custody_protocol::reset::OnHostRead;
use split_custody_protocol::trace::Entry;
use split_custody_protocol::wire::decode;
use split_custody_protocol::wire::manifest::Manifest;
use split_custody_protocol::wire::signed::Signed;

/// Proves the protocol's own machines in a hostile world, and shows that each proof can fail.
#[derive(Parser)]
#[command(name = "prove", version)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Prove every property on every slice of a scope.
    Check {
        #[arg(long, value_enum, default_value_t = ScopeName::Smoke)]
        scope: ScopeName,
        /// Only properties whose id contains this.
        #[arg(long)]
        only: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Leave out each rule in turn: every broken double must be caught by its property.
    Mutants {
        /// Only this double.
        #[arg(long)]
        only: Option<String>,
        #[arg(long)]
        json: bool,
    },
    /// Tell the shortest counterexample of a broken double.
    Cex {
        double: String,
        /// Print a Mermaid sequence diagram instead.
        #[arg(long)]
        mermaid: bool,
    },
    /// Write the shortest counterexample of every double as a trace that can be replayed.
    Export { folder: PathBuf },
    /// Write a page for each double, and the list of known attacks.
    Attacks {
        folder: PathBuf,
        /// Write nothing; fail where a page is old.
        #[arg(long)]
        check: bool,
    },
    /// Compare the intruder with its eager twin, with all rules and without some.
    Twins,
    /// Replay the event logs of one run (`*.jsonl` of a folder) against the world.
    Replay {
        folder: PathBuf,
        /// The manifest that the run used.
        #[arg(long)]
        manifest: PathBuf,
        #[arg(long, value_enum, default_value_t = Reaction::Reset)]
        on_host_read: Reaction,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum ScopeName {
    Smoke,
    Review,
    Night,
}

#[derive(Clone, Copy, ValueEnum)]
enum Reaction {
    Block,
    Reset,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Task::Check { scope, only, json } => check(scope, only.as_deref(), json),
        task @ (Task::Mutants { .. }
        | Task::Cex { .. }
        | Task::Export { .. }
        | Task::Attacks { .. }
        | Task::Twins) => doubles(&task),
        Task::Replay { folder, manifest, on_host_read } => {
            replay_folder(&folder, &manifest, on_host_read).map_err(Fault::Check)
        }
    };
    outcome.unwrap_or_else(|fault| {
        let (line, code) = match fault {
            Fault::Check(line) => (line, 1),
            Fault::Usage(line) => (line, 2),
        };
        eprintln!("error: {line}");
        ExitCode::from(code)
    })
}

/// Why a task was not done.
enum Fault {
    /// A check failed, or an input is bad.
    Check(String),
    /// Nothing bears that name.
    Usage(String),
}

fn known_double(name: &str) -> Result<Double, Fault> {
    double(name).ok_or_else(|| {
        let names: Vec<&str> = DOUBLES.iter().map(|double| double.name).collect();
        Fault::Usage(format!("no double `{name}`; there are: {}", names.join(", ")))
    })
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Prints without dying of a closed pipe.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn verdict(good: bool) -> ExitCode {
    if good { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn check(scope: ScopeName, only: Option<&str>, json: bool) -> Result<ExitCode, Fault> {
    if cfg!(doubles) {
        return Err(Fault::Usage("a build that can leave rules out proves nothing".into()));
    }
    let started = Instant::now();
    let scope = match scope {
        ScopeName::Smoke => Scope::Smoke,
        ScopeName::Review => Scope::Review,
        ScopeName::Night => Scope::Night,
    };
    let results = harness::check(scope, only, threads());
    if results.is_empty() {
        let only = only.unwrap_or_default();
        return Err(Fault::Usage(format!("no property of this scope has `{only}` in its id")));
    }
    let seconds = started.elapsed().as_secs_f64();
    if json {
        print(&format!("{}\n", report::check_json(&results, seconds)));
    } else {
        print(&report::check_text(&results, seconds));
    }
    Ok(verdict(harness::passed(&results)))
}

/// Doubles need machines that can leave rules out: this very package, built with `--cfg doubles`.
#[cfg(not(doubles))]
fn doubles(task: &Task) -> Result<ExitCode, Fault> {
    use std::env;
    use std::process::Command;

    // Before anything is built for a name that nothing bears.
    if let Task::Cex { double, .. } | Task::Mutants { only: Some(double), .. } = task {
        known_double(double)?;
    }

    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let target = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("doubles")))
        .ok_or_else(|| Fault::Check("cannot tell where this binary lies".into()))?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["run", "--quiet", "--release", "--features", "search", "--bin", "prove"])
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(target)
        .arg("--")
        .args(env::args_os().skip(1))
        .env("RUSTFLAGS", "--cfg doubles")
        .status()
        .map_err(|error| Fault::Check(format!("cannot run cargo to build the doubles: {error}")))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

#[cfg(doubles)]
fn doubles(task: &Task) -> Result<ExitCode, Fault> {
    let started = Instant::now();
    match task {
        Task::Mutants { only, json } => {
            if let Some(name) = only {
                known_double(name)?;
            }
            let results = harness::mutants(only.as_deref(), threads());
            let seconds = started.elapsed().as_secs_f64();
            if *json {
                print(&format!("{}\n", report::mutants_json(&results, seconds)));
            } else {
                print(&report::mutants_text(&results, seconds));
            }
            Ok(verdict(!results.is_empty() && results.iter().all(DoubleResult::killed)))
        }
        Task::Cex { double, mermaid } => counterexample(&known_double(double)?, *mermaid),
        Task::Export { folder } => export(folder),
        Task::Attacks { folder, check } => attacks(folder, *check),
        Task::Twins => Ok(twins()),
        _ => Err(Fault::Usage("not a task of doubles".into())),
    }
}

#[cfg(doubles)]
fn counterexample(double: &Double, as_diagram: bool) -> Result<ExitCode, Fault> {
    let result = harness::run_double(double);
    let story = result.story.ok_or_else(|| {
        Fault::Check(format!("`{}` survived: nothing breaks `{}`", double.name, double.killed_by))
    })?;
    // Told with the rules left out, as it was found.
    split_custody_protocol::doubles::skip(double.rules);
    let (slice, config, initial) = double.staged(Facts::default());
    let lines = story::tell(&initial, &config, &story);
    let ending = property(double.killed_by).map_or("", |property| property.broken);
    print(&if as_diagram {
        story::mermaid(&lines, ending)
    } else {
        story::page(double, &slice, &lines)
    });
    Ok(ExitCode::SUCCESS)
}

/// One file a double; a file of a double that is gone stays, for git to show.
#[cfg(doubles)]
fn export(folder: &PathBuf) -> Result<ExitCode, Fault> {
    let at = |path: &PathBuf, error| Fault::Check(format!("{}: {error}", path.display()));
    fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
    let results = harness::mutants(None, threads());
    for result in &results {
        let Some(actions) = &result.story else { continue };
        let trace = Trace {
            double: result.double.name.to_owned(),
            property: result.double.killed_by.to_owned(),
            slice: result.double.slice.to_owned(),
            broken: result.double.broken(),
            actions: actions.clone(),
        };
        let path = folder.join(format!("{}.json", trace.double));
        fs::write(&path, trace.to_json()).map_err(|error| at(&path, error))?;
    }
    print(&format!("{} traces in {}\n", results.len(), folder.display()));
    Ok(verdict(results.iter().all(DoubleResult::killed)))
}

/// The pages of `docs/attacks`: one a double, and their index.
#[cfg(doubles)]
fn attacks(folder: &std::path::Path, check: bool) -> Result<ExitCode, Fault> {
    let mut pages = BTreeMap::new();
    let results = harness::mutants(None, threads());
    for result in &results {
        let Some(actions) = &result.story else { continue };
        split_custody_protocol::doubles::skip(result.double.rules);
        let (slice, config, initial) = result.double.staged(Facts::default());
        let lines = story::tell(&initial, &config, actions);
        let page = attacks::attack_page(&result.double, &slice, &lines);
        pages.insert(format!("{}.md", result.double.name), page);
    }
    let steps = |name: &str| {
        let result = results.iter().find(|result| result.double.name == name)?;
        result.story.as_ref().map(Vec::len)
    };
    pages.insert("README.md".to_owned(), attacks::index(steps));
    let at = |path: &std::path::Path, error| Fault::Check(format!("{}: {error}", path.display()));
    for (name, page) in &pages {
        let path = folder.join(name);
        if !check {
            fs::create_dir_all(folder).map_err(|error| at(folder, error))?;
            fs::write(&path, page).map_err(|error| at(&path, error))?;
        } else if fs::read_to_string(&path).ok().as_ref() != Some(page) {
            let path = path.display();
            return Err(Fault::Check(format!("{path} is old: cargo prove attacks docs/attacks")));
        }
    }
    print(&format!("{} pages in {}\n", pages.len(), folder.display()));
    Ok(verdict(results.iter().all(DoubleResult::killed)))
}

/// The intruder and its twin bring about the same worlds where every rule holds, and the same
/// attacks where one is left out.
#[cfg(doubles)]
fn twins() -> ExitCode {
    use split_custody_model_check::intruder::twin::{compare, smallest};
    use split_custody_protocol::Rule;

    let sets: [&[Rule]; 9] = [
        &[],
        &[Rule::HS_10],
        &[Rule::HS_12],
        &[Rule::HS_11, Rule::HS_12],
        &[Rule::HS_14],
        &[Rule::HS_16],
        &[Rule::REL_7],
        &[Rule::REV_2],
        &[Rule::LEA_8],
    ];
    let mut good = true;
    for rules in sets {
        split_custody_protocol::doubles::skip(rules);
        for slice in smallest() {
            let compared = compare(&slice);
            let agree =
                if rules.is_empty() { compared.agree() } else { compared.agree_on_attacks() };
            good &= agree;
            let without: Vec<&str> = rules.iter().map(|rule| rule.id()).collect();
            let without = if rules.is_empty() { "-".into() } else { without.join(" ") };
            print(&format!(
                "{:<9} {:<21} without {without:<12} oracle {:>5} states {:>5} steps, twin {:>5} and \
                 {:>5}; attacks {} and {}\n",
                if agree { "agree" } else { "DIFFER" },
                compared.slice,
                compared.lazy.unique,
                compared.lazy.generated,
                compared.eager.unique,
                compared.eager.generated,
                compared.lazy.broken.count(),
                compared.eager.broken.count(),
            ));
        }
    }
    verdict(good)
}

fn replay_folder(
    folder: &PathBuf,
    manifest: &PathBuf,
    reaction: Reaction,
) -> Result<ExitCode, String> {
    let at = |path: &PathBuf, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = fs::read(manifest).map_err(|e| at(manifest, &e))?;
    let signed: Signed = decode(&bytes, Signed::CAP + 128).map_err(|e| at(manifest, &e))?;
    let body: Manifest = signed.payload().map_err(|e| at(manifest, &e))?;
    let on_host_read = match reaction {
        Reaction::Block => OnHostRead::Block,
        Reaction::Reset => OnHostRead::Reset,
    };
    let mut logs = Vec::new();
    for file in fs::read_dir(folder).map_err(|e| at(folder, &e))? {
        let path = file.map_err(|e| at(folder, &e))?.path();
        if path.extension().is_none_or(|ending| ending != "jsonl") {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(|e| at(&path, &e))?;
        let line = |line| serde_json::from_str::<Entry>(line);
        let log: Result<Vec<Entry>, _> = text.lines().map(line).collect();
        logs.push(log.map_err(|e| at(&path, &e))?);
    }
    match replay(&logs, &Setup::of_manifest(&body, on_host_read)) {
        Ok(fits) => {
            print(&format!("{} events fit, {} distinct frames\n", fits.events, fits.frames));
            Ok(ExitCode::SUCCESS)
        }
        Err(mismatch) => Err(mismatch.to_string()),
    }
}
