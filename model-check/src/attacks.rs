//! The attack library: known attacks, and the doubles in which each of them works.
//!
//! All chapters. A row is an attack that a reviewer would ask about. Its doubles are the smallest
//! sets of rules whose removal is that attack; `docs/attacks/` has a page for each, told from the
//! shortest counterexample, and the list of rows.

mod fields;

use crate::doubles::{DOUBLES, Double};
use crate::property::property;
use crate::slice::Slice;
use crate::story::{Line, mermaid, page};

/// One known attack.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub title: &'static str,
    /// What the adversary does, and where it was seen.
    pub says: &'static str,
    pub doubles: &'static [&'static str],
    /// What else stands in its way.
    pub note: &'static str,
}

/// The page of one double.
pub fn attack_page(double: &Double, slice: &Slice, lines: &[Line]) -> String {
    let ending = property(double.killed_by).map_or("", |property| property.broken);
    let rows = ROWS.iter().filter(|row| row.doubles.contains(&double.name));
    let rows: Vec<&str> = rows.map(|row| row.title).collect();
    let known = if rows.is_empty() {
        String::new()
    } else {
        format!("An instance of: {}.\n\n", rows.join("; "))
    };
    format!(
        "<!-- Written by `cargo prove attacks docs/attacks`; do not edit. -->\n\n# {}\n\n{known}```\
         text\n{}```\n\nThe slice is `{}`: {}. It leaves out: {}.\n\n```mermaid\n{}```\n\nTell it \
         again with `cargo prove cex {}`.\n",
        double.name.replace('_', " "),
        page(double, slice, lines),
        slice.name,
        slice.says,
        slice.drops,
        mermaid(lines, ending),
        double.name,
    )
}

/// The list of rows and pages.
pub fn index(steps: impl Fn(&str) -> Option<usize>) -> String {
    let mut text = String::from(
        "<!-- Written by `cargo prove attacks docs/attacks`; do not edit. -->\n\n# Attacks\n\n\
         Each page is the protocol with one rule, or the smallest set of rules, left out, and the \
         shortest attack that follows. With all rules in place none of them works: that is what \
         `cargo prove check` shows, within the bounds of its slices.\n\n## Known attacks, and what \
         stops them\n\n| attack | what the adversary does | pages | what else stands in its way \
         |\n| --- | --- | --- | --- |\n",
    );
    for row in ROWS {
        let pages: Vec<String> = row.doubles.iter().map(|name| link(name)).collect();
        let pages = if pages.is_empty() { "none".into() } else { pages.join(", ") };
        text += &format!("| {} | {} | {pages} | {} |\n", row.title, row.says, row.note);
    }
    text += &fields::table(link);
    text +=
        "\n## Pages\n\n| page | left out | steps | broken property |\n| --- | --- | --- | --- |\n";
    for double in DOUBLES {
        let steps = steps(double.name).map_or_else(|| "survives".into(), |n| n.to_string());
        text += &format!(
            "| {} | {} | {steps} | `{}` |\n",
            link(double.name),
            double.broken(),
            double.killed_by
        );
    }
    text
}

fn link(name: &str) -> String {
    format!("[{}]({name}.md)", name.replace('_', " "))
}

/// Every attack that the specification answers.
pub const ROWS: &[Row] = &[
    Row {
        title: "relay",
        says: "Evidence of an honest device is forwarded into the adversary's own channel.",
        doubles: &[
            "own_entry_unchecked",
            "evidence_of_another_session",
            "relayed_gpu",
            "channel_not_bound",
        ],
        note: "The session binds every channel by its exporter and both leaf keys [HS-10].",
    },
    Row {
        title: "exporter from untrusted code",
        says: "TLS ends in the host, which hands the device the exporter of a channel of its choice.",
        doubles: &["tls_ends_in_host", "device_key_not_bound", "session_without_entries"],
        note: "TLS ends in the measured code [HS-2]. Without that the device key in the entry, and the entry in the session, still keep the shares from the host: `intruder-host` proves it.",
    },
    Row {
        title: "replay of old Evidence",
        says: "A report that was once genuine answers a new challenge.",
        doubles: &[
            "cpu_report_of_another_session",
            "evidence_of_another_session",
            "challenge_not_bound",
            "cpu_report_not_bound",
            "gpu_evidence_of_another_session",
        ],
        note: "The challenge is in `th1`, which is in the entry, which is in the session.",
    },
    Row {
        title: "nonce not single-use under concurrency",
        says: "One challenge is answered twice, on the channel that it belongs to.",
        doubles: &["challenge_reused"],
        note: "A challenge is state of one connection and burnt by any use [HS-6].",
    },
    Row {
        title: "challenge that never expires",
        says: "A request is held back for weeks and delivered when it suits.",
        doubles: &["dead_challenge_accepted"],
        note: "Claims age from the challenge, too [LEA-10].",
    },
    Row {
        title: "cuckoo, or diversion",
        says: "The right software runs on the adversary's own genuine machine.",
        doubles: &["device_not_enrolled", "any_genuine_device", "key_outside"],
        note: "Device ids come from Evidence and are enrolled out of band [HS-13] [HS-14].",
    },
    Row {
        title: "device of the fleet that is the adversary's",
        says: "A genuine and enrolled device runs its owner's code, and both its halves sign for it.",
        doubles: &["owned_device_in_the_fleet"],
        note: "Enrolment says which hardware, and policy which code [HS-14] [HS-16]: it takes both.",
    },
    Row {
        title: "one device taken for another",
        says: "An order, a lease, a share or a life of one device takes effect on another.",
        doubles: &["revokes_every_device"],
        note: "Orders name their subject, leases and lives their device, and a share is sealed to the key of one session [REV-5] [RST-6] [REL-8]. An order that names everything is the operators' choice.",
    },
    Row {
        title: "CPU and GPU of two machines",
        says: "The enrolled GPU signs for its host; a foreign CPU vouches for the code.",
        doubles: &["relayed_gpu"],
        note: "The device id covers both halves.",
    },
    Row {
        title: "default policy that ignores appraisal",
        says: "The enrolled machine runs other code, and its measurement is not looked at.",
        doubles: &["altered_code"],
        note: "Default deny: kind, mode and every measurement have to be named [HS-16].",
    },
    Row {
        title: "answer not bound to the request",
        says: "A share goes to a key that the Evidence says nothing of.",
        doubles: &["share_for_another_key", "device_key_not_bound"],
        note: "The device key is in the entry, and the share is sealed to it alone [REL-4].",
    },
    Row {
        title: "stolen TLS keys",
        says: "The adversary has the device's or a custodian's TLS key, and nothing else of it.",
        doubles: &[
            "grant_unsigned",
            "grants_and_shares_unchecked",
            "challenge_reused",
            "renewal_from_anywhere",
        ],
        note: "Grants are signed by a key of their own, and name the session [REL-7] [REL-8].",
    },
    Row {
        title: "corrupt custodian",
        says: "A custodian grants what it likes, lies in acknowledgements, renews for ever.",
        doubles: &["share_unchecked", "key_unchecked", "effective_at_first", "key_outside"],
        note: "f < k; n-k+1+f acknowledgements; at least k counting leases [QRM-7] [REV-8] [LEA-2].",
    },
    Row {
        title: "shares mixed from two requests",
        says: "Shares of two sessions or two sets are combined.",
        doubles: &["grant_of_another_session"],
        note: "A grant names its session [REL-8], only shares of one session combine [QRM-4], and each opens with the key of its own request alone [HS-8]: all three have to go.",
    },
    Row {
        title: "rollback of a custodian",
        says: "A store is replaced by an older backup and forgets a revocation.",
        doubles: &["behind_anchor_serves", "anchor_stands", "activation_of_another_life"],
        note: "An anchor outside the backup; operators activate by a nonce of this generation.",
    },
    Row {
        title: "new share set or custodian with an empty set of orders",
        says: "A custodian that knows no orders grants to a revoked device.",
        doubles: &["activated_by_nobody"],
        note: "Whoever begins is recovering until operators sign the complete set [AUD-5] [AUD-6].",
    },
    Row {
        title: "grant that leaves after the acknowledgement",
        says: "A committed grant waits in a slow HSM while its device is revoked.",
        doubles: &["unsent_grant_kept", "release_ignores_orders"],
        note: "Unsent grants are cancelled before anybody is told [REV-5].",
    },
    Row {
        title: "release that nobody can find",
        says: "A grant leaves before its leaf is durable.",
        doubles: &["store_answers_early", "key_without_books", "renewal_said_early"],
        note: "What must be durable is withheld by the machine [REL-5].",
    },
    Row {
        title: "revocation counted from the first acknowledgement",
        says: "Operators believe a bound that k-1 silent custodians can break.",
        doubles: &["effective_at_first"],
        note: "The count is a pure function that returns a proof [REV-8].",
    },
    Row {
        title: "lease outlived, or counted from receipt",
        says: "The host delays answers, holds a clock, or hands renewals in late.",
        doubles: &[
            "clock_stalls",
            "no_margin",
            "use_without_k",
            "output_unchecked",
            "late_renewal_revives",
        ],
        note: "Terms count from before the first sending, on a clock that counts suspend [LEA-1].",
    },
    Row {
        title: "revocation dropped or delayed",
        says: "The host never delivers a notice.",
        doubles: &["renewal_ignores_orders", "stored_answer_kept", "orders_forgotten_by_a_crash"],
        note: "Leases end by themselves; nothing has to arrive.",
    },
    Row {
        title: "stale trust",
        says: "One appraisal is renewed for ever; one authorisation pays for many uses.",
        doubles: &["claims_never_age", "budget_unchecked"],
        note: "max-age and budgets are policy [LEA-10] [LEA-4].",
    },
    Row {
        title: "reset between attestation and use",
        says: "The device was reset after it attested; its old life goes on.",
        doubles: &[
            "old_life_renewed",
            "superseded_accepted",
            "old_output_leaves",
            "ended_only_when_written",
        ],
        note: "A new incarnation ends all others from its decision on, and none comes back [RST-6] [RST-7] [RST-11].",
    },
    Row {
        title: "reset suppressed or faked",
        says: "The host hides its read, or the scrub and the erasure do nothing.",
        doubles: &[
            "read_unnoticed",
            "scrub_does_nothing",
            "zeroise_does_nothing",
            "blocked_read_taints",
        ],
        note: "A device starts tainted, and is clean only when it looked [RST-1] [RST-3].",
    },
    Row {
        title: "forged revocation or admission",
        says: "Somebody without authority signs an order.",
        doubles: &["order_by_stranger", "order_by_an_intruder"],
        note: "m operators of the deployment, each counted once [REV-2].",
    },
    Row {
        title: "stolen operator's key",
        says: "One of three operators' keys signs twice, beside a stranger, or beside approvals of something else.",
        doubles: &["one_approval_suffices", "one_more_key_stolen", "activation_by_one"],
        note: "m distinct operators sign one payload, and a decision to change intersects one to revoke [REV-2] [AUD-5]. As many stolen keys as that are the limit.",
    },
    Row {
        title: "old admission replayed",
        says: "An admission from before a revocation brings the device back.",
        doubles: &["old_admission_counts"],
        note: "A subject's highest serial decides, a revocation wins ties, and an admission takes the next serial [REV-3].",
    },
    Row {
        title: "message of another protocol or role",
        says: "A signature or hash made for one purpose is used for another.",
        doubles: &["report_of_another_half"],
        note: "Every hash has a label and every signature a kind [WIRE-4] [WIRE-5]. The kind alone (`SignedKind`) survives its removal: no two kinds of object have one shape.",
    },
    Row {
        title: "reflection, or binding by the exporter alone",
        says: "Evidence that is bound to a channel and not to its ends is shown at another end.",
        doubles: &["exporter_only"],
        note: "An entry has the role, both leaves and `th1` beside the exporter; no custodian makes one, so there is nothing to reflect, and the same flaw shows as a relay.",
    },
    Row {
        title: "downgrade",
        says: "A version, suite, term or policy is stripped or replaced on the way.",
        doubles: &["offer_not_bound", "suite_downgraded"],
        note: "Offers are in `th1` and in the exporter's context; terms and the policy's version are under the grant's signature [HS-3] [HS-17] [REL-11].",
    },
    Row {
        title: "finish of another exchange",
        says: "A message is taken in a state that it does not belong to.",
        doubles: &["grant_of_another_session"],
        note: "Every state and input is compared with the chapter's table; what is not listed closes. A grant that fits the state still has to fit the session [REL-8].",
    },
    Row {
        title: "check skipped for an empty field",
        says: "A field is absent or empty and the verifier treats that as nothing to check.",
        doubles: &["unreadable_report_passes"],
        note: "Every field is mandatory, an empty one does not decode [WIRE-1], and no report means no verdict [HS-12].",
    },
    Row {
        title: "AEAD nonce used twice",
        says: "A restored counter seals two messages under one key and nonce.",
        doubles: &["device_key_kept"],
        note: "A device key serves one session, and a DEK's message keys come from a random salt of 24 bytes [HS-8] [SEAL-5]: there is no counter to restore.",
    },
    Row {
        title: "plaintext on its way to the device",
        says: "The host reads a buffer between unwrapping and loading.",
        doubles: &["shares_open_in_host"],
        note: "Only ciphertext is outside the device; the demo scans the memory of all others for it.",
    },
    Row {
        title: "too few custodians",
        says: "The host lets the device attest to fewer custodians than can release.",
        doubles: &["too_few_accepted"],
        note: "No Evidence before k are ready [QRM-1].",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::doubles::double;

    #[test]
    fn every_double_is_an_instance_of_a_row_and_every_name_a_double() {
        let named: BTreeSet<&str> = ROWS.iter().flat_map(|row| row.doubles).copied().collect();
        for name in &named {
            assert!(double(name).is_some(), "no double `{name}`");
        }
        for double in DOUBLES {
            assert!(named.contains(double.name), "`{}` is in no row", double.name);
        }
    }

    #[test]
    fn every_row_has_a_double_and_says_what_stops_it() {
        let bare: Vec<&str> =
            ROWS.iter().filter(|row| row.doubles.is_empty()).map(|row| row.title).collect();
        assert_eq!(bare, [""; 0]);
        let titles: BTreeSet<&str> = ROWS.iter().map(|row| row.title).collect();
        assert_eq!(titles.len(), ROWS.len());
        assert!(ROWS.iter().all(|row| row.says.ends_with('.') && row.note.ends_with('.')));
    }
}
