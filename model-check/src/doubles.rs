//! Broken doubles: each leaves out a rule, or lies about a fact of the world, and must be caught.
//!
//! All chapters. A double is the smallest set of rules whose absence is an attack, with the slice in
//! which it shows and the property that owns the rule. Rules are skipped in the production machines
//! under `--cfg doubles`; a [`Lie`] is a wrapper of this world. Where one rule alone survives its
//! removal because others cover it, `covered_by` says so.

mod covered;
mod table;

use split_custody_protocol::Rule;
use split_custody_protocol::transcript::Field;

use crate::slice::{Slice, slice};
use crate::world::{Config, Facts, Lie, World};

pub use covered::{COVERED, covered};
pub use table::DOUBLES;

/// One broken double.
#[derive(Clone, Copy, Debug)]
pub struct Double {
    pub name: &'static str,
    /// Rules that the machines do not enforce.
    pub rules: &'static [Rule],
    /// Fields that no transcript binds.
    pub fields: &'static [Field],
    pub lie: Option<Lie>,
    /// A margin of this world, where the double is a parameter.
    pub margin: Option<u64>,
    pub slice: &'static str,
    /// The property that owns the rule and must be violated.
    pub killed_by: &'static str,
    pub says: &'static str,
    /// Why a smaller set survives; empty where there is none.
    pub covered_by: &'static str,
}

impl Double {
    /// What is broken: rules by id, fields, a lie, a parameter.
    pub fn broken(&self) -> String {
        let rules = self.rules.iter().map(|rule| rule.id().to_owned());
        let fields = self.fields.iter().map(|field| format!("{field:?}"));
        let lie = self.lie.map(|lie| format!("{lie:?}"));
        let margin = self.margin.map(|margin| format!("margin {margin}"));
        rules.chain(fields).chain(lie).chain(margin).collect::<Vec<_>>().join(", ")
    }

    /// From now on this thread leaves out what the double leaves out.
    #[cfg(doubles)]
    pub fn leave_out(&self) {
        split_custody_protocol::doubles::skip(self.rules);
        split_custody_protocol::doubles::leave_out(self.fields);
    }

    /// The slice with the double's lie and parameters, some facts watched, and where it begins.
    pub fn staged(&self, watched: Facts) -> (Slice, Config, World) {
        // INVARIANT: a unit test checks that every double names a slice.
        let mut slice = slice(self.slice).expect("doubles name slices");
        if let Some(margin) = self.margin {
            slice.setup.margin = margin;
        }
        let mut config = slice.config(watched);
        // The way to where the slice begins was the honest one.
        let initial = slice.initial(&config);
        config.lie = self.lie.or(config.lie);
        (slice, config, initial)
    }
}

/// The double of a name.
pub fn double(name: &str) -> Option<Double> {
    DOUBLES.iter().copied().find(|double| double.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::property::{properties, property};

    #[test]
    fn every_property_has_a_double_and_every_double_a_property() {
        let killers: BTreeSet<_> = DOUBLES.iter().map(|double| double.killed_by).collect();
        for property in properties() {
            assert!(killers.contains(property.id), "{} was never seen to fail", property.id);
        }
        for double in DOUBLES {
            let owner = property(double.killed_by).expect("a property");
            assert!(owner.slices.contains(&double.slice), "{} is not claimed there", double.name);
            assert!(slice(double.slice).is_some());
        }
    }
}
