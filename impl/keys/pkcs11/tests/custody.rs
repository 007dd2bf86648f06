//! One body over every backend: the software twin, SoftHSM2, NSS.

mod common;

use std::thread;

use common::{CONTEXT, Dealt, Module, SET, ask, backends, deal_to, rewrap};
use split_custody_keys::{ByteSuite, Custody, HsmError, verify};
use split_custody_protocol::Suite;
use split_custody_protocol::ids::{CustodianId, ShareIndex};
use split_custody_protocol::suite::{AgreementKey, Digest, SealedShare, SharePlace, SuiteId};

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

/// Releases to a device, which opens the share and finds the owner's commitment.
fn released(custody: &dyn Custody, dealt: &Dealt, context: &Digest) -> SealedShare {
    let (mut device, suite) = (ByteSuite::new(), custody.kek_public().suite());
    let (secret, key) = device.generate(suite, 0);
    let sealed = rewrap(custody, dealt, suite, &key, context).expect("released");
    let share = device.open_share(suite, secret, context, &sealed).expect("opens");
    let at = SharePlace { set: SET, custodian: CustodianId::new(1), index: ShareIndex::new(1) };
    assert_eq!(device.check_share(share, at, &dealt.commitment), Ok(()));
    let dek = device.combine(&[(ShareIndex::new(1), share)]).expect("k = 1");
    assert_eq!(device.with_dek(dek, |bytes| bytes == dealt.dek.expose()), Some(true));
    sealed
}

#[test]
fn hsm_2_share_of_every_backend_opens_at_a_device_and_nowhere_else() {
    for (name, custody, _bench) in backends() {
        let (dealt, suite) = (deal_to(&*custody), custody.kek_public().suite());
        let sealed = released(&*custody, &dealt, &CONTEXT);
        assert_eq!(sealed.as_bytes().len(), 105, "{name}");
        let mut device = ByteSuite::new();
        let (secret, key) = device.generate(suite, 1);
        let other = Digest::new([0x45; 32]);
        let sealed = rewrap(&*custody, &dealt, suite, &key, &other).unwrap();
        assert!(device.open_share(suite, secret, &CONTEXT, &sealed).is_err(), "{name}");
        let (stranger, _) = device.generate(suite, 2);
        assert!(device.open_share(suite, stranger, &other, &sealed).is_err(), "{name}");
    }
}

#[test]
fn hsm_3_no_two_grants_of_a_backend_share_an_ephemeral() {
    for (name, custody, _bench) in backends() {
        let dealt = deal_to(&*custody);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..40 {
            let sealed = released(&*custody, &dealt, &CONTEXT);
            assert!(seen.insert(sealed.as_bytes()[..65].to_vec()), "{name}: an ephemeral twice");
        }
    }
}

#[test]
fn hsm_1_points_that_are_none_are_refused_and_harm_nobody() {
    for (name, custody, _bench) in backends() {
        let (dealt, suite) = (deal_to(&*custody), custody.kek_public().suite());
        let (_, good) = ByteSuite::new().generate(suite, 0);
        let mut off = good.as_bytes().to_vec();
        off[64] ^= 1;
        let mut compressed = good.as_bytes().to_vec();
        compressed[0] = 2;
        for bad in [off, compressed, vec![0; 65], vec![4; 33], vec![0; 1]] {
            let bad = AgreementKey::new(bad).unwrap();
            let refused = rewrap(&*custody, &dealt, suite, &bad, &CONTEXT);
            assert_eq!(refused, Err(HsmError::DeviceKeyInvalid), "{name}");
            assert!(refused.unwrap_err().is_client_fault());
        }
        released(&*custody, &dealt, &CONTEXT);
    }
}

#[test]
fn hsm_5_share_of_another_key_context_or_form_does_not_open() {
    for (name, custody, _bench) in backends() {
        let (dealt, suite) = (deal_to(&*custody), custody.kek_public().suite());
        let (_, key) = ByteSuite::new().generate(suite, 0);
        let elsewhere = Digest::new([9; 32]);
        let sealed = &dealt.sealed.sealed;
        let refused = ask(&*custody, sealed, &elsewhere, suite, &key, &CONTEXT);
        assert!(refused.is_err(), "{name}: another provision context");
        for at in [0, 1, 40, 66, 106] {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            let bent = SealedShare::new(bytes).unwrap();
            let refused = ask(&*custody, &bent, &dealt.context, suite, &key, &CONTEXT);
            assert!(refused.is_err(), "{name}: byte {at}");
        }
        released(&*custody, &dealt, &CONTEXT);
    }
}

#[test]
fn hsm_4_released_twice_from_cold_and_hot_and_after_handles_were_destroyed() {
    for (name, custody, _bench) in backends() {
        let dealt = deal_to(&*custody);
        released(&*custody, &dealt, &CONTEXT);
        released(&*custody, &dealt, &CONTEXT);
        assert_eq!(custody.destroy_handles(), Ok(()), "{name}");
        released(&*custody, &dealt, &CONTEXT);
        // Another share beside it, after the first.
        let second = deal_to(&*custody);
        released(&*custody, &second, &CONTEXT);
        released(&*custody, &dealt, &CONTEXT);
    }
}

#[test]
fn rel_12_suite_of_other_keys_is_refused_by_every_token() {
    for (name, custody, bench) in backends() {
        let (dealt, own) = (deal_to(&*custody), custody.kek_public().suite());
        let mut device = ByteSuite::new();
        for suite in SuiteId::P256.into_iter().filter(|suite| *suite != own) {
            let (_, key) = device.generate(suite, 0);
            let result = rewrap(&*custody, &dealt, suite, &key, &CONTEXT);
            // Software serves every suite of P-256; a token the one of its keys.
            assert_eq!(result.is_err(), bench.is_some(), "{name}");
        }
        let (_, key) = device.generate(SuiteId::new(0x7777), 0);
        assert!(rewrap(&*custody, &dealt, SuiteId::new(0x7777), &key, &CONTEXT).is_err());
    }
}

#[test]
fn wire_4_grant_signatures_of_every_backend_verify() {
    for (name, custody, _bench) in backends() {
        for length in [0, 1, 63, 64, 1000] {
            let message = vec![7; length];
            let signature = custody.sign(&message).unwrap();
            assert_eq!(verify(&custody.grant_public(), &message, &signature), Ok(()), "{name}");
        }
        let signature = custody.sign(b"one").unwrap();
        assert!(verify(&custody.grant_public(), b"other", &signature).is_err(), "{name}");
    }
}

#[test]
fn hsm_11_handles_are_destroyed_amid_releases_and_nobody_waits_for_ever() {
    let Some(mut bench) = Module::SoftHsm.bench() else { return };
    bench.change(|config| config.lanes = 4);
    let custody = bench.worker();
    let (dealt, suite) = (deal_to(&*custody), custody.kek_public().suite());
    released(&*custody, &dealt, &CONTEXT);
    thread::scope(|scope| {
        let (custody, dealt) = (&custody, &dealt);
        for _ in 0..2 {
            scope.spawn(move || {
                for _ in 0..400 {
                    // A share that is destroyed under a release fails it, at most.
                    let (_, key) = ByteSuite::new().generate(suite, 0);
                    let done = rewrap(&**custody, dealt, suite, &key, &CONTEXT);
                    assert_ne!(done, Err(HsmError::Deadline));
                }
            });
            scope.spawn(move || {
                for _ in 0..400 {
                    assert_ne!(custody.destroy_handles(), Err(HsmError::Deadline));
                }
            });
        }
    });
    released(&*custody, &dealt, &CONTEXT);
}

#[test]
fn hsm_11_threads_share_the_lanes_of_a_backend() {
    for (_, custody, _bench) in backends() {
        let dealt = deal_to(&*custody);
        thread::scope(|scope| {
            for thread in 0..4u8 {
                let (custody, dealt) = (&custody, &dealt);
                scope.spawn(move || {
                    for _ in 0..5 {
                        released(&**custody, dealt, &Digest::new([thread; 32]));
                    }
                });
            }
        });
    }
}

#[test]
fn hsm_11_no_lane_hears_the_answer_of_another() {
    let Some(mut bench) = Module::SoftHsm.bench() else { return };
    bench.change(|config| config.lanes = 4);
    let custody = bench.worker();
    thread::scope(|scope| {
        for thread in 0..4u8 {
            let custody = &custody;
            scope.spawn(move || {
                for round in 0..200u8 {
                    let message = [thread, round];
                    let signature = custody.sign(&message).unwrap();
                    assert_eq!(verify(&custody.grant_public(), &message, &signature), Ok(()));
                }
            });
        }
    });
}
