//! Chains made here, under a root of our own: each with one thing that must not be.
//!
//! The vectors carry no genuine chain with, say, a certificate authority as its leaf, so the rules that
//! refuse one are shown on chains that are good in everything else.

use der::Encode as _;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CustomExtension, DnType, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, OtherNameValue, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
    PublicKeyData as _, SanType, date_time_ymd,
};

use super::files::time;
use crate::nvidia::cache::Cache;
use crate::nvidia::cert::Cert;
use crate::nvidia::{DeviceChain, Finding, Place, Provider, Reason};

/// One certificate before it is signed.
#[derive(Clone)]
pub(super) struct Plan {
    name: String,
    /// Who the certificate says its issuer is, where that is a lie.
    issuer: Option<String>,
    pub(super) ca: IsCa,
    pub(super) usages: Vec<KeyUsagePurpose>,
    san: Option<(Vec<u64>, String)>,
    extensions: Vec<(Vec<u64>, Vec<u8>, bool)>,
    p256: bool,
}

impl Plan {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            issuer: None,
            ca: IsCa::Ca(BasicConstraints::Unconstrained),
            usages: vec![KeyUsagePurpose::KeyCertSign],
            san: None,
            extensions: Vec::new(),
            p256: false,
        }
    }
}

/// Five plans, leaf first, and the keys that sign them.
pub(super) struct Chain {
    pub(super) plans: [Plan; 5],
    pub(super) keys: [KeyPair; 5],
    /// Certificate `.0` is signed by the key of certificate `.1` instead of its issuer's.
    signer: Option<(usize, usize)>,
}

impl Chain {
    fn new() -> Self {
        let mut plans =
            ["GH100 A01 GSP FMC LF", "GH100 A01 GSP BROM", "Provisioner", "Identity", "Root"]
                .map(Plan::new);
        plans[0].ca = IsCa::NoCa;
        plans[0].usages = vec![KeyUsagePurpose::DigitalSignature];
        plans[0].san = Some((DMTF.to_vec(), "NVIDIA:GH100:48B02DB73E52137E".into()));
        let keys =
            plans.each_ref().map(|_| KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap());
        let mut chain = Self { plans, keys, signer: None };
        let composite = chain.composite_device_id(1);
        chain.plans[0].extensions.push((COMPOSITE.to_vec(), composite, false));
        chain
    }

    pub(super) fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut chain = Self::new();
        change(&mut chain);
        for (plan, key) in chain.plans.iter().zip(&mut chain.keys) {
            if plan.p256 {
                *key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
            }
        }
        chain
    }

    /// `SEQ { 1, SPKI of that certificate's key, SEQ { sha384, FWID } }`.
    fn composite_device_id(&self, of: usize) -> Vec<u8> {
        let key = self.keys[of].subject_public_key_info();
        sequence(&[vec![2, 1, 1], key, sequence(&[fwid(FWID)])])
    }

    pub(super) fn certificate(&self, at: usize) -> Certificate {
        let plan = &self.plans[at];
        let params = params(plan);
        let above = at + 1;
        if above == 5 {
            return params.self_signed(&self.keys[at]).unwrap();
        }
        let signer = self.signer.filter(|(whose, _)| *whose == at).map_or(above, |(_, by)| by);
        let mut issuer = self.plans[above].clone();
        if let Some(name) = &plan.issuer {
            issuer.name.clone_from(name);
        }
        let issuer = Issuer::new(self::params(&issuer), &self.keys[signer]);
        params.signed_by(&self.keys[at], &issuer).unwrap()
    }

    fn verify(&self) -> Result<DeviceChain, Finding> {
        self.verify_under(&self.certificate(4), 0..5)
    }

    fn verify_under(
        &self,
        root: &Certificate,
        which: impl IntoIterator<Item = usize>,
    ) -> Result<DeviceChain, Finding> {
        let certificates = which.into_iter().map(|at| {
            // The root is made once: a second signature of it would be another certificate.
            if at == 4 { root.pem() } else { self.certificate(at).pem() }
        });
        let pem: String = certificates.map(|pem| pem.replace('\r', "")).collect();
        let root = Cert::parse(root.der()).unwrap();
        DeviceChain::verify(pem.as_bytes(), &root, Provider::Ring, &Cache::new(8))
    }

    fn refused(change: impl FnOnce(&mut Self)) -> (Reason, Place) {
        let finding = Self::with(change).verify().unwrap_err();
        (finding.reason, finding.place)
    }
}

fn params(plan: &Plan) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, plan.name.as_str());
    params.is_ca = plan.ca;
    params.key_usages.clone_from(&plan.usages);
    params.not_before = date_time_ymd(2020, 10, 17);
    params.not_after = date_time_ymd(2100, 1, 1);
    if let Some((id, text)) = &plan.san {
        let name = OtherNameValue::Utf8String(text.clone());
        params.subject_alt_names.push(SanType::OtherName((id.clone(), name)));
    }
    for (id, content, critical) in &plan.extensions {
        let mut extension = CustomExtension::from_oid_content(id, content.clone());
        extension.set_criticality(*critical);
        params.custom_extensions.push(extension);
    }
    params
}

/// DER with a length of one, two or three bytes.
fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = match length {
        0..=0x7f => vec![tag, length as u8],
        0x80..=0xff => vec![tag, 0x81, length as u8],
        _ => vec![tag, 0x82, (length >> 8) as u8, length as u8],
    };
    [head, body.to_vec()].concat()
}

fn sequence(parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let body: Vec<u8> = parts.iter().flat_map(|part| part.as_ref().to_vec()).collect();
    tagged(0x30, &body)
}

/// `sha384, digest`, without the sequence around it.
fn fwid(digest: [u8; 48]) -> Vec<u8> {
    let sha384 = der::asn1::ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.2");
    [sha384.to_der().unwrap(), tagged(4, &digest)].concat()
}

/// A TcbInfo with these fields.
fn tcb_info(fields: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let fields: Vec<Vec<u8>> = fields.iter().map(|(tag, body)| tagged(*tag, body)).collect();
    sequence(&fields)
}

/// Tag and body of each field.
type Fields = Vec<(u8, Vec<u8>)>;

fn tcb_fields() -> Fields {
    vec![
        (0x80, b"NVIDIA".to_vec()),
        (0x81, b"GH100 A01 GSP".to_vec()),
        (0xa6, [sequence(&[fwid(FWID)]), sequence(&[fwid([0; 48])])].concat()),
        (0x87, vec![0, 0x80, 0, 0, 1]),
    ]
}

fn with_tcb(change: impl FnOnce(&mut Fields)) -> Result<DeviceChain, Finding> {
    let mut fields = tcb_fields();
    change(&mut fields);
    let value = tcb_info(&fields);
    Chain::with(|chain| chain.plans[0].extensions = vec![(TCB.to_vec(), value, false)]).verify()
}

#[test]
fn hs_23_chain_that_is_good_in_everything_is_accepted() {
    let chain = Chain::new().verify().unwrap();
    assert_eq!(chain.chip(), "GH100");
    assert_eq!(chain.fwid(), Some(&FWID));
    assert!(chain.check_time(time("2024-06-01")).is_ok());
    assert!(chain.check_time(time("2100-01-02")).is_err());
    assert!(chain.check_time(time("2020-10-16")).is_err());
}

#[test]
fn hs_23_root_of_another_is_refused() {
    let (chain, other) = (Chain::new(), Chain::new());
    // The names are equal and the whole chain verifies under the root that was sent.
    let refused = chain.verify_under(&other.certificate(4), [0, 1, 2, 3, 4]).unwrap_err();
    assert_eq!(refused.reason, Reason::ChainSignature);
    let sent = chain.certificate(4);
    let pem: String = (0..4).map(|at| chain.certificate(at).pem()).collect();
    let pem = (pem + &sent.pem()).replace('\r', "");
    let pinned = Cert::parse(other.certificate(4).der()).unwrap();
    let refused =
        DeviceChain::verify(pem.as_bytes(), &pinned, Provider::Ring, &Cache::new(8)).unwrap_err();
    assert_eq!(refused, Finding::at(Reason::ChainRoot, Place::Certificate(4)));
}

#[test]
fn hs_23_certificates_out_of_their_roles_are_refused() {
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign};
    let role = |at| (Reason::ChainRole, Place::Certificate(at));
    let ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(Chain::refused(|c| c.plans[0].ca = ca), role(0));
    assert_eq!(Chain::refused(|c| c.plans[0].usages = vec![CrlSign]), role(0));
    assert_eq!(Chain::refused(|c| c.plans[0].usages = vec![]), role(0));
    let both = vec![DigitalSignature, KeyCertSign];
    assert_eq!(Chain::refused(|c| c.plans[0].usages = both), role(0));
    for at in 1..4 {
        let place = u8::try_from(at).unwrap();
        assert_eq!(Chain::refused(|c| c.plans[at].ca = IsCa::NoCa), role(place));
        assert_eq!(Chain::refused(|c| c.plans[at].ca = IsCa::ExplicitNoCa), role(place));
        let without = vec![DigitalSignature, CrlSign];
        assert_eq!(Chain::refused(|c| c.plans[at].usages = without), role(place));
    }
}

#[test]
fn hs_23_longer_path_than_a_certificate_allows_is_refused() {
    let most = |length| IsCa::Ca(BasicConstraints::Constrained(length));
    assert!(Chain::with(|c| c.plans[1].ca = most(0)).verify().is_ok());
    assert!(Chain::with(|c| c.plans[3].ca = most(2)).verify().is_ok());
    let role = |at| (Reason::ChainRole, Place::Certificate(at));
    assert_eq!(Chain::refused(|c| c.plans[2].ca = most(0)), role(2));
    assert_eq!(Chain::refused(|c| c.plans[3].ca = most(1)), role(3));
}

#[test]
fn hs_23_certificate_that_names_another_issuer_is_refused() {
    for at in 0..4 {
        let (reason, place) = Chain::refused(|c| c.plans[at].issuer = Some("Somebody else".into()));
        assert_eq!((reason, place), (Reason::ChainIssuer, Place::Certificate(at as u8)));
    }
}

#[test]
fn hs_23_certificate_that_another_key_signed_is_refused() {
    for at in 0..4 {
        let another = (at + 3) % 5;
        let (reason, place) = Chain::refused(|c| c.signer = Some((at, another)));
        assert_eq!((reason, place), (Reason::ChainSignature, Place::Certificate(at as u8)));
    }
}

#[test]
fn hs_23_extension_twice_or_critical_and_unknown_is_refused() {
    let extension = |critical| (vec![1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0], critical);
    let refused = Chain::refused(|c| c.plans[2].extensions.push(extension(true)));
    assert_eq!(refused, (Reason::ChainExtension, Place::Certificate(2)));
    assert!(Chain::with(|c| c.plans[2].extensions.push(extension(false))).verify().is_ok());
    let twice =
        Chain::refused(|c| c.plans[2].extensions = vec![extension(false), extension(false)]);
    assert_eq!(twice, (Reason::ChainExtension, Place::Certificate(2)));
    let many = (0..40).map(|n| (vec![1, 3, 6, 1, 4, 1, 99999, n], vec![5, 0], false));
    let many = Chain::refused(|c| c.plans[2].extensions = many.collect());
    assert_eq!(many, (Reason::ChainExtension, Place::Certificate(2)));
}

#[test]
fn hs_23_key_of_another_curve_is_refused() {
    for at in 0..4 {
        let (reason, _) = Chain::refused(|c| c.plans[at].p256 = true);
        assert_eq!(reason, Reason::ChainAlgorithm);
    }
}

#[test]
fn hs_23_chain_of_no_gpu_that_we_know_is_refused() {
    for (leaf, identity) in [
        ("LS_10 A01 FSP FMC LF", "LS_10 A01 FSP BROM"),
        ("GH100 A01 GSP FMC LF", "GB100 A01 GSP BROM"),
        ("GH100 A01 GSP FMC LF", "GH100 A02 GSP BROM"),
        ("GX999 A01 GSP FMC LF", "GX999 A01 GSP BROM"),
        ("GH100 GSP FMC LF", "GH100 GSP BROM"),
        ("GH100 A01 GSP BROM", "GH100 A01 GSP BROM"),
    ] {
        let (reason, _) = Chain::refused(|c| {
            c.plans[0].name = leaf.into();
            c.plans[1].name = identity.into();
        });
        assert_eq!(reason, Reason::ChainNotGpu, "{leaf}");
    }
}

#[test]
fn hs_23_leaf_that_names_no_device_is_refused() {
    let named = |text: &str| Some((DMTF.to_vec(), text.to_owned()));
    for san in [
        None,
        Some((vec![1, 3, 6, 1, 4, 1, 412, 274, 2], "NVIDIA:GH100:48B02DB73E52137E".into())),
        named("NVIDIA:GB100:48B02DB73E52137E"),
        named("OTHER:GH100:48B02DB73E52137E"),
        named("NVIDIA:GH100:48B02DB73E52137"),
        named("NVIDIA:GH100:48B02DB73E52137EE"),
        named("NVIDIA:GH100:48B02DB73E52137\n"),
    ] {
        let (reason, _) = Chain::refused(|c| c.plans[0].san = san);
        assert_eq!(reason, Reason::ChainDeviceId);
    }
}

#[test]
fn hs_24_firmware_id_for_another_device_key_is_refused() {
    let (reason, _) = Chain::refused(|c| {
        let other = c.composite_device_id(2);
        c.plans[0].extensions = vec![(COMPOSITE.to_vec(), other, false)];
    });
    assert_eq!(reason, Reason::FwidMalformed);
    let (reason, _) = Chain::refused(|c| {
        let longer = [c.composite_device_id(1), vec![0]].concat();
        c.plans[0].extensions = vec![(COMPOSITE.to_vec(), longer, false)];
    });
    assert_eq!(reason, Reason::FwidMalformed);
    let (reason, _) = Chain::refused(|c| {
        c.plans[0].extensions.push((TCB.to_vec(), tcb_info(&tcb_fields()), false));
    });
    assert_eq!(reason, Reason::FwidMalformed);
}

#[test]
fn hs_24_tcb_info_of_secure_firmware_is_read() {
    assert_eq!(with_tcb(|_| ()).unwrap().fwid(), Some(&FWID));
}

#[test]
fn hs_24_tcb_info_of_insecure_firmware_or_another_maker_is_refused() {
    let changes: [fn(&mut Fields); 9] = [
        |fields| fields[3].1[1] = 0x40,
        |fields| fields[3].1[1] = 0x20,
        |fields| fields[3].1[1] = 0x10,
        |fields| fields[3].1 = vec![0],
        |fields| fields[0].1 = b"ACME".to_vec(),
        |fields| fields[1].1 = b"GB100 A01 GSP".to_vec(),
        |fields| fields.swap(0, 1),
        |fields| drop(fields.remove(2)),
        |fields| fields[2].1 = sequence(&[&fwid(FWID)[..60]]),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let refused = with_tcb(change).unwrap_err();
        assert_eq!(refused.reason, Reason::FwidMalformed, "change {at}");
    }
}

const FWID: [u8; 48] = [0xf1; 48];
const DMTF: [u64; 9] = [1, 3, 6, 1, 4, 1, 412, 274, 1];
const COMPOSITE: [u64; 6] = [2, 23, 133, 5, 4, 1];
const TCB: [u64; 7] = [2, 23, 133, 5, 4, 1, 1];
