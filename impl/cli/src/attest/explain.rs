//! `custody attest explain`: the examination as a tree.

use std::sync::Arc;

use split_custody_attest::nvidia::{
    BLOCKS, DeviceChain, Entry, ExaminedGpu, Finding, Opaque, Place, Reason, Report, Rim, State,
    Step,
};

use crate::failure::Failure;
use crate::files::hex;

use super::args::VerifyArgs;
use super::tree::{Mark, Node};
use super::verify::{Examined, examined, summary};

pub fn run(args: &VerifyArgs) -> Result<(), Failure> {
    examined(args, |examined| {
        if args.json {
            println!("{}", examined.to_json());
        } else {
            tree(examined).print();
        }
        examined.end()
    })
}

fn tree(examined: &Examined<'_>) -> Node {
    let (examination, at) = (examined.examination, examined.args.at);
    let mut root = Node::new(format!("{} at {at}", examined.verdict()));
    let given = examined.given.findings.iter().map(|finding| failed("rules", &[*finding]));
    root = root.with(given).with(checks(examined, None, &|_| Vec::new()));
    for (number, gpu) in (0u8..).zip(&examination.gpus) {
        let title = format!("GPU {}  {}", u16::from(number) + 1, summary(gpu));
        let below = |step| details(examined, gpu, step);
        root = root.with([Node::new(title).with(checks(examined, Some(number), &below))]);
    }
    if examined.args.policy.is_none() {
        let text = "no policy was given: this is what NVIDIA signed, not what the owner admits";
        root = root.with([Node::marked(Mark::Advice, text)]);
    }
    root
}

/// The checks of one GPU, or of none, with what was read below each.
fn checks(
    examined: &Examined<'_>,
    gpu: Option<u8>,
    below: &dyn Fn(Step) -> Vec<Node>,
) -> Vec<Node> {
    let entries = examined.examination.log.entries().iter().filter(|entry| entry.gpu == gpu);
    entries
        .map(|entry| {
            let rim = match entry.step {
                Step::Rim(at) => rim(examined, at),
                _ => below(entry.step),
            };
            check(entry).with(rim)
        })
        .collect()
}

fn check(entry: &Entry) -> Node {
    let text = title(entry.step);
    match &entry.state {
        State::Passed => Node::marked(Mark::Pass, text),
        State::NotReached => Node::marked(Mark::NotReached, text),
        State::NotAsked => Node::marked(Mark::NotAsked, text),
        State::Failed(findings) => failed(&text, findings),
    }
}

/// What did not hold, and what to do; one advice for findings of one kind.
fn failed(text: &str, findings: &[Finding]) -> Node {
    let mut below = Vec::new();
    let mut reasons: Vec<Reason> = findings.iter().map(|finding| finding.reason).collect();
    reasons.dedup();
    for reason in reasons {
        let of = findings.iter().filter(|finding| finding.reason == reason);
        let places: Vec<String> =
            of.filter(|f| f.place != Place::Whole).map(|f| f.place.to_string()).collect();
        let at = if places.is_empty() { String::new() } else { format!(": {}", places.join(", ")) };
        let advice = Node::marked(Mark::Advice, reason.advice());
        below.push(Node::new(format!("{}  {}{at}", reason.code(), reason.text())).with([advice]));
    }
    Node::marked(Mark::Fail, text).with(below)
}

fn title(step: Step) -> String {
    let text = match step {
        Step::Size => "size       as many GPUs as there must be",
        Step::Rules => "rules      policy in force, revocation snapshot fresh",
        Step::Report => "report     SPDM 1.1, every length used up, no field twice",
        Step::Nonce => "nonce      the one that was asked for",
        Step::Chain => "chain      five certificates to NVIDIA's pinned root",
        Step::Time => "time       every certificate valid",
        Step::Signature => "signature  of the attestation key over the report",
        Step::Firmware => "firmware   id in the report as in the leaf",
        Step::Mode => "mode       one, and admitted",
        Step::Revocations => "revocation no certificate of the chain revoked",
        Step::Policy => "policy     chip, device, driver and VBIOS listed, none below its floor",
        Step::Rim(at) => return format!("RIM {}", u16::from(at) + 1),
        Step::References => "references one RIM each for driver and VBIOS",
        Step::Measurements => "measured   every active index equals a reference value",
        Step::Set => "set        one nonce, one mode, every GPU once",
    };
    text.into()
}

fn details(examined: &Examined<'_>, gpu: &ExaminedGpu<'_>, step: Step) -> Vec<Node> {
    match (step, &gpu.report, &gpu.chain) {
        (Step::Report, Some(report), _) => fields(report),
        (Step::Chain, _, Some(chain)) => certificates(chain),
        (Step::Firmware, Some(report), Some(chain)) => firmware(report, chain),
        (Step::Measurements, Some(report), _) => measured(report, &examined.examination.rims),
        _ => Vec::new(),
    }
}

fn fields(report: &Report<'_>) -> Vec<Node> {
    let length = report.signed().len() + report.signature().len();
    let head = [
        Node::new(format!("    {length} bytes, {BLOCKS} measurements")),
        Node::new(format!("    nonce                 {}", hex(report.nonce().as_bytes()))),
    ];
    let opaque = report.opaque();
    let field = |(kind, value): &(u16, &[u8])| {
        let shown = match Opaque::name(*kind) {
            "VBIOS version" => opaque.vbios().to_owned(),
            name => value_of(name, value),
        };
        Node::new(format!("{kind:>3} {:<22}{shown}", Opaque::name(*kind)))
    };
    head.into_iter().chain(opaque.fields().iter().map(field)).collect()
}

/// Text where it is text, numbers where one says more, the first bytes of what is long.
fn value_of(name: &str, value: &[u8]) -> String {
    let text: Vec<u8> = value.iter().copied().take_while(|byte| *byte != 0).collect();
    let is_text = !text.is_empty() && text.iter().all(u8::is_ascii_graphic);
    match (name, value) {
        ("protected PCIe" | "NVDEC0 status", [0xaa]) => "on".into(),
        ("protected PCIe" | "NVDEC0 status", [0x55]) => "off".into(),
        ("opaque data version" | "feature flag", [low, high]) => {
            u16::from_le_bytes([*low, *high]).to_string()
        }
        (
            "driver version"
            | "chip SKU"
            | "chip SKU modifier"
            | "project"
            | "project SKU"
            | "project SKU modifier"
            | "chip info",
            _,
        ) if is_text => String::from_utf8_lossy(&text).into_owned(),
        _ => short(value),
    }
}

fn certificates(chain: &DeviceChain) -> Vec<Node> {
    let device = Node::new(format!("device {}", chain.device()));
    let certificate = |(at, (name, from, until)): (usize, (String, _, _))| {
        Node::new(format!("{at} {name:<32} {from} to {until}"))
    };
    std::iter::once(device).chain(chain.certificates().enumerate().map(certificate)).collect()
}

fn firmware(report: &Report<'_>, chain: &DeviceChain) -> Vec<Node> {
    let show = |id: Option<&[u8; 48]>| id.map_or("none".into(), |id| short(id));
    vec![
        Node::new(format!("report {}", show(report.opaque().fwid()))),
        Node::new(format!("leaf   {}", show(chain.fwid()))),
    ]
}

fn rim(examined: &Examined<'_>, at: u8) -> Vec<Node> {
    let found = examined.examination.rims.get(usize::from(at)).and_then(Option::as_ref);
    let path = examined.args.evidence.rims.get(usize::from(at));
    let file = path.map(|path| Node::new(format!("file     {}", path.display())));
    let Some(rim) = found else { return file.into_iter().collect() };
    let (from, until) = rim.validity();
    let lines = [
        format!("for      {} {}", rim.product(), rim.version()),
        format!("sha-256  {}", hex(rim.sha256().as_bytes())),
        format!("valid    {from} to {until}"),
        format!("active   {} of {BLOCKS} indices", rim.golden().len()),
    ];
    file.into_iter().chain(lines.map(Node::new)).collect()
}

/// Every index that is compared, and one line for those that no RIM gives.
fn measured(report: &Report<'_>, rims: &[Option<Arc<Rim>>]) -> Vec<Node> {
    let opaque = report.opaque();
    let (mut nodes, mut rest) = (Vec::new(), Vec::new());
    for index in 0..BLOCKS {
        let of: Vec<&Rim> = rims
            .iter()
            .flatten()
            .map(|rim| &**rim)
            .filter(|r| r.golden().contains_key(&index))
            .collect();
        let (Some(rim), Some(value)) = (of.first(), report.measurement(index)) else {
            rest.push(index);
            continue;
        };
        let golden = rim.golden().get(&index).map(Vec::as_slice).unwrap_or_default();
        let part =
            if rim.version().eq_ignore_ascii_case(opaque.driver()) { "driver" } else { "VBIOS" };
        let line = |what: &str| format!("{index:>2} {part:<6} {}{what}", short(value));
        nodes.push(if golden.contains(value) {
            Node::marked(Mark::Pass, line(""))
        } else {
            let expected =
                golden.iter().map(|value| Node::new(format!("expected  {}", short(value))));
            Node::marked(Mark::Fail, line("")).with(expected)
        });
    }
    if !rest.is_empty() {
        nodes.push(Node::new(format!("{}: no active reference value", ranges(&rest))));
    }
    nodes
}

/// `13-20, 41-63`.
fn ranges(numbers: &[u8]) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(*number) => *end = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let run =
        |(from, to): &(u8, u8)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    runs.iter().map(run).collect::<Vec<_>>().join(", ")
}

/// Enough to tell apart by eye.
fn short(bytes: &[u8]) -> String {
    match bytes.get(..SHOWN).filter(|_| bytes.len() > SHOWN) {
        Some(first) => format!("{}.. ({} bytes)", hex(first), bytes.len()),
        None => hex(bytes),
    }
}

const SHOWN: usize = 16;
