//! Reads the requirements out of the chapters.
//!
//! A requirement is one bullet, `- **[HS-10]** …`, that says MUST. Its id never changes its
//! meaning and is never given out twice. It does not know where a requirement is enforced: see
//! [`crate::trace`].

use crate::{CHAPTERS, Chapter};

/// One requirement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Requirement {
    /// As in `HS-10`.
    pub id: String,
    /// The file that states it.
    pub chapter: &'static str,
    /// The bullet's text, on one line, without the id.
    pub text: String,
}

impl Requirement {
    /// The id as test names and `require!` lines begin: `hs_10`.
    pub fn snake(&self) -> String {
        snake(&self.id)
    }
}

/// `HS-10` as `hs_10`.
pub fn snake(id: &str) -> String {
    id.to_lowercase().replace('-', "_")
}

/// Chapter files and the prefix of their ids; the other chapters have none.
pub const PREFIXES: [(&str, &str); 10] = [
    ("10-wire.md", "WIRE"),
    ("15-sealing.md", "SEAL"),
    ("20-handshake.md", "HS"),
    ("30-release.md", "REL"),
    ("35-hsm.md", "HSM"),
    ("40-quorum.md", "QRM"),
    ("50-lease.md", "LEA"),
    ("60-revocation.md", "REV"),
    ("70-reset.md", "RST"),
    ("80-audit.md", "AUD"),
];

/// Every requirement, in the order of the chapters.
///
/// # Panics
/// When a chapter breaks the rules of [`parse`].
pub fn requirements() -> Vec<Requirement> {
    let parsed = CHAPTERS.iter().flat_map(|chapter| {
        parse(*chapter).unwrap_or_else(|fault| panic!("{}: {fault}", chapter.file))
    });
    parsed.collect()
}

/// The requirement with this id.
pub fn find(id: &str) -> Option<Requirement> {
    requirements().into_iter().find(|requirement| requirement.id == id)
}

/// The requirements of one chapter. Refused: a foreign prefix, an id out of order or given twice,
/// a bullet without MUST, and a MUST outside a bullet.
pub fn parse(chapter: Chapter) -> Result<Vec<Requirement>, String> {
    let prefix = PREFIXES.iter().find(|(file, _)| *file == chapter.file).map(|(_, prefix)| *prefix);
    let mut found: Vec<Requirement> = Vec::new();
    let mut in_bullet = false;
    for (number, line) in chapter.text.lines().enumerate() {
        let at = |fault: &str| Err(format!("line {}: {fault}", number + 1));
        if let Some((id, text)) =
            line.strip_prefix("- **[").and_then(|rest| rest.split_once("]** "))
        {
            let expected = prefix.map(|prefix| format!("{prefix}-{}", found.len() + 1));
            if expected.as_deref() != Some(id) {
                return at(&format!("`{id}` is not the next id of this chapter"));
            }
            let text = text.to_owned();
            found.push(Requirement { id: id.into(), chapter: chapter.file, text });
            in_bullet = true;
        } else if let (true, Some(more)) = (in_bullet, line.strip_prefix("  ")) {
            let requirement = found.last_mut().expect("a bullet was opened");
            requirement.text.push(' ');
            requirement.text.push_str(more.trim());
        } else {
            in_bullet = false;
            if line.contains("MUST") && prefix.is_some() {
                return at("says MUST outside a requirement");
            }
        }
    }
    match found.iter().find(|requirement| !requirement.text.contains("MUST")) {
        Some(weak) => Err(format!("`{}` does not say MUST", weak.id)),
        None => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(text: &'static str) -> Result<Vec<Requirement>, String> {
        parse(Chapter { file: "70-reset.md", text })
    }

    #[test]
    fn a_bullet_is_read_with_its_continuation() {
        let found =
            reset("- **[RST-1]** The device MUST\n  wait.\n\nText.\n").expect("well formed");
        assert_eq!(found[0].text, "The device MUST wait.");
        assert_eq!(found[0].snake(), "rst_1");
    }

    #[test]
    fn faulty_chapters_are_refused() {
        assert!(reset("- **[RST-2]** MUST skip.").is_err_and(|f| f.contains("next id")));
        assert!(reset("- **[HS-1]** MUST move.").is_err_and(|f| f.contains("next id")));
        assert!(reset("- **[RST-1]** May wait.").is_err_and(|f| f.contains("does not say MUST")));
        assert!(reset("It MUST hold.").is_err_and(|f| f.contains("outside")));
    }

    #[test]
    fn the_chapters_have_the_ids_that_were_given_out() {
        let requirements = requirements();
        let counts = PREFIXES.map(|(file, prefix)| {
            (prefix, requirements.iter().filter(|r| r.chapter == file).count())
        });
        // Ids are never taken back: a number here only grows.
        assert_eq!(
            counts,
            [
                ("WIRE", 6),
                ("SEAL", 12),
                ("HS", 30),
                ("REL", 14),
                ("HSM", 14),
                ("QRM", 8),
                ("LEA", 16),
                ("REV", 14),
                ("RST", 14),
                ("AUD", 8)
            ]
        );
    }
}
