//! Key files: made once, for their owner alone, and refused by name and rule.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use split_custody_keys::{
    KekSecret, KeyFileError, OperatorKey, OwnerKey, SigningKey, SoftCustody, read_kek_public,
    read_verify_key, write_kek_public, write_verify_key,
};
use split_custody_protocol::suite::SuiteId;
use tempfile::tempdir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn custodians_keys_come_back_from_their_files() {
    let folder = tempdir().unwrap();
    let made = SoftCustody::create(folder.path()).unwrap();
    let loaded = SoftCustody::load(folder.path()).unwrap();

    assert_eq!(loaded.kek_public(), made.kek_public());
    assert_eq!(loaded.grant_public(), made.grant_public());
    assert_eq!(loaded.tls_key().public(), made.tls_key().public());
    let [kek, grant] = SoftCustody::PUBLIC_FILES.map(|name| folder.path().join(name));
    assert_eq!(read_kek_public(&kek).unwrap(), made.kek_public());
    assert_eq!(read_verify_key(&grant).unwrap(), made.grant_public());
    for name in SoftCustody::FILES {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
}

#[test]
fn existing_key_file_is_never_overwritten() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("owner.pem");
    let made = OwnerKey::create(&path).unwrap();
    let before = fs::read(&path).unwrap();

    let refused = OwnerKey::create(&path).unwrap_err();

    assert!(matches!(refused, KeyFileError::Exists { .. }));
    assert!(refused.to_string().contains("owner.pem"));
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(OwnerKey::load(&path).unwrap().public(), made.public());
}

#[test]
fn key_file_that_others_can_read_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("operator.pem");
    OperatorKey::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let refused = OperatorKey::load(&path).unwrap_err();
    assert!(matches!(refused, KeyFileError::Exposed { mode: 0o640, .. }));
    assert!(refused.to_string().contains("operator.pem"));
}

#[test]
fn file_that_is_no_key_is_refused_with_its_name_and_the_rule() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("k.pem");
    for text in
        ["", "no key", "\u{0}", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
    {
        write_private(&path, text);
        let refused = SigningKey::load(&path).unwrap_err().to_string();
        assert!(refused.contains("k.pem") && refused.contains("PRIVATE KEY"), "{refused}");
        assert!(KekSecret::load(&path).is_err());
    }
    write_private(&path, &"A".repeat(9000));
    let refused = SigningKey::load(&path).unwrap_err().to_string();
    assert!(refused.contains("8192"), "{refused}");
    let refused = SigningKey::load(folder.path()).unwrap_err();
    assert!(matches!(refused, KeyFileError::Malformed { .. }));
    let missing = SigningKey::load(&folder.path().join("none.pem")).unwrap_err();
    assert!(matches!(missing, KeyFileError::Read { .. }));
}

#[test]
fn key_of_another_kind_is_refused() {
    let folder = tempdir().unwrap();
    let [kek, grant] = ["kek.pem", "grant.pem"].map(|name| folder.path().join(name));
    KekSecret::create(&kek).unwrap();
    let signing = SigningKey::create(&grant).unwrap();
    assert!(SigningKey::load(&kek).unwrap_err().to_string().contains("P-256"));
    assert!(KekSecret::load(&grant).unwrap_err().to_string().contains("X25519"));

    let public = folder.path().join("grant.pub.pem");
    write_verify_key(&public, &signing.public()).unwrap();
    assert!(read_kek_public(&public).unwrap_err().to_string().contains("suite: NAME"));
    // A private key where a public one belongs is refused before it is looked at.
    assert!(read_verify_key(&grant).unwrap_err().to_string().contains("PUBLIC KEY"));
}

#[test]
fn hsm_5_public_kek_of_a_token_bears_its_suite_and_reads_back() {
    let folder = tempdir().unwrap();
    for suite in SuiteId::P256 {
        let path = folder.path().join(suite.name());
        let kek = KekSecret::generate_p256(suite).unwrap().public();
        write_kek_public(&path, &kek).unwrap();
        assert_eq!(read_kek_public(&path).unwrap(), kek);
        let text = std::fs::read_to_string(&path).unwrap();
        let renamed = folder.path().join(format!("{}-renamed", suite.name()));
        std::fs::write(&renamed, text.replace("suite: ", "suite: X")).unwrap();
        assert!(read_kek_public(&renamed).unwrap_err().to_string().contains("suite: NAME"));
    }
}

#[test]
fn public_key_that_is_not_on_the_curve_is_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("bad.pub.pem");
    let mut point = *SigningKey::generate().unwrap().public().as_bytes();
    point[64] ^= 1;
    write_verify_key(&path, &split_custody_protocol::suite::VerifyKey::new(point)).unwrap();
    assert!(read_verify_key(&path).unwrap_err().to_string().contains("bad.pub.pem"));
}
