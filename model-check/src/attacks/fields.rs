//! Field by field: what each value in a message or transcript is there for.
//!
//! Chapters 10 to 80. A field without a double has the reason beside it.

/// One field, or a few that say the same.
#[derive(Clone, Copy, Debug)]
pub struct FieldRow {
    pub field: &'static str,
    /// Where it is bound or compared.
    pub place: &'static str,
    /// The double that is the attack; empty where there is none.
    pub double: &'static str,
    /// What follows once it is gone.
    pub attack: &'static str,
}

/// The table of `docs/attacks/README.md`.
pub fn table(link: impl Fn(&str) -> String) -> String {
    let mut text = String::from(
        "\n## Fields, and the attack once one is gone\n\n| field | bound or compared in | attack | \
         page |\n| --- | --- | --- | --- |\n",
    );
    for row in FIELDS {
        let page = if row.double.is_empty() { "none".into() } else { link(row.double) };
        text += &format!("| {} | {} | {} | {page} |\n", row.field, row.place, row.attack);
    }
    text
}

/// Every field that something hangs on.
pub const FIELDS: &[FieldRow] = &[
    row(
        "nonce of the challenge",
        "`th1`",
        "challenge_not_bound",
        "Old Evidence, taken while all was well, answers a new challenge.",
    ),
    row(
        "challenge burnt by any use",
        "HS-6",
        "challenge_reused",
        "The same Evidence is used twice.",
    ),
    row(
        "end of a challenge",
        "HS-7",
        "dead_challenge_accepted",
        "Challenges are stocked and answered weeks later.",
    ),
    row(
        "device key",
        "entry",
        "device_key_not_bound",
        "The host puts its own key in the place of the device's.",
    ),
    row(
        "suite beside the device key",
        "entry, HS-15",
        "",
        "A key of one suite is used in another. `EntrySuite` alone survives: the suite is in the challenge, which is in `th1`.",
    ),
    row(
        "exporter",
        "entry",
        "channel_not_bound",
        "Evidence of one TLS session is shown in another.",
    ),
    row(
        "own leaf, peer leaf",
        "entry",
        "exporter_only",
        "A binding that both ends compute alike is reflected or relayed.",
    ),
    row(
        "id and entry of each custodian",
        "`S`, HS-9, HS-10",
        "own_entry_unchecked",
        "One custodian's answer is replayed to another, or counted twice.",
    ),
    row("hello", "`th1`", "offer_not_bound", "The stronger suite is stripped from the offer."),
    row(
        "`th2` and session in the grant",
        "REL-8",
        "grant_of_another_session",
        "A grant is spliced onto another request.",
    ),
    row(
        "terms, index, epoch under the share",
        "`ctx`",
        "grant_unsigned",
        "A sealed share is moved into a grant with other terms; the signature says the same once more.",
    ),
    row(
        "signature of the custodian's key",
        "REL-7",
        "grant_unsigned",
        "A stolen TLS key is enough to make grants.",
    ),
    row(
        "manifest and version",
        "`S`, HS-20",
        "",
        "An older, leaky model is asked for. Custodians hold one manifest a version and a floor; stories show it.",
    ),
    row(
        "commitments of shares and DEK",
        "QRM-2, QRM-3",
        "key_unchecked",
        "A custodian gives a wrong share unseen, or makes another key.",
    ),
    row(
        "serials and epochs of orders",
        "REV-3, AUD-4",
        "old_admission_counts",
        "A restored store, or an old order, forgets a revocation.",
    ),
    row(
        "set of orders at activation",
        "AUD-5, AUD-6",
        "activation_of_another_life",
        "The host holds one order back from a custodian that begins.",
    ),
    row(
        "counter of renewals",
        "LEA-7, LEA-15",
        "",
        "A renewal is replayed to stretch a lease. Alone it survives: terms count from the first sending of the request.",
    ),
    row(
        "incarnation",
        "`S`, RST-5, RST-7",
        "superseded_accepted",
        "A snapshot of the device revives a key that was erased.",
    ),
    row(
        "leaf in the log before the grant",
        "REL-3, REL-5",
        "store_answers_early",
        "A release that the owner never sees.",
    ),
    row(
        "version of the policy in the grant",
        "`auth_i`",
        "",
        "Custodians decide by different policies unseen. It is evidence for auditors and decides nothing here.",
    ),
    row(
        "one refusal for every reason",
        "HS-21",
        "",
        "The answer tells the adversary which measurement was wrong. A question of what is on the wire: snapshots and stories show it.",
    ),
    row(
        "label of every hash, kind of every signature",
        "WIRE-4, WIRE-5",
        "report_of_another_half",
        "What was made for one purpose serves another.",
    ),
];

const fn row(
    field: &'static str,
    place: &'static str,
    double: &'static str,
    attack: &'static str,
) -> FieldRow {
    FieldRow { field, place, double, attack }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubles::double;

    #[test]
    fn every_field_names_a_double_or_says_why_there_is_none() {
        for row in FIELDS {
            assert!(row.double.is_empty() || double(row.double).is_some(), "{}", row.double);
            let sentences = row.attack.matches(['.', ':']).count();
            assert!(!row.double.is_empty() || sentences > 1, "{} has no reason", row.field);
        }
    }
}
