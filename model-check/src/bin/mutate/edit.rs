//! Wrapping pieces of a text, one inside the other.

use std::cmp::Reverse;
use std::ops::Range;

/// Text put before and after a range of the original.
pub struct Wrap {
    /// Bytes of the original.
    pub range: Range<usize>,
    /// Comes before it.
    pub before: String,
    /// Comes after it.
    pub after: String,
}

/// Where, whether it opens, how it nests, and what.
type Insert<'t> = (usize, bool, (Reverse<usize>, usize), &'t str);

/// Applies all of them: of two over one range, the earlier is outside.
pub fn apply(text: &str, wraps: &[&Wrap]) -> String {
    // (place, opening?, nesting): what ends at a place comes before what begins there; of those that
    // end, the innermost first; of those that begin, the outermost first.
    let mut inserts: Vec<Insert<'_>> = Vec::new();
    for (order, wrap) in wraps.iter().enumerate() {
        let Range { start, end } = wrap.range;
        inserts.push((start, true, (Reverse(end), order), &wrap.before));
        inserts.push((end, false, (Reverse(start), usize::MAX - order), &wrap.after));
    }
    inserts.sort();
    let (mut out, mut at) = (String::with_capacity(2 * text.len()), 0);
    for (place, _, _, insert) in inserts {
        out.push_str(&text[at..place]);
        out.push_str(insert);
        at = place;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(range: Range<usize>, before: &str, after: &str) -> Wrap {
        Wrap { range, before: before.into(), after: after.into() }
    }

    #[test]
    fn wraps_nest_and_touch() {
        let wraps = [
            wrap(0..5, "(", ")"),
            wrap(0..2, "[", "]"),
            wrap(3..5, "<", ">"),
            wrap(0..5, "{", "}"),
        ];
        let wraps: Vec<_> = wraps.iter().collect();
        assert_eq!(apply("ab cd ef", &wraps), "({[ab] <cd>}) ef");
        assert_eq!(apply("ab cd ef", &[]), "ab cd ef");
    }
}
