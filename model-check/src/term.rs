//! Terms: what a symbolic value is made of, by its id.
//!
//! A term is a constructor over parts; its id is 128 bits of its content and fills a 32-byte value
//! of the protocol. Equal terms have equal ids in every run and on every thread. The table of parts
//! is for whoever asks what a value can be computed from: see [`crate::intruder`].

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock, RwLock};

use foldhash::fast::FixedState;
use xxhash_rust::xxh3::xxh3_128;

/// A constructor and its parts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Term {
    pub constructor: &'static str,
    pub parts: Vec<Vec<u8>>,
}

type Table = HashMap<u128, Arc<Term>, FixedState>;

static TERMS: LazyLock<RwLock<Table>> = LazyLock::new(RwLock::default);

thread_local! {
    /// What this thread has put into the table already.
    static RECORDED: RefCell<HashSet<u128, FixedState>> = RefCell::default();
}

/// A term's id. Panics on a collision of ids, which would merge two terms.
pub fn term(constructor: &'static str, parts: &[&[u8]]) -> [u8; 32] {
    let length = constructor.len() + parts.iter().map(|part| part.len() + 8).sum::<usize>();
    let mut content = Vec::with_capacity(length);
    content.extend_from_slice(constructor.as_bytes());
    for part in parts {
        content.extend_from_slice(&part.len().to_le_bytes());
        content.extend_from_slice(part);
    }
    let id = xxh3_128(&content);
    if RECORDED.with_borrow_mut(|recorded| recorded.insert(id)) {
        record(id, constructor, parts);
    }
    let mut value = [0; 32];
    value[..16].copy_from_slice(&id.to_be_bytes());
    value
}

fn record(id: u128, constructor: &'static str, parts: &[&[u8]]) {
    let parts = parts.iter().map(|part| part.to_vec()).collect();
    let made = Term { constructor, parts };
    // INVARIANT: no holder of the lock panics except on the collision below.
    let mut terms = TERMS.write().expect("no holder panics");
    let held = terms.entry(id).or_insert_with(|| Arc::new(made.clone()));
    assert_eq!(**held, made, "two terms with one id");
}

/// What a value is made of; `None` for bytes that are no term's id.
pub fn parts_of(value: &[u8]) -> Option<Arc<Term>> {
    let (id, rest) = value.split_at_checked(16)?;
    if rest.len() != 16 || rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    let id = u128::from_be_bytes(id.try_into().ok()?);
    TERMS.read().expect("no holder panics").get(&id).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_terms_have_equal_ids_and_keep_their_parts() {
        let a = term("test", &[b"ab", b"c"]);
        assert_eq!(a, term("test", &[b"ab", b"c"]));
        assert_ne!(a, term("test", &[b"a", b"bc"]), "parts are framed");
        assert_ne!(a, term("other", &[b"ab", b"c"]));
        let known = parts_of(&a).expect("it was made above");
        assert_eq!((known.constructor, known.parts.len()), ("test", 2));
    }

    #[test]
    fn bytes_that_are_no_id_have_no_parts() {
        assert_eq!(parts_of(&[7; 32]), None);
        assert_eq!(parts_of(b"short"), None);
        assert_eq!(parts_of(&[0; 32]), None);
    }
}
