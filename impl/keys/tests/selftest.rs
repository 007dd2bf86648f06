//! The self-test over the vectors in the repository.

use std::fs;
use std::path::Path;

use split_custody_keys::selftest::{SelfTestError, Status, run_built_in, run_folder};
use tempfile::tempdir;

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vectors"))
}

#[test]
fn every_primitive_in_use_agrees_with_its_published_vectors() {
    let report = run_folder(folder()).unwrap();
    for file in &report.files {
        assert_eq!(file.status, Status::Passed, "{file:?}");
    }
    let tested = |algorithm: &str, backend: &str, passed: usize| {
        let found = report.files.iter().find(|f| f.algorithm == algorithm && f.backend == backend);
        assert_eq!(found.map(|f| f.passed), Some(passed), "{algorithm} over {backend}");
    };
    // Pinned: a reader that silently skips would show here.
    tested("AES-GCM", "ring", AES_GCM);
    tested("AES-GCM", "aes-gcm", AES_GCM);
    tested("HKDF-SHA-256", "ring", 65);
    tested("HKDF-SHA-256", "hkdf", 65);
    tested("HKDF-SHA-512", "ring", 63);
    tested("HMACSHA256", "ring", HMAC);
    tested("XDH", "x25519-dalek", 389);
    tested("ECDSA", "ring", 197);
    tested("Cobblestone-256", "kernels/portable", 27);
    tested("HPKE", "hpke", 1);
    tested("AES-GCM", "kernels/portable", AES_GCM);
    tested("HKDF-SHA-256", "kernels/portable", 65);
    tested("HKDF-SHA-512", "kernels/portable", 63);
    tested("HMACSHA256", "kernels/portable", HMAC);
    tested("XDH", "kernels/portable", 389);
    tested("HPKE", "kernels/portable", 1);
    #[cfg(feature = "shim")]
    for (algorithm, passed) in [
        ("AES-GCM", AES_GCM),
        ("HKDF-SHA-256", 65),
        ("HKDF-SHA-512", 63),
        ("HMACSHA256", HMAC),
        ("XDH", 389),
        ("Cobblestone-256", 27),
        ("HPKE", 1),
    ] {
        tested(algorithm, "kernels/shim", passed);
    }
}

#[test]
fn built_in_vectors_are_those_of_the_folder() {
    let built_in = serde_json::to_string(&run_built_in()).unwrap();
    assert_eq!(built_in, serde_json::to_string(&run_folder(folder()).unwrap()).unwrap());
}

#[test]
fn altered_vector_is_reported_by_its_number() {
    let there = tempdir().unwrap();
    let text = fs::read_to_string(folder().join("wycheproof/hmac_sha256_test.json")).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let test = &mut json["testGroups"][0]["tests"][0];
    let (id, tag) = (test["tcId"].as_u64().unwrap(), test["tag"].as_str().unwrap().to_owned());
    test["tag"] = tag.replace(&tag[..2], "00").into();
    fs::write(there.path().join("hmac.json"), json.to_string()).unwrap();

    let report = run_folder(there.path()).unwrap();

    assert!(!report.is_good());
    assert_eq!(report.files[0].failures, [id]);
}

#[test]
fn algorithm_that_is_not_in_use_is_listed_and_does_not_fail() {
    let there = tempdir().unwrap();
    let json = r#"{"algorithm":"ML-KEM","testGroups":[{"tests":[{"tcId":1},{"tcId":2}]}]}"#;
    fs::write(there.path().join("kem.json"), json).unwrap();
    fs::write(there.path().join("other.json"), "{}").unwrap();

    let report = run_folder(there.path()).unwrap();

    assert!(report.is_good());
    assert!(report.files.iter().all(|file| file.status == Status::NotInUse));
    assert_eq!((report.files[0].algorithm.as_str(), report.files[0].skipped), ("ML-KEM", 2));
}

#[test]
fn file_in_use_of_which_nothing_was_tested_fails() {
    let there = tempdir().unwrap();
    let json = r#"{"algorithm":"XDH","testGroups":[]}"#;
    fs::write(there.path().join("x.json"), json).unwrap();
    assert!(!run_folder(there.path()).unwrap().is_good());
}

#[test]
fn what_is_not_json_and_a_folder_without_vectors_are_named() {
    let there = tempdir().unwrap();
    assert!(matches!(run_folder(there.path()), Err(SelfTestError::Empty { .. })));
    fs::write(there.path().join("bad.json"), "{").unwrap();
    let refused = run_folder(there.path()).unwrap_err();
    assert!(refused.to_string().contains("bad.json"));
}

const AES_GCM: usize = 49;
const HMAC: usize = 66;
