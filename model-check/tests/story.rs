//! A hand-written run, told: every action is a sentence that names who does what.

use split_custody_model_check::doubles::double;
use split_custody_model_check::slice::slice;
use split_custody_model_check::story::{Line, mermaid, page, tell};
use split_custody_model_check::world::{Action, Config, End, Facts, World};

/// The device acquires from one custodian, and a tick too late asks for a use.
const RUN: &[Action] = &[
    Action::Acquire,
    Action::Connect(1),
    Action::Deliver(2, End::Custodian),
    Action::Deliver(2, End::Device),
    Action::Deliver(2, End::Custodian),
    Action::Deliver(2, End::Device),
    Action::Tick { ahead: 0 },
    Action::Tick { ahead: 0 },
    Action::Tick { ahead: 0 },
];

fn told() -> Vec<Line> {
    let slice = slice("handshake-late").expect("a slice");
    let config: Config = slice.config(Facts::default());
    let initial: World = slice.initial(&config);
    tell(&initial, &config, RUN)
}

#[test]
fn hs_6_an_honest_acquisition_reads_as_a_story() {
    let lines: Vec<String> = told().into_iter().map(|line| line.text).collect();
    assert_eq!(
        lines,
        [
            "The node asks the device to load the model: the device dials custodian 1.",
            "The host lets the device's dial to custodian 1 through: the device says Hello.",
            "The device's Hello reaches custodian 1, which sends a Challenge.",
            "Custodian 1's Challenge reaches the device, which sends its Request to custodian 1.",
            "The device's Request reaches custodian 1, which sends a Grant.",
            "Custodian 1's Grant reaches the device, which has k shares, combines the key and \
             serves.",
            "Three ticks pass.",
        ]
    );
}

#[test]
fn the_same_run_is_a_sequence_diagram() {
    let diagram = mermaid(&told(), "it is served");
    for line in ["D->>C1: Hello", "C1->>D: Challenge", "D->>C1: Request", "C1->>D: Grant"] {
        assert_eq!(diagram.matches(line).count(), 1, "{line} in\n{diagram}");
    }
    assert!(diagram.starts_with("sequenceDiagram\n"));
    assert!(diagram.contains("Note over H: Three ticks pass."));
    assert!(diagram.ends_with(": it is served\n"));
}

#[test]
fn a_page_says_what_is_broken_and_why_it_matters() {
    let double = double("own_entry_unchecked").expect("a double");
    let page = page(&double, &slice(double.slice).expect("a slice"), &told());
    assert!(page.contains("Left out or lied about: HS-10."));
    assert!(page.contains("  1. The node asks the device to load the model"));
    assert!(page.contains("And so a grant has gone into a channel"));
    assert!(page.contains("Why it matters: "));
}
