//! What a RIM says, read from the canonical bytes under its signature: direct children only.

use std::collections::BTreeMap;

use roxmltree::Node;

use super::bytes::unhex;
use super::opaque::VERSION_CAP;
use super::report::BLOCKS;
use super::xml::Xml;

/// The signed content of a RIM.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) version: String,
    pub(super) product: String,
    pub(super) golden: BTreeMap<u8, Vec<[u8; 48]>>,
}

/// Reads it; anything that is not as the vendor writes it is nothing. [HS-25]
pub(super) fn read(covered: &str) -> Option<Content> {
    let xml = Xml::parse(covered.as_bytes())?;
    let root = xml.root();
    if !root.has_tag_name((SWID, "SoftwareIdentity")) {
        return None;
    }
    // Text between elements is white space; an element more or less is another document.
    let loose = |node: &Node<'_, '_>| node.is_text() && !is_blank(*node);
    let elements: Vec<_> = root.children().filter(Node::is_element).collect();
    let [entity, meta, payload] = elements.as_slice() else { return None };
    let named = entity.has_tag_name((SWID, "Entity"))
        && meta.has_tag_name((SWID, "Meta"))
        && payload.has_tag_name((SWID, "Payload"));
    if !named || root.children().any(|node| loose(&node)) {
        return None;
    }
    let maker = meta.attribute((RIM, "FirmwareManufacturerId")) == Some(NVIDIA);
    let edition = meta.attribute("edition") == Some("GPU");
    let version = meta.attribute("colloquialVersion").filter(|v| is_version(v))?;
    let product = meta.attribute("product").filter(|product| is_version(product))?;
    let golden = resources(*payload)?;
    (maker && edition).then(|| Content {
        version: version.to_owned(),
        product: product.to_owned(),
        golden,
    })
}

/// Every index from 0 to 63 once; the active ones with their values.
fn resources(payload: Node<'_, '_>) -> Option<BTreeMap<u8, Vec<[u8; 48]>>> {
    let (mut golden, mut seen) = (BTreeMap::new(), 0u64);
    for node in payload.children() {
        if node.is_text() && is_blank(node) {
            continue;
        }
        let resource = node.has_tag_name((SWID, "Resource")) && !node.has_children();
        let measured = node.attribute("type") == Some("Measurement");
        let sized = node.attribute("size") == Some("48");
        let index: u8 = number(node.attribute("index")?).filter(|index| *index < BLOCKS)?;
        let bit = 1u64.checked_shl(index.into())?;
        if !(resource && measured && sized) || seen & bit != 0 {
            return None;
        }
        seen |= bit;
        let values = alternatives(node)?;
        match node.attribute("active")? {
            "True" => drop(golden.insert(index, values)),
            "False" => {}
            _ => return None,
        }
    }
    (seen == u64::MAX).then_some(golden)
}

/// As many hashes as the element says, and no more.
fn alternatives(node: Node<'_, '_>) -> Option<Vec<[u8; 48]>> {
    let count: u8 = number(node.attribute("alternatives")?)?;
    let hashes = node.attributes().filter(|a| a.namespace() == Some(HASH)).count();
    if count == 0 || count > MOST || hashes != usize::from(count) {
        return None;
    }
    (0..count).map(|at| unhex(node.attribute((HASH, format!("Hash{at}").as_str()))?)).collect()
}

/// A number in its one decimal form.
fn number(text: &str) -> Option<u8> {
    let value: u8 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
}

fn is_version(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
    !text.is_empty() && text.len() <= VERSION_CAP && text.bytes().all(plain)
}

fn is_blank(node: Node<'_, '_>) -> bool {
    node.text().is_some_and(|text| text.bytes().all(|byte| matches!(byte, b' ' | b'\n')))
}

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const HASH: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
const RIM: &str = "https://trustedcomputinggroup.org/resource/\
                   tcg-reference-integrity-manifest-rim-information-model/";
const NVIDIA: &str = "5703";
/// More alternatives for one index than any RIM has.
const MOST: u8 = 16;
