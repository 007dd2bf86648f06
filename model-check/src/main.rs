//! `prove`: check, mutants, cex, export, replay. Exit codes: 0 good, 1 a check failed, 2 usage.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::{Parser, Subcommand, ValueEnum};

use split_custody_model_check::harness::{self, Verdict};
use split_custody_model_check::replay::replay;
use split_custody_model_check::report;
use split_custody_model_check::slice::Scope;
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
    /// Write the shortest counterexample of every double as JSON, with its story.
    Export { folder: PathBuf },
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
        Task::Check { scope, only, json } => Ok(check(scope, only.as_deref(), json)),
        task @ (Task::Mutants { .. } | Task::Cex { .. } | Task::Export { .. }) => doubles(&task),
        Task::Replay { folder, manifest, on_host_read } => {
            replay_folder(&folder, &manifest, on_host_read)
        }
    };
    outcome.unwrap_or_else(|line| {
        eprintln!("error: {line}");
        ExitCode::from(1)
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

fn check(scope: ScopeName, only: Option<&str>, json: bool) -> ExitCode {
    let started = Instant::now();
    let scope = match scope {
        ScopeName::Smoke => Scope::Smoke,
        ScopeName::Review => Scope::Review,
        ScopeName::Night => Scope::Night,
    };
    let results = harness::check(scope, only, threads());
    let seconds = started.elapsed().as_secs_f64();
    if json {
        print(&format!("{}\n", report::check_json(&results, seconds)));
    } else {
        print(&report::check_text(&results, seconds));
    }
    verdict(!results.is_empty() && results.iter().all(|r| r.verdict == Verdict::Held))
}

/// Doubles need machines that can leave rules out: this very package, built with `--cfg doubles`.
#[cfg(not(doubles))]
fn doubles(_: &Task) -> Result<ExitCode, String> {
    use std::env;
    use std::process::Command;

    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let target = env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("doubles")))
        .ok_or("cannot tell where this binary lies")?;
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
        .map_err(|error| format!("cannot run cargo to build the doubles: {error}"))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

#[cfg(doubles)]
fn doubles(task: &Task) -> Result<ExitCode, String> {
    use split_custody_model_check::doubles::double;
    use split_custody_model_check::story;

    let started = Instant::now();
    match task {
        Task::Mutants { only, json } => {
            let results = harness::mutants(only.as_deref(), threads());
            let seconds = started.elapsed().as_secs_f64();
            if *json {
                print(&format!("{}\n", report::mutants_json(&results, seconds)));
            } else {
                print(&report::mutants_text(&results, seconds));
            }
            let all = results.iter().all(|result| result.story.is_some());
            Ok(verdict(all && !results.is_empty()))
        }
        Task::Cex { double: name, mermaid } => {
            let double = double(name).ok_or_else(|| {
                let names: Vec<&str> =
                    split_custody_model_check::doubles::DOUBLES.iter().map(|d| d.name).collect();
                format!("no double `{name}`; there are: {}", names.join(", "))
            })?;
            let result = harness::mutants(Some(name), 1).pop().ok_or("no such double")?;
            let story = result.story.ok_or_else(|| format!("`{name}` survived: no story"))?;
            let (_, config, initial) = harness::staged(&double);
            split_custody_protocol::doubles::skip(double.rules);
            print(&if *mermaid {
                story::mermaid(&initial, &config, &story)
            } else {
                story::page(&double, &initial, &config, &story)
            });
            Ok(ExitCode::SUCCESS)
        }
        Task::Export { folder } => {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            let results = harness::mutants(None, threads());
            for result in &results {
                let Some(story) = &result.story else { continue };
                let (_, config, initial) = harness::staged(&result.double);
                split_custody_protocol::doubles::skip(result.double.rules);
                let told = story::tell(&initial, &config, story);
                let value = serde_json::json!({
                    "double": result.double.name,
                    "slice": result.double.slice,
                    "breaks": result.double.killed_by,
                    "actions": story,
                    "story": told,
                });
                let path = folder.join(format!("{}.json", result.double.name));
                let text = serde_json::to_string_pretty(&value).map_err(|e| e.to_string())?;
                fs::write(&path, text + "\n").map_err(|e| format!("{}: {e}", path.display()))?;
            }
            print(&format!("{} stories in {}\n", results.len(), folder.display()));
            Ok(verdict(results.iter().all(|result| result.story.is_some())))
        }
        _ => Err("not a task of doubles".into()),
    }
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
