//! The graded report on the tokens that anyone can install. Chapter 35, *Probing*.

mod common;

use common::Module;
use split_custody_pkcs11::conform::{self, Grade, Report};

#[test]
#[ignore = "makes the tokens of the other tests"]
fn init() {
    common::init_as_child();
}

#[test]
#[ignore = "runs in the process of a token"]
fn examine() {
    let report = conform::examine(&common::of_child()).unwrap();
    println!("REPORT {}", serde_json::to_string(&report).unwrap());
    println!("{report}");
}

/// What the child found: working suites, and the negative tests by grade.
fn examined(module: Module) -> Option<(serde_json::Value, String)> {
    let bench = module.bench()?;
    let done = common::child(&bench, "examine");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
    let line = said.lines().find_map(|line| line.split_once("REPORT ")).unwrap().1;
    Some((serde_json::from_str(line).unwrap(), said.clone()))
}

fn graded<'a>(report: &'a serde_json::Value, grade: &str) -> Vec<&'a str> {
    let all = report["negative"].as_array().unwrap().iter();
    all.filter(|n| n["grade"] == grade).map(|n| n["name"].as_str().unwrap()).collect()
}

#[test]
fn hsm_8_softhsm_works_by_cbc_derivation_and_breaks_only_what_no_token_can_keep() {
    let Some((report, text)) = examined(Module::SoftHsm) else { return };
    let suite = &report["suites"][0];
    assert_eq!(
        (suite["suite"].as_str(), suite["works"].as_bool()),
        (Some("P256-CBCD-KW"), Some(true))
    );
    assert_eq!(graded(&report, "broken"), ["share-wrapped-under-imported"]);
    assert_eq!(report["grade"], "development");
    assert!(text.contains("P256-CBCD-KW"));
}

#[test]
fn hsm_8_nss_works_by_x963_and_kwp_and_wraps_what_is_not_extractable() {
    let Some((report, _)) = examined(Module::Nss) else { return };
    let suite = &report["suites"][0];
    assert_eq!(
        (suite["suite"].as_str(), suite["works"].as_bool()),
        (Some("P256-X963-KWP"), Some(true))
    );
    let broken = graded(&report, "broken");
    assert!(broken.contains(&"kek-wrapped"), "{broken:?}");
    assert!(broken.contains(&"share-unwrapped-in-clear"), "{broken:?}");
    assert_eq!(report["grade"], "development");
}

#[test]
fn hsm_8_report_says_in_words_what_it_says_in_json() {
    let report = Report {
        token: "a token".into(),
        table: "standard".into(),
        listed: 3,
        suites: vec![conform::Tried { suite: "P256-X963-KW", works: false, why: "no".into() }],
        negative: vec![conform::Negative {
            name: "kek-wrapped",
            grade: Grade::Broken,
            detail: "left".into(),
        }],
        grade: "none",
    };
    let text = report.to_string();
    assert!(text.contains("BROKEN kek-wrapped") && text.contains("no     P256-X963-KW"), "{text}");
}
