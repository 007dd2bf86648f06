//! The tasks that leave something out: only in a build with `--cfg doubles`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use split_custody_model_check::attacks;
use split_custody_model_check::doubles::{DOUBLES, Double, covered};
use split_custody_model_check::explore::Explored;
use split_custody_model_check::harness::{self, DoubleResult};
use split_custody_model_check::intruder::twin::{compare, smallest};
use split_custody_model_check::property::property;
use split_custody_model_check::report;
use split_custody_model_check::search::Search;
use split_custody_model_check::slice::{Scope, Start, slices};
use split_custody_model_check::story;
use split_custody_model_check::trace::Trace;
use split_custody_model_check::world::Facts;
use split_custody_protocol::Rule;
use split_custody_protocol::transcript::Field;

use crate::{Fault, ScopeName, Task, known_double, print, threads, verdict};

pub fn run(task: &Task) -> Result<ExitCode, Fault> {
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
        Task::Export { folder, .. } => export(folder),
        Task::Attacks { folder, check } => attacks(folder, *check),
        Task::Twins => Ok(twins()),
        Task::Without { names, slice, scope } => without(names, slice.as_deref(), *scope),
        Task::Singles { only, below } => Ok(singles(only.as_deref(), *below)),
        Task::Explore { double: Some(name), address, .. } => explore(&known_double(name)?, address),
        _ => Err(Fault::Usage("not a task of doubles".into())),
    }
}

fn counterexample(double: &Double, as_diagram: bool) -> Result<ExitCode, Fault> {
    let result = harness::run_double(double);
    let story = result.story.ok_or_else(|| {
        Fault::Check(format!("`{}` survived: nothing breaks `{}`", double.name, double.killed_by))
    })?;
    // Told with the rules left out, as it was found.
    double.leave_out();
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

/// The Explorer on a double, with the property that must break.
fn explore(double: &Double, address: &str) -> Result<ExitCode, Fault> {
    let owner = property(double.killed_by)
        .ok_or_else(|| Fault::Check(format!("`{}` has no property", double.name)))?;
    let (_, config, initial) = double.staged(Facts::only(owner.never));
    let (skipped, left_out) = (double.rules.to_vec(), double.fields.to_vec());
    let search = Search { config, initial, skipped, left_out, cap: usize::MAX };
    crate::serve(Explored { search, watched: owner.id }, address)
}

/// One file a double; a file of a double that is gone stays, for git to show.
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
            said: Vec::new(),
            frames: BTreeSet::new(),
            terms: BTreeSet::new(),
            repeats: BTreeMap::new(),
        }
        .told(&result.double);
        let path = folder.join(format!("{}.json", trace.double));
        fs::write(&path, trace.to_json()).map_err(|error| at(&path, error))?;
    }
    print(&format!("{} traces in {}\n", results.len(), folder.display()));
    Ok(verdict(results.iter().all(DoubleResult::killed)))
}

/// The pages of `docs/attacks`: one a double, and their index.
fn attacks(folder: &Path, check: bool) -> Result<ExitCode, Fault> {
    let mut pages = BTreeMap::new();
    let results = harness::mutants(None, threads());
    for result in &results {
        let Some(actions) = &result.story else { continue };
        result.double.leave_out();
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
    let at = |path: &Path, error| Fault::Check(format!("{}: {error}", path.display()));
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

fn left_out(names: &[String]) -> Result<harness::LeftOut, Fault> {
    let mut left_out = harness::LeftOut::default();
    for name in names {
        let rule = Rule::ALL.iter().find(|rule| rule.id() == name);
        let field = Field::ALL.iter().find(|field| format!("{field:?}") == *name);
        if rule.is_none() && field.is_none() {
            return Err(Fault::Usage(format!("no rule and no field is called `{name}`")));
        }
        left_out.rules.extend(rule);
        left_out.fields.extend(field);
    }
    Ok(left_out)
}

fn without(names: &[String], slice: Option<&str>, scope: ScopeName) -> Result<ExitCode, Fault> {
    let left_out = left_out(names)?;
    let chosen: Vec<_> = slices()
        .into_iter()
        .filter(|of| {
            of.scope <= Scope::from(scope) && slice.is_none_or(|part| of.name.contains(part))
        })
        .collect();
    let mut survived = true;
    for result in harness::without(&left_out, &chosen, threads()) {
        survived &= result.broken.is_empty() && result.exhaustive;
        print(&report::without_line(&result));
    }
    Ok(verdict(survived))
}

/// Each rule and field alone, against the list of those that others cover.
fn singles(only: Option<&str>, below: usize) -> ExitCode {
    let smoke = slices().into_iter().filter(|of| of.scope == Scope::Smoke);
    let smoke: Vec<_> = smoke.filter(|of| harness::cost(of) <= below).collect();
    // A field is bound while grants are made; where the device serves already, they were.
    let clean: Vec<_> = smoke.iter().filter(|of| of.start == Start::Clean).cloned().collect();
    let rules = Rule::ALL.iter().map(|rule| rule.id().to_owned());
    let fields = Field::ALL.iter().map(|field| format!("{field:?}"));
    let mut as_listed = true;
    for name in rules.chain(fields).filter(|name| only.is_none_or(|only| name.contains(only))) {
        let left_out = left_out(std::slice::from_ref(&name)).expect("a known name");
        if let Some(double) = alone(&left_out) {
            print(&format!("{:<9} without {name:<20} see double {}\n", "killed", double.name));
            continue;
        }
        let chosen = if left_out.rules.is_empty() { &clean } else { &smoke };
        let results = harness::without(&left_out, chosen, threads());
        let nearest = results.iter().filter(|r| !r.broken.is_empty()).min_by_key(|r| r.steps);
        let reason = covered(&name);
        let truncated = results.iter().find(|r| r.broken.is_empty() && !r.exhaustive);
        let (word, line) = match (nearest, reason, truncated) {
            (Some(killed), None, _) => ("killed", report::killed_line(killed)),
            (Some(killed), Some(_), _) => ("LISTED", report::killed_line(killed)),
            (None, _, Some(cut)) => ("TRUNCATED", cut.slice.to_owned()),
            (None, Some(reason), None) => ("survives", reason.to_owned()),
            (None, None, None) => ("SURVIVES", "and no reason is listed".to_owned()),
        };
        as_listed &= matches!(word, "killed" | "survives");
        print(&format!("{word:<9} without {name:<20} {line}\n"));
    }
    verdict(as_listed)
}

/// The double that leaves out just this, and lies about nothing.
fn alone(left_out: &harness::LeftOut) -> Option<&'static Double> {
    DOUBLES.iter().find(|double| {
        let plain = double.lie.is_none() && double.margin.is_none();
        plain && double.rules == left_out.rules && double.fields == left_out.fields
    })
}

/// The intruder and its twin bring about the same worlds where every rule holds, and the same
/// attacks where one is left out.
fn twins() -> ExitCode {
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
