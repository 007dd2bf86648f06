//! Properties: what must never happen, and the witness that it could be told apart.
//!
//! All chapters. A property is a fact that no state of its slices records; each has witnesses,
//! facts that some state must record, so that it cannot hold because nothing happens. Ids are those
//! of the requirement that owns the rule. [`crate::doubles`] shows each of them fail.

mod audit;
mod handshake;
mod lease;
mod quorum;
mod release;
mod reset;
mod revocation;

use crate::world::Fact;

/// `always(not never)` with `sometimes(witness)` for each witness, on these slices.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// The requirement's id and what holds.
    pub id: &'static str,
    pub never: Fact,
    pub witnesses: &'static [Fact],
    pub slices: &'static [&'static str],
    /// For the reviewer.
    pub says: &'static str,
    /// What went wrong, should it ever: the clause that ends a story.
    pub broken: &'static str,
    /// Why that matters.
    pub matters: &'static str,
}

/// Every property, in the order of the chapters.
pub fn properties() -> Vec<Property> {
    [
        handshake::PROPERTIES,
        release::PROPERTIES,
        quorum::PROPERTIES,
        lease::PROPERTIES,
        revocation::PROPERTIES,
        reset::PROPERTIES,
        audit::PROPERTIES,
    ]
    .concat()
}

/// The property of an id.
pub fn property(id: &str) -> Option<Property> {
    properties().into_iter().find(|property| property.id == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::slice::slice;

    #[test]
    fn ids_are_unique_and_slices_exist() {
        let all = properties();
        let ids: BTreeSet<_> = all.iter().map(|property| property.id).collect();
        assert_eq!(ids.len(), all.len());
        for property in &all {
            assert!(!property.witnesses.is_empty(), "{} has no witness", property.id);
            assert!(!property.slices.is_empty(), "{} is claimed nowhere", property.id);
            assert!(!property.broken.ends_with('.') && property.matters.ends_with('.'));
            for name in property.slices {
                assert!(slice(name).is_some(), "{} names `{name}`", property.id);
            }
        }
    }

    #[test]
    fn every_forbidden_fact_has_one_property() {
        let mut watched: Vec<Fact> = properties().iter().map(|property| property.never).collect();
        watched.sort_unstable();
        let mut forbidden = Fact::NEVER.to_vec();
        forbidden.sort_unstable();
        assert_eq!(watched, forbidden);
    }
}
