//! `custody bench prove`: what a search costs, beside another checker on the same model.
//!
//! Two-phase commit, packed into one word, beside Spin: the same guarded actions, and the same number
//! of unique states or no figure. Then this project's own world on two slices.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use split_custody_model_check::harness::{self, Bound};
use split_custody_model_check::slice::{Scope, slice};
use split_custody_model_check::two_phase::{Counts, Order, TwoPhase};
use split_custody_weights::bench::Peak;

use super::measure::{cpu_of, load};
use crate::args::BenchProveArgs;
use crate::failure::Failure;

pub fn prove(args: &BenchProveArgs) -> Result<(), Failure> {
    let model = TwoPhase::new(args.managers)
        .ok_or_else(|| Failure::Usage("--managers: 1 to 8 of them are modelled".into()))?;
    let mut report = Report { managers: args.managers, rows: Vec::new(), notes: Vec::new() };
    let mut counts: Option<Counts> = None;
    for repeat in 0..args.repeats.max(1) {
        for order in [Order::Depth, Order::Breadth] {
            let (ours, row) = packed(&model, order)?;
            if *counts.get_or_insert(ours) != ours {
                return Err(Failure::refused("the model has another number of states each time"));
            }
            report.keep(repeat, row);
        }
        for order in [Order::Depth, Order::Breadth] {
            match spin(&model, order, counts.map_or(0, |c| c.unique)) {
                Ok((theirs, row)) => {
                    agree(counts, theirs)?;
                    report.keep(repeat, row);
                }
                Err(Absent(why)) => report.note(format!("{}: not run: {why}", spin_name(order))),
            }
        }
        for name in SLICES {
            report.keep(repeat, world(name)?);
        }
    }
    report.print(args.json, counts);
    Ok(())
}

/// One search's figures.
#[derive(Clone)]
struct Row {
    name: String,
    unique: usize,
    cpu: f64,
    /// Bytes of memory at the most, in all.
    bytes: Option<u64>,
}

/// Why a figure is missing; it is said, and ends nothing.
struct Absent(String);

impl<E: std::fmt::Display> From<E> for Absent {
    fn from(error: E) -> Self {
        Self(error.to_string().replace('\n', " "))
    }
}

fn packed(model: &TwoPhase, order: Order) -> Result<(Counts, Row), Failure> {
    let (before, peak) = (cpu_of("self")?, Peak::start());
    let counts = model.search(order);
    if !counts.holds {
        return Err(Failure::refused("two-phase commit is broken: the model is wrong"));
    }
    let cpu = cpu_of("self")?.own - before.own;
    let name = format!("2PC, packed, {}", shape(order));
    Ok((counts, Row { name, unique: counts.unique, cpu, bytes: peak.grown() }))
}

fn world(name: &str) -> Result<Row, Failure> {
    let slice = slice(name).ok_or_else(|| Failure::refused("the model has no such slice"))?;
    let (before, peak) = (cpu_of("self")?, Peak::start());
    let result = harness::prove(&slice, Bound::of(Scope::Smoke));
    let cpu = cpu_of("self")?.own - before.own;
    if !result.found.exhaustive || result.pin_broken.is_some() {
        return Err(Failure::refused(format!("slice {name}: not proved, so not measured")));
    }
    let name = format!("our world, {name}, depth first");
    Ok(Row { name, unique: result.found.unique, cpu, bytes: peak.grown() })
}

/// Translates, compiles and runs the same model; its compiler's time is not counted.
fn spin(model: &TwoPhase, order: Order, states: usize) -> Result<(Counts, Row), Absent> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("model.pml"), model.promela())?;
    let within = |program: &str, args: &[&str]| run(folder.path(), program, args);
    within("spin", &["-a", "model.pml"])?;
    let flags = ["-O2", "-DSAFETY", "-DNOREDUCE", "-DMEMLIM=8192", "-o", "pan", "pan.c"];
    let breadth: &[&str] = if order == Order::Breadth { &["-DBFS"] } else { &[] };
    within("cc", &[&flags[..], breadth].concat())?;
    let before = cpu_of("self").map_err(|f| f.text().to_owned())?.children;
    let pan = folder.path().join("pan");
    // No state is deeper than there are states.
    let depth = format!("-m{}", states + 10);
    let said = within(&pan.display().to_string(), &[&depth, "-n"])?;
    let cpu = cpu_of("self").map_err(|f| f.text().to_owned())?.children - before;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    let number = |what: &str| {
        let line = said.lines().find(|line| line.contains(what))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    let missing = || Absent("its report is not understood".into());
    let counts = Counts {
        unique: number("states, stored").ok_or_else(missing)? as usize,
        generated: number("transitions (= stored+matched)").ok_or_else(missing)? as usize,
        holds: said.contains("errors: 0"),
    };
    let bytes = number("total actual memory usage").map(|mib| (mib * 1_048_576.0) as u64);
    Ok((counts, Row { name: spin_name(order), unique: counts.unique, cpu, bytes }))
}

fn run(folder: &Path, program: &str, args: &[&str]) -> Result<Output, Absent> {
    let output = Command::new(program).args(args).current_dir(folder).output();
    let output = output.map_err(|e| Absent(format!("cannot start `{program}`: {e}")))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or("it said nothing").to_owned();
    Err(Absent(format!("`{program}` failed: {first}")))
}

/// Two descriptions of one model have the same states and the same transitions.
fn agree(ours: Option<Counts>, theirs: Counts) -> Result<(), Failure> {
    if ours == Some(theirs) {
        return Ok(());
    }
    Err(Failure::refused(format!("Spin's counts are others than ours: {theirs:?}, not {ours:?}")))
}

fn spin_name(order: Order) -> String {
    format!("2PC, Spin, {}", shape(order))
}

const fn shape(order: Order) -> &'static str {
    match order {
        Order::Depth => "depth first",
        Order::Breadth => "breadth first",
    }
}

struct Report {
    managers: u32,
    /// All repeats of each search, in the order of the first.
    rows: Vec<Vec<Row>>,
    notes: Vec<String>,
}

impl Report {
    fn keep(&mut self, repeat: u32, row: Row) {
        match self.rows.iter_mut().find(|rows| rows.iter().any(|r| r.name == row.name)) {
            Some(rows) if repeat > 0 => rows.push(row),
            _ => self.rows.push(vec![row]),
        }
    }

    fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn print(&self, json: bool, counts: Option<Counts>) {
        let figures: Vec<Figure> = self.rows.iter().filter_map(|rows| Figure::of(rows)).collect();
        if json {
            let rows: Vec<Value> = figures.iter().map(Figure::json).collect();
            say!("{}", json!({ "load": load(), "searches": rows, "not_run": self.notes }));
            return;
        }
        let (unique, generated) = counts.map_or((0, 0), |c| (c.unique, c.generated));
        say!(
            "load average {}; two-phase commit of {} managers: {unique} states, {generated} transitions\n",
            load(),
            self.managers
        );
        say!("{:<44} {:>10} {:>22} {:>12}", "", "unique", "states a CPU second", "bytes a state");
        say!("{:<44} {:>10} {:>11} {:>10}", "search", "states", "median", "best");
        for figure in &figures {
            let bytes = figure.bytes.map_or("-".to_owned(), |bytes| format!("{bytes:.0}"));
            let Figure { name, unique, median, best, .. } = figure;
            say!("{name:<44} {unique:>10} {median:>11.0} {best:>10.0} {bytes:>12}");
        }
        self.notes.iter().for_each(|note| say!("{note}"));
    }
}

/// What is said of one search.
struct Figure {
    name: String,
    unique: usize,
    median: f64,
    best: f64,
    bytes: Option<f64>,
}

impl Figure {
    fn of(rows: &[Row]) -> Option<Self> {
        let first = rows.first()?;
        let mut cpu: Vec<f64> = rows.iter().map(|row| row.cpu.max(0.01)).collect();
        cpu.sort_by(f64::total_cmp);
        let rate = |seconds: f64| first.unique as f64 / seconds;
        let bytes = rows.iter().filter_map(|row| row.bytes).max();
        Some(Self {
            name: first.name.clone(),
            unique: first.unique,
            median: rate(*cpu.get(cpu.len() / 2)?),
            best: rate(*cpu.first()?),
            bytes: bytes.map(|bytes| bytes as f64 / first.unique as f64),
        })
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "unique": self.unique, "states_per_cpu_second": self.median,
            "best": self.best, "bytes_per_state": self.bytes,
        })
    }
}

/// One of time and one of resets.
const SLICES: [&str; 2] = ["lease-two-of-two", "reset-reset-wide"];
