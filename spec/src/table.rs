//! Reads the state tables out of the chapters.
//!
//! A table is a Markdown table with the columns State, Input, Next and Output, announced by a line
//! `<!-- table: NAME -->`. Each row is one (state, input) pair; a pair that has no row is a
//! violation that closes the exchange. It does not interpret names: a machine's test does.

use crate::CHAPTERS;

/// One machine's transitions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Table<'a> {
    pub name: &'a str,
    /// In the order of the chapter.
    pub rows: Vec<Row<'a>>,
}

/// In `state`, `input` leads to `next` and causes `outputs`, in this order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row<'a> {
    pub state: &'a str,
    pub input: &'a str,
    pub next: &'a str,
    pub outputs: Vec<&'a str>,
}

impl<'a> Table<'a> {
    /// The row for a pair, if the pair is legal.
    pub fn row(&self, state: &str, input: &str) -> Option<&Row<'a>> {
        self.rows.iter().find(|row| row.state == state && row.input == input)
    }

    /// Every state, sources and targets, each once, in the order of appearance.
    pub fn states(&self) -> Vec<&'a str> {
        let mut states = Vec::new();
        for row in &self.rows {
            for state in [row.state, row.next] {
                if !states.contains(&state) {
                    states.push(state);
                }
            }
        }
        states
    }

    /// Every input, each once, in the order of appearance.
    pub fn inputs(&self) -> Vec<&'a str> {
        let mut inputs = Vec::new();
        for row in &self.rows {
            if !inputs.contains(&row.input) {
                inputs.push(row.input);
            }
        }
        inputs
    }
}

/// Every table name, in the order of the chapters.
pub const NAMES: [&str; 10] = [
    "attester",
    "verifier",
    "granter",
    "requester",
    "custody",
    "lease-custodian",
    "lease-device",
    "order",
    "guard",
    "standing",
];

/// The table of one machine.
///
/// # Panics
/// When no chapter has a table of this name, or a table is malformed: both are faults of a test.
pub fn table(name: &str) -> Table<'static> {
    let found = tables().into_iter().find(|table| table.name == name);
    found.unwrap_or_else(|| panic!("no chapter has a state table `{name}`; there are {NAMES:?}"))
}

/// All tables of all chapters.
///
/// # Panics
/// When a table is malformed.
pub fn tables() -> Vec<Table<'static>> {
    let parsed = CHAPTERS.iter().flat_map(|chapter| {
        parse(chapter.text).unwrap_or_else(|fault| panic!("{}: {fault}", chapter.file))
    });
    parsed.collect()
}

/// The tables of one chapter's text; `Err` says which line is wrong and why.
pub fn parse(text: &str) -> Result<Vec<Table<'_>>, String> {
    let mut tables: Vec<Table> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        let marker = line.trim().strip_prefix("<!-- table:");
        let Some(name) = marker.and_then(|rest| rest.strip_suffix("-->")).map(str::trim) else {
            continue;
        };
        let mut table = Table { name, rows: Vec::new() };
        let body = lines.by_ref().skip_while(|(_, line)| line.trim().is_empty());
        for (place, (number, line)) in body.enumerate() {
            let line = line.trim();
            if !line.starts_with('|') {
                break;
            }
            let at = |fault: &str| format!("line {}: table `{name}`: {fault}", number + 1);
            let cells = cells(line);
            match (place, cells.as_slice()) {
                (0, ["State", "Input", "Next", "Output"]) => {}
                (0, _) => return Err(at("columns are not State, Input, Next, Output")),
                (1, rule) if rule.iter().all(|cell| cell.trim_matches('-').is_empty()) => {}
                (1, _) => return Err(at("no rule under the heading")),
                (_, &[state, input, next, output]) => {
                    if table.row(state, input).is_some() {
                        return Err(at("a second row for the same state and input"));
                    }
                    table.rows.push(Row { state, input, next, outputs: outputs(output) });
                }
                _ => return Err(at("not four cells")),
            }
        }
        if table.rows.is_empty() {
            return Err(format!("table `{name}` has no rows"));
        }
        tables.push(table);
    }
    Ok(tables)
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()
}

fn outputs(cell: &str) -> Vec<&str> {
    cell.split(',').map(str::trim).filter(|output| !output.is_empty() && *output != "-").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "<!-- table: door -->\n\n| State | Input | Next | Output |\n| --- | --- | --- | --- |\n\
                        | Open | Pushed | Shut | Click, Bang |\n| Shut | Pulled | Open | - |\n\nText.";

    #[test]
    fn a_table_is_read_with_its_outputs() {
        let tables = parse(GOOD).expect("the sample is well formed");
        let door = &tables[0];
        assert_eq!(door.name, "door");
        assert_eq!(
            door.row("Open", "Pushed").map(|r| r.outputs.clone()),
            Some(vec!["Click", "Bang"])
        );
        assert_eq!(door.row("Shut", "Pulled").map(|r| r.outputs.len()), Some(0));
        assert_eq!(door.row("Shut", "Pushed"), None);
        assert_eq!(door.states(), ["Open", "Shut"]);
    }

    #[test]
    fn malformed_tables_are_refused() {
        let twice = GOOD.replace("Shut | Pulled", "Open | Pushed");
        assert!(parse(&twice).is_err_and(|fault| fault.contains("second row")));
        let narrow = GOOD.replace("| Shut | Pulled |", "| Shut |");
        assert!(parse(&narrow).is_err_and(|fault| fault.contains("four cells")));
        let renamed = GOOD.replace("| Next |", "| Then |");
        assert!(parse(&renamed).is_err_and(|fault| fault.contains("columns")));
    }

    #[test]
    fn the_chapters_have_every_table_and_no_other() {
        let names: Vec<_> = tables().iter().map(|table| table.name).collect();
        assert_eq!(names, NAMES);
    }

    #[test]
    fn every_state_is_reachable_from_the_first() {
        for table in tables() {
            let mut reached = vec![table.rows[0].state];
            let mut place = 0;
            while let Some(state) = reached.get(place).copied() {
                for row in table.rows.iter().filter(|row| row.state == state) {
                    if !reached.contains(&row.next) {
                        reached.push(row.next);
                    }
                }
                place += 1;
            }
            for state in table.states() {
                assert!(reached.contains(&state), "`{}`: `{state}` is unreachable", table.name);
            }
        }
    }
}
