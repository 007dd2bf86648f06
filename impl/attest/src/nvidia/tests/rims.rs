//! RIMs whose signature holds and whose reading could be bent.

use super::files::{DRIVER_545, Set, VBIOS_5E01, file};
use crate::nvidia::{Place, Reason};

fn text() -> String {
    String::from_utf8(file(DRIVER_545)).unwrap()
}

/// What is found of the driver's RIM in other words.
fn told(rim: String) -> Vec<Reason> {
    let set = Set::full().rims(vec![rim.into_bytes(), file(VBIOS_5E01)]);
    let findings = set.findings().into_iter();
    let found: Vec<_> = findings
        .filter(|(_, place)| matches!(place, Place::Rim(0) | Place::RimCertificate(0, _)))
        .map(|(reason, _)| reason)
        .collect();
    assert!(set.outcome().is_err());
    found
}

fn split() -> (String, String, String) {
    let text = text();
    let at = text.find("<ds:Signature ").unwrap();
    let end = text.find("</ds:Signature>").unwrap() + "</ds:Signature>".len();
    (text[..at].into(), text[at..end].into(), text[end..].into())
}

#[test]
fn hs_25_signature_moved_to_the_front_is_rejected() {
    let (before, signature, after) = split();
    let open = before.find('>').unwrap() + 1;
    let moved = format!("{}{signature}{}{after}", &before[..open], &before[open..]);
    assert_eq!(told(moved), [Reason::RimSignatureShape]);
}

#[test]
fn hs_25_content_wrapped_in_the_signature_is_rejected() {
    // The enveloped transform removes the signature with whatever is in it, so the digest still
    // holds; a reader that looks for elements anywhere would take the wrapped ones.
    let fake = "<ns0:Meta colloquialVersion=\"999.99\"></ns0:Meta>";
    let object = format!("<ds:Object>{fake}</ds:Object>");
    let (before, signature, after) = split();
    let wrapped = signature.replace("</ds:Signature>", &format!("{object}</ds:Signature>"));
    assert_eq!(told(format!("{before}{wrapped}{after}")), [Reason::RimSignatureShape]);
    let bare = signature.replace("<ds:SignedInfo>", &format!("{fake}<ds:SignedInfo>"));
    assert_eq!(told(format!("{before}{bare}{after}")), [Reason::RimSignatureShape]);
    let inside = signature.replace("<ds:X509Data>", &format!("<ds:X509Data>{fake}"));
    assert_eq!(told(format!("{before}{inside}{after}")), [Reason::RimSignatureShape]);
}

#[test]
fn hs_25_signed_document_wrapped_in_another_is_rejected() {
    let root = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
    let wrapped = format!("<SoftwareIdentity xmlns=\"{root}\">{}</SoftwareIdentity>", text());
    assert_eq!(told(wrapped), [Reason::RimSignatureShape]);
}

#[test]
fn hs_25_second_signature_is_rejected() {
    let (before, signature, after) = split();
    assert_eq!(told(format!("{before}{signature}{signature}{after}")), [Reason::RimSignatureShape]);
}

#[test]
fn hs_25_rim_without_a_signature_is_rejected() {
    let (before, _, after) = split();
    assert_eq!(told(before + &after), [Reason::RimSignatureShape]);
}

#[test]
fn hs_25_other_algorithms_are_rejected() {
    for (from, to) in [
        ("xml-c14n11\"/><ds:SignatureMethod", "xml-c14n11#WithComments\"/><ds:SignatureMethod"),
        ("xmldsig-more#ecdsa-sha384", "xmldsig-more#hmac-sha384"),
        ("<ds:Reference URI=\"\">", "<ds:Reference URI=\"#a\">"),
        ("<ds:Reference URI=\"\">", "<ds:Reference>"),
        ("xmldsig#enveloped-signature\"/>", "xmldsig#base64\"/>"),
        ("xmldsig-more#sha384\"/>", "xmldsig-more#md5\"/>"),
        ("<ds:Transforms>", "<ds:Transforms><ds:Transform Algorithm=\"x\"/>"),
        ("<ds:SignedInfo>", "<ds:SignedInfo Id=\"a\">"),
        ("<ds:DigestValue>", "<ds:DigestValue>AAAA"),
    ] {
        let (before, signature, after) = split();
        assert!(signature.contains(from), "{from}");
        let other = signature.replacen(from, to, 1);
        assert_eq!(told(format!("{before}{other}{after}")), [Reason::RimSignatureShape], "{to}");
    }
}

#[test]
fn hs_25_content_changed_after_signing_is_rejected() {
    for (from, to) in [
        ("colloquialVersion=\"545.00\"", "colloquialVersion=\"545.01\""),
        ("index=\"7\" active=\"True\"", "index=\"7\" active=\"False\""),
        ("ns2:Hash0=\"0e0ee161", "ns2:Hash0=\"1e0ee161"),
        ("    <ns0:Entity", "   <ns0:Entity"),
        ("</ns0:Payload>", "</ns0:Payload><ns0:Meta/>"),
    ] {
        assert!(text().contains(from), "{from}");
        assert_eq!(told(text().replacen(from, to, 1)), [Reason::RimDigest], "{to}");
    }
}

#[test]
fn hs_25_other_spelling_of_the_same_document_holds() {
    // Canonicalisation is real: what it evens out changes nothing.
    for (from, to) in [
        ("corpus=\"false\" name=\"GH100\"", "name=\"GH100\"   corpus='false'"),
        ("</SoftwareIdentity>\n", "</SoftwareIdentity>"),
        ("<ns0:Entity name=\"NVIDIA Corporation\"", "<ns0:Entity\nname=\"NVIDIA Corporation\""),
    ] {
        assert!(text().contains(from), "{from}");
        let rim = text().replacen(from, to, 1);
        let set = Set::full().rims(vec![rim.into_bytes(), file(VBIOS_5E01)]);
        assert!(set.outcome().is_ok(), "{to}");
    }
}

#[test]
fn hs_25_signed_info_of_another_rim_is_rejected() {
    let (before, _, after) = split();
    let other = String::from_utf8(file(VBIOS_5E01)).unwrap();
    let at = other.find("<ds:Signature ").unwrap();
    let end = other.find("</SoftwareIdentity>").unwrap();
    assert_eq!(told(format!("{before}{}{after}", &other[at..end])), [Reason::RimDigest]);
}

#[test]
fn hs_25_rim_cut_at_every_length_is_rejected() {
    let good = file(DRIVER_545);
    let end = good.len() - 1;
    for length in (0..end).step_by(37).chain(end - 300..end) {
        let set = Set::full().rims(vec![good[..length].to_vec(), file(VBIOS_5E01)]);
        assert!(set.outcome().is_err(), "{length}");
    }
}

#[test]
fn hs_25_flipped_bits_of_a_rim_are_rejected() {
    let good = file(DRIVER_545);
    for byte in (0..good.len() - 1).step_by(23) {
        let mut rim = good.clone();
        rim[byte] ^= 1 << (byte % 7);
        let set = Set::full().rims(vec![rim, file(VBIOS_5E01)]);
        assert!(set.outcome().is_err(), "byte {byte}");
    }
}

#[test]
fn hs_25_chains_of_rims_are_counted() {
    let (before, signature, after) = split();
    let at = signature.rfind("<ds:X509Certificate>").unwrap();
    let end = signature.rfind("</ds:X509Data>").unwrap();
    let last = &signature[at..end];
    let three = signature.replacen(last, "", 1);
    let found = told(format!("{before}{three}{after}"));
    assert_eq!(found, [Reason::RimChainLength]);
    let five = signature.replacen(last, &last.repeat(2), 1);
    assert_eq!(told(format!("{before}{five}{after}")), [Reason::RimChainLength]);
}
