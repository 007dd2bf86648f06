//! XML as RIMs use it, and its canonical form.
//!
//! Plain ASCII without entities, declarations, comments or processing instructions, of bounded size,
//! depth and number of nodes. Canonical XML 1.1, inclusive, without comments, of a whole document
//! without one of its elements, or of one element with the namespaces around it. What these
//! documents cannot contain (`xml:` attributes, above all) is refused, not canonicalised.

use std::fmt::Write as _;

use roxmltree::{Attribute, Document, Node, ParsingOptions};

/// A document of the profile.
#[derive(Debug)]
pub(super) struct Xml<'a> {
    text: &'a str,
    document: Document<'a>,
}

impl<'a> Xml<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let plain = |byte: &u8| matches!(byte, b' '..=b'~' | b'\n');
        if bytes.len() > DOCUMENT_CAP || !bytes.iter().all(plain) {
            return None;
        }
        let text = std::str::from_utf8(bytes).ok()?;
        // No entity, DTD, CDATA, comment, processing instruction or declaration. `&` is refused
        // altogether, so that text means what it says.
        if text.contains('&') || text.contains("<!") || text.contains("<?") {
            return None;
        }
        let options = ParsingOptions { nodes_limit: NODES, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).ok()?;
        let xml = Self { text, document };
        xml.document.descendants().all(|node| xml.admits(node)).then_some(xml)
    }

    pub(super) fn root(&self) -> Node<'_, 'a> {
        self.document.root_element()
    }

    /// Elements of this name, anywhere.
    pub(super) fn all(&self, namespace: &'static str, name: &'static str) -> Vec<Node<'_, 'a>> {
        self.document.descendants().filter(|node| node.has_tag_name((namespace, name))).collect()
    }

    fn admits(&self, node: Node<'_, 'a>) -> bool {
        let shallow = node.ancestors().nth(DEPTH).is_none();
        let kind = node.is_root() || node.is_element() || node.is_text();
        let names = node.namespaces().all(|n| !n.uri().is_empty());
        let attributes = node.attributes().all(|a| a.namespace() != Some(XML_NAMESPACE));
        shallow && kind && names && attributes
    }

    /// The canonical form of the document without the element `without`.
    pub(super) fn canonical_without(&self, without: Node<'_, 'a>) -> Option<String> {
        let mut out = String::with_capacity(self.text.len());
        self.write(&mut out, self.root(), &[], Some(without))?;
        Some(out)
    }

    /// The canonical form of one element, with the namespaces that it inherits.
    pub(super) fn canonical(&self, node: Node<'_, 'a>) -> Option<String> {
        let mut out = String::new();
        self.write(&mut out, node, &[], None)?;
        Some(out)
    }

    /// `around` are the namespaces that the parent wrote or inherited.
    fn write(
        &self,
        out: &mut String,
        node: Node<'_, 'a>,
        around: &[(&str, &str)],
        without: Option<Node<'_, 'a>>,
    ) -> Option<()> {
        if without == Some(node) {
            return Some(());
        }
        if let Some(text) = node.text().filter(|_| node.is_text()) {
            escape_text(out, text);
            return Some(());
        }
        let name = self.name_at(node.range().start.checked_add(1)?)?;
        out.push('<');
        out.push_str(name);
        let mut spaces: Vec<(&str, &str)> =
            node.namespaces().map(|n| (n.name().unwrap_or(""), n.uri())).collect();
        spaces.sort_unstable();
        for (prefix, uri) in spaces.iter().filter(|space| !around.contains(space)) {
            let colon = if prefix.is_empty() { "" } else { ":" };
            write!(out, " xmlns{colon}{prefix}=\"").ok()?;
            escape_attribute(out, uri);
            out.push('"');
        }
        let mut attributes: Vec<Attribute<'_, '_>> = node.attributes().collect();
        attributes.sort_unstable_by_key(|a| (a.namespace().unwrap_or(""), a.name()));
        for attribute in attributes {
            let name = self.text.get(attribute.range_qname())?;
            write!(out, " {name}=\"").ok()?;
            escape_attribute(out, attribute.value());
            out.push('"');
        }
        out.push('>');
        for child in node.children() {
            // BOUND: no deeper than `DEPTH`.
            self.write(out, child, &spaces, without)?;
        }
        write!(out, "</{name}>").ok()
    }

    /// The qualified name that begins here: the tree keeps no prefixes, and a canonical form does.
    fn name_at(&self, start: usize) -> Option<&'a str> {
        let rest = self.text.get(start..)?;
        let end = rest.find([' ', '\n', '>', '/'])?;
        rest.get(..end)
    }
}

fn escape_text(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
}

fn escape_attribute(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#xA;"),
            other => out.push(other),
        }
    }
}

/// The longest document that is read.
pub const DOCUMENT_CAP: usize = 65_536;
const NODES: u32 = 1024;
const DEPTH: usize = 10;
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        let xml = Xml::parse(text.as_bytes())?;
        xml.canonical(xml.root())
    }

    #[test]
    fn hs_25_canonical_form_orders_namespaces_and_attributes() {
        let text = "<a z='1' xmlns:q=\"u:q\" q:b=\"2\" xmlns=\"u:d\" c='\"'><q:x/><b xmlns=\"u:d\" d=\">\">t</b></a>";
        let expected = "<a xmlns=\"u:d\" xmlns:q=\"u:q\" c=\"&quot;\" z=\"1\" q:b=\"2\"><q:x></q:x><b d=\">\">t</b></a>";
        assert_eq!(canonical(text).unwrap(), expected);
    }

    #[test]
    fn hs_25_part_of_a_document_brings_its_namespaces() {
        let xml =
            Xml::parse(b"<a xmlns=\"u:d\" xmlns:p=\"u:p\"><p:b><p:c>\n</p:c></p:b></a>").unwrap();
        let part = xml.all("u:p", "b")[0];
        let expected = "<p:b xmlns=\"u:d\" xmlns:p=\"u:p\"><p:c>\n</p:c></p:b>";
        assert_eq!(xml.canonical(part).unwrap(), expected);
        let rest = "<a xmlns=\"u:d\" xmlns:p=\"u:p\"></a>";
        assert_eq!(xml.canonical_without(part).unwrap(), rest);
    }

    #[test]
    fn hs_25_what_is_outside_of_the_profile_is_refused() {
        for text in [
            "<?xml version=\"1.0\"?><a/>",
            "<!DOCTYPE a [<!ENTITY e \"x\">]><a>&e;</a>",
            "<a>&#65;</a>",
            "<a>&lt;</a>",
            "<a><!-- --></a>",
            "<a><![CDATA[x]]></a>",
            "<a xml:lang=\"en\"/>",
            "<a xmlns=\"\"/>",
            "<a>\t</a>",
            "<a>\r\n</a>",
            "<a>\u{e9}</a>",
            "<a b=\"1\" b=\"2\"/>",
            "<p:a/>",
            "<a></b>",
            "<a/><a/>",
            "",
        ] {
            assert!(Xml::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn wire_1_depth_nodes_and_size_are_bounded() {
        let nested = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(Xml::parse(nested(DEPTH - 1).as_bytes()).is_some());
        assert!(Xml::parse(nested(DEPTH).as_bytes()).is_none());
        assert!(Xml::parse(nested(9_000).as_bytes()).is_none());
        let many = |count: usize| format!("<a>{}</a>", "<b/>".repeat(count));
        assert!(Xml::parse(many(1000).as_bytes()).is_some());
        assert!(Xml::parse(many(1100).as_bytes()).is_none());
        let long = |length: usize| format!("<a>{}</a>", "x".repeat(length - 7));
        assert!(Xml::parse(long(DOCUMENT_CAP).as_bytes()).is_some());
        assert!(Xml::parse(long(DOCUMENT_CAP + 1).as_bytes()).is_none());
    }
}
