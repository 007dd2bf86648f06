//! `custody attest` as a person or a script uses it, over the recorded Evidence.

mod common;

use std::fs;
use std::path::Path;
use std::process::Output;

use common::{custody, good, json, refused, stderr, stdout};
use serde_json::Value;

const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../attest/vectors/nvidia");
const NONCE: &str = "4cff7f5380ead8fad8ec2c531c110aca4302a88f603792801a8ca29ee151af2e";
const SHARED: &str = "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb";
const DRIVER: &str = "full-match-545.00/Driver_RIM_test_no_gpu.swidtag";
const VBIOS: &str = "full-match-545.00/1010_0200_882_96005E0001_test_no_gpu.swidtag";

fn attest(arguments: &[&str]) -> Output {
    let arguments: Vec<&str> = ["attest"].into_iter().chain(arguments.iter().copied()).collect();
    custody(Path::new(VECTORS), &arguments)
}

/// One report with its chain.
struct Ask<'a> {
    report: &'a str,
    chain: &'a str,
    rims: &'a [&'a str],
    nonce: &'a str,
    at: &'a str,
}

impl Ask<'_> {
    const FULL: Ask<'static> = Ask {
        report: "full-match-545.00/attestationReport.txt",
        chain: "full-match-545.00/gpuAkCertChain.txt",
        rims: &[DRIVER, VBIOS],
        nonce: NONCE,
        at: "2024-06-01T00:00:00Z",
    };

    fn run(&self, more: &[&str]) -> Output {
        let mut arguments =
            vec!["verify", "--report", self.report, "--nonce", self.nonce, "--at", self.at];
        if !self.chain.is_empty() {
            arguments.extend(["--chain", self.chain]);
        }
        self.rims.iter().for_each(|rim| arguments.extend(["--rim", rim]));
        arguments.extend(more);
        attest(&arguments)
    }

    #[track_caller]
    fn accepted(&self) -> Value {
        let output = self.run(&["--json"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let said = json(&output);
        assert_eq!((&said["verdict"], &said["reasons"]), (&"accept".into(), &Value::Array(vec![])));
        said
    }

    #[track_caller]
    fn rejected(&self) -> Vec<String> {
        let output = self.run(&["--json"]);
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        let said = json(&output);
        assert_eq!(said["verdict"], "reject");
        let reasons = said["reasons"].as_array().expect("reasons");
        assert!(!reasons.is_empty());
        reasons.iter().map(|reason| reason.as_str().expect("a code").to_owned()).collect()
    }
}

#[test]
fn hs_26_full_match_is_accepted_with_its_facts() {
    let said = Ask::FULL.accepted();
    assert_eq!(said["gpus"][0]["driver"], "545.00");
    assert_eq!(said["gpus"][0]["vbios"], "96.00.5E.00.01");
    assert_eq!(said["gpus"][0]["device"], "NVIDIA:GH100:48B02DB73E52137E");
    assert_eq!(said["policy"], Value::Null);
    assert_eq!(said["rims"][0]["active"], 21);
    assert!(good(&Ask::FULL.run(&[])).starts_with("accept\n"));
}

#[test]
fn hs_13_device_id_is_told_of_accepted_gpus_beside_a_named_cpu() {
    let (one, other) = ("01".repeat(33), "02".repeat(33));
    let told = |ask: &Ask<'_>, ueid: &str| {
        json(&ask.run(&["--json", "--ueid", ueid]))["device_id"].clone()
    };
    let id = told(&Ask::FULL, &one);
    assert_eq!(id.as_str().map(str::len), Some(64));
    assert_ne!(id, told(&Ask::FULL, &other));
    assert_eq!(told(&Ask { nonce: SHARED, ..Ask::FULL }, &one), Value::Null);
    assert_eq!(Ask::FULL.accepted()["device_id"], Value::Null);
}

#[test]
fn hs_30_time_decides() {
    assert_eq!(Ask { at: "2025-06-23T00:00:00Z", ..Ask::FULL }.rejected(), ["rim-not-valid-at"]);
    assert_eq!(Ask { at: "2026-11-23T00:00:00Z", ..Ask::FULL }.rejected(), ["rim-not-valid-at"]);
    Ask { at: "2023-07-15T00:00:00Z", ..Ask::FULL }.accepted();
    Ask { at: "2025-06-20T00:00:00+00:00", ..Ask::FULL }.accepted();
}

#[test]
fn hs_22_files_that_must_not_pass_are_rejected_with_their_reasons() {
    let reasons = |ask: Ask<'_>| ask.rejected();
    let four = "full-match-545.00/invalidCertChain.txt";
    assert_eq!(reasons(Ask { chain: four, ..Ask::FULL })[0], "chain-length");
    assert_eq!(reasons(Ask { nonce: SHARED, ..Ask::FULL }), ["nonce-differs"]);
    let other = "hopper-550.90.07/hopperCertChain.txt";
    assert_eq!(reasons(Ask { chain: other, ..Ask::FULL })[0], "report-signature-invalid");
    let mismatch = "rims/NV_GPU_VBIOS_1010_0200_882_96005E0001_measurement_mismatch.xml";
    let ask = Ask { rims: &[DRIVER, mismatch], ..Ask::FULL };
    assert_eq!(reasons(ask), ["measurement-differs"]);
    let switch = "switch/switch_evidence_ls10.json";
    let ask = Ask { report: switch, chain: "", nonce: SHARED, ..Ask::FULL };
    assert_eq!(reasons(ask)[..2], ["report-not-a-gpu", "chain-not-a-gpu"]);
    let bad_rim = |name| reasons(Ask { rims: &[name, VBIOS], at: "2025-06-01", ..Ask::FULL });
    assert!(
        bad_rim("rims/incorrect_signature_driver_rim.xml")
            .contains(&"rim-signature-invalid".into())
    );
    assert!(
        bad_rim("rims/incorrect_cert_chain_driver_rim.xml").contains(&"rim-chain-length".into())
    );
    assert!(
        bad_rim("rims/NV_GPU_DRIVER_GH100_550.144.03.xml")
            .contains(&"rim-of-another-version".into())
    );
}

#[test]
fn hs_28_set_of_gpus_is_read_from_json() {
    let nonce = "e97b23a1718095a0e9e35edca810768c70a6a5a389b705e753b197912bc11576";
    let ask = Ask {
        report: "ppcie-590.12/multi_gpu_hopper.json",
        chain: "",
        nonce,
        rims: &[],
        ..Ask::FULL
    };
    let expected = ["mode-not-admitted", "driver-rim-absent", "vbios-rim-absent"];
    assert_eq!(ask.rejected(), expected);
}

#[test]
fn wire_1_garbage_of_any_size_is_rejected_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("garbage");
    fs::write(&path, vec![b'<'; 10_000_000]).unwrap();
    let garbage = path.to_str().unwrap();
    assert_eq!(Ask { report: garbage, ..Ask::FULL }.rejected()[0], "report-too-long");
    assert_eq!(Ask { chain: garbage, ..Ask::FULL }.rejected()[0], "chain-too-long");
    let ask = Ask { rims: &[garbage, VBIOS], ..Ask::FULL };
    assert_eq!(ask.rejected()[0], "rim-too-long");
    fs::write(&path, b"").unwrap();
    assert_eq!(Ask { report: garbage, ..Ask::FULL }.rejected()[0], "report-truncated");
}

#[test]
fn usage_is_told_from_rejection() {
    for (ask, more) in [
        (Ask { nonce: "4cff", ..Ask::FULL }, &[][..]),
        (Ask { at: "yesterday", ..Ask::FULL }, &[]),
        (Ask { chain: "", ..Ask::FULL }, &[]),
        (Ask::FULL, &["--chain", "full-match-545.00/invalidCertChain.txt"]),
        (Ask::FULL, &["--revocations", "x"]),
        (Ask::FULL, &["--policy", "README.md"]),
    ] {
        assert_eq!(ask.run(more).status.code(), Some(2), "{more:?}");
    }
    let absent = Ask { report: "absent", ..Ask::FULL }.run(&[]);
    refused(&absent, &["`absent`", "cannot open"]);
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    let collect = attest(&["collect", "--nonce", NONCE, "--out", out.to_str().unwrap()]);
    assert_eq!(collect.status.code(), Some(3), "{}", stderr(&collect));
}

#[test]
fn explain_says_what_to_do_about_index_9() {
    let folder = "hopper-580.159.03";
    let file = |name: &str| format!("{folder}/{name}");
    let output = attest(&[
        "explain",
        "--report",
        &file("hopperAttestationReport.txt"),
        "--chain",
        &file("hopperCertChain.txt"),
        "--rim",
        &file("1010_0205_862_9600740020_PROD.swidtag"),
        "--nonce",
        "5bb22e377702d4e1e8215a903ba094826b9ac7f731dee1fe8102958bf2840aca",
        "--at",
        "2024-06-01T00:00:00Z",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    for part in [
        "reject at 2024-06-01T00:00:00Z",
        "pass  signature",
        "measurement-differs  the measured value is none of the reference values: measurement 9\n",
        "index 9 alone: the RIM is stale",
        "FAIL   9 VBIOS",
        "GH100 A01 GSP FMC LF",
        "feature flag          0",
        "no policy was given",
    ] {
        assert!(said.contains(part), "`{part}` is missing:\n{said}");
    }
    assert!(!said.contains('\x1b'), "no colour where nobody sees it");
}

/// An owner's folder with a policy and a snapshot that fit the full set.
struct Owner {
    folder: tempfile::TempDir,
}

impl Owner {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        good(&custody(folder.path(), &["keygen", "keys"]));
        let owner = Self { folder };
        let draft = good(&attest(&[
            "policy",
            "draft",
            "--report",
            Ask::FULL.report,
            "--chain",
            Ask::FULL.chain,
            "--rim",
            DRIVER,
            VBIOS,
            "--from",
            "2024-01-01",
            "--until",
            "2025-01-01",
            "--issuer",
            &owner.path("keys/owner/owner.pub.pem"),
            "--cpu-measurement",
            NONCE,
        ]));
        fs::write(owner.path("policy.json"), draft).unwrap();
        let snapshot = r#"{"revocations":{"serial":1,"issued":"2024-05-31","expires":"2024-06-07","keys":[]}}"#;
        fs::write(owner.path("revocations.json"), snapshot).unwrap();
        for name in ["policy", "revocations"] {
            good(&owner.sign(name));
        }
        owner
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn sign(&self, name: &str) -> Output {
        let (json, cose) = (format!("{name}.json"), format!("keys/owner/{name}.cose"));
        let key = "keys/owner/owner.pem";
        custody(self.folder.path(), &["attest", "policy", "sign", &json, &cose, "--key", key])
    }

    fn verify(&self, ask: &Ask<'_>, more: &[&str]) -> (Option<i32>, Value) {
        let policy = self.path("keys/owner/policy.cose");
        let arguments = [&["--json", "--policy", &policy], more].concat();
        let output = ask.run(&arguments);
        (output.status.code(), json(&output))
    }
}

#[test]
fn hs_27_owner_drafts_signs_and_is_obeyed() {
    let owner = Owner::new();
    let revocations = owner.path("keys/owner/revocations.cose");
    let with = ["--revocations", revocations.as_str()];
    let (code, said) = owner.verify(&Ask::FULL, &with);
    assert_eq!((code, &said["reasons"]), (Some(0), &Value::Array(vec![])), "{said}");
    assert_eq!(said["policy"].as_str().map(str::len), Some(64));

    let (code, said) = owner.verify(&Ask::FULL, &[]);
    assert_eq!((code, &said["reasons"][0]), (Some(1), &"revocations-absent".into()));
    let late = Ask { at: "2024-06-07T00:00:00Z", ..Ask::FULL };
    assert_eq!(owner.verify(&late, &with).1["reasons"][0], "revocations-stale");

    let stranger = Owner::new();
    let key = stranger.path("keys/owner/owner.pub.pem");
    let (code, said) = owner.verify(&Ask::FULL, &[&with[..], &["--owner", &key]].concat());
    assert_eq!(code, Some(1));
    assert_eq!(said["reasons"][0], "policy-signature-invalid");
}

#[test]
fn hs_27_policy_that_was_signed_is_shown_as_it_was_written() {
    let owner = Owner::new();
    let shown = attest(&["policy", "show", &owner.path("keys/owner/policy.cose"), "--json"]);
    let mut shown = json(&shown);
    assert_eq!(shown["digest"].as_str().map(str::len), Some(64));
    shown.as_object_mut().unwrap().remove("digest");
    let mut written: Value =
        serde_json::from_str(&fs::read_to_string(owner.path("policy.json")).unwrap()).unwrap();
    written["policy"]["not_before"] = "2024-01-01T00:00:00Z".into();
    written["policy"]["not_after"] = "2025-01-01T00:00:00Z".into();
    assert_eq!(shown, written);
    let snapshot = attest(&["policy", "show", &owner.path("keys/owner/revocations.cose")]);
    assert!(good(&snapshot).contains("\"serial\": 1"));
    refused(&owner.sign("policy"), &["cannot create the file"]);
    let other = owner.path("policy.json");
    let key = owner.path("keys/owner/owner.pub.pem");
    refused(&attest(&["policy", "show", &other, "--owner", &key]), &["not a policy"]);
}

#[test]
fn policy_that_is_written_wrongly_is_refused_with_its_place() {
    let owner = Owner::new();
    let good_text = fs::read_to_string(owner.path("policy.json")).unwrap();
    for (from, to, said) in [
        ("\"gpus\": 1", "\"gpus\": 1, \"waive\": [9]", "unknown field"),
        ("\"gpus\": 1", "\"gpus\": 1000", "invalid value"),
        ("\"not_before\": \"2024", "\"not_before\": \"24", "not a time"),
        ("\"modes\": [\n      1\n    ]", "\"modes\": []", "modes: 0 of them, where 1 to 8 may be"),
        ("\"drivers\": [\n      \"545.00\"", "\"drivers\": [\n      \"\"", "drivers: empty"),
        (
            "\"token_measurements\": [\n      \"4c",
            "\"token_measurements\": [\n      \"zz",
            "hexadecimal",
        ),
    ] {
        assert!(good_text.contains(from), "{from}");
        fs::write(owner.path("wrong.json"), good_text.replacen(from, to, 1)).unwrap();
        refused(&owner.sign("wrong"), &["wrong.json", said]);
        assert!(!Path::new(&owner.path("keys/owner/wrong.cose")).exists());
    }
}
