//! What can be left out alone, and why nothing breaks then.
//!
//! A rule that others cover has no double of its own. Each is here with what covers it, or with the
//! dimension that no slice has; `cargo prove singles` compares this list with what happens.

/// Why a rule or field can be left out alone and nothing breaks on any smoke slice; `None` where
/// something does.
pub fn covered(name: &str) -> Option<&'static str> {
    COVERED.iter().find(|(covered, _)| *covered == name).map(|(_, reason)| *reason)
}

/// Rules by id, then fields by name, each with its reason.
pub const COVERED: &[(&str, &str)] = &[
    (
        "WIRE-4",
        "The world has one owner, whose objects nobody else can reach a machine with; stories show the rule.",
    ),
    (
        "HS-3",
        "What is chosen is found among what both have, and is nothing where there is nothing; stories strip it.",
    ),
    ("HS-4", "The world has one manifest and one deployment; stories name others."),
    ("HS-5", "The device id of the hello is asked again of the Evidence [HS-13] [HS-14]."),
    (
        "HS-9",
        "Entries out of order make another session than the device's, which its Evidence does not cover [HS-11] [HS-12].",
    ),
    ("HS-11", "The CPU report covers the session and the GPU's Evidence [HS-12]."),
    (
        "HS-13",
        "What the Evidence names has to be enrolled itself [HS-14], and the session covers the id.",
    ),
    (
        "HS-15",
        "The one invalid key, the identity, is in no template: nobody has its secret, and everybody. Vectors and stories refuse it.",
    ),
    (
        "HS-17",
        "A challenge for another custodian is in `th1`, and the custodian's own differs [HS-10].",
    ),
    ("HS-19", "Every channel of this world shows the one issuer; stories show another."),
    ("HS-20", "The world has one manifest; stories name another."),
    ("REL-1", "Terms of no use would let nobody in; the owner's terms are good in every slice."),
    (
        "REL-8",
        "The share of another session opens with another key [HS-8]; and [QRM-4] compares once more.",
    ),
    (
        "REL-9",
        "Manifest, custodian, key and life are in `auth_i`, under which the share was sealed.",
    ),
    ("REL-10", "What was swapped does not open, or does not match its commitment [QRM-2]."),
    (
        "REL-11",
        "A custodian whose terms are its own needs k-1 others that are honest [LEA-2]; theirs end first.",
    ),
    ("QRM-3", "Every share matches its own commitment [QRM-2]."),
    ("QRM-4", "Grants of another session are refused before [REL-8]."),
    ("QRM-7", "The owner's parameters are good in every slice; stories seal bad ones."),
    (
        "LEA-7",
        "An answer that nobody asked for finds no question to be counted from; stories send one.",
    ),
    (
        "LEA-9",
        "An ended lease's answer is not said, whatever was decided [LEA-11]; a lease that was read back has no known age [LEA-10].",
    ),
    ("LEA-11", "What has lapsed counts at no device any more; a renewal of it would only be late."),
    ("LEA-12", "The owner's terms are good in every slice; stories seal bad ones."),
    ("LEA-14", "A superseded lease's device has a newer one, or is another life [RST-6]."),
    ("LEA-15", "Terms count from the first sending of the request, whatever its number."),
    ("REV-1", "The world has one deployment; stories name another."),
    ("REV-8", "The count is asked by the operators alone; `EffectiveAtFirst` is its double."),
    ("REV-9", "Acknowledgements reach the operators on their own channels; stories forge them."),
    ("AUD-6", "The host cannot make operators sign less than they know; stories leave one out."),
    ("ContextHello", "The hello is in `th1` as well."),
    ("Th1Hello", "The hello is in the context of the exporter as well."),
    ("Th1Challenge", "No two channels have one exporter."),
    ("Th2Th1", "The session has `th1` in its entries."),
    ("Th2Request", "The session has all of the request but its bytes."),
    ("EntryRole", "No custodian makes an entry."),
    (
        "EntryExporter",
        "The adversary's channel ends in another leaf, and its challenge is another.",
    ),
    ("EntryDeviceLeaf", "No two channels have one exporter."),
    ("EntryCustodianLeaf", "No two channels have one exporter."),
    ("EntryTh1", "No two channels have one exporter."),
    ("EntrySuite", "The suite is in the challenge, which is in `th1`."),
    ("SessionManifest", "The request names it, and the custodian knows one [HS-20]."),
    ("SessionDevice", "What the Evidence names is compared with the request [HS-13]."),
    (
        "SessionIncarnation",
        "Nobody but the device writes its request; a host that could has no use for another life here.",
    ),
    ("SessionCount", "Entries are framed."),
    ("SessionCustodian", "An entry has the leaf of its custodian in it."),
    ("GpuSession", "The CPU report covers the session and the GPU's Evidence."),
    ("CpuSession", "The GPU's Evidence in the data is of one session."),
    (
        "CpuEvidence",
        "The GPU's nonce is of the session, and the device id covers both halves [HS-13].",
    ),
    (
        "AuthSession",
        "The signature covers the whole statement [REL-7], and it is compared [REL-8].",
    ),
    ("AuthTh2", "The signature covers the whole statement [REL-7], and it is compared [REL-8]."),
    ("AuthSuite", "The signature covers the whole statement [REL-7]."),
    (
        "AuthCustodian",
        "The signature covers the whole statement [REL-7], and it is compared [REL-9].",
    ),
    ("AuthGeneration", "Evidence for auditors; the signature covers it."),
    ("AuthLease", "The signature covers the whole statement [REL-7]."),
    ("AuthSet", "The signature covers the whole statement [REL-7], and it is compared [REL-9]."),
    ("AuthIndex", "The signature covers the whole statement [REL-7], and it is compared [REL-9]."),
    (
        "AuthManifest",
        "The signature covers the whole statement [REL-7], and it is compared [REL-9].",
    ),
    ("AuthDeviceKey", "The share is sealed to that key."),
    (
        "AuthIncarnation",
        "The signature covers the whole statement [REL-7], and it is compared [REL-9].",
    ),
    ("AuthFirst", "The signature covers the terms [REL-7]."),
    ("AuthTerm", "The signature covers the terms [REL-7]."),
    ("AuthBudget", "The signature covers the terms [REL-7]."),
    ("AuthMaxAge", "The signature covers the terms [REL-7]."),
    ("AuthEpoch", "Evidence for auditors; the signature covers it."),
    ("AuthPolicy", "Evidence for auditors; the signature covers it."),
    ("ContextAuth", "The signature covers the digest of the sealed share [REL-10]."),
    (
        "ContextLogIndex",
        "The signature covers the index, and the digest of the sealed share [REL-10].",
    ),
    ("ProvisionManifest", "The owner signs the provision; no slice has another."),
    ("ProvisionSet", "The owner signs the provision; no slice has another."),
    ("ProvisionCustodian", "The owner signs the provision; no slice has another."),
    ("ProvisionIndex", "The owner signs the provision; no slice has another."),
    ("ProvisionKek", "The owner signs the provision; no slice has another."),
    (
        "SignedKind",
        "No two kinds of object have one shape: what was signed as one does not decode as another [WIRE-2].",
    ),
];

#[cfg(test)]
mod tests {
    use split_custody_protocol::Rule;
    use split_custody_protocol::transcript::Field;

    use super::{COVERED, covered};
    use crate::doubles::DOUBLES;

    #[test]
    fn every_rule_and_field_has_a_double_of_its_own_or_a_reason() {
        let alone = |name: &str| {
            DOUBLES.iter().any(|double| double.lie.is_none() && double.broken() == name)
        };
        let rules = Rule::ALL.iter().map(|rule| rule.id().to_owned());
        let names: Vec<String> =
            rules.chain(Field::ALL.iter().map(|field| format!("{field:?}"))).collect();
        for name in &names {
            assert!(alone(name) != covered(name).is_some(), "{name} has neither, or both");
        }
        for (name, reason) in COVERED {
            assert!(names.iter().any(|of| of == name), "nothing is called {name}");
            assert!(reason.ends_with('.'), "{name} has no reason");
        }
    }
}
