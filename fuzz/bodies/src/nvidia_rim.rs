//! A RIM: any bytes, or a genuine one and edits to it, wrapped signatures among them.
//!
//! Chapter 20. Whatever a verified RIM says was signed: version, product and every value are those
//! of a genuine one [HS-25]; genuine ones verify. Verifying allocates within bounds that do not
//! depend on what a document claims.
//! It does not ask whether a policy pins the RIM, nor compare measurements.

use std::collections::BTreeMap;

use split_custody_attest::nvidia::Rim;

use crate::allocation;
use crate::nvidia::{examine, genuine, harmed};

/// The body.
pub fn run(input: &[u8]) {
    let rims = &genuine().rims;
    let which = input.first().map_or(0, |first| usize::from(*first) % rims.len());
    let rim = harmed(input, &rims[which], &SNIPPETS);
    check(&rim, verified);
}

/// What a verified RIM says.
pub type Said = (String, String, BTreeMap<u8, Vec<[u8; 48]>>);

/// The oracle: what is said was signed.
pub fn check(rim: &[u8], verified: impl Fn(&[u8]) -> Option<Said>) {
    let (said, peak) = allocation::peak(|| verified(rim));
    assert!(peak <= 1 << 20, "HS-25: {peak} bytes held for a RIM of {}", rim.len());
    let genuine = &genuine().rims;
    if genuine.iter().any(|genuine| genuine == rim) {
        assert!(said.is_some(), "HS-25: a genuine RIM does not verify");
    } else if let Some(said) = said {
        let signed = genuine.iter().any(|genuine| verified(genuine).as_ref() == Some(&said));
        assert!(signed, "HS-25: nobody signed {} {}", said.1, said.0);
    }
}

/// What the verifier takes from the document, if it does.
pub fn verified(rim: &[u8]) -> Option<Said> {
    let say = |rim: &Rim| (rim.version().into(), rim.product().into(), rim.golden().clone());
    examine(b"", b"", &[rim.to_vec()], |examined| examined.rims[0].as_deref().map(say))
}

const SNIPPETS: [&[u8]; 10] = [
    b"<ns0:Meta colloquialVersion=\"999.99\" edition=\"GPU\" product=\"GH100\"/>",
    b"<ds:Object xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\">",
    b"</ds:Object>",
    b"<ds:Signature xmlns:ds=\"http://www.w3.org/2000/09/xmldsig#\"/>",
    b"</ns0:Payload><ns0:Payload>",
    b" active=\"True\"",
    b" xmlns:ns0=\"u\"",
    b"<!--",
    b"&#65;",
    b"<a>",
];
