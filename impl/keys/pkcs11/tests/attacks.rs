//! What PKCS#11 alone does not stop, and what answers it: k of n custodians. Chapter 35.

mod common;

use common::{Module, SET, ask, deal_to, rewrap};
use split_custody_keys::p256kw::Profile;
use split_custody_keys::{ByteSuite, Custody, Dealing, Dek, Recipient, provision_context};
use split_custody_pkcs11::{Hsm, conform};
use split_custody_protocol::Suite;
use split_custody_protocol::ids::{CustodianId, ShareIndex, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{AgreementKey, Digest};

#[test]
#[ignore = "is the worker of the other tests"]
fn worker() {
    common::serve_as_worker();
}

#[test]
#[ignore = "makes the tokens of the other tests"]
fn init() {
    common::init_as_child();
}

/// The host, logged in and actively compromised, against its own token.
#[test]
#[ignore = "runs in the process of a token"]
fn host() {
    use split_custody_pkcs11::{Attr, code};
    let hsm = Hsm::open(common::of_child()).unwrap();
    let (token, suite) = (hsm.token(), hsm.suite());
    let session = token.session().unwrap();
    let (raw, handle) = (token.raw, session.handle());
    let wrap = token.table.wrap_of(suite);
    let kek = {
        let label = b"split-custody-share-kek".to_vec();
        raw.find(handle, &[Attr::Bytes(code::CKA_LABEL, label)]).unwrap()[0]
    };
    let blob = blob_of(&common::of_child());
    let share = |sensitive| {
        let template = [
            Attr::Number(code::CKA_CLASS, code::CKO_SECRET_KEY),
            Attr::Number(code::CKA_KEY_TYPE, code::CKK_GENERIC_SECRET),
            Attr::Flag(code::CKA_TOKEN, false),
            Attr::Flag(code::CKA_SENSITIVE, sensitive),
            Attr::Flag(code::CKA_EXTRACTABLE, true),
            Attr::Flag(code::CKA_ENCRYPT, false),
            Attr::Flag(code::CKA_DECRYPT, false),
        ];
        raw.unwrap(handle, wrap, kek, &blob, &template)
    };
    // (i) Unwrapping in clear: the UNWRAP_TEMPLATE stops it where the token enforces it.
    let clear = share(false).and_then(|key| raw.attribute(handle, key, code::CKA_VALUE));
    println!("in-clear {}", if clear.is_ok() { "succeeds" } else { "stopped" });
    // (ii) Wrapping under a key that the host imported: no attribute stops it.
    let known = conform::imported_key(token, &session).unwrap();
    let wrapped = raw.wrap(handle, wrap, known, share(true).unwrap()).unwrap();
    let profile = Profile::of(suite).unwrap();
    let opened = profile.unwrap(&conform::IMPORTED_KEY, &wrapped.try_into().unwrap()).unwrap();
    let digits: String = opened.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("imported {digits}");
}

/// The 40 bytes under the share KEK, as the host finds them in its folder.
fn blob_of(config: &split_custody_pkcs11::Config) -> Vec<u8> {
    let entry = std::fs::read_dir(config.blobs()).unwrap().next().unwrap().unwrap();
    let text = std::fs::read_to_string(entry.path()).unwrap();
    let digits = text.split("\"wrapped\":\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[at * 2..at * 2 + 2], 16).unwrap())
        .collect()
}

#[test]
fn hsm_4_compromised_host_takes_its_own_share_and_attributes_close_only_some_ways() {
    for (module, in_clear) in [(Module::SoftHsm, "stopped"), (Module::Nss, "succeeds")] {
        let Some(bench) = module.bench() else { continue };
        let custody = bench.worker();
        let dealt = deal_to(&*custody);
        let suite = custody.kek_public().suite();
        // (iii) The host's own point passes for a device's: PKCS#11 cannot tell.
        let mut host = ByteSuite::new();
        let (secret, own) = host.generate(suite, 0);
        let context = Digest::new([1; 32]);
        let sealed = rewrap(&*custody, &dealt, suite, &own, &context).unwrap();
        let share = host.open_share(suite, secret, &context, &sealed).unwrap();
        let alone = host.combine(&[(ShareIndex::new(1), share)]).unwrap();
        assert_eq!(host.with_dek(alone, |bytes| bytes == dealt.dek.expose()), Some(true));
        drop(custody);
        let done = common::child(&bench, "host");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{said}{}", String::from_utf8_lossy(&done.stderr));
        assert!(said.contains(&format!("in-clear {in_clear}")), "{module:?}: {said}");
        // With k = 1 the share is the DEK: the host has it.
        let digits: String = dealt.dek.expose().iter().map(|b| format!("{b:02x}")).collect();
        assert!(said.contains(&format!("imported {digits}")), "{module:?}");
    }
}

#[test]
fn qrm_3_share_of_one_compromised_host_gives_no_dek_when_two_are_needed() {
    let benches: Vec<_> = (0..2).filter_map(|_| Module::SoftHsm.bench()).collect();
    let custodies: Vec<_> = benches.iter().map(common::Bench::worker).collect();
    let [taken, honest] = &custodies[..] else { return };
    let (dek, manifest) = (Dek::generate(), common::MANIFEST);
    let recipient = |(number, custody): (u8, &std::sync::Arc<_>)| {
        let custody: &std::sync::Arc<split_custody_pkcs11::WorkerCustody> = custody;
        let (custodian, index) = (CustodianId::new(number), ShareIndex::new(number));
        Recipient { custodian, index, kek: custody.kek_public() }
    };
    let recipients: Vec<_> = (1..).zip(&custodies).map(recipient).collect();
    let dealing = Dealing::deal(&dek, SET, 2, &recipients).unwrap();
    let sealed = dealing.seal(&manifest).unwrap();
    let (mut host, weights, version) =
        (ByteSuite::new(), WeightsId::new([2; 16]), WeightsVersion::new(1));
    let take = |custody: &split_custody_pkcs11::WorkerCustody,
                place: usize,
                host: &mut ByteSuite| {
        let (dealt, suite) = (&sealed[place], custody.kek_public().suite());
        let (secret, key): (_, AgreementKey) = host.generate(suite, 0);
        let context = Digest::new([1; 32]);
        let under = provision_context(&manifest, &SET, dealt.custodian, dealt.index, &dealt.kek);
        let released = ask(custody, &dealt.sealed, &under, suite, &key, &context).unwrap();
        (dealt.index, host.open_share(suite, secret, &context, &released.sealed).unwrap())
    };
    let commitment = dek.commitment(weights, version);
    let stolen = take(taken, 0, &mut host);
    let wrong = host.combine(&[stolen]).unwrap();
    assert!(host.check_dek(wrong, weights, version, &commitment).is_err(), "one of two");
    // Both together, as an attested device has them.
    let other = take(honest, 1, &mut host);
    let right = host.combine(&[stolen, other]).unwrap();
    assert_eq!(host.check_dek(right, weights, version, &commitment), Ok(()));
}
