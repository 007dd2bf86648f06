//! What the command prints: one table, or one JSON object.

use serde_json::{Value, json};

use crate::doubles::DOUBLES;
#[cfg(doubles)]
use crate::harness::Without;
use crate::harness::{DoubleResult, PropertyResult, SliceResult, Verdict};
use crate::world::Bounds;

/// `cargo prove check`.
pub fn check_text(results: &[PropertyResult], seconds: f64) -> String {
    let mut text = String::new();
    let mut last = "";
    for result in results {
        if result.property.id != last {
            last = result.property.id;
            let says = result.property.says;
            text += &format!(
                "\n{last}\n  {says}\n  seen to fail in: {}\n",
                doubles_of(last).join(", ")
            );
        }
        let SliceResult { slice, found, .. } = &result.slice;
        text += &format!(
            "  {:9} {:24} unique {:>9}  generated {:>9}  depth {:>3}  {:10} p(miss) < {:.0e}  {:>6.1} s\n",
            verdict_text(result.verdict),
            slice.name,
            found.unique,
            found.generated,
            found.depth,
            if found.exhaustive { "exhaustive" } else { "TRUNCATED" },
            collision_bound(found.unique),
            found.seconds,
        );
        match result.verdict {
            Verdict::PinBroken => {
                text += &format!(
                    "            pinned {} states: review the change, then pin {} in slice/table.rs\n",
                    slice.pinned().unwrap_or_default(),
                    found.unique
                );
            }
            Verdict::Violated(steps) => {
                text += &format!("            in {steps} steps: {}\n", result.property.broken);
            }
            Verdict::Unwitnessed(fact) => {
                text +=
                    &format!("            no state shows {fact:?}: the property may be empty\n");
            }
            _ => {}
        }
    }
    let held = results.iter().filter(|result| result.verdict == Verdict::Held).count();
    let mut ids: Vec<&str> = results.iter().map(|result| result.property.id).collect();
    ids.dedup();
    text += &slices_text(results);
    text + &format!(
        "\n{} properties on {} slices: {held} held, {} not, in {seconds:.1} s\n",
        ids.len(),
        results.len(),
        results.len() - held,
    )
}

/// The doubles that a property has to kill.
fn doubles_of(property: &str) -> Vec<&'static str> {
    let own = DOUBLES.iter().filter(|double| double.killed_by == property);
    own.map(|double| double.name).collect()
}

/// What each slice opens, and what it leaves out.
fn slices_text(results: &[PropertyResult]) -> String {
    let mut text = "\nslices (a property is claimed on its slices only)\n".to_owned();
    let mut seen = Vec::new();
    for SliceResult { slice, .. } in results.iter().map(|result| &result.slice) {
        if !seen.contains(&slice.name) {
            seen.push(slice.name);
            text += &format!(
                "  {:24} {}\n  {:24} bounds: {}\n  {:24} without: {}\n",
                slice.name,
                slice.says,
                "",
                bounds_text(&slice.bounds),
                "",
                slice.drops,
            );
        }
    }
    text
}

/// The numbers that bound a claim, in one line.
pub fn bounds_text(bounds: &Bounds) -> String {
    let numbers = [
        ("attempts", bounds.attempts),
        ("hostile channels", bounds.intrusions),
        ("ticks", bounds.ticks),
        ("disturbances", bounds.disturbances),
        ("crashes", bounds.crashes),
        ("uses", bounds.uses),
        ("renewals", bounds.renewals),
    ];
    let switches = [
        ("revocation", bounds.revokes),
        ("deaths", bounds.deaths),
        ("rollbacks", bounds.rollbacks),
        ("replays", bounds.replays),
        ("cuts", bounds.cuts),
        ("failing drivers", bounds.deferred),
        ("skew", bounds.skew),
        ("stolen leaf", bounds.leaf_stolen),
        ("stolen leaf of custodians", bounds.custodian_leaf_stolen),
        ("readmitted", bounds.readmitted),
        ("intruder", bounds.intruder),
        ("false shares", bounds.false_shares),
    ];
    let numbers = numbers.iter().filter(|(_, n)| *n > 0).map(|(name, n)| format!("{n} {name}"));
    let switches = switches.iter().filter(|(_, on)| on.is_on()).map(|(name, _)| (*name).to_owned());
    numbers.chain(switches).collect::<Vec<_>>().join(", ")
}

/// `cargo prove check --json`.
pub fn check_json(results: &[PropertyResult], seconds: f64) -> Value {
    let properties: Vec<Value> = results
        .iter()
        .map(|result| {
            let SliceResult { slice, found, .. } = &result.slice;
            json!({
                "id": result.property.id,
                "slice": slice.name,
                "scope": format!("{:?}", slice.scope).to_lowercase(),
                "bounds": bounds_text(&slice.bounds),
                "verdict": verdict_text(result.verdict).trim().to_lowercase(),
                "exhaustive": found.exhaustive,
                "unique": found.unique,
                "generated": found.generated,
                "depth": found.depth,
                "doubles": doubles_of(result.property.id),
                "collision_bound": collision_bound(found.unique),
                "seconds": found.seconds,
            })
        })
        .collect();
    let held = results.iter().filter(|result| result.verdict == Verdict::Held).count();
    json!({
        "properties": properties,
        "held": held,
        "violated": results.len() - held,
        "seconds": seconds,
    })
}

/// One slice of `cargo prove without`.
#[cfg(doubles)]
pub fn without_line(result: &Without) -> String {
    match (result.broken.as_slice(), result.exhaustive) {
        ([], true) => format!("{:<9} {}\n", "survives", result.slice),
        ([], false) => format!("{:<9} {}\n", "TRUNCATED", result.slice),
        _ => format!("{:<9} {}\n", "broken", killed_line(result)),
    }
}

/// What broke, where, and how soon.
#[cfg(doubles)]
pub fn killed_line(result: &Without) -> String {
    format!("{} on {}, {} steps", result.broken.join(", "), result.slice, result.steps)
}

/// `cargo prove mutants`.
pub fn mutants_text(results: &[DoubleResult], seconds: f64) -> String {
    let mut text = String::new();
    for DoubleResult { double, story, found, killed_by } in results {
        let what: Vec<String> = double
            .rules
            .iter()
            .map(|rule| format!("without {}", rule.id()))
            .chain(double.fields.iter().map(|field| format!("unbound {field:?}")))
            .chain(double.lie.map(|lie| format!("{lie:?}")))
            .chain(double.margin.map(|margin| format!("margin {margin}")))
            .collect();
        let (outcome, steps) = match story {
            Some(story) => ("killed", format!("{} steps", story.len())),
            None => ("SURVIVED", String::new()),
        };
        let by = match (story, killed_by.as_slice()) {
            (None, []) => format!("nobody; owned by {}", double.killed_by),
            (None, others) => format!("only {}; owned by {}", others.join(", "), double.killed_by),
            (Some(_), all) => all.join(", "),
        };
        text += &format!(
            "{outcome:9} {:28} {:28} {:9} {:>5.1} s\n          on {}, by {by}\n",
            double.name,
            what.join(", "),
            steps,
            found.seconds,
            double.slice,
        );
        if !double.covered_by.is_empty() {
            text += &format!("          covered: {}\n", double.covered_by);
        }
    }
    let killed = results.iter().filter(|result| result.story.is_some()).count();
    text + &format!(
        "\n{killed} killed, each by the property that owns its rule; {} survived, in {seconds:.1} s\n",
        results.len() - killed
    )
}

/// `cargo prove mutants --json`.
pub fn mutants_json(results: &[DoubleResult], seconds: f64) -> Value {
    let doubles: Vec<Value> = results
        .iter()
        .map(|DoubleResult { double, story, killed_by, .. }| {
            json!({
                "name": double.name,
                "rules": double.rules.iter().map(|rule| rule.id()).collect::<Vec<_>>(),
                "fields": double.fields.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>(),
                "lie": double.lie.map(|lie| format!("{lie:?}")),
                "slice": double.slice,
                "owner": double.killed_by,
                "killed_by": killed_by,
                "steps": story.as_ref().map(Vec::len),
            })
        })
        .collect();
    let killed = results.iter().filter(|result| result.story.is_some()).count();
    json!({
        "doubles": doubles,
        "killed": killed,
        "survived": results.len() - killed,
        "seconds": seconds,
    })
}

const fn verdict_text(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Held => "held",
        Verdict::Violated(_) => "VIOLATED",
        Verdict::Truncated => "TRUNCATED",
        Verdict::PinBroken => "PIN",
        Verdict::Unwitnessed(_) => "UNSEEN",
    }
}

/// The chance that 64-bit fingerprints merged two states: n²/2⁶⁵.
fn collision_bound(unique: usize) -> f64 {
    (unique as f64).powi(2) / 2_f64.powi(65)
}
