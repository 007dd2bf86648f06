//! Every rule that is checked at run time is a requirement, and a test of this crate shows it.

use std::fs;
use std::path::Path;

use split_custody_protocol::Rule;
use split_custody_spec::ids;
use split_custody_spec::trace::{self, Source};

/// The rules that no test in these files is named after.
fn without_test(rules: &[Rule], sources: &[Source]) -> Vec<&'static str> {
    let findings = trace::scan(sources);
    rules.iter().map(|rule| rule.id()).filter(|id| !findings.tests.contains_key(*id)).collect()
}

/// The rules that no chapter defines.
fn without_requirement(rules: &[Rule], known: &[String]) -> Vec<&'static str> {
    rules.iter().map(|rule| rule.id()).filter(|id| !known.iter().any(|of| of == id)).collect()
}

#[test]
fn every_rule_has_a_test_of_its_name() {
    let missing = without_test(Rule::ALL, &sources());
    assert!(missing.is_empty(), "no test is named after {missing:?}");
}

#[test]
fn every_rule_is_a_requirement() {
    let known: Vec<String> = ids::requirements().into_iter().map(|found| found.id).collect();
    assert_eq!(without_requirement(Rule::ALL, &known), [""; 0]);
}

#[test]
fn every_rule_has_a_violation_that_names_it() {
    let other = Rule::ALL.iter().filter(|rule| {
        let violation = rule.violation();
        violation.rule() != Some(**rule) || !violation.to_string().contains(rule.id())
    });
    assert_eq!(other.count(), 0);
}

#[test]
fn a_rule_without_a_test_is_found() {
    let text = "#[test]\nfn hs_10_something_is_refused() {}\n".to_owned();
    let source = Source { path: "protocol/tests/sample.rs".to_owned(), text };
    assert_eq!(without_test(&[Rule::HS_10, Rule::HS_11], &[source]), ["HS-11"]);
}

#[test]
fn a_rule_without_a_requirement_is_found() {
    let known = ["HS-10".to_owned()];
    assert_eq!(without_requirement(&[Rule::HS_10, Rule::HS_11], &known), ["HS-11"]);
}

#[test]
fn every_survivor_of_a_mutation_is_still_there_and_has_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = fs::read_to_string(root.join("survivors.toml")).expect("the list");
    let survivors = survivors(&listed);
    assert!(!survivors.is_empty());
    for (file, text, reason) in survivors {
        let source = fs::read_to_string(root.join("..").join(&file)).expect("a source");
        let source = source.split_whitespace().collect::<Vec<_>>().join(" ");
        let original = text.split(" => ").next().unwrap_or(&text).trim_start_matches('*');
        assert!(source.contains(original), "{file} has no `{text}` any more");
        assert!(reason.len() > 20 && reason.ends_with('.'), "{file}: `{text}` has no reason");
    }
}

/// File, text and reason of each entry; every line is one of these or nothing.
fn survivors(listed: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for line in listed.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line == "[[survivor]]" {
            found.push(Default::default());
            continue;
        }
        let (key, value) = line.split_once(" = ").expect("a key and a value");
        let value = serde_json::from_str::<String>(value).expect("a quoted text");
        let entry = found.last_mut().expect("keys belong to a survivor");
        match key {
            "file" => entry.0 = value,
            "text" => entry.1 = value,
            "reason" => entry.2 = value,
            "function" | "kind" => assert!(!value.is_empty()),
            other => panic!("`{other}` is no key of a survivor"),
        }
    }
    found
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for folder in ["src", "tests"] {
        walk(root, Path::new(folder), &mut found);
    }
    found
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(folder)).expect("a readable folder") {
        let entry = entry.expect("a readable entry");
        let path = folder.join(entry.file_name());
        if entry.file_type().expect("a file type").is_dir() {
            walk(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(root.join(&path)).expect("a readable source");
            found.push(Source { path: format!("protocol/{}", path.display()), text });
        }
    }
}
