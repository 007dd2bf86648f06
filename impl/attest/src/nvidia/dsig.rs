//! The one XML signature that RIMs carry, and nothing more of XML-DSig.
//!
//! One enveloped signature as the last child of the document's element, over the whole of it, with
//! one digest, one transform pair and one algorithm. What it covers leaves this module as canonical
//! bytes: whoever reads content from anywhere else reads what nobody signed. [HS-25]

use base64ct::{Base64, Encoding};
use ring::digest::{SHA384, digest};
use roxmltree::Node;

use super::path::read_base64;
use super::provider::{Form, Provider};
use super::reason::Reason;
use super::xml::Xml;

/// A signature of the one shape, and what it is over.
#[derive(Debug)]
pub(super) struct Signature {
    /// The canonical document without the signature.
    pub(super) covered: String,
    signed_info: String,
    digest: Vec<u8>,
    value: Vec<u8>,
    /// Certificates as DER, signer first.
    pub(super) certificates: Vec<Vec<u8>>,
}

impl Signature {
    /// Reads the shape; nothing is verified yet. [HS-25]
    pub(super) fn read(xml: &Xml<'_>) -> Result<Self, Reason> {
        let shape = Reason::RimSignatureShape;
        let all = xml.all(DSIG, "Signature");
        let [node] = all.as_slice() else { return Err(shape) };
        if node.parent_element() != Some(xml.root()) || node.next_sibling_element().is_some() {
            return Err(shape);
        }
        let [info, value, key] = children(*node, ["SignedInfo", "SignatureValue", "KeyInfo"])
            .filter(|_| node.attributes().len() == 0)
            .ok_or(shape)?;
        let covered = xml.canonical_without(*node).ok_or(shape)?;
        let signed_info = xml.canonical(info).ok_or(shape)?;
        let digest = digest_value(&signed_info).ok_or(shape)?;
        let value = text(value).and_then(|text| Base64::decode_vec(text).ok()).ok_or(shape)?;
        let [data] = children(key, ["X509Data"]).ok_or(shape)?;
        let mut certificates = Vec::new();
        for certificate in data.children() {
            let is_certificate = certificate.has_tag_name((DSIG, "X509Certificate"));
            let text = text(certificate).filter(|_| is_certificate).ok_or(shape)?;
            certificates.push(read_base64(text).map_err(|_| shape)?);
        }
        Ok(Self { covered, signed_info, digest, value, certificates })
    }

    /// Whether the document is the one that was signed.
    pub(super) fn digest_holds(&self) -> bool {
        digest(&SHA384, self.covered.as_bytes()).as_ref() == self.digest
    }

    /// Whether this key signed.
    pub(super) fn verifies(&self, provider: Provider, point: &[u8]) -> bool {
        provider.verify(Form::Fixed, point, self.signed_info.as_bytes(), &self.value).is_ok()
    }
}

/// The digest in a canonical `SignedInfo` that names exactly the algorithms of the profile.
fn digest_value(signed_info: &str) -> Option<Vec<u8>> {
    // Read again from what is signed, so that no other reading can be meant.
    let xml = Xml::parse(signed_info.as_bytes())?;
    let [canonical, method, reference] =
        children(xml.root(), ["CanonicalizationMethod", "SignatureMethod", "Reference"])?;
    let [transforms, digest_method, value] =
        children(reference, ["Transforms", "DigestMethod", "DigestValue"])?;
    let [enveloped, again] = children(transforms, ["Transform", "Transform"])?;
    let plain = xml.root().attributes().len() == 0 && transforms.attributes().len() == 0;
    let whole = only_attribute(reference, "URI", "");
    let algorithms = only_attribute(canonical, ALGORITHM, C14N11)
        && only_attribute(method, ALGORITHM, ECDSA_SHA384)
        && only_attribute(enveloped, ALGORITHM, ENVELOPED)
        && only_attribute(again, ALGORITHM, C14N11)
        && only_attribute(digest_method, ALGORITHM, SHA384_URI);
    let leaves = [canonical, method, enveloped, again, digest_method];
    let empty = leaves.iter().all(|leaf| !leaf.has_children());
    let value = Base64::decode_vec(text(value)?).ok()?;
    (plain && whole && algorithms && empty && value.len() == 48).then_some(value)
}

/// The children of an element, if they are exactly these elements of the signature's namespace.
fn children<'a, 'i, const N: usize>(
    node: Node<'a, 'i>,
    names: [&'static str; N],
) -> Option<[Node<'a, 'i>; N]> {
    let found: Vec<_> = node.children().collect();
    let found: [Node<'_, '_>; N] = found.try_into().ok()?;
    found.iter().zip(names).all(|(node, name)| node.has_tag_name((DSIG, name))).then_some(found)
}

/// The text of an element that has no attributes and no elements.
fn text<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    let only =
        node.first_child().filter(|child| child.is_text() && node.attributes().len() == 0)?;
    only.next_sibling().is_none().then(|| only.text()).flatten()
}

fn only_attribute(node: Node<'_, '_>, name: &str, value: &str) -> bool {
    node.attributes().len() == 1 && node.attribute(name) == Some(value)
}

const ALGORITHM: &str = "Algorithm";
const DSIG: &str = "http://www.w3.org/2000/09/xmldsig#";
const C14N11: &str = "http://www.w3.org/2006/12/xml-c14n11";
const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const ECDSA_SHA384: &str = "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384";
const SHA384_URI: &str = "http://www.w3.org/2001/04/xmldsig-more#sha384";
