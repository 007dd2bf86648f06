//! What can be changed in the protocol without a test or a proof noticing?
//!
//! usage: mutate [--list] [--only TEXT]... [--kind KIND] [--missed FILE] [--jobs N] [--no-proofs]
//!               [--report FILE]
//!
//! `--only` and `--kind` choose; `--missed` takes what an earlier output says was missed.
//!
//! Every mutation is compiled into one program, behind a switch that an environment variable sets when
//! it starts: so a mutation costs a run, not a build. Each is run against the protocol's own tests, and
//! what they miss against `prove quick`. Works on a copy of the tree in `target/mutate`.
//!
//! One line of JSON per mutation: place, function, kind, text, outcome. Exit code 1 when a mutation
//! was missed that `protocol/survivors.toml` does not give a reason for, or a reason is out of date.

mod edit;
mod find;
mod run;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

use find::{Key, Mutation};
use run::Outcome;

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default)]
struct Options {
    list: bool,
    only: Vec<String>,
    kind: String,
    missed: Option<BTreeSet<Key>>,
    jobs: usize,
    no_proofs: bool,
    report: Option<String>,
}

fn main() -> ExitCode {
    match options().and_then(|options| mutate(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

fn options() -> Result<Options, Failure> {
    let mut options = Options { jobs: 2, ..Options::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--list" => options.list = true,
            "--no-proofs" => options.no_proofs = true,
            "--only" => options.only.push(value()?),
            "--kind" => options.kind = value()?,
            "--missed" => options.missed = Some(missed(&std::fs::read_to_string(value()?)?)?),
            "--jobs" => options.jobs = value()?.parse()?,
            "--report" => options.report = Some(value()?),
            _ => {
                return Err("usage: mutate [--list] [--only TEXT]... [--kind KIND] [--jobs N] \
                             [--no-proofs] [--report FILE]"
                    .into());
            }
        }
    }
    Ok(options)
}

fn mutate(options: &Options) -> Result<bool, Failure> {
    let tree = tree::Tree::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").as_path())?;
    let all = tree.mutations()?;
    if options.list {
        all.iter().filter(|m| wanted(m, options)).for_each(|m| println!("{}", m.line(None)));
        return Ok(true);
    }
    tree.copy()?;
    let programs = tree.build(&all, options.no_proofs)?;
    programs.check_unmutated()?;
    let chosen: Vec<&Mutation> =
        all.iter().filter(|m| programs.is_built(m) && wanted(m, options)).collect();
    eprintln!("{} of {} compile; {} are run", programs.built(), all.len(), chosen.len());
    let outcomes = programs.run_all(&chosen, options.jobs);
    let known = tree.survivors()?;
    let missed: BTreeSet<_> = std::iter::zip(&chosen, &outcomes)
        .filter(|(_, outcome)| **outcome == Outcome::Missed)
        .map(|(mutation, _)| mutation.key())
        .collect();
    let is_explained = |key: &Key| known.contains(key) || known.contains(&whole_function(key));
    let unexplained: Vec<_> = missed.iter().filter(|key| !is_explained(key)).collect();
    unexplained.iter().for_each(|key| eprintln!("missed, without a reason: {key:?}"));
    let complete = options.only.is_empty() && options.kind.is_empty() && options.missed.is_none();
    let is_used =
        |key: &Key| missed.contains(key) || missed.iter().any(|m| whole_function(m) == *key);
    let stale: Vec<_> = known.iter().filter(|key| complete && !is_used(key)).collect();
    stale.iter().for_each(|key| eprintln!("a reason, but it is noticed: {key:?}"));
    if let Some(file) = &options.report {
        std::fs::write(file, run::report(&all, &chosen, &outcomes))?;
    }
    Ok(unexplained.is_empty() && stale.is_empty())
}

/// The key of a reason for all that is missed in one function.
fn whole_function((file, function, _, _): &Key) -> Key {
    (file.clone(), function.clone(), "*".into(), "*".into())
}

fn wanted(mutation: &Mutation, options: &Options) -> bool {
    let line = mutation.line(None);
    mutation.kind.name().starts_with(&options.kind)
        && options.missed.as_ref().is_none_or(|missed| missed.contains(&mutation.key()))
        && (options.only.is_empty() || options.only.iter().any(|text| line.contains(text)))
}

/// What an earlier output says was missed.
fn missed(lines: &str) -> Result<BTreeSet<Key>, Failure> {
    let mut missed = BTreeSet::new();
    for line in lines.lines() {
        let said: serde_json::Value = serde_json::from_str(line)?;
        let field = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        if field("outcome") == "missed" {
            let place = field("place");
            let file = place.trim_start_matches("protocol/src/").split(':').next();
            let file = file.unwrap_or_default().to_owned();
            missed.insert((file, field("function"), field("kind"), field("text")));
        }
    }
    Ok(missed)
}
