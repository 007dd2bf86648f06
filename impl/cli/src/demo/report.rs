//! What a run showed: stages with their latencies, checks with what they saw.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::screen;

/// Everything that is printed.
pub struct Report {
    began: Instant,
    json: bool,
    pub model: Value,
    stages: Vec<Stage>,
    checks: Vec<Check>,
    /// The stage that runs now: it is to blame for an early end.
    current: &'static str,
}

struct Stage {
    name: &'static str,
    micros: u64,
}

struct Check {
    id: &'static str,
    name: String,
    pass: bool,
    detail: String,
}

impl Report {
    pub fn new(json: bool) -> Self {
        Self {
            began: Instant::now(),
            json,
            model: Value::Null,
            stages: Vec::new(),
            checks: Vec::new(),
            current: "prepare",
        }
    }

    /// A line for people alone.
    pub fn say(&self, text: &str) {
        if !self.json {
            say!("{text}");
        }
    }

    /// Names what is being tried, for an early end.
    pub fn begin(&mut self, name: &'static str) {
        self.current = name;
    }

    /// Runs a stage and notes how long it took and what it did.
    pub fn stage<T>(
        &mut self,
        name: &'static str,
        run: impl FnOnce() -> Result<(T, String), Failure>,
    ) -> Result<T, Failure> {
        self.begin(name);
        let start = Instant::now();
        let (value, what) = run()?;
        self.timed(name, start.elapsed(), &what);
        Ok(value)
    }

    /// Notes a stage that was timed elsewhere.
    pub fn timed(&mut self, name: &'static str, time: Duration, what: &str) {
        let at = self.began.elapsed().as_secs_f64();
        self.say(&format!("{at:>7.2} s  {name:<11} {:>9}  {what}", screen::duration(time)));
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.stages.push(Stage { name, micros });
    }

    /// Notes one check.
    pub fn check(&mut self, id: &'static str, name: &str, pass: bool, detail: impl Into<String>) {
        self.checks.push(Check { id, name: name.into(), pass, detail: detail.into() });
    }

    /// A check that passes when something is refused, and shows the refusal.
    pub fn refused<T>(
        &mut self,
        id: &'static str,
        name: &str,
        tried: Result<T, Failure>,
        why: &str,
    ) {
        match tried {
            Ok(_) => self.check(id, name, false, "it was not refused"),
            Err(failure) => {
                let said = failure.text();
                self.check(id, name, said.contains(why), said);
            }
        }
    }

    /// The run could not go on.
    pub fn abort(&mut self, failure: &Failure) {
        let name = format!("the stage `{}` succeeds", self.current);
        let detail = failure.text().to_owned();
        self.checks.push(Check { id: self.current, name, pass: false, detail });
    }

    /// Prints the rest; an error where a check failed.
    pub fn finish(self) -> Result<(), Failure> {
        let failed: Vec<&Check> = self.checks.iter().filter(|check| !check.pass).collect();
        let passed = self.checks.len() - failed.len();
        if self.json {
            say!("{}", self.to_json(passed, failed.len()));
        } else {
            say!("\nchecks");
            self.checks.iter().for_each(print);
            say!(
                "\n{passed} passed, {} failed, in {:.2} s",
                failed.len(),
                self.began.elapsed().as_secs_f64()
            );
        }
        match failed.first() {
            None => Ok(()),
            Some(first) => Err(Failure::Checks(format!(
                "{} of {} checks failed; first `{}`: {}",
                failed.len(),
                self.checks.len(),
                first.id,
                first.detail
            ))),
        }
    }

    fn to_json(&self, passed: usize, failed: usize) -> Value {
        let stages: Vec<Value> =
            self.stages.iter().map(|s| json!({ "name": s.name, "micros": s.micros })).collect();
        let check =
            |c: &Check| json!({ "id": c.id, "name": c.name, "pass": c.pass, "detail": c.detail });
        let checks: Vec<Value> = self.checks.iter().map(check).collect();
        json!({
            "model": self.model, "stages": stages, "checks": checks,
            "passed": passed, "failed": failed,
        })
    }
}

fn print(check: &Check) {
    let mark = if check.pass { "pass" } else { "FAIL" };
    say!("  {mark}  {:<22} {}", check.id, check.name);
    if !check.detail.is_empty() {
        say!("        {:<22} {}", "", check.detail);
    }
}
