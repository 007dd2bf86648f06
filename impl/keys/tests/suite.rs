//! The byte suite, a dealing and a custodian's software keys, joined as a release joins them.

use split_custody_keys::{
    ByteSuite, Dealing, Dek, HsmError, KekSecret, OwnerKey, Recipient, SoftCustody, hash_label,
    manifest_digest, provision_context, sealed_digest,
};
use split_custody_protocol::Suite;
use split_custody_protocol::effect::Secrets;
use split_custody_protocol::ids::{CustodianId, ShareIndex, ShareSetId, WeightsId, WeightsVersion};
use split_custody_protocol::suite::{
    AgreementKey, DekHandle, DeviceSecret, Differs, Digest, InvalidKey, Label, NotOpened,
    SealedShare, ShareHandle, SharePlace, SuiteId,
};

const SET: ShareSetId = ShareSetId::new([0x11; 16]);
const WEIGHTS: WeightsId = WeightsId::new([0x22; 16]);
const VERSION: WeightsVersion = WeightsVersion::new(7);
const MANIFEST: Digest = Digest::new([0x33; 32]);
const CONTEXT: Digest = Digest::new([0x44; 32]);
const SUITE: SuiteId = SuiteId::HPKE_X25519;

/// Three custodians with a 2-of-3 dealing of one DEK.
struct Dealt {
    dek: Dek,
    custodies: Vec<SoftCustody>,
    sealed: Vec<split_custody_keys::SealedFor>,
    commitments: Vec<split_custody_keys::dealing::Commitment>,
}

fn recipient(number: u8, custody: &SoftCustody) -> Recipient {
    Recipient {
        custodian: CustodianId::new(number),
        index: ShareIndex::new(number),
        kek: custody.kek_public(),
    }
}

fn deal() -> Dealt {
    let dek = Dek::generate();
    let custodies: Vec<_> = (0..3).map(|_| SoftCustody::generate().unwrap()).collect();
    let recipients: Vec<_> = (1..).zip(&custodies).map(|(n, c)| recipient(n, c)).collect();
    let dealing = Dealing::deal(&dek, SET, 2, &recipients).unwrap();
    let commitments = dealing.commitments();
    let sealed = dealing.seal(&MANIFEST).unwrap();
    Dealt { dek, custodies, sealed, commitments }
}

impl Dealt {
    /// Custodian `place` re-wraps its share to a fresh key of `suite`, which opens and checks it.
    fn release(&self, suite: &mut ByteSuite, place: usize) -> (ShareIndex, ShareHandle) {
        let (secret, key) = suite.generate(SUITE, 0);
        let rewrapped = self.rewrap(place, &key).unwrap();
        let share = suite.open_share(SUITE, secret, &CONTEXT, &rewrapped).unwrap();
        let index = self.sealed[place].index;
        let at = SharePlace { set: SET, custodian: self.sealed[place].custodian, index };
        suite.check_share(share, at, &self.commitments[place].share).unwrap();
        (index, share)
    }

    fn rewrap(&self, place: usize, key: &AgreementKey) -> Result<SealedShare, HsmError> {
        let dealt = &self.sealed[place];
        let context = provision_context(&MANIFEST, &SET, dealt.custodian, dealt.index, &dealt.kek);
        self.custodies[place].rewrap(&dealt.sealed, &context, SUITE, key, &CONTEXT)
    }
}

#[test]
fn qrm_3_two_released_shares_combine_to_the_committed_dek() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let shares = [dealt.release(&mut suite, 0), dealt.release(&mut suite, 2)];

    let dek = suite.combine(&shares).unwrap();

    let commitment = dealt.dek.commitment(WEIGHTS, VERSION);
    assert_eq!(suite.check_dek(dek, WEIGHTS, VERSION, &commitment), Ok(()));
    assert_eq!(suite.with_dek(dek, |bytes| bytes == dealt.dek.expose()), Some(true));
    let next = WeightsVersion::new(8);
    assert_eq!(suite.check_dek(dek, WEIGHTS, next, &commitment), Err(Differs));
}

#[test]
fn qrm_3_one_share_combines_to_another_dek() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let share = dealt.release(&mut suite, 0);
    let dek = suite.combine(&[share]).unwrap();
    let commitment = dealt.dek.commitment(WEIGHTS, VERSION);
    assert_eq!(suite.check_dek(dek, WEIGHTS, VERSION, &commitment), Err(Differs));
}

#[test]
fn qrm_2_share_of_another_place_differs_from_its_commitment() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let mut check = |custodian, index| {
        let (_, share) = dealt.release(&mut suite, 0);
        let (custodian, index) = (CustodianId::new(custodian), ShareIndex::new(index));
        let place = SharePlace { set: SET, custodian, index };
        suite.check_share(share, place, &dealt.commitments[0].share)
    };
    assert_eq!(check(1, 1), Ok(()));
    assert_eq!(check(2, 1), Err(Differs));
    assert_eq!(check(1, 2), Err(Differs));
}

#[test]
fn qrm_8_what_does_not_match_is_erased_and_what_matches_stays() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let shares = [dealt.release(&mut suite, 0), dealt.release(&mut suite, 1)];
    let held = suite.held();
    let (index, share) = shares[1];
    let place = SharePlace { set: SET, custodian: dealt.sealed[1].custodian, index };
    let commitment = &dealt.commitments[1].share;
    assert_eq!(suite.check_share(share, place, commitment), Ok(()));
    assert_eq!(suite.held(), held);

    let dek = suite.combine(&shares).unwrap();
    let commitment = dealt.dek.commitment(WEIGHTS, VERSION);
    assert_eq!(suite.check_dek(dek, WEIGHTS, VERSION, &commitment), Ok(()));
    let next = WeightsVersion::new(8);
    assert_eq!(suite.check_dek(dek, WEIGHTS, next, &commitment), Err(Differs));
    assert_eq!(suite.with_dek(dek, |_| ()), None);
    assert_eq!(suite.held(), held);

    assert_eq!(suite.check_share(share, place, &dealt.commitments[0].share), Err(Differs));
    assert_eq!(suite.combine(&shares), Err(NotOpened));
    assert_eq!(suite.held(), held - 1);
}

#[test]
fn qrm_2_commitment_is_the_labelled_hash_of_set_custodian_index_and_share() {
    let dealt = deal();
    let custody = &dealt.custodies[0];
    // The dealer's share, read the long way round: re-wrapped to a key whose secret is ours.
    let ours = SoftCustody::generate().unwrap();
    let key = AgreementKey::new(ours.kek_public().as_bytes().to_vec()).unwrap();
    assert!(dealt.rewrap(0, &key).is_ok());
    assert_eq!(dealt.commitments[0].kek, custody.kek_public().digest());
    let kek = hash_label(Label::Kek, &[custody.kek_public().as_bytes()]);
    assert_eq!(dealt.commitments[0].kek, kek);
}

#[test]
fn qrm_7_zero_and_repeated_indices_do_not_combine() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let (index, share) = dealt.release(&mut suite, 0);
    assert_eq!(suite.combine(&[]), Err(NotOpened));
    assert_eq!(suite.combine(&[(index, share), (index, share)]), Err(NotOpened));
    assert_eq!(suite.combine(&[(ShareIndex::new(0), share)]), Err(NotOpened));
}

#[test]
fn rel_4_share_sealed_under_another_context_does_not_open() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let (secret, key) = suite.generate(SUITE, 0);
    let rewrapped = dealt.rewrap(0, &key).unwrap();
    let other = Digest::new([0x45; 32]);
    assert_eq!(suite.open_share(SUITE, secret, &other, &rewrapped), Err(NotOpened));
}

#[test]
fn rel_12_suite_that_is_not_implemented_is_an_error_everywhere() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    for id in [SuiteId::new(0x0004), SuiteId::new(0x0013), SuiteId::new(0xffff)] {
        let (secret, key) = suite.generate(id, 0);
        assert_eq!(suite.validate_key(id, &key), Err(InvalidKey));
        assert_eq!(suite.validate_key(SUITE, &key), Err(InvalidKey));
        let sealed = &dealt.sealed[0].sealed;
        assert_eq!(suite.open_share(id, secret, &CONTEXT, sealed), Err(NotOpened));
        let (_, good) = suite.generate(SUITE, 0);
        let refused = dealt.custodies[0].rewrap(sealed, &CONTEXT, id, &good, &CONTEXT);
        assert_eq!(refused, Err(HsmError::SuiteNotImplemented(id.value())));
    }
}

#[test]
fn hs_15_keys_of_wrong_length_and_low_order_are_not_valid() {
    let mut suite = ByteSuite::new();
    let key = |bytes: Vec<u8>| AgreementKey::new(bytes).unwrap();
    let (_, good) = suite.generate(SUITE, 0);
    assert_eq!(suite.validate_key(SUITE, &good), Ok(()));
    assert_eq!(suite.validate_key(SUITE, &key(vec![9; 31])), Err(InvalidKey));
    assert_eq!(suite.validate_key(SUITE, &key(vec![9; 33])), Err(InvalidKey));
    assert_eq!(suite.validate_key(SUITE, &key(vec![0; 32])), Err(InvalidKey));
    let mut one = vec![0; 32];
    one[0] = 1;
    assert_eq!(suite.validate_key(SUITE, &key(one)), Err(InvalidKey));
}

#[test]
fn hs_15_custodian_seals_nothing_to_a_low_order_key() {
    let dealt = deal();
    let zero = AgreementKey::new(vec![0; 32]).unwrap();
    assert_eq!(dealt.rewrap(0, &zero), Err(HsmError::DeviceKeyInvalid));
}

#[test]
fn hs_8_every_generated_key_is_another() {
    let mut suite = ByteSuite::new();
    let (first_secret, first) = suite.generate(SUITE, 0);
    let (second_secret, second) = suite.generate(SUITE, 0);
    assert_ne!(first, second);
    assert_ne!(first_secret, second_secret);
    assert_ne!(suite.fresh(0), suite.fresh(0));
}

#[test]
fn rst_10_erased_handles_open_nothing() {
    let dealt = deal();
    let mut suite = ByteSuite::new();
    let shares = [dealt.release(&mut suite, 0), dealt.release(&mut suite, 1)];
    let dek = suite.combine(&shares).unwrap();
    assert_eq!(suite.held(), 5);

    suite.erase(&Secrets { keys: vec![], shares: vec![shares[0].1], dek: Some(dek) });
    assert_eq!(suite.combine(&shares), Err(NotOpened));
    assert_eq!(suite.with_dek(dek, |_| ()), None);

    suite.erase_all();
    assert_eq!(suite.held(), 0);
    let (secret, _) = suite.generate(SUITE, 0);
    assert!(secret.value() > dek.value());
}

#[test]
fn rst_3_handles_that_were_never_given_are_errors() {
    let mut suite = ByteSuite::new();
    let sealed = SealedShare::new(vec![0; 80]).unwrap();
    let unknown = DeviceSecret::new(99);
    assert_eq!(suite.open_share(SUITE, unknown, &CONTEXT, &sealed), Err(NotOpened));
    let share = (ShareIndex::new(1), ShareHandle::new(99));
    assert_eq!(suite.combine(&[share]), Err(NotOpened));
    let dek = DekHandle::new(99);
    assert_eq!(suite.check_dek(dek, WEIGHTS, VERSION, &CONTEXT), Err(Differs));
}

#[test]
fn rel_13_outage_fails_every_key_call_until_it_ends() {
    let dealt = deal();
    let custody = &dealt.custodies[0];
    let (_, key) = ByteSuite::new().generate(SUITE, 0);

    custody.outage().begin();
    assert_eq!(dealt.rewrap(0, &key), Err(HsmError::Outage));
    assert_eq!(custody.sign(b"message"), Err(HsmError::Outage));
    assert_eq!(custody.destroy_handles(), Err(HsmError::Outage));

    custody.outage().end();
    assert!(dealt.rewrap(0, &key).is_ok());
    assert!(custody.sign(b"message").is_ok());
}

#[test]
fn rel_4_share_provisioned_for_another_place_does_not_open_at_the_custodian() {
    let dealt = deal();
    let (_, key) = ByteSuite::new().generate(SUITE, 0);
    // Custodian 2 holds the share dealt to custodian 1: wrong KEK.
    let stolen = &dealt.sealed[0];
    let context = provision_context(&MANIFEST, &SET, stolen.custodian, stolen.index, &stolen.kek);
    let refused = dealt.custodies[1].rewrap(&stolen.sealed, &context, SUITE, &key, &CONTEXT);
    assert_eq!(refused, Err(HsmError::ShareNotOpened));
    // Custodian 1 under another manifest: wrong context.
    let other = Digest::new([0x34; 32]);
    let context = provision_context(&other, &SET, stolen.custodian, stolen.index, &stolen.kek);
    let refused = dealt.custodies[0].rewrap(&stolen.sealed, &context, SUITE, &key, &CONTEXT);
    assert_eq!(refused, Err(HsmError::ShareNotOpened));
}

#[test]
fn seal_8_provision_names_manifest_set_place_and_sealed_share() {
    let dealt = deal();
    let owner = OwnerKey::generate().unwrap();
    let manifest =
        owner.sign_object(split_custody_protocol::wire::ObjectKind::Manifest, &1u8).unwrap();
    let deployment =
        owner.sign_object(split_custody_protocol::wire::ObjectKind::Deployment, &1u8).unwrap();
    let provision = owner.provision(&manifest, &deployment, &dealt.sealed[1], VERSION).unwrap();

    let statement: split_custody_protocol::wire::standing::ProvisionStatement =
        provision.statement.payload().unwrap();
    assert_eq!(statement.manifest, manifest_digest(manifest.payload_bytes()));
    assert_eq!(statement.sealed, sealed_digest(&dealt.sealed[1].sealed));
    assert_eq!(statement.custodian, CustodianId::new(2));
    let message = provision.statement.message(split_custody_protocol::wire::ObjectKind::Provision);
    let signature = provision.statement.signature();
    assert_eq!(ByteSuite::new().verify(&owner.public(), &message, signature), Ok(()));
}

#[test]
fn qrm_7_dealing_to_one_custodian_twice_is_refused() {
    let custody = SoftCustody::generate().unwrap();
    let kek = KekSecret::generate().public();
    let twice = [recipient(1, &custody), Recipient { kek, ..recipient(1, &custody) }];
    let refused = Dealing::deal(&Dek::generate(), SET, 1, &twice).map(|_| ());
    assert_eq!(refused, Err(split_custody_keys::DealError::CustodianInvalid(1)));
}
