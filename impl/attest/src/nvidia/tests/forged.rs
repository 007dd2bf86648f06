//! RIMs signed here, under a root of our own: good in everything but one thing.
//!
//! What a signature covers is believed only after it was read strictly. The vectors carry no genuine
//! RIM with, say, an index twice, so these are made: content of a genuine one, changed, signed anew.

use base64ct::{Base64, Encoding};
use rcgen::{Certificate, IsCa, KeyUsagePurpose};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};

use super::chains::Chain;
use super::files::{DRIVER_545, Set, VBIOS_5E01, file};
use crate::nvidia::cert::Cert;
use crate::nvidia::path::Roots;
use crate::nvidia::xml::Xml;
use crate::nvidia::{Depth, Place, Provider, Reason, Verifier};

/// An authority of our own and what it signs with.
struct Forge {
    chain: Chain,
    root: Certificate,
}

impl Forge {
    fn new() -> Self {
        // Four of the five certificates: the second is the signer's.
        let chain = Chain::with(|chain| {
            chain.plans[1].ca = IsCa::NoCa;
            chain.plans[1].usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        let root = chain.certificate(4);
        Self { chain, root }
    }

    /// The genuine RIM with other content, signed by our signer.
    fn rim(&self, genuine: &str, change: impl FnOnce(String) -> String) -> Vec<u8> {
        let text = String::from_utf8(file(genuine)).unwrap();
        let begin = text.find("<ds:Signature ").unwrap();
        let end = text.find("</SoftwareIdentity>").unwrap();
        let content = change(text[..begin].to_owned() + &text[end..]);
        let xml = Xml::parse(content.as_bytes()).expect("the change stays within the profile");
        let canonical = xml.canonical(xml.root()).unwrap();
        let digest = ring::digest::digest(&ring::digest::SHA384, canonical.as_bytes());
        let mut signature = text[begin..end].to_owned();
        replace(&mut signature, "DigestValue", &Base64::encode_string(digest.as_ref()));
        let certificates = (1..4).map(|at| self.chain.certificate(at)).map(|c| c.der().to_vec());
        let all: Vec<String> = certificates
            .chain([self.root.der().to_vec()])
            .map(|der| {
                format!("<ds:X509Certificate>{}</ds:X509Certificate>", Base64::encode_string(&der))
            })
            .collect();
        replace(&mut signature, "X509Data", &all.concat());
        let at = content.find("</SoftwareIdentity>").unwrap();
        let whole = |signature: &str| format!("{}{signature}{}", &content[..at], &content[at..]);
        let unsigned = whole(&signature);
        let xml = Xml::parse(unsigned.as_bytes()).unwrap();
        let info = xml.all("http://www.w3.org/2000/09/xmldsig#", "SignedInfo")[0];
        let signed = self.sign(xml.canonical(info).unwrap().as_bytes());
        replace(&mut signature, "SignatureValue", &Base64::encode_string(&signed));
        whole(&signature).into_bytes()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        let key = self.chain.keys[1].serialize_der();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &key, &rng).unwrap();
        pair.sign(&rng, message).unwrap().as_ref().to_vec()
    }

    fn set(
        &self,
        driver: impl FnOnce(String) -> String,
        vbios: impl FnOnce(String) -> String,
    ) -> Set {
        Set::full().rims(vec![self.rim(DRIVER_545, driver), self.rim(VBIOS_5E01, vbios)])
    }

    /// Every finding where this authority is the pinned one, and nobody else.
    fn told(&self, set: &Set) -> Vec<(Reason, Place)> {
        let rim = Cert::parse(self.root.der()).unwrap();
        let roots = Roots { device: Roots::nvidia().device.clone(), rim };
        let verifier = Verifier::under(roots, Provider::Ring);
        let accepted = set.examine_by(&verifier, Depth::FirstFailure, None, |e| e.outcome.is_ok());
        set.examine_by(&verifier, Depth::Everything, None, |examination| {
            assert_eq!(accepted, examination.outcome.is_ok());
            let findings: Vec<_> = examination
                .log
                .findings()
                .map(|(_, finding)| (finding.reason, finding.place))
                .collect();
            assert_eq!(accepted, findings.is_empty());
            findings
        })
    }

    /// What is told of the driver's RIM with this text for that.
    fn changed(from: &str, to: &str) -> Vec<(Reason, Place)> {
        let forge = Self::new();
        let set = forge.set(
            |text| {
                assert!(text.contains(from), "{from}");
                text.replacen(from, to, 1)
            },
            |text| text,
        );
        forge.told(&set)
    }
}

/// Other content for the element of this name.
fn replace(text: &mut String, name: &str, content: &str) {
    let (open, close) = (format!("<ds:{name}>"), format!("</ds:{name}>"));
    let begin = text.find(&open).unwrap() + open.len();
    let end = text.find(&close).unwrap();
    text.replace_range(begin..end, content);
}

fn same(text: String) -> String {
    text
}

#[test]
fn hs_25_rim_of_the_pinned_authority_is_accepted_and_of_another_not() {
    let forge = Forge::new();
    let set = forge.set(same, same);
    assert_eq!(forge.told(&set), []);
    // NVIDIA's root is the pin: digest and signature hold, and the chain leads elsewhere.
    let chain = |rim| (Reason::RimChain, Place::RimCertificate(rim, 3));
    let findings = set.findings();
    assert_eq!(findings[..2], [chain(0), chain(1)]);
    assert_eq!(set.outcome().unwrap_err().reason, Reason::RimChain);
    let other = Forge::new();
    assert_eq!(other.told(&set)[..2], [chain(0), chain(1)]);
}

#[test]
fn hs_26_rim_that_admits_anything_is_rejected() {
    let forge = Forge::new();
    let none = |text: String| text.replace("active=\"True\"", "active=\"False\"");
    let set = forge.set(none, same);
    assert_eq!(forge.told(&set), [(Reason::MeasurementNone, Place::Whole)]);
}

#[test]
fn hs_26_index_of_both_rims_is_rejected() {
    let forge = Forge::new();
    let also_0 = |text: String| {
        text.replacen("index=\"0\" active=\"False\"", "index=\"0\" active=\"True\"", 1)
    };
    let set = forge.set(also_0, same);
    assert_eq!(forge.told(&set), [(Reason::MeasurementTwice, Place::Measurement(0))]);
}

#[test]
fn hs_26_value_that_the_rim_does_not_give_is_rejected() {
    let differs = |index| (Reason::MeasurementDiffers, Place::Measurement(index));
    let changed = Forge::changed("ns2:Hash0=\"0e0ee161", "ns2:Hash0=\"0e0ee162");
    assert_eq!(changed, [differs(7)]);
    // An index that reports carry and no RIM gave before is compared as soon as one gives it.
    let zeros = "index=\"63\" active=\"False\" alternatives=\"1\" ns2:Hash0=\"00";
    let given = |first: &str| zeros.replacen("False", "True", 1).replacen("\"00", first, 1);
    assert_eq!(Forge::changed(zeros, &given("\"00")), []);
    assert_eq!(Forge::changed(zeros, &given("\"01")), [differs(63)]);
}

#[test]
fn hs_25_rim_of_another_chip_or_kind_is_rejected() {
    let product = Forge::changed("product=\"GH100\"", "product=\"GB100\"");
    assert_eq!(product[0], (Reason::RimProduct, Place::Whole));
    for (from, to) in [
        ("edition=\"GPU\"", "edition=\"SWITCH\""),
        ("ns1:FirmwareManufacturerId=\"5703\"", "ns1:FirmwareManufacturerId=\"1\""),
    ] {
        assert_eq!(Forge::changed(from, to)[0], (Reason::RimContent, Place::Rim(0)), "{to}");
    }
}

#[test]
fn hs_25_signed_content_of_another_shape_is_rejected() {
    let hash = "0".repeat(96);
    let twice = format!("alternatives=\"1\" ns2:Hash0=\"{hash}\" name=\"Measurement_0\"");
    for (from, to) in [
        ("index=\"1\" ", "index=\"0\" "),
        ("index=\"63\" ", "index=\"64\" "),
        ("index=\"1\" ", "index=\"01\" "),
        ("index=\"1\" active=\"False\"", "index=\"1\" active=\"false\""),
        ("size=\"48\"", "size=\"32\""),
        ("type=\"Measurement\"", "type=\"Other\""),
        ("Hash0=\"0e0ee161", "Hash0=\"0E0EE161"),
        ("Hash0=\"0e0ee161", "Hash0=\"0e0ee1"),
        ("ns2:Hash0=", "ns2:Hash1="),
        (twice.as_str(), twice.replacen('1', "2", 1).as_str()),
        (twice.as_str(), twice.replacen('1', "0", 1).as_str()),
        ("colloquialVersion=\"545.00\"", "colloquialVersion=\"545 00\""),
        ("<ns0:Entity ", "<ns0:Meta colloquialVersion=\"999.99\"/><ns0:Entity "),
        ("</ns0:Payload>", "</ns0:Payload><ns0:Payload/>"),
        ("</ns0:Payload>", "</ns0:Payload>text"),
        ("</ns0:Payload>", "<ns0:Resource/></ns0:Payload>"),
    ] {
        let changed = Forge::changed(from, to);
        assert_eq!(changed[0], (Reason::RimContent, Place::Rim(0)), "{to}");
    }
}
