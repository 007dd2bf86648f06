//! Asks of each requirement: where is it enforced, and what shows that it is?
//!
//! A place in code is a comment that cites the id (`[HS-10]` or `HS-10`), a
//! `require!(HS_10, …)` or a `perform!(HS_10, …)`.
//! A test is a function, property or generated test whose name begins with the id, `hs_10_…`.
//! It works on texts in memory, so that its own tests can show it failing; `tests/trace.rs` walks
//! the files. It reads Rust as lines, not as syntax: a house that is formatted needs no more.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{PREFIXES, Requirement};

/// One file of the workspace, with its path from the root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Source {
    pub path: String,
    pub text: String,
}

/// What the files say about the ids.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Findings {
    /// By id, the files that enforce it.
    pub code: BTreeMap<String, BTreeSet<String>>,
    /// By id, the tests and properties that show it: path and name.
    pub tests: BTreeMap<String, BTreeSet<(String, String)>>,
}

/// Why a requirement has no code, no test, or less of both than it asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exception {
    pub id: String,
    pub missing: BTreeSet<Half>,
    pub reason: String,
}

/// What an exception excuses.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Half {
    Code,
    Test,
    /// Enforced and shown, for less than the requirement says. Excuses nothing; tells the reader.
    Part,
}

impl Half {
    fn name(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Test => "test",
            Self::Part => "part",
        }
    }
}

/// Reads all files.
pub fn scan(sources: &[Source]) -> Findings {
    let mut findings = Findings::default();
    for source in sources {
        if is_code(&source.path) {
            for id in cited(without_unit_tests(&source.text)) {
                findings.code.entry(id).or_default().insert(source.path.clone());
            }
        }
        if is_tested(&source.path) {
            for name in test_names(source) {
                let test = (source.path.clone(), name.clone());
                if let Some(id) = id_of(&name) {
                    findings.tests.entry(id).or_default().insert(test);
                }
            }
        }
    }
    findings
}

/// Every fault, one sentence each. Empty means that the trace is whole.
pub fn faults(
    requirements: &[Requirement],
    exceptions: &[Exception],
    findings: &Findings,
) -> Vec<String> {
    let mut faults = Vec::new();
    let known: BTreeSet<&str> = requirements.iter().map(|r| r.id.as_str()).collect();
    for requirement in requirements {
        let id = &requirement.id;
        for (half, present) in [
            (Half::Code, findings.code.contains_key(id)),
            (Half::Test, findings.tests.contains_key(id)),
        ] {
            let name = half.name();
            let excepted = exceptions.iter().any(|e| e.id == *id && e.missing.contains(&half));
            match (present, excepted) {
                (false, false) => faults.push(format!("`{id}` has no {name} and no exception")),
                (true, true) => {
                    faults.push(format!("`{id}` has {name}: its exception is no longer needed"));
                }
                _ => {}
            }
        }
    }
    for (id, paths) in &findings.code {
        if !known.contains(id.as_str()) {
            faults.push(format!("`{id}` is cited in {} but no chapter defines it", list(paths)));
        }
    }
    for (id, tests) in &findings.tests {
        if !known.contains(id.as_str()) {
            let names: BTreeSet<_> = tests.iter().map(|(_, name)| name.clone()).collect();
            faults.push(format!("{} name `{id}`, which no chapter defines", list(&names)));
        }
    }
    let mut seen = BTreeSet::new();
    for exception in exceptions {
        if !known.contains(exception.id.as_str()) {
            faults.push(format!("exception for `{}`, which no chapter defines", exception.id));
        }
        if !seen.insert(&exception.id) {
            faults.push(format!("two exceptions for `{}`", exception.id));
        }
        if exception.missing.is_empty() || exception.reason.len() < 20 {
            faults.push(format!("the exception for `{}` says too little", exception.id));
        }
    }
    faults
}

/// The exceptions file: `[[exception]]` blocks with `id`, `missing` and `reason` on a line each.
pub fn exceptions(text: &str) -> Result<Vec<Exception>, String> {
    let mut found: Vec<Exception> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let at = |fault: &str| format!("exceptions.toml: line {}: {fault}", number + 1);
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[exception]]" {
            let (id, reason) = (String::new(), String::new());
            found.push(Exception { id, missing: BTreeSet::new(), reason });
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| at("neither key nor block"))?;
        let value = value.trim();
        let last = found.last_mut().ok_or_else(|| at("a key before the first block"))?;
        match key.trim() {
            "id" => last.id = quoted(value).ok_or_else(|| at("not a string"))?.into(),
            "reason" => last.reason = quoted(value).ok_or_else(|| at("not a string"))?.into(),
            "missing" => {
                let items = value.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                for item in items.ok_or_else(|| at("not a list on one line"))?.split(',') {
                    last.missing.insert(match quoted(item.trim()) {
                        Some("code") => Half::Code,
                        Some("test") => Half::Test,
                        Some("part") => Half::Part,
                        _ => return Err(at("`missing` takes \"code\", \"test\" and \"part\"")),
                    });
                }
            }
            _ => return Err(at("unknown key")),
        }
    }
    Ok(found)
}

/// The page that prints every trace.
pub fn page(requirements: &[Requirement], exceptions: &[Exception], findings: &Findings) -> String {
    let mut page = String::from(
        "# Traceability\n\nGenerated by `TRACE_BLESS=1 cargo test -p split-custody-spec --test trace`. \
         Do not edit.\n\nFor each requirement: the files that enforce it, and the tests and \
         properties that show it.\n",
    );
    for (file, prefix) in PREFIXES {
        page.push_str(&format!("\n## {prefix}: [{file}](../spec/{file})\n\n"));
        page.push_str("| id | requirement | code | tests and properties |\n");
        page.push_str("| --- | --- | --- | --- |\n");
        for requirement in requirements.iter().filter(|r| r.chapter == file) {
            let exception = exceptions.iter().find(|e| e.id == requirement.id);
            let absent = |half| match exception {
                Some(e) if e.missing.contains(&half) => format!("*{}*", e.reason),
                _ => "**missing**".to_owned(),
            };
            let code = findings.code.get(&requirement.id).map_or_else(|| absent(Half::Code), list);
            let tests = findings.tests.get(&requirement.id).map_or_else(
                || absent(Half::Test),
                |tests| list(&tests.iter().map(|(_, name)| name.clone()).collect()),
            );
            let mut text = requirement.text.replace('|', "\\|");
            if let Some(partly) = exception.filter(|e| e.missing.contains(&Half::Part)) {
                text.push_str(&format!(" *Partly done: {}*", partly.reason));
            }
            page.push_str(&format!("| {} | {text} | {code} | {tests} |\n", requirement.id));
        }
    }
    page
}

/// Whether a file can enforce a requirement. `error.rs` lists all rules and enforces none.
fn is_code(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let inside = matches!(
        parts.as_slice(),
        ["protocol" | "kernels", "src", ..] | ["impl", _, "src", ..] | ["impl", _, _, "src", ..]
    );
    inside && path != "protocol/src/error.rs"
}

/// Whether a file can show a requirement. This file's tests hold samples.
fn is_tested(path: &str) -> bool {
    let root = path.split('/').next().unwrap_or_default();
    matches!(root, "protocol" | "impl" | "kernels" | "model-check" | "fuzz" | "spec")
        && path != "spec/src/trace.rs"
}

/// The text up to a module of unit tests, which by the house's rule comes last.
fn without_unit_tests(text: &str) -> &str {
    let starts = text.match_indices("#[cfg(test)]").map(|(at, _)| at);
    let mut starts = starts.filter(|at| {
        let first = text[*at..].lines().nth(1).unwrap_or_default();
        first.trim_start().starts_with("mod ") && first.contains('{')
    });
    starts.next().map_or(text, |at| &text[..at])
}

/// Ids in comments, and in `require!` and `perform!` lines.
fn cited(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some((_, comment)) = line.split_once("//") {
            found.extend(ids_in(comment, '-'));
        } else if line.trim_start().starts_with(['*', '/']) {
            found.extend(ids_in(line, '-')); // inside a block comment of a kernel
        }
    }
    let calls = text.match_indices("require!(").chain(text.match_indices("perform!("));
    for (at, call) in calls {
        let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        if !text[line..at].contains("//") {
            let rest = text[at + call.len()..].trim_start();
            found.extend(ids_in(rest.split(',').next().unwrap_or_default(), '_'));
        }
    }
    found
}

/// Every `PREFIX-7` in a text, with the given character between prefix and number.
fn ids_in(text: &str, between: char) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, prefix) in PREFIXES {
        for (at, _) in text.match_indices(prefix) {
            let before = text[..at].chars().next_back();
            let after = text[at + prefix.len()..].strip_prefix(between).unwrap_or_default();
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            let whole = before.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '-');
            if whole && !digits.is_empty() {
                found.insert(format!("{prefix}-{digits}"));
            }
        }
    }
    found
}

/// Names of tests, properties and generated tests in a file.
fn test_names(source: &Source) -> BTreeSet<String> {
    let holds_only_tests = source.path.contains("/tests/") || source.path.starts_with("fuzz/");
    let holds_properties = source.path.starts_with("model-check/");
    let lines: Vec<&str> = source.text.lines().collect();
    let mut names = BTreeSet::new();
    for (place, line) in lines.iter().enumerate() {
        let line = line.trim_start();
        if line.starts_with("//") {
            continue;
        }
        let declared = line.split_once("fn ").map(|(_, rest)| identifier(rest));
        if let Some(name) = declared.filter(|name| id_of(name).is_some()) {
            let above = lines[..place].iter().rev().map(|line| line.trim_start());
            let mut above =
                above.take_while(|line| line.starts_with("#[") || line.starts_with("//"));
            let is_test = above.any(|line| line.starts_with("#[") && line.contains("test"));
            if is_test || holds_only_tests || holds_properties {
                names.insert(name);
            }
        } else if holds_properties {
            let around = [place.checked_sub(1).map_or("", |above| lines[above]), line];
            let property = source.path.contains("/property")
                || around.iter().any(|l| l.contains("always(") || l.contains("sometimes("));
            let literals = line.split('"').skip(1).step_by(2).filter(|_| property);
            names.extend(literals.map(identifier).filter(|name| id_of(name).is_some()));
        } else if holds_only_tests {
            // A test that a macro makes: a bare name in its list.
            let bare = identifier(line);
            let rest = line[bare.len()..].trim_start();
            let listed = rest.is_empty() || rest.starts_with([',', ':']) || rest.starts_with("=>");
            if listed && id_of(&bare).is_some() {
                names.insert(bare);
            }
        }
    }
    names
}

/// The leading identifier of a text.
fn identifier(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

/// `HS-10` of `hs_10_own_entry_differs`; a name that is only an id says nothing.
fn id_of(name: &str) -> Option<String> {
    let mut parts = name.splitn(3, '_');
    let (prefix, number, story) = (parts.next()?.to_uppercase(), parts.next()?, parts.next()?);
    let known = PREFIXES.iter().any(|(_, known)| *known == prefix);
    let numbered = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    (known && numbered && !story.is_empty()).then(|| format!("{prefix}-{number}"))
}

fn quoted(text: &str) -> Option<&str> {
    text.strip_prefix('"')?.strip_suffix('"')
}

fn list(items: &BTreeSet<String>) -> String {
    items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(ids: &[&str]) -> Vec<Requirement> {
        let rule = |id: &&str| Requirement {
            id: (*id).into(),
            chapter: "20-handshake.md",
            text: "It MUST.".into(),
        };
        ids.iter().map(rule).collect()
    }

    fn file(path: &str, text: &str) -> Source {
        Source { path: path.into(), text: text.into() }
    }

    const ENFORCES: &str =
        "fn check() {\n    require!(\n        HS_1,\n        fine);\n} // [HS-2]\n";
    const SHOWS: &str =
        "#[test]\nfn hs_1_a_b() {}\n\n/// Doc.\n#[test]\n#[ignore]\nfn hs_2_c() {}\n";

    fn whole() -> Vec<Source> {
        vec![file("protocol/src/handshake/a.rs", ENFORCES), file("protocol/tests/a.rs", SHOWS)]
    }

    #[test]
    fn a_whole_trace_has_no_fault() {
        assert_eq!(faults(&rules(&["HS-1", "HS-2"]), &[], &scan(&whole())), [""; 0]);
    }

    #[test]
    fn a_rule_without_code_is_a_fault() {
        let sources = [file("protocol/tests/a.rs", SHOWS)];
        let faults = faults(&rules(&["HS-1", "HS-2"]), &[], &scan(&sources));
        assert_eq!(
            faults,
            ["`HS-1` has no code and no exception", "`HS-2` has no code and no exception"]
        );
    }

    #[test]
    fn a_rule_without_test_is_a_fault() {
        let sources = [file("impl/gpu/src/a.rs", ENFORCES)];
        let faults = faults(&rules(&["HS-1"]), &[], &scan(&sources));
        assert!(faults.contains(&"`HS-1` has no test and no exception".to_owned()), "{faults:?}");
    }

    #[test]
    fn a_test_of_rule_10_is_no_test_of_rule_1() {
        let sources = [file("protocol/tests/a.rs", "#[test]\nfn hs_10_x() {}\n")];
        let found = scan(&sources).tests;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["HS-10"]);
        assert_eq!(ids_in("[HS-10]", '-').into_iter().collect::<Vec<_>>(), ["HS-10"]);
    }

    #[test]
    fn an_unknown_id_is_a_fault_in_code_and_in_tests() {
        let faults = faults(&rules(&["HS-1"]), &[], &scan(&whole()));
        assert!(faults.iter().any(|f| f.starts_with("`HS-2` is cited")), "{faults:?}");
        assert!(faults.iter().any(|f| f.contains("name `HS-2`")), "{faults:?}");
    }

    #[test]
    fn an_exception_excuses_the_half_that_it_names() {
        let text = "[[exception]]\nid = \"HS-3\"\nmissing = [\"code\", \"test\"]\n\
                    reason = \"a stranger would accept this\"\n";
        let excepted = exceptions(text).expect("well formed");
        let rules = rules(&["HS-1", "HS-2", "HS-3"]);
        assert_eq!(faults(&rules, &excepted, &scan(&whole())), [""; 0]);
        let half = exceptions(&text.replace("\"code\", ", "")).expect("well formed");
        assert_eq!(faults(&rules, &half, &scan(&whole())), ["`HS-3` has no code and no exception"]);
    }

    #[test]
    fn exceptions_that_are_unneeded_unknown_double_or_empty_are_faults() {
        let text = "[[exception]]\nid = \"HS-1\"\nmissing = [\"code\"]\nreason = \"too short\"\n\
                    [[exception]]\nid = \"HS-9\"\nmissing = [\"test\"]\nreason = \"this is long enough\"\n\
                    [[exception]]\nid = \"HS-9\"\nmissing = [\"test\"]\nreason = \"this is long enough\"\n";
        let excepted = exceptions(text).expect("well formed");
        let faults = faults(&rules(&["HS-1", "HS-2"]), &excepted, &scan(&whole()));
        for part in ["no longer needed", "which no chapter", "two exceptions", "too little"] {
            assert!(faults.iter().any(|fault| fault.contains(part)), "{part}: {faults:?}");
        }
        assert!(exceptions("id = \"HS-1\"").is_err());
        assert!(exceptions("[[exception]]\nmissing = [\"proof\"]").is_err());
    }

    #[test]
    fn an_action_that_a_rule_demands_is_a_citation() {
        let sources = [file("protocol/src/a.rs", "perform!(RST_6, lease.end());\n")];
        assert_eq!(scan(&sources).code.keys().collect::<Vec<_>>(), ["RST-6"]);
    }

    #[test]
    fn what_only_looks_like_a_citation_is_none() {
        // Unit tests, strings, the list of all rules, and a commented-out check enforce nothing.
        let text = "let s = \"HS-1\";\n// require!(HS_2, x)\n#[cfg(test)]\nmod tests {\n    // [HS-3]\n}\n";
        assert!(scan(&[file("protocol/src/a.rs", text)]).code.is_empty());
        assert!(scan(&[file("protocol/src/error.rs", "/// [HS-1]\n")]).code.is_empty());
        assert!(scan(&[file("docs/a.rs", "// [HS-1]\n")]).code.is_empty());
    }

    #[test]
    fn what_only_looks_like_a_test_is_none() {
        let helper = file("protocol/src/a.rs", "fn hs_1_helper() {}\n// fn hs_2_x() {}\n");
        assert!(scan(&[helper]).tests.is_empty());
        let bare = file("protocol/tests/a.rs", "#[test]\nfn hs_1() {}\n");
        assert!(scan(&[bare]).tests.is_empty());
        let text = file("impl/cli/src/a.rs", "print(\"hs_1_story\");\n");
        assert!(scan(&[text]).tests.is_empty());
        let mention = file("model-check/src/doubles.rs", "killed_by(\"hs_1_own\")\n");
        assert!(scan(&[mention]).tests.is_empty());
        let call = file("protocol/tests/a.rs", "    hs_1_given_a_pair();\n");
        assert!(scan(&[call]).tests.is_empty());
    }

    #[test]
    fn properties_and_generated_tests_count() {
        let property = file("model-check/src/property/h.rs", "always(\"hs_1_own\", |w| w.ok())\n");
        assert_eq!(scan(&[property]).tests.keys().collect::<Vec<_>>(), ["HS-1"]);
        let wrapped = file("model-check/src/world.rs", "sometimes(\n    \"hs_1_w\",\n    f)\n");
        assert_eq!(scan(&[wrapped]).tests.keys().collect::<Vec<_>>(), ["HS-1"]);
        let made = file("impl/keys/tests/twin.rs", "twin! {\n    hs_2_made,\n}\n");
        assert_eq!(scan(&[made]).tests.keys().collect::<Vec<_>>(), ["HS-2"]);
    }

    #[test]
    fn the_page_names_code_tests_and_gaps() {
        let page = page(&rules(&["HS-1", "HS-3"]), &[], &scan(&whole()));
        assert!(page.contains("| `protocol/src/handshake/a.rs` | `hs_1_a_b` |"), "{page}");
        assert!(page.contains("| HS-3 | It MUST. | **missing** | **missing** |"), "{page}");
    }
}
